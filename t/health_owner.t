#!/usr/bin/perl

# Who probes: one worker for all, whatever happens to it, as often as it
# should be, and not all servers at once.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use List::Util qw(max);
use Test::More;
use Time::HiRes qw(sleep time);

use LRT;
use LRT::Net qw(timeout);
use LRT::Probed;

use constant {
    MANY     => 400,
    STALL    => 0.04,           # without a probe: the machine was busy
    MARGIN   => 0.04,           # seconds until a busy machine does what is due
};

my $t    = LRT->new(name => 'health_owner', need => [qw(module proxy)]);
my $many = LRT::Probed->new($t, servers => MANY);

$many->conf(8);
$t->start;


# How long after a time probes go on, in intervals; those that were on their
# way then do not count.

sub takes_over ($from, $name) {
    my $first;

    $t->wait_for(sub {
        ($first) = grep { $_ > $from + 0.1 } $many->all_probes;
    });

    cmp_ok(($first // time) - $from, '<', 2 * timeout($many->interval), $name);
}

###############################################################################

subtest 'so often, and evenly' => sub {
    ok($t->wait_for(sub { $many->all_probes > MANY }), 'a first round');
    my $begin = ($many->all_probes)[0];

    my @times = $many->probes($begin, 1.1 * $many->interval);
    cmp_ok(scalar(@times), '<', 1.5 * MANY, 'which is no rush');

    sleep 0.01 while time < $begin + 2.5 * $many->interval;
    $many->rate_is_right('probes of 8 workers are those of one');

    my ($most, $windows);

    for my $try (1 .. 3) {
        ($most, $windows) = busiest($many->probes(time - 2, 2));
        last if $windows > 15 && $most <= 2;
        sleep 3;
    }

    cmp_ok($windows, '>', 15, 'a time without stalls');
    cmp_ok($most, '<=', 2, 'never more than twice as many as on average');
};


# The most of 100 ms, in relation to the mean; but for those behind a stall,
# when all that had to wait comes at once.

sub busiest (@times) {
    my $mean = $many->count / 10 / $many->interval;
    my ($most, $windows, $from, $stall) = (0, 0, 0, 0);
    my $last = $times[0];

    for my $i (0 .. $#times) {
        $stall = $times[$i] if $times[$i] - $last > STALL;
        $last = $times[$i];
        $from++ while $times[$from] <= $last - 0.1;

        next if $last - $stall < 0.3 || $last - $times[0] < 0.1;
        $most = max $most, ($i - $from + 1) / $mean;
        $windows += 1 / $mean;
    }

    return ($most, $windows);
}


subtest 'frozen' => sub {
    my $prober = $many->prober;
    my $mark   = $t->log_mark;

    # answers that come while it is frozen say what is not so any more

    my @slow = ($many->servers)[0 .. 99];
    $_->set(answers => [[wait => 200,
        send => "HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n"]]) for @slow;

    my $asked = $t->wait_for(sub {
        grep { grep { !$_->{ended} && $_->{requests}->@* } $_->connections }
            @slow[0 .. 20];
    });
    kill STOP => $prober;
    my $frozen = time;
    $_->set for @slow;
    cmp_ok($asked, '>', 0, 'probes are on their way');

    takes_over($frozen, 'another worker takes over');
    sleep 1;
    ok($many->checks->all_become('up'), 'all servers are up');

    $mark = $t->log_mark;
    kill CONT => $prober;
    sleep 0.5;
    is(scalar(my @lines = $many->lines($mark)), 0, 'who wakes up changes nothing');
    $many->rate_is_right('and does not probe');
    ok($many->checks->all_become('up'), 'all servers are up');
    isnt($many->prober, $prober, 'it is another worker');
};


subtest 'killed' => sub {
    plan skip_all => 'LRT_QUICK is set' if $ENV{LRT_QUICK};

    my $prober = $many->prober;
    my $mark   = $t->log_mark;

    $t->kill_worker(KILL => $prober);
    takes_over(time, 'another worker takes over');
    sleep 1;
    $many->rate_is_right('and probes as often');
    ok($many->checks->all_become('up'), 'all servers are up');
    is(scalar(my @lines = $many->lines($mark)), 0, 'all the time');
};


# Each server sees the next probe within two intervals, whenever the one who
# probes is killed or stopped, and what he has asked for says nothing any more.

for my $interval (0.2, 1) {
    subtest "two intervals of $interval s" => sub {
        $many->conf(4, interval => $interval, use => 60)->reload;
        $t->wait_for(sub { !$t->old_workers });
        sleep 2.5 * $interval;

        for my $signal ((qw(KILL STOP)) x ($ENV{LRT_QUICK} ? 1 : 4)) {
            my ($gap, @late);

            # a machine that is busy for longer has answers too late, too

            for my $try (1 .. 4) {
                ($gap, @late) = relieved($signal);
                last if $gap <= 2 * $interval + MARGIN && !@late;
                diag("$signal: again, after $gap s and ", 0 + @late, ' lines');
            }

            cmp_ok($gap, '<=', 2 * $interval + MARGIN,
                "$signal: the longest time without a probe");
            is(scalar @late, 0, 'nobody was late');
            ok($many->checks->all_become('up'), 'all servers are up');
        }
    };
}


# The longest time, and what the log says of servers that answered too late.

sub relieved ($signal) {
    my $interval = $many->interval;
    my $prober   = $many->prober;
    my @slow     = ($many->servers)[0 .. 9];

    # the worst time of one of so many servers, each at another one

    sleep 2 * $interval + rand $interval;
    my $mark  = $t->log_mark;
    my $begin = time;

    $_->set(answers => [[wait => 700 * $interval,
        send => "HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n"]]) for @slow;
    sleep 0.4 * $interval;
    $signal eq 'KILL' ? $t->kill_worker(KILL => $prober)
                      : kill(STOP => $prober);
    my $then = time;
    $_->set for @slow;

    # then some of them have answered so before that, or to the next one

    my $late = time - $begin > 0.7 * $interval;

    sleep 3 * $interval;
    my $gap = $many->longest_gap($then - 2 * $interval);

    kill CONT => $prober if $signal eq 'STOP';
    sleep 2 * $interval;

    my @lines = $many->lines($mark);
    return $gap, @lines if $late;

    is(scalar(grep { /unexpected status/ } @lines), 0,
        "$signal: what the last one has asked turns no verdict");
    return $gap, @lines;
}


subtest 'one worker' => sub {
    $many->conf(1)->reload;
    $t->wait_for(sub { !$t->old_workers });
    my ($worker) = $t->workers;
    sleep 0.5;
    my $mark = $t->log_mark;

    for my $try (1 .. ($ENV{LRT_QUICK} ? 2 : 4)) {
        kill STOP => $worker;
        sleep 0.9;
        kill CONT => $worker;
        sleep 0.3;
    }

    is_deeply([$t->workers], [$worker], 'it lives after it slept too long');
    ok($many->checks->all_become('up'), 'all servers are up');
    is(scalar(my @lines = $many->lines($mark)), 0, 'all the time');
    $many->rate_is_right('it probes as often as before');
    is($many->prober, $worker, 'itself');
};

$t->done;
