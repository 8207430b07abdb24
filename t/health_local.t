#!/usr/bin/perl

# What goes wrong on nginx' side of a check - no route, no descriptors, no
# connections, no ports - is not the server's fault: nobody is shut out, the
# log tells of it once, and checks go on.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use Errno qw(EADDRNOTAVAIL ECONNREFUSED EHOSTUNREACH ENETUNREACH ENOBUFS
    ETIMEDOUT);
use Test::More;
use Time::HiRes qw(sleep time);

use LRT;
use LRT::Checks;
use LRT::Net qw(timeout);
use LRT::Raw;
use LRT::Shim;

my $t    = LRT->new(name => 'health_local', need => [qw(module proxy)]);
my $shim = LRT::Shim->new($t, 'time')
    or $t->skip_all('needs a C compiler');
my $raw  = LRT::Raw->new($t);
my $ms   = timeout(250);
my $s    = $raw->server('a');

my ($u, $mark, @others);

$t->backend('slow');

$t->expect_alerts(qr/socket\(\) failed|worker_connections are not enough/);


# Each time another nginx, which has said nothing yet.

sub start ($events = '', $main = '',
    $check = "interval=${ms}ms timeout=${ms}ms fails=1 passes=1",
    $others = '')
{
    $t->stop;
    $s->clear;
    $s->set;
    $t->conf(workers => 1, events => $events, main => $main, http => qq{
        upstream u {
            server %%ADDRESS_a%%;
            $others
            lrt_health_check $check;
        }
        server {
            listen 127.0.0.1:%%PORT_http%%;
            location / { proxy_pass http://u; }
            location /good { proxy_pass http://%%ADDRESS_a%%; }
            location /slow { proxy_pass http://%%ADDRESS_slow%%; }
        }
    } . LRT::Checks::server());

    $mark = $t->log_mark;
    $shim->set(error => 0, port => $t->port('a'));
    $shim->start;
    $u = LRT::Checks->new($t, 'u');
    goes_on('probes');
}


sub goes_on ($name) {
    my $before = () = $s->probes;
    return ok($t->wait_for(sub { (() = $s->probes) >= $before + 2 }, 20),
        $name);
}


sub complaints ($pattern) {
    return scalar $t->grep_log(
        qr/\[error\] .* checks of upstream "u": $pattern/, $mark);
}


sub stops () {
    sleep timeout(0.3);
    my $before = () = $s->probes;
    sleep timeout(1);
    return $before == (() = $s->probes);
}

###############################################################################

my @errors = (
    [ENETUNREACH, 'local', 'no route from here'],
    [EADDRNOTAVAIL, 'local', 'no local port left'],
    [ENOBUFS, 'local', 'no memory left'],
    [EHOSTUNREACH, 'fails', 'host unreachable'],
    [ECONNREFUSED, 'fails', 'connection refused'],
    [ETIMEDOUT, 'fails', 'connect timed out'],
);

@errors = @errors[0, 3] if $ENV{LRT_QUICK};

for (@errors) {
    my ($error, $how, $text) = @$_;
    start();

    $shim->set(error => $error);

    if ($how eq 'local') {
        ok($t->wait_for(sub { complaints($text) }), "$text: told");
        ok(stops(), "$text: no probe comes through");
        is($u->state('a'), 'up', "$text: the server is not to blame");
        is(complaints('.*'), 1, "$text: told once");
    } else {
        is($u->reason($mark, 'a'), $text, "$text: the server fails");
    }

    $shim->set(error => 0);
    goes_on("$text: probes go on");
    ok($u->becomes(a => 'up'), "$text: the server is up");
    is(scalar(() = $u->turns($mark, 'a')), $how eq 'local' ? 0 : 2,
        "$text: what the log says of the server");
}

###############################################################################

subtest 'no connections' => sub {
    start('worker_connections 24;');

    my @clients = map { $t->client->send("GET") } 1 .. 30;

    ok($t->wait_for(sub { complaints('no worker_connections left') }),
        'told');
    ok(stops(), 'no probe comes through');
    is(complaints('.*'), 1, 'told once');

    $_->close for @clients;
    goes_on('probes go on');
    is($u->state('a'), 'up', 'the server is up');
    is(scalar(() = $u->turns($mark, 'a')), 0, 'all the time');
};


subtest 'no descriptors' => sub {
    start('worker_connections 400;', 'worker_rlimit_nofile 40;');

    my @clients = map { $t->client->send("GET") } 1 .. 50;

    ok($t->wait_for(sub { complaints('no file descriptors left') }), 'told');
    ok(stops(), 'no probe comes through');
    is(complaints('.*'), 1, 'told once');

    $_->close for @clients;
    goes_on('probes go on');
    is($u->state('a'), 'up', 'the server is up');
    is(scalar(() = $u->turns($mark, 'a')), 0, 'all the time');
};


# Probes whose time was over while nginx did not run say nothing, and are made
# again.

subtest 'asleep' => sub {
    start('', '', 'interval=1500ms timeout=100ms fails=3');
    my ($worker) = $t->workers;

    $s->set(answers => [[wait => 5000]]);
    ok($t->wait_for(sub { grep { !$_->{ended} } $s->connections }),
        'a probe is on its way');
    kill STOP => $worker;
    sleep 0.4;
    $s->set;
    my $before = () = $s->probes;
    kill CONT => $worker;
    my $woken = time;

    ok($t->wait_for(sub { $before < (() = $s->probes) }), 'another one');
    my $again = ($s->probes)[-1]{time} - $woken;
    cmp_ok($again, '<', timeout(0.2), 'at once');
    ok($t->wait_for(sub { complaints('this process did not run in time') }),
        'told');
    is(scalar(() = $u->turns($mark, 'a')), 0, 'the server is up');
};


# Probes take some of the connections, not all.

subtest 'many that are silent' => sub {
    my $servers = others(150, answers => []);
    my $wait    = timeout(900);

    start('worker_connections 128;', '',
        "interval=${wait}ms timeout=${wait}ms fails=1", $servers);

    ok($t->wait_for(sub { complaints('probes have to wait') }), 'told');
    is_deeply($t->many(200, '/good', concurrency => 30), { ok => 200 },
        'requests have connections');
    ok($t->wait_for(sub {
        my @states = $u->states;
        149 < grep { $_ eq 'unhealthy' } @states;
    }, 20), 'and each has its turn');
    is(scalar $t->grep_log(qr/connections are not enough/, $mark), 0,
        'all the time');
    is(complaints('.*'), 1, 'told once');
};


subtest 'many that are kept' => sub {
    my $servers = others(100);

    start('worker_connections 128;', '',
        "interval=${ms}ms timeout=${ms}ms keepalive_time=1h", $servers);

    my $kept = sub { scalar grep { grep { !$_->{ended} } $_->connections }
        @others };
    ok($t->wait_for(sub { $kept->() > 55 }), 'connections are kept');
    sleep timeout(0.6);
    cmp_ok($kept->(), '<', 80, 'so many, and no more');

    my @held = map { $t->begin('/slow?delay=600') } 1 .. 45;
    is_deeply([grep { $_->receive->status ne '200' } @held], [],
        'requests are more important');
    is(complaints('(?!no worker_connections left).*'), 0, 'nothing to tell');
    ok($u->all_become('up'), 'all are up');
};


sub others ($count, %o) {
    state $port = $t->port('others');

    $_->stop for @others;
    @others = map { $raw->server("${count}_$_",
        listen => sprintf('127.2.%d.%d:%d', $_ / 200, 1 + $_ % 200, $port),
        %o) } 1 .. $count;
    return join ' ', map { 'server ' . $_->address . ';' } @others;
}

$t->done;
