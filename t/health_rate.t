#!/usr/bin/perl

# 64 workers, a thousand servers, a probe of each every second: what the servers
# see of it in all.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep);

use LRT;

use constant {
    WORKERS => 64,
    MANY    => 1000,
    SECONDS => 3,
};

# All servers are probed at one port of another nginx, which notes when.

my $backend = LRT->new(name => 'health_rate_backend', need => [qw(module)]);

$backend->conf(workers => 1, events => 'worker_connections 4096;', http => q{
    log_format when $msec;
    access_log %%DIR%%/when when;
    server {
        listen 127.0.0.1:%%PORT_probed%% backlog=1024;
        location / { return 200 ok; }
    }
});
$backend->start;

my $t = LRT->new(name => 'health_rate', need => [qw(module)]);

$t->conf(workers => WORKERS, events => 'worker_connections 2048;', http => '
    upstream u {
        zone u 8m;
        lrt_health_check interval=1s timeout=1s port='
            . $backend->port('probed') . ';
    ' . join("\n", map { "server 127.0.0.1:$_;" } 10001 .. 10000 + MANY) . '
    }
    server { listen 127.0.0.1:%%PORT_http%%; return 200 ok; }');
$t->start;


sub probes () {
    open my $f, '<', $backend->dir . '/when' or return;
    return map { chomp; $_ } <$f>;
}


# The most of any tenth of a second.

sub busiest (@times) {
    my ($most, $from) = (0, 0);

    for my $i (0 .. $#times) {
        $from++ while $times[$from] <= $times[$i] - 0.1;
        $most = $i - $from + 1 if $i - $from + 1 > $most;
    }

    return $most;
}

###############################################################################

ok($t->wait_for(sub { probes() >= 2 * MANY }, 20), 'probes');

my ($rate, $most);

# a machine that stands still for a tenth of a second has it all at once then

for my $try (1 .. 5) {
    my $before = probes();
    sleep SECONDS + 0.5;

    my @times = probes();
    @times = @times[$before .. $#times];
    my $begin = $times[0];
    @times = grep { $_ < $begin + SECONDS } @times;

    $rate = @times / SECONDS;
    $most = busiest(@times);
    last if abs($rate - MANY) <= MANY / 20 && $most <= MANY / 5;
}

cmp_ok(abs($rate - MANY), '<=', MANY / 20, 'as if there were one worker');
cmp_ok($most, '<=', MANY / 5, 'never more than twice as many as on average');

$backend->stop;
$t->done;
