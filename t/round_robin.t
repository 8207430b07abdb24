#!/usr/bin/perl

# round_robin_ext: every server gets its share exactly, in smooth order, over
# all workers; down, backup and failing servers; weights that change.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use List::Util qw(sum);
use Test::More;

use LRT;
use LRT::Hooks;

my $t = LRT->new(name => 'rr', need => [qw(module proxy)]);

my @names = qw(a b c d);
$t->backend($_) for @names;

my @weights = (
    [1, 1], [1, 1, 1, 1], [5, 1, 1], [3, 2], [2, 2, 2], [10, 1],
    [7, 5, 3, 1], [4, 6], [50, 30, 7],
);

my $groups = '';

for my $i (0 .. $#weights) {
    my @w = $weights[$i]->@*;
    $groups .= "upstream w$i { round_robin_ext; " . join(' ', map {
        "server %%ADDRESS_$names[$_]%% weight=$w[$_];"
    } 0 .. $#w) . " }\n";
}

# connections are spread over the workers by their ports, one after another

my $http = $groups . q{
    upstream down {
        round_robin_ext;
        server %%ADDRESS_a%%;
        server %%ADDRESS_b%% down;
        server %%ADDRESS_c%% weight=2;
        server %%ADDRESS_d%% down weight=5;
    }

    upstream backup {
        round_robin_ext;
        server %%ADDRESS_a%%;
        server %%ADDRESS_b%% weight=2;
        server %%ADDRESS_c%% backup;
        server %%ADDRESS_d%% backup weight=2;
    }

    upstream only_backups {
        round_robin_ext;
        server %%ADDRESS_a%% down;
        server %%ADDRESS_b%% backup;
        server %%ADDRESS_c%% backup down;
        server %%ADDRESS_d%% backup;
    }

    upstream all_down {
        round_robin_ext;
        server %%ADDRESS_a%% down;
        server %%ADDRESS_b%% down backup;
    }

    upstream retries {
        round_robin_ext;
        server %%ADDRESS_a%% max_fails=0;
        server %%ADDRESS_b%% max_fails=0;
        server %%ADDRESS_c%% max_fails=0;
        server %%ADDRESS_d%% max_fails=0;
    }

    upstream changes {
        round_robin_ext;
        server %%ADDRESS_a%%;
        server %%ADDRESS_b%%;
        server %%ADDRESS_c%%;
    }

    server {
        listen 127.0.0.1:%%PORT_http%% reuseport;

        add_header X-Worker $pid always;
        add_header X-Upstream $upstream_addr always;

        location ~ ^/(?<group>\w+) { proxy_pass http://$group; }
    }
} . LRT::Hooks::server($t);

###############################################################################
# shares and order, over any number of workers

for my $workers (1, 2, 4) {
    $t->conf(http => $http, workers => $workers)->start;

    my $on = "over $workers worker" . ($workers > 1 ? 's' : '');
    my %workers;

    for my $i (0 .. $#weights) {
        my @w     = $weights[$i]->@*;
        my $total = sum(@w) / divisor(@w);
        my %share = map { ($names[$_] => $w[$_] / sum(@w)) } 0 .. $#w;
        my $name  = "weights @w $on";

        my @order = @{ $t->run(
            count => 3 * $total, uri => "/w$i", on_response => sub ($r, $n) {
                $workers{ $r->header('X-Worker') }++;
            },
        )->{order} };

        is(off_period(\@order, $total, \%share), '',
            "$name: each period of $total requests is exact");

        if (grep { $_ != $w[0] } @w) {
            cmp_ok(deviation(\@order, \%share), '<', 2,
                "$name: no stretch of requests is far from the shares");
        } else {
            is("@order", join(' ', (@names[0 .. $#w]) x 3),
                "$name: the order is that of the configuration");
        }

        is_deeply(
            $t->many(2 * $total, "/w$i", concurrency => 10),
            { map { ($_ => 2 * $total * $share{$_}) } keys %share },
            "$name: ten at a time are exact as well");
    }

    is(scalar keys %workers, $workers, "$on: all have worked");
    $t->stop unless $workers == 4;
}


sub divisor ($a, @more) {
    for my $b (@more) {
        ($a, $b) = ($b, $a % $b) while $b;
    }
    return $a;
}


# The first period, at any place, in which somebody did not get its share.

sub off_period ($order, $total, $share) {
    for my $begin (0 .. @$order - $total) {
        my %count;
        $count{$_}++ for @$order[$begin .. $begin + $total - 1];

        for my $name (sort keys %$share) {
            my $wanted = sprintf '%.0f', $total * $share->{$name};
            my $got    = $count{$name} // 0;
            return "$name: $got of $wanted from request $begin on"
                if $got != $wanted;
        }
    }

    return '';
}


# The largest difference, over all stretches of requests, between what a
# server got and its share.

sub deviation ($order, $share) {
    my $largest = 0;

    for my $name (keys %$share) {
        my ($low, $high, $sum) = (0, 0, 0);

        for my $got (@$order) {
            $sum += ($got eq $name) - $share->{$name};
            $low  = $sum if $sum < $low;
            $high = $sum if $sum > $high;
        }

        $largest = $high - $low if $high - $low > $largest;
    }

    return $largest;
}

###############################################################################
# down and backup

is_deeply($t->many(9, '/down'), { a => 3, c => 6 },
    'servers that are down get nothing, the others by weight');

is_deeply($t->many(9, '/backup'), { a => 3, b => 6 },
    'backups get nothing while primaries work');

is_deeply($t->many(10, '/only_backups'), { b => 5, d => 5 },
    'when all primaries are down the backups share');

my $mark = $t->log_mark;
my $r    = $t->get('/all_down');
is($r->status, 502, 'with all servers down the answer is 502');
is($r->header('X-Upstream'), 'all_down', 'and the group is named');
is($t->grep_log(qr/\[error\] .* no live upstreams while connecting/, $mark), 1,
    'which is logged');

$t->backend('a')->stop;
is_deeply($t->many(9, '/backup'), { b => 9 },
    'a primary that fails is replaced by another primary');

$t->backend('b')->stop;
like($t->get('/backup')->body, qr/[cd]/, 'the last primary by a backup');
is_deeply($t->many(9, '/backup'), { c => 3, d => 6 },
    'when all primaries have failed the backups share by weight');

$t->backend($_)->start for qw(a b);

###############################################################################
# a retry does not take the turn of a new request

$t->backend('b')->set(close => 1);

my (@first, %second);
$t->run(count => 24, uri => '/retries', on_response => sub ($r, $number) {
    my ($first, $second) = split /, /, $r->header('X-Upstream');
    push @first, $first;
    $second{$second}++ if $second;
});
$t->backend('b')->set;

is("@first", join(' ', (map { $t->address($_) } @names) x 6),
    'first attempts go on in order though one server fails');
is_deeply(\%second, { map { ($t->address($_) => 2) } qw(a c d) },
    'and retries are spread evenly over the others');

###############################################################################
# changes at run time

SKIP: {
    my $group = LRT::Hooks->group($t, 'changes') or skip 'no test hooks', 1;
    my ($a, $b, $c, $d) = map { $t->address($_) } @names;

    is_deeply($t->many(9, '/changes'), { a => 3, b => 3, c => 3 },
        'three servers share');

    $group->set($a, weight => 4);
    is_deeply($t->many(18, '/changes'), { a => 12, b => 3, c => 3 },
        'a new weight is followed exactly');

    $group->set($b, down => 1);
    is_deeply($t->many(15, '/changes'), { a => 12, c => 3 },
        'a server that is set down gets no more');

    $group->set($b, down => 0, weight => 3)->set($a, weight => 1);
    is_deeply($t->many(15, '/changes'), { a => 3, b => 9, c => 3 },
        'and its new share when it is set up');

    my $id = $group->add($d, weight => 5);
    is_deeply($t->many(20, '/changes'), { a => 2, b => 6, c => 2, d => 10 },
        'a new server gets its share');

    $group->set($d, drain => 1);
    is_deeply($t->many(10, '/changes'), { a => 2, b => 6, c => 2 },
        'a server that drains gets no new requests');

    $group->remove($id)->remove($c);
    is_deeply($t->many(8, '/changes'), { a => 2, b => 6 },
        'nor does one that was removed');

    $group->add($c, backup => 1);
    is_deeply($t->many(8, '/changes'), { a => 2, b => 6 },
        'nor one that came back as a backup');

    $group->set($_, down => 1) for $a, $b;
    is_deeply($t->many(8, '/changes'), { c => 8 },
        'until it is the last one');

    $group->method('least_conn_ext');
    is_deeply($t->many(4, '/changes'), { c => 4 },
        'another method serves the same servers');
    is($group->dump->{method}, 'least_conn_ext', 'as the table says');
    $group->method('round_robin_ext');

    $group->set($a, down => 0)->set($b, down => 0);
    is_deeply($t->many(8, '/changes'), { a => 2, b => 6 },
        'and back');

    ok($group->settles, 'the table is valid, no request in flight')
        or diag($group->unrest);

    is($group->refusal('add', server => $a), '409 exists',
        'an address that is there cannot be added');
    is($group->refusal('set', id => $a, weight => 0), '400 invalid',
        'nor a weight of 0 be set');
    is_deeply($t->many(8, '/changes'), { a => 2, b => 6 },
        'a refused change changes nothing');
}

$t->done;
