#!/usr/bin/perl

# The test helper itself; also an example of its use.  Works with any nginx.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use LRT;

my $t = LRT->new(
    name => 'helper',
    plan => 67,
    need => [qw(proxy rewrite upstream_zone)],
);

###############################################################################
# a configuration, backends, requests

$t->backend($_) for qw(a b c);
$t->conf(
    workers       => 2,
    access_format => '$request_uri $status $upstream_addr',
    http          => q{
    upstream u {
        zone u 64k;
        server %%ADDRESS_a%% max_fails=0;
        server %%ADDRESS_b%% max_fails=0;
        server %%ADDRESS_c%% max_fails=0;
        keepalive 8;
    }

    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_next_upstream off;

    server {
        listen 127.0.0.1:%%PORT_http%%;

        location / { proxy_pass http://u; }
        location /a { proxy_pass http://%%ADDRESS_a%%; }
        location /from { return 200 $remote_addr; }
        location /upgrade {
            proxy_pass http://%%ADDRESS_a%%;
            proxy_set_header Connection upgrade;
            proxy_set_header Upgrade $http_upgrade;
        }
    }
    });
$t->start;

my $a = $t->backend('a');

is($t->workers, 2, 'both workers run');
ok($t->has_version('1.18') && !$t->has_version('99.1'), 'version');

my $r = $t->get('/');
is($r->status, 200, 'status');
is($r->name, $r->body, 'a backend answers with its name');
is($t->get('/a')->header('X-Backend'), 'a', 'header');

is_deeply($t->many(30, '/', concurrency => 5), { a => 10, b => 10, c => 10 },
    'many requests');
is_deeply($t->many(8, '/from', from => ['127.0.0.5', '127.0.0.6']),
    { '127.0.0.5' => 4, '127.0.0.6' => 4 }, 'from several clients');

my $order = join ' ', $t->sequence(9, '/a');
is($order, 'a a a a a a a a a', 'sequence');

###############################################################################
# what a backend does: for one request, from now on, for a number of requests

is($t->get('/a?status=404&body=gone')->status, 404, 'status by the URI');
is($t->get('/a?b.status=404')->status, 200, 'of another backend');

$a->set(status => 503, times => 2);
is(join(' ', map { $t->get('/a')->status } 1 .. 3), '503 503 200',
    'for two requests');

$a->set(delay => 200);
$r = $t->get('/a');
cmp_ok($r->time, '>', 0.19, 'delay');

is($t->get('/_set?status=500', port => 'a')->body, "ok\n", 'set by a request');
is($t->get('/a')->status, 500, 'and done');
$a->set;

is(length $t->get('/a?size=1000000')->body, 1_000_000, 'size');
is(length $t->get('/a?size=200000&chunked=1')->body, 200_000, 'chunked');
is($t->get('/a?drip=1&body=slowly')->body, 'slowly', 'byte by byte');

is($t->get('/a?close=1')->status, 502, 'closed without an answer');
is($t->get('/a?raw=nonsense%0d%0a', port => 'a')->error, 'cut', 'raw bytes');
is($t->get('/a?size=1000&cut=10')->error, 'cut', 'cut');
is($t->get('/a?hang=1', timeout => 0.3)->status, 'timeout', 'hang');

$r = $t->post('/a?echo=1', 'abc' x 1000, chunked => 700);
is($r->body, 'abc' x 1000, 'a chunked request');

my $c = $t->client;
$c->send("GET /upgrade?upgrade=1 HTTP/1.1\r\nHost: x\r\n"
    . "Connection: upgrade\r\nUpgrade: test\r\n\r\n");
is($c->receive->status, 101, 'upgrade');
is($c->send('12345')->receive_bytes(5), '12345', 'bytes after the upgrade');
$c->close;

###############################################################################
# connections by hand

$a->clear;
$c = $t->client;
is($c->request(GET => '/a', keepalive => 1)->status, 200, 'a kept connection')
    for 1 .. 2;
ok($c->is_open, 'is still there');
$c->close;

my $slow = $t->begin('/a?delay=5000&x=1');
ok($t->wait_for(sub { $a->stats->{active} }), 'the backend works');
$slow->reset;
ok($t->wait_for(sub { $a->stats->{aborted} }), 'nginx aborts with the client');

is($a->stats->{requests}, 3, 'requests counted');
my ($first) = $a->requests;
is("$first->{method} $first->{uri}", 'GET /a', 'and remembered');
is($first->{headers}{host}, $t->address('a'), 'with their headers');

###############################################################################
# a backend goes and comes back

$a->stop;
is($t->get('/', port => 'a')->status, 'refused', 'stopped');
is($t->get('/a')->status, 502, 'as nginx sees it');
$a->start;
is($t->get('/a')->status, 200, 'started again');

###############################################################################
# logs

my $mark = $t->log_mark;
$t->get('/a?close=1&seen');

is($t->grep_log(qr/prematurely closed connection/, $mark), 1, 'error log');
is_deeply([$t->access_log(qr/seen/, 1)],
    ['/a?close=1&seen 502 ' . $t->address('a')], 'access log');

###############################################################################
# load in the background, while nginx reloads and loses a worker

my @before = $t->workers;
my $load   = $t->load(concurrency => 4, rate => 1000);
my $kept   = $t->load(concurrency => 2, keepalive => 1, uri => ['/a', '/b']);

$t->reload;
ok(!(grep { my $pid = $_; grep { $_ == $pid } @before } $t->workers),
    'the workers are new');
ok($t->wait_for(sub { !$t->old_workers }, 10), 'the old ones have left');

sleep 0.2;
my $totals = $load->stop;
is_deeply($totals->{failed}, {}, 'no request failed') or diag $load->summary;
cmp_ok($totals->{by}{a}, '>', 10, 'each backend answered');
is_deeply($kept->stop->{failed}, {}, 'nor on kept connections')
    or diag $kept->summary;

my $pid = $t->kill_worker;
ok($t->wait_for(sub { $t->workers == 2 && !grep { $_ == $pid } $t->workers }),
    'a killed worker is replaced');

###############################################################################
# configurations that nginx refuses

like($t->conf_error('upstream u { server 127.0.0.1:1 weight=x; }'),
    qr/invalid parameter "weight=x" in .*:\d+/, 'conf_error');

my ($good, $said) = $t->test_config;
ok($good, 'the current configuration is good') or diag $said;

$t->conf(http => 'nonsense on;');
like($t->reload_error, qr/unknown directive "nonsense"/, 'a refused reload');
is($t->get('/a')->status, 200, 'nginx still works');

eval { $t->conf(http => 'server { listen 80; }') };
like($@, qr/listen 80: not 127/, 'no listening for others');

$t->stop;
is($t->processes, 0, 'nginx has ended');

###############################################################################
# many backends, other addresses

$t->backend('unix', listen => 'unix');
$t->backend('six', listen => '[::1]') if $t->has('ipv6');

my @many    = $t->backends('m', 300);
my $servers = join '', map { 'server ' . $t->address($_) . ";\n" }
    @many, 'unix', $t->has('ipv6') ? 'six' : ();

$t->conf(http => "upstream u { $servers }" . q{
    server {
        listen unix:%%DIR%%/nginx.sock;
        location / { proxy_pass http://u; }
    }
});
$t->start;

my $by = $t->many($servers =~ tr/;//, '/', concurrency => 10);
is_deeply([grep { $_ != 1 } values %$by], [], 'each of 300 backends once');
is($by->{unix}, 1, 'a backend on a unix socket');

###############################################################################
# a test may end as it likes: it leaves nothing behind, and what nginx has
# done is not passed over

my %output_at_the_end = (
    'die "on purpose"'                      => qr/^on purpose/m,
    'exit 0'                                => qr/^# .* planned 4 .* ran 3/m,
    'kill INT => $$'                        => qr/^1\.\.4\n/m,
    'kill KILL => $$'                       => qr/^1\.\.4\n/m,
    'ok 1; kill 9, $t->workers; is_dead()'  => qr/^not ok 2 - no alerts/m,
    'ok 1; $t->kill_worker; is_dead()'      => qr/^ok 4 - nginx stopped/m,
    'ok 1; kill 9, $t->master_pid'          => qr/^not ok 4 - nginx stopped/m,
    'ok 1; $t->skip_all("it is late")'      => qr/^ok 4 # skip it is late/m,
);

for my $end (sort keys %output_at_the_end) {
    my $file = $t->write('test.pl', <<~"END");
        use v5.36;
        use lib '$FindBin::Bin/lib';
        use Test::More;
        use LRT;

        my \$t = LRT->new(plan => 1);
        \$t->backend('a');
        \$t->conf(http => 'server { listen 127.0.0.1:%%PORT_http%%; }')->start;
        \$t->load(rate => 10);
        say join ' ', 'have', \$t->dir, map { \$_->{pid} }
            grep { \$_->{parent} == \$\$ } LRT::Process::all_processes();
        STDOUT->flush;
        $end;

        sub is_dead () {
            \$t->wait_for(sub { \$t->log =~ /exited on signal 9/ });
        }
        END

    my $output       = qx($^X $file 2>&1);
    my ($dir, @pids) = map { split } $output =~ /^have (.*)/m;
    my %group        = map { $_ => 1 } @pids;

    like($output, $output_at_the_end{$end}, $end);
    ok($t->wait_for(sub {
        !-e $dir && !grep { $group{ $_->{group} } && $_->{state} ne 'Z' }
            LRT::Process::all_processes();
    }), 'all is cleaned up');
}

$t->done;
