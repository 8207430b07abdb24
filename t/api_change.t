#!/usr/bin/perl

# Changes through the API: each is one step for all workers, keeps what is
# known of the servers that stay, survives a reload, and disturbs no request.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use List::Util qw(sum0);
use MIME::Base64 qw(encode_base64);
use Test::More;
use Time::HiRes qw(time);

use LRT;
use LRT::API;
use LRT::Hooks;
use LRT::Net qw(timeout);

use constant WORKERS => 3;

my $t = LRT->new(
    name => 'api_change', need => [qw(module proxy rewrite upstream_zone)]);

$t->backend($_) for qw(a b c d);
$t->write(users => "anna:{PLAIN}secret\n");

my ($a, $b, $c, $d) = map { $t->address($_) } qw(a b c d);


sub conf ($zone = '256k') {
    return $t->conf(workers => WORKERS, http => qq{
        upstream u {
            zone u $zone;
            round_robin_ext;
            server %%ADDRESS_a%%;
            server %%ADDRESS_b%%;
        }
        upstream times {
            zone times 256k;
            least_time last_byte;
            server %%ADDRESS_a%%;
            server %%ADDRESS_b%%;
        }
    } . q{
        server {
            listen 127.0.0.1:%%PORT_http%%;
            location ~ ^/(?<group>\w+) {
                proxy_pass http://$group;
                add_header X-Worker $pid;
            }
        }
        server {
            listen 127.0.0.1:%%PORT_api%%;
            location /api { lrt_api write=on; }
            location /metrics { lrt_metrics; }
            location /secret {
                lrt_api write=on;
                auth_basic users;
                auth_basic_user_file %%DIR%%/users;
            }
        }
    } . LRT::Hooks::server($t));
}


conf()->start;

my $api   = LRT::API->new($t);
my $u     = $api->group('u');
my $times = $api->group('times');
my $hooks = LRT::Hooks->group($t, 'u');

my ($yes, $no) = (LRT::API::true, LRT::API::false);


sub refused ($r, $expected, $name) {
    is(LRT::API::fault($r), $expected, $name);
}

sub put ($group, $servers, $query = '') {
    return $group->call(PUT => "servers/$query", $servers);
}

sub servers ($group = $u) {
    return join ' ', map { "$_->{id}=$_->{server}" } $group->servers->@*;
}

sub answers ($count = 24) { return $t->many($count, '/u') }

sub at_rest ($name) {
    SKIP: {
        skip 'no test hooks', 1 unless $hooks;
        ok($hooks->settles, "$name: the table is valid, nothing in flight")
            or diag($hooks->unrest);
    }
}

###############################################################################

subtest 'traffic follows' => sub {
    is_deeply(answers(), { a => 12, b => 12 }, 'as configured');

    $u->call(POST => 'servers', { server => $c, weight => 2 });
    is_deeply(answers(), { a => 6, b => 6, c => 12 }, 'added');
    $u->call(PATCH => "servers/$c", { weight => 1 });
    is_deeply(answers(), { a => 8, b => 8, c => 8 }, 'another weight');
    $u->call(PATCH => "servers/$a", { drain => $yes });
    is_deeply(answers(), { b => 12, c => 12 }, 'draining');
    $u->call(PATCH => "servers/$b", { down => $yes });
    is_deeply(answers(), { c => 24 }, 'down');
    $u->call(POST => 'servers', { server => $d, backup => $yes });
    is_deeply(answers(), { c => 24 }, 'a backup');
    $u->call(DELETE => "servers/$c");
    is_deeply(answers(), { d => 24 }, 'removed, the backup takes over');
    $u->call(PATCH => "servers/$_", { drain => $no,
        down => $no }) for $a, $b;
    is_deeply(answers(), { a => 12, b => 12 }, 'as before');
    $u->call(DELETE => "servers/$d");

    at_rest('traffic');
};


# The next request of every worker sees a change that was answered.

subtest 'all workers at once' => sub {
    my @names = qw(c d);
    my (%wrong, %workers);

    for my $round (1 .. 40) {
        my $name = $names[$round % 2];

        put($u, [{ server => $t->address($name) }]);
        $t->run(count => 6, concurrency => 6, uri => '/u', on_response =>
            sub ($r, $) {
                $workers{ $r->header('x-worker') // '-' }++;
                $wrong{ $r->name }++ if $r->name ne $name;
            });
    }

    is_deeply(\%wrong, {}, 'nobody is asked who was removed');
    cmp_ok(scalar keys %workers, '>', 1, 'several workers have answered');
    put($u, [{ server => $a }, { server => $b }]);
};


subtest 'a list replaces a list' => sub {
    put($times, [map { { server => $_ } } $a, $b]);
    $t->many(40, '/times');
    $_->settles for grep { $_ } LRT::Hooks->group($t, 'times');

    # one request goes on all the time

    $t->backend($_)->clear for qw(a b);
    my $held  = $t->begin('/times?delay=400');
    my ($busy) = map { $t->wait_for(sub {
        (grep { $t->backend($_)->stats->{active} } qw(a b))[0]
    }) } 1;
    my ($stays, $goes) = $busy eq 'a' ? ($a, $b) : ($b, $a);
    my $before = $times->peer($stays);
    my $id     = $before->{id};

    my $r = put($times, [
        { server => $c, weight => 2 }, { server => $stays }, { server => $d },
    ]);
    is($r->status, 200, 'a list');
    is_deeply(LRT::API::data($r),
        { added => 2, removed => 1, updated => 0, unchanged => 1 },
        'what has changed');
    like($r->header('etag'), qr/^"\w+-\d+"$/, 'its tag');
    is($r->header('x-lrt-index'), $times->generation, 'and generation');

    my $after = $times->peer($stays);

    # these compare it with others, or change with time

    delete $_->{lrt}->@{qw(share_permille score estimate_age_ms)}
        for $before, $after;
    is_deeply($after, $before, 'who stays keeps all that is known of him');
    is($after->{active}, 1, 'and his request');
    ok($after->{lrt}{estimate_us}, 'and his estimate');
    is_deeply($times->all('weight'), { $stays => 1, $c => 2, $d => 1 },
        'the list');
    is($times->servers->[0]{id}, $id, 'who was there comes first');
    is($times->get->{zombies}, 0, 'nobody was removed in use');

    my $state = $times->state;
    $r = put($times, $times->servers);
    is_deeply(LRT::API::data($r),
        { added => 0, removed => 0, updated => 0, unchanged => 3 },
        'the same list, with ids');
    is($times->state, $state, 'is no change');

    $r = put($times, [{ server => $c, weight => 9 }, { server => $d }]);
    is_deeply(LRT::API::data($r),
        { added => 0, removed => 1, updated => 1, unchanged => 1 },
        'some change, some go');
    is($times->get->{zombies}, 1, 'one is still in use');
    is($held->receive->status, 200, 'his request ends well');
    ok($t->wait_for(sub { $times->get->{zombies} == 0 }), 'then he is gone');

    # all or nothing

    $state = $times->state;
    my $first = $times->servers->[0];

    refused(put($times, $_->[0]), $_->[1], $_->[2])
        for [[{ server => $a }, { server => 'x y' }],
                '400 UpstreamConfNoResolver', 'one is a name'],
            [[{ server => $a }, { server => $a }], '409 EntryExists', 'twice'],
            [[{ server => $a }, { server => $a, backup => $yes }],
                '409 EntryExists', 'twice, in both tiers'],
            [[{ server => $a }, {}], '400 UpstreamConfFormatError',
                'no address'],
            [{ server => $a }, '400 UpstreamConfFormatError', 'no list'],
            [[{ server => $a, id => 1 }], '400 UpstreamBadServerId',
                'the id of a new one'],
            [[{ %$first, id => $first->{id} + 1 }],
                '400 UpstreamBadServerId', 'the id of another'],
            [[{ %$first, route => 'x' }], '400 UpstreamBadRoute',
                'another route'];
    is($times->state, $state, 'nothing has changed');

    $r = put($times, []);
    is(LRT::API::data($r)->{removed}, 2, 'an empty list');
    is(servers($times), '', 'no servers');
    is($t->get('/times')->status, 502, 'no answers');

    my $next = LRT::API::data($times->call(
        POST => 'servers', [{ server => $a }]))->[0]{id};
    cmp_ok($next, '>', $first->{id} + 1, 'ids are not used again');
};


subtest 'duplicates' => sub {
    my $state = $u->state;

    refused($u->call(POST => 'servers', $_->[0]), '409 EntryExists', $_->[1])
        for [{ server => $a }, 'it exists'],
            [{ server => $a, backup => $yes }, 'in the other tier'],
            [[{ server => $c }, { server => $a }], 'one of a list exists'],
            [[{ server => $c }, { server => $c }], 'twice in a list'];
    is($u->state, $state, 'nothing has changed');
};


subtest 'a trial run' => sub {
    my $state = $u->state;
    my $mark  = $t->log_mark;
    my $next;

    for my $query ('?dry_run=1', '?dry_run', '?x=1&dry_run=yes') {
        my $r = $u->call(POST => "servers/$query", { server => $c });
        is($r->status, 201, "POST $query");
        $next = LRT::API::data($r)->{id};

        $r = put($u, [{ server => $c }, { server => $a, weight => 2 }],
            $query);
        is_deeply(LRT::API::data($r),
            { added => 1, removed => 1, updated => 1, unchanged => 0 },
            "PUT $query");
        $r = $u->call(PATCH => "servers/$a$query", { weight => 5 });
        is(LRT::API::data($r)->{weight}, 5, "PATCH $query");
        $r = $u->call(DELETE => "servers/$a$query");
        is_deeply([map { $_->{server} } LRT::API::data($r)->@*], [$b],
            "DELETE $query");

        my $requests = sum0 map { $_->{requests} } $u->get->{peers}->@*;
        is($u->call(DELETE => $query)->status, 204, "DELETE of all $query");
        is(sum0(map { $_->{requests} } $u->get->{peers}->@*), $requests,
            'no counter is reset');

        refused($u->call(POST => "servers$query", { server => $a }),
            '409 EntryExists', "an error $query");
        is($u->state, $state, 'nothing has changed');
        is_deeply(answers(), { a => 12, b => 12 }, 'for requests either');
    }

    is($t->grep_log(qr/\[notice\].*upstream "u"/, $mark), 0,
        'nothing is logged');

    my $r = $u->call(POST => 'servers?dry_run=0', { server => $c });
    is(LRT::API::data($r)->{id}, $next, 'the id is that of the trial');
    is($u->call(DELETE => "servers/$next")->status, 200, 'it is there');
};


subtest 'conditions' => sub {
    my $list   = $u->call(GET => 'servers');
    my $tag    = $list->header('etag');
    my $number = $list->header('x-lrt-index');
    my $with   = sub ($name, $value, @call) {
        return $u->call(@call[0, 1, 2], headers => [$name => $value]);
    };

    like($tag, qr/^"\w+-$number"$/, 'a tag');
    is($u->call(GET => '')->header('etag'), $tag, 'the same of the status');

    for my $path ('servers', '') {
        my $r = $with->('If-None-Match', $tag, GET => $path, undef);
        is($r->status, 304, "'$path' has not changed");
        is($r->body, '', 'and is not sent');
        is($with->('If-None-Match', '"x"', GET => $path, undef)->status, 200,
            'another tag');
    }

    my $state = $u->state;
    refused($with->('If-Match', $_, PATCH => 'servers/0', { weight => 2 }),
        '412 PreconditionFailed', "If-Match: $_")
        for '"x"', 'W/"x"', "w/$tag", "x$tag", "${tag}x", '', '"",', $tag =~ s/"//gr;
    refused($with->('If-Match', '"x"', $_->[0] => $_->[1], $_->[2]),
        '412 PreconditionFailed', "$_->[0] $_->[1]")
        for [POST => 'servers', { server => $c }], [PUT => 'servers', []],
            [DELETE => "servers/$a"], [DELETE => ''];
    is($u->state, $state, 'nothing has changed');

    my $r = $with->('If-Match', " \"x\" , $tag\t",
        PATCH => "servers/$a", { weight => 2 });
    is($r->status, 200, 'the right tag');
    is($r->header('x-lrt-index'), $number + 1, 'the next generation');
    my $new = $r->header('etag');
    isnt($new, $tag, 'and tag');
    is($u->call(GET => 'servers')->header('etag'), $new, 'as the list has it');

    refused($with->('If-Match', $tag, PATCH => "servers/$a", { weight => 3 }),
        '412 PreconditionFailed', 'it cannot be used again');
    is($with->('If-Match', '*', PATCH => "servers/$a", { weight => 1 })
        ->status, 200, 'If-Match: *');

    # what "gzip" makes of a tag

    $tag = $u->call(GET => 'servers')->header('etag');
    is($with->('If-Match', "W/$tag", PATCH => "servers/$a", { weight => 1 })
        ->status, 200, 'a weak tag');
};


subtest 'what is logged' => sub {
    my $secret = LRT::API->new($t, base => '/secret/9')->group('u');
    my $user   = [
        Authorization => 'Basic ' . encode_base64('anna:secret', ''),
    ];
    my $mark   = $t->log_mark;
    my $number = $u->generation;
    my $logged = sub ($what, $name) {
        $number++;
        my @lines = $t->grep_log(
            qr/\[notice\].* upstream "u": $what; generation $number/, $mark);
        is(scalar @lines, 1, $name) or diag($t->log($mark));
        like($lines[0] // '', qr/ client: "?127\.0\.0\.1"?,/, "$name: who");
        return $lines[0];
    };

    $u->call(POST => 'servers', { server => $c, weight => 4 });
    my $id = $u->get("servers/$c")->{id};
    $logged->(qr/server \Q$c\E added, id $id, weight 4/, 'added');

    $u->call(PATCH => "servers/$c", { weight => 1, down => $yes,
        fail_timeout => '3s', lrt => { health => 'down' } });
    $logged->(qr/server \Q$c\E modified, weight 4 -> 1, fail_timeout ms /
        . qr/10000 -> 3000, down 0 -> 1, health auto -> down/,
        'modified');

    put($u, [map { { server => $_ } } $a, $b, $d]);
    $logged->(qr/list of 3 servers: 1 added, 1 removed, 0 updated, /
        . qr/2 unchanged/,
        'replaced');

    my $r = $secret->call(DELETE => "servers/$d", undef, headers => $user);
    is($r->status, 200, 'a user');
    like($logged->(qr/server \Q$d\E, id \d+, removed/, 'removed'),
        qr/, by user anna, client/, 'and his name');

    $mark = $t->log_mark;
    $u->call(DELETE => '');
    $number--;
    $logged->(qr/statistics reset/, 'reset');

    $u->call(PATCH => "servers/$a", { weight => 1 });
    $u->call(POST  => 'servers', []);
    is($t->grep_log(qr/upstream "u"/, $mark), 1,
        'what changes nothing is not logged');
    is($u->generation, $number, 'and gives no generation');
};


subtest 'counters begin anew' => sub {
    $t->many(10, '/u');
    $t->get('/u?status=404');
    at_rest('counters');
    my $state = $u->state;
    my $id    = $u->peer($a)->{id};

    my $r = $u->call(DELETE => '');
    is($r->status, 204, 'reset');
    is($r->body, '', 'no body');

    for my $peer ($u->get->{peers}->@*) {
        is_deeply([@$peer{qw(requests sent received fails)},
            $peer->{responses}{total}, $peer->{responses}{codes}],
            [0, 0, 0, 0, 0, {}], "$peer->{server}: all is 0");
        ok(!exists $peer->{response_time}, "$peer->{server}: no times");
        ok($peer->{selected}, "$peer->{server}: when it was asked");
    }

    is($u->state, $state, 'the list is the same');
    $t->many(4, '/u');
    at_rest('counters');
    is($u->peer($a)->{requests}, 2, 'and they count again');
    is($u->peer($a)->{id}, $id, 'the same server');
};


subtest 'a removed server keeps its request' => sub {
    $u->call(POST => 'servers', { server => $c });
    $u->call(PATCH => "servers/$_", { down => $yes }) for $a, $b;

    my $held = $t->begin('/u?delay=300&size=100000&body_delay=200');
    ok($t->wait_for(sub { ($u->peer($c) // {})->{active} }), 'a request');
    my $id = $u->peer($c)->{id};

    $u->call(DELETE => "servers/$c");
    $u->call(PATCH => "servers/$_", { down => $no }) for $a, $b;
    is($u->get->{zombies}, 1, 'a removed server in use');
    is(scalar $u->get->{peers}->@*, 2, 'it is not in the list');
    unlike($t->get('/metrics', port => 'api')->body, qr/server="\Q$c\E"/,
        'nor in the metrics');
    is_deeply(answers(), { a => 12, b => 12 }, 'it gets no new requests');

    my $r = $u->call(POST => 'servers', { server => $c });
    isnt(LRT::API::data($r)->{id}, $id, 'added again it is another one');
    is($u->peer($c)->{active}, 0, 'with no requests');

    $r = $held->receive;
    is($r->status . ' ' . length $r->body, '200 100000',
        'the request ends well');
    ok($t->wait_for(sub { $u->get->{zombies} == 0 }), 'it is gone');
    is($u->call(DELETE => "servers/$c")->status, 200, 'the other one as well');
    at_rest('a removed server');
};


subtest 'over a reload' => sub {
    $u->call(POST => 'servers', { server => $c, weight => 2 });
    $u->call(PATCH => "servers/$a", { weight => 3 });
    $u->call(DELETE => "servers/$b");
    $t->many(5, '/u');
    at_rest('before');

    my $load   = $t->load(uri => '/u', rate => 300, concurrency => 2);
    my $state  = $u->state;
    my $tag    = $u->call(GET => 'servers')->header('etag');
    my $before = $u->peer($a);

    conf()->reload;
    is($u->state, $state, 'servers, ids and generation stay');
    is($u->call(GET => 'servers')->header('etag'), $tag, 'and the tag');
    cmp_ok($u->peer($a)->{requests}, '>=', $before->{requests},
        'and counters');
    is($api->get('/nginx')->{generation}, 2, 'the configuration is a new one');

    conf('512k')->reload;
    is($u->state =~ s/^200 \d+ //r, $state =~ s/^200 \d+ //r,
        'also with a larger zone');
    is($u->call(POST => 'servers', { server => $d })->status, 201, 'it works');

    my $totals = $load->stop;
    is_deeply($totals->{failed}, {}, 'no request has failed')
        or diag($load->summary);
    at_rest('after');
};


# A body that comes while nginx reads a new configuration is served by a
# worker of the old one.

for my $zone ('512k', '1m') {
    $t->wait_for(sub { !$t->old_workers });

    subtest 'through an old worker, zone '
        . ($zone eq '1m' ? 'replaced' : 'the same') => sub
    {
        my $body   = LRT::API::encode([{ server => '127.0.0.1:9',
            down => $yes }]);
        my $client = $t->client(port => 'api');
        $client->send(LRT::HTTP::request_text(PUT => $u->uri('servers'),
            headers => ['Content-Length' => length $body,
                Expect => '100-continue']));
        like($client->receive_bytes(25), qr/ 100 /, 'the worker waits for it');

        my $state = $u->state;
        conf($zone)->reload;
        ok($t->wait_for(sub { $t->old_workers == 1 }), 'an old worker');

        $client->send($body);
        my $r = $client->receive;

        if ($zone eq '1m') {
            refused($r, '503 UpstreamReplaced', 'it is refused');
            is($u->state =~ s/^200 \d+ //r, $state =~ s/^200 \d+ //r,
                'nothing has changed');
        } else {
            is($r->status, 200, 'it is done');
            is_deeply($u->all('server'), { '127.0.0.1:9' => '127.0.0.1:9' },
                'for all');
        }

        $client->close;
        put($u, [map { { server => $_ } } $a, $b]);
        is_deeply(answers(), { a => 12, b => 12 }, 'all goes on');
    };
}


subtest 'the lock' => sub {
    plan skip_all => 'no test hooks' unless $hooks;

    my $hold = $hooks->held(1000);
    my $wait = $u->begin(POST => 'servers', { server => $c });
    is(scalar $u->servers->@*, 2, 'who finds it taken waits');
    my $r    = $wait->receive;
    is($r->status, 201, 'until it is free');
    is($hold->receive->status, 200, 'it was given back');

    $t->expect_alerts(
        qr/exited on signal 9/, qr/zone "lrt:u" was locked by \d+$/);
    $hooks->die_locked->receive;
    $r = $u->call(DELETE => "servers/$c");
    is($r->status, 200, 'its holder may die');

    unless ($ENV{LRT_QUICK}) {
        $hold = $hooks->held(3500);
        my $state = $u->state;
        my $waits = $u->begin(PATCH => "servers/$a", { weight => 7 });
        my $gone  = $u->begin(PATCH => "servers/$a", { weight => 8 });
        is($u->state, $state, 'the list can be read');
        is_deeply(answers(), { a => 12, b => 12 }, 'requests are served');
        $gone->reset;
        refused($waits->receive, '503 UpstreamLocked', 'some wait in vain');
        is($hold->receive->status, 200, 'it was given back');
        is($u->state, $state, 'nothing has changed');
    }

    at_rest('the lock');
};

$t->done;
