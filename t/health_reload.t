#!/usr/bin/perl

# Active checks over reloads: verdicts stay with the servers and end with the
# checks; old workers leave the probing to new ones, at once.

use v5.36;

use Fcntl qw(O_NONBLOCK O_RDONLY);
use FindBin;
use lib "$FindBin::Bin/lib";
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

use LRT;
use LRT::API;
use LRT::Checks;
use LRT::Net qw(timeout);
use LRT::Raw;

my $t   = LRT->new(name => 'health_reload', need => [qw(module proxy)]);
my $raw = LRT::Raw->new($t);
my $ms  = timeout(250);
my $check = "lrt_health_check interval=${ms}ms timeout=${ms}ms";

# as often, but not before the state was looked at
my $rare  = 'lrt_health_check interval=3s timeout=1s';

my %s = map { ($_ => $raw->server($_)) } qw(a b c);
$t->backend('slow');

my $u = LRT::Checks->new($t, 'u');


sub conf ($inside, $workers = 2, $main = '', $http = '') {
    return $t->conf(workers => $workers, main => $main, http => qq{
        $http
        upstream u {
            $inside
        }
        upstream slow { server %%ADDRESS_slow%%; }
        server {
            listen 127.0.0.1:%%PORT_http%%;
            location / { proxy_pass http://u; proxy_next_upstream off; }
            location /slow { proxy_pass http://slow; }
        }
    } . LRT::Checks::server());
}


my $servers = 'server %%ADDRESS_a%%; server %%ADDRESS_b%%;';


sub fails ($name)  { $s{$name}->set(status => 500) }
sub passes ($name) { $s{$name}->set }

sub probes ($name) { return scalar(my @probes = $s{$name}->probes) }
sub others ($name) { return scalar(my @others = $s{$name}->others) }


sub states () {
    return join ' ', map { "$_ " . ($u->state($_) // 'none') } qw(a b);
}


sub uris ($name) {
    my %uris = map { $_->{text} =~ /^GET (\S+)/ ? ($1 => 1) : () }
        $s{$name}->probes;
    return join ' ', sort keys %uris;
}

###############################################################################

subtest 'verdicts stay' => sub {
    fails('a');
    conf("$servers $rare fails=1;")->start;
    ok($u->becomes(a => 'unhealthy'), 'a server fails');
    ok($t->wait_for(sub { probes('b') }), 'the other passes');

    my $mark = $t->log_mark;
    $_->clear for values %s;

    for my $case (
        ['the same',         "$servers $rare fails=1;"],
        ['another interval', "$servers $rare fails=2 jitter=5%;"],
        ['another order',
            "server %%ADDRESS_b%%; server %%ADDRESS_a%%; $rare fails=2;"],
        ['a zone',           "zone u 256k; $servers $rare fails=2;"],
        ['a larger zone',    "zone u 1m; $servers $rare fails=2;"],
        ['no zone',          "$servers $rare fails=2;"],
        ['another method',   "least_conn_ext; $servers $rare fails=2;"],
        ['another server',
            "$servers server %%ADDRESS_c%%; $rare fails=2;"],
    ) {
        my ($name, $inside) = @$case;

        conf($inside)->reload;
        is(states(), 'a unhealthy b up', "$name: as before");
        is_deeply($t->many(6, '/'), { ok => 6 }, "$name: requests");
    }

    is(others('a'), 0, 'the one that fails has got none of them');
    is(scalar $t->grep_log(qr/: upstream "u": server/, $mark), 0,
        'nothing has turned');

    passes('a');
    conf("$servers $check fails=2;")->reload;
    ok($u->becomes(a => 'up'), 'until it passes');
};


subtest 'other checks' => sub {
    fails('a');
    conf("$servers $check fails=1;")->reload;
    ok($u->becomes(a => 'unhealthy'), 'a server fails');

    conf("$servers $check fails=3 uri=/other;")->reload;
    $t->wait_for(sub { !$t->old_workers });
    $s{a}->clear;
    ok($t->wait_for(sub { probes('a') > 3 }), 'another question');
    is(uris('a'), '/other', 'it is asked');
    ok($u->becomes(a => 'unhealthy'), 'and fails');

    conf("$servers $check fails=3 uri=/new; $check uri=/more;")->reload;
    is($u->state('a'), 'up', 'what was asked before does not matter');
    ok($u->becomes(a => 'unhealthy'), 'it fails again');
    ok($t->wait_for(sub { uris('b') =~ m{/more /new} }), 'two checks');

    conf("round_robin_ext; $servers")->reload;
    is(states(), 'a up b up', 'no check, no verdict');
    $t->wait_for(sub { !$t->old_workers });
    $_->clear for values %s;
    sleep timeout(0.6);
    is(probes('a') + probes('b'), 0, 'and no probe');

    conf("$servers $check fails=1;")->reload;
    ok($u->becomes(a => 'unhealthy'), 'with a check again');
    is($u->state('b'), 'up', 'for each server');
    passes('a');
    ok($u->becomes(a => 'up'), 'and back');
};


subtest 'mandatory and persistent' => sub {
    conf("$servers $check mandatory;")->reload;
    ok($u->all_become('up'), 'all pass');

    $_->set(answers => []) for values %s;
    conf("$servers $rare mandatory;")->reload;
    is(states(), 'a up b up', 'the same question: it is answered');

    conf("$servers $rare mandatory uri=/2;")->reload;
    is(states(), 'a checking b checking', 'another one: it is not');
    is($t->get('/')->status, 502, 'no requests');

    passes($_) for keys %s;
    conf("$servers $check mandatory persistent uri=/3;")->reload;
    ok($u->all_become('up'), 'all pass');

    $_->set(answers => []) for values %s;
    conf("$servers server %%ADDRESS_c%%; $rare mandatory persistent uri=/4;")
        ->reload;
    is(states(), 'a up b up', 'persistent: they stay so');
    is($u->state('c'), 'checking', 'but not one that is new');
    passes($_) for keys %s;
    conf("$servers server %%ADDRESS_c%%; $check mandatory persistent uri=/4;")
        ->reload;
    ok($u->all_become('up'), 'until it has passed');
};


subtest 'a server is removed while it is probed' => sub {
    conf("$servers lrt_health_check interval=30s timeout=30s;")->reload;
    $s{c}->set(answers => []);
    $s{c}->clear;

    for my $try (1 .. 3) {
        my $mark = $t->log_mark;

        is($u->api->call(POST => 'servers/',
            { server => $s{c}->address })->status, 201, 'added');
        ok($t->wait_for(sub { probes('c') == $try }), 'a probe');
        is($u->api->call(DELETE => 'servers/' . $u->id('c'))->status, 200,
            'removed');
        ok($t->wait_for(sub {
            !grep { !$_->{ended} } $s{c}->connections
        }, 2), 'its connection is closed');
        is(scalar(my @turns = $u->turns($mark, 'c')), 0, 'nobody fails');
    }

    passes('c');
    is($u->api->call(POST => 'servers/',
        { server => $s{c}->address })->status, 201, 'added again');
    ok($t->wait_for(sub { probes('c') == 4 }), 'a probe');
    is($u->state('c'), 'up', 'it is up');
};


subtest 'an old worker' => sub {
    conf("$servers $check keepalive_time=1h fails=1;")->reload;
    ok($t->wait_for(sub { !$t->old_workers }), 'no old workers');
    ok($t->wait_for(sub { probes('a') > 2 }), 'probes');

    my @requests = map { $t->begin('/slow?hang=1') } 1 .. 8;
    ok($t->wait_for(sub { $t->backend('slow')->stats->{active} == 8 }),
        'long requests');

    $t->reload;
    ok($t->wait_for(sub {
        1 == grep { !$_->{ended} } $s{a}->connections
    }, 3), 'its connections are closed, those of a new one are there');
    cmp_ok(scalar $t->old_workers, '>', 0, 'though it has to wait');

    my $mark = $t->log_mark;
    fails('a');
    ok($u->becomes(a => 'unhealthy'), 'who probes writes to the log');
    my ($pid) = map { /\] (\d+)#/ } $t->grep_log(qr/-> unhealthy/, $mark);
    is(scalar(grep { $_ == $pid } $t->workers), 1, 'that is a new one');
    passes('a');

    my $seconds = timeout(2);
    $_->clear for values %s;
    sleep $seconds;
    my $rate = probes('a') / $seconds * $ms / 1000;
    cmp_ok($rate, '<', 1.3, 'nobody probes twice');
    cmp_ok($rate, '>', 0.5, 'somebody does');

    $_->reset for @requests;
    ok($t->wait_for(sub { !$t->old_workers }), 'it leaves when it can');
};


subtest 'extra rounds' => sub {
    my $every = 'lrt_health_check interval=1h requests=20;';

    conf("$servers $every")->reload;
    ok($t->wait_for(sub { !$t->old_workers }), 'no old workers');
    $_->clear for values %s;

    # not before somebody counts

    ok($t->wait_for(sub {
        $t->many(30, '/');
        $t->wait_for(sub { probes('a') && probes('b') }, 1.2);
    }, 10), 'one more probe after some requests');

    sleep timeout(1);           # those of the rest
    $_->clear for values %s;
    conf("$servers $every lrt_panic 10%;")->reload;
    sleep timeout(1.5);
    is(probes('a') + probes('b'), 0, 'they do not count again');
};


subtest 'what a check of run time needs' => sub {
    my @with = (2, '', 'lrt_match ok { status 200; }');

    conf("$servers $check;", @with)->reload;
    is($u->api->call(PATCH => '', { health_checks => [{ match => 'ok',
        interval => "${ms}ms" }] })->status, 200, 'a check of run time');

    conf("$servers $check;");
    like($t->reload_error, qr/check 0 of upstream "u", which was set at run time: there is no "lrt_match ok" in \S+:\d+/,
        'a reload without its lrt_match');

    $_->clear for values %s;
    ok($t->wait_for(sub { probes('a') > 2 }), 'probes go on');

    conf("$servers $check;", @with)->reload;
    ok($u->all_become('up'), 'a reload with it');
    conf("$servers $check jitter=5%;")->reload;
    ok($u->all_become('up'), 'one with another check needs it no more');
};


subtest 'a port of run time, and unix sockets' => sub {
    my $socket  = 'server unix:%%DIR%%/none.sock;';
    my $refused = qr/check \d of upstream "u" has "port", and the unix socket unix:\S+ has none: one of them was set at run time in \S+:\d+/;
    my $port    = { health_checks => [{ port => 8080 }] };

    conf("$servers $check;")->reload;
    is($u->api->call(PATCH => '', $port)->status, 200, 'a port');
    conf("$servers $socket $check;");
    like($t->reload_error, $refused, 'a reload with a unix socket');
    conf("$servers $check fails=2;")->reload;

    is($u->api->call(POST => 'servers',
        { server => 'unix:' . $t->dir . '/none.sock' })->status, 201,
        'a socket');
    conf("$servers $check port=%%PORT_none%%;");
    like($t->reload_error, $refused, 'a reload with a port');

    # what the API has removed stays away

    conf("$servers $socket $check;")->reload;
    my ($id) = map { $_->{id} } grep { $_->{server} =~ /^unix/ }
        $u->api->get->{peers}->@*;
    is($u->api->call(DELETE => "servers/$id")->status, 200, 'no socket');
    is($u->api->call(PATCH => '', $port)->status, 200, 'a port');
    conf("$servers $socket $check; lrt_slow_start 1s;")->reload;
    pass('a reload with what was removed');
    conf("$servers $check;")->reload;
};


# A check is set while the new configuration, which has been read, waits for
# a log that nobody reads.

subtest 'what came too late to be refused' => sub {
    my @with = (2, '', 'lrt_match ok { status 200; }');
    my $fifo = $t->dir . '/fifo';

    conf("$servers $check;", @with)->reload;
    ok($t->wait_for(sub { !$t->old_workers }), 'no old workers');

    POSIX::mkfifo($fifo, 0600) or die "$fifo: $!\n";
    conf("$servers $check;", 2, '',
        "access_log $fifo.before; access_log $fifo;");
    my $mark = $t->log_mark;
    $t->signal('HUP');
    ok($t->wait_for(sub { -e "$fifo.before" }), 'a configuration is read');

    is($u->api->call(PATCH => '', { health_checks => [
        { match => 'ok', interval => "${ms}ms", uri => '/one' },
        { interval => "${ms}ms", uri => '/two', fails => 1 },
    ] })->status, 200, 'a check that it does not have the lrt_match of');

    sysopen my $reader, $fifo, O_RDONLY | O_NONBLOCK or die "$fifo: $!\n";

    my $left_out = qr/checks of upstream "u": check 0 is left out: there is no "lrt_match ok"/;
    ok($t->wait_for(sub { $t->grep_log($left_out, $mark) }), 'it is left out');
    $t->wait_for(sub { !$t->old_workers });
    $_->clear for values %s;
    ok($t->wait_for(sub { probes('a') > 2 }), 'the other is not');
    is(uris('a'), '/two', 'really');
    is(scalar $t->grep_log($left_out, $mark), 1, 'the log says so once');
    is_deeply($u->api->get->{lrt}{skipped_checks},
        [{ check => 0, reason => 'there is no "lrt_match ok"' }],
        'the API as well');

    fails('a');
    ok($u->becomes(a => 'unhealthy'), 'who fails it is out of use');
    passes('a');
    ok($u->becomes(a => 'up'), 'who passes it is back');

    my $id = $u->id('a');
    is(LRT::API->new($t, base => '/api/lrt/1/upstreams')
        ->call(POST => "/u/servers/$id/check?wait=5s")->status, 200,
        'a probe now waits for the one that is asked');

    conf("$servers $check;", @with)->reload;
    $t->wait_for(sub { !$t->old_workers });
    $s{a}->clear;
    ok($t->wait_for(sub { uris('a') eq '/one /two' }),
        'a reload with what it lacks: both');
    is($u->api->get->{lrt}{skipped_checks}, undef, 'none is left out');
    conf("$servers $check jitter=5%;")->reload;
};


subtest 'many reloads' => sub {
    my $mark = $t->log_mark;

    for (1 .. 8) {
        conf("$servers $check keepalive_time=1h jitter=$_%;")->reload;
        sleep 0.05;
    }

    ok($t->wait_for(sub { !$t->old_workers }), 'all old workers leave');
    $s{a}->clear;
    ok($t->wait_for(sub { probes('a') > 2 }), 'probes');
    is(scalar(grep { !$_->{ended} } $s{a}->connections), 1,
        'by one of them');
    is(scalar $t->grep_log(qr/upstream "u": server/, $mark), 0,
        'nothing has turned');
};


# One that has read another configuration cannot connect any more, which is
# no fault of the servers.

subtest 'without a master' => sub {
    $t->stop;
    conf("$servers $check fails=1;", 1, "master_process off;\n")->start;
    fails('a');
    ok($u->becomes(a => 'unhealthy'), 'probes');

    my $mark   = $t->log_mark;
    my $client = $t->client(port => 'api');
    my $states = sub {
        my $r = $client->request(GET => '/api/9/http/upstreams/u/',
            keepalive => 1);
        return $r->status eq '200'
            ? join ' ', sort map { $_->{state} } $r->json->{peers}->@*
            : $r->status;
    };

    is($states->(), 'unhealthy up', 'what is so before');
    conf("$servers $check fails=1 jitter=5%;", 1, "master_process off;\n");
    $t->signal('HUP');
    ok($t->wait_for(sub { $t->grep_log(qr/checks of upstream/, $mark) }),
        'no probes after it');
    sleep timeout(0.6);
    is($states->(), 'unhealthy up', 'what was so stays');
    is(scalar $t->grep_log(qr/checks of upstream/, $mark), 1, 'told once');
    is($t->processes, 1, 'the process is there');
    $client->close;
    ok($t->stop, 'and ends');
};

$t->expect_alerts(qr/worker_connections are not enough/);
$t->done;
