#!/usr/bin/perl

# The writers' lock: whoever dies with it, or does not give it back, stops
# neither requests nor the master, and changes go on as soon as they can.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use LRT;
use LRT::Hooks;
use LRT::Net qw(timeout);

my $t = LRT->new(name => 'lock', need => [qw(module hooks proxy)]);

use constant {
    SOON       => 1,            # seconds: a change after its owner's death
    PATIENCE   => 1.5,          # of a master that waits for the lock
    DELAY      => 0.5,          # of a request; who waits for the lock: > 1
    MERGED     => 2,            # by workers, once they can
};

$t->backend($_) for qw(a b c d e f);

$t->expect_alerts(
    qr/worker process \d+ exited on signal 9\b/,
    qr/shared memory zone "lrt:u" was locked by \d+$/);

configure(qw(a b));
$t->start;

my $master = $t->master_pid;
my $group  = LRT::Hooks->group($t, 'u');
my $added  = $group->add($t->address('f'));

###############################################################################

subtest 'killed with the lock' => sub {
    for (1 .. 3) {
        my $mark = $t->log_mark;
        my $dead = $group->die_locked;
        my $time = time;

        like($dead->receive->error, qr/^(?:cut|reset)$/, 'nobody answers');
        $group->set($added, weight => 1 + $_);
        cmp_ok(time - $time, '<', timeout(SOON), 'the next one writes');
        ok(dies($mark), 'the master sees it');
        is($group->peer($added)->{weight}, 1 + $_, 'the change is made');
    }

    goes_on();
};


subtest 'held for long' => sub {
    my $seconds = $ENV{LRT_LONG} ? 3 : 1.5;
    my ($hold, $holder, $before) = hold(1000 * $seconds);

    my $end     = $before + $seconds - 0.3;
    my $slowest = 0;
    my ($failed, $refused, $requests) = (0, 0, 0);

    while (time < $end) {
        my $r = $t->get('/');
        $requests++;
        $failed++ if $r->status ne '200';
        $slowest = $r->time if $r->time > $slowest;

        $r = set_at_once(7);
        $refused++ if $r->status eq '503';
        $slowest = $r->time if $r->time > $slowest;
        sleep 0.005;
    }

    is($failed, 0, 'requests are served');
    is($refused, $requests, 'changes are refused, for the time being');
    cmp_ok($slowest, '<', timeout(DELAY), 'nobody waits');
    diag sprintf '%d requests, slowest %.3f s', $requests, $slowest;

    is($hold->receive->status, 200, 'the lock is given back');
    is(set_at_once(7)->status, 200, 'the next change');
    goes_on();
};


# The master cannot be told of the death while it waits for the lock.

for my $resized (0, 1) {
    subtest 'killed while the master waits for the lock'
        . ($resized ? ', zone of another size' : '') => sub
    {
        my ($hold, $holder) = hold(20_000);
        my $mark = $t->log_mark;

        configure($resized ? ('512k', qw(a b c d)) : qw(a b c));
        $t->signal('HUP');
        ok($t->wait_for(sub {
            $t->grep_log(qr/reconfiguring/, $mark)
        }), 'a reload');
        sleep 0.5;
        is($t->grep_log(qr/start worker process \d/, $mark), 0,
            'the master waits');

        serves_at_once();
        my $time = time;
        kill KILL => $holder;
        ok($t->wait_for(sub {
            $t->grep_log(qr/start worker process \d/, $mark)
        }, SOON), 'and goes on soon');
        diag sprintf 'after %.3f s', time - $time;

        is($t->grep_log(qr/workers will merge/, $mark), 0,
            'it has the lock itself');
        merged($mark, $resized ? qw(a b c d f) : qw(a b c f));
    };
}


# A stopped process is not dead.

for my $how ('goes on', 'is killed') {
    subtest "the owner is stopped during a reload, then $how" => sub {
        my ($hold, $holder) = hold(1000);
        my $mark = $t->log_mark;

        kill STOP => $holder;
        configure($how eq 'goes on' ? qw(a b) : qw(a b c));
        my $before = names();
        my $time   = time;
        $t->signal('HUP');

        ok($t->wait_for(sub {
            $t->grep_log(qr/start worker process \d/, $mark) == 2
        }, PATIENCE + 1.5), 'the master does not wait for ever');
        cmp_ok(time - $time, '>=', PATIENCE - 0.1, 'but for some time');
        is($t->grep_log(qr/upstream "u" is locked, workers will merge/,
            $mark), 1, 'it leaves the merge to the workers');

        sleep 0.3;
        is(names(), $before, 'which wait for the lock');
        serves_at_once();

        kill $how eq 'goes on' ? 'CONT' : 'KILL', $holder;
        merged($mark, $how eq 'goes on' ? qw(a b f) : qw(a b c f));
    };
}


subtest 'the owner is stopped, zone of another size' => sub {
    my ($hold, $holder) = hold(1000);
    my $mark = $t->log_mark;

    kill STOP => $holder;
    configure('1m', qw(a b d));
    $t->signal('HUP');
    ok($t->wait_for(sub {
        $t->grep_log(qr/start worker process \d/, $mark) == 2
    }, PATIENCE + 1.5), 'the master does not wait for ever');
    serves_at_once();
    ok($t->wait_for(sub { names() eq addresses(qw(a b d f)) }, MERGED),
        'the new table does not need the old one');
    kill CONT => $holder;
    merged($mark, qw(a b d f));
};


# Whatever it waits for, the master obeys.

subtest 'the owner is stopped, reload and TERM' => sub {
    my ($hold, $holder) = hold(1000);

    is($t->master_pid, $master, 'still the same master');
    kill STOP => $holder;
    configure(qw(a b));
    $t->signal('HUP');
    $t->signal('TERM');
    ok($t->wait_for(sub { !$t->processes }, PATIENCE + 5), 'the end');
};

$t->done;

###############################################################################

sub configure (@servers) {
    my $size    = $servers[0] =~ /^\d/ ? shift @servers : undef;
    state $zone = '256k';

    $zone = $size if $size;
    $t->conf(workers => 2, http => "upstream u { zone u $zone;"
        . ' least_conn_ext; '
        . join(' ', map { 'server ' . $t->address($_) . ';' } @servers)
        . '}' . q{
        server {
            listen 127.0.0.1:%%PORT_http%%;
            location / { proxy_pass http://u; }
            location /pid { return 200 $pid; }
        }
        } . LRT::Hooks::server($t));
}


# Lets a worker take the lock and keep it; returns the request and who it is:
# the one that does not answer.

sub hold ($ms) {
    my ($hold, $before) = $group->held($ms);
    my $other    = $t->get('/pid')->body;
    my ($holder) = grep { $_ != $other } $t->workers;

    return ($hold, $holder, $before);
}


sub set_at_once ($weight) {
    return $t->get("/?op=set&group=u&id=$added&weight=$weight",
        port => 'lrt_test');
}


sub dies ($mark) {
    return $t->wait_for(sub {
        $t->grep_log(qr/exited on signal 9/, $mark)
    }) && $t->wait_for(sub { $t->workers == 2 });
}


sub serves_at_once () {
    my ($failed, $slowest) = (0, 0);

    for (1 .. 20) {
        my $r = $t->get('/');
        $failed++ if $r->status ne '200';
        $slowest = $r->time if $r->time > $slowest;
    }

    is($failed, 0, 'requests are served');
    cmp_ok($slowest, '<', timeout(DELAY), 'at once');
}


# The new configuration has come into force.

sub merged ($mark, @servers) {
    my $wanted = addresses(@servers);
    my $time   = time;

    ok($t->wait_for(sub { names() eq $wanted }, MERGED),
        'the new configuration is merged') or is(names(), $wanted);
    diag sprintf 'merged after %.3f s', time - $time;

    ok($t->wait_for(sub {
        $t->workers == 2 && !$t->old_workers
            && $t->grep_log(qr/start worker process \d/, $mark) >= 2
    }), 'by new workers, the old ones have left');
    goes_on();
}


sub names () { return join ' ', sort map { $_->{name} } $group->servers }

sub addresses (@names) {
    return join ' ', sort map { $t->address($_) } @names;
}


# All is well.

sub goes_on () {
    my @servers = $group->servers;

    is(keys $t->many(4 * @servers, '/', concurrency => 4)->%*, @servers,
        'all servers get requests');
    $group->set($added, weight => 1);
    ok($group->settles, 'counts are right') or diag $group->unrest;
    is($t->master_pid, $master, 'the master lives');
}
