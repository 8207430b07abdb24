#!/usr/bin/perl

# Whatever ends a request, the server that it used is given back: once, and
# on every server that it used on its way.  And a client that leaves is no
# failure of a server.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use Socket qw(PF_INET SOCK_STREAM SOL_SOCKET SO_REUSEADDR inet_aton
              pack_sockaddr_in);
use Test::More;
use Time::HiRes qw(sleep time);

use LRT;
use LRT::Hooks;
use LRT::Net qw(connect_to);

my $t = LRT->new(name => 'inflight', need => [qw(module proxy rewrite)]);

$t->backend($_) for qw(a b);

# a listener that does not accept: connecting to it takes for ever

socket my $deaf, PF_INET, SOCK_STREAM, 0 or die "socket: $!";
setsockopt $deaf, SOL_SOCKET, SO_REUSEADDR, 1;   # others had the port before
bind $deaf, pack_sockaddr_in($t->port('deaf'), inet_aton('127.0.0.1'))
    or die "bind: $!";
listen $deaf, 0;
my @waiting = map { connect_to($t->address('deaf')) } 1 .. 3;

# what needs a module that may be missing

my %optional = (
    mirror => q{
        location /mirror {
            proxy_pass http://u;
            mirror /v;
        }
    },
    auth_request => q{
        location /auth {
            proxy_pass http://u;
            auth_request /v;
        }
    },
    ssi_filter => q{
        location /ssi {
            proxy_pass http://u;
            ssi on;
            ssi_types *;
        }
    },
    addition_filter => q{
        location /addition {
            proxy_pass http://u;
            addition_types *;
            add_before_body /v;
            add_after_body /retry;
        }
    },
    slice_filter => q{
        location /slice {
            proxy_pass http://files;
            slice 100;
            proxy_cache cache;
            proxy_cache_key $uri$slice_range;
            proxy_cache_valid 200 206 1h;
            proxy_set_header Range $slice_range;
        }
    },
    ssl => q{
        location /tls { proxy_pass https://u; }
    },
);

delete @optional{ grep { !$t->has($_) } keys %optional };
$t->write('optional.conf', join '', values %optional);

# each server has room for four requests, so that what is lost is missed

my $http = q{
    upstream u { least_conn_ext; server %%ADDRESS_a%% max_conns=4; }
    upstream v { round_robin_ext; server %%ADDRESS_b%% max_conns=4; }

    upstream retry {
        round_robin_ext;
        server 127.0.0.1:%%PORT_nobody%% max_fails=0;
        server %%ADDRESS_a%% max_fails=0;
        server %%ADDRESS_b%% max_fails=0;
    }

    upstream deaf { round_robin_ext; server 127.0.0.1:%%PORT_deaf%%; }
    upstream dead { least_conn_ext; server 127.0.0.1:%%PORT_nobody%%; }

    upstream kept {
        least_conn_ext;
        server %%ADDRESS_a%%;
        server %%ADDRESS_b%%;
        keepalive 4;
    }

    upstream files { least_conn_ext; server 127.0.0.1:%%PORT_files%%; }

    proxy_cache_path %%DIR%%/cache keys_zone=cache:1m;
    proxy_http_version 1.1;
    proxy_set_header Connection $http_connection;
    proxy_set_header Upgrade $http_upgrade;
    postpone_output 0;

    server {
        listen 127.0.0.1:%%PORT_http%% reuseport;
        client_max_body_size 100k;

        location /u { proxy_pass http://u; }
        location /v { proxy_pass http://v; }
        location /retry { proxy_pass http://retry; }
        location /dead { proxy_pass http://dead; }
        location /kept {
            proxy_pass http://kept;
            proxy_set_header Connection "";
        }

        location /deaf {
            proxy_pass http://deaf;
            proxy_connect_timeout 150ms;
        }

        location /impatient {
            proxy_pass http://u;
            proxy_read_timeout 150ms;
        }

        location /unbuffered {
            proxy_pass http://u;
            proxy_buffering off;
        }

        location /upload {
            proxy_pass http://u;
            proxy_request_buffering off;
        }

        location /small_buffers {
            proxy_pass http://u;
            proxy_buffer_size 1k;
            proxy_buffers 4 1k;
            proxy_busy_buffers_size 2k;
            proxy_max_temp_file_size 0;
        }

        location /stubborn {
            proxy_pass http://u;
            proxy_ignore_client_abort on;
        }

        location /store {
            proxy_pass http://u;
            proxy_store %%DIR%%/stored;
        }

        location /fallback {
            proxy_pass http://dead;
            error_page 502 = /v$is_args$args;
        }

        location /intercept {
            proxy_pass http://u;
            proxy_intercept_errors on;
            error_page 404 500 = @v;
        }

        location @v { proxy_pass http://v; }

        location /cache {
            proxy_pass http://u;
            proxy_cache cache;
            proxy_cache_key $uri;
            proxy_cache_valid 200 1s;
            proxy_cache_revalidate on;
            proxy_cache_lock on;
            proxy_cache_use_stale error timeout updating http_500;
            proxy_cache_background_update on;
            proxy_ignore_headers Expires;
            add_header X-Cache $upstream_cache_status;
        }

        location /revalidate {
            proxy_pass http://u;
            proxy_cache cache;
            proxy_cache_key $uri;
            proxy_cache_valid 200 1s;
            proxy_cache_revalidate on;
            add_header X-Cache $upstream_cache_status;
        }

        include %%DIR%%/optional.conf;
    }

    server {
        listen 127.0.0.1:%%PORT_files%%;
        access_log off;
        root %%DIR%%/files;
    }
} . LRT::Hooks::server($t);

mkdir $t->dir . '/files';
$t->write('files/slice', 'x' x 950);
chmod 0755, $t->dir . '/files';

$t->conf(workers => 2, http => $http)->start;

my @groups = qw(u v retry deaf dead kept files);
my %hooks  = map { ($_ => LRT::Hooks->group($t, $_)) } @groups;
my ($a, $b) = map { $t->backend($_) } qw(a b);


# Runs a scenario and looks whether all has been given back.

sub ends ($name, $scenario) {
    my $before = failures();

    $scenario->();

    if ($hooks{u}) {
        my @counted = grep { !$hooks{$_}->settles } @groups;
        ok(!@counted, "$name: nothing is counted any more")
            or diag(map { ("$_: ", $hooks{$_}->unrest, "\n") } @counted);

        is_deeply(failures(), $before, "$name: no server has failed")
            if $name =~ /client leaves/;
    } else {
        ok(has_room('u', 'a') && has_room('v', 'b'),
            "$name: there is room for four again");
    }
}


# Failures so far of servers that work, by group.

sub failures () {
    return {} unless $hooks{u};

    my $nobody = $t->address('nobody');
    my %found;

    for my $group (grep { $_ ne 'dead' } @groups) {
        $found{"$group $_"} = $hooks{$group}->stats($_)->{fails}
            for grep { $_ ne $nobody } keys $hooks{$group}->all('id')->%*;
    }

    return \%found;
}


# Whether a server takes four requests, no fewer and no more.

sub has_room ($group, $name) {
    return $t->wait_for(sub {
        my $by = $t->many(5, "/$group?delay=15", concurrency => 5);
        join(' ', map { "$_ $by->{$_}" } sort keys %$by) eq "502 1 $name 4";
    }, 3);
}


sub query (%parameters) {
    return '?' . join '&', map {
        "$_=" . ($parameters{$_} =~ s/([^\w.\/-])/sprintf '%%%02x', ord $1/ger)
    } sort keys %parameters;
}


sub status_of ($uri, @o) { return $t->get($uri, @o)->status }

sub busy ($backend) {
    return $t->wait_for(sub { $backend->stats->{active} });
}


# The first bytes have come.

sub begun ($client) { return $client->receive_bytes(1) ne '' }

###############################################################################
# responses

ends('GET', sub { is(status_of('/u'), 200, 'GET') });
ends('HEAD', sub { is($t->request(HEAD => '/u')->status, 200, 'HEAD') });
ends('POST', sub { is($t->post('/u?echo=1', 'x')->body, 'x', 'POST') });
ends("status $_", sub { is(status_of("/u?status=$_"), $_, "status $_") })
    for 204, 304, 404, 500;
ends('large', sub {
    is(length $t->get('/u?size=3000000')->body, 3_000_000, 'large');
});
ends('chunked', sub {
    is(length $t->get('/u?size=300000&chunked=1')->body, 300_000, 'chunked');
});
ends('unbuffered', sub {
    is(length $t->get('/unbuffered?size=300000')->body, 300_000, 'unbuffered');
});
ends('unbuffered HEAD', sub {
    is($t->request(HEAD => '/unbuffered')->status, 200, 'unbuffered HEAD');
});
ends('unbuffered, until the connection ends', sub {
    is($t->get('/unbuffered?chunked=1&keepalive=0')->body, 'a',
        'unbuffered, until the connection ends');
});
ends('stored', sub { is(status_of('/store'), 200, 'stored') });
ends('ten at a time', sub {
    $t->many(100, '/kept', concurrency => 10);
});

###############################################################################
# failures

ends('refused', sub { is(status_of('/dead'), 502, 'refused') });
ends('no connection in time', sub {
    is(status_of('/deaf'), 504, 'no connection in time');
});
ends('no answer in time', sub {
    is(status_of('/impatient?hang=1'), 504, 'no answer in time');
});
ends('no body in time', sub {
    is($t->get('/impatient?size=10&body_delay=1000')->error, 'cut',
        'no body in time');
});
ends("$_ instead of an answer", sub {
    is(status_of("/u?$_=1"), 502, "$_ instead of an answer");
}) for qw(close reset);
ends('header that is none', sub {
    is(status_of('/u' . query(raw => "HTTP/1.1 200 OK\r\nX\0: 1\r\n\r\n")), 502,
        'header that is none');
});
ends('header that is too long', sub {
    is(status_of('/small_buffers' . query(header => 'X: ' . 'x' x 2000)), 502,
        'header that is too long');
});
ends('body cut short', sub {
    is($t->get('/u?size=1000&cut=10')->error, 'cut', 'body cut short');
});
ends('unbuffered body cut short', sub {
    is($t->get('/unbuffered?size=1000&cut=10')->error, 'cut',
        'unbuffered body cut short');
});
ends('retry', sub {
    is(status_of('/retry?a.close=1'), 200, "retry $_") for 1 .. 3;
});
ends('retry until all have failed', sub {
    is(status_of('/retry?close=1'), 502, 'retry until all have failed');
});
ends('no live server', sub {
    my @held = map { $t->begin('/u?hang=1') } 1 .. 4;
    $t->wait_for(sub { $a->stats->{active} == 4 });
    is(status_of('/u'), 502, 'no live server');
    $_->close for @held;
});

###############################################################################
# clients that leave

for my $location (qw(u unbuffered small_buffers)) {
    ends("client leaves $location before the answer", sub {
        my $client = $t->begin("/$location?hang=1");
        ok(busy($a), "client leaves $location before the answer");
        $client->reset;
    });
    ends("client leaves $location within the answer", sub {
        my $client = $t->begin("/$location?size=20000000");
        ok(begun($client), "client leaves $location within the answer");
        $client->reset;
    });
    ends("client leaves $location between header and body", sub {
        my $client = $t->begin("/$location?body_delay=60000&size=1");
        ok(begun($client), "client leaves $location between header and body");
        $client->reset;
    });
}

ends('client leaves a stubborn request', sub {
    my $client = $t->begin('/stubborn?delay=200');
    ok(busy($a), 'client leaves a stubborn request');
    $client->reset;
    $t->wait_for(sub { !$a->stats->{active} });
});
ends('client leaves while connecting', sub {
    my $client = $t->begin('/deaf');
    sleep 0.03;
    $client->reset;
});
ends('client leaves a retry', sub {
    $t->get('/retry') for 1 .. 3;
    my @clients = map { $t->begin('/retry?a.hang=1&b.hang=1') } 1 .. 6;
    $t->wait_for(sub { $a->stats->{active} + $b->stats->{active} == 6 });
    $_->reset for @clients;
});

###############################################################################
# uploads

ends('upload', sub {
    is($t->post('/upload?echo=1', 'x' x 90_000)->status, 200, 'upload');
});
ends('upload that is too large', sub {
    is($t->post('/u', 'x' x 200_000)->status, 413, 'upload that is too large');
});
ends('upload that becomes too large', sub {
    is($t->post('/upload', 'x' x 200_000, chunked => 8000)->status, 413,
        'upload that becomes too large');
});
for my $location (qw(u upload)) {
    ends("upload to $location that stops", sub {
        my $client = $t->client;
        $client->send("POST /$location HTTP/1.1\r\nHost: x\r\n"
            . "Content-Length: 90000\r\n\r\n" . 'x' x 20_000);
        sleep 0.03;
        $client->reset;
    });
}
ends('server that leaves within an upload', sub {
    my $client = $t->client;
    $client->send("POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 90000"
        . "\r\n\r\n" . 'x' x 10_000);
    $a->stop(abort => 1);
    is($client->receive->status, 502, 'server that leaves within an upload');
    $client->close;
    $a->start;
});

###############################################################################
# upgrades

for my $side (qw(client server)) {
    ends("upgrade, closed by the $side", sub {
        my $client = $t->client;
        $client->send("GET /u?upgrade=1 HTTP/1.1\r\nHost: x\r\n"
            . "Connection: upgrade\r\nUpgrade: test\r\n\r\n");
        is($client->receive->status, 101, "upgrade, closed by the $side");
        is($client->send('12345')->receive_bytes(5), '12345',
            "upgrade, closed by the $side: bytes go through");

        if ($side eq 'client') {
            $client->close;
        } else {
            $a->stop(abort => 1);
            $a->start;
        }
    });
}

###############################################################################
# redirects

ends('X-Accel-Redirect to another group', sub {
    is($t->get('/u' . query(header => 'X-Accel-Redirect: /v'))->body, 'b',
        'X-Accel-Redirect to another group');
});
ends('X-Accel-Redirect there and back', sub {
    $b->set(header => 'X-Accel-Redirect: /u?x', times => 1);
    is($t->get('/u' . query(header => 'X-Accel-Redirect: /v'))->body, 'a',
        'X-Accel-Redirect there and back');
    $b->set;
});
ends('client leaves after X-Accel-Redirect', sub {
    $b->set(hang => 1);
    my $client = $t->begin('/u' . query(header => 'X-Accel-Redirect: /v'));
    ok(busy($b), 'client leaves after X-Accel-Redirect');
    $client->reset;
    $b->set;
});
ends('error_page after no answer', sub {
    is($t->get('/fallback')->body, 'b', 'error_page after no answer');
});
ends("error_page after a $_", sub {
    is($t->get("/intercept?a.status=$_")->body, 'b', "error_page after a $_");
}) for 404, 500;
ends('client leaves after error_page', sub {
    my $client = $t->begin('/intercept?a.status=404&b.hang=1');
    ok(busy($b), 'client leaves after error_page');
    $client->reset;
});

###############################################################################
# subrequests

SKIP: {
    skip 'no mirror', 1 unless $optional{mirror};

    ends('mirror', sub { is($t->get('/mirror')->body, 'a', 'mirror') });
    ends('mirror that fails', sub {
        $b->set(close => 1);
        is($t->get('/mirror')->body, 'a', 'mirror that fails');
        $t->wait_for(sub { !$b->stats->{active} });
        $b->set;
    });
    ends('client leaves with its mirror', sub {
        my $client = $t->begin('/mirror?hang=1');
        ok(busy($a) && busy($b), 'client leaves with its mirror');
        $client->reset;
    });
}

SKIP: {
    skip 'no auth_request', 1 unless $optional{auth_request};

    ends('auth_request', sub {
        is($t->get('/auth')->body, 'a', 'auth_request');
    });
    ends('auth_request denies', sub {
        $b->set(status => 403);
        is(status_of('/auth'), 403, 'auth_request denies');
        $b->set;
    });
    ends('client leaves in auth_request', sub {
        $b->set(hang => 1);
        my $client = $t->begin('/auth');
        ok(busy($b), 'client leaves in auth_request');
        $client->reset;
        $b->set;
    });
}

SKIP: {
    skip 'no ssi', 1 unless $optional{ssi_filter};

    my $page = query(
        'a.header' => 'Content-Type: text/html',
        'a.body' => '<!--# include virtual="/v" --> '
            . '<!--# include virtual="/retry" -->',
    );
    ends('SSI', sub {
        like($t->get("/ssi$page")->body, qr/^b [ab]$/, 'SSI');
    });
    ends('client leaves in SSI', sub {
        $b->set(hang => 1);
        my $client = $t->begin("/ssi$page");
        ok(busy($b), 'client leaves in SSI');
        $client->reset;
        $b->set;
    });
}

SKIP: {
    skip 'no addition', 1 unless $optional{addition_filter};

    ends('addition', sub {
        like($t->get('/addition' . query(header => 'Content-Type: a/b'))->body,
            qr/^ba[ab]$/, 'addition');
    });
}

SKIP: {
    skip 'no slice', 1 unless $optional{slice_filter};

    ends("slices $_", sub {
        is(length $t->get('/slice')->body, 950, "slices $_");
    }) for 'into the cache', 'from it';
}

###############################################################################
# the cache

sub cached ($uri) {
    my $r = $t->get($uri);
    return join ' ', $r->status, $r->header('X-Cache') // 'none';
}


ends('cache miss', sub {
    is(cached("/cache/$_?" . 'header=ETag:%20%22x%22'), '200 MISS',
        "cache miss: $_") for qw(stale valid background left);
    is(cached('/cache/hit?header=X-Accel-Expires:%203600'), '200 MISS',
        'cache miss: hit');
    is(cached("/revalidate$_?header=ETag:%20%22x%22"), '200 MISS',
        "cache miss: revalidate$_") for '', '/replaced';
});
ends('cache hit', sub { is(cached('/cache/hit'), '200 HIT', 'cache hit') });
ends('HEAD from the cache', sub {
    is($t->request(HEAD => '/cache/hit')->header('X-Cache'), 'HIT',
        'HEAD from the cache');
});
ends('cache: two wait for one', sub {
    my @clients = map { $t->begin('/cache/locked?delay=100') } 1 .. 3;
    is(join(' ', map { $_->receive->status } @clients), '200 200 200',
        'cache: two wait for one');
});
ends('client leaves while the cache is filled', sub {
    my $client = $t->begin('/cache/abort?delay=100');
    busy($a);
    $client->reset;
    $t->wait_for(sub { !$a->stats->{active} });
});

my $filled = time;
sleep 2.05 - (time - $filled);          # all is stale now

ends('cache: stale instead of an error', sub {
    is(cached('/cache/stale?status=500'), '200 STALE',
        'cache: stale instead of an error');
});
ends('cache: stale instead of nothing', sub {
    like(cached('/cache/valid?close=1'), qr/^200 (?:STALE|UPDATING)$/,
        'cache: stale instead of nothing');
});
ends('cache: still valid', sub {
    is(cached('/revalidate?status=304'), '200 REVALIDATED',
        'cache: still valid');
});
ends('cache: no more valid', sub {
    is(cached('/revalidate/replaced'), '200 EXPIRED', 'cache: no more valid');
});
ends('cache: updated in the background', sub {
    is(cached('/cache/background?delay=50'), '200 STALE',
        'cache: updated in the background');
    $t->wait_for(sub { !$a->stats->{active} });
});
ends('cache: client leaves a background update', sub {
    my $client = $t->begin('/cache/left?delay=100');
    ok(begun($client), 'cache: client leaves a background update');
    $client->reset;
    $t->wait_for(sub { !$a->stats->{active} });
});

###############################################################################
# kept connections

ends('kept connections', sub {
    is(status_of('/kept'), 200, 'kept connections') for 1 .. 6;
});
ends('kept connections that were closed', sub {
    $_->close_idle for $a, $b;
    is(status_of('/kept'), 200, 'kept connections that were closed')
        for 1 .. 4;
});
ends('kept connections that are closed instead of an answer', sub {
    status_of('/kept') for 1 .. 4;
    $_->set(close => 1, times => 1) for $a, $b;
    is(status_of('/kept'), 200,
        'kept connections that are closed instead of an answer') for 1 .. 3;
    $_->set for $a, $b;
});

SKIP: {
    skip 'no ssl', 1 unless $optional{ssl};

    ends('no TLS', sub {
        $a->set(drop => 1);
        is(status_of('/tls'), 502, 'no TLS');
        $a->set;
    });
}

###############################################################################
# workers that end

ends('worker that is told to quit', sub {
    my @clients = map { $t->begin('/u?delay=200') } 1 .. 4;
    $t->wait_for(sub { $a->stats->{active} == 4 });
    my %before = map { $_ => 1 } $t->workers;
    kill QUIT => keys %before;
    is(join(' ', map { $_->receive->status } @clients), '200 200 200 200',
        'worker that is told to quit: requests are finished');

    # it is replaced, and the replacement accepts
    ok($t->wait_for(sub { 2 == grep { !$before{$_} } $t->workers }),
        'worker that is told to quit: is replaced');
});

ends('reload', sub {
    my @clients = map { $t->begin('/u?delay=500') } 1 .. 4;
    $t->wait_for(sub { $a->stats->{active} == 4 });
    $t->reload;
    is(status_of('/v'), 200, 'reload: new requests');
    my $status = status_of('/u');
    is($status, 502, 'reload: old requests are still counted')
        if $a->stats->{active} == 4;
    is(join(' ', map { $_->receive->status } @clients), '200 200 200 200',
        'reload: old requests are finished');
});

ends('worker that is told to terminate', sub {
    my @clients = map { $t->begin('/u?hang=1') } 1 .. 4;
    $t->wait_for(sub { $a->stats->{active} == 4 });
    my %before = map { $_ => 1 } $t->workers;
    kill TERM => keys %before;
    is((grep { $_->receive->error } @clients), 4,
        'worker that is told to terminate: requests are cut');
    $t->wait_for(sub { 2 == grep { !$before{$_} } $t->workers });
});

ok(has_room('u', 'a'), 'in the end: room for four on one server');
ok(has_room('v', 'b'), 'in the end: and on the other');

$t->done;
