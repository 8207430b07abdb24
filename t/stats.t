#!/usr/bin/perl

# The counters of a server: requests, responses by class and status, bytes,
# failures, and times of complete responses.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use List::Util qw(sum0);
use Test::More;
use Time::HiRes qw(time);

use LRT;
use LRT::Hooks;

my $t = LRT->new(
    name => 'stats', need => [qw(module hooks proxy rewrite)]);

$t->backend($_) for qw(a b);

$t->conf(
    workers       => 2,
    access_format => '$uri $upstream_addr|$upstream_bytes_sent|'
        . '$upstream_bytes_received|',
    http => q{
    upstream plain { round_robin_ext; server %%ADDRESS_a%%; }
    upstream codes { least_conn_ext; server %%ADDRESS_a%%; }
    upstream bytes { round_robin_ext; server %%ADDRESS_a%%; }
    upstream times { least_conn_ext; server %%ADDRESS_a%%; }
    upstream samples { least_conn_ext; server %%ADDRESS_a%% max_fails=0; }
    upstream kept {
        round_robin_ext;
        server %%ADDRESS_a%%;
        keepalive 4;
    }
    upstream two {
        round_robin_ext;
        server %%ADDRESS_a%% max_fails=2;
        server %%ADDRESS_b%% max_fails=0;
    }

    proxy_cache_path %%DIR%%/cache keys_zone=cache:1m;
    proxy_http_version 1.1;
    proxy_set_header Connection $http_connection;
    proxy_set_header Upgrade $http_upgrade;

    server {
        listen 127.0.0.1:%%PORT_http%% reuseport;

        proxy_next_upstream error timeout http_500 http_404;

        location ~ ^/(?<group>\w+) { proxy_pass http://$group; }

        location ^~ /kept {
            proxy_pass http://kept;
            proxy_set_header Connection "";
        }

        location ^~ /samples/unbuffered {
            proxy_pass http://samples;
            proxy_buffering off;
        }

        location ^~ /samples/impatient {
            proxy_pass http://samples;
            proxy_read_timeout 100ms;
        }

        location ^~ /samples/intercepted {
            proxy_pass http://samples;
            proxy_intercept_errors on;
            error_page 404 = /empty;
        }

        location ^~ /samples/cached {
            proxy_pass http://samples;
            proxy_cache cache;
            proxy_cache_valid 200 1h;
        }

        location ^~ /two/impatient {
            proxy_pass http://two;
            proxy_read_timeout 100ms;
        }

        location = /empty { return 200 ""; }
    }
} . LRT::Hooks::server($t))->start;

my ($a, $b) = map { $t->address($_) } qw(a b);


# What has come to the counters of a server since the last call, without
# those that are 0.

my %last;

sub new_in ($group, $server = $a) {
    my $hooks = LRT::Hooks->group($t, $group);
    $hooks->settles;

    my $stats = $hooks->stats($server);
    my $last  = $last{$group}{$server} // {};
    $last{$group}{$server} = $stats;

    my %new = map { ($_ => $stats->{$_} - ($last->{$_} // 0)) }
        grep { !/^(?:codes|p50|selected)$/ } keys %$stats;
    $new{"code $_"} = $stats->{codes}{$_} - ($last->{codes}{$_} // 0)
        for keys $stats->{codes}->%*;

    delete @new{ grep { !$new{$_} } keys %new };
    return \%new;
}


# The same, without bytes and codes.

sub counted_in (@of) {
    my $new = new_in(@of);
    delete @$new{ grep { /^(?:sent|received|code \d+)$/ } keys %$new };
    return $new;
}

###############################################################################
# requests, responses, statuses

is_deeply(new_in('plain'), {}, 'all is 0 in the beginning');

my $begin = int(time * 1000);
$t->many(20, '/plain');
my $new = new_in('plain');
is($new->{requests}, 20, 'requests of all workers are counted');
is($new->{'2xx'}, 20, 'responses by class');
is($new->{'code 200'}, 20, 'and by status');
is($new->{samples}, 20, 'each gives a time');

my $selected = LRT::Hooks->group($t, 'plain')->stats($a)->{selected};
cmp_ok($selected, '>=', $begin - 10, 'the time of the last request');
cmp_ok($selected, '<=', time * 1000 + 10, 'is of today');

my %class;
my @statuses = (201, 204, 301, 302, 304, 400, 401, 502, 503);

for my $status (@statuses) {
    my $count = 1 + $status % 3;
    $t->get("/codes?status=$status") for 1 .. $count;
    $class{ int($status / 100) . 'xx' } += $count;
    $class{"code $status"} = $count;
    $class{requests} += $count;
    $class{samples} += $count;
}

$new = new_in('codes');
delete @$new{qw(sent received)};
is_deeply($new, \%class, 'statuses are counted one by one');

$t->get("/codes?status=$_") for 404 .. 409;
$new = new_in('codes');
is($new->{'4xx'}, 6, 'a class counts all of its statuses');
is(scalar(grep { /^code/ } keys %$new), 1, 'single ones as far as they fit');

my $client = $t->client;
$client->send("GET /samples?upgrade=1 HTTP/1.1\r\nHost: x\r\n"
    . "Connection: upgrade\r\nUpgrade: test\r\n\r\n");
is($client->receive->status, 101, 'an upgrade');
$client->close;
is_deeply(counted_in('samples'), { requests => 1, '1xx' => 1 },
    'is a 1xx, and its end is not that of a response');

###############################################################################
# bytes

$t->get('/bytes?size=100000');
$t->get('/bytes?size=100000&chunked=1');
$t->post('/bytes?echo=1', 'x' x 50_000);
$t->request(HEAD => '/bytes?size=1000');
$t->get('/bytes?close=1');

$new = new_in('bytes');
my @logged = map { [/\|(\d+)\|(\d+)\|/] } $t->access_log(qr/^\/bytes/, 5);

is($new->{sent}, sum0(map { $_->[0] } @logged),
    'bytes sent are those of $upstream_bytes_sent');
is($new->{received}, sum0(map { $_->[1] } @logged),
    'bytes received are those of $upstream_bytes_received');
cmp_ok($new->{sent}, '>', 50_000, 'the bodies are among them');
cmp_ok($new->{received}, '>', 250_000, 'in both directions');

###############################################################################
# failures

$t->wait_for(sub { $t->get('/two')->body eq 'b' });
new_in('two', $_) for $a, $b;

$t->get('/two?a.close=1');
is_deeply(counted_in('two'), { requests => 1, fails => 1 },
    'a request without answer is a failure');
is_deeply(counted_in('two', $b),
    { requests => 1, '2xx' => 1, samples => 1 },
    'and a request of the server that answered');

$t->get('/two');
counted_in('two', $b);
$t->get('/two?a.status=404');
is_deeply(counted_in('two'), { requests => 1, '4xx' => 1 },
    'a 404 that is not passed on is no failure');

$t->get('/two');
$t->get('/two?a.status=500');
is_deeply(counted_in('two'),
    { requests => 1, '5xx' => 1, fails => 1, unavail => 1 },
    'a 500 that is not passed on is one, and the second shuts out');

counted_in('two', $b);
$t->get('/two/impatient?b.hang=1') for 1 .. 2;
is_deeply(counted_in('two', $b), { requests => 2, fails => 2 },
    'so is no answer in time, without shutting out');

###############################################################################
# which responses give a time

my $counts = sub ($name, $uri, $expected, %o) {
    $t->request($o{method} // 'GET', "/samples$uri", %o);
    is_deeply(counted_in('samples'), { requests => 1, %$expected },
        "a time of $name: " . ($expected->{samples} ? 'yes' : 'no'));
};

my %well = ('2xx' => 1, samples => 1);

$counts->('a response', '?size=10', \%well);
$counts->('a large response', '?size=1000000', \%well);
$counts->('a response in chunks', '?chunked=1', \%well);
$counts->('a response of unknown length', '?chunked=1&keepalive=0', \%well);
$counts->('a HEAD', '?size=10', \%well, method => 'HEAD');
$counts->('a POST', '?echo=1', \%well, method => 'POST', body => 'x' x 10_000);
$counts->('an error page', '?status=503', { '5xx' => 1, samples => 1 });
$counts->('an unbuffered response', '/unbuffered?size=300000', \%well);
$counts->('an unbuffered one in chunks', '/unbuffered?chunked=1&size=99999',
    \%well);
$counts->('a response that is cached', '/cached', \%well);

$counts->('a response cut short', '?size=1000&cut=10', { '2xx' => 1 });
$counts->('an unbuffered one', '/unbuffered?size=1000&cut=10', { '2xx' => 1 });
$counts->('a response cut by time', '/impatient?size=10&body_delay=5000',
    { '2xx' => 1 });
$counts->('an intercepted one', '/intercepted?status=404', { '4xx' => 1 });
$counts->('a redirect to elsewhere',
    '?header=X-Accel-Redirect:%20/empty&size=10', { '2xx' => 1 });
$counts->('a HEAD redirected to elsewhere',
    '?header=X-Accel-Redirect:%20/empty', { '2xx' => 1 }, method => 'HEAD');
$counts->('no answer', '?close=1', { fails => 1 });

for my $location ('', '/unbuffered') {
    $client = $t->begin("/samples$location?size=50000000");
    $client->receive_bytes(1);
    $client->reset;
    is_deeply(counted_in('samples'), { requests => 1, '2xx' => 1 },
        "a time of a response to a client that left$location: no");
}

$client = $t->begin('/samples?hang=1');
$t->wait_for(sub { $t->backend('a')->stats->{active} });
$client->reset;
is_deeply(counted_in('samples'), { requests => 1 },
    'a client that leaves before the answer: no time, no failure');

$t->get('/samples/cached');
is_deeply(counted_in('samples'), {}, 'a response from the cache: no request');

# kept connections

$t->get('/kept') for 1 .. 8;
$new = counted_in('kept');
is_deeply($new, { requests => 8, '2xx' => 8, samples => 8 },
    'kept connections make no difference');

# a worker that has got no request yet has no kept connection: then it is one

for my $try (1 .. 10) {
    $t->backend('a')->set(close => 1, times => 1);
    $t->get('/kept');
    $new = counted_in('kept');
    last unless $new->{fails};
}

is($new->{fails}, undef, 'one that the server has closed is no failure');
is($new->{'2xx'}, 1, 'and the response is counted once');
$t->backend('a')->set;

###############################################################################
# times

$t->many(5, '/times');
my $fast = LRT::Hooks->group($t, 'times')->stats($a)->{p50};

$t->many(11, '/times?delay=100', concurrency => 11);
LRT::Hooks->group($t, 'times')->settles;
my $slow = LRT::Hooks->group($t, 'times')->stats($a)->{p50};
cmp_ok($fast, '<', $slow, 'fast responses have a shorter time');
cmp_ok($slow, '>', 87_500, 'slow ones not a shorter one than they take');
cmp_ok($slow, '<', 1_000_000, 'and not a much longer one');

$t->done;
