#!/usr/bin/perl

# Checks and what nginx gets from below: a wall clock that jumps, random
# numbers that others need.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use LRT;
use LRT::Probed;
use LRT::Shim;

use constant MANY => 100;

my $t    = LRT->new(name => 'health_clock', need => [qw(module proxy)]);
my $shim = LRT::Shim->new($t, 'time')
    or $t->skip_all('needs a C compiler');
my $many = LRT::Probed->new($t, servers => MANY);

$many->conf(2);
$shim->start;

###############################################################################

ok($t->wait_for(sub { $many->all_probes > 3 * MANY }, 10), 'probes');

subtest 'the wall clock' => sub {
    my $mark = $t->log_mark;

    for my $shift (3600, -3600, 0) {
        my $before = time;
        $shim->set(shift => $shift);
        sleep 0.5;
        my $count = $many->probes($before, 0.5);
        cmp_ok($count, '<', MANY, "a jump to $shift s: no storm");
        $many->rate_is_right("$shift s: probes go on as before", 2);
    }

    ok($many->checks->all_become('up'), 'all servers are up');
    is(scalar(my @lines = $many->lines($mark)), 0, 'all the time');

    # times that the log tells of

    for my $shift (-86400, 0) {
        $mark = $t->log_mark;
        $many->flip_fails;
        ok($many->checks->becomes(flip => 'unhealthy'), 'a server fails');
        $shim->set(shift => $shift);
        $many->flip_passes;
        ok($many->checks->becomes(flip => 'up'), "and comes back, shift $shift s");

        my ($down) = map { /, after ([\d.]+) s/ }
            $t->grep_log(qr/unhealthy -> up/, $mark);
        cmp_ok($down, '>', 0.05, 'the log tells after how long');
        cmp_ok($down, '<', 60, 'which does not jump');
    }
};


subtest 'random numbers of nginx' => sub {
    my ($randoms, $srandoms) = map { $shim->get($_) } qw(randoms srandoms);

    cmp_ok($srandoms, '>', 0, 'calls are seen');
    $many->probes(time, 1);
    is($shim->get('randoms'), $randoms, 'none is taken away');
    is($shim->get('srandoms'), $srandoms, 'nor made predictable');
};


$t->done;
