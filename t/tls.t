#!/usr/bin/perl

# TLS to servers, with each method: a session is resumed with the server that
# gave it, and with no other one.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use LRT;
use LRT::Hooks;
use LRT::Methods;

my $t = LRT->new(name => 'tls', need => [qw(module proxy rewrite ssl)]);
my $dir = $t->dir;

$t->skip_all('needs openssl') if system 'openssl req -x509 -newkey rsa:2048'
    . " -nodes -days 30 -subj /CN=test -keyout $dir/tls.key -out $dir/tls.crt"
    . ' 2>/dev/null';

my @methods  = LRT::Methods->all;
my @versions = ('1.2', '1.3');

# the third would take a session that was meant for the first

my %cache = (one => 1, two => 2, three => 1);

my $servers = join '', map { qq{
    server {
        listen 127.0.0.1:%%PORT_$_%% ssl;
        ssl_certificate %%DIR%%/tls.crt;
        ssl_certificate_key %%DIR%%/tls.key;
        ssl_session_cache shared:tls$cache{$_}:1m;
        ssl_session_tickets off;
        ssl_protocols TLSv1.2 TLSv1.3;
        access_log off;
        return 200 "$_ \$ssl_session_reused\$ssl_protocol";
    }
} } sort keys %cache;

# a group for each version, so that each begins without sessions; in "dead"
# the first server is

my ($groups, $locations) = ('', '');

for my $method (@methods) {
    my $id = $method->{id};

    for my $version (@versions) {
        $groups .= qq{
            upstream ${_}_$id$version {
                $method->{directive};
                server %%ADDRESS_one%%;
                server %%ADDRESS_two%%;
            }
        } for 'resumed', 'always_new';

        $locations .= qq{
            location = /resumed_$id$version {
                proxy_pass https://resumed_$id$version;
                proxy_ssl_protocols TLSv$version;
            }
            location = /always_new_$id$version {
                proxy_pass https://always_new_$id$version;
                proxy_ssl_protocols TLSv$version;
                proxy_ssl_session_reuse off;
            }
        };
    }

    $groups .= qq{
        upstream dead_$id {
            $method->{directive};
            server %%ADDRESS_nobody%% max_fails=0;
            server %%ADDRESS_two%% max_fails=0;
        }
    };
    $locations .= qq{
        location = /dead_$id {
            proxy_pass https://dead_$id;
            proxy_ssl_protocols TLSv1.3;
        }
    };
}

$t->conf(http => qq{
    $groups

    server {
        listen 127.0.0.1:%%PORT_http%%;
        proxy_http_version 1.0;             # no kept connections
        $locations
    }

    $servers
} . LRT::Hooks::server($t))->start;


# Each client asks twice.  Who answered, in order, and what each server said
# of its sessions.

sub ask ($group) {
    my (@names, %said);

    for (LRT::Methods::clients) {
        my ($name, $session) = split ' ', $t->get("/$group", from => $_)->body;
        push @names, $name;
        push $said{$name}->@*, $session;
    }

    return (\@names, \%said);
}


# The first session of each server is new, the others are resumed.

sub resumes ($version, $said, $name) {
    my %wanted = map {
        my @more = $said->{$_}->@*;
        shift @more;
        ($_ => [".TLSv$version", map { "rTLSv$version" } @more]);
    } keys %$said;

    is_deeply($said, \%wanted, $name);
}


for my $method (@methods) {
    my $id = $method->{id};
    my $m  = $method->{directive};

    for my $version (@versions) {
        my $group = "resumed_$id$version";
        my ($names, $said) = ask($group);

        $method->balances("TLS $version", @$names);
        resumes($version, $said,
            "$m: TLS $version: a session is new once for each server");
        $method->settles($t, $group, "TLS $version");

        ($names, $said) = ask("always_new_$id$version");
        is(join(' ', grep { $_ ne ".TLSv$version" } map { @$_ } values %$said),
            '', "$m: TLS $version: always with proxy_ssl_session_reuse off");
    }

    my ($names, $said) = ask("dead_$id");
    is_deeply($names, [('two') x @$names],
        "$m: TLS: requests of a dead server go to the other");
    resumes('1.3', $said, "$m: TLS: with its session");
    $method->settles($t, "dead_$id", 'TLS, a server is dead');

    # another server in the place of the first

    SKIP: {
        my $group = LRT::Hooks->group($t, "resumed_${id}1.3")
            or skip 'no test hooks', 1;
        my ($one, $two, $three) = map { $t->address($_) } qw(one two three);

        $group->remove($one);
        $group->add($three);
        $group->settles;
        is($group->peer($three)->{slot}, 0,
            "$m: TLS: another server comes into the same place");

        my ($names, $said) = ask("resumed_${id}1.3");
        is_deeply([sort keys %$said], [qw(three two)],
            "$m: TLS: and gets requests");
        resumes('1.3', { three => $said->{three} },
            "$m: TLS: it begins without a session, and keeps its own");
        is(join(' ', grep { $_ ne 'rTLSv1.3' } $said->{two}->@*), '',
            "$m: TLS: the session of the server that stays is kept");
    }
}

$t->done;
