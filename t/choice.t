#!/usr/bin/perl

# $lrt_choice, $lrt_estimate, $lrt_inflight: what they say is what happened.
# Which server the methods should choose is tested elsewhere; here the reason
# that is given is compared with what the test made sure of.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use List::Util qw(sum0);
use Test::More;

use LRT;
use LRT::Hooks;

my $t = LRT->new(name => 'choice', need => [qw(module proxy rewrite)]);

my @names = qw(a b c);
$t->backend($_) for @names;

my $two = join ' ', map { "server %%ADDRESS_$_%% max_fails=0;" } qw(a b);

# what needs a module that may be missing

my %optional = (
    mirror => q{
        location ^~ /mirror { mirror /lone/mirrored; proxy_pass http://turns; }
    },
    auth_request => q{
        location ^~ /auth {
            auth_request /lone/auth;
            auth_request_set $auth_choice $lrt_choice;
            add_header X-Auth $auth_choice;
            add_header X-Choice $lrt_choice;
            proxy_pass http://turns;
        }
    },
);

delete @optional{ grep { !$t->has($_) } keys %optional };

my $sticky = $t->has('upstream_sticky') && !$t->has('angie') ? qq{
    upstream sticky { least_conn_ext; $two sticky cookie who; }
} : '';

$t->conf(
    workers => 2,
    access_format => '$request_uri $uri|$upstream_addr|$lrt_choice|'
        . '$lrt_estimate|$lrt_inflight|',
    http => qq{
    upstream turns {
        round_robin_ext;
        server %%ADDRESS_a%% max_fails=0 weight=3;
        server %%ADDRESS_b%% max_fails=0 weight=2;
    }

    upstream lone { round_robin_ext; server %%ADDRESS_c%% max_fails=0; }
    upstream conns { least_conn_ext; $two }
    upstream changed { least_conn_ext; $two }
    upstream empty { least_conn_ext; }
    upstream go { least_conn_ext; $two }

    upstream heavy {
        least_conn_ext;
        server %%ADDRESS_a%% max_fails=0 weight=10;
        server %%ADDRESS_b%% max_fails=0;
    }

    upstream times { least_time last_byte; $two }
    upstream header { least_time header; $two }
    upstream clients { iphash_ext key=\$arg_k; $two }

    upstream full {
        iphash_ext key=\$arg_k;
        server %%ADDRESS_a%% max_conns=1;
        server %%ADDRESS_b%% max_conns=1;
        server %%ADDRESS_c%% max_conns=1;
    }

    $sticky

    log_subrequest on;
    proxy_http_version 1.0;             # no kept connections

    server {
        listen 127.0.0.1:%%PORT_http%%;

        add_header X-Addr \$upstream_addr always;
        add_header X-Choice \$lrt_choice always;
        add_header X-Estimate \$lrt_estimate always;
        add_header X-Inflight \$lrt_inflight always;

        location ~ ^/(?<group>\\w+) { proxy_pass http://\$group; }
        location = /nobody { return 200 "[\$lrt_choice]"; }
        location = /go { lrt_redirect go; }
        @{[ values %optional ]}
    }
} . LRT::Hooks::server($t))->start;

my %address = map { $_ => $t->address($_) } @names;
my %name    = reverse %address;


# The choices of a request, one for each try, as hashes: text, name, method,
# why, and for the chosen server and, as "next", the other one: estimate (ms),
# inflight, weight, score.

sub parse ($text) {
    my $server = qr/(127\.\d+\.\d+\.\d+:\d+)/;
    my $numbers = qr/\((?:estimate[ ]([\d.]+)[ ]ms|no[ ]estimate);
                     [ ](\d+)[ ]in[ ]flight;[ ]weight[ ](\d+)
                     (?:;[ ]score[ ](\d+))?\)/x;

    return map {
        my %c = (text => $_);

        if (/^$server (\w+): (.+?) $numbers(?:; next $server $numbers)?$/) {
            @c{qw(name method why estimate inflight weight score)} =
                ($name{$1}, $2, $3, $4, $5, $6, $7);
            @{ $c{next} }{qw(name estimate inflight weight score)} =
                ($name{$8}, $9, $10, $11, $12) if defined $8;
        }

        \%c;
    } split /(?:, | : )(?=127\.|-)/, $text || 'none';
}

sub choices ($r) { return parse($r->header('X-Choice')) }

sub choice ($uri, %o) {
    my $r = $t->get($uri, %o);
    my ($choice) = choices($r);
    $choice->{who} = $r->name;
    $choice->{shown} = { map { $_ => $r->header("X-$_") }
                         qw(Addr Estimate Inflight) };
    return $choice;
}


# Some of the fields of a choice; "prove -v" shows all of it.

sub chosen ($choice, $expected, $what) {
    is_deeply({ map { $_ => $choice->{$_} } keys %$expected }, $expected, $what)
        ? note($choice->{text}) : diag($choice->{text});
}


# Requests that servers have.

sub active (@servers) {
    return sum0 map { $t->backend($_)->stats->{active} } @servers;
}

# Requests that hang, one after another; so many should be on these servers.

sub hold ($uri, %count) {
    my @held;

    for my $i (1 .. sum0 values %count) {
        push @held, $t->begin($uri);
        $t->wait_for(sub { active(@names) == $i });
    }

    diag("held by others: $uri")
        if grep { active($_) != $count{$_} } keys %count;
    return @held;
}

sub let_go ($group, @held) {
    $_->close for @held;
    $t->wait_for(sub { active(@names) == 0 });

    my $hooks = LRT::Hooks->group($t, $group);
    $hooks->settles if $hooks;
}

sub logged ($uri) {
    my ($line) = $t->access_log(qr/\Q$uri\E\|/, 1);
    my %line;
    @line{qw(addr choice estimate inflight)} =
        ($line // '') =~ /\|(.*)\|(.*)\|(.*)\|(.*)\|/;
    return \%line;
}

###############################################################################
# turns

my %seen;

for (1 .. 5) {
    my $c = choice('/turns');
    $seen{ $c->{who} }++;

    chosen($c, {
        method => 'round_robin_ext', name => $c->{who},
        why => 'its turn by weight', inflight => 0,
        weight => $c->{who} eq 'a' ? 3 : 2, score => undef, next => undef,
    }, "turn $_: $c->{who}");
}

is_deeply(\%seen, { a => 3, b => 2 }, 'and that is how turns are');

###############################################################################
# connections

my $c = choice('/conns');
chosen($c, { method => 'least_conn_ext', why => 'its turn among the best',
             name => $c->{who}, inflight => 0, estimate => undef },
       'two idle servers');
isnt($c->{next}{name}, $c->{name}, 'it would have been the other one');
is($c->{next}{score}, $c->{score}, 'which is as good');
is($c->{shown}{Estimate}, '-', 'nothing is known of times');
is($c->{shown}{Inflight}, '1', 'and there was just this request');

my @held = hold('/conns?hang=1', a => 2, b => 2);
my $more = $t->begin('/conns?hang=1');
my ($busy) = $t->wait_for(sub {
    my ($who) = grep { active($_) == 3 } qw(a b);
    return $who;
});
my $other = $busy eq 'a' ? 'b' : 'a';

$c = choice('/conns');
chosen($c, { why => 'the best', name => $other, inflight => 2 },
       'two requests are better than three');
is($c->{shown}{Inflight}, '3', '$lrt_inflight counts this one in');
is_deeply({ map { $_ => $c->{next}{$_} } qw(name inflight) },
          { name => $busy, inflight => 3 }, 'and names the other one with its');
ok($c->{score} < $c->{next}{score}, 'scores say the same')
    or diag($c->{text});
let_go('conns', @held, $more);

@held = hold('/heavy?a.hang=1&b.hang=1', a => 1);
$c = choice('/heavy');
chosen($c, { why => 'the best', name => 'b', inflight => 0, weight => 1 },
       'an idle light server');
is_deeply({ map { $_ => $c->{next}{$_} } qw(name inflight weight) },
          { name => 'a', inflight => 1, weight => 10 },
          'and a heavy one with a request');
let_go('heavy', @held);

###############################################################################
# times

for my $group (qw(times header)) {
    my $delay = 'a.delay=20&b.delay=150';

    $t->run(count => 24, uri => "/$group?$delay", concurrency => 8);
    $c = choice("/$group?$delay");

    chosen($c, { method => 'least_time', name => 'a', who => 'a', weight => 1,
                 why => 'the best', inflight => 0 }, "$group: the fast one");

    is($c->{next}{name}, 'b', "$group: else the slow one");
    ok($c->{estimate} >= 19 && $c->{estimate} < 100,
       "$group: the fast one takes 20 ms: $c->{estimate}");
    ok($c->{next}{estimate} >= 149 && $c->{next}{estimate} < 500,
       "$group: the slow one takes 150 ms: $c->{next}{estimate}");
    ok($c->{score} > 0 && $c->{score} < $c->{next}{score},
       "$group: scores say the same") or diag($c->{text});
    is($c->{shown}{Estimate} * 1000, $c->{estimate} * 1,
       "$group: \$lrt_estimate is the same in seconds");
}

# a slow server is idle for a second: a request tries it

$t->run(count => 24, uri => '/times?b.delay=400', concurrency => 8);

my ($trial) = $t->wait_for(sub {
    my $c = choice('/times?b.delay=400');
    return $c->{why} =~ /trial/ ? $c : undef;
}, 20);

chosen($trial, { why => 'a trial, it was slow and is idle', name => 'b',
                 who => 'b', inflight => 0, score => '0' }, 'a trial');
is($trial->{next}{name}, 'a', 'it would have been the fast one');

###############################################################################
# clients

my %home = map { $_ => $t->get("/clients?k=$_")->name } 'k10' .. 'k49';
my ($of_a) = grep { $home{$_} eq 'a' } sort keys %home;

chosen(choice("/clients?k=$of_a"),
       { method => 'iphash_ext', name => 'a', who => 'a', score => undef,
         why => 'the server of this client', next => undef }, 'a client');

chosen(choice('/clients'),
       { why => 'its turn by weight, the client has no key', next => undef },
       'no key');

my @tries = choices($t->get("/clients?k=$of_a&a.close=1"));
is(scalar @tries, 2, 'a client whose server fails');
chosen($tries[0], { name => 'a', why => 'the server of this client' },
       'went to its server');
chosen($tries[1], { name => 'b',
                    why => 'the server of this client takes no requests' },
       'and then to another');

my $home = $t->get('/full?k=one')->name;
@held = hold('/full?k=one&hang=1', $home => 1);
$c = choice('/full?k=one');
isnt($c->{name}, $home, 'a client whose server is full');
is($c->{why}, 'the server of this client takes no requests', 'is told so');
is($c->{shown}{Inflight}, '1', 'the other server was idle');
let_go('full', @held);

###############################################################################
# several tries, other groups, nobody

my $r = $t->wait_for(sub {
    my $r = $t->get('/turns?a.close=1');
    return $r->header('X-Addr') =~ /,/ ? $r : undef;
});

@tries = choices($r);
is_deeply([map { $_->{name} } @tries], ['a', 'b'], 'two tries, two choices');
is_deeply([map { $_->{weight} } @tries], [3, 2], 'each with its numbers');
is(join(', ', map { $address{ $_->{name} } } @tries), $r->header('X-Addr'),
   'in the order of $upstream_addr');
is($r->header('X-Inflight'), '1, 1', 'requests in flight of each');
is(join(', ', map { sprintf '%.6f', $_->{estimate} / 1000 } @tries),
   $r->header('X-Estimate'), 'and estimates');

$r = $t->get("/turns?a.header=X-Accel-Redirect:%20/lone&"
             . "b.header=X-Accel-Redirect:%20/lone");
@tries = choices($r);
is_deeply([map { $_->{method} . ' ' . $_->{why} } @tries],
          [('round_robin_ext its turn by weight') x 2], 'two groups');
is($tries[1]{name}, 'c', 'of which the second has another server');
like($r->header('X-Choice'), qr/\) : 127/, 'stand with a colon between');

$r = $t->get('/empty');
is($r->header("X-$_"), '-', "no server: \$lrt_\L$_\E is -")
    for qw(Choice Estimate Inflight);

@held = hold('/full?hang=1', a => 1, b => 1, c => 1);
$r = $t->get('/full?k=one');
is($r->status, 502, 'all servers are full');
is($r->header('X-Choice'), '-', 'so there is no choice');
let_go('full', @held);

$r = $t->get('/nobody');
is($r->body, '[]', 'a request that needs no server: empty');
is($r->header('X-Choice'), undef, 'no header');

$t->get('/nobody?logged');
is_deeply(logged('/nobody?logged /nobody'),
          { map { $_ => '-' } qw(addr choice estimate inflight) },
          'and - in the log');

###############################################################################
# logs, subrequests, redirects

$r = $t->get('/conns/logged');
is_deeply(logged('/conns/logged /conns/logged'),
          { addr => $r->header('X-Addr'), choice => $r->header('X-Choice'),
            estimate => $r->header('X-Estimate'),
            inflight => $r->header('X-Inflight') },
          'the log has what the header had');

@held = hold('/lone/left?hang=1', c => 1);
let_go('lone', @held);
my $line = logged('/lone/left?hang=1 /lone/left');
chosen((parse($line->{choice}))[0],
       { name => 'c', why => 'its turn by weight', inflight => 0 },
       'a client that left: the log has it');
is($line->{inflight}, '1', 'with the request counted');

SKIP: {
    skip 'no mirror', 2 unless $optional{mirror};

    $r = $t->get('/mirror');
    isnt((choices($r))[0]{name}, 'c', 'mirror: the choice for the request');
    is((parse(logged('/mirror /lone/mirrored')->{choice}))[0]{name}, 'c',
       'mirror: and for the copy');
}

SKIP: {
    skip 'no auth_request', 2 unless $optional{auth_request};

    $r = $t->get('/auth');
    is((parse($r->header('X-Auth')))[0]{name}, 'c',
       'auth_request: the choice for the subrequest');
    is((choices($r))[0]{name}, $r->name,
       'auth_request: and for the request');
}

$r = $t->get('/go');
($c) = choices($r);
chosen($c, { method => 'least_conn_ext', why => 'its share of redirects',
             next => undef }, 'a redirect');
is($r->header('Location'), "http://$address{ $c->{name} }/go",
   'goes to the server that was chosen');
is($r->header('X-Inflight'), '0', 'which has no request more in flight');

SKIP: {
    skip 'no sticky', 3 unless $sticky;

    $r = $t->get('/sticky');
    my ($cookie) = $r->header('Set-Cookie') =~ /(who=\w+)/;

    for (1 .. 3) {
        my $c = choice('/sticky', headers => [Cookie => $cookie]);
        chosen($c, { name => $r->name, who => $r->name, next => undef,
                     why => 'the server that the client has a cookie for' },
               'a client with a cookie');
    }
}

###############################################################################
# another method, at run time

SKIP: {
    my $group = LRT::Hooks->group($t, 'changed') or skip 'no test hooks', 2;

    ok(defined choice('/changed')->{score}, 'a method with ranks has scores');

    $group->method('round_robin_ext');
    $c = choice('/changed');
    chosen($c, { method => 'round_robin_ext', why => 'its turn by weight',
                 score => undef, next => undef },
           'one without shows none of before');
}

$t->done;
