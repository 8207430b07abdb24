#!/usr/bin/perl

# The rolling restart: one server after another is drained, waited for,
# stopped, started again and, when its checks pass, put back - under load, and
# not one request fails.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use LRT;
use LRT::API;
use LRT::Checks;
use LRT::Methods;
use LRT::Net qw(timeout);

my $t = LRT->new(name => 'rolling', need => [qw(module proxy)]);


# requests of each group; LRT_REQUESTS=100000 takes some minutes for each

my $enough = $ENV{LRT_REQUESTS} || ($ENV{LRT_QUICK} ? 500 : 2000);

my @names  = 'a' .. 'd';
my $ms     = timeout(150);
my ($true, $false) = (LRT::API::true(), LRT::API::false());

# a request takes long enough to be there when its server drains

$t->backend($_, delay => '0-60') for @names;

my @methods = $ENV{LRT_LONG} ? LRT::Methods->all
    : grep { $_->{id} =~ /^(?:round_robin|iphash|last_byte)$/ }
        LRT::Methods->all;

my $servers = join ' ', map { "server %%ADDRESS_$_%%;" } @names;
my $groups  = join '', map { qq{
    upstream $_->{id} {
        $_->{directive};
        keepalive 16;
        $servers
        lrt_health_check uri=/health interval=${ms}ms timeout=${ms}ms
                         fails=2 passes=2 keepalive_time=10s;
    }
} } @methods;

# nothing may be repeated: that would hide what failed

$t->conf(workers => 2, http => qq{
    $groups
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_next_upstream off;
    server {
        listen 127.0.0.1:%%PORT_http%%;
        location ~ ^/(?<group>\\w+) { proxy_pass http://\$group; }
    }
} . LRT::Checks::server())->start;

###############################################################################

for my $method (@methods) {
    subtest $method->{directive} => sub {
        my $checks = LRT::Checks->new($t, $method->{id});
        my $load   = $t->load(uri => "/$method->{id}", concurrency => 16,
            keepalive => 1, from => [map { "127.0.6.$_" } 1 .. 50]);
        my $rounds = 0;

        ok($t->wait_for(sub { $load->totals->{requests} > 100 }), 'load');

        do {
            restart($checks, $_) for @names;
            $rounds++;
        } until $load->totals->{requests} >= $enough || $rounds >= 2000;

        my $totals = $load->stop;

        is_deeply($totals->{failed}, {}, 'no request failed')
            or diag($load->summary, "\n",
                join "\n", $totals->{first_failures}->@*);
        is($totals->{ok}, $totals->{requests}, 'all are good');
        cmp_ok($totals->{requests}, '>=', $enough, "in $rounds rounds");
        is_deeply([grep { !$totals->{by}{$_} } @names], [],
            'by all servers');
    };
}

# what a test that cannot fail would not see

subtest 'without draining' => sub {
    my $group  = $methods[0]{id};
    my $checks = LRT::Checks->new($t, $group);
    my $load   = $t->load(uri => "/$group", concurrency => 16, keepalive => 1);

    ok($t->wait_for(sub { $load->totals->{requests} > 100 }), 'load');
    $t->backend('a')->stop(abort => 1);
    ok($checks->becomes(a => 'unhealthy'), 'a server is gone');

    my $failed = failures($load);
    cmp_ok($failed, '>', 0, 'requests fail');
    sleep timeout(0.2);
    $failed = failures($load);
    sleep timeout(0.4);
    is(failures($load), $failed, 'until the checks have seen it');

    $t->backend('a')->start;
    ok($checks->becomes(a => 'up'), 'it is back');
    is(failures($load), $failed, 'when it is there');
    $load->stop;
};


sub failures ($load) {
    my $totals = $load->totals;
    return $totals->{requests} - $totals->{ok};
}


# As the manual has it.

sub restart ($checks, $name) {
    my $id = $checks->id($name);

    patch($checks, $id, { drain => $true });
    $t->wait_for(sub {
        ($checks->api->peer($t->address($name)) // {})->{active} == 0
    }, 10) or fail("$name is idle");

    # what is idle is closed with the server

    $t->backend($name)->stop;
    $checks->becomes($name => 'draining') or fail("$name drains");
    sleep 3 * $ms / 1000;               # it is found dead
    $t->backend($name)->start;

    # drain hides what its checks say: they have had their time

    passes($checks, $name);
    patch($checks, $id, { drain => $false });
    $checks->becomes($name => 'up') or fail("$name is up");
}


sub patch ($checks, $id, $change) {
    my $r = $checks->api->call(PATCH => "servers/$id", $change);
    is($r->status, 200, 'a change') or diag($r->body) if $r->status ne '200';
}


sub passes ($checks, $name) {
    $t->backend($name)->clear;
    $t->wait_for(sub {
        2 <= grep { $_->{uri} eq '/health' } $t->backend($name)->requests
    });
    sleep $ms / 1000;
}

$t->done;
