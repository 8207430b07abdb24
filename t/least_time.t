#!/usr/bin/perl

# least_time: the server that answers soonest, for its weight and load.  What
# is a matter of numbers is tested in C; here it is what counts as a sample,
# and that the choice comes through.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use LRT;
use LRT::Hooks;

my $t = LRT->new(name => 'lt', need => [qw(module proxy)]);

my @names = qw(a b);
$t->backend($_) for @names;

my $servers = join ' ', map { "server %%ADDRESS_$_%% max_fails=0;" } @names;

# what is a sample: a request, whether it is one for "header", for "last_byte"

my @samples = (
    ['an answer',                         '/GROUP',                1, 1],
    ['an answer to HEAD',                 'HEAD /GROUP',           1, 1],
    ['an answer with a status 404',       '/GROUP?status=404',     1, 1],
    ['a status 500',                      '/GROUP?status=500',     0, 0],
    ['a status 503',                      '/GROUP?status=503',     0, 0],
    ['a status 429',                      '/GROUP?status=429',     0, 0],
    ['a broken header', '/GROUP?raw=HTTP/1.1%20200%20OK%0Aa%00b:c%0A%0A', 0, 0],
    ['a connection that is closed',       '/GROUP?close=1',        0, 0],
    ['no answer in time',                 '/impatient/GROUP?hang=1', 0, 0],
    ['a body that is cut',                '/GROUP?size=99&cut=9',  1, 0],
    ['an answer that is not buffered',    '/unbuffered/GROUP',     1, 0],
    ['one that is replaced',  '/intercepted/GROUP?status=404',     1, 0],
);

my $sampled = join "\n", map {
    my $method = $_;
    map { "upstream ${method}_$_ { least_time $method;"
          . ' server %%ADDRESS_a%% max_fails=0; }' } 0 .. @samples;
} qw(header last_byte);

$t->conf(workers => 2, http => qq{
    proxy_next_upstream off;

    $sampled

    upstream last { least_time last_byte; $servers }
    upstream header { least_time header; $servers }
    upstream faults { least_time last_byte; $servers }
    upstream aborts { least_time last_byte; $servers }
    upstream back { least_time last_byte; $servers }
    upstream late { least_time last_byte inflight; $servers }
    upstream spare { least_time header; server %%ADDRESS_a%% max_conns=1;
                     server %%ADDRESS_b%% backup; }

    server {
        listen 127.0.0.1:%%PORT_http%%;
        add_header X-Choice \$lrt_choice always;
        add_header X-Estimate \$lrt_estimate always;
        add_header X-Inflight \$lrt_inflight always;
        location ~ ^/impatient/(?<group>\\w+) {
            proxy_read_timeout 200ms;
            proxy_pass http://\$group;
        }
        location ~ ^/unbuffered/(?<group>\\w+) {
            proxy_buffering off;
            proxy_pass http://\$group;
        }
        location ~ ^/intercepted/(?<group>\\w+) {
            proxy_intercept_errors on;
            error_page 404 /replaced;
            proxy_pass http://\$group;
        }
        location = /replaced { return 200; }
        location ~ ^/(?<group>\\w+) { proxy_pass http://\$group; }
    }
} . LRT::Hooks::server($t));
$t->start;


# some requests at once, so that both servers get some

sub teach ($uri) {
    $t->run(count => 16, uri => $uri, concurrency => 8);
}

# what is known of a server when all requests have ended

sub known ($name) {
    LRT::Hooks->group($t, $name)->settles;
    return $t->get("/$name")->header('X-Estimate');
}


# Whether a request, "/uri" or "METHOD /uri" with the group in it, tells
# something about its server.

sub is_sample ($name, $request) {
    my ($uri, $method) = reverse split ' ', $request =~ s/GROUP/$name/r;

    $t->request($method // 'GET', $uri);
    return known($name) eq '-' ? 0 : 1;
}


# the share of requests, one after another, that a server gets

sub share ($uri, $of, $count = 20) {
    return ($t->many($count, $uri)->{$of} // 0) / $count;
}


# a slow body counts for last_byte, not for header

teach('/last?a.body_delay=150');
ok(share('/last', 'b') > 0.8, 'last_byte: a server with slow bodies is avoided');

teach('/header?a.delay=150');
ok(share('/header', 'b') > 0.8, 'header: a server with slow headers is avoided');

like($t->get('/last')->header('X-Estimate'), qr/^(\d+\.\d{6}|-)$/,
     '$lrt_estimate is in seconds, to the microsecond');
is($t->get('/last')->header('X-Inflight'), '1', '$lrt_inflight: just this one');
like($t->get('/last')->header('X-Choice'),
     qr/^127\.\S+ least_time: .+ \(.*weight 1.*\); next 127\.\S+ \(/,
     '$lrt_choice names the server, why, and the next one');

# answers that were easy, since they are none

teach('/faults?delay=30');
$t->backend('a')->set(status => 500);
my $before = $t->many(40, '/faults?delay=30');
ok(($before->{500} // $before->{a} // 0) <= 30,
   'a server that fails fast does not get all of it')
    or diag(explain($before));
$t->backend('a')->set;

# what is a sample, and what is none

SKIP: {
    LRT::Hooks->group($t, 'aborts') or skip 'no test hooks', 5 + 2 * @samples;

    for (1 .. 4) {
        $t->begin('/aborts?hang=1')->close;
    }

    is(known('aborts'), '-', 'aborted requests are not counted');

    for my $i (0 .. $#samples) {
        my ($what, $request, @expected) = @{ $samples[$i] };

        for my $method (qw(header last_byte)) {
            ok(is_sample("${method}_$i", $request) == shift @expected,
               "$method: $what");
        }
    }

    for my $method (qw(header last_byte)) {
        my $name   = $method . '_' . @samples;
        my $client = $t->begin("/unbuffered/$name?body_delay=1000&size=9");

        is($client->receive_bytes(8), 'HTTP/1.1', "$method: a header came");
        $client->reset;
        is(known($name), '-', "$method: and the client left");
    }
}

# a server that was slow is found to be well again within seconds

teach('/back?a.delay=300');
ok(share('/back', 'b') > 0.8, 'a slow server is avoided');

ok($t->wait_for(sub { share('/back', 'a') >= 0.3 }, 20),
   'and gets its share again when it is well');

# requests that hang tell before they are answered

teach('/late');
my @hang = map { $t->begin('/late?a.hang=1&b.hang=1') } 1 .. 4;
$t->wait_for(sub {
    $t->backend('a')->stats->{active} + $t->backend('b')->stats->{active} >= 4
});
$_->close for @hang;
$t->wait_for(sub { !grep { $t->backend($_)->stats->{active} } @names });
@hang = $t->begin('/late?hang=1');
my ($stuck) = $t->wait_for(sub {
    my ($name) = grep { $t->backend($_)->stats->{active} } @names;
    return $name;
});
my $other = $stuck eq 'a' ? 'b' : 'a';
ok($t->wait_for(sub { share("/late", $other) > 0.9 }),
   'a server with an overdue request is avoided');
$_->close for @hang;

# limits and backups as in all methods

my $held = $t->begin('/spare?hang=1');
$t->wait_for(sub { $t->backend('a')->stats->{active} == 1 });
is($t->get('/spare')->name, 'b', 'a full server, and its backup');
$held->close;

for (
    ['least_time', qr/invalid number of arguments/, 'nothing to measure'],
    ['least_time body', qr/invalid parameter "body"/, 'something else'],
    ['least_time header last_byte', qr/invalid parameter "last_byte"/, 'both'],
    ['least_time inflight header', qr/invalid parameter "inflight"/,
     'another order'],
    ['least_time header inflight inflight', qr/invalid parameter "inflight"/,
     'inflight twice'],
    ['least_time header factor=90', qr/invalid parameter "factor=90"/,
     'a parameter of another nginx'],
) {
    my ($text, $error, $what) = @$_;
    like($t->conf_error("upstream u { $text; server 127.0.0.1:81; }"), $error,
         "$what is an error");
}

$t->done;
