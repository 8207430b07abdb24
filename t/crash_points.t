#!/usr/bin/perl

# A worker may be killed between any two stores that belong together: within
# a second the counts are right again, and no half change is ever seen.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use List::Util qw(max sum0);
use Test::More;
use Time::HiRes qw(sleep time);

use LRT;
use LRT::Hooks;

my $t = LRT->new(name => 'crash', need => [qw(module hooks proxy)]);

use constant SOON => 1;         # seconds

my %number = points();          # of lrt_atomic.h
my %met;                        # point => how often

###############################################################################

my @backends = map { $t->backend($_) } qw(a b c);
my %method   = (rr => 'round_robin_ext', lc => 'least_conn_ext',
    lt => 'least_time header');
my $spare    = '127.0.0.1:' . $t->port('spare');

$t->expect_alerts(
    qr/worker process \d+ exited on signal 9\b/,
    qr/shared memory zone "lrt:\w+" was locked by \d+$/);
$t->conf(workers => 2, http => join '',
    (map { qq{
        upstream $_ {
            $method{$_};
            server %%ADDRESS_a%% max_fails=0;
            server %%ADDRESS_b%% max_fails=0;
            server %%ADDRESS_c%% max_fails=0;
        }
    } } qw(rr lc lt)),
    q{
    server {
        # so that both workers get requests, however idle they are
        listen 127.0.0.1:%%PORT_http%% reuseport;
        location /rr { proxy_pass http://rr; }
        location /lc { proxy_pass http://lc; }
        location /lt { proxy_pass http://lt; }
    }
    }, LRT::Hooks::server($t));
$t->start;

my $master  = $t->master_pid;
my %group   = map { $_ => LRT::Hooks->group($t, $_) } qw(rr lc lt);
my $slowest = 0;

for my $name (qw(rr lc)) {
    in_requests($name, $_) for qw(
        COUNT_IN_CELL COUNT_IN_TOTAL PICKED COUNT_OUT_TOTAL COUNT_OUT_CELL
    ), $name eq 'lc' ? 'RANK_KEY' : ();

    in_requests($name, 'COUNT_IN_CELL', 8);
    in_requests($name, 'COUNT_OUT_TOTAL', 8);
    in_recovery($name);
    in_old_worker($name);

    in_change($name, $_) for qw(
        COMMIT_BEGIN COMMIT_ENTRIES COMMIT_BUILT COMMIT_PUBLISHED COMMIT_DONE
        SLOT_CLEARED
    );
    in_removal($name);
}

in_requests('lt', $_) for qw(RANK_COST RANK_KEY);

is_deeply([grep { !$met{$_} } sort keys %number], [], 'no point is left out');
is($t->master_pid, $master, 'the master lives');

diag sprintf 'slowest recovery: %.3f s', $slowest;
$t->done;

###############################################################################

# Killed in a request, with so many requests held by slow servers.

sub in_requests ($name, $point, $held = 0) {
    subtest "$name, $point" . ($held ? ", $held requests held" : '') => sub {
        my $group = $group{$name};
        my @held  = hold($name, $held);

        my $mark = $t->log_mark;
        my $load = $t->load(uri => "/$name", concurrency => 3, rate => 200);

        kill_at($group, $point);
        has_died($mark, 1);
        recovers($group, $held);

        my $before = $load->totals->{ok};
        ok($t->wait_for(sub { $load->totals->{ok} > $before + 20 }),
            'requests go on');

        my %failed = $load->stop->{failed}->%*;
        cmp_ok(sum0(values %failed), '<=', 3,
            'only what the worker held has failed');
        is_deeply([grep { !/^(?:cut|reset)$/ } keys %failed], [],
            'and is cut off') or diag $load->summary;

        is_valid($group, $held);
        release($group, @held);
    };
}


# Killed while it takes out what another dead worker held.

sub in_recovery ($name) {
    subtest "$name, ZAP_CELL" => sub {
        my $group = $group{$name};
        my @held  = hold($name, 12);
        my $mark  = $t->log_mark;

        kill_at($group, 'ZAP_CELL');
        $t->kill_worker('KILL', ($t->workers)[0]);
        has_died($mark, 2);
        recovers($group, 1);
        is_valid($group, 1);
        release($group, @held);
    };
}


# A worker of an older configuration: nobody comes in its place.

sub in_old_worker ($name) {
    subtest "$name, an old worker" => sub {
        my $group = $group{$name};
        my @held  = hold($name, 12);

        $t->reload;
        my @new  = hold($name, 4);
        my $mark = $t->log_mark;
        my $all  = active();

        $t->kill_worker('KILL', ($t->old_workers)[0]);
        has_died($mark, 1);
        recovers($group, 1);
        is_valid($group, 1);
        cmp_ok(active(), '<', $all, 'what it held is given back');
        release($group, @held, @new);
        ok($t->wait_for(sub { !$t->old_workers }), 'the other one leaves');
    };
}


# Killed in a change: the server is there, or it is not, and the next change
# is made by the other worker.

sub in_change ($name, $point) {
    subtest "$name, $point" => sub {
        my $group  = $group{$name};
        my $before = $group->dump;
        my $last   = max map { $_->{id} } $before->{servers}->@*;
        my $mark   = $t->log_mark;

        kill_at($group, $point);
        my $r = $t->get(
            "/?op=add&group=$name&max_fails=0&server=" . $t->address('spare'),
            port => 'lrt_test');
        like($r->error, qr/^(?:cut|reset)$/, 'nobody answers');

        my $time = time;
        my $a    = $backends[0]->address;
        $group->set($a, weight => 2);
        $time = time - $time;
        $slowest = $time if $time > $slowest;
        cmp_ok($time, '<', LRT::Net::timeout(SOON), 'the next change is made');
        has_died($mark, 1);

        my $seen  = $point =~ /PUBLISHED|DONE/ ? 1 : 0;
        my $after = $group->dump;
        my @added = grep { $_->{id} > $last } $after->{servers}->@*;

        is($after->{generation}, $before->{generation} + $seen + 1,
            'the generation says whether it was made');
        is(@added, $seen, 'and so does the table');
        is($after->{servers}->@*, $before->{servers}->@* + $seen,
            'all others are there');

        recovers($group, 0);

        # ids are not given twice, even if nobody saw them

        my $id = $seen ? $added[0]{id} : $group->add($spare, max_fails => 0);
        cmp_ok($id, '>', $last, 'a new id');
        cmp_ok($id, '>', $last + 1, 'and the lost one is not used again')
            if $point eq 'COMMIT_BUILT';

        # it is in the ranks, too

        $t->backend('spare');
        ok($t->wait_for(sub {
            $t->many(8, "/$name", concurrency => 4)->{spare}
        }), 'the new server gets requests');

        $group->remove($id)->set($a, weight => 1);
        recovers($group, 0);
    };
}


# Killed when the removal of a configured server was remembered, but not
# seen: that it is remembered does no harm.

sub in_removal ($name) {
    subtest "$name, COMMIT_BUILT of a removal" => sub {
        my $group  = $group{$name};
        my $before = $group->dump;
        my $id     = $group->id($backends[1]->address);
        my $mark   = $t->log_mark;

        kill_at($group, 'COMMIT_BUILT');
        my $r = $t->get(
            "/?op=remove&group=$name&id=$id", port => 'lrt_test');
        like($r->error, qr/^(?:cut|reset)$/, 'nobody answers');
        has_died($mark, 1);
        recovers($group, 0);
        is($group->generation, $before->{generation}, 'nothing has changed');

        $t->reload;
        ok($t->wait_for(sub { !$t->old_workers }), 'a reload');
        recovers($group, 0);
        is(names($group), join(' ', sort map { $_->{name} }
            $before->{servers}->@*), 'the server is still there, once');

        $group->remove($id);
        $t->reload;
        ok($t->wait_for(sub { !$t->old_workers }), 'a reload');
        is($group->peer($id), undef, 'removed for good');
        is($group->servers, 2, 'and only this one');

        $group->add($backends[1]->address, max_fails => 0);
        $t->reload;
        ok($t->wait_for(sub { !$t->old_workers }), 'a reload');
        is(names($group), join(' ', sort map { $_->address } @backends),
            'added again');
        recovers($group, 0);
    };
}

###############################################################################

sub points () {
    my $path = "$FindBin::Bin/../ngx_http_lrt_upstream_module/lrt_atomic.h";

    open my $file, '<', $path or die "$path: $!\n";
    return map { /^#define LRT_POINT_(\w+)\s+(\d+)/ } <$file>;
}


sub kill_at ($group, $point) {
    $met{$point}++;
    $group->kill_at($number{$point} // die "no point $point\n");
}


sub has_died ($mark, $count) {
    my $died = $t->wait_for(sub {
        $t->grep_log(qr/exited on signal 9/, $mark) >= $count
    });
    ok($died, $count == 1 ? 'a worker dies' : "$count workers die");
}


# Within a second all counts are those of requests that servers really have.

sub recovers ($group, $held) {
    my $since = time;
    my $right = $t->wait_for(sub {
        my $active = active();
        $group->inflight == $active && $active == active()
            && $group->validity(quiet => 1) eq 'valid'
            && ($held || !$active);
    }, SOON);
    my $took = time - $since;

    $slowest = $took if $took > $slowest;
    ok($right, 'counts are right soon') or diag 'active: ', active(), "\n",
        $group->unrest;
    ok($t->wait_for(sub { $t->workers == 2 }), 'two workers');
}


sub is_valid ($group, $held) {
    ok($t->wait_for(sub { $group->validity(quiet => 1) eq 'valid' }),
        'the table is valid') or diag $group->unrest;
    is($group->inflight, active(), 'held as many as servers have');
    ok($held ? active() : !active(), 'which are some') if $held;
}


sub active () { return sum0 map { $_->stats->{active} } @backends }


# Requests that stay, so many at least, in all of these workers.

sub hold ($name, $count, @workers) {
    return unless $count;

    @workers = $t->workers unless @workers;
    my %idle  = map { $_ => sockets($_) } @workers;
    my $begin = active();
    my @held;

    while (@held < 50) {
        push @held, $t->begin("/$name?hang=1", timeout => 60);
        $t->wait_for(sub { active() == $begin + @held });
        last if @held >= $count
             && !grep { sockets($_) - $idle{$_} < 4 } @workers;
    }

    return @held;
}


sub sockets ($pid) {
    return scalar grep { /^socket:/ }
        map { readlink // '' } glob "/proc/$pid/fd/*";
}


sub release ($group, @held) {
    return unless @held;
    $_->reset for @held;
    ok($t->wait_for(sub { !active() }), 'held requests are given up');
    ok($group->settles, 'all at rest') or diag $group->unrest;
}


sub names ($group) {
    return join ' ', sort map { $_->{name} } $group->servers;
}
