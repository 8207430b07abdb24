package Scenarios;

# What "scripts/bench live" puts balancers through: servers, requests and what
# happens to servers, in the language of scripts/lab.
#
#   name      for --scenario
#   title     what it is
#   servers   lines "server ..." without that word
#   work      of a request, on a server of speed 1
#   rate      requests a second
#   events    lines "at ...", in the time since the warm-up began
#   length    seconds with requests that count; else what --seconds says.  Who
#             has events has a length, too
#   warmup    seconds, WARMUP if not given
#   deadline  seconds, DEADLINE if not given; who fails counts as that
#   watched   servers whose share is shown; with "from" and "to", seconds
#             since the warm-up began, in that time
#   timeout   proxy_read_timeout, and what HAProxy calls "timeout server"
#   server    more parameters of servers in nginx
#   also      balancers beside the usual ones, see Balancers.pm
#
# Rates are such that an nginx and the lab need less than 60 % of a core each;
# the program says so if they do not.

use v5.36;

use constant { WARMUP => 2, DEADLINE => 2 };

my @late   = qw(least_time_inflight);
my @failed = qw(round_robin_5xx least_conn_5xx stock_least_time_5xx
    haproxy_leastconn_5xx least_conn_ext_5xx least_time_5xx);

# a failing server, from before anything counts to the end

sub _failing ($name, $title, $share, %o) {
    return {
        name => $name, title => "one of ten fails $title, in 1 ms",
        servers => ['s count=10 slots=4'], work => 'exp:10ms', rate => 1500,
        events => ["at 1 s0 fail 500 time=1ms share=$share"],
        watched => ['s0'], from => 1, also => \@failed, %o,
    };
}

my @all = (
    {
        name => 'equal-70', title => 'ten equal servers with a slot each, '
            . '5 ms, load .7',
        servers => ['s count=10 slots=1'], work => 'exp:5ms', rate => 1400,
    },
    {
        name => 'equal-90', title => 'the same, load .9',
        servers => ['s count=10 slots=1'], work => 'exp:5ms', rate => 1800,
    },
    {
        name => 'speeds', title => 'five fast servers (5 ms) and five of a '
            . 'fourth of their speed, a slot each, load .7',
        servers => ['fast count=5 slots=1', 'slow count=5 slots=1 speed=.25'],
        work => 'exp:5ms', rate => 875, watched => ['slow*'],
    },
    {
        name => 'speeds-8', title => 'the same with 8 slots each, 20 ms, '
            . 'load .7',
        servers => ['fast count=5 slots=8', 'slow count=5 slots=8 speed=.25'],
        work => 'exp:20ms', rate => 1750, watched => ['slow*'],
    },
    {
        name => 'few', title => 'five servers of 10 ms and five of 40 ms, two '
            . 'slots each, 100 a second',
        servers => ['fast count=5 slots=2', 'slow count=5 slots=2 speed=.25'],
        work => 'exp:10ms', rate => 100, length => 20, watched => ['slow*'],
    },
    {
        name => 'short', title => 'ten servers of 0.5 to 3 ms, in equal '
            . 'ratios, lognormal (cv 1), two slots each, 5,000 a second',
        servers => [ map {
            sprintf '%s%d slots=2 speed=%.4f', $_ < 5 ? 'fast' : 'slow', $_,
                2 / 6 ** ($_ / 9)
        } 0 .. 9 ],
        work => 'lognormal:1ms:1', rate => 5000, watched => ['slow*'],
    },
    {
        name => 'short-4', title => 'two servers of 2 ms and two of 8 ms, '
            . 'four slots each, load .7',
        servers => ['fast count=2 slots=4', 'slow count=2 slots=4 speed=.25'],
        work => 'exp:2ms', rate => 3500, watched => ['slow*'],
    },
    {
        name => 'two-slow', title => 'eight servers of 5 ms and two of 25 ms, '
            . 'a slot each, 1,180 a second (load .7)',
        servers => ['fast count=8 slots=1', 'slow count=2 slots=1 speed=.2'],
        work => 'exp:5ms', rate => 1180, watched => ['slow*'],
    },
    {
        name => 'widths', title => 'eight servers of 1 to 8 slots and the '
            . 'same speed, 15 ms, 1,500 a second',
        servers => [map { "s$_ slots=$_" } 1 .. 8],
        work => 'exp:15ms', rate => 1500, watched => ['s1'],
    },
    {
        name => 'slow-wide', title => 'three servers of 5 ms with two slots '
            . 'and two of 14 ms with four, load .75',
        servers => ['fast count=3 slots=2', 'slow count=2 slots=4 speed=.35'],
        work => 'exp:5ms', rate => 1320, watched => ['slow*'],
    },
    {
        name => 'slowdown', title => 'one of ten equal servers slows down '
            . '20 times for 4 s',
        servers => ['s count=10 slots=2'], work => 'exp:10ms', rate => 1000,
        events => ['at 4 s0 slow 20 for=4'], length => 18, watched => ['s0'],
        from => 4, to => 8, also => \@late,
    },
    {
        name => 'hang', title => 'one of ten equal servers hangs for 4 s; '
            . 'proxies wait for 1 s and then ask another one',
        servers => ['s count=10 slots=4'], work => 'exp:10ms', rate => 1000,
        events => ['at 4 s0 hang for=4'], length => 20, watched => ['s0'],
        from => 4, to => 8, timeout => '1s', deadline => 4, also => \@late,
    },
    _failing('fail', 'all its requests', 1),
    _failing('fail-no-limit', 'all its requests, max_fails=0', 1,
        server => 'max_fails=0'),
    _failing('fail-crowded', 'all its requests, max_fails=0, others have 40 in '
        . 'flight each', 1, server => 'max_fails=0',
        servers => ['s count=10 slots=80'], work => 'exp:200ms', rate => 2000),
    _failing('fail-half', 'half of its requests', .5),
    _failing('fail-tenth', 'a tenth of its requests', .1),
    {
        name => 'stalls', title => 'one of ten takes a second longer for 5 % '
            . 'of its requests',
        servers => ['s count=10 slots=8'], work => 'exp:10ms', rate => 1500,
        events => ['at 0 s0 extra 1s share=.05'], watched => ['s0'],
        also => \@late,
    },
    {
        # just below 1 %: with 1 % the p99 of a run is 5 or 500 ms by chance
        name => 'tail', title => 'ten equal servers; 0.8 % of requests take '
            . '100 times longer (5 ms, 500 ms), four slots, load .55',
        servers => ['s count=10 slots=4'], work => 'bimodal:5ms:500ms:.008',
        rate => 2450, deadline => 5, also => ['least_time_last_byte'],
    },
    {
        name => 'tail-lognormal', title => 'ten equal servers, lognormal of '
            . '10 ms and cv 4, four slots, load .6',
        servers => ['s count=10 slots=4'], work => 'lognormal:10ms:4',
        rate => 2400, deadline => 5,
    },
    {
        name => 'tail-waits', title => 'ten equal servers with a slot each, '
            . 'lognormal of 10 ms and cv 3, load .7',
        servers => ['s count=10 slots=1'], work => 'lognormal:10ms:3',
        rate => 700, deadline => 5,
    },
    {
        name => 'tail-pareto', title => 'ten equal servers, Pareto 1.5 from '
            . '3 ms to 3 s, four slots, load .7',
        servers => ['s count=10 slots=4'], work => 'pareto:3ms:3s:1.5',
        rate => 3100, deadline => 10,
    },
    {
        name => 'tail-speeds', title => 'as tail-lognormal, five servers with '
            . 'a fourth of the speed',
        servers => ['fast count=5 slots=4', 'slow count=5 slots=4 speed=.25'],
        work => 'lognormal:10ms:4', rate => 1500, deadline => 5,
        watched => ['slow*'],
    },
    {
        name => 'flapping', title => 'one of ten is down for 1 s every 2 s',
        servers => ['s count=10 slots=4'], work => 'exp:10ms', rate => 1500,
        events => [map { "at $_ s0 down for=1" } 2, 4, 6, 8, 10, 12],
        length => 12, watched => ['s0'],
    },
    {
        name => 'cold', title => 'as two-slow, and the first 3 s of a proxy '
            . 'that knows nothing',
        servers => ['fast count=8 slots=1', 'slow count=2 slots=1 speed=.2'],
        work => 'exp:5ms', rate => 1180, watched => ['slow*'], warmup => 0,
        length => 3,
    },
    {
        name => 'comes-back', title => 'one of ten is down up to second 4, '
            . 'then 5 times slower for 2 s',
        servers => ['s count=10 slots=2'], work => 'exp:10ms', rate => 1000,
        events => ['at 0 s0 down', 'at 4 s0 recover', 'at 4 s0 slow 5 for=2'],
        length => 18, watched => ['s0'], from => 0, to => 6,
    },
    {
        name => 'weights', title => 'servers of 2 and of 8 slots with weights '
            . '1 and 4, 15 ms, load .7',
        servers => ['big count=3 slots=8 weight=4', 'small count=3 slots=2'],
        work => 'exp:15ms', rate => 1400, watched => ['small*'],
    },
    {
        name => 'weights-speeds', title => 'as speeds, and the fast ones have '
            . 'weight 4',
        servers => ['fast count=5 slots=1 weight=4',
            'slow count=5 slots=1 speed=.25'],
        work => 'exp:5ms', rate => 875, watched => ['slow*'],
    },
);


sub all () { return map { {
    warmup => WARMUP, deadline => DEADLINE, events => [], also => [],
    watched => [], timeout => '60s', server => '', %$_,
} } @all }


# Lines for the programs of the lab.

sub lines ($scenario, $seed) {
    my %traffic = (
        seed => $seed, duration => $scenario->{length},
        map { $_ => $scenario->{$_} } qw(rate warmup work deadline),
    );

    return [
        (map { "server $_" } $scenario->{servers}->@*),
        join(' ', 'traffic', map { "$_=$traffic{$_}" } sort keys %traffic),
        $scenario->{events}->@*,
    ];
}


# Names with a "*" at the end stand for all that begin so.

sub matches ($pattern, $name) {
    return $pattern =~ /^(.*)\*$/ ? index($name, $1) == 0 : $pattern eq $name;
}


sub weight ($scenario, $name) {
    my ($line) = grep { my ($first, $count) = /^(\S+)(?:.* (count)=)?/;
        $name =~ ($count ? qr/^\Q$first\E\d+$/ : qr/^\Q$first\E$/)
    } $scenario->{servers}->@*;

    return $line =~ / weight=(\d+)/ ? $1 : 1;
}

1;
