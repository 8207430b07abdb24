#!/usr/bin/perl

# The API as clients of NGINX Plus know it: paths, versions, what can be
# read, single changes, and errors, nginx' own among them.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use List::Util qw(sum0);
use Test::More;

use LRT;
use LRT::API;

my $t = LRT->new(
    name => 'api', need => [qw(module proxy rewrite upstream_zone)]);

$t->backend($_) for qw(a b c);
$t->write(users => "anna:{PLAIN}secret\n");

my ($a, $b, $c) = map { $t->address($_) } qw(a b c);
my $has_ipv6 = $t->has('ipv6');

my $http = q{
    upstream u {
        zone u 256k;
        round_robin_ext;
        server %%ADDRESS_a%%;
        server %%ADDRESS_b%% weight=2 max_fails=3 fail_timeout=90s;
    }
    upstream empty { zone empty 64k; least_conn_ext; }
    upstream tiny { zone tiny SIZE; least_time header; server %%ADDRESS_a%%; }
    upstream hashed { zone hashed 64k; iphash_ext; server %%ADDRESS_a%%; }
    upstream stock { server %%ADDRESS_a%%; }

    server {
        listen 127.0.0.1:%%PORT_http%%;
        location ~ ^/(?<group>\w+) { proxy_pass http://$group; }
    }

    server {
        listen 127.0.0.1:%%PORT_api%%;

        location /api { lrt_api write=on unix=on; }
        location /slash/ { lrt_api; }
        location = /exact { lrt_api; }
        location /read { lrt_api; }
        location /nets { lrt_api write=on servers=127.1.0.0/16,::1/128; }
        location /closed { lrt_api write=on; deny all; }
        location /limited {
            lrt_api write=on;
            limit_except GET { allow 127.0.0.5; deny all; }
        }
        location /secret {
            lrt_api write=on;
            auth_basic users;
            auth_basic_user_file %%DIR%%/users;
        }
        location /small { lrt_api write=on; client_max_body_size 100; }
    }
};


# The configuration with so much room for `tiny`.

sub conf ($size) {
    return $t->conf(workers => 2, http => $http =~ s/SIZE/$size/r);
}


conf('32k')->start;

my $api = LRT::API->new($t);
my $u   = $api->group('u');

my ($yes, $no) = (LRT::API::true, LRT::API::false);


sub api ($base) { return LRT::API->new($t, base => $base) }

# Servers without what changes with time.

sub lasting ($peers) {
    delete $_->{lrt}{estimate_age_ms} for @$peers;
    return $peers;
}


sub refused ($r, $expected, $name) {
    is(LRT::API::fault($r), $expected, $name);
}

###############################################################################

subtest 'paths and versions' => sub {
    my $versions = [4 .. 9];

    is_deeply(api($_)->get, $versions, "versions: $_")
        for qw(/api /api/ /slash/ /exact);

    for my $version (@$versions) {
        is_deeply([map { scalar api("/api/$version")->get($_)->@* }
            '/http/upstreams/u/servers', '/http/upstreams/u/servers/'],
            [2, 2], "version $version, with a slash or not");
    }

    refused(api('/api')->call(GET => $_), '404 UnknownVersion', "version $_")
        for qw(/3 /10/ /0/nginx /99999/http/upstreams);
    refused(api('/api')->call(GET => $_), '404 PathNotFound', "path $_")
        for qw(s s/9 /x /-1 /9x/nginx /9/x /9/stream /9/stream/upstreams/
            /9/http/x /9/nginx/x /9/http/upstreams/u/x /9/license
            /9/http/upstreams/u/servers/0/x /9/1/2/3/4/5/6/7/8/9
            /99999999999999999999);

    is_deeply($api->get($_), $api->get("$_/"), "$_: the same with a slash")
        for '/http', '/slabs', '/http/upstreams', '/http/upstreams/u';

    is_deeply($api->get('/'), [qw(
        nginx processes connections slabs http resolvers ssl workers)],
        'what there is');
    is_deeply($api->get('/http'), [qw(requests server_zones location_zones
        caches limit_conns limit_reqs keyvals upstreams)],
        'what there is of http');

    is_deeply($api->get("/$_"), {}, "$_: none") for qw(ssl resolvers),
        map { "http/$_" }
        qw(server_zones location_zones caches limit_conns limit_reqs keyvals);
    is_deeply($api->get('/workers'), [], 'workers: none');
};


subtest 'this nginx' => sub {
    my $nginx = $api->get('/nginx');

    is($nginx->{version}, $t->version, 'version');
    like($nginx->{build}, qr/^lrt-r\d+$/, 'build');
    is($nginx->{address}, '127.0.0.1', 'address');
    is($nginx->{generation}, 1, 'generation');
    is($nginx->{ppid}, $t->master_pid, 'master');
    ok(grep({ $_ == $nginx->{pid} } $t->workers), 'worker');
    like($nginx->{$_}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/, $_)
        for qw(timestamp load_timestamp);

    is_deeply($api->get('/nginx?fields=version,build'),
        { map { ($_ => $nginx->{$_}) } qw(version build) }, 'some fields');
    is_deeply($api->get('/nginx?fields=x'), {}, 'no such field');

    is_deeply($api->get('/processes'), { respawned => 0 }, 'processes');

    my $connections = $api->get('/connections');
    is_deeply([sort keys %$connections], [qw(accepted active dropped idle)],
        'connections');

    my $total = $api->get('/http/requests')->{total};
    $t->get('/u') for 1 .. 3;

    if ($t->has('stub_status')) {
        is($api->get('/http/requests')->{total}, $total + 4, 'requests');
        cmp_ok($api->get('/connections')->{accepted}, '>',
            $connections->{accepted} + 3, 'new connections');
    }

    my $slabs = $api->get('/slabs');
    is_deeply([sort keys %$slabs], [qw(empty hashed tiny u)], 'zones');
    my $pages = $slabs->{u}{pages};
    cmp_ok($pages->{free}, '>', 0, 'there is room in it');
    cmp_ok(sum0(values %$pages) * 4096, '<=', 256 * 1024, 'and no more');
    is_deeply($api->get('/slabs/u')->{pages}, $pages, 'one zone');
    is_deeply([keys $slabs->{u}{slots}{64}->%*
        ? sort keys $slabs->{u}{slots}{64}->%* : ()],
        [qw(fails free reqs used)], 'slots');
    refused($api->call(GET => '/slabs/x'), '404 SlabNotFound', 'no zone');
};


subtest 'groups and servers to read' => sub {
    my $usual = {
        max_conns => 0, slow_start => '0s', route => '', backup => $no,
        down => $no,
    };
    my $servers = [
        { %$usual, id => 0, server => $a, weight => 1, max_fails => 1,
            fail_timeout => '10s' },
        { %$usual, id => 1, server => $b, weight => 2, max_fails => 3,
            fail_timeout => '90s' },
    ];

    is_deeply($u->servers, $servers, 'servers');
    is_deeply($u->get("servers/$_"), $servers->[1], "one of them: $_")
        for 1, '1/', $b, "$b/";
    is_deeply($api->group('empty')->servers, [], 'no servers');
    is_deeply($api->group('empty')->get->{peers}, [], 'no peers');

    refused($u->call(GET => 'servers/7'), '404 UpstreamServerNotFound',
        'no such id');
    refused($u->call(GET => "servers/$_"), '400 UpstreamBadServerId',
        "no id: $_") for qw(x -1 1x 127.0.0.1:1 18446744073709551616 %22);
    refused($api->call(GET => '/http/upstreams/x'), '404 UpstreamNotFound',
        'no such group');
    refused($api->call(GET => "/http/upstreams/stock$_"),
        '400 UpstreamStatic', "a stock group: $_")
        for '', '/servers', '/servers/0';

    $t->many(30, '/u');
    $t->get('/u?status=404') for 1 .. 3;

    my $all = $api->get('/http/upstreams');
    is_deeply([sort keys %$all], [qw(empty hashed tiny u)], 'groups');

    my $group = $u->get;
    is_deeply([sort keys %$group], [qw(keepalive lrt peers zombies zone)],
        'a group');
    is($group->{zone}, 'u', 'its zone');
    is($group->{zombies}, 0, 'no removed servers');
    is($group->{lrt}{method}, 'round_robin_ext', 'its method');
    is($group->{lrt}{generation}, $u->generation, 'its generation');
    is($api->group('tiny')->get->{lrt}{method}, 'least_time header',
        'with parameters');
    is_deeply(lasting($all->{u}{peers}), lasting($group->{peers}),
        'the same among all');

    my $peers = $group->{peers};
    is_deeply([map { [@$_{qw(id server name backup weight state active)}] }
        @$peers], [[0, $a, $a, $no, 1, 'up', 0], [1, $b, $b, $no, 2, 'up', 0]],
        'peers');
    is(sum0(map { $_->{requests} } @$peers), 36, 'requests');
    is(sum0(map { $_->{responses}{'2xx'} } @$peers), 33, 'responses');
    is(sum0(map { $_->{responses}{codes}{404} // 0 } @$peers), 3, 'codes');
    is(sum0(map { $_->{responses}{total} } @$peers), 36, 'all responses');

    for my $peer (@$peers) {
        my $name = $peer->{server};
        my $hist = $peer->{response_time_hist};

        is_deeply($peer->{health_checks},
            { checks => 0, fails => 0, unhealthy => 0 }, "$name: checks");
        is($hist->{count}, $peer->{responses}{total}, "$name: times");
        is(sum0(values $hist->{buckets}->%*), $hist->{count},
            "$name: in buckets");
        is(scalar keys $hist->{buckets}->%*, 15, "$name: as many");
        like(join(' ', @$peer{qw(header_time response_time sent received
            fails unavail downtime)}), qr/^[\d ]+$/, "$name: whole numbers");
        like($peer->{selected}, qr/^\d{4}-.*\.\d{3}Z$/, "$name: selected");
        cmp_ok($peer->{$_}, '>', 0, "$name: $_") for qw(sent received);
        is($peer->{lrt}{health}, 'auto', "$name: health");
    }

    is_deeply([map { $_->{lrt}{share_permille} } @$peers], [333, 666],
        'shares');

    # some of it

    is_deeply($u->get('?fields=zone,zombies'), { zone => 'u', zombies => 0 },
        'fields of a group');
    is_deeply($api->get('/http/upstreams?fields=zone')->{u}, { zone => 'u' },
        'fields of groups');
    is_deeply($u->get('?fields=%7Aone'), { zone => 'u' }, 'encoded');
    is_deeply([sort $api->get('/http/upstreams?fields=')->@*],
        [qw(empty hashed tiny u)], 'names of groups');
    is_deeply(lasting($u->get('?fields=peers')->{peers}),
        lasting($u->get->{peers}), 'only peers');
};


subtest 'ways to ask' => sub {
    for my $path ('/', '/nginx', '/http/upstreams', '/http/upstreams/u',
        '/http/upstreams/u/servers', '/http/upstreams/u/servers/0', '/x')
    {
        my $get  = $api->call(GET  => $path);
        my $head = $api->call(HEAD => $path);

        is($head->status, $get->status, "HEAD $path");
        is($head->raw =~ s/.*?\r\n\r\n//sr, '', "HEAD $path: no body");
        is($head->header('content-length'), $get->header('content-length'),
            "HEAD $path: the length") if $path !~ /nginx$/;
        is($get->header('content-length'), length $get->body,
            "GET $path: the length");
        is($get->header('content-type'), 'application/json',
            "GET $path: the type");
        is($get->header('cache-control'), 'no-store', "GET $path: not kept");
    }

    my $old = $u->call(GET => '', undef, version => '1.0');
    is($old->status, 200, 'HTTP/1.0');
    is_deeply(lasting(LRT::API::data($old)->{peers}),
        lasting($u->get->{peers}), 'HTTP/1.0: the same');

    my $client = $t->client(port => 'api');
    is($client->request(GET => $u->uri('servers'), keepalive => 1)->status,
        200, "a connection's request $_") for 1 .. 3;
    is($client->request(PATCH => $u->uri('servers/0'), keepalive => 1,
        body => '{}')->status, 200, 'a change');
    is($client->request(POST => $u->uri('servers'), keepalive => 1,
        body => '{')->status, 415, 'an error');
    $client->send(join '', map { LRT::HTTP::request_text(
        GET => $u->uri("servers/$_"), keepalive => $_ == 0) } 0, 1);
    like($client->receive_bytes(100_000),
        qr/"id":0.*\}HTTP.*"id":1/s, 'two at once');
    $client->close;
};


subtest 'methods' => sub {
    my $read  = api('/read/9');
    my $state = $u->state;

    # how a dashboard finds out whether it may write

    my $probe = '/http/upstreams/DASHBOARD_INIT/servers/__TEST_FOR_WRITE__/';
    refused($read->call(DELETE => $probe), '405 MethodDisabled',
        'a location to read');
    refused($api->call(DELETE => $probe), '404 UpstreamNotFound',
        'a location to write');

    for my $case (
        [POST => 'servers'], [PUT => 'servers'], [PATCH => 'servers/0'],
        [DELETE => 'servers/0'], [DELETE => ''], [PATCH => ''])
    {
        refused($read->group('u')->call(@$case, '{}'), '405 MethodDisabled',
            "@$case, only to read");
        refused($read->group('x')->call(@$case, '{}'), '405 MethodDisabled',
            "@$case, of no group");
    }

    for my $case (
        [POST => ''], [PUT => ''], [PATCH => 'servers'],
        [DELETE => 'servers'], [POST => 'servers/0'], [PUT => 'servers/0'],
        [OPTIONS => ''], [FOO => 'servers'])
    {
        refused($_->group('u')->call(@$case, '{}'), '405 MethodNotAllowed',
            "@$case") for $api, $read;
    }

    refused($api->call($_ => '/nginx', '{}'), '405 MethodNotAllowed',
        "$_ /nginx") for qw(POST PUT PATCH DELETE);
    is($u->state, $state, 'nothing has changed');
};


subtest 'add, modify, remove' => sub {
    my $usual = {
        weight => 1, max_conns => 0, max_fails => 1, fail_timeout => '10s',
        slow_start => '0s', route => '', backup => $no, down => $no,
    };
    my $group = $api->group('empty');
    my $r     = $group->call(POST => 'servers/', { server => $c });

    is($r->status, 201, 'added');
    is_deeply(LRT::API::data($r), { %$usual, id => 0, server => $c },
        'as it is now');
    is_deeply($group->servers, [LRT::API::data($r)], 'and in the list');
    is($t->get('/empty')->body, 'c', 'it is used');

    my $all = {
        server => '127.0.0.1:9', weight => 7, max_conns => 8, max_fails => 9,
        fail_timeout => '21s', slow_start => '500ms', route => 'r',
        backup => $yes, down => $yes,
        drain => $yes, service => '', lrt => { health => 'up' },
    };
    $r = $group->call(POST => 'servers', $all);
    my %stored = (%$all, id => 1);
    delete $stored{service};
    is_deeply(LRT::API::data($r), \%stored, 'all parameters');
    is_deeply($group->get('servers/1'), \%stored, 'they are kept');

    my %down = (down => $yes);
    $r = $group->call(POST => 'servers', [
        { server => '127.0.0.1:7', %down }, { server => '127.0.0.1', %down }]);
    is($r->status, 201, 'several at once');
    is_deeply([map { "$_->{id} $_->{server}" } LRT::API::data($r)->@*],
        ['2 127.0.0.1:7', '3 127.0.0.1:80'], 'several at once: the list');

    is_deeply(LRT::API::data($group->call(POST => 'servers', [])), [],
        'none at once');

    # who sends what he has read changes nothing

    my $generation = $group->generation;
    my $same = { $group->get('servers/0')->%* };
    delete $same->{id};
    $r = $group->call(PATCH => 'servers/0', $same);
    is($r->status, 200, 'the same');
    is($group->generation, $generation, 'is no change');

    $r = $group->call(PATCH => 'servers/0',
        { weight => 5, down => $yes, fail_timeout => '1m30s' });
    is($r->status, 200, 'modified');
    is_deeply(LRT::API::data($r), { %$usual, id => 0, server => $c,
        weight => 5, down => $yes, fail_timeout => '90s' }, 'as it is now');
    is($group->generation, $generation + 1, 'a generation');
    is($group->peer($c)->{state}, 'down', 'its state');
    is($t->get('/empty')->status, 502, 'it is not used');

    $group->call(PATCH => "servers/$c", { down => $no,
        drain => $yes });
    is($group->peer($c)->{state}, 'draining', 'draining');
    is($t->get('/empty')->status, 502, 'it is not used');
    $group->call(PATCH => 'servers/0/', { drain => $no });
    is($group->peer($c)->{state}, 'up', 'up');
    is($t->get('/empty')->body, 'c', 'it is used');

    $group->call(PATCH => 'servers/0', { lrt => { health => 'down' } });
    is($group->peer($c)->{state}, 'unhealthy', 'forced down');
    is($t->get('/empty')->status, 502, 'it is not used');
    $group->call(PATCH => 'servers/0', { lrt => { health => 'auto' } });
    is($t->get('/empty')->body, 'c', 'no longer forced');

    refused($group->call(PATCH => 'servers/0', $_->[1]), "400 $_->[0]",
        $_->[2])
        for [UpstreamServerImmutable => { server => '127.0.0.1:1' },
                'another address'],
            [UpstreamConfFormatError => { backup => $yes },
                'another tier'],
            [UpstreamConfFormatError => { id => 0 }, 'an id'],
            [UpstreamBadRoute => { route => 'x' }, 'a route'],
            [UpstreamConfFormatError => [], 'a list'];

    $r = $group->call(DELETE => 'servers/3/');
    is($r->status, 200, 'removed');
    is_deeply([map { $_->{id} } LRT::API::data($r)->@*], [0, 2, 1],
        'the rest, backups last');
    is_deeply($group->servers, LRT::API::data($r), 'is the list');
    refused($group->call(DELETE => 'servers/3'),
        '404 UpstreamServerNotFound', 'removed again');

    $r = $group->call(DELETE => 'servers/127.0.0.1:7');
    is_deeply([map { $_->{id} } LRT::API::data($r)->@*], [0, 1],
        'removed by its address');

    $r = $group->call(POST => 'servers', { server => '127.0.0.1', %down });
    is(LRT::API::data($r)->{id}, 4, 'ids are not used again');
};


subtest 'addresses' => sub {
    my $group = $api->group('empty');
    my %names = (
        '127.0.0.1:81' => '127.0.0.1:81',
        'unix:/tmp/lrt/x.sock' => 'unix:/tmp/lrt/x.sock',
        'unix:/tmp/a b%' => 'unix:/tmp/a%20b%25',
        $has_ipv6 ? ('[::1]:81' => '[::1]:81') : (),
    );

    for my $name (sort keys %names) {
        my $r = $group->call(POST => 'servers', { server => $name });
        is($r->status, 201, "$name: added") or diag($r->body);
        my $id = LRT::API::data($r)->{id};

        refused($group->call(POST => 'servers', { server => $name }),
            '409 EntryExists', "$name: it is there");
        refused($group->call(POST => 'servers',
            { server => $name, backup => $yes }),
            '409 EntryExists', "$name: not as a backup either");

        for my $path ($names{$name}, "$names{$name}/",
            $names{$name} =~ s!/!%2F!gr)
        {
            is_deeply([eval { $group->get("servers/$path")->{id} }], [$id],
                "$name: found as $path");
        }

        is($group->call(PATCH => "servers/$names{$name}",
            { server => $name, weight => 3 })->status, 200, "$name: modified");
        is($group->call(DELETE => "servers/$names{$name}")->status, 200,
            "$name: removed");
    }

    for my $case (
        ['localhost:81' => 'UpstreamConfNoResolver'],
        ['name' => 'UpstreamConfNoResolver'],
        map { [$_ => 'UpstreamBadAddress'] } '', '127.0.0.1:0',
            '127.0.0.1:65536', '127.0.0.1:x', '127.0.0.1:80/x', '[::1', '[]:1',
            'unix:', 'unix:' . '/x' x 60, ':80', "127.0.0.1:80\n",
            "unix:/tmp/a\nb", "unix:/tmp/a\x7f", 'x' x 300)
    {
        my ($name, $code) = @$case;
        refused($group->call(POST => 'servers', { server => $name }),
            "400 $code", 'address ' . JSON::PP->new->allow_nonref
                ->encode(substr $name, 0, 40));
    }

    my $nets = api('/nets/9')->group('empty');
    refused($nets->call(POST => 'servers', { server => $_ }),
        '400 UpstreamBadAddress', "$_ is not permitted")
        for '127.0.0.1:82', '127.2.0.1:82', 'unix:/tmp/x', '[::2]:82';

    for my $name ('127.1.0.1:82', $has_ipv6 ? '[::1]:82' : ()) {
        is($nets->call(POST => 'servers', { server => $name })->status, 201,
            "$name is permitted");
        is($nets->call(DELETE => "servers/$name")->status, 200, 'removed');
    }

    refused(api('/limited/9')->group('empty')->call(POST => 'servers',
        { server => 'unix:/tmp/x' }, from => '127.0.0.5'),
        '400 UpstreamBadAddress', 'sockets are not permitted');
};


subtest 'what a group cannot do' => sub {
    refused($api->group('hashed')->call(POST => 'servers',
        { server => $c, backup => $yes }), '400 UpstreamNoBackup',
        'a backup');
    refused($api->group('stock')->call(POST => 'servers', { server => $c }),
        '400 UpstreamStatic', 'a stock group');
    refused($api->group('x')->call(POST => 'servers', { server => $c }),
        '404 UpstreamNotFound', 'no group');

    my $tiny  = $api->group('tiny');
    my $room  = $tiny->get->{lrt}{room};
    my @list  = map { { server => "127.3.0.$_:80", down => $yes } }
        1 .. $room + 1;
    my $state = $tiny->state;
    my $r     = $tiny->call(POST => 'servers', \@list);

    refused($r, '400 UpstreamOutOfMemory', 'too many servers');
    my $reason = LRT::API::reason($r);
    is($tiny->state, $state, 'nothing has changed');
    refused($tiny->call(PUT => 'servers', [@list, { server => $a }]),
        '400 UpstreamOutOfMemory', 'a list of too many');

    my $last = pop @list;
    is($tiny->call(POST => 'servers', \@list)->status, 201, 'as many as fit');
    is($tiny->get->{lrt}{room}, 0, 'no room');
    refused($tiny->call(POST => 'servers', $last),
        '400 UpstreamOutOfMemory', 'one more');
    is($t->get('/tiny')->body, 'a', 'it works');

    my $first = $tiny->all('id')->{ $list[0]{server} };
    is($tiny->call(DELETE => "servers/$first")->status, 200, 'one less');
    is($tiny->call(POST => 'servers', $last)->status, 201, 'is one more');
    refused($tiny->call(POST => 'servers', $list[0]),
        '400 UpstreamOutOfMemory', 'and not two');
    is($tiny->call(DELETE => "servers/$last->{server}")->status, 200, 'back');
    is($tiny->call(POST => 'servers', $list[0])->status, 201, 'and forth');

    like($reason, qr/"tiny" has room for $room more .* (\d+)k /,
        'how large the zone would have to be');
    my ($size) = $reason =~ /with (\d+)k/;
    conf("${size}k")->reload;
    is($tiny->call(POST => 'servers', $last)->status, 201,
        'with that size there is room');
};


subtest "nginx' own errors" => sub {
    my @post = (POST => '/http/upstreams/u/servers', { server => $c });

    refused(api('/closed/9')->call(GET => '/nginx'), '403 Forbidden', 'deny');
    refused(api('/closed/9')->call(@post), '403 Forbidden', 'deny a change');
    refused(api('/limited/9')->call(@post), '403 Forbidden', 'limit_except');
    is(api('/limited/9')->call(GET => '/nginx')->status, 200, 'GET');
    refused(api('/limited/9')->call(
        POST => '/http/upstreams/x/servers', {}, from => '127.0.0.5'),
        '404 UpstreamNotFound', 'who may, may');

    my $r = api('/secret/9')->call(GET => '/nginx');
    refused($r, '401 Unauthorized', 'auth_basic');
    like($r->header('www-authenticate'), qr/Basic/, 'and how');
    is($r->header('content-length'), length $r->body, 'the length');

    refused(api('/small/9')->call(POST => '/http/upstreams/u/servers',
        '[' . ' ' x 1000 . ']'), '413 BodyTooLarge', 'a large body');
    $r = api('/small/9')->call(POST => '/http/upstreams/u/servers',
        '[' . ' ' x 1000 . ']', chunked => 100);
    refused($r, '413 BodyTooLarge', 'in chunks');

    $r = api('/closed/9')->call(HEAD => '/nginx');
    is($r->status, 403, 'HEAD');
    is($r->raw =~ s/.*?\r\n\r\n//sr, '', 'HEAD: no body');

    my $tag = $u->call(GET => '')->header('etag');
    refused($u->call(GET => '', undef, headers => ['If-Match' => '"x"']),
        '412 PreconditionFailed', 'If-Match of a GET');
    is($u->call(GET => '', undef, headers => ['If-Match' => $tag])->status,
        200, 'the right one');
};


# nothing of this has harmed the group

is_deeply($t->many(30, '/u'), { a => 10, b => 20 }, 'requests go on');

$t->done;
