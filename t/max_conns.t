#!/usr/bin/perl

# max_conns: never more requests at a time than it allows, over all workers,
# and never fewer than it allows when there are enough.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use LRT;
use LRT::Hooks;

my $t = LRT->new(name => 'max', need => [qw(module proxy)]);

my @methods = qw(round_robin_ext least_conn_ext);
my @names   = qw(a b c);
$t->backend($_) for @names;

my $groups = join '', map {
    qq{
        upstream full_$_ {
            $_;
            server %%ADDRESS_a%% max_conns=2;
            server %%ADDRESS_b%% max_conns=3 weight=5;
        }
        upstream rest_$_ {
            $_;
            server %%ADDRESS_a%% max_conns=2 weight=10;
            server %%ADDRESS_b%%;
        }
        upstream backup_$_ {
            $_;
            server %%ADDRESS_a%% max_conns=2;
            server %%ADDRESS_b%% max_conns=1;
            server %%ADDRESS_c%% max_conns=4 backup;
        }
        upstream lone_$_ { $_; server %%ADDRESS_a%% max_conns=1; }
        upstream twice_$_ {
            $_;
            server %%ADDRESS_a%% max_conns=2;
            server %%ADDRESS_a%% max_conns=1;
        }
        upstream kept_$_ {
            $_;
            server %%ADDRESS_a%% max_conns=2;
            keepalive 8;
        }
    }
} @methods;

$t->conf(workers => 2, http => qq{
    $groups

    proxy_http_version 1.1;
    proxy_set_header Connection "";
    add_header X-Worker \$pid always;

    server {
        listen 127.0.0.1:%%PORT_http%% reuseport;
        location ~ ^/(?<group>\\w+) { proxy_pass http://\$group; }
    }
} . LRT::Hooks::server($t))->start;


# Ends when nothing runs any more.

sub rest () {
    $t->wait_for(sub {
        !grep { $t->backend($_)->stats->{active} } @names;
    });
    $t->backend($_)->clear for @names;
}


sub most () {
    return { map { ($_ => $t->backend($_)->stats->{max_active}) } @names };
}


my %workers;

for my $method (@methods) {
    my $m = $method =~ s/_ext//r;

    # requests that stay, more than there is room for

    for my $round ('at first', 'when those have ended') {
        rest();
        my @held = map { $t->begin("/full_$method?hang=1") } 1 .. 5;
        $t->wait_for(sub {
            $t->backend('a')->stats->{active}
                + $t->backend('b')->stats->{active} == 5;
        });
        is_deeply(most(), { a => 2, b => 3, c => 0 },
            "$m: five requests fill both servers, $round");

        my $mark = $t->log_mark;
        is_deeply($t->many(6, "/full_$method"), { 502 => 6 },
            "$m: there is no room for more, $round");
        is($t->grep_log(qr/no live upstreams while connecting/, $mark), 6,
            "$m: which is logged, $round");
        is_deeply(most(), { a => 2, b => 3, c => 0 },
            "$m: and no server has seen more, $round");

        $_->reset for @held;
    }

    # many at a time from both workers: those that find room are answered,
    # and there is room as long as fewer than five are running

    rest();
    my $totals = $t->run(
        count => 200, concurrency => 20, uri => "/full_$method?delay=10",
        on_response => sub ($r, $n) { $workers{ $r->header('X-Worker') }++ },
    );
    is_deeply(most(), { a => 2, b => 3, c => 0 },
        "$m: 20 at a time: exactly the limit is used");
    is($totals->{ok} + ($totals->{failed}{'status 502'} // 0), 200,
        "$m: 20 at a time: the others are told so");

    rest();
    $totals = $t->run(
        count => 100, concurrency => 5, uri => "/rest_$method?delay=10");
    is($totals->{ok}, 100, "$m: what is too much for one goes to the other");
    cmp_ok(most()->{a}, '<=', 2, "$m: and the limit holds");

    rest();
    my @held = map { $t->begin("/backup_$method?hang=1") } 1 .. 7;
    $t->wait_for(sub { $t->backend('c')->stats->{active} == 4 });
    is_deeply(most(), { a => 2, b => 1, c => 4 },
        "$m: backups take what primaries cannot");
    is($t->get("/backup_$method")->status, 502, "$m: as far as they may");
    $_->reset for @held;

    rest();
    @held = map { $t->begin("/twice_$method?hang=1") } 1 .. 3;
    $t->wait_for(sub { $t->backend('a')->stats->{active} == 3 });
    is($t->get("/twice_$method")->status, 502,
        "$m: limits of a server that is listed twice are added");
    $_->reset for @held;

    # a lone server, whatever ends a request

    rest();

    for my $end (qw(status=500 close=1 reset=1 cut=1 size=100000 raw=x)) {
        $t->get("/lone_$method?$end");
        ok($t->wait_for(sub { $t->get("/lone_$method")->status == 200 }),
            "$m: a place is free again after $end");
    }

    # idle connections take no place

    rest();
    is($t->many(10, "/kept_$method?delay=2", concurrency => 2)->{a}, 10,
        "$m: connections are kept");
    @held = map { $t->begin("/kept_$method?hang=1") } 1 .. 2;
    ok($t->wait_for(sub { $t->backend('a')->stats->{active} == 2 }),
        "$m: and take no place while they are idle");
    $_->reset for @held;

    # the limit at run time

    my $hooks = LRT::Hooks->group($t, "full_$method") or next;
    my ($a, $b) = map { $t->address($_) } qw(a b);

    rest();
    $hooks->set($a, max_conns => 1)->set($b, max_conns => 1);
    $t->run(count => 60, concurrency => 6, uri => "/full_$method?delay=10");
    is_deeply(most(), { a => 1, b => 1, c => 0 },
        "$m: a new limit holds at once");

    rest();
    @held = map { $t->begin("/full_$method?hang=1") } 1 .. 2;
    $t->wait_for(sub { !grep { !$t->backend($_)->stats->{active} } qw(a b) });
    $hooks->set($a, max_conns => 3);
    push @held, map { $t->begin("/full_$method?hang=1") } 1 .. 2;
    ok($t->wait_for(sub { $t->backend('a')->stats->{active} == 3 }),
        "$m: there is room when it is raised");

    $hooks->set($a, max_conns => 2);
    is($t->get("/full_$method")->status, 502,
        "$m: and none when it is below what runs");

    $hooks->set($a, max_conns => 0);
    is($t->get("/full_$method")->body, 'a', "$m: 0 is no limit");

    $_->reset for @held;
    ok($hooks->settles, "$m: nothing is counted any more")
        or diag($hooks->unrest);
    is($hooks->all('max_conns')->{$b}, 1, "$m: the other limit is as it was");
}

is(scalar keys %workers, 2, 'both workers have worked');

$t->done;
