#!/usr/bin/perl

# Workers are killed five times a second, under traffic and changes: nobody
# hangs, only requests that a killed worker held fail, and a second later the
# counts are right.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use List::Util qw(sum0);
use Test::More;
use Time::HiRes qw(sleep time);

use LRT;
use LRT::Hooks;
use LRT::Net qw(timeout);
use LRT::Storm;

use constant {
    SERVERS     => 30,
    PERIOD      => 0.2,         # seconds from kill to kill
    CONCURRENCY => 8,
    SLOW        => 4,           # requests that hold old workers
    GAP         => 1,           # seconds without any answer
    SOON        => 1,
};

my $seconds = $ENV{LRT_LONG} ? 20 : 4;
my $t       = LRT->new(name => 'kills', need => [qw(module hooks proxy)]);

$t->skip_quick("$seconds s of kills");

###############################################################################

my @groups  = qw(rr lc);
my %address = map { $_ => $t->address($_) }
    $t->backends('b', SERVERS, delay => '0-20');

$t->expect_alerts(
    qr/worker process \d+ exited on signal 9\b/,
    qr/shared memory zone "lrt:\w+" was locked by \d+$/);

$t->conf(workers => 2, http => q{
    upstream rr { zone rr 512k; round_robin_ext; }
    upstream lc { zone lc 512k; least_conn_ext; }

    keepalive_requests 1000000;

    server {
        listen 127.0.0.1:%%PORT_http%%;
        location /rr { proxy_pass http://rr; }
        location /lc { proxy_pass http://lc; }
    }
    } . LRT::Hooks::server($t));
$t->start;

my $master = $t->master_pid;
my %group  = map { $_ => LRT::Hooks->group($t, $_) } @groups;

storm('workers', \&kill_a_worker);
storm('old workers, too', \&kill_or_reload, slow => '/lc?delay=1500');

is($t->master_pid, $master, 'the master lives');
ok($t->wait_for(sub { $t->workers == 2 && !$t->old_workers }),
    'with two workers');
is_deeply([$t->grep_log(qr/no free row/)], [], 'rows were not used up');
is_deeply([$t->grep_log(qr/\[(?:warn|error|crit)\]/)], [],
    'nothing else in the log');

$t->done;

###############################################################################

sub storm ($what, $strike, %slow) {
    subtest "death of $what" => sub {
        my $mark    = $t->log_mark;
        my $changes = LRT::Storm->changes($t,
            groups => \@groups, servers => \%address, rate => 500);
        my %traffic = map {
            $_ => LRT::Storm->traffic($t, "/$_",
                concurrency => CONCURRENCY, rate => 400)
        } @groups;

        $traffic{$_} = LRT::Storm->traffic($t, $slow{$_}, concurrency => SLOW)
            for keys %slow;

        my $end = time + $seconds;
        my ($next, $strikes, @killed) = (time, 0);

        until ($next > $end) {
            my $pause = $next - time;
            sleep $pause if $pause > 0;
            push @killed, $strike->($strikes++) // ();
            $next += PERIOD;
        }

        my $ended = time;
        my $kills = @killed;
        my %rest  = map {
            my $group = $group{$_};
            $_ => $t->wait_for(sub {
                !alive(@killed) && right($group)
            }, SOON)
        } @groups;
        my $took = time - $ended;

        $_->stop for values %traffic;
        $changes->stop;

        diag $changes->summary;
        diag sprintf '%d kills, %d reloads; all right %.3f s after the last',
            $kills, $t->grep_log(qr/\d: reconfiguring/, $mark) + 0, $took;
        cmp_ok($kills, '>=', $seconds / PERIOD / 4 / timeout(1),
            'workers were killed');
        is_deeply([$changes->total('faults')], [], 'changes go on');

        result($_, $traffic{$_}, $changes, $kills) for @groups;
        has_failed($_, $traffic{$_}, $kills * SLOW) for keys %slow;
        ok($rest{$_}, "$_: counts are right a second after the last kill")
            for @groups;
    };

    for my $name (@groups) {
        my $group = $group{$name};

        ok($group->settles, "$name: all is at rest") or diag $group->unrest;
        $group->remove($_->{id}) for $group->servers;
    }
}


sub result ($name, $traffic, $changes, $kills) {
    my ($gap, $when) = $traffic->longest_gap;

    has_failed($name, $traffic, $kills * CONCURRENCY);
    diag sprintf '%s: longest gap %.3f s', $name, $gap;
    cmp_ok($gap, '<', timeout(GAP), "$name: somebody answers all the time");
    cmp_ok($traffic->totals->{slowest}, '<', timeout(GAP),
        "$name: nobody hangs");

    my @wrong = LRT::Storm::wrong_servers($traffic, $name, $changes);
    is(@wrong, 0, "$name: no request went to a server outside of the group")
        or diag join "\n", grep { defined } @wrong[0 .. 9];

    my %times;
    $times{$_}++ for map { @$_ } $changes->ids($name);
    is_deeply([grep { $times{$_} > 1 } keys %times], [],
        "$name: no id was given twice");
}


sub has_failed ($name, $traffic, $most) {
    my $failed = $traffic->failed;

    diag "$name: ", $traffic->summary;
    is_deeply([grep { !/^(?:cut|reset)$/ } keys %$failed], [],
        "$name: requests fail with their worker only")
        or diag explain $traffic->totals->{first_failures};
    cmp_ok(sum0(values %$failed), '<=', $most, "$name: those that it held");
}


sub alive (@pids) {
    my %pid = map { $_ => 1 } @pids;
    return grep { $pid{ $_->{pid} } } $t->processes;
}


# Of the traffic, which goes on, at most so many requests are in flight; and
# nothing is left of dead workers.

sub right ($group) {
    my $inflight = $group->inflight;
    return $inflight >= 0 && $inflight <= CONCURRENCY + SLOW
        && $group->validity(quiet => 1) eq 'valid';
}


# These return who was killed.

sub kill_a_worker ($number) { return $t->kill_worker }


# Now and then a reload; then old workers, while there are any.

sub kill_or_reload ($number) {
    if ($number % 5 == 0) {
        $t->signal('HUP');
        return;
    }

    my @old = $t->old_workers;
    return $t->kill_worker('KILL', $old[rand @old]);
}
