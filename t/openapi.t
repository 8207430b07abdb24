#!/usr/bin/perl

# docs/openapi.yaml and the API say the same: the document is valid, each of
# its operations is tried here, and what comes back has the form that it
# promises.  Paths and codes that the sources have stand in it as well.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use Test::More;

use LRT;
use LRT::Service;

use constant PYTHON => '/usr/bin/python3';

my $root    = "$FindBin::Bin/..";
my $sources = "$root/ngx_http_lrt_upstream_module";

my $t = LRT->new(name => 'openapi', need => [qw(module proxy)]);

for my $package (qw(jsonschema yaml)) {
    $t->skip_all("needs the Debian package python3-$package")
        unless LRT::Service::has_python_module($package);
}

$t->backend($_) for qw(a b);

$t->conf(workers => 2, http => q{
    upstream backend {
        zone backend 128k;
        least_time last_byte;
        server %%ADDRESS_a%% max_conns=100;
        server %%ADDRESS_b%% weight=2;
        server 127.0.0.1:%%PORT_backup%% backup;
    }
    upstream spare { zone spare 64k; round_robin_ext; }
    upstream hash { iphash_ext; server %%ADDRESS_a%%; }
    upstream checked {
        lrt_health_check interval=100ms;
        lrt_slow_start 1s;
        server %%ADDRESS_a%%;
        server 127.0.0.1:%%PORT_closed%%;
        server 127.0.0.1:1 down;
    }
    upstream stock { server %%ADDRESS_a%%; }

    server {
        listen 127.0.0.1:%%PORT_http%%;
        location / { proxy_pass http://backend; }
        location /stock { proxy_pass http://stock; }
        location /hash { proxy_pass http://hash; }
    }
    server {
        listen 127.0.0.1:%%PORT_api%%;
        location /api { lrt_api write=on unix=on; }
        location /read { lrt_api; }
        location /metrics { lrt_metrics; }
        location /deny { lrt_api write=on; deny all; }
        location /zip {
            lrt_api write=on;
            gzip on;
            gzip_types application/json;
        }
        location /short { lrt_api write=on; client_max_body_size 20; }
        location /ten { lrt_api write=on unix=off servers=10.0.0.0/8; }
    }
})->start;

my $json = JSON::PP->new->canonical;
my @exchanges;

# One exchange, to be judged in the end.

sub call ($method, $path, $body = undef, %o) {
    my $prefix = delete $o{prefix} // '/api';
    my $r = $t->request($method, "$prefix$path", port => 'api',
        defined $body ? (body => $body) : (), %o);

    push @exchanges, {
        method => $method, path => $path || '/', status => 0 + $r->status,
        type => $r->header('Content-Type'), body => $r->body // '',
        sent => $body, headers => {
            map { (lc, $r->header($_)) } qw(ETag X-Lrt-Index) },
    };

    return $r;
}

my $groups  = '/9/http/upstreams';
my $servers = "$groups/spare/servers";

###############################################################################
# all that can be read

$t->many(20, '/');
$t->get('/hash');

call(GET => $_) for '', '/', map { "/$_" } 4 .. 10, 'x', '3';

call(GET => "/9/$_"), call(GET => "/7/$_/")
    for qw(nginx processes connections slabs slabs/spare slabs/none ssl
           resolvers workers http http/requests http/server_zones
           http/location_zones http/caches http/limit_conns http/limit_reqs
           http/keyvals http/upstreams stream stream/upstreams license
           http/upstreams/backend http/upstreams/spare http/upstreams/hash
           http/upstreams/checked
           http/upstreams/stock http/upstreams/none
           http/upstreams/backend/servers http/upstreams/stock/servers
           http/upstreams/backend/servers/0 http/upstreams/backend/servers/99
           http/upstreams/backend/servers/x http/upstreams/backend/peers);

call(GET => "/9/$_") for 'nginx?fields=version,pid', 'slabs/spare?fields=pages',
    'connections?fields=active', 'http/requests?fields=total',
    'http/upstreams?fields=', 'http/upstreams?fields',
    'http/upstreams?fields=peers,lrt', 'http/upstreams/backend?fields=zone';

call(GET => "$groups/backend/servers/" . $t->address('b'));
call(GET => '/lrt/1'), call(GET => '/lrt/1/none');

call(GET => "/lrt/1/ready$_")
    for '', '/', '?min=0', '?upstream=backend', '?upstream=spare',
        '?upstream=none', '?upstream=stock', '?min=x';

call(GET => "/lrt/1/upstreams/$_")
    for qw(backend/config backend/config?format=json stock/config
           checked/config checked/config?format=nginx
           backend/config?format=nginx backend/config?format=xml none/config);

my $tag = call(GET => "$groups/backend/servers")->header('ETag');

call(GET => $_, undef, headers => ['If-None-Match' => $tag])
    for "$groups/backend", "$groups/backend/servers",
        '/lrt/1/upstreams/backend/config';

call(HEAD => $_) for '/', "$groups/backend", '/9/nginx';

# waiting

call(GET => "$groups/backend?$_")
    for 'index=0', 'index=1&wait=100ms', 'index=x', 'index=1&wait=x';

my $busy = $t->begin('/?delay=600');

$t->wait_for(sub { call(GET => "$groups/backend")->body =~ /"active":1/ });

my ($holder) = grep { $_->{active} }
    call(GET => "$groups/backend")->json->{peers}->@*;

call(GET => "$groups/backend/servers/$holder->{id}?$_")
    for 'wait=idle&timeout=50ms', 'wait=idle&timeout=20s', 'wait=x',
        'wait=idle&timeout=x', 'wait=idle';

$busy->receive;

###############################################################################
# all that can be changed

sub server (%o) { $json->encode({ server => '127.0.0.1:9', %o }) }

my ($true, $false) = ($JSON::PP::true, $JSON::PP::false);

call(POST => "$servers?dry_run=1", server());
call(POST => $servers, server(weight => 3, slow_start => '30s', drain => $true,
    lrt => { health => 'down' }, fail_timeout => 1, route => 'r'));
call(POST => "$servers/", '[{"server":"127.0.0.1:10","service":""},'
    . '{"server":"unix:/run/some where.sock","backup":true}]');
call(GET => "$servers/unix:/run/some%20where.sock");
call(GET => "$groups/spare");

# refused

call(POST => $servers, $_) for server(),
    map({ server(server => "127.0.0.1:11", %$_) }
        { weight => 0 }, { weight => '1' }, { max_conns => -1 },
        { max_fails => -1 }, { fail_timeout => 'x' }, { slow_start => [] },
        { slow_start => $true }, { service => 'x' }, { service => 'x' x 300 },
        { route => 'x' x 33 }, { id => 1 }, { more => 1 }, { down => 1 },
        { server => 'name' }, { server => '127.0.0.1:0x1' },
        { lrt => { health => 'ill' } }, { lrt => 1 }),
    '{}', '', '{', '1', '[1]', '{"server":"127.0.0.1:11"', '{"a":1,"a":2}',
    '[' . join(',', (server(server => '127.0.0.1:11')) x 2) . ']',
    '[' . join(',', map { server(server => "127.0.0.1:$_") } 100 .. 999) . ']',
    '{"server":"' . 'x' x 9000 . '"}';

call(POST => $servers, server(), prefix => '/short');
call(POST => $servers, server(), prefix => '/ten');
call(POST => $servers, server(server => 'unix:/x'), prefix => '/ten');
call(POST => $servers, server(), prefix => '/read');
call(POST => $servers, server(), prefix => '/deny');
call(POST => $servers, server(), headers => [Origin => 'http://other']);
call(POST => $servers, server(), headers => ['If-Match' => '"x"']);
call(POST => "$groups/hash/servers", server(backup => $true));
call(POST => "$groups/$_/servers", server()) for qw(none stock);

# one server

call(PATCH => "$servers/0$_->[0]", $json->encode($_->[1])) for
    ['?dry_run=1', { weight => 7 }],
    ['', { weight => 7, max_conns => 5, max_fails => 0, fail_timeout => '2s' }],
    ['/', { drain => $false, down => $true, lrt => { health => 'auto' } }],
    ['', { server => '127.0.0.1:9', backup => $false, route => 'r' }],
    ['', { server => '127.0.0.1:8' }], ['', { backup => $true }],
    ['', { route => 'other' }], ['', { id => 0 }], ['', []],
    ['', { weight => 0 }];
call(PATCH => "$servers/99", '{}');
call(PATCH => "$servers/x", '{}');
call(PATCH => "$servers/0", '{}', prefix => '/read');
call(PATCH => "$servers/0", '{}',
    headers => ['Sec-Fetch-Site' => 'cross-site']);
call(PATCH => "$servers/0", '{}', headers => ['If-Match' => '"x"']);
call(PATCH => "$servers/0", '{"weight":                9}', prefix => '/short');
call(PATCH => "$servers/0", 'x');

# the list

call(PUT => $servers . $_->[0], $json->encode($_->[1])) for
    ['?dry_run=1', []],
    ['', [{ server => '127.0.0.1:9', id => 0 }, { server => '127.0.0.1:20' }]],
    ['/', [{ server => '127.0.0.1:9', id => 7 }]],
    ['/', [{ server => '127.0.0.1:9', route => 'other' }]],
    ['', {}], ['', [{}]], ['', [{ server => '127.0.0.1:9' },
                               { server => '127.0.0.1:9', weight => 2 }]];
call(PUT => $servers, '[]', prefix => '/read');
call(PUT => $servers, '[]', headers => [Origin => 'null']);
call(PUT => $servers, '[]', headers => ['If-Match' => '"x"']);
call(PUT => $servers, '[                          ]', prefix => '/short');
call(PUT => $servers, 'x');
call(PUT => "$groups/none/servers", '[]');

# the group

call(PATCH => "$groups/spare$_->[0]", $json->encode($_->[1])) for
    ['?dry_run=1', { method => 'least_conn_ext' }],
    ['', { method => 'least_time last_byte inflight' }],
    ['?fields=lrt', { method => 'iphash_ext ipv4=24 balance=1.25' }],
    ['', { method => 'least_time' }], ['', { method => 'x' }], ['', {}],
    ['', { method => 'iphash_ext key=$uri' }], ['', { other => 1 }];
call(PATCH => "$groups/backend", '{"method":"iphash_ext"}');
call(PATCH => "$groups/none", '{"method":"iphash_ext"}');
call(PATCH => "$groups/spare", '{}', prefix => '/read');
call(PATCH => "$groups/spare", '{}', headers => [Origin => 'null']);
call(PATCH => "$groups/spare", '{"method":"round_robin_ext"}',
    headers => ['If-Match' => '"x"']);
call(PATCH => "$groups/spare", '{"method":"round_robin_ext"}',
    prefix => '/short');
call(PATCH => "$groups/spare", 'x');

call(PATCH => "$groups/checked", $json->encode($_)) for
    map({ { health_checks => $_ } }
        [{ type => 'tcp', port => 9, interval => 1, timeout => '500ms' },
         { uri => '/x', host => 'h', jitter => '12.5%', mandatory => $true,
             persistent => $true, keepalive_time => '9s', requests => 7 }],
        [{ interval => 0 }], [{ port => 65536 }], [{ uri => 'x' }],
        [{ other => 1 }], [({}) x 5], [1], {}, 1, [{ fails => 0 }]),
    { slow_start => '2s', panic => '50%', health_checks => [] },
    { slow_start => -1 }, { panic => 50 }, { panic => '200%' },
    { health_checks => [{ interval => '100ms' }] };

# gzip makes a tag weak, and it still counts

if ($t->has('gzip_filter')) {
    my $weak = $t->get("/zip$servers", port => 'api',
        headers => ['Accept-Encoding' => 'gzip'])->header('ETag');

    like($weak, qr{^W/"}, 'a weak tag');
    is(call(PATCH => "$servers/0", '{"weight":1}',
        headers => ['If-Match' => $weak])->status, 200, 'it counts');
}

# probes

my $check = '/lrt/1/upstreams/checked/servers/%s/check';

$t->wait_for(sub {
    call(GET => "$groups/checked")->body =~ /"state":"unhealthy"/ });
call(GET => "$groups/checked");

call(POST => sprintf($check, $_)) for 0, 2, 99, 'x', $t->address('a');
call(POST => sprintf($check, 0) . $_)
    for '/', '?wait=x', '?dry_run=1', '?wait=10s';
call(POST => sprintf($check, 0) =~ s/checked/$_/r) for qw(spare none stock);
call(POST => sprintf($check, 0), undef, prefix => '/read');
call(POST => sprintf($check, 0), undef, headers => [Origin => 'null']);
call(POST => sprintf($check, 0), undef, headers => ['If-Match' => '"x"']);
call(GET => sprintf($check, 0));

call(PATCH => "$groups/checked",
    '{"health_checks":[{"port":9}],"panic":"off"}');
call(POST => "$groups/checked/servers", server(server => 'unix:/x'));

# counters

for my $path ("$groups/spare", '/lrt/1/upstreams/spare/servers/0/stats') {
    call(DELETE => "$path?dry_run=1");
    call(DELETE => $path);
    call(DELETE => $path, undef, prefix => '/read');
    call(DELETE => $path, undef, headers => [Origin => 'null']);
    call(DELETE => $path, undef, headers => ['If-Match' => '"x"']);
    call(DELETE => $path =~ s/spare/none/r);
    call(DELETE => $path =~ s/spare/stock/r);
}

call(DELETE => "/lrt/1/upstreams/spare/servers/$_/stats") for qw(99 x);

# removal

call(DELETE => "$servers/99");
call(DELETE => "$servers/x");
call(DELETE => "$servers/0", undef, prefix => '/read');
call(DELETE => "$servers/0", undef, headers => [Origin => 'null']);
call(DELETE => "$servers/0", undef, headers => ['If-Match' => '"x"']);
call(DELETE => "$servers/0?drain=x");
call(DELETE => "$servers/0?dry_run=1");
call(DELETE => "$servers/0?drain=1h&force=1&dry_run=1");
call(DELETE => "$servers/0?drain=1h");
call(DELETE => "$servers/0?force=1");
call(DELETE => "$servers/127.0.0.1:20");

# methods that a path does not have

call($_->[0] => $_->[1]) for
    [POST => '/'], [DELETE => '/9'], [PUT => '/9/nginx'],
    [DELETE => '/9/processes'], [DELETE => '/9/slabs/spare'],
    [DELETE => '/9/ssl'], [POST => $groups], [PUT => "$groups/spare"],
    [DELETE => $servers], [PATCH => $servers], [POST => "$servers/0"],
    [OPTIONS => $servers], [POST => '/lrt/1/ready'],
    [GET => '/lrt/1/upstreams/spare/servers/0/stats'],
    [PUT => '/lrt/1/upstreams/spare/config'];

###############################################################################
# the judgement

my $file = $t->write('exchanges.json',
    JSON::PP->new->utf8->encode(\@exchanges) =~ s/%%/%\\u0025/gr);

my $judged = $json->decode(
    scalar qx{@{[PYTHON]} $FindBin::Bin/clients/openapi.py \\
        $root/docs/openapi.yaml $file});

is_deeply($judged->{document}, [], 'the document is valid');

for my $i (0 .. $#exchanges) {
    my $x = $exchanges[$i];
    my $what = "$x->{method} $x->{path} -> $x->{status}";

    $what .= ' ' . $json->decode($x->{body})->{error}{code}
        if $x->{status} >= 400 && $x->{body} =~ /^\{"error"/;

    is(join("\n", $judged->{exchanges}[$i]->@*), '', $what)
        or diag('sent: ', substr $x->{sent} // '', 0, 200);
}

is_deeply($judged->{unused}, [], 'each operation was tried, with success');

###############################################################################
# what the sources have

sub source (@names) {
    local $/;
    return join '', map {
        open my $f, '<', $_ or die "$_: $!\n";
        scalar <$f>;
    } map { glob "$sources/$_" } @names;
}

my $routes = source('ngx_http_lrt_api_route.c');
my %paths;

for my $table ($routes =~ /_routes\[\] = \{(.*?)\n\};/gs) {
    my $prefix = $table =~ /"ready"/ ? '/lrt/1' : '/{version}';

    while ($table =~ /\{ "([^"]*)",((?:\s*(?:ngx_\w+|NULL),?){5}) \}/g) {
        my ($path, @handlers) = ($1, split /,\s*/, $2);
        my @methods = qw(GET POST PUT PATCH DELETE);

        $path =~ s{^slabs/S$}{slabs/{zone}};
        $path =~ s/\bU\b/{upstream}/;
        $path =~ s/\bS\b/{server}/;
        $path = $path eq '' ? $prefix : "$prefix/$path";

        for my $i (0 .. $#methods) {
            $paths{"$methods[$i] $path"} = 1 if $handlers[$i] !~ /NULL/;
        }
    }
}

$paths{'GET /'} = 1;

is_deeply([sort keys %paths], $judged->{paths}, 'paths of the source');

my $code = source(qw(ngx_http_lrt_api*.c ngx_http_lrt_spec*.c
                     ngx_http_lrt_json.c));
my %codes = map { $_ => 1 } $code =~ /"((?:[A-Z][a-z]+){2,})"/g,
    $code =~ /\{ \d{3}, "(\w+)"/g;

is_deeply([sort keys %codes], [sort $judged->{codes}->@*],
    'codes of the source');

# and the manual

my $manual = do {
    local $/;
    open my $f, '<', "$root/docs/api.md" or die "docs/api.md: $!\n";
    <$f>;
};

is(join(' ', grep { $manual !~ /`$_`/ } sort keys %codes), '',
    'codes of the manual');

my %metrics = $t->get('/metrics', port => 'api')->body
    =~ /^# TYPE (\w+) (\w+)$/mg;

cmp_ok(keys %metrics, '>', 10, 'metrics');
is(join(' ', grep { $manual !~ /^\| `$_` \| $metrics{$_} \|/m }
    sort keys %metrics), '', 'metrics of the manual');

$t->done;
