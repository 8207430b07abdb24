#!/usr/bin/perl

# Checks and what nginx gets from below: a wall clock that jumps, random
# numbers that others need.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use List::Util qw(max min uniq);
use Test::More;
use Time::HiRes qw(sleep time);

use LRT;
use LRT::Checks;
use LRT::Net qw(timeout);
use LRT::Raw;
use LRT::Shim;

use constant {
    MANY     => 100,
    INTERVAL => 1,              # seconds
};

my $t    = LRT->new(name => 'health_clock', need => [qw(module proxy)]);
my $shim = LRT::Shim->new($t, 'time')
    or $t->skip_all('needs a C compiler');
my $raw  = LRT::Raw->new($t);
my $port = $t->port('many');

my @many = map {
    my $address = sprintf '127.1.%d.%d:%d', $_ / 200, 1 + $_ % 200, $port;
    $raw->server("n$_", listen => $address);
} 0 .. MANY - 1;

my $flip = $raw->server('flip');

my $u    = LRT::Checks->new($t, 'u');
my $many = LRT::Checks->new($t, 'many');

conf(2);
$shim->start;


sub conf ($workers) {
    my $servers = join '', map { 'server ' . $_->address . ";\n" } @many;

    return $t->conf(workers => $workers, http => qq{
        upstream many {
            zone many 4m;
            $servers
            server %%ADDRESS_flip%%;
            lrt_health_check interval=1s timeout=1s fails=1 passes=1;
        }
        upstream u {
            server 127.0.0.1:$port;
        }
        server {
            listen 127.0.0.1:%%PORT_http%%;
            location / { proxy_pass http://many; }
        }
    } . LRT::Checks::server());
}


# Times of probes from a time on, for some seconds.

sub probes ($from, $seconds) {
    my $left = $from + $seconds + 0.05 - time;
    sleep $left if $left > 0;

    my @times = grep { $_ >= $from && $_ < $from + $seconds }
        map { $_->[0] } $raw->all_requests;
    return @times;
}


# As many as there should be in that time: 5 % more or less.

sub rate_is_right ($name, $seconds = 2) {
    my $rate;

    # a machine that stops for a while has them later, or earlier

    for my $try (1 .. 3) {
        my @times = probes(time, $seconds);
        $rate = @times / $seconds / (MANY + 1) * INTERVAL;
        last if abs($rate - 1) <= 0.05;
        diag("$name: $rate");
    }

    return cmp_ok(abs($rate - 1), '<=', 0.05, $name);
}


###############################################################################

ok($t->wait_for(sub { $raw->all_requests > 3 * MANY }, 10), 'probes');

subtest 'the wall clock' => sub {
    my $mark = $t->log_mark;

    for my $shift (3600, -3600, 0) {
        my $before = time;
        $shim->set(shift => $shift);
        sleep 0.5;
        my $count = probes($before, 0.5);
        cmp_ok($count, '<', MANY, "a jump to $shift s: no storm");
        rate_is_right("$shift s: probes go on as before", 2);
    }

    ok($many->all_become('up'), 'all servers are up');
    is(scalar $t->grep_log(qr/upstream "many": server/, $mark), 0,
        'all the time');

    # times that the log tells of

    for my $shift (-86400, 0) {
        $mark = $t->log_mark;
        $flip->set(status => 500);
        ok($many->becomes(flip => 'unhealthy'), 'a server fails');
        $shim->set(shift => $shift);
        $flip->set;
        ok($many->becomes(flip => 'up'), "and comes back, shift $shift s");

        my ($down) = map { /, after ([\d.]+) s/ }
            $t->grep_log(qr/unhealthy -> up/, $mark);
        cmp_ok($down, '>', 0.05, 'the log tells after how long');
        cmp_ok($down, '<', 60, 'which does not jump');
    }
};


subtest 'random numbers of nginx' => sub {
    my ($randoms, $srandoms) = map { $shim->get($_) } qw(randoms srandoms);

    cmp_ok($srandoms, '>', 0, 'calls are seen');
    probes(time, 1);
    is($shim->get('randoms'), $randoms, 'none is taken away');
    is($shim->get('srandoms'), $srandoms, 'nor made predictable');
};


$t->done;
