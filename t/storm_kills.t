#!/usr/bin/perl

# Workers are killed all the time, under traffic and changes: nobody hangs, only
# requests that a killed worker held fail, and a second later the counts are
# right.  One group has all there is: checks, a state file, changes through the
# API.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use List::Util qw(sum0);
use Test::More;
use Time::HiRes qw(sleep time);

use LRT;
use LRT::API;
use LRT::Hooks;
use LRT::Net qw(timeout);
use LRT::State;
use LRT::Storm;

use constant {
    SERVERS     => 30,
    CONCURRENCY => 8,
    SLOW        => 4,           # requests that hold old workers
    GAP         => 1,           # seconds without any answer
    SOON        => 1,
};

# seconds of it, and seconds from one to the next

my @of_workers = $ENV{LRT_LONG} ? (60, 0.1) : (4, 0.1);
my @of_old     = $ENV{LRT_LONG} ? (20, 0.2) : (4, 0.2);

my $t = LRT->new(name => 'kills', need => [qw(module hooks proxy)]);

$t->skip_quick("$of_workers[0] s of kills");

###############################################################################

my @groups  = qw(rr lc all);
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
        location /all {
            proxy_pass http://all;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }
    }
    } . LRT::Storm::everything() . LRT::Hooks::server($t));
$t->start;

my $master = $t->master_pid;
my %group  = map { $_ => LRT::Hooks->group($t, $_) } @groups;
my $state  = LRT::State->new($t, LRT::API->new($t), 'all',
    $t->dir . '/all.json');

storm('workers', \&kill_a_worker, @of_workers);
storm('old workers, too', \&kill_or_reload, @of_old,
    slow => '/lc?delay=1500');

is($t->master_pid, $master, 'the master lives');
ok($t->wait_for(sub { $t->workers == 2 && !$t->old_workers }),
    'with two workers');
is_deeply([$t->grep_log(qr/no free row/)], [], 'rows were not used up');
is_deeply([$t->grep_log(qr/\[(?:warn|error|crit)\]/)], [],
    'nothing else in the log');

$t->done;

###############################################################################

sub storm ($what, $strike, $seconds, $period, %slow) {
    subtest "death of $what" => sub {
        my $mark    = $t->log_mark;
        my %options = (servers => \%address);
        my $hooks   = LRT::Storm->changes($t, %options,
            groups => [qw(rr lc)], rate => 500);
        my $api     = LRT::Storm->changes($t, %options,
            groups => ['all'], rate => 100, api => 1);
        my %changes = (rr => $hooks, lc => $hooks, all => $api);
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
            $next += $period;
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

        $_->stop for values %traffic, $hooks, $api;

        diag sprintf '%d kills, %d reloads; all right %.3f s after the last',
            $kills, $t->grep_log(qr/\d: reconfiguring/, $mark) + 0, $took;
        cmp_ok($kills, '>=', $seconds / $period / 4 / timeout(1),
            'workers were killed');

        for my $changes ($hooks, $api) {
            diag $changes->summary;
            is_deeply([$changes->total('faults')], [], 'changes go on');
        }

        result($_, $traffic{$_}, $changes{$_}, $kills) for @groups;
        is_in_file($api->present('all'));
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


# What was answered stands in the file, whoever was killed while he wrote it.

sub is_in_file ($present) {
    my %ids = map { $address{$_} => $present->{$_} } keys %$present;
    my %listed;

    ok($t->wait_for(sub {
        %listed = map { ($_->{server} => $_->{id}) } values $state->listed->%*;
        return join(' ', map { $_, $listed{$_} } sort keys %listed)
            eq join ' ', map { $_, $ids{$_} } sort keys %ids;
    }, 5), 'the file has each change') or is_deeply(\%listed, \%ids);
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
