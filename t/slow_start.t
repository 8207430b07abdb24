#!/usr/bin/perl

# lrt_slow_start: a server that comes back gets a part of its requests, and of
# its max_conns, which rises; not at the start, nor at a reload.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use List::Util qw(sum0);
use Test::More;

use LRT;
use LRT::API;

my $t = LRT->new(name => 'slow', need => [qw(module proxy)]);

my @names = qw(a b c);
$t->backend($_) for @names;

# what a probe does not like is no failure of a request

my $check = q{
    lrt_health_check interval=200ms timeout=200ms fails=2 passes=1 match=well;
};

my $http = q{
    lrt_match well { header ! X-Ill; }

    upstream long {
        zone long 256k;
        round_robin_ext;
        server %%ADDRESS_a%%;
        server %%ADDRESS_b%%;
        server %%ADDRESS_c%%;
        lrt_slow_start 10m;
        CHECK;
    }

    upstream short {
        zone short 256k;
        least_conn_ext;
        server %%ADDRESS_a%%;
        server %%ADDRESS_b%%;
        server %%ADDRESS_c%%;
        lrt_slow_start 500ms;
        CHECK;
    }

    upstream full {
        zone full 256k;
        least_conn_ext;
        server %%ADDRESS_a%% max_conns=8;
        server %%ADDRESS_b%%;
        lrt_slow_start 10m;
        CHECK;
    }

    upstream lone {
        zone lone 256k;
        round_robin_ext;
        server %%ADDRESS_a%% max_conns=4;
        lrt_slow_start 10m;
        CHECK;
    }

    upstream trial {
        zone trial 256k;
        round_robin_ext;
        server %%ADDRESS_a%% fail_timeout=1s;
        server %%ADDRESS_b%%;
        lrt_slow_start 10m;
    }

    server {
        listen 127.0.0.1:%%PORT_http%% reuseport;
        location ~ ^/(?<group>\w+) { proxy_pass http://$group; }
    }

    server {
        listen 127.0.0.1:%%PORT_api%%;
        location /api { lrt_api write=on; }
    }
} =~ s/CHECK;/$check/gr;

$t->conf(workers => 2, http => $http)->start;

my $api   = LRT::API->new($t);
my $ill   = $t->address('a');
my %group = map { $_ => $api->group($_) } qw(long short full lone trial);


sub state_of ($name) { return $group{$name}->peer($ill)->{state} }

sub becomes ($state, @groups) {
    return $t->wait_for(sub {
        !grep { state_of($_) ne $state } @groups;
    });
}


# Requests that do not end: how many of them the server has.

sub held ($name, $count) {
    my @clients = map { $t->begin("/$name?hang=1") } 1 .. $count;

    my %active;
    $t->wait_for(sub {
        %active = map { $_ => $t->backend($_)->stats->{active} } @names;
        sum0(values %active) == $count;
    });

    $_->reset for @clients;
    $t->wait_for(sub {
        !grep { $t->backend($_)->stats->{active} } @names;
    });

    return $active{a};
}


# A tenth of a share, and what probes in between add to the ramp.

sub is_slow ($by, $what) {
    my $count = $by->{a} // 0;
    cmp_ok($count, '>', 0, "$what: it gets some");
    cmp_ok($count, '<', 20, 'but few');
}

###############################################################################
# at the start, and at a reload

my $even = { a => 10, b => 10, c => 10 };

is_deeply($t->many(30, '/long'), $even, 'no slow start at the start');
$t->reload;
is_deeply($t->many(30, '/long'), $even, 'nor at a reload');

###############################################################################
# by checks

$t->backend('a')->set(header => 'X-Ill: 1');
ok(becomes('unhealthy', qw(long short full lone)), 'a server fails its checks');
is_deeply($t->many(30, '/long'), { b => 15, c => 15 }, 'others do its work');

$t->backend('a')->set;
ok(becomes('up', qw(long short full lone)), 'it is well again');

is_slow($t->many(150, '/long'), 'round robin');
cmp_ok(held('full', 12), '<=', 2, 'least connections: it may have few at once');
is(held('lone', 4), 4, 'a lone server may have them all');

ok($t->wait_for(sub {
    my $by = $t->many(30, '/short');
    return 3 == grep { ($by->{$_} // 0) == 10 } @names;
}), 'a short slow start is over soon');

$t->reload;
is_slow($t->many(150, '/long'), 'a reload does not end it');

###############################################################################
# by an operator

my $id = $group{short}->peer($ill)->{id};

$t->conf(workers => 2, http => $http =~ s/500ms/10m/r);
$t->reload;

$group{short}->call(PATCH => "servers/$id", { down => LRT::API::true });
is_deeply($t->many(30, '/short'), { b => 15, c => 15 }, 'down');
$group{short}->call(PATCH => "servers/$id", { down => LRT::API::false });
is_slow($t->many(150, '/short'), 'up again');

###############################################################################
# by a trial

is($t->get('/trial?a.close=1')->status, 200, 'a failure') for 1 .. 2;
is_deeply($t->many(10, '/trial'), { b => 10 }, 'the server is shut out');

ok($t->wait_for(sub { $t->many(2, '/trial')->{a} }), 'a trial');

is_slow($t->many(60, '/trial'), 'that went well');

$t->done;
