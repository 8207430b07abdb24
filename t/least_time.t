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

$t->conf(workers => 2, http => qq{
    proxy_next_upstream off;

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
        location ~ ^/(?<group>\\w+) { proxy_pass http://\$group; }
    }
} . LRT::Hooks::server($t));
$t->start;


# some requests at once, so that both servers get some

sub teach ($uri) {
    $t->run(count => 16, uri => $uri, concurrency => 8);
}

# the share of requests, one after another, that a server gets

sub share ($uri, $of, $count = 20) {
    return ($t->many($count, $uri)->{$of} // 0) / $count;
}


# a server that has a request to work on

sub active () {
    my ($name) = grep { $t->backend($_)->stats->{active} } @names;
    return $name;
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

# what the client broke off is no sample

SKIP: {
    my $group = LRT::Hooks->group($t, 'aborts') or skip 'no test hooks', 1;

    for (1 .. 4) {
        $t->begin('/aborts?hang=1')->close;
    }

    $t->wait_for(sub { $group->settles });
    is($t->get('/aborts')->header('X-Estimate'), '-', 'aborted requests are not counted');
}

# a server that was slow is found to be well again within seconds

teach('/back?a.delay=300');
ok(share('/back', 'b') > 0.8, 'a slow server is avoided');

ok($t->wait_for(sub { share('/back', 'a') >= 0.3 }, 20),
   'and gets its share again when it is well');

# requests that hang tell before they are answered

teach('/late');
ok($t->wait_for(sub { !active() }), 'the servers are idle');
my $hang = $t->begin('/late?hang=1');
my ($stuck) = $t->wait_for(sub { active() });
my $other = $stuck eq 'a' ? 'b' : 'a';
ok($t->wait_for(sub { share("/late", $other) > 0.9 }),
   'a server with an overdue request is avoided');
$hang->close;

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
