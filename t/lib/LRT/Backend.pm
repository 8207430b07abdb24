package LRT::Backend;

# HTTP servers to balance over.  One process serves many of them.
#
#     my $a = LRT::Backend->new('a', address => '127.0.0.1:8081');
#     $a->set(status => 503, delay => 100);
#     $a->set;                        # as at the beginning
#     is($a->stats->{requests}, 5);
#     $a->stop;                       # connections are refused ...
#     $a->start;                      # ... and accepted again
#
# A backend answers every request with 200, its name as the body and in the
# header X-Backend; it speaks HTTP/1.0 and 1.1 and keeps connections alive.
# Settings change that:
#
#     status=N              another status
#     body=TEXT  size=N     another body; N bytes of 'x'
#     header=NAME: VALUE    one more header
#     delay=MS, MS-MS       wait before the answer (a random time between)
#     body_delay=MS         wait between header and body
#     drip=MS               send the answer byte by byte, one each MS
#     chunked=1             the body in chunks (for HTTP/1.0, without length)
#     echo=1                the body of the request as the body
#     upgrade=1             101 if the request asks for an upgrade; then each
#                           byte is sent back
#     raw=BYTES             these bytes as the whole answer
#     hang=1                no answer
#     close=1, reset=1      close or reset the connection instead
#     cut=N                 close it after N bytes of the body
#     drop=1                close each new connection at once
#     keepalive=0           close it after the answer
#     times=N               the settings hold for N requests
#
# They come from set(), from a request to http://backend/_set?status=500
# (/_set alone clears them), or for one request from its own query:
# /any?delay=100, or /any?a.delay=100 for the backend `a` alone.
#
# /_stats answers with the counters, /_close closes the idle connections;
# requests whose URI begins with /_ are not counted.

use v5.36;

use LRT::Backend::Server;
use LRT::Process;

use constant BACKENDS_PER_PROCESS => 250;

my @processes;                  # { process, backends }


sub new ($class, $name, %o) {
    my $address = delete $o{address};
    my $last    = $processes[-1];

    if (!$last || $last->{backends} >= BACKENDS_PER_PROCESS) {
        $last = {
            backends => 0,
            process  => LRT::Process->spawn(
                'lrt backends', \&LRT::Backend::Server::main),
        };
        push @processes, $last;
    }

    $last->{backends}++;
    my $self = bless {
        name => $name, address => $address, process => $last->{process},
    }, $class;

    $self->_ask('add', $address);
    $self->set(%o) if %o;
    return $self;
}


sub name    ($self) { return $self->{name} }
sub address ($self) { return $self->{address} }
sub port    ($self) { return $self->{address} =~ /:(\d+)$/ ? $1 : undef }


# These settings, and no others, from now on.

sub set ($self, %settings) { return $self->_ask('set', %settings) }


# connections, open, idle, requests, active, max_active, answered, aborted
# (the client left before the answer was complete).

sub stats ($self) { return $self->_ask('stats') }


# The last 1000 requests, oldest first: hashes of time, connection (a
# number), method, uri, headers (names in lower case), head and body.

sub requests ($self) {
    my @requests = $self->_ask('requests')->@*;

    for (@requests) {
        my %request;
        @request{qw(time connection head body)} = @$_;
        @request{qw(method uri)} = split ' ', $request{head};
        $request{headers} = {
            map { /^([^:]+):\s*(.*?)\s*$/ ? (lc $1, $2) : () }
                split /\r\n/, $request{head}
        };
        $_ = \%request;
    }

    return @requests;
}


# Counters at 0 (open connections and running requests stay counted), no
# requests remembered.

sub clear ($self) { return $self->_ask('clear') }


# No more connections; idle ones are closed, running requests are finished
# or, with abort => 1, reset.

sub stop ($self, %o) { return $self->_ask('stop', %o) }

sub start ($self) { return $self->_ask('start') }


# Closes the idle connections, returns how many there were.

sub close_idle ($self) { return $self->_ask('close_idle') }


sub _ask ($self, $command, @arguments) {
    return $self->{process}->ask($self->{name}, $command, @arguments);
}


1;
