#!/usr/bin/perl

# Active checks: what a probe asks and of whom, what a server has to answer,
# and who gets requests then.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use List::Util qw(max);
use Test::More;
use Time::HiRes qw(sleep time);

use LRT;
use LRT::API;
use LRT::Checks;
use LRT::Net qw(timeout);
use LRT::Raw;

use constant OK => LRT::Raw::OK;

my $t   = LRT->new(name => 'health', need => [qw(module proxy rewrite)]);
my $raw = LRT::Raw->new($t);
my $ms  = timeout(250);
my $often = "interval=${ms}ms timeout=${ms}ms";

my ($true, $false) = (LRT::API::true(), LRT::API::false());
my $inet6 = $t->has('ipv6');

my %s = map { ($_ => $raw->server($_)) } qw(
    plain asks both other tcp fine bad_status bad_header bad_body
    waits ready usual down backup drain few busy lone
);

$s{unix}  = $raw->server('unix', listen => 'unix');
$s{inet6} = $raw->server('inet6', listen => '[::1]') if $inet6;
$s{tcp}->set(open => [send => 'nonsense', close => 1]);
$s{waits}->set(answers => []);
$t->backend('a');
$t->backend('b');

my $good = "HTTP/1.1 201 Created\r\nX-Role: main\r\nX-Role: db\r\n"
    . "Content-Length: 14\r\n\r\n{\"ready\":true}";

$s{fine}->set(answers => [[send => $good]]);
$s{bad_status}->set(answers => [[send => $good =~ s/201/204/r]]);
$s{bad_header}->set(answers => [[send => $good =~ s/db/web/r]]);
$s{bad_body}->set(answers => [[send => $good =~ s/true/   1/r]]);

my $groups = '';

sub group ($name, $inside) {
    $groups .= "upstream $name { $inside }\n";
    return LRT::Checks->new($t, $name);
}

my $plain = group('app.example',
    "server %%ADDRESS_plain%%; lrt_health_check $often;");

my $asks = group(asks => "server %%ADDRESS_asks%%;
    lrt_health_check $often uri=/health?deep=1 host=www.example.org:8080;");

my $both = group(both => "server %%ADDRESS_both%%;
    lrt_health_check $often uri=/one;
    lrt_health_check $often uri=/two port=%%PORT_other%% fails=2;");

my $tcp = group(tcp => "server %%ADDRESS_tcp%%;
    lrt_health_check $often type=tcp fails=2;");

my $unix = group(unix => "server %%ADDRESS_unix%%;
    lrt_health_check $often;");

my $v6 = group(inet6 => "server %%ADDRESS_inet6%%;
    lrt_health_check $often;") if $inet6;

my $match = group(match => "
    server %%ADDRESS_fine%%; server %%ADDRESS_bad_status%%;
    server %%ADDRESS_bad_header%%; server %%ADDRESS_bad_body%%;
    lrt_health_check $often fails=1 match=ready;");

my $mandatory = group(mandatory => "
    server %%ADDRESS_waits%%; server %%ADDRESS_ready%%;
    lrt_health_check $often mandatory;");

my $kinds = group(kinds => "
    server %%ADDRESS_usual%%; server %%ADDRESS_drain%%;
    server %%ADDRESS_down%% down; server %%ADDRESS_backup%% backup;
    lrt_health_check $often;");

my $few = group(few => "server %%ADDRESS_few%%;
    lrt_health_check interval=1h requests=20;");

my $busy = group(busy => "server %%ADDRESS_busy%%;
    lrt_health_check interval=1s timeout=1s requests=10;");

my $lone = group(lone => "server %%ADDRESS_lone%%;
    lrt_health_check $often fails=1;");

my $passive = group(passive => "
    server %%ADDRESS_a%% fail_timeout=1h;
    server %%ADDRESS_b%% fail_timeout=1h;
    lrt_health_check interval=1s;");

$t->conf(workers => 2, http => qq{
    lrt_match ready {
        status 200-203 301;
        header X-Role = db;
        header ! X-Debug;
        body ~ '"ready":\\s*true';
    }
    $groups
    server {
        listen 127.0.0.1:%%PORT_http%%;
        location ~ ^/(?<group>[\\w.]+) { proxy_pass http://\$group; }
    }
} . LRT::Checks::server());

my $mark = $t->log_mark;
$t->start;


sub probed ($name, $times = 3) {
    return $t->wait_for(sub { $s{$name}->probes >= $times });
}


# No answer of a server as long as it says so, and another one then.

sub says ($name, $status) {
    $s{$name}->set($status == 200 ? () : (status => $status));
}


# How many probes in a time in which there should be some.

sub probes_later ($name) {
    $s{$name}->clear;
    sleep timeout(1);
    return scalar(my @probes = $s{$name}->probes);
}

###############################################################################

subtest 'the question' => sub {
    is($plain->state('plain'), 'up', 'a server is up at first');
    ok(probed('plain'), 'and probed');

    my ($probe) = $s{plain}->probes;
    like($probe->{text}, qr{^GET / HTTP/1\.1\r\n}, 'the request');
    is(header($probe, 'host'), 'app.example', 'Host is the name of the group');
    is(header($probe, 'connection'), 'close', 'one request a connection');
    unlike($probe->{text}, qr/\r\n\s|\n\n|[^\x20-\x7e\r\n]/, 'nothing odd');

    my @probes = $s{plain}->probes;
    my $seconds = $probes[2]{time} - $probes[1]{time};
    cmp_ok($seconds, '>', 0.7 * $ms / 1000, 'the interval');

    ok(probed('asks'), 'another one');
    ($probe) = $s{asks}->probes;
    like($probe->{text}, qr{^GET /health\?deep=1 HTTP/1\.1\r\n}, 'uri=');
    is(header($probe, 'host'), 'www.example.org:8080', 'host=');
};


sub header ($request, $name) {
    my ($value) = $request->{text} =~ /^\Q$name\E: ([^\r]*)\r/mi;
    return $value;
}


subtest 'a server fails' => sub {
    ok($lone->becomes(lone => 'up'), 'up');
    is($t->get('/lone')->status, 200, 'it gets requests');

    my $mark = $t->log_mark;
    says(lone => 503);
    ok($lone->becomes(lone => 'unhealthy'), 'unhealthy');
    $s{lone}->clear;
    is($t->get('/lone')->status, 502, 'none then, though it is the only one');
    is(scalar(my @others = $s{lone}->others), 0, 'really');

    says(lone => 200);
    ok($lone->becomes(lone => 'up'), 'up again');
    is($t->get('/lone')->status, 200, 'it gets requests');
    is(join('; ', map { "$_->{level}: $_->{from} -> $_->{to}: $_->{reason}" }
        $lone->turns($mark, 'lone')),
        'warn: up -> unhealthy: unexpected status; '
        . 'notice: unhealthy -> up: passed',
        'the log says so');
};


subtest 'all checks have to pass' => sub {
    ok(probed('both'), 'one');
    ok(probed('other'), 'and the other, on its own port');
    like(($s{both}->probes)[0]{text}, qr{^GET /one }, 'with its own uri');
    like(($s{other}->probes)[0]{text}, qr{^GET /two }, 'each');
    is($both->state('both'), 'up', 'both pass');

    my $mark = $t->log_mark;
    says(other => 500);
    ok($both->becomes(both => 'unhealthy'), 'one of them fails');
    my ($turn) = $both->turns($mark, 'both');
    is("$turn->{check} $turn->{text}", '1 http /two', 'the log says which');

    says(both => 500);
    says(other => 200);
    $s{other}->clear;
    ok(probed('other', 5), 'that one passes');
    is($both->state('both'), 'unhealthy', 'the other one does not');

    says(both => 200);
    ok($both->becomes(both => 'up'), 'both do');
};


subtest 'other protocols' => sub {
    ok($t->wait_for(sub { $s{tcp}->connections > 3 }), 'tcp: probes');
    is($tcp->state('tcp'), 'up', 'tcp: a connection is enough');
    is(scalar(grep { $_->{bytes} } $s{tcp}->connections), 0,
        'tcp: nothing is sent');

    my $mark = $t->log_mark;
    $s{tcp}->stop;
    is($tcp->reason($mark, 'tcp'), 'connection refused', 'tcp: refused');
    $s{tcp}->start;
    ok($tcp->becomes(tcp => 'up'), 'tcp: back');

    for my $case ([$unix, 'unix'], $inet6 ? [$v6, 'inet6'] : ()) {
        my ($group, $name) = @$case;

        ok(probed($name), "$name: probes");
        is($group->state($name), 'up', "$name: up");

        my $mark = $t->log_mark;
        $s{$name}->stop;
        is($group->reason($mark, $name), 'connection refused',
            "$name: it is gone");
        $s{$name}->start;
        ok($group->becomes($name => 'up'), "$name: back");
        is($t->get("/$name")->status, 200, "$name: requests, too");
    }
};


subtest 'the answer' => sub {
    ok(probed('fine'), 'probes');
    is($match->state('fine'), 'up', 'all as it should be');
    is($match->reason($mark, 'bad_status'), 'unexpected status', 'status');
    is($match->reason($mark, 'bad_header'), 'header test failed', 'header');
    is($match->reason($mark, 'bad_body'), 'body test failed', 'body');

    $s{fine}->set(answers => [[send => $good =~ s/X-/X-Debug: 1\r\nX-/r]]);
    ok($match->becomes(fine => 'unhealthy'), 'a header that must not be');

    is($t->get('/match')->status, 502, 'none is left');
    $s{bad_body}->set(answers => [[send => $good]]);
    ok($match->becomes(bad_body => 'up'), 'one gets well');
    is($t->get('/match')->status, 201, 'and all requests');
};


subtest 'mandatory' => sub {
    ok($mandatory->becomes(ready => 'up'), 'one passes');
    like($mandatory->state('waits'), qr/^(?:checking|unhealthy)$/,
        'one does not');
    like($mandatory->reason($mark, 'waits'), qr/^no full answer in time/,
        'at last it fails');
    is(($mandatory->turns($mark, 'waits'))[0]{from}, 'checking',
        'it was waited for');

    is_deeply($t->many(10, '/mandatory'), { ok => 10 }, 'requests');
    is(scalar(my @others = $s{waits}->others), 0, 'none for it');

    $s{waits}->set;
    ok($mandatory->becomes(waits => 'up'), 'it passes');
    $t->many(10, '/mandatory');
    cmp_ok(scalar(@others = $s{waits}->others), '>', 0, 'requests for it');
    is_deeply([map { "$_->{from}-$_->{to}" }
        $mandatory->turns($mark, 'ready')], ['checking-up'],
        'the log tells of a first pass, too');
};


subtest 'added at run time' => sub {
    my $late = $raw->server('late', answers => []);

    is($mandatory->api->call(POST => 'servers/',
        { server => $late->address })->status, 201, 'added');
    is($mandatory->state('late'), 'checking', 'it has to pass first');
    is_deeply($t->many(10, '/mandatory'), { ok => 10 }, 'requests');
    is(scalar(my @others = $late->others), 0, 'none for it');
    $late->set;
    ok($mandatory->becomes(late => 'up'), 'it has passed');

    my $id = $mandatory->id('late');
    is($mandatory->api->call(DELETE => "servers/$id")->status, 200, 'removed');
    sleep timeout(0.1);
    $late->clear;
    sleep timeout(1);
    is(scalar(my @probes = $late->probes), 0, 'no probes any more');
};


subtest 'down, draining, backup' => sub {
    my %id = map { ($_ => $kinds->id($_)) } qw(usual drain down);
    my $set = sub ($name, $changes) {
        is($kinds->api->call(PATCH => "servers/$id{$name}", $changes)->status,
            200, "$name: a change");
    };

    $set->(drain => { drain => $true });
    is($kinds->state('drain'), 'draining', 'it drains');

    my %count = map { ($_ => $s{$_}) } qw(down drain backup usual);
    $_->clear for values %count;
    sleep timeout(1);
    $count{$_} = my @probes = $count{$_}->probes for keys %count;

    is($count{down}, 0, 'down: not probed');
    cmp_ok($count{$_}, '>=', 2, "$_: probed") for qw(drain backup usual);

    $set->(down => { down => $false });
    ok(probed('down'), 'not down any more: probed');
    $set->(usual => { down => $true });
    sleep timeout(0.2);
    is(probes_later('usual'), 0, 'down now: no probes any more');

    says(backup => 500);
    ok($kinds->becomes(backup => 'unhealthy'), 'a backup fails');
    is($kinds->state('drain'), 'draining', 'draining is what is shown');
};


subtest 'after so many requests' => sub {
    ok(probed('few', 1), 'a first probe');
    is(probes_later('few'), 0, 'and no other for an hour');

    $t->many(15, '/few');
    is(probes_later('few'), 0, 'fewer requests: none');
    $t->many(10, '/few');
    ok(probed('few', 1), 'so many: one more');
    is(probes_later('few'), 0, 'one');

    $s{few}->clear;
    $t->many(100, '/few');
    ok(probed('few', 4), 'five times as many: five, or a slow one for two');
    sleep timeout(1);
    is(probes_later('few'), 0, 'and no more');

    says(few => 500);
    $t->many(20, '/few'), probed('few', $_) for 1 .. 3;
    ok($few->becomes(few => 'unhealthy'), 'they count like others');
};


subtest 'all the time so many requests' => sub {
    my $load = $t->load(uri => '/busy', rate => 100);
    ok($t->wait_for(sub { $load->totals->{requests} > 50 }), 'load');
    $s{busy}->clear;
    sleep 3;
    $load->stop;

    my @times = map { $_->{time} } $s{busy}->probes;
    my $gap = max(map { $times[$_] - $times[$_ - 1] } 1 .. $#times);

    cmp_ok(scalar(@times), '>', 10, 'many more probes');
    cmp_ok(scalar(@times), '<', timeout(1) * 40, 'but not one for each ten');
    cmp_ok($gap, '<', timeout(2), 'never later than without');
};


subtest 'a pass ends the exclusion of max_fails' => sub {
    ok($t->wait_for(sub { $t->backend('a')->stats->{requests} }), 'probes');

    my $mark = $t->log_mark;
    is_deeply($t->many(2, '/passive?a.close=1'), { b => 2 }, 'it fails');
    ok($passive->becomes(a => 'up'), 'a pass, and it is up');
    is(($passive->turns($mark, 'a'))[0]{from}, 'unavail', 'it was shut out');
    is_deeply($t->many(4, '/passive'), { a => 2, b => 2 }, 'not any more');
};

$t->done;
