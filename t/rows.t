#!/usr/bin/perl

# Rows of the registry: workers of many configurations side by side, more
# workers than before, and more than there are rows.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use List::Util qw(sum0);
use Test::More;
use Time::HiRes qw(sleep);

use LRT;
use LRT::Hooks;

my $t = LRT->new(name => 'rows', need => [qw(module hooks proxy)]);

use constant {
    GENERATIONS => 20,
    ROUNDS      => $ENV{LRT_LONG} ? 10 : 3,
    ROWS        => 64,          # one worker at start: LRT_MIN_ROWS
    SOON        => 1,
};

my @backends = map { $t->backend($_) } qw(a b c);

$t->expect_alerts(qr/worker process \d+ exited on signal 9\b/);
configure(1);
$t->start;

my $group = LRT::Hooks->group($t, 'u');

###############################################################################

subtest 'more workers than at start' => sub {
    my @held = map { $t->begin('/?hang=1', timeout => 60) } 1 .. 3;
    ok(counted(3), 'requests of one worker');

    configure(4);
    $t->reload;
    is($t->workers, 4, 'now there are four');
    push @held, map { $t->begin('/?hang=1', timeout => 60) } 1 .. 20;
    ok(counted(23), 'requests of all');

    $_->reset for splice @held, 10;
    ok(counted(10), 'some have ended');
    $_->reset for @held;
    at_rest();
};


# Each round takes more than half of the rows, and has to give them back.

for my $round (1 .. ROUNDS) {
    subtest GENERATIONS . ' configurations side by side' => sub {
        my $mark = $t->log_mark;
        my @held;

        for my $generation (1 .. GENERATIONS) {
            push @held, $t->begin('/?hang=1', timeout => 60);
            $t->wait_for(sub { active() == @held });
            configure(2);
            $t->reload;
        }

        $t->wait_for(sub { $t->old_workers == GENERATIONS });
        is($t->old_workers, GENERATIONS, 'an old worker for each request');
        ok(counted(GENERATIONS), 'all requests are counted');

        # any of them may be killed, and nobody comes in its place

        $t->kill_worker('KILL', ($t->old_workers)[$_]) for 0, 7;
        ok($t->wait_for(sub { $group->inflight == GENERATIONS - 2 }, SOON),
            'what killed ones held is given back');
        ok(counted(GENERATIONS - 2), 'and no more than that');

        my $left = GENERATIONS - 2;
        $_->close for grep { $_->{dead} = is_cut($_) } @held;
        @held = grep { !$_->{dead} } @held;
        is(@held, $left, 'the others run');

        $_->reset for splice @held, 0, $left / 2;
        ok(counted($left - $left / 2), 'half of them have ended');
        ok($t->wait_for(sub { $t->old_workers == $left - $left / 2 }),
            'and their workers');
        $_->reset for @held;
        at_rest();

        is_deeply([$t->grep_log(qr/no free row/, $mark)], [],
            'there were rows for all');
    };
}


subtest 'no rows left' => sub {
    my $mark = $t->log_mark;

    configure(ROWS + 6);
    $t->reload;

    # 63 are for one worker each; the old ones had theirs

    my @without = $t->grep_log(qr/\[error\].* no free row/, $mark);
    cmp_ok(@without, '>=', 7, 'those without a row say so');
    cmp_ok(@without, '<=', 7 + 2, 'once');

    my @held = map { $t->begin('/?hang=1', timeout => 60) } 1 .. 200;
    ok(counted(200), 'requests are counted');
    sleep 0.5;                  # some audits
    ok(counted(200), 'and stay so');

    $_->reset for splice @held, 0, 120;
    ok(counted(80), 'most have ended');

    configure(2);
    $t->reload;
    ok(counted(80), 'the others still count');
    $_->reset for @held;
    at_rest();
    sleep 0.5;
    ok(counted(0), 'and stay so');

    $mark = $t->log_mark;
    $t->reload for 1 .. 3;
    at_rest();
    is_deeply([$t->grep_log(qr/no free row/, $mark)], [],
        'there are rows again');
};

$t->done;

###############################################################################

sub configure ($workers) {
    $t->conf(workers => $workers, http => q{
        upstream u {
            least_conn_ext;
            server %%ADDRESS_a%%;
            server %%ADDRESS_b%%;
            server %%ADDRESS_c%%;
        }
        server {
            # all workers get requests
            listen 127.0.0.1:%%PORT_http%% reuseport;
            location / { proxy_pass http://u; }
        }
        } . LRT::Hooks::server($t));
}


sub active () { return sum0 map { $_->stats->{active} } @backends }


# The table and the servers agree on so many requests.

sub counted ($count) {
    return $t->wait_for(sub {
        $group->inflight == $count && active() == $count
            && $group->validity(quiet => 1) eq 'valid'
    }) || (diag($group->unrest, "\nactive: ", active()), 0)[1];
}


sub at_rest () {
    ok($t->wait_for(sub { !$t->old_workers }, 10), 'old workers have left');
    ok(counted(0), 'all at rest');
}


# Nothing comes on a connection that is open.

sub is_cut ($client) {
    my $socket = $client->{socket} // return 1;
    my $n      = sysread $socket, my $bytes, 1;
    return defined $n || $!{ECONNRESET};
}
