package LRT::HTTP::Client;

# A connection that the caller steers, request by request or byte by byte.
#
#     my $c = LRT::HTTP::Client->new($address, timeout => 5);
#     my $r = $c->request(GET => '/a', keepalive => 1);   # connects if needed
#     print $r->status, $r->header('x-backend'), $r->body;
#
#     $c->send_request(GET => '/slow');           # does not wait ...
#     my $r = $c->receive;                        # ... until here
#     $c->send("half a requ");
#     $c->close;                                  # or $c->reset
#
# Options are those of LRT::HTTP, answers are of LRT::HTTP::Response.

use v5.36;

use Errno qw(EAGAIN EINTR ENOTCONN);
use LRT::HTTP;
use LRT::Net qw(connect_to reset_connection timeout);
use Scalar::Util qw(weaken);
use Time::HiRes qw(time);

use constant { BLOCK => 65_536, TIMEOUT => 10 };

my %open;                       # of this process, for close_all()


sub new ($class, $address, %o) {
    return bless {
        address => $address, from => $o{from},
        timeout => timeout($o{timeout} // TIMEOUT),
    }, $class;
}


sub request ($self, $method, $uri, %o) {
    $self->send_request($method, $uri, keepalive => 0, %o);
    my $response = $self->receive;

    $self->close if $response->error || !$response->keeps_alive;
    return $response;
}


sub send_request ($self, $method, $uri, %o) {
    $self->{method} = $method;
    return $self->send(LRT::HTTP::request_text(
        $method, $uri, keepalive => 1, %o));
}


# Sends bytes as they are, connecting first if there is no connection.

sub send ($self, $bytes) {
    $self->{begun} = time;
    delete $self->{failure};
    $self->_connect unless $self->{socket};

    while ($self->{socket} && length $bytes) {
        my $n = syswrite $self->{socket}, $bytes;
        if (defined $n) {
            substr($bytes, 0, $n) = '';
        } elsif ($! == EAGAIN || $! == ENOTCONN || $! == EINTR) {
            $self->_wait(1) or $self->{failure} = 'timeout', last;
        } else {
            $self->{failure} = LRT::HTTP::failure($!);
            last;
        }
    }

    return $self;
}


sub _connect ($self) {
    $self->{socket} = connect_to($self->{address}, $self->{from});

    if ($self->{socket}) {
        weaken($open{$self} = $self);
    } else {
        $self->{failure} = LRT::HTTP::failure($!);
    }
}


sub _wait ($self, $for_write) {
    my $left = $self->{begun} + $self->{timeout} - time;
    vec(my $set = '', fileno $self->{socket}, 1) = 1;

    return 0 if $left <= 0;
    return $for_write ? select undef, $set, undef, $left
                      : select $set, undef, undef, $left;
}


# Waits for the response to what was sent.  What a server sent before it
# broke the connection counts.

sub receive ($self) {
    my $response = LRT::HTTP::Response->new($self->{method} // 'GET');
    my $failure  = $self->{failure};
    my $error;

    $error = $failure // 'no connection'
        if !$self->{socket} || ($failure // '') eq 'refused';

    until ($error) {
        my $n = sysread $self->{socket}, my $bytes, BLOCK;
        if ($n) {
            last if $response->feed($bytes);
        } elsif (defined $n) {
            $response->end($failure);
            last;
        } elsif ($! == EAGAIN || $! == EINTR) {
            $self->_wait(0) or $error = $failure // 'timeout';
        } else {
            $error = LRT::HTTP::failure($!);
        }
    }

    $response->fail($error) if $error;
    $response->{time} = time - ($self->{begun} // time);

    return $response;
}


# The bytes that have come, waiting for $length of them or the end.

sub receive_bytes ($self, $length) {
    my $bytes = '';
    $self->{begun} = time;

    while ($self->{socket} && length $bytes < $length) {
        my $n = sysread $self->{socket}, $bytes, $length - length $bytes,
            length $bytes;
        last if defined $n ? $n == 0
              : $! == EAGAIN || $! == EINTR ? !$self->_wait(0)
              : 1;
    }

    return $bytes;
}


sub is_open ($self) { return defined $self->{socket} }


sub close ($self) {
    delete $open{$self};
    CORE::close(delete $self->{socket}) if $self->{socket};
    return;
}


sub reset ($self) {
    delete $open{$self};
    reset_connection(delete $self->{socket}) if $self->{socket};
    return;
}


sub close_all () {
    $_ && $_->close for values %open;
}


sub DESTROY ($self) {
    delete $open{$self};
}


1;
