#!/usr/bin/perl

# Each method with what nginx puts around a balancer: kept connections,
# sticky, X-Accel-Redirect, mirror, the cache and its updates in the
# background, subrequests, slices.  The servers are two more nginx; first both
# live, then one of them is dead.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use LRT;
use LRT::Hooks;
use LRT::Methods;

my $t = LRT->new(
    name => 'around', need => [qw(module proxy rewrite upstream_keepalive)]);

my @methods = LRT::Methods->all;
my @names   = qw(one two);
my %name    = map { ($t->address($_) => $_) } @names;

###############################################################################
# the servers

my $file = join ' ', 100 .. 170;        # three slices

mkdir $t->dir . '/files';
chmod 0755, $t->dir . '/files';
$t->write("files/slice_$_->{id}", $file) for @methods;

# answers tell who gave them, on which connection, and are never the same

my %nginx = map {
    my $name = $_;

    $name => LRT->new(name => $name)->conf(http => qq{
        server {
            listen 127.0.0.1:%%PORT_$name%%;
            default_type text/html;
            set \$answer "$name \$connection \$request_id";

            location / { return 200 \$answer; }
            location ~ ^/(?<group>accel_\\w+) {
                add_header X-Accel-Redirect /again/\$group;
                return 200;
            }
            location ~ ^/(?<group>ssi_\\w+) {
                return 200 '<!--# include virtual="/part/\$group" --> \$answer';
            }
            location /slice_ { root @{[ $t->dir ]}/files; }
            location /deny/ { return 403; }
        }
    }, access_format => '$uri $status')->start;
} @names;

###############################################################################
# the proxy

# A feature: how its group looks, a GROUP whose name is that of feature and
# method, what is in its location, and which other locations it needs.

my %features = (
    keepalive_before => { group => 'keepalive 8; METHOD SERVERS' },
    keepalive_after  => { group => 'METHOD SERVERS keepalive 8;' },

    accel => {
        picks  => 2,
        beside => 'location = /again/GROUP { internal; PASS }',
    },
    cache => {
        in => q{
            proxy_cache cache;
            proxy_cache_valid 200 1s;
            proxy_cache_use_stale updating;
            proxy_cache_background_update on;
            add_header X-Cache $upstream_cache_status;
            PASS
        },
    },
    mirror => {
        picks  => 2,
        in     => 'mirror /copy/GROUP; PASS',
        beside => 'location = /copy/GROUP { internal; PASS }',
    },
    auth_request => {
        picks  => 2,
        in     => 'auth_request /check/GROUP; PASS',
        beside => q{
            location = /check/GROUP { internal; PASS }
            location = /denied/GROUP { auth_request /deny/GROUP; PASS }
            location = /deny/GROUP { internal; PASS }
        },
    },
    ssi_filter => {
        name   => 'ssi',
        picks  => 2,
        in     => 'ssi on; PASS',
        beside => 'location = /part/GROUP { internal; PASS }',
    },
    addition_filter => {
        name   => 'addition',
        picks  => 2,
        in     => 'add_after_body /part/GROUP; PASS',
        beside => 'location = /part/GROUP { internal; PASS }',
    },
    slice_filter => {
        name  => 'slice',
        picks => 3,
        in    => q{
            slice 100;
            proxy_cache cache;
            proxy_cache_key $request_uri$slice_range;
            proxy_cache_valid 206 1h;
            proxy_set_header Range $slice_range;
            PASS
        },
    },
);

my @missing = grep { !$t->has($_) }
    qw(mirror auth_request ssi_filter addition_filter slice_filter);
delete @features{@missing};

# connections are kept without being told

$features{keepalive_default} = {}
    if $t->has_version('1.29.7') && !$t->has('angie');

my $has_sticky = $t->has('upstream_sticky') && !$t->has('angie');
$features{sticky} = { group => 'METHOD SERVERS sticky cookie server;' }
    if $has_sticky;

my $servers = join ' ',
    map { "server 127.0.0.1:%%PORT_$_%% max_fails=0;" } @names;
my ($groups, $locations) = ('', '');

for my $key (sort keys %features) {
    my $feature = $features{$key};
    my $prefix  = $feature->{name} //= $key;

    for my $method (@methods) {
        my $name   = "${prefix}_$method->{id}";
        my $group  = $feature->{group} // 'METHOD SERVERS';
        my $in     = $feature->{in} // 'PASS';
        my $beside = $feature->{beside} // '';

        $groups    .= "upstream GROUP { $group }\n"
            =~ s/METHOD/$method->{directive};/r =~ s/GROUP/$name/r;
        $locations .= "location = /GROUP { $in }\n$beside\n"
            =~ s/PASS/proxy_pass http:\/\/GROUP;/gr =~ s/GROUP/$name/gr;
    }
}

if ($has_sticky) {
    $groups    .= "upstream stock { SERVERS sticky cookie server; }\n";
    $locations .= 'location = /stock { proxy_pass http://stock; }';
}

$groups =~ s/SERVERS/$servers/g;

$t->conf(http => qq{
    $groups
    proxy_cache_path %%DIR%%/cache keys_zone=cache:1m;
    proxy_http_version 1.1;
    proxy_set_header Connection "";

    server {
        listen 127.0.0.1:%%PORT_http%%;
        add_header X-Peer \$lrt_peer always;
        $locations
    }
} . LRT::Hooks::server($t))->start;

###############################################################################
# the tests

# The names of the servers that were asked, "one, two : one".

sub asked ($r) {
    return join '', map { $name{$_} // $_ }
        split /( : |, )/, $r->header('X-Peer') // '';
}


# Who answered, by the body: several names if several requests did.

sub who ($r) {
    my $body = $r->body;
    my $name = qr/(one|two) \d+ \w{32}/;

    return $body eq $file             ? asked($r) =~ s/.* //r
         : $body =~ /^$name$/         ? $1
         : $body =~ /^$name ?$name$/  ? "$1 $2"
         :                              $r->status;
}


# How many requests each server had since the last call, when as many as
# wanted have come: the copies of mirror are not waited for by anybody.

sub served ($group, $wanted) {
    state %known;
    my %served;

    $t->wait_for(sub {
        for (@names) {
            my $all = $nginx{$_}->access_log(qr{^/(?!deny)(?:\w+/)?$group });
            $served{$_} = $all - ($known{$_}{$group} // 0);
        }
        return $served{one} + $served{two} >= $wanted;
    });

    $known{$_}{$group} += $served{$_} for @names;
    return \%served;
}


my %home;                       # group => who answered each client

sub test_feature ($feature, $method, $dead) {
    my $group   = "$feature->{name}_$method->{id}";
    my $what    = $feature->{name} . ($dead ? ', a server is dead' : '');
    my $name    = "$method->{directive}: $what: ";
    my $number  = 0;
    my @all     = map { $t->get("/$group?$dead" . $number++, from => $_) }
        LRT::Methods::clients;
    my @answers = map { who($_) } @all;
    my @asked   = map { asked($_) } @all;
    my $good    = $dead ? qr/two/ : qr/(?:one|two)/;

    is(join('; ', grep { !/^$good(?: $good)?$/ } @answers), '',
        $name . 'the right answers');

    # to whom requests, copies, parts and slices went

    my $picks  = @all * ($feature->{picks} // 1);
    my $served = served($group, $picks);

    is($served->{one} + $served->{two}, $picks, $name . 'no request too many');
    is(join(' ', grep { $served->{$_} } @names), $dead ? 'two' : 'one two',
        $name . 'who had them');
    is($served->{one}, $served->{two}, $name . 'the same number')
        if !$dead && $method->{id} eq 'round_robin';

    # all requests of a client go to one server

    if ($method->is_sticky) {
        my @home = map { s/ .*//r } @answers;

        if ($dead) {
            @home = map { $_ eq 'one' ? 'one, two' : $_ } $home{$group}->@*;
        } else {
            $method->balances($what, @home);
            $home{$group} = [@home];
        }

        @home = map { "$_ : $_" } @home if $feature->{name} eq 'accel';
        is(join('; ', @asked), join('; ', @home),
            $name . 'each client asks its server');
        is(join('; ', grep { /^(\w+) (?!\1)/ } @answers), '',
            $name . 'also in subrequests');
    }

    if ($feature->{name} =~ /^keepalive/) {
        my %connections = map { ($_->body =~ s/ \w+$//r => 1) } @all;

        is(keys %connections, $dead ? 1 : 2,
            $name . 'a connection to each server is enough');
        $dead ? $method->fails_over($what, \@answers, @asked)
              : $method->balances($what, @answers) if !$method->is_sticky;
    }

    $method->settles($t, $group, $what);
}


# The cookies are those of stock nginx, so that a method may replace another.

sub cookie ($r) {
    return ($r->header('Set-Cookie') // '') =~ s/^server=(\w+).*/$1/r;
}


sub test_sticky ($method, $cookie) {
    my $group = "sticky_$method->{id}";
    my $name  = "$method->{directive}: sticky: ";

    my @all = map { $t->get("/$group", from => $_) } LRT::Methods::clients;

    is_deeply({ map { (who($_) => cookie($_)) } @all }, $cookie,
        $name . 'cookies are those of stock nginx');
    $method->balances('sticky, new clients', map { who($_) } @all);

    for my $server (@names) {
        my @answers = map {
            who($t->get("/$group", from => $_,
                headers => [Cookie => "server=$cookie->{$server}"]))
        } LRT::Methods::clients;
        is_deeply(\@answers, [($server) x @answers],
            $name . "a cookie leads to its server ($server)");
    }

    $method->settles($t, $group, 'sticky');
}


sub test_sticky_dead ($method, $cookie) {
    my $group = "sticky_$method->{id}";
    my $name  = "$method->{directive}: sticky, a server is dead: ";

    my $r = $t->get("/$group", headers => [Cookie => "server=$cookie->{one}"]);

    is(asked($r), 'one, two', $name . 'its clients go to the other');
    is(cookie($r), $cookie->{two}, $name . 'and stay there');
    $method->settles($t, $group, 'sticky, a server is dead');
}


# What is stale is answered with at once, and replaced by another request.

sub cached ($method, $dead) {
    my $r = $t->get("/cache_$method->{id}?$dead");
    return ($r->header('X-Cache') // $r->status, $r->body);
}


# Returns what is in the cache.

sub fill_cache ($dead) {
    my %bodies;

    for my $method (@methods) {
        (my $status, $bodies{ $method->{id} }) = cached($method, $dead);
        is($status, 'MISS', "$method->{directive}: cache: nothing is there");
    }

    return \%bodies;
}


sub test_cache ($method, $dead, $filled) {
    my $what = 'cache' . ($dead ? ', a server is dead' : '');
    my $name = "$method->{directive}: $what: ";
    my $old  = $filled->{ $method->{id} };
    my ($status, $body, $new);

    $t->wait_for(sub {
        ($status, $body) = cached($method, $dead);
        return $status ne 'HIT';
    });
    is("$status $body", "STALE $old", $name . 'a stale answer');

    $t->wait_for(sub {
        ($status, $new) = cached($method, $dead);
        return $new ne $old;
    });
    like($status, qr/^(?:HIT|STALE|UPDATING)$/,
        $name . 'it is replaced in the background');

    my ($first, $second) = map { s/ .*//r } $old, $new;
    if ($dead) {
        is($second, 'two', $name . 'by the server that lives');
    } elsif ($method->is_sticky) {
        is($second, $first, $name . 'by the same server');
    } elsif ($method->is_even) {
        isnt($second, $first, $name . 'by the other server');
    }

    $method->settles($t, "cache_$method->{id}", $what);
}


SKIP: {
    push @missing, 'sticky' if !$has_sticky;
    skip "no @missing", 1 if @missing;
    pass('nginx has it all');
}

my @simple = map { $features{$_} }
    grep { !/^(?:cache|sticky)$/ } sort keys %features;
my %cookie;

if ($has_sticky) {
    %cookie = map { (who($_) => cookie($_)) }
        map { $t->get('/stock') } 1 .. 4;
}

for my $dead (0, 1) {
    $nginx{one}->stop('TERM') if $dead;
    my $filled = fill_cache($dead);

    for my $method (@methods) {
        test_feature($_, $method, $dead) for @simple;

        SKIP: {
            skip 'no auth_request', 1 unless $features{auth_request};
            is($t->get("/denied/auth_request_$method->{id}")->status, 403,
                "$method->{directive}: auth_request: denied");
        }

        SKIP: {
            skip 'no sticky', 1 unless $has_sticky;
            $dead ? test_sticky_dead($method, \%cookie)
                  : test_sticky($method, \%cookie);
        }
    }

    # by now it is stale, or will be soon

    test_cache($_, $dead, $filled) for @methods;
}

$t->done;
