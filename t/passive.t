#!/usr/bin/perl

# max_fails and fail_timeout: which failures shut a server out, for whom and
# how long, and who is never shut out.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use LRT;
use LRT::Hooks;

my $t = LRT->new(name => 'passive', need => [qw(module proxy)]);

$t->backend($_) for qw(a b);

# each kind of failure has a group of its own

my %kinds = (
    refused     => [1, 'error'],
    closed      => [1, 'error', 'a.close=1'],
    reset       => [1, 'error', 'a.reset=1'],
    timeout     => [1, 'timeout', 'a.hang=1'],
    nonsense    => [1, 'invalid_header',
        'a.raw=HTTP/1.1%20200%20OK%0d%0aX%00Y:%201%0d%0a%0d%0a'],
    500         => [1, 'http_500', 'a.status=500'],
    503         => [1, 'http_503', 'a.status=503'],
    429         => [1, 'http_429', 'a.status=429'],
    passed_404  => [0, 'http_404', 'a.status=404'],
    passed_403  => [0, 'http_403', 'a.status=403'],
    other_500   => [0, 'error', 'a.status=500'],
    other_404   => [0, 'error', 'a.status=404'],
);

my $kinds = join '', map {
    my ($counts, $next) = $kinds{$_}->@*;
    qq{
        upstream k$_ {
            round_robin_ext;
            server %%ADDRESS_a%%;
            server %%ADDRESS_b%%;
        }
        server {
            listen 127.0.0.1:%%PORT_k$_%% reuseport;
            location / {
                proxy_pass http://k$_;
                proxy_next_upstream $next;
                proxy_read_timeout 200ms;
            }
        }
    }
} sort keys %kinds;

$t->conf(workers => 2, http => q{
    upstream one {
        round_robin_ext;
        server %%ADDRESS_a%%;
        server %%ADDRESS_b%%;
    }

    upstream three {
        round_robin_ext;
        server %%ADDRESS_a%% max_fails=3;
        server %%ADDRESS_b%%;
    }

    upstream never {
        round_robin_ext;
        server %%ADDRESS_a%% max_fails=0;
        server %%ADDRESS_b%%;
    }

    upstream short {
        round_robin_ext;
        server %%ADDRESS_a%% fail_timeout=1s;
        server %%ADDRESS_b%%;
    }

    upstream both {
        round_robin_ext;
        server %%ADDRESS_a%%;
        server %%ADDRESS_b%%;
    }

    upstream post {
        round_robin_ext;
        server %%ADDRESS_a%%;
        server %%ADDRESS_b%%;
    }

    upstream lone { round_robin_ext; server %%ADDRESS_a%%; }
    upstream lone_least { least_conn_ext; server %%ADDRESS_a%%; }

    upstream lone_beside_down {
        round_robin_ext;
        server %%ADDRESS_b%% down;
        server %%ADDRESS_a%%;
    }

    upstream primary_with_backup {
        round_robin_ext;
        server %%ADDRESS_a%%;
        server %%ADDRESS_b%% backup;
    }

    upstream lone_backup {
        least_conn_ext;
        server %%ADDRESS_b%% down;
        server %%ADDRESS_a%% backup;
    }

    server {
        listen 127.0.0.1:%%PORT_http%% reuseport;
        add_header X-Worker $pid always;
        proxy_next_upstream error timeout http_500;
        location ~ ^/(?<group>\w+) { proxy_pass http://$group; }
    }
} . $kinds . LRT::Hooks::server($t))->start;

###############################################################################
# one failure is enough

my $mark = $t->log_mark;
is($t->get('/one?a.close=1')->body, 'b', 'a failed request is repeated');

my @disabled = $t->grep_log(qr/upstream server temporarily disabled/, $mark);
is(scalar @disabled, 1, 'the log tells once that the server is disabled');
my $a = $t->address('a');
like($disabled[0], qr/\[warn\] .* upstream: "http:\/\/\Q$a\E/,
    'as a warning, with its address');

my %workers;
my $totals = $t->run(count => 40, uri => '/one', on_response => sub ($r, $n) {
    $workers{ $r->header('X-Worker') }++;
});
is_deeply($totals->{by}, { b => 40 }, 'it gets no more requests');
is(scalar keys %workers, 2, 'from any worker');

SKIP: {
    my $one = LRT::Hooks->group($t, 'one') or skip 'no test hooks', 1;
    is($one->peer($t->address('a'))->{fails}, 1, 'one failure is on record');
    is($one->stats($t->address('a'))->{unavail}, 1, 'and one time shut out');
    is($one->stats($t->address('b'))->{fails}, 0, 'and none of the other');
}

###############################################################################
# what is a failure

for my $kind (sort keys %kinds) {
    my ($counts, $next, $query) = $kinds{$kind}->@*;
    my @to = (port => "k$kind");

    # two requests, so that it had its turn

    $t->backend('a')->stop if $kind eq 'refused';
    $t->get('/?' . ($query // ''), @to) for 1 .. 2;
    $t->backend('a')->start;

    my $by = $t->many(6, '/', @to);
    is_deeply($by, $counts ? { b => 6 } : { a => 3, b => 3 },
        "$kind with 'proxy_next_upstream $next': "
        . ($counts ? 'a failure' : 'no failure'));
}

my $slow = $t->begin('/both?hang=1');
$t->wait_for(sub { grep { $t->backend($_)->stats->{active} } qw(a b) });
$slow->reset;
$t->wait_for(sub { !grep { $t->backend($_)->stats->{active} } qw(a b) });
is_deeply($t->many(6, '/both'), { a => 3, b => 3 },
    'a client that leaves: no failure');

# one that is not repeated is a failure all the same

my %before = map { ($_ => $t->backend($_)->stats->{requests}) } qw(a b);
my @posted = map { $t->post('/post?a.close=1', 'x')->status } 1 .. 2;
my %asked  = map {
    ($_ => $t->backend($_)->stats->{requests} - $before{$_})
} qw(a b);

is_deeply([sort @posted], [200, 502], 'a POST that fails after it was sent');
is_deeply(\%asked, { a => 1, b => 1 }, 'is not repeated on another server');
is_deeply($t->many(6, '/post'), { b => 6 }, 'but it is a failure of its own');

###############################################################################
# how many it takes

is($t->get('/three?a.status=500')->body, 'b', 'max_fails=3: a failure')
    for 1 .. 4;
is_deeply($t->many(4, '/three'), { a => 2, b => 2 },
    'two failures do not shut it out');
$t->get('/three?a.status=500') for 1 .. 2;
is_deeply($t->many(4, '/three'), { b => 4 }, 'the third does');

$mark = $t->log_mark;
$t->backend('a')->clear;
is_deeply($t->many(12, '/never?a.close=1'), { b => 12 },
    'max_fails=0: requests are repeated');
is($t->backend('a')->stats->{requests}, 6, 'but the server gets its share');
is($t->grep_log(qr/temporarily disabled/, $mark), 0, 'and is never disabled');

###############################################################################
# all have failed

$t->backend($_)->set(close => 1) for qw(a b);
is($t->get('/both')->status, 502, 'both servers fail');

$mark = $t->log_mark;
$t->backend($_)->clear for qw(a b);
is($t->get('/both')->status, 502, 'and again');
is($t->grep_log(qr/no live upstreams while connecting/, $mark), 1,
    'now there are no live servers');
is($t->backend('a')->stats->{requests} + $t->backend('b')->stats->{requests},
    0, 'and none of them is asked');
$t->backend($_)->set for qw(a b);

###############################################################################
# who is never shut out

$t->backend('a')->set(close => 1);
$mark = $t->log_mark;

for my $group (qw(lone lone_least lone_beside_down lone_backup)) {
    $t->backend('a')->clear;
    is_deeply($t->many(5, "/$group"), { 502 => 5 },
        "$group: the only server fails");
    is($t->backend('a')->stats->{requests}, 5,
        "$group: but every request may try it");
}

is($t->grep_log(qr/temporarily disabled|no live upstreams/, $mark), 0,
    'no such server is disabled');

$t->backend('a')->clear;
is_deeply($t->many(5, '/primary_with_backup'), { b => 5 },
    'a primary that has a backup fails');
is($t->backend('a')->stats->{requests}, 1, 'and is shut out');

SKIP: {
    my $both = LRT::Hooks->group($t, 'primary_with_backup')
        or skip 'no test hooks', 1;

    $t->backend('a')->set;
    $both->set($t->address('b'), down => 1);
    is_deeply($t->many(3, '/primary_with_backup'), { a => 3 },
        'until it is the only one left');
}

$t->backend('a')->set;

###############################################################################
# recovery

$mark = $t->log_mark;
my $failed = time;
$t->get('/short?a.close=1');
is($t->grep_log(qr/temporarily disabled/, $mark), 1,
    'fail_timeout=1s: a failure');

my $b_only = $t->many(10, '/short');
is_deeply($b_only, { b => 10 }, 'fail_timeout=1s: the server is shut out')
    if time - $failed < 0.9;

# its trial: as long as that runs nobody else goes there

my ($trial, $after);
$t->backend('a')->clear;
$t->wait_for(sub {
    my @by = $t->sequence(6, '/short?a.delay=300', concurrency => 6);
    $after = time - $failed;
    $trial = grep { $_ eq 'a' } @by;
}, 4);

is($trial, 1, 'then one request is tried on it, and no more at a time');
cmp_ok($after, '>', 1, 'not before fail_timeout has passed');
is($t->backend('a')->stats->{requests}, 1, 'the server has seen no other');
is_deeply($t->many(10, '/short'), { a => 5, b => 5 },
    'and it is back when the trial went well');

SKIP: {
    my $short = LRT::Hooks->group($t, 'short') or skip 'no test hooks', 1;
    my $a     = $t->address('a');

    # a trial that fails

    $short->set($a, fail_timeout => 150, max_fails => 2);
    is_deeply($t->many(4, '/short?a.close=1'), { b => 4 }, 'two failures');

    $t->backend('a')->clear;
    ok($t->wait_for(sub {
        $t->many(2, '/short?a.close=1');
        $t->backend('a')->stats->{requests};
    }), 'the trial comes after the new fail_timeout');
    is_deeply($t->many(4, '/short'), { b => 4 },
        'one trial that fails shuts the server out again')
        or diag($t->backend('a')->stats->{requests});

    $short->set($a, max_fails => 0);
    is_deeply($t->many(4, '/short'), { a => 2, b => 2 },
        'max_fails=0 set at run time lets it back at once');

    ok($short->settles, 'nothing is counted any more')
        or diag($short->unrest);
}

$t->done;
