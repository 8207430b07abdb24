#!/usr/bin/perl

# When the servers of a group run out: nobody may be asked, only backups are
# left, or a request that is being repeated loses them one after another.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

use LRT;
use LRT::API;
use LRT::Methods;
use LRT::Net qw(timeout);

use constant {
    REQUESTS => 100,
    MANY     => 70,             # servers: more than there are bits in a word
    AT_ONCE  => 8,              # requests that are repeated meanwhile
    IDLE     => 0.5,            # seconds of which
    BUSY     => 0.1,            # may be spent on anything
};

my $t = LRT->new(name => 'none', need => [qw(module proxy upstream_zone)]);

my @methods = LRT::Methods->all;
my @tiered  = grep { !$_->is_sticky } @methods;     # that have backups

$t->backend($_) for 'a' .. 'd';

my @many    = $t->backends('s', MANY);
my %address = map { ($_ => $t->address($_)) } 'a' .. 'd', @many;
my %name    = reverse %address;

my $groups = join '', map {
    my $listed = join ' ',
        map { "server $address{$_} max_fails=0;" } @many[0 .. MANY - 2];

    qq{
        upstream none_$_->{id} {
            zone none_$_->{id} 128k;
            $_->{directive};
            server %%ADDRESS_a%% down;
            server %%ADDRESS_b%%;
            server %%ADDRESS_c%%;
            server 127.0.0.1:%%PORT_nobody%% fail_timeout=1h;
            server 127.0.0.2:%%PORT_nobody%% fail_timeout=1h;
        }
        upstream many_$_->{id} {
            zone many_$_->{id} 512k;
            $_->{directive};
            $listed
            server $address{$many[-1]} max_fails=0 down;
        }
    }
} @methods;

$groups .= join '', map { qq{
    upstream tiers_$_->{id} {
        $_->{directive};
        server %%ADDRESS_a%% fail_timeout=1s;
        server %%ADDRESS_b%% fail_timeout=1s;
        server %%ADDRESS_c%% backup;
        server %%ADDRESS_d%% backup;
    }
} } @tiered;

$t->conf(workers => 2, http => qq{
    $groups

    # no kept connections, on which a failure may mean nothing
    proxy_http_version 1.0;

    server {
        listen 127.0.0.1:%%PORT_http%% reuseport;
        add_header X-Upstream \$upstream_addr always;
        location ~ ^/(?<group>\\w+) { proxy_pass http://\$group; }
    }
    server {
        listen 127.0.0.1:%%PORT_api%%;
        location /api { lrt_api write=on; }
    }
} . LRT::Hooks::server($t))->start;

my $api = LRT::API->new($t);


# Who was asked, in order; the name of a group stands for nobody.

sub asked ($r) {
    return map { $name{$_} // $_ }
        split /, /, $r->header('X-Upstream') // '';
}


# The servers that one request has asked more than once.

sub twice ($r) {
    my %times;
    $times{$_}++ for asked($r);
    return grep { $times{$_} > 1 } sort keys %times;
}


# Seconds that the workers have worked so far.

sub worked () {
    my $ticks = 0;

    for my $pid ($t->workers) {
        open my $file, '<', "/proc/$pid/stat" or next;
        my @fields = split ' ', <$file> =~ s/.*\) //r;
        $ticks += $fields[11] + $fields[12];
    }

    return $ticks / POSIX::sysconf(POSIX::_SC_CLK_TCK());
}

###############################################################################
# each server has another reason why it takes no requests

for my $method (@methods) {
    my $name  = $method->{directive};
    my $uri   = "/none_$method->{id}";
    my $group = $api->group("none_$method->{id}");
    my %id    = $group->all('id')->%*;

    $group->call(PATCH => "servers/$id{$address{b}}", { drain => \1 });
    $group->call(PATCH => "servers/$id{$address{c}}",
        { lrt => { health => 'down' } });

    # the others fail, and that is remembered

    $t->wait_for(sub {
        ($t->get($uri)->header('X-Upstream') // '') eq substr $uri, 1;
    });

    my $mark   = $t->log_mark;
    my $totals = $t->run(count => REQUESTS, concurrency => 4, uri => $uri);

    is_deeply($totals->{status}, { 502 => REQUESTS },
        "$name: nobody is left: 502");
    cmp_ok($totals->{slowest}, '<', timeout(0.5),
        "$name: nobody is left: at once");
    is($t->grep_log(qr/no live upstreams while connecting/, $mark), REQUESTS,
        "$name: nobody is left: each is told of");
}

my $before = worked();
sleep IDLE;
cmp_ok(worked() - $before, '<', BUSY, 'the workers have nothing to do then');

for my $method (@methods) {
    my $name  = $method->{directive};
    my $group = $api->group("none_$method->{id}");
    my $id    = $group->all('id')->{$address{a}};

    # nobody has kept a lock, and nobody remembers that there was no server

    is($group->call(PATCH => "servers/$id", { down => \0 })->status, 200,
        "$name: a server comes back");
    is_deeply($t->many(10, "/none_$method->{id}"), { a => 10 },
        "$name: and has all requests");
    $method->settles($t, "none_$method->{id}", 'a server comes back');
}

###############################################################################
# primaries fail, and come back: so does the traffic

my @twice;
my $watch = sub ($r, $number) { push @twice, twice($r) };

sub by ($method) {
    return $t->run(count => 12, uri => "/tiers_$method->{id}",
        on_response => $watch)->{by};
}


for my $method (@tiered) {
    is(join('', sort keys by($method)->%*) =~ s/[ab]//gr, '',
        "$method->{directive}: primaries work");
}

$t->backend($_)->stop(abort => 1) for qw(a b);

for my $method (@tiered) {
    like(join('', sort keys by($method)->%*), qr/^(?:c|d|cd)$/,
        "$method->{directive}: primaries fail: backups answer each request");
}

$t->backend($_)->start for qw(a b);

for my $method (@tiered) {
    ok($t->wait_for(sub {
        join('', sort keys by($method)->%*) =~ /^(?:a|b|ab)$/;
    }), "$method->{directive}: primaries come back: they have all requests");
}

is("@twice", '', 'meanwhile no request has asked a server twice');

###############################################################################
# a request is repeated on more servers than a word has bits

my $last = $many[-1];
$t->backend($_)->set(close => 1, delay => 4) for @many[0 .. MANY - 2];

for my $method (@methods) {
    my $name  = "$method->{directive}: " . (MANY - 1) . ' servers fail';
    my $uri   = "/many_$method->{id}";
    my $group = $api->group("many_$method->{id}");
    my @list  = map { { server => $_->{server}, max_fails => 0 } }
        $group->servers->@*;

    my $r = $t->get($uri);
    is($r->status, 502, "$name: 502");
    is(join(' ', sort { $a cmp $b } asked($r)),
        join(' ', sort { $a cmp $b } @many[0 .. MANY - 2]),
        "$name: each is asked once");

    # while they fail one after another the last one replaces all of them

    my $shrinks = sub ($what, $left) {
        $t->backend($_)->clear for @many;
        my @clients = map { $t->begin($uri) } 1 .. AT_ONCE;

        $t->wait_for(sub {
            my $requests = 0;
            $requests += $t->backend($_)->stats->{requests} for @many;
            return $requests >= 2 * AT_ONCE;
        });
        is($group->call(PUT => 'servers', $left)->status, 200,
            "$name, $what: the list is replaced");

        my @all = map { $_->receive } @clients;
        is(join(' ', map { twice($_) } @all), '',
            "$name, $what: no server is asked twice");
        return @all;
    };

    my @all = $shrinks->('another one is left', [$list[-1]]);
    is(join(' ', map { $_->status } @all), join(' ', (200) x AT_ONCE),
        "$name, another one is left: it answers all requests");
    is(join(' ', map { (asked($_))[-1] } @all), join(' ', ($last) x AT_ONCE),
        "$name, another one is left: as the last one that they ask");
    cmp_ok(scalar(map { asked($_) } @all), '>=', 3 * AT_ONCE,
        "$name, another one is left: others were asked before");

    $group->call(PUT => 'servers', [@list[0 .. MANY - 2]]);
    @all = $shrinks->('nobody is left', []);
    is(join(' ', map { $_->status } @all), join(' ', (502) x AT_ONCE),
        "$name, nobody is left: 502");
    is(join(' ', map { (asked($_))[-1] } @all),
        join(' ', ("many_$method->{id}") x AT_ONCE),
        "$name, nobody is left: the group ran out of servers");

    $method->settles($t, "many_$method->{id}", 'all servers fail');
}

$t->done;
