#!/usr/bin/perl

# Each method before servers as people run them: WSGI programs behind HTTP,
# FastCGI, uwsgi and SCGI, memcached, HTTP/2.  First both servers of a group
# live, then the first one is killed.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use LRT;
use LRT::Hooks;
use LRT::Methods;
use LRT::Service;

my $t = LRT->new(name => 'services', need => [qw(module proxy rewrite)]);

my @methods = LRT::Methods->all;
my @names   = qw(one two);
my @wsgi    = grep { $t->has($_) } qw(proxy fastcgi uwsgi scgi);

my (%has, %programs);           # protocols; the first servers

###############################################################################
# the servers

# One program for four protocols.

sub start_wsgi ($uwsgi, $name) {
    my %option = (
        proxy => '--http-socket', fastcgi => '--fastcgi-socket',
        uwsgi => '--uwsgi-socket', scgi => '--scgi-socket',
    );

    return LRT::Service->start($t, [map { "${name}_$_" } @wsgi],
        $uwsgi, '--plugin', 'python3', '--need-app', '--env', "NAME=$name",
        (map { ($option{$_} => $t->address("${name}_$_")) } @wsgi),
        '--wsgi-file', $t->dir . '/app.py');
}


sub start_memcached ($memcached, $name) {
    return LRT::Service->start($t, ["${name}_memcached"], $memcached,
        $> == 0 ? (-u => 'root') : (), -l => '127.0.0.1', -U => 0, -m => 8,
        -t => 1, -p => $t->port("${name}_memcached"));
}


my $uwsgi = LRT::Service::program('uwsgi');

if ($uwsgi && qx{$uwsgi --plugin python3 --version 2>&1} !~ /unable/i) {
    $t->write('app.py', <<'END');
import os

def application(environ, start_response):
    body = environ['wsgi.input'].read(int(environ.get('CONTENT_LENGTH') or 0))
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [os.environ['NAME'].encode(), b' ', body]
END

    ($programs{wsgi}) = map { start_wsgi($uwsgi, $_) } @names;
    $has{$_} = 1 for @wsgi;
}

if (my $memcached = LRT::Service::program('memcached')) {
    if ($t->has('memcached')) {
        ($programs{memcached}) = map { start_memcached($memcached, $_) } @names;
        $has{memcached} = 1;
    }
}

# nginx itself speaks HTTP/2; gRPC proper is another test

my %nginx;

if ($t->has('grpc', 'v2')) {
    my ($listen, $on) = $t->has_version('1.25.1') ? ('', 'http2 on;')
                                                  : (' http2', '');

    for my $name (@names) {
        $nginx{$name} = LRT->new(name => $name)->conf(http => qq{
            server {
                listen 127.0.0.1:%%PORT_${name}_grpc%%$listen;
                $on
                return 200 $name;
            }
        })->start;
    }

    $has{grpc} = 1;
}

###############################################################################
# the proxy

my @protocols = sort keys %has;
my ($groups, $locations) = ('', '');

my %parameters = (
    REQUEST_METHOD => '$request_method', REQUEST_URI => '$request_uri',
    PATH_INFO => '$uri', QUERY_STRING => '$args',
    CONTENT_TYPE => '$content_type', SERVER_PROTOCOL => '$server_protocol',
    SERVER_NAME => '$server_name', SERVER_PORT => '$server_port',
);

my %scheme = (proxy => 'http://', grpc => 'grpc://');
my %more   = (memcached => 'set $memcached_key /key;');

for my $protocol (qw(fastcgi uwsgi scgi)) {
    $more{$protocol} = join '',
        map { "${protocol}_param $_ $parameters{$_};\n" } sort keys %parameters;

    # nginx adds it by itself
    $more{$protocol} .= "${protocol}_param CONTENT_LENGTH \$content_length;"
        if $protocol ne 'scgi';
}

for my $protocol (@protocols) {
    my $more   = $more{$protocol} // '';
    my $scheme = $scheme{$protocol} // '';

    for my $method (@methods) {
        my $group = "${protocol}_$method->{id}";

        $groups .= qq{
            upstream $group {
                $method->{directive};
                server %%ADDRESS_one_$protocol%% max_fails=0;
                server %%ADDRESS_two_$protocol%% max_fails=0;
            }
        };
        $locations .= qq{
            location = /$group { $more ${protocol}_pass $scheme$group; }
        };
    }
}

$t->conf(http => qq{
    $groups
    proxy_http_version 1.1;
    proxy_set_header Connection "";

    server {
        listen 127.0.0.1:%%PORT_http%%;
        add_header X-Peer \$lrt_peer always;
        $locations
    }
} . LRT::Hooks::server($t))->start;

LRT::Service::wait_for_all($t);

###############################################################################
# the tests

SKIP: {
    my @missing = grep { !$has{$_} } @wsgi, qw(memcached grpc);
    skip "no servers for @missing", 1 if @missing;
    pass('there are servers for all protocols');
}

# memcached answers with what is stored there

if ($has{memcached}) {
    for my $name (@names) {
        my $client = $t->client(address => $t->address("${name}_memcached"));
        $client->send("set /key 0 0 3\r\n$name\r\n");
        is($client->receive_bytes(8), "STORED\r\n",
            "memcached: $name has its answer");
        $client->close;
    }
}


# Each client asks twice: who answered, and who was asked, "one, two".

sub ask ($protocol, $group) {
    my %name = map { ($t->address("${_}_$protocol") => $_) } @names;
    my (@answers, @asked);

    for (LRT::Methods::clients) {
        my $r = $t->get("/$group", from => $_);
        push @answers, $r->name;
        push @asked, join ', ',
            map { $name{$_} // $_ } split /, /, $r->header('X-Peer') // '';
    }

    return (\@answers, \@asked);
}


# A request with a body, to any server.

sub takes_body ($group, $name) {
    my $body = $t->post("/$group", 'x' x 50_000)->body;
    like($body, qr/^(?:one|two) x{50000}$/, $name);
}


my %before;                     # group => who answered

for my $method (@methods) {
    for my $protocol (@protocols) {
        my $group = "${protocol}_$method->{id}";
        my ($answers) = ask($protocol, $group);

        $method->balances($protocol, @$answers);
        takes_body($group, "$method->{directive}: $protocol: a body goes along")
            if grep { $_ eq $protocol } @wsgi;
        $method->settles($t, $group, $protocol);
        $before{$group} = $answers;
    }
}

$_->end for values %programs;
$nginx{one}->stop('TERM') if %nginx;

for my $method (@methods) {
    for my $protocol (@protocols) {
        my $group = "${protocol}_$method->{id}";
        my $what  = "$protocol, a server is dead";
        my ($answers, $asked) = ask($protocol, $group);

        is_deeply($answers, [('two') x @$answers],
            "$method->{directive}: $what: the other one answers");
        $method->fails_over($what, $before{$group}, @$asked);

        # in a row, so that both are the first to be asked by turns
        if (grep { $_ eq $protocol } @wsgi) {
            takes_body($group, "$method->{directive}: $what: a body goes along")
                for 1 .. 2;
        }

        $method->settles($t, $group, $what);
    }
}

$t->done;
