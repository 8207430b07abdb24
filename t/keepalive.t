#!/usr/bin/perl

# Connections to servers that are kept: with "keepalive" before and after our
# directive, and without it where nginx keeps them by itself.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use LRT;
use LRT::Hooks;

my $t = LRT->new(
    name => 'keepalive', need => [qw(module proxy upstream_keepalive)]);

$t->backend($_) for 'a' .. 'c';
my ($a, $b, $c) = map { $t->backend($_) } 'a' .. 'c';

# where "keepalive" may stand

my %variants = (
    before => ['keepalive 8;', ''],
    after  => ['', 'keepalive 8;'],
);

$variants{default} = ['', '']
    if $t->has_version('1.29.7') && !$t->has('angie');

my @cases = map {
    my $method = $_;
    map { [$_, $method, "${method}_$_"] } sort keys %variants;
} qw(round_robin_ext least_conn_ext);

my $groups = '';

for my $case (@cases) {
    my ($variant, $method, $name) = @$case;
    my ($first, $last) = $variants{$variant}->@*;

    $groups .= qq{
        upstream two_$name {
            $first
            $method;
            server %%ADDRESS_a%%;
            server %%ADDRESS_b%%;
            $last
        }
        upstream lone_$name {
            $first
            server %%ADDRESS_a%%;
            $method;
            $last
        }
        upstream three_$name {
            $first
            server %%ADDRESS_a%% max_fails=0;
            server %%ADDRESS_b%% max_fails=0;
            $method;
            server %%ADDRESS_c%% max_fails=0 backup;
            $last
        }
        upstream failing_$name {
            $first
            $method;
            server %%ADDRESS_a%%;
            server %%ADDRESS_b%%;
            $last
        }
    };
}

$t->conf(http => qq{
    $groups

    upstream few {
        least_conn_ext;
        server %%ADDRESS_a%%;
        keepalive 8;
        keepalive_requests 3;
    }

    proxy_http_version 1.1;
    proxy_set_header Connection "";
    add_header X-Upstream \$upstream_addr always;

    server {
        listen 127.0.0.1:%%PORT_http%%;
        location ~ ^/(?<group>\\w+) { proxy_pass http://\$group; }
    }
} . LRT::Hooks::server($t))->start;


# No connections are left of what was before.

sub start_over () {
    $_->set, $_->close_idle, $_->clear for $a, $b, $c;
}


# Fills the pool of a group with so many connections to each server.

sub fill ($group, $count, $delay = 30) {
    $t->many($count, "/$group?delay=$delay", concurrency => $count);
    $t->wait_for(sub { !grep { $_->stats->{active} } $a, $b });
}


# The fails of its servers, if hooks show them.

sub no_fails ($group, $name) {
    SKIP: {
        my $hooks = LRT::Hooks->group($t, $group) or skip 'no test hooks', 1;
        my $fails = $hooks->all('fails');
        is(join(' ', values %$fails), join(' ', map { 0 } keys %$fails), $name);
        ok($hooks->settles, "$name, and nothing is counted any more")
            or diag($hooks->unrest);
    }
}


for my $case (@cases) {
    my ($variant, $method, $name) = @$case;
    my $m = ($method =~ s/_ext//r) . ", keepalive $variant";
    my ($two, $lone, $three, $failing) =
        map { "${_}_$name" } qw(two lone three failing);

    # reuse

    start_over();
    is(join(' ', $t->sequence(12, "/$two")), join(' ', qw(a b) x 6),
        "$m: the order is that without keepalive");
    is($a->stats->{connections} + $b->stats->{connections}, 2,
        "$m: one connection to each server is enough");

    start_over();
    fill($two, 6, 150);
    is($a->stats->{connections} + $b->stats->{connections}, 6,
        "$m: six requests at a time need six connections");
    fill($two, 6);
    is($a->stats->{connections} + $b->stats->{connections}, 6,
        "$m: and so do the next six");

    # the server closes connections while they are idle ...

    start_over();
    fill($two, 4);
    $_->close_idle for $a, $b;
    is_deeply($t->many(6, "/$two"), { a => 3, b => 3 },
        "$m: idle connections that the server closes do no harm");

    # ... or just when they are used again

    my $mark = $t->log_mark;

    for my $group ($two, $lone) {
        start_over();
        fill($group, 4);
        $_->clear for $a, $b;
        $_->set(close => 1, times => 1) for $a, $b;

        my $r = $t->get("/$group");
        is($r->status, 200,
            "$m: a request on a stale connection succeeds ($group)");
        like($r->header('X-Upstream'), qr/, /,
            "$m: on another connection ($group)");
        $_->set for $a, $b;
        no_fails($group, "$m: nobody is to blame ($group)");
    }

    for my $how (qw(close reset)) {
        start_over();
        fill($lone, 4);
        $a->set($how => 1, times => 4);
        is($t->get("/$lone")->status, 200,
            "$m: though all kept connections are stale ($how)");
        no_fails($lone, "$m: nobody is to blame ($how)");
    }

    # a request that may have been worked on is not sent twice

    start_over();
    fill($lone, 1);
    $a->clear;
    $a->set(close => 1, times => 1);
    is($t->post("/$lone", 'x')->status, 502,
        "$m: a POST on a stale connection is not repeated");
    is($a->stats->{requests}, 1, "$m: it was sent once");
    no_fails($lone, "$m: but the server is not to blame");

    is_deeply($t->many(4, "/$two"), { a => 2, b => 2 },
        "$m: all servers are still in use");
    is($t->grep_log(qr/temporarily disabled/, $mark), 0,
        "$m: none was disabled");

    # real failures

    start_over();
    fill($failing, 4);
    $a->stop;
    $mark = $t->log_mark;
    is_deeply($t->many(6, "/$failing"), { b => 6 },
        "$m: a server that is gone");
    is($t->grep_log(qr/temporarily disabled/, $mark), 1, "$m: is disabled");
    $a->start;

    start_over();
    $_->set(close => 1) for $a, $b, $c;
    my $r = $t->get("/$three");
    is($r->status, 502, "$m: all servers fail");
    my @asked = split /, /, $r->header('X-Upstream');
    is(join(' ', sort @asked), join(' ', sort map { $_->address } $a, $b, $c),
        "$m: each was tried once");
    is($asked[2], $c->address, "$m: the backup at last");

    start_over();
    $a->set(status => 500);
    is($t->get("/$lone")->status, 500, "$m: an error of the server")
        for 1 .. 2;
    is($a->stats->{connections}, 1, "$m: its connection is kept");

    # removed and added servers

    start_over();
    my $hooks = LRT::Hooks->group($t, $two) or next;

    fill($two, 4);
    $hooks->remove($b->address);
    $hooks->add($c->address);
    is_deeply($t->many(8, "/$two"), { a => 4, c => 4 },
        "$m: kept connections of a removed server are not used");
    $hooks->remove($c->address);
    $hooks->add($b->address);
    $b->clear;
    is_deeply($t->many(8, "/$two"), { a => 4, b => 4 },
        "$m: nor those of another one");
    is($b->stats->{connections}, 0,
        "$m: but again when the address is added again");
    no_fails($two, "$m: nobody is to blame for changes");
}

start_over();
$t->many(9, '/few');
is($a->stats->{connections}, 3, 'keepalive_requests is obeyed');

start_over();
$t->done;
