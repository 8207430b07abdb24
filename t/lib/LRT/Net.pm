package LRT::Net;

# Addresses, ports and sockets of the tests.
#
# Everything stays on this machine: an address is "127.x.y.z:port",
# "[::1]:port" or "unix:/path", and anything else is refused.
#
#     use LRT::Net qw(free_port listen_on connect_to);
#
#     my $port     = free_port();                       # ours until we end
#     my $listener = listen_on("127.0.0.1:$port");
#     my $socket   = connect_to("127.0.0.1:$port");     # does not block

use v5.36;

use Errno qw(EAGAIN EINPROGRESS);
use Exporter qw(import);
use Fcntl qw(F_SETFL O_NONBLOCK O_RDWR);
use Socket qw(
    AF_INET6 INADDR_LOOPBACK IPPROTO_IP IPPROTO_IPV6 IPPROTO_TCP IPV6_V6ONLY
    PF_INET PF_INET6 PF_UNIX SOCK_DGRAM SOCK_NONBLOCK SOCK_STREAM
    SOL_SOCKET SO_LINGER SO_REUSEADDR TCP_NODELAY
    inet_aton inet_pton pack_sockaddr_in pack_sockaddr_in6 pack_sockaddr_un
);

our @EXPORT_OK = qw(
    accept_from connect_to free_port has_ipv6 listen_on raise_descriptor_limit
    reset_connection socket_address timeout
);

use constant {
    LOWEST_PORT             => 10_000,
    LISTEN_QUEUE            => 4096,
    IP_BIND_ADDRESS_NO_PORT => 24,
};


# How long to wait, here and now, for what should take some seconds.

sub timeout ($seconds) {
    return $seconds * ($ENV{LRT_TIMEOUT_FACTOR} || 1);
}


# The protocol family and the packed address of a text address.

sub socket_address ($text) {
    state %known;

    my $pair = $known{$text} //= do {
        my ($host, $place) = $text =~ /^(unix|127\.\d+\.\d+\.\d+|\[::1\]):(.+)/
            or die "'$text' is not 127.x.y.z:port, [::1]:port or unix:/path\n";

        $host eq 'unix'
            ? [PF_UNIX, pack_sockaddr_un($place)]
      : $host eq '[::1]'
            ? [PF_INET6, pack_sockaddr_in6($place, inet_pton(AF_INET6, '::1'))]
      :       [PF_INET, pack_sockaddr_in($place, inet_aton($host))];
    };

    return @$pair;
}


# A TCP port that nothing listens on, on any loopback address.  The claim is
# a UDP socket on the same number, held by this process: tests that run side
# by side exclude each other, and the kernel ends the claim with its holder.
# The ports lie below those that the kernel gives to outgoing connections.

sub free_port () {
    state @claims;
    state $end = _first_outgoing_port();

    for (1 .. 2000) {
        my $port    = LOWEST_PORT + int rand($end - LOWEST_PORT);
        my $address = pack_sockaddr_in($port, INADDR_LOOPBACK);

        socket(my $claim, PF_INET, SOCK_DGRAM, 0) or die "socket: $!\n";
        bind($claim, $address) or next;

        socket(my $trial, PF_INET, SOCK_STREAM, 0) or die "socket: $!\n";
        setsockopt($trial, SOL_SOCKET, SO_REUSEADDR, 1);
        bind($trial, $address) or next;

        push @claims, $claim;
        return $port;
    }

    die "no free port between ", LOWEST_PORT, " and $end\n";
}


sub _first_outgoing_port () {
    open my $file, '<', '/proc/sys/net/ipv4/ip_local_port_range'
        or return 32_768;
    my ($first) = split ' ', <$file>;

    return $first > LOWEST_PORT + 5000 ? $first : 32_768;
}


sub has_ipv6 () {
    state $has = defined eval { listen_on('[::1]:0') };
    return $has;
}


sub listen_on ($address) {
    my ($family, $packed) = socket_address($address);

    socket(my $socket, $family, SOCK_STREAM | SOCK_NONBLOCK, 0)
        or die "socket for $address: $!\n";

    if ($family == PF_UNIX) {
        unlink substr $address, 5;
    } else {
        setsockopt($socket, SOL_SOCKET, SO_REUSEADDR, 1);
        setsockopt($socket, IPPROTO_IPV6, IPV6_V6ONLY, 1)
            if $family == PF_INET6;
    }

    bind($socket, $packed) && listen($socket, LISTEN_QUEUE)
        or die "listen on $address: $!\n";

    return $socket;
}


# A connection that a listener has ready, not blocking; undef if none.

sub accept_from ($listener) {
    accept(my $socket, $listener) or return;
    fcntl($socket, F_SETFL, O_NONBLOCK | O_RDWR);
    setsockopt($socket, IPPROTO_TCP, TCP_NODELAY, 1);

    return $socket;
}


# A socket that is connected or on its way; undef and $! if refused at once.
# With a second argument the connection comes from that loopback address.

sub connect_to ($address, $from = undef) {
    my ($family, $packed) = socket_address($address);

    socket(my $socket, $family, SOCK_STREAM | SOCK_NONBLOCK, 0)
        or die "socket for $address: $!\n";

    if (defined $from) {
        setsockopt($socket, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
        bind($socket, (socket_address("$from:0"))[1])
            or die "bind to $from: $!\n";
    }

    connect($socket, $packed)
        or $! == EINPROGRESS
        or return;

    setsockopt($socket, IPPROTO_TCP, TCP_NODELAY, 1) if $family != PF_UNIX;

    return $socket;
}


# Ends a connection with a reset instead of an orderly close.

sub reset_connection ($socket) {
    setsockopt($socket, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0));
    close $socket;
}


# Tests with thousands of sockets need more than the usual 1024 descriptors;
# what is started later inherits the limit.

sub raise_descriptor_limit () {
    open my $limits, '<', '/proc/self/limits' or return;

    for (grep { /^Max open files/ } <$limits>) {
        my ($soft, $hard) = /(\d+|unlimited)/g;
        $hard = 65_536 if $hard eq 'unlimited' || $hard > 65_536;

        system "prlimit --pid $$ --nofile=$hard: 2>/dev/null"
            if $soft ne 'unlimited' && $soft < $hard && $soft < 16_384;
    }
}


1;
