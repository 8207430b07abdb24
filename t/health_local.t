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
my $shim = LRT::Shim->new($t) or $t->skip_all('needs a C compiler');
my $raw  = LRT::Raw->new($t);
my $ms   = timeout(250);
my $s    = $raw->server('a');

my ($u, $mark);

$t->expect_alerts(qr/socket\(\) failed|worker_connections are not enough/);


# Each time another nginx, which has said nothing yet.

sub start ($events = '', $main = '') {
    $t->stop;
    $s->clear;
    $t->conf(workers => 1, events => $events, main => $main, http => qq{
        upstream u {
            server %%ADDRESS_a%%;
            lrt_health_check interval=${ms}ms timeout=${ms}ms
                             fails=1 passes=1;
        }
        server {
            listen 127.0.0.1:%%PORT_http%%;
            location / { proxy_pass http://u; }
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
    return ok($t->wait_for(sub { (() = $s->probes) >= $before + 2 }), $name);
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

$t->done;
