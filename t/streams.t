#!/usr/bin/perl

# Requests that stay open: WebSocket, and streams of gRPC, with each method.
# The servers are those of Python; in the end the first one is killed.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use LRT;
use LRT::Hooks;
use LRT::Methods;
use LRT::Process;
use LRT::Service;

my $t = LRT->new(name => 'streams', need => [qw(module proxy)]);

my @methods = LRT::Methods->all;
my @names   = qw(one two);
my (%programs, %has);           # the first servers; what there are servers for

###############################################################################
# the servers, and a client

$t->write('websocket.py', <<'END');
import asyncio
import sys
import websockets

async def echo(socket):
    try:
        async for message in socket:
            await socket.send(sys.argv[1] + ' ' + message)
    except websockets.ConnectionClosedError:
        pass

async def main():
    async with websockets.serve(echo, '127.0.0.1', int(sys.argv[2])):
        await asyncio.Future()

asyncio.run(main())
END

# answers each message of a stream, whatever the method

$t->write('grpc_server.py', <<'END');
import sys
from concurrent import futures
import grpc

class Service(grpc.GenericRpcHandler):
    def service(self, call):
        return grpc.stream_stream_rpc_method_handler(self.answer)

    def answer(self, requests, context):
        for request in requests:
            yield sys.argv[1].encode() + b' ' + request

server = grpc.server(futures.ThreadPoolExecutor(4))
server.add_generic_rpc_handlers((Service(),))
server.add_insecure_port('127.0.0.1:' + sys.argv[2])
server.start()
server.wait_for_termination()
END

# A stream of three messages for each client; the second and the third are
# sent after an answer.  Prints the answers, and who was asked.

$t->write('grpc_client.py', <<'END');
import queue
import sys
import grpc

channel = grpc.insecure_channel(sys.argv[1])
method = channel.stream_stream(sys.argv[2])

for client in sys.argv[3:]:
    messages = queue.Queue()
    call = method(iter(messages.get, None), timeout=10,
                  metadata=(('x-client', client),))
    try:
        answers = []
        for message in (b'a', b'b', b'c'):
            messages.put(message)
            answers.append(next(call).decode())
        messages.put(None)
        rest = [answer.decode() for answer in call]
        shown = dict(call.initial_metadata())
        print(', '.join(answers + rest))
        print(shown['x-peer'])
    except grpc.RpcError as e:
        messages.put(None)
        print(e.code())
        print('-')
END

for (['websocket', 'websocket.py', 'websockets'],
     ['service', 'grpc_server.py', 'grpc'])
{
    my ($what, $script, $module) = @$_;
    next if !LRT::Service::has_python_module($module)
        || $what eq 'service' && !$t->has('grpc', 'v2', 'realip');

    ($programs{$what}) = map {
        LRT::Service->start($t, ["${_}_$what"], LRT::Service::PYTHON,
            $t->dir . "/$script", $_, $t->port("${_}_$what"))
    } @names;
    $has{$what} = 1;
}

$t->skip_all('needs servers for WebSocket or gRPC') if !%has;

###############################################################################
# the proxy

my $groups = '';

for my $what (sort keys %has) {
    $groups .= qq{
        upstream ${what}_$_->{id} {
            $_->{directive};
            server %%ADDRESS_one_$what%% max_fails=0;
            server %%ADDRESS_two_$what%% max_fails=0;
        }
    } for @methods;
}

my ($listen, $on) = $t->has_version('1.25.1') ? ('', 'http2 on;')
                                              : (' http2', '');

# the client of gRPC has one address only, and names those that it plays

my $service = $has{service} ? qq{
    server {
        listen 127.0.0.1:%%PORT_grpc%%$listen;
        $on
        set_real_ip_from 127.0.0.1;
        real_ip_header X-Client;
        add_header X-Peer \$lrt_peer;
        location ~ ^/(?<group>service_\\w+) { grpc_pass grpc://\$group; }
    }
} : '';

$t->conf(http => qq{
    $groups

    server {
        listen 127.0.0.1:%%PORT_http%%;
        proxy_http_version 1.1;
        proxy_set_header Connection \$http_connection;
        proxy_set_header Upgrade \$http_upgrade;
        add_header X-Peer \$lrt_peer always;
        add_header X-Inflight \$lrt_inflight always;
        location ~ ^/(?<group>websocket_\\w+) { proxy_pass http://\$group; }
    }

    $service
} . LRT::Hooks::server($t))->start;

LRT::Service::wait_for_all($t);


# The names of the servers that were asked, "one, two".

sub asked ($what, $addresses) {
    my %name = map { ($t->address("${_}_$what") => $_) } @names;
    return join ', ', map { $name{$_} // $_ } split /, /, $addresses;
}

###############################################################################
# WebSocket

sub open_websocket ($group, $client) {
    my $socket = $t->client(from => $client);

    $socket->send("GET /$group HTTP/1.1\r\nHost: x\r\n"
        . "Connection: Upgrade\r\nUpgrade: websocket\r\n"
        . "Sec-WebSocket-Version: 13\r\n"
        . "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");

    return ($socket, $socket->receive);
}


# A frame of a client, masked with 0.

sub frame ($opcode, $text) {
    return pack 'CCNa*', 0x80 | $opcode, 0x80 | length $text, 0, $text;
}


sub echo ($socket, $text) {
    my ($opcode, $length) =
        unpack 'CC', $socket->send(frame(1, $text))->receive_bytes(2);
    return $socket->receive_bytes($length // 0);
}


# The server answers, and hangs up.

sub close_websocket ($socket) {
    my $answer = $socket->send(frame(8, pack 'n', 1000))->receive_bytes(100);
    $socket->close;
    return $answer eq pack 'CCn', 0x88, 2, 1000;
}


sub test_websockets ($method) {
    my $group   = "websocket_$method->{id}";
    my $name    = "$method->{directive}: WebSocket: ";
    my @clients = LRT::Methods::clients;
    my (@sockets, @answers, %open, %shown);

    for my $client (@clients) {
        my ($socket, $r) = open_websocket($group, $client);
        push @sockets, $socket;
        push @answers, echo($socket, 'hello') =~ s/ hello$//r;

        my $asked = asked('websocket', $r->header('X-Peer') // $r->status);
        push $shown{$asked}->@*, $r->header('X-Inflight');
        $open{$asked}++;
    }

    $method->balances('WebSocket', @answers);
    is_deeply(\%shown, { map { ($_ => [1 .. $open{$_}]) } keys %open },
        $name . '$lrt_inflight counts them');
    is_deeply([map { echo($_, 'again') } @sockets],
        [map { "$_ again" } @answers], $name . 'they stay open');

    SKIP: {
        my $hooks = LRT::Hooks->group($t, $group) or skip 'no test hooks', 1;
        my %inflight = $hooks->all('inflight')->%*;
        is_deeply({ map { (asked('websocket', $_) => $inflight{$_}) }
            keys %inflight }, \%open, $name . 'and in flight');
    }

    is(scalar(grep { close_websocket($_) } @sockets), scalar @sockets,
        $name . 'and are closed by their servers');
    $method->settles($t, $group, 'WebSocket');
}


# Their server dies, and clients come again.

sub open_to_die ($method) {
    return map { (open_websocket("websocket_$method->{id}", $_))[0] }
        (LRT::Methods::clients)[0 .. 11];
}


sub test_dead_websockets ($method, @sockets) {
    my $group = "websocket_$method->{id}";
    my $what  = 'WebSocket, a server is dead';
    my @echos = map { echo($_, 'hello') } @sockets;

    is(join(' ', grep { !/^(?:two hello)?$/ } @echos), '',
        "$method->{directive}: $what: what it had is closed");
    $_->close for @sockets;

    @sockets = open_to_die($method);
    is_deeply([map { echo($_, 'hello') } @sockets],
        [('two hello') x @sockets],
        "$method->{directive}: $what: the other one takes all");
    $_->close for @sockets;
    $method->settles($t, $group, $what);
}

###############################################################################
# gRPC

# Who answered, and who was asked; what is wrong with an answer is a part of
# its name.

sub calls ($group) {
    my $output  = $t->dir . "/$group.out";
    my @clients = LRT::Methods::clients;
    my $client  = LRT::Process->run_program([
        LRT::Service::PYTHON, $t->dir . '/grpc_client.py', $t->address('grpc'),
        "/$group.Service/Method", @clients,
    ], $output);

    $t->wait_for(sub { !$client->is_running }, 30);
    $client->end;

    my @lines = split /\n/, $t->read("$group.out");
    my (@answers, @asked);
    unlink $output;

    while (my ($answer, $addresses) = splice @lines, 0, 2) {
        push @answers, $answer =~ s/^(\w+) a, \1 b, \1 c$/$1/r;
        push @asked, asked('service', $addresses // '');
    }

    return (\@answers, \@asked);
}

###############################################################################
# with both servers, then with one

my (%before, %open);

for my $method (@methods) {
    SKIP: {
        skip 'no WebSocket', 1 unless $has{websocket};
        test_websockets($method);
        $open{ $method->{id} } = [open_to_die($method)];
    }

    SKIP: {
        skip 'no gRPC', 1 unless $has{service};
        my $group = "service_$method->{id}";
        my ($answers) = calls($group);

        $method->balances('gRPC', @$answers);
        $method->settles($t, $group, 'gRPC');
        $before{$group} = $answers;
    }
}

$_->end for values %programs;

for my $method (@methods) {
    SKIP: {
        skip 'no WebSocket', 1 unless $has{websocket};
        test_dead_websockets($method, $open{ $method->{id} }->@*);
    }

    SKIP: {
        skip 'no gRPC', 1 unless $has{service};
        my $group = "service_$method->{id}";
        my $what  = 'gRPC, a server is dead';
        my ($answers, $asked) = calls($group);

        is_deeply($answers, [('two') x @$answers],
            "$method->{directive}: $what: the other one answers");
        $method->fails_over($what, $before{$group}, @$asked);
        $method->settles($t, $group, $what);
    }
}

$t->done;
