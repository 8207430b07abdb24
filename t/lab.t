#!/usr/bin/perl

# The lab of scripts/lab: requests are answered and counted, the same seed
# gives the same requests in all programs, and servers do what they are told.
# Nothing here depends on how fast the machine is; for that there is
# scripts/lab/check.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use File::Temp qw(tempdir);
use IO::Socket::INET ();
use List::Util qw(sum0);
use Test::More;
use Time::HiRes qw(sleep);

use LRT::Lab;

# a report is the last thing that a program does

local $ENV{ASAN_OPTIONS} = join ':', $ENV{ASAN_OPTIONS} // (),
    'detect_leaks=0';

my $lab = eval { LRT::Lab->new(sanitize => 1) } // LRT::Lab->new;
my $dir = tempdir(CLEANUP => 1);

sub traffic (%o) {
    my %all = (rate => 500, duration => '400ms', warmup => '100ms',
        work => 'exp:200us', deadline => '20s', %o);
    return join ' ', 'traffic', map { "$_=$all{$_}" } sort keys %all;
}

# a run through all servers in turn, and the same computed

sub try ($lines, %o) {
    my $servers = $lab->backends($lines, '--windows', '*');
    my $load = $lab->load($lines, [$servers->addresses], '--quiet',
        ($o{load} // [])->@*)->result;
    my $same = $lab->reference($lines, '--policy', 'rr',
        ($o{reference} // [])->@*);

    return ($load, $servers->end->{servers}, $same);
}

sub get ($address, $uri, $head = '') {
    my $socket = IO::Socket::INET->new(PeerAddr => $address, Timeout => 10)
        or return 'refused';
    print $socket "GET $uri HTTP/1.1\r\n$head\r\n";
    my $line = readline $socket;
    my $status = defined $line && $line =~ /^HTTP\/1.1 (\d+)/ ? $1 : 'closed';
    return $status unless wantarray;

    my ($length, $body) = (0, '');
    while (defined($line = readline $socket) && $line =~ /\S/) {
        $length = $1 if $line =~ /^Content-Length: (\d+)/;
    }
    read $socket, $body, $length;
    return ($status, $body);
}


subtest 'all are answered, and by whom they were sent to' => sub {
    my @lines = ('server s count=4 slots=2 work=const:100us',
        traffic(seed => 5));
    my ($load, $counters, $same) = try(\@lines,
        load      => ['--windows', 's1', '--raw', "$dir/live"],
        reference => ['--raw', "$dir/computed"]);

    cmp_ok($load->{requests}, '>', 100, 'requests');
    is($load->{ok}, $load->{requests}, 'all answered');
    is_deeply($load->{errors}, {}, 'no errors');
    is(sum0(map { $_->{answers} } values $load->{servers}->%*),
        $load->{requests}, 'each by one server');
    ok(abs(sum0(map { $_->{share} } values $load->{servers}->%*) - 1) < 1e-3,
        'shares are all');

    my $all = $load->{requests} + $load->{warmup};
    is(sum0(map { $_->{answered} } values %$counters), $all,
        'servers have counted as many, and the warm-up');
    is(sum0(map { $_->{windows}->@* } values %$counters), $all,
        'also in windows');
    is(sum0($load->{windows}{all}->@*), $all, 'so has the load');
    is(sum0($load->{windows}{s1}->@*), $counters->{s1}{answered},
        'for one server');
    is($load->{windows}{s2}, undef, 'that was asked for');

    is($same->{checksum}, $load->{checksum}, 'the same requests computed');
    is($same->{requests}, $load->{requests}, 'as many');

    my @raw = map { [ map { [ (split /\t/)[0, 1, 2, 6] ] } do {
        open my $file, '<', "$dir/$_" or die "$_: $!\n";
        readline $file;
    } ] } qw(live computed);

    is(@{ $raw[0] }, $all + 1, 'a line for each');
    is_deeply($raw[0], $raw[1], 'due, work and outcome of each are the same');

    my $busy = sum0(map { $_->{busy_s} } values %$counters);
    my $work = sum0(map { $_->[2] } $raw[0]->@[1 .. $all]) / 1e6;
    ok(abs($busy - $work) < 1e-4, 'servers were busy for all of the work')
        or diag("$busy of $work s");
};


subtest 'a seed is a list of requests' => sub {
    my $of = sub (%o) {
        my $r = $lab->reference(['server s slots=100', traffic(%o)]);
        return "$r->{requests} $r->{checksum}";
    };

    is($of->(seed => 3), $of->(seed => 3), 'the same');
    isnt($of->(seed => 3), $of->(seed => 4), 'another one');

    for my $work (qw(const:1ms exp:1ms lognormal:1ms:4 bimodal:1ms:9ms:.1
        pareto:1ms:1s:1.5))
    {
        for my $arrivals (qw(poisson constant burst:5:1s:2s)) {
            my $r = $lab->reference(['server s slots=1000', traffic(
                work => $work, arrivals => $arrivals, rate => 5000,
                duration => 20)]);
            my $mean = { const => 1, exp => 1, lognormal => 1,
                bimodal => 1.8, pareto => 2.907 }->{ $work =~ s/:.*//r };

            ok(abs($r->{latency_ms}{mean} / $mean - 1) < .06,
                "$work, $arrivals: mean work") or diag $r->{latency_ms}{mean};
            ok(abs($r->{requests} / 100_000 - 1)
                < ($arrivals =~ /burst/ ? .5 : .01),
                "$work, $arrivals: rate") or diag $r->{requests};
        }
    }

    my $r = $lab->reference(['server s slots=1000', traffic(
        arrivals => 'constant', steps => '1/.5/0', warmup => '0s',
        rate => 1000, duration => 3)]);
    ok(abs($r->{requests} - 1500) <= 2, 'steps') or diag $r->{requests};
};


subtest 'who fails is known in advance' => sub {
    my ($load, $counters, $same) = try(['server s count=2 slots=4',
        traffic(), 'at 0 s0 fail 503 share=.3 time=1ms']);

    cmp_ok($load->{errors}{503}, '>', 5, 'some fail');
    is_deeply($load->{errors}, $same->{errors}, 'as many as computed');
    is($load->{servers}{s1}{ok}, $load->{servers}{s1}{answers},
        'none of the other server');
    is($counters->{s1}{failed}, 0, 'nor in its own view');
    is($load->{latency_ms}{max}, 20_000, 'they count as the deadline');
    cmp_ok($load->{latency_ok_ms}{max}, '<', 20_000, 'but not as answers');
};


subtest 'queues are bounded' => sub {
    my ($load, $counters) = try(['server s slots=1 queue=2',
        traffic(work => 'const:50ms')]);

    cmp_ok($load->{errors}{503}, '>', 50, 'most find it full');
    is($counters->{s}{max_queue}, 2, 'two wait');
    is($counters->{s}{max_present}, 3, 'beside one');
};


subtest 'a server that hangs' => sub {
    my ($load, $counters, $same) = try(['server s count=2 slots=4',
        traffic(deadline => '300ms', work => 'const:1us'), 'at 0 s1 hang']);

    cmp_ok($load->{deadline_misses}, '>=', $same->{deadline_misses},
        'loses its requests');
    is($load->{servers}{s1}{answers}, 0, 'all of them');
    cmp_ok($load->{servers}{s0}{ok}, '>', 0, 'not those of the other');
    cmp_ok($counters->{s1}{lost}, '>', 50, 'it knows');
    cmp_ok($counters->{s1}{cancelled}, '>', 0, 'and that clients give up');
};


subtest 'a server that is down for a while' => sub {
    my ($load, $counters) = try(['server s count=2 slots=4',
        traffic(duration => 1), 'at 300ms s0 down for=300ms']);

    cmp_ok(($load->{errors}{refused} // 0), '>', 0, 'refuses');
    is($load->{ok} + $load->{errors}{refused} + ($load->{errors}{closed} // 0),
        $load->{requests}, 'or answers');
    cmp_ok($load->{servers}{s0}{ok}, '>', 20, 'when it is back, too');
    is($load->{servers}{s1}{ok} * 2, $load->{requests}
        - $load->{requests} % 2, 'the other answers all')
        if $load->{warmup} % 2 == 0;
};


subtest 'by hand' => sub {
    my $servers = $lab->backends(['server a', 'server b work=const:1us hue=210']);
    my ($a, $b) = map { $servers->address($_) } qw(a b);

    is(get($a, '/?work-us=100'), 200, 'work in the argument');
    is(get($b, '/'), 200, 'of the server');
    is(get($b, '/', "Content-Length: 4\r\n"), 200, 'a body is not waited for');
    is(get($a, '/health'), 200, 'health');
    is_deeply([get($b, '/page')], [200, "b\n"], 'who it is');
    is_deeply([get($b, '/picture.svgz')], [200, "b\n"], 'anywhere');

    my ($status, $picture) = get($b, '/picture.svg?n=1');
    is($status, 200, 'a picture');
    like($picture, qr/^<svg .*hsl\(210 .*>b<\/text><\/g><\/svg>\n\z/,
        'of it, in its colour');

    $servers->tell('now a fail 500');
    is(get($a, '/'), 500, 'fails');
    is(get($a, '/health'), 500, 'and so does its health');
    is(get($b, '/'), 200, 'not the other');

    $servers->tell('now a recover');
    $servers->tell('now a health 503');
    is(get($a, '/health'), 503, 'health alone');
    is(get($a, '/'), 200, 'is not the server');

    $servers->tell('now * refuse');
    $servers->counters;
    is(get($a, '/'), 'refused', 'refuses');
    $servers->tell('now a recover');
    $servers->counters;
    is(get($a, '/'), 200, 'until it recovers');
    is(get($b, '/'), 'refused', 'and the other one does not');

    my $n = $servers->end->{servers};
    is($n->{a}{requests}, 4, 'counted');
    is($n->{a}{health}, 3, 'apart from health');
};


subtest 'a later run of the same servers is a new one' => sub {
    my @lines = ('server s slots=50', traffic(),
        'at 0 s fail 500 share=.5', 'at 250ms s recover');
    my $servers = $lab->backends(\@lines);

    my @runs = map {
        my $load = $lab->load(\@lines, [$servers->addresses], '--quiet')
            ->result;
        my $n = $servers->counters->{servers}{s};
        [ $load->{errors}{500}, $n->{requests}, $n->{failed} ];
    } 1 .. 2;

    is($runs[0][1], $runs[1][1], 'counters start again');
    cmp_ok($_->[2], '>', 10, 'and so does the timetable') for @runs;
    $servers->end;
};


subtest 'limits' => sub {
    my @pool = ('server f count=2 slots=2 speed=4',
        'server s count=6 slots=2 speed=1');
    my $traffic = traffic(rate => 1400, duration => 60, work => 'exp:10ms');

    my %mean = map {
        $_ => $lab->reference([@pool, $traffic], '--policy', $_)
            ->{latency_ms}{mean}
    } qw(central sed lwl lct jsq random);

    cmp_ok($mean{sed}, '<', $mean{jsq}, 'speeds help');
    cmp_ok($mean{jsq}, '<', $mean{random}, 'queues help');
    cmp_ok($mean{central}, '<', $mean{jsq}, 'one queue is a limit');
    cmp_ok($mean{lct}, '<', $mean{sed}, 'works help');
    note join ' ', map { sprintf '%s %.2f', $_, $mean{$_} } sort keys %mean;

    my $r = $lab->reference([@pool, $traffic, 'at 10s f0 down for=20s',
        'at 35s s* hang for=1s'], '--policy', 'sed');
    is($r->{errors}{refused}, undef, 'an oracle does not ask who is down');
};

done_testing();
