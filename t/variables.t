#!/usr/bin/perl

# $lrt_peer and $lrt_generation: in the form of $upstream_addr, in headers and
# logs, over retries, redirects and subrequests.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use LRT;
use LRT::Hooks;

my $t = LRT->new(name => 'variables', need => [qw(module proxy rewrite)]);

$t->backend($_) for 'a' .. 'c';
$t->backend('socket', listen => 'unix');
my @many = $t->backends('m', 12, close => 1);

my $many = join '', map { "server %%ADDRESS_$_%%;" } @many;

# what needs a module that may be missing

my %optional = (
    auth_request => q{
        location /auth {
            auth_request /w;
            auth_request_set $auth_peer $lrt_peer;
            auth_request_set $auth_generation $lrt_generation;
            add_header X-Peer $lrt_peer;
            add_header X-Auth "$auth_peer $auth_generation";
            proxy_pass http://u;
        }
    },
    ssi_filter => q{
        location /ssi {
            ssi on;
            ssi_types *;
            proxy_pass http://u;
        }
    },
    mirror => q{
        location /mirror {
            mirror /w/mirrored;
            proxy_pass http://u;
        }
    },
);

delete @optional{ grep { !$t->has($_) } keys %optional };
$t->write('optional.conf', join '', values %optional);

$t->conf(
    access_format => '$request_uri $uri|$upstream_addr|$lrt_peer|'
        . '$lrt_generation|',
    http => qq{
    upstream many { least_conn_ext; $many }
    } . q{
    upstream u { round_robin_ext; server %%ADDRESS_a%% max_fails=0; }
    upstream v { least_conn_ext; server %%ADDRESS_b%% max_fails=0; }
    upstream w { round_robin_ext; server %%ADDRESS_c%% max_fails=0; }
    upstream sock { round_robin_ext; server %%ADDRESS_socket%%; }
    upstream stock { server %%ADDRESS_b%%; }
    upstream none { least_conn_ext; }

    upstream two {
        round_robin_ext;
        server %%ADDRESS_a%% max_fails=0;
        server %%ADDRESS_b%% max_fails=0;
    }

    upstream full {
        least_conn_ext;
        server %%ADDRESS_a%% max_fails=0 weight=10;
        server %%ADDRESS_b%% max_conns=1;
    }

    proxy_cache_path %%DIR%%/cache keys_zone=cache:1m;
    log_subrequest on;
    recursive_error_pages on;
    proxy_http_version 1.0;             # no kept connections

    server {
        listen 127.0.0.1:%%PORT_http%%;

        set $early $lrt_peer$lrt_generation;

        add_header X-Early "[$early]" always;
        add_header X-Addr $upstream_addr always;
        add_header X-Peer $lrt_peer always;
        add_header X-Generation $lrt_generation always;

        location / { return 200 "[$lrt_peer][$lrt_generation]"; }
        location /u { proxy_pass http://u; }
        location /v { proxy_pass http://v; }
        location /w { proxy_pass http://w; }
        location /sock { proxy_pass http://sock; }
        location /stock { proxy_pass http://stock; }
        location /none { proxy_pass http://none; }
        location /two { proxy_pass http://two; }
        location /full { proxy_pass http://full; }
        location /many { proxy_pass http://many; }

        location /sent {
            proxy_pass http://u;
            proxy_set_header X-Peer "[$lrt_peer]";
        }

        location /fallback {
            proxy_pass http://u;
            proxy_intercept_errors on;
            error_page 404 = @v;
            error_page 502 = /return;
        }

        location @v {
            proxy_pass http://v;
            proxy_intercept_errors on;
            error_page 404 = @two;
        }

        location @two { proxy_pass http://two; }
        location /return { return 200 "[$lrt_peer][$lrt_generation]"; }

        location /cache {
            proxy_pass http://u;
            proxy_cache cache;
            proxy_cache_valid 200 1h;
            add_header X-Peer $lrt_peer;
            add_header X-Cache $upstream_cache_status;
        }

        include %%DIR%%/optional.conf;
    }
} . LRT::Hooks::server($t))->start;

my ($a, $b, $c, $socket) = map { $t->address($_) } qw(a b c socket);


sub peer_is ($uri, $expected, $name, %o) {
    my $r = $t->get($uri, %o);
    is($r->header('X-Peer'), $expected, $name);
    return $r;
}


# What the log says of a request: address, peer, generation.

sub logged ($uri) {
    my ($line) = $t->access_log(qr/\Q$uri\E\|/, 1);
    return ($line // '') =~ /\|(.*)\|(.*)\|(.*)\|/;
}


# Of the group `two`.

sub a_is_next () {
    $t->wait_for(sub { $t->get('/two')->body eq 'b' });
}


sub accel ($uri) { return "a.header=X-Accel-Redirect:%20$uri" }

###############################################################################
# one server

my $r = peer_is('/u', $a, 'the server that answered');
like($r->header('X-Generation'), qr/^[1-9]\d*$/, 'and the generation');
is($r->header('X-Early'), '[]', 'both are empty before there is a server');

peer_is('/sock', $socket, 'a server on a unix socket');

is($t->get('/')->body, '[][]', 'outside of proxying they are empty');
is($t->get('/stock')->header('X-Peer'), undef, 'as in groups of others');

$t->get('/sent');
is(($t->backend('a')->requests)[-1]{headers}{'x-peer'}, '[]',
    'a request is written before there is a server');

$t->get('/u/logged');
is_deeply([logged('/u/logged')], [$a, $a, $r->header('X-Generation')],
    'they are the same in the log');

my $client = $t->begin('/u/left?hang=1');
$t->wait_for(sub { $t->backend('a')->stats->{active} });
$client->reset;
is((logged('/u/left'))[1], $a, 'also of a client that left');

###############################################################################
# several

a_is_next();
$r = peer_is('/two?a.close=1', "$a, $b", 'a comma between tries');
like($r->header('X-Generation'), qr/^(\d+), \1$/, 'also of the generation');

a_is_next();
$r = peer_is('/two?close=1', "$a, $b", 'also when all fail');

$r = $t->get('/many');
is($r->header('X-Peer'), $r->header('X-Addr'), 'many servers that fail');
is(($r->header('X-Peer') =~ tr/,//), 11, 'are all listed');
is(($r->header('X-Generation') =~ tr/,//), 11, 'with their generations');

$r = $t->get('/none');
is($r->header('X-Addr'), 'none', 'without a server there is the name');
is($r->header('X-Peer'), '-', 'and no peer');
is($r->header('X-Generation'), '-', 'and no generation');

my @held = map { $t->begin('/full?hang=1') } 1 .. 2;
$t->wait_for(sub { $t->backend('b')->stats->{active} });
$r = $t->get('/full?a.close=1');
is($r->header('X-Addr'), "$a, full", 'a try, and nobody else is free');
is($r->header('X-Peer'), "$a, -", 'is shown as a dash');
like($r->header('X-Generation'), qr/^\d+, -$/, 'also in the generation');
$_->close for @held;

###############################################################################
# redirects

$r = peer_is('/u?' . accel('/v'), "$a : $b", 'a colon between groups');
is($r->header('X-Addr'), $r->header('X-Peer'), 'as in $upstream_addr');
like($r->header('X-Generation'), qr/^\d+ : \d+$/, 'also of the generation');

peer_is('/u?' . accel('/none'), "$a : -", 'a group without servers');
peer_is('/u?' . accel('/stock'), "$a : -", 'a group of others');

a_is_next();
peer_is('/u?' . accel('/two%3Fa.close=1'), "$a : $a, $b",
    'a redirect, then a retry');

a_is_next();
peer_is('/fallback?status=404', "$a : $b : $a",
    'two redirects by error_page');

$r = $t->get('/fallback?close=1');
like($r->body, qr/^\[\Q$a\E\]\[\d+\]$/, 'a redirect to a place without group');
is($r->header('X-Peer'), $a, 'leaves what was before');

is((logged('/fallback?close=1 /return'))[1], $a, 'in the log as well');

###############################################################################
# the cache

peer_is('/cache', $a, 'a response that is cached');
$r = $t->get('/cache');
is($r->header('X-Cache'), 'HIT', 'and one from the cache');
is($r->header('X-Peer'), undef, 'which had no server');

###############################################################################
# subrequests

SKIP: {
    skip 'no auth_request', 1 unless $optional{auth_request};

    $r = peer_is('/auth', $a, 'auth_request: the server of the request');
    like($r->header('X-Auth'), qr/^\Q$c\E \d+$/,
        'auth_request: and that of the subrequest');
}

SKIP: {
    skip 'no ssi', 1 unless $optional{ssi_filter};

    $r = peer_is('/ssi?a.header=Content-Type:%20text/html&a.body='
        . '%3C!--%23%20include%20virtual="/v/one"%20--%3E'
        . '%3C!--%23%20include%20virtual="/w/two"%20--%3E', $a,
        'SSI: the server of the page');
    is($r->body, 'bc', 'SSI: is not that of its parts');

    is((logged('/v/one'))[1], $b, 'SSI: the log has that of one part');
    is((logged('/w/two'))[1], $c, 'SSI: and of the other');
}

SKIP: {
    skip 'no mirror', 1 unless $optional{mirror};

    peer_is('/mirror', $a, 'mirror: the server of the request');
    is((logged('/w/mirrored'))[1], $c, 'mirror: and of the copy');
}

###############################################################################
# generations

SKIP: {
    my $two    = LRT::Hooks->group($t, 'two') or skip 'no test hooks', 1;
    my $before = $two->generation;

    is($t->get('/two')->header('X-Generation'), $before,
        'the generation is that of the table');
    $two->set($b, weight => 2);
    is($t->get('/two')->header('X-Generation'), $before + 1,
        'it grows with a change');

    $two->set($b, weight => 1);
    $two->add($c, down => 1);
    a_is_next();
    $before = $two->generation;

    my $client = $t->begin('/two?a.hang=1');
    $t->wait_for(sub { $t->backend('a')->stats->{active} });
    $two->set($c, down => 0)->remove($b);
    $t->backend('a')->stop(abort => 1);
    $t->backend('a')->start;

    $r = $client->receive;
    is($r->header('X-Peer'), "$a, $c", 'servers that change between two tries');
    is($r->header('X-Generation'), $before . ', ' . ($before + 2),
        'are shown with the generation of each');
}

$t->done;
