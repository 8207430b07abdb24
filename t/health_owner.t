#!/usr/bin/perl

# Who probes: one worker for all, whatever happens to it, as often as it
# should be, and not all servers at once.

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

use constant {
    MANY     => 400,
    INTERVAL => 1,              # seconds
    STALL    => 0.04,           # without a probe: the machine was busy
};

my $t    = LRT->new(name => 'health_owner', need => [qw(module proxy)]);
my $raw  = LRT::Raw->new($t);
my $port = $t->port('many');

my @many = map {
    my $address = sprintf '127.1.%d.%d:%d', $_ / 200, 1 + $_ % 200, $port;
    $raw->server("n$_", listen => $address);
} 0 .. MANY - 1;

my $flip = $raw->server('flip');

my $u    = LRT::Checks->new($t, 'u');
my $many = LRT::Checks->new($t, 'many');

conf(8);
$t->start;


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


# The worker that probes: a server that turns makes it write to the log.

sub prober () {
    my $mark = $t->log_mark;

    $flip->set(status => 500);
    $many->becomes(flip => 'unhealthy');
    $flip->set;
    $many->becomes(flip => 'up');

    my @pids = uniq map { /\] (\d+)#/ ? $1 : () }
        $t->grep_log(qr/upstream "many": server/, $mark);
    is(scalar @pids, 1, 'one worker probes');

    return $pids[0];
}


# How long after a time probes go on, in intervals; those that were on their
# way then do not count.

sub takes_over ($from, $name) {
    my $first;

    $t->wait_for(sub {
        ($first) = grep { $_ > $from + 0.1 } map { $_->[0] } $raw->all_requests;
    });

    cmp_ok(($first // time) - $from, '<', 2 * timeout(INTERVAL), $name);
}

###############################################################################

subtest 'so often, and evenly' => sub {
    ok($t->wait_for(sub { $raw->all_requests > MANY }), 'a first round');
    my $begin = ($raw->all_requests)[0][0];

    my @times = probes($begin, 1.1 * INTERVAL);
    cmp_ok(scalar(@times), '<', 1.5 * MANY, 'which is no rush');

    sleep 0.01 while time < $begin + 2.5 * INTERVAL;
    rate_is_right('probes of 8 workers are those of one');

    my ($most, $windows);

    for my $try (1 .. 3) {
        ($most, $windows) = busiest(probes(time - 2, 2));
        last if $windows > 15 && $most <= 2;
        sleep 3;
    }

    cmp_ok($windows, '>', 15, 'a time without stalls');
    cmp_ok($most, '<=', 2, 'never more than twice as many as on average');
};


# The most of 100 ms, in relation to the mean; but for those behind a stall,
# when all that had to wait comes at once.

sub busiest (@times) {
    my $mean = (MANY + 1) / 10 / INTERVAL;
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
    my $prober = prober();
    my $mark   = $t->log_mark;

    # answers that come while it is frozen say what is not so any more

    my @slow = @many[0 .. 99];
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
    ok($many->all_become('up'), 'all servers are up');

    $mark = $t->log_mark;
    kill CONT => $prober;
    sleep 0.5;
    is(scalar $t->grep_log(qr/upstream "many": server/, $mark), 0,
        'who wakes up changes nothing');
    rate_is_right('and does not probe');
    ok($many->all_become('up'), 'all servers are up');
    isnt(prober(), $prober, 'it is another worker');
};


subtest 'killed' => sub {
    plan skip_all => 'LRT_QUICK is set' if $ENV{LRT_QUICK};

    my $prober = prober();
    my $mark   = $t->log_mark;

    $t->kill_worker(KILL => $prober);
    takes_over(time, 'another worker takes over');
    sleep 1;
    rate_is_right('and probes as often');
    ok($many->all_become('up'), 'all servers are up');
    is(scalar $t->grep_log(qr/upstream "many": server/, $mark), 0,
        'all the time');
};


subtest 'one worker' => sub {
    conf(1)->reload;
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
    ok($many->all_become('up'), 'all servers are up');
    is(scalar $t->grep_log(qr/upstream "many": server/, $mark), 0,
        'all the time');
    rate_is_right('it probes as often as before');
    is(prober(), $worker, 'itself');
};

$t->done;
