#!/usr/bin/perl

# Balancing of other protocols than HTTP/1: FastCGI, uwsgi, SCGI, memcached,
# gRPC, and HTTP over TLS with its sessions.  The servers are as small as can
# be: they answer each request with their name.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use LRT;
use LRT::Hooks;
use LRT::Net qw(connect_to listen_on);

my $t = LRT->new(name => 'protocols', need => [qw(module proxy rewrite)]);

###############################################################################
# servers: when a request is complete, and what is the answer

my %fake = (
    fastcgi => {
        complete => sub ($in) { $in =~ /\x01\x05\x00\x01\x00\x00..$/s },
        answer   => sub ($name) {
            my $text = "Content-Type: text/plain\r\n\r\n$name";
            return pack('CCnnCx', 1, 6, 1, length $text, 0) . $text
                . pack('CCnnCx', 1, 6, 1, 0, 0)
                . pack('CCnnCx', 1, 3, 1, 8, 0) . "\0" x 8;
        },
    },
    uwsgi => {
        complete => sub ($in) {
            length $in >= 4 && length $in >= 4 + unpack 'xv', $in;
        },
        answer => sub ($name) {
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n$name";
        },
    },
    scgi => {
        complete => sub ($in) {
            $in =~ /^(\d+):/ && length $in > length($1) + 1 + $1;
        },
        answer => sub ($name) {
            "Status: 200 OK\r\nContent-Type: text/plain\r\n\r\n$name";
        },
    },
    memcached => {
        complete => sub ($in) { $in =~ /\r\n/ },
        answer   => sub ($name) {
            "VALUE /memcached 0 " . length($name) . "\r\n$name\r\nEND\r\n";
        },
    },
);


# A server that answers one request after another.

sub serve ($name, $address, $complete, $answer) {
    $t->daemon(sub {
        my $listener = listen_on($address);
        $listener->blocking(1);

        while (accept my $socket, $listener) {
            my $in = '';
            while (!$complete->($in)) {
                sysread $socket, $in, 65_536, length $in or last;
            }
            syswrite $socket, $answer->($name) if $complete->($in);
            close $socket;
        }
    });

    $t->wait_for(sub {
        my $socket = connect_to($address) or return;
        close $socket;
        return 1;
    });
}


my %pass = (
    fastcgi   => 'fastcgi_param X 1; fastcgi_pass',
    uwsgi     => 'uwsgi_param X 1; uwsgi_pass',
    scgi      => 'scgi_param X 1; scgi_pass',
    memcached => 'set $memcached_key /memcached; memcached_pass',
);

# the servers close each connection; nginx may not try to keep it

my $unkept = $t->has_version('1.29.7') && !$t->has('angie')
    ? 'keepalive 0;' : '';

my @protocols = grep { $t->has($_) } sort keys %fake;
my ($groups, $locations, $servers) = ('', '', '');

for my $protocol (@protocols) {
    for my $number (1, 2) {
        my $name = "$protocol$number";
        serve($name, $t->address($name),
            @{ $fake{$protocol} }{qw(complete answer)});
    }

    $groups .= qq{
        upstream $protocol {
            least_conn_ext;
            $unkept
            server %%ADDRESS_${protocol}1%% max_fails=0;
            server %%ADDRESS_${protocol}2%% max_fails=0;
        }
        upstream ${protocol}_retry {
            round_robin_ext;
            $unkept
            server %%ADDRESS_nobody%% max_fails=0;
            server %%ADDRESS_${protocol}2%% max_fails=0;
        }
    };

    $locations .= qq{
        location /$protocol { $pass{$protocol} $protocol; }
        location /${protocol}_retry { $pass{$protocol} ${protocol}_retry; }
    };
}

# gRPC is spoken by nginx itself

if ($t->has('grpc', 'v2')) {
    push @protocols, 'grpc';

    my ($listen, $on) = $t->has_version('1.25.1') ? ('', 'http2 on;')
                                                  : (' http2', '');

    $servers .= qq{
        server {
            listen 127.0.0.1:%%PORT_grpc$_%%$listen;
            $on
            access_log off;
            return 200 grpc$_;
        }
    } for 1, 2;

    $groups .= q{
        upstream grpc {
            least_conn_ext;
            server 127.0.0.1:%%PORT_grpc1%% max_fails=0;
            server 127.0.0.1:%%PORT_grpc2%% max_fails=0;
        }
        upstream grpc_retry {
            round_robin_ext;
            server 127.0.0.1:%%PORT_nobody%% max_fails=0;
            server 127.0.0.1:%%PORT_grpc2%% max_fails=0;
        }
    };

    $locations .= q{
        location /grpc { grpc_pass grpc://grpc; }
        location /grpc_retry { grpc_pass grpc://grpc_retry; }
    };
}

# TLS as well; the answer tells whether a session was resumed

my $has_tls = $t->has('ssl') && make_certificate();

if ($has_tls) {

    # the third would take a session that was meant for the first
    my %cache = (1 => 1, 2 => 2, 3 => 1);

    $servers .= qq{
        server {
            listen 127.0.0.1:%%PORT_tls$_%% ssl;
            ssl_certificate %%DIR%%/tls.crt;
            ssl_certificate_key %%DIR%%/tls.key;
            ssl_session_cache shared:tls$cache{$_}:1m;
            ssl_session_tickets off;
            ssl_protocols TLSv1.2 TLSv1.3;
            access_log off;
            return 200 "tls$_ \$ssl_session_reused\$ssl_protocol";
        }
    } for 1 .. 3;

    for my $method (qw(round_robin_ext least_conn_ext)) {
        $groups .= qq{
            upstream $method {
                $method;
                server 127.0.0.1:%%PORT_tls1%%;
                server 127.0.0.1:%%PORT_tls2%%;
            }
        };
    }

    for my $version ('1.2', '1.3') {
        $locations .= qq{
            location ~ ^/tls$version/(?<group>\\w+) {
                proxy_pass https://\$group;
                proxy_ssl_protocols TLSv$version;
            }
            location ~ ^/no_reuse$version/(?<group>\\w+) {
                proxy_pass https://\$group;
                proxy_ssl_protocols TLSv$version;
                proxy_ssl_session_reuse off;
            }
        };
    }
}


sub make_certificate () {
    my $dir = $t->dir;
    return !system "openssl req -x509 -newkey rsa:2048 -nodes -days 30 "
        . "-subj /CN=test -keyout $dir/tls.key -out $dir/tls.crt 2>/dev/null";
}


$t->conf(http => qq{
    $groups

    server {
        listen 127.0.0.1:%%PORT_http%%;
        add_header X-Peer \$lrt_peer;
        proxy_http_version 1.0;             # no kept connections
        $locations
    }

    $servers
} . LRT::Hooks::server($t))->start;


sub settles ($group, $name) {
    SKIP: {
        my $hooks = LRT::Hooks->group($t, $group) or skip 'no test hooks', 1;
        ok($hooks->settles, "$name: nothing is counted any more")
            or diag($hooks->unrest);
    }
}


for my $protocol (@protocols) {
    my %by;
    $by{ $t->get("/$protocol")->body }++ for 1 .. 8;
    is_deeply(\%by, { "${protocol}1" => 4, "${protocol}2" => 4 },
        "$protocol: both servers have their share");
    settles($protocol, $protocol);

    my %peers;
    my $ok = 0;
    for (1 .. 6) {
        my $r = $t->get("/${protocol}_retry");
        $ok++ if $r->status == 200 && $r->body eq "${protocol}2";
        $peers{ $r->header('X-Peer') }++;
    }
    is($ok, 6, "$protocol: requests of a failed server are repeated");

    my ($nobody, $second) = map { $t->address($_) } 'nobody', "${protocol}2";
    is_deeply(\%peers, { "$nobody, $second" => 3, $second => 3 },
        "$protocol: which \$lrt_peer shows");
    settles("${protocol}_retry", "$protocol, retry");
}

SKIP: {
    skip 'no TLS', 1 unless $has_tls;

    for my $version ('1.2', '1.3') {
        for my $group (qw(round_robin_ext least_conn_ext)) {
            my $name = "TLS $version, $group";
            my %by;

            # the protocol of the first request has no session yet

            $t->get("/tls$version/$group") for 1 .. 2;
            $by{ $t->get("/tls$version/$group")->body }++ for 1 .. 8;
            is_deeply(\%by, {
                "tls1 rTLSv$version" => 4, "tls2 rTLSv$version" => 4,
            }, "$name: sessions are resumed with the server that gave them");

            %by = ();
            $by{ $t->get("/no_reuse$version/$group")->body }++ for 1 .. 4;
            is_deeply(\%by, {
                "tls1 .TLSv$version" => 2, "tls2 .TLSv$version" => 2,
            }, "$name: not with proxy_ssl_session_reuse off");
            settles($group, $name);
        }
    }

    my $group = LRT::Hooks->group($t, 'round_robin_ext')
        or skip 'no test hooks', 1;
    my @address = map { $t->address("tls$_") } 1 .. 3;

    $group->remove($address[0]);
    $group->add($address[2]);
    $group->settles;
    is($group->peer($address[2])->{slot}, 0,
        'TLS: another server comes into the same place');

    my @bodies = map { $t->get('/tls1.3/round_robin_ext')->body } 1 .. 6;
    my @third  = grep { /^tls3/ } @bodies;
    is(join(', ', @third),
        'tls3 .TLSv1.3, tls3 rTLSv1.3, tls3 rTLSv1.3',
        'TLS: it begins without a session, and keeps its own');
}

$t->done;
