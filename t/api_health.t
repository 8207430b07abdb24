#!/usr/bin/perl

# Health in the API: what checks have found, a probe now, and checks that
# change while nginx runs.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(time);
use Time::Local qw(timegm);

use LRT;
use LRT::API;

my $t = LRT->new(
    name => 'api_health', need => [qw(module proxy rewrite upstream_zone)]);

$t->backend($_) for qw(a b c);

my %at = map { ($_ => $t->address($_)) } qw(a b c closed);

my $http = q{
    lrt_match good { status 200; }

    upstream u {
        zone u 128k;
        lrt_health_check interval=100ms jitter=0% fails=2 passes=2 uri=/u;
        server %%ADDRESS_a%%;
        server %%ADDRESS_closed%%;
        server %%ADDRESS_b%% down;
    }
    upstream slow {
        zone slow 128k;
        lrt_health_check interval=1h uri=/slow;
        lrt_health_check interval=1h type=tcp;
        server %%ADDRESS_c%%;
        server %%ADDRESS_closed%%;
    }
    upstream plain {
        zone plain 128k;
        least_conn_ext;
        server %%ADDRESS_b%%;
        server %%ADDRESS_closed%% max_fails=1 fail_timeout=60s;
    }
    upstream waits {
        zone waits 128k;
        lrt_health_check interval=1h mandatory uri=/waits;
        server %%ADDRESS_b%%;
    }

    server {
        listen 127.0.0.1:%%PORT_http%%;
        location ~ ^/(?<group>\w+) { proxy_pass http://$group; }
    }
    server {
        listen 127.0.0.1:%%PORT_api%%;
        location /api { lrt_api write=on unix=on; }
        location /metrics { lrt_metrics; }
    }
};

$t->conf(workers => 2, http => $http)->start;

my ($yes, $no) = (LRT::API::true, LRT::API::false);

my $api = LRT::API->new($t);
my $own = LRT::API->new($t, base => '/api/lrt/1/upstreams');

my ($u, $slow, $plain, $waits)
    = map { $api->group($_) } qw(u slow plain waits);


# The server of a group as soon as the condition holds for it.

sub peer_when ($group, $name, $condition) {
    my $peer;
    $t->wait_for(sub {
        $peer = $group->peer($at{$name});
        local $_ = $peer;
        $condition->();
    });
    return $peer;
}


sub in_state ($group, $name, $state) {
    return peer_when($group, $name, sub { $_->{state} eq $state });
}


sub seconds ($moment) {
    my ($y, $m, $d, $h, $min, $s)
        = $moment =~ /^(\d+)-(\d+)-(\d+)T(\d+):(\d+):([\d.]+)Z$/
        or die "$moment\n";
    return timegm(int $s, $min, $h, $d, $m - 1, $y) + $s - int $s;
}


sub set ($group, $settings, %o) {
    return $group->call(PATCH => '?fields=lrt', $settings, %o);
}


sub check ($group, $server, $args = '') {
    return $own->call(POST => "/$group/servers/$server/check$args");
}


sub probes ($backend, $uri) {
    return scalar grep { $_->{uri} eq $uri } $t->backend($backend)->requests;
}

###############################################################################

subtest 'what checks have found' => sub {
    my $peer = peer_when($u, 'a', sub { $_->{health_checks}{checks} > 2 });

    is($peer->{state}, 'up', 'it passes: state');
    is_deeply([$peer->{health_checks}->@{qw(fails unhealthy last_passed)}],
        [0, 0, $yes], 'it passes: figures');
    is_deeply([@$peer{qw(downtime downstart)}, $peer->{lrt}{turns}],
        [0, undef, 0], 'it passes: no downtime');

    my ($last, @more) = $peer->{lrt}{last_check}->@*;

    is(scalar @more, 0, 'it passes: one check');
    is_deeply([@$last{qw(check verdict against passed status reason)}],
        [0, 'passing', 0, $yes, 200, 'passed'], 'it passes: the last one');
    cmp_ok(abs(time - seconds($last->{time})), '<', 5, 'it passes: when');
    cmp_ok($last->{duration_us}, '>', 0, 'it passes: how long it took');

    $peer = in_state($u, 'closed', 'unhealthy');
    $last = $peer->{lrt}{last_check}[0];

    is_deeply([@$last{qw(verdict passed status reason)}],
        ['failing', $no, undef, 'connection refused'],
        'it fails: the last one');
    is_deeply([$peer->{health_checks}->@{qw(unhealthy last_passed)}],
        [1, $no], 'it fails: figures');
    is($peer->{health_checks}{fails}, $peer->{health_checks}{checks},
        'it fails: all of them');
    is($peer->{lrt}{turns}, 1, 'it fails: it has turned');

    my $later = peer_when($u, 'closed',
        sub { $_->{downtime} > $peer->{downtime} + 100 });

    cmp_ok($later->{downtime}, '>', $peer->{downtime} + 100,
        'it fails: downtime');
    cmp_ok(abs(time - $later->{downtime} / 1000
        - seconds($later->{downstart})), '<', 1, 'it fails: since when');

    is_deeply($u->peer($at{b})->{lrt}{last_check},
        [{ check => 0, verdict => 'unchecked' }], 'it is down: not checked');
    is_deeply($u->peer($at{b})->{health_checks},
        { checks => 0, fails => 0, unhealthy => 0 }, 'it is down: figures');
};


subtest 'there and back' => sub {
    $t->backend('a')->set(status => 503);

    my $peer = in_state($u, 'a', 'unhealthy');
    my $last = $peer->{lrt}{last_check}[0];

    is_deeply([@$last{qw(verdict passed status)}], ['failing', $no, 503],
        'it fails');
    like($last->{reason}, qr/status/, 'the reason');
    ok($peer->{downstart}, 'there is a beginning');

    $t->backend('a')->set;
    $peer = in_state($u, 'a', 'up');

    is_deeply([$peer->{lrt}{turns}, $peer->{health_checks}{unhealthy}], [2, 1],
        'it passes: turns');
    is($peer->{downstart}, undef, 'it passes: nothing has begun');
    cmp_ok($peer->{downtime}, '>', 0, 'it passes: its downtime');
    is($u->peer($at{a})->{downtime}, $peer->{downtime},
        'it passes: that has ended');

    $u->call(PATCH => 'servers/0', { lrt => { health => 'down' } });
    $peer = $u->peer($at{a});
    is_deeply([@$peer{qw(state downstart)}], ['unhealthy', undef],
        'forced down: nobody knows since when');
    $u->call(PATCH => 'servers/0', { lrt => { health => 'auto' } });

    is($u->call(DELETE => '')->status, 204, 'counters');
    $peer = $u->peer($at{a});
    is_deeply([$peer->{lrt}{turns}, $peer->{downtime},
        $peer->{health_checks}{unhealthy}], [0, 0, 0], 'they begin anew');
    is($peer->{lrt}{last_check}[0]{verdict}, 'passing',
        'what is known stays');
};


subtest 'failures of requests' => sub {
    my $before = time;

    ok($t->wait_for(sub {
        $t->get('/plain');
        $plain->peer($at{closed})->{state} eq 'unavail';
    }), 'they shut it out');

    my $peer = peer_when($plain, 'closed', sub { $_->{downtime} > 20 });

    cmp_ok($peer->{downtime}, '>', 20, 'downtime');
    cmp_ok(seconds($peer->{downstart}), '>', $before - 1, 'since when');
    is_deeply([@{$peer->{lrt}}{qw(turns last_check)}], [undef, undef],
        'no checks');
};


subtest 'a mandatory check' => sub {
    $t->backend('c')->set(delay => 300);
    is($waits->call(POST => 'servers', { server => $at{c} })->status, 201,
        'a new server');
    is($waits->peer($at{c})->{state}, 'checking', 'its state');
    ok($waits->peer($at{c})->{downstart}, 'since when');
    is(in_state($waits, 'c', 'up')->{state}, 'up', 'it passes');
    $t->backend('c')->set;
};

###############################################################################

subtest 'a probe now' => sub {
    my $peer = peer_when($slow, 'c', sub {
        $_->{health_checks}{checks} == 2 });
    my $n = probes('c', '/slow');

    is_deeply([map { $_->{verdict} } $peer->{lrt}{last_check}->@*],
        ['passing', 'passing'], 'two checks');
    is($peer->{lrt}{last_check}[1]{status}, undef, 'tcp: no status');

    my $r = check('slow', 0, '?wait=10s');

    is($r->status, 200, 'with its result');
    is_deeply([sort keys $r->json->%*], [qw(downtime health_checks id
        last_check server state turns)], 'members');
    is_deeply([@{$r->json}{qw(id server state)}], [0, $at{c}, 'up'],
        'what it says');
    cmp_ok($r->json->{health_checks}{checks}, '>=', 3, 'figures');
    is(probes('c', '/slow'), $n + 1, 'one request');

    is(check('slow', $at{c}, '?dry_run=1')->status, 202, 'dry run');
    $r = check('slow', $at{c});
    is($r->status, 202, 'without waiting');
    ok($t->wait_for(sub { probes('c', '/slow') == $n + 2 }), 'it comes');
    $peer = peer_when($slow, 'c', sub { $_->{health_checks}{checks} == 6 });
    is($peer->{health_checks}{checks}, 6, 'and no more');

    $t->backend('c')->set(delay => 400);
    $r = check('slow', 0, '?wait=100ms');
    is($r->status, 202, 'its result comes later');
    is(peer_when($slow, 'c', sub { $_->{health_checks}{checks} == 8 })
        ->{health_checks}{checks}, 8, 'it came');
    $t->backend('c')->set;

    $r = check('slow', 1, '?wait=10s');
    is_deeply([$r->status, map { $_->{reason} } $r->json->{last_check}->@*],
        [200, ('connection refused') x 2], 'of a server that fails');

    for (['u', 2, '', '409 UpstreamServerDown', 'down'],
        ['plain', 0, '', '409 UpstreamNoChecks', 'no checks'],
        ['plain', 9, '', '404 UpstreamServerNotFound', 'no server'],
        ['slow', 0, '?wait=soon', '400 BadArgument', 'no time'])
    {
        my ($group, $id, $args, $fault, $name) = @$_;
        is(LRT::API::fault(check($group, $id, $args)), $fault, $name);
    }
};

###############################################################################

subtest 'checks that change' => sub {
    is_deeply([$plain->get('?fields=lrt')->{lrt}->@{
        qw(slow_start panic health_checks)}], ['0s', 'off', []], 'none');

    my $mark = $t->log_mark;
    my $dry  = $plain->call(PATCH => '?dry_run', { health_checks => [{}] });
    my $tag  = $plain->call(GET => '')->header('ETag');

    is($dry->status, 204, 'dry run');
    is_deeply($plain->get('?fields=lrt')->{lrt}{health_checks}, [],
        'dry run: none');

    my $r = set($plain, { slow_start => 2, panic => '12.5%', health_checks => [
        { uri => '/p', interval => '100ms', match => 'good' },
        { type => 'tcp', interval => '200ms', fails => 1 },
    ] }, headers => ['If-Match' => $tag]);

    is($r->status, 200, 'two of them') or diag($r->body);
    is_deeply([$r->json->{lrt}->@{qw(slow_start panic health_checks)}],
        ['2s', '12.5%', [
            { type => 'http', uri => '/p', interval => '100ms',
                timeout => '100ms', jitter => '10%', fails => 3, passes => 2,
                match => 'good' },
            { type => 'tcp', interval => '200ms', timeout => '200ms',
                jitter => '10%', fails => 1, passes => 2 },
        ]], 'two of them: what they are');

    my ($line, @more) = $t->grep_log(qr/\[notice\].*upstream "plain"/, $mark);
    is(scalar @more, 0, 'one line in the log');
    like($line, qr/"plain": slow_start 0s -> 2s, panic off -> 12.5%, health_checks none -> \(lrt_health_check uri=\/p interval=100ms match=good\) \(lrt_health_check type=tcp interval=200ms fails=1\); generation 2, client: "?127/,
        'what it says');

    ok($t->wait_for(sub { probes('b', '/p') > 1 }), 'probes come');
    is(in_state($plain, 'closed', 'unhealthy')->{state}, 'unhealthy',
        'servers fail');

    is(LRT::API::fault(set($plain, { panic => 'off' },
        headers => ['If-Match' => $tag])), '412 PreconditionFailed',
        'another tag');

    my $generation = $plain->generation;
    $r = set($plain, $plain->get('?fields=lrt')->{lrt}{health_checks});
    is(LRT::API::fault($r), '400 UpstreamConfFormatError', 'a list');
    $r = set($plain, { health_checks =>
        $plain->get('?fields=lrt')->{lrt}{health_checks} });
    is($r->status, 200, 'what was read, sent back');
    is($plain->generation, $generation, 'that changes nothing');

    is(set($plain, { method => 'round_robin_ext', panic => 'off' })->status,
        200, 'with a method');
    is_deeply([$plain->get('?fields=lrt')->{lrt}->@{qw(method panic)}],
        ['round_robin_ext', 'off'], 'both');

    is(set($plain, { health_checks => [] })->status, 200, 'none again');
    unlike(peer_when($plain, 'closed', sub { $_->{state} ne 'unhealthy' })
        ->{state}, qr/unhealthy/, 'servers are free');
    is($plain->peer($at{closed})->{lrt}{last_check}, undef, 'none is known');
};


subtest 'checks that cannot be' => sub {
    my $before = $u->state;

    for (
        [{ interval => 0 }, qr/^check 0: "interval" must be from 10ms to 7d/],
        [{ interval => '8d' }, qr/"interval" must be/],
        [{ interval => 'x' }, qr/^check 0: invalid value of "interval"/],
        [{ timeout => '6s' }, qr/"timeout" 6000ms .* "interval" 5000ms/],
        [{ timeout => 0 }, qr/invalid value of "timeout"/],
        [{ jitter => '101%' }, qr/invalid value of "jitter"/],
        [{ jitter => 10 }, qr/invalid value of "jitter"/],
        [{ fails => 0 }, qr/invalid value of "fails"/],
        [{ passes => 0 }, qr/invalid value of "passes"/],
        [{ fails => 10_001 }, qr/invalid value of "fails"/],
        [{ port => 65_536 }, qr/invalid value of "port"/],
        [{ port => '80' }, qr/invalid value of "port"/],
        [{ uri => 'x' }, qr/invalid "uri"/],
        [{ uri => "/\r\nHost: x" }, qr/invalid "uri"/],
        [{ host => 'a b' }, qr/invalid "host"/],
        [{ uri => '/' . 'x' x 300, host => 'x' x 300 },
            qr/texts are longer than 512 bytes/],
        [{ uri => 'x' x 513 }, qr/invalid value of "uri"/],
        [{ match => 'bad' }, qr/there is no "lrt_match bad"/],
        [{ type => 'icmp' }, qr/invalid value of "type"/],
        [{ type => 'tcp', uri => '/' }, qr/type "tcp" sends nothing/],
        [{ type => 'https' }, qr/certificates that the system trusts|with-http_ssl/],
        [{ ssl_name => 'x' }, qr/need "type=https"/],
        [{ persistent => $yes }, qr/"persistent" needs "mandatory"/],
        [{ mandatory => 1 }, qr/invalid value of "mandatory"/],
    ) {
        my ($check, $reason) = @$_;
        my $r = set($u, { health_checks => [$check] });
        is(LRT::API::fault($r), '400 UpstreamBadHealthCheck',
            LRT::API::encode($check) =~ s/x{9,}/.../gr);
        like(LRT::API::reason($r), $reason, 'the reason');
    }

    for (
        [{ health_checks => [{}, { url => '/' }] }, 'UpstreamConfFormatError',
            qr/^check 1: unknown parameter "url"/],
        [{ health_checks => [({}) x 5] }, 'UpstreamConfFormatError',
            qr/"health_checks" has more than 4 elements/],
        [{ health_checks => {} }, 'UpstreamConfFormatError',
            qr/a list "health_checks" is expected/],
        [{ health_checks => ['/'] }, 'UpstreamConfFormatError',
            qr/^check 0: an object is expected/],
        [{ slow_start => 'x' }, 'UpstreamBadSlowStart', qr/"slow_start"/],
        [{ panic => '100.1%' }, 'UpstreamBadPanic', qr/"panic"/],
        [{ panic => 10 }, 'UpstreamBadPanic', qr/"panic"/],
        [{}, 'UpstreamConfFormatError', qr/"health_checks" is expected/],
        ['{"panic":', 'JsonError', qr/unexpected end/],
        ['{"panic":}', 'JsonError', qr/at line 1, column 10/],
    ) {
        my ($settings, $code, $reason) = @$_;
        my $r = set($u, $settings);
        like(LRT::API::fault($r), qr/^4\d\d $code$/, LRT::API::encode($settings));
        like(LRT::API::reason($r), $reason, 'the reason');
    }

    is($u->state, $before, 'nothing has changed');
};


subtest 'a port, and unix sockets' => sub {
    my $fault  = '400 UpstreamCheckPort';
    my $socket = { server => 'unix:/tmp/none.sock' };

    is(set($waits, { health_checks => [{}, { port => 8080 }] })->status, 200,
        'a port');

    my $r = $waits->call(POST => 'servers', $socket);
    is(LRT::API::fault($r), $fault, 'a socket is refused');
    like(LRT::API::reason($r), qr/"port" 8080 of check 1 .*unix socket/,
        'the reason');
    is(LRT::API::fault($waits->call(PUT => 'servers', [$socket])), $fault,
        'in a list as well');

    is(set($waits, { health_checks => [] })->status, 200, 'no port');
    is($waits->call(POST => 'servers', $socket)->status, 201, 'a socket');
    is(LRT::API::fault(set($waits, { health_checks => [{ port => 8080 }] })),
        $fault, 'a port is refused');
};

###############################################################################

subtest 'as a configuration' => sub {
    my $uri = q(/a;b"c\\d$e{f}'g#h);

    is(set($plain, { panic => '20.5%', slow_start => '1500ms',
        health_checks => [
            { uri => $uri, host => 'example.org', port => 8080,
                interval => '2500ms', timeout => '1s', jitter => '0%',
                mandatory => $yes, persistent => $yes, requests => 100 },
            { type => 'tcp', interval => 3600 }, {},
        ] })->status, 200, 'settings');

    my $lines  = $own->call(GET => '/plain/config?format=nginx')->body;
    my $config = $own->call(GET => '/plain/config')->json;

    like($lines, qr/^lrt_slow_start 1500ms;$/m, 'slow start');
    like($lines, qr/^lrt_panic 20.5%;$/m, 'panic');
    like($lines, qr/^lrt_health_check;$/m, 'a check as by default');
    like($lines, qr/^lrt_health_check type=tcp interval=3600s;$/m, 'another');

    $t->conf(workers => 2, http =>
        $http =~ s/upstream plain \{\K.*?\}/zone plain 128k;\n$lines}/sr);

    my ($good, $said) = $t->test_config;
    ok($good, 'they are a configuration') or diag($said);

    $t->reload;
    is_deeply($own->call(GET => '/plain/config')->json, $config,
        'that means the same');
};


subtest 'metrics' => sub {
    my $text = $t->get('/metrics', port => 'api')->body;
    my $peer = $u->peer($at{closed});
    my $of   = sub ($group, $server, $name, $labels = '') {
        my ($value) = $text =~ /^nginx_lrt_upstream_server_$name\{
            upstream="$group",server="$at{$server}"$labels\}\ (\S+)$/mx;
        return $value;
    };

    is($of->(u => closed => 'state', ',state="unhealthy"'), 1, 'state');
    cmp_ok($of->(u => closed => 'health_checks_total', ',result="fail"'),
        '>', 1, 'probes that failed');
    is($of->(u => closed => 'health_checks_total', ',result="pass"'), 0,
        'probes that passed');
    cmp_ok($of->(u => a => 'health_checks_total', ',result="pass"'), '>', 1,
        'of another server');
    like($of->(u => a => 'health_check_duration_seconds', ',check="0"'),
        qr/^0\.\d{6}$/, 'duration');
    cmp_ok(abs(time - $of->(u => a => 'last_check_timestamp_seconds',
        ',check="0"')), '<', 5, 'time');
    is($of->(u => a => 'health_transitions_total'), 0, 'turns');
    cmp_ok($of->(u => closed => 'downtime_seconds_total'), '>',
        ($peer->{downtime} - 1000) / 1000, 'downtime');
    is($of->(u => b => 'health_check_duration_seconds', ',check="0"'), undef,
        'of a server that was not probed: none');
};

$t->done;
