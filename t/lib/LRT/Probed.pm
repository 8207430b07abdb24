package LRT::Probed;

# A group of many servers, `many`, and the times at which they are probed.
#
#     my $many = LRT::Probed->new($t, servers => 400);
#
#     $many->conf(8);                 # workers
#     $many->conf(8, interval => 0.2, use => 40);     # seconds, servers
#     $t->start;
#
#     $many->rate_is_right('so often');
#     my $pid = $many->prober;
#     cmp_ok($many->longest_gap($from), '<=', 2 * $many->interval);
#
# Intervals are one second if not said otherwise.  One server, `flip`, is there to be turned.  What LRT::Checks tells of the
# group is in ->checks.

use v5.36;

use List::Util qw(max uniq);
use LRT::Checks;
use LRT::Raw;
use Test::More;
use Time::HiRes qw(sleep time);


sub new ($class, $t, %o) {
    my $raw  = LRT::Raw->new($t);
    my $port = $t->port('many');

    my @servers = map {
        my $address = sprintf '127.1.%d.%d:%d', $_ / 200, 1 + $_ % 200, $port;
        $raw->server("n$_", listen => $address);
    } 0 .. $o{servers} - 1;

    return bless {
        t => $t, raw => $raw, port => $port, servers => \@servers,
        flip => $raw->server('flip'), checks => LRT::Checks->new($t, 'many'),
    }, $class;
}


sub checks   ($self) { return $self->{checks} }
sub interval ($self) { return $self->{interval} }
sub servers  ($self) { return $self->{used}->@* }
sub count    ($self) { return 1 + $self->{used}->@* }


sub conf ($self, $workers, %o) {
    my $last    = ($o{use} // $self->{servers}->@*) - 1;
    $self->{used} = [$self->{servers}->@[0 .. $last]];

    my $servers = join '', map { 'server ' . $_->address . ";\n" }
        $self->servers;

    $self->{interval} = $o{interval} // 1;
    my $ms = 1000 * $self->{interval};

    return $self->{t}->conf(workers => $workers, http => qq{
        upstream many {
            zone many 4m;
            $servers
            server %%ADDRESS_flip%%;
            lrt_health_check interval=${ms}ms timeout=${ms}ms fails=1 passes=1;
        }
        upstream u {
            server 127.0.0.1:$self->{port};
        }
        server {
            listen 127.0.0.1:%%PORT_http%%;
            location / { proxy_pass http://many; }
        }
    } . LRT::Checks::server());
}


# Times of probes of all servers: since the beginning; or from a time on, for
# some seconds.

sub all_probes ($self) {
    return map { $_->[0] } $self->{raw}->all_requests;
}


sub probes ($self, $from, $seconds) {
    my $left = $from + $seconds + 0.05 - time;
    sleep $left if $left > 0;

    my @times = grep { $_ >= $from && $_ < $from + $seconds }
        $self->all_probes;
    return @times;
}


# As many as there should be in that time: 5 % more or less.

sub rate_is_right ($self, $name, $seconds = 2) {
    my $rate;

    # a machine that stops for a while has them later, or earlier

    for my $try (1 .. 3) {
        my @times = $self->probes(time, $seconds);
        $rate = @times / $seconds / $self->count * $self->interval;
        last if abs($rate - 1) <= 0.05;
        diag("$name: $rate");
    }

    return cmp_ok(abs($rate - 1), '<=', 0.05, $name);
}


# The longest time from one probe to the next that one of the servers has seen
# since then, or waits now.

sub longest_gap ($self, $from) {
    my %last = map { ($_->name => 0) } $self->servers;
    my $now  = time;
    my $gap  = 0;

    for my $request ($self->{raw}->all_requests) {
        my ($time, $name) = @$request;
        next if !exists $last{$name} || $time < $from;
        $gap = max $gap, $time - $last{$name} if $last{$name};
        $last{$name} = $time;
    }

    return max $gap, map { $now - ($_ || $from) } values %last;
}


sub flip_fails  ($self) { return $self->{flip}->set(status => 500) }
sub flip_passes ($self) { return $self->{flip}->set }


# The worker that probes: a server that turns makes it write to the log.

sub prober ($self) {
    my $mark = $self->{t}->log_mark;

    $self->flip_fails;
    $self->checks->becomes(flip => 'unhealthy');
    $self->flip_passes;
    $self->checks->becomes(flip => 'up');

    my @pids = uniq map { /\] (\d+)#/ ? $1 : () } $self->lines($mark);
    is(scalar @pids, 1, 'one worker probes');

    return $pids[0];
}


# What the log says of servers of the group.

sub lines ($self, $mark) {
    return $self->{t}->grep_log(qr/upstream "many": server/, $mark);
}


1;
