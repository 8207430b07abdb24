#!/usr/bin/perl

# A worker that stood still finds the answers to hundreds of probes at once,
# and the timers of some of them over: what came in time counts.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use List::Util qw(sum0);
use Test::More;
use Time::HiRes qw(sleep);

use LRT;
use LRT::Checks;

use constant {
    MANY    => 300,
    ANSWER  => 80 * 1024,       # more than is read of one at a time
    TIMEOUT => 2,               # seconds, and the interval
    ASLEEP  => 0.5,             # less than what makes another one take over
};

# All servers are probed at one port of another nginx.

my $backend = LRT->new(name => 'health_stall_backend', need => [qw(module)]);

$backend->conf(workers => 1, events => 'worker_connections 2048;', http => q{
    access_log off;
    keepalive_timeout 1h;
    server {
        listen 127.0.0.1:%%PORT_probed%% backlog=1024;
        root %%DIR%%;
    }
});
$backend->write('answer', 'x' x ANSWER);
$backend->start;

my ($probed) = $backend->workers;

my $t = LRT->new(name => 'health_stall', need => [qw(module)]);
my $u = LRT::Checks->new($t, 'u');

$t->conf(workers => 1, events => 'worker_connections 8192;', http => '
    upstream u {
        zone u 4m;
        lrt_health_check uri=/answer interval=' . TIMEOUT . 's timeout=' . TIMEOUT . 's
                         fails=1 keepalive_time=1h port='
                         . $backend->port('probed') . ';
    ' . join("\n", map { "server 127.0.0.1:$_;" } 10001 .. 10000 + MANY) . '
    }
    ' . LRT::Checks::server());
$t->start;


sub count ($what) {
    return sum0(map { $_->{health_checks}{$what} // 0 }
        $u->api->get->{peers}->@*);
}


# The servers say nothing for some time, and then all they have to say while
# nobody listens.  True if no probe failed.

sub stall ($worker) {
    my ($checks, $fails) = map { count($_) } qw(checks fails);

    kill STOP => $probed;
    sleep TIMEOUT - 0.3;
    kill STOP => $worker;
    kill CONT => $probed;
    sleep ASLEEP;
    kill CONT => $worker;

    ok($t->wait_for(sub { count('checks') >= $checks + 2 * MANY }, 10),
        'probes go on');

    return count('fails') == $fails;
}

###############################################################################

my ($worker) = $t->workers;

ok($t->wait_for(sub { count('checks') >= 2 * MANY }, 15), 'probes');

my $mark;
my $tries = 0;

# a machine that is busy at the wrong moment makes real timeouts

do {
    ok($u->all_become('up', 15), 'all are up');
    $mark = $t->log_mark;
} until (stall($worker) || ++$tries == 3);

cmp_ok($tries, '<', 3, 'answers that came in time are no failures');
is(scalar(my @lines = $t->grep_log(qr/-> unhealthy/, $mark)), 0,
    'no server was out');
is_deeply([$t->workers], [$worker], 'the worker lives');

$backend->stop;
$t->done;
