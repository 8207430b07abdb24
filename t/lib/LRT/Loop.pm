package LRT::Loop;

# A small event loop on select(2): sockets and timers of one process.
#
#     my $loop = LRT::Loop->new;
#     $loop->on_read($socket, sub { ... });
#     my $timer = $loop->after(0.1, sub { ... });
#     $loop->once while $busy;
#
# Forget a socket before it is closed.  A callback may be called though its
# socket has nothing to read: sockets have to be non-blocking.

use v5.36;

use Time::HiRes qw(time);


sub new ($class) {
    return bless {
        read => '', write => '', readers => [], writers => [], timers => [],
    }, $class;
}


sub on_read ($self, $socket, $callback) {
    my $fd = fileno $socket;
    vec($self->{read}, $fd, 1) = $callback ? 1 : 0;
    $self->{readers}[$fd] = $callback;
}


sub on_write ($self, $socket, $callback) {
    my $fd = fileno $socket;
    vec($self->{write}, $fd, 1) = $callback ? 1 : 0;
    $self->{writers}[$fd] = $callback;
}


sub forget ($self, $socket) {
    my $fd = fileno $socket;
    return unless defined $fd;

    vec($self->{read}, $fd, 1) = vec($self->{write}, $fd, 1) = 0;
    $self->{readers}[$fd] = $self->{writers}[$fd] = undef;
}


# Timers are an array ordered by time; one that is cancelled stays in it,
# without its callback, until it is due.

sub after ($self, $seconds, $callback) {
    my $timers = $self->{timers};
    my $timer  = { at => time() + $seconds, callback => $callback };
    my ($low, $high) = (0, scalar @$timers);

    while ($low < $high) {
        my $middle = ($low + $high) >> 1;
        if ($timers->[$middle]{at} <= $timer->{at}) {
            $low = $middle + 1;
        } else {
            $high = $middle;
        }
    }

    splice @$timers, $low, 0, $timer;
    return $timer;
}


sub cancel ($self, $timer) {
    delete $timer->{callback} if $timer;
}


# Waits for events, for $longest seconds at most, and handles them.

sub once ($self, $longest = 1) {
    my $timers = $self->{timers};

    if (@$timers) {
        my $left = $timers->[0]{at} - time();
        $longest = $left < 0 ? 0 : $left if $left < $longest;
    }

    my $ready = select
        my $read = $self->{read}, my $write = $self->{write}, undef, $longest;

    if ($ready > 0) {
        _call($self->{writers}, $write);
        _call($self->{readers}, $read);
    }

    return unless @$timers;

    my $now = time;
    while (@$timers && $timers->[0]{at} <= $now) {
        my $callback = (shift @$timers)->{callback};
        $callback->() if $callback;
    }
}


sub _call ($callbacks, $set) {
    my $bits = unpack 'b*', $set;
    my $fd   = -1;

    while (($fd = index $bits, '1', $fd + 1) >= 0) {
        my $callback = $callbacks->[$fd];
        $callback->() if $callback;
    }
}


1;
