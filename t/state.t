#!/usr/bin/perl

# "lrt_state": a group stands in a file, which outlives restarts and reloads
# and may be edited; whoever changes something, nothing else is lost.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use List::Util qw(min max);
use Test::More;
use Time::HiRes qw(sleep time);

use LRT;
use LRT::API;
use LRT::Hooks;
use LRT::Net qw(timeout);
use LRT::State;

my $t = LRT->new(
    name => 'state', need => [qw(module proxy rewrite upstream_zone)]);

my @names = 'a' .. 'd';
$t->backend($_) for @names;

my %at   = map { ($_ => $t->address($_)) } @names;
my %name = reverse %at;
my $dir   = $t->dir . '/state';
my $api   = LRT::API->new($t);
my $hooks = LRT::Hooks->group($t, 'u');
my ($true, $false) = (LRT::API::true(), LRT::API::false());

mkdir $dir or die "$dir: $!\n";

my $state = LRT::State->new($t, $api, 'u', "$dir/u.json");
my $u     = $state->api;


# Upstream blocks; a text without blocks is the inside of `u`.

sub conf ($upstreams) {
    $upstreams = "upstream u { $upstreams }" if $upstreams !~ /upstream/;

    # what sanitizers are told has to outlive a binary upgrade
    my $main = 'env ASAN_OPTIONS; env UBSAN_OPTIONS;';

    return $t->conf(workers => 3, main => $main, http => $upstreams . q{
        server {
            listen 127.0.0.1:%%PORT_http%%;
            location ~ ^/(?<group>\w+) {
                proxy_pass http://$group;
                add_header X-Estimate $lrt_estimate;
            }
        }
        server {
            listen 127.0.0.1:%%PORT_api%%;
            location /api { lrt_api write=on; }
        }
    } . LRT::Hooks::server($t));
}


sub restart_with ($upstreams) {
    $t->stop;
    conf($upstreams)->start;
}


sub has_status ($r, $status, $name) {
    is($r->status, $status, $name) or diag($r->body);
}


sub post ($server) { $u->call(POST => 'servers/', $server) }

sub patch ($id, $changes) { $u->call(PATCH => "servers/$id", $changes) }


# The servers of a group in short, without what is as by default.

my %default = (
    weight => 1, max_conns => 0, max_fails => 1, fail_timeout => '10s',
    slow_start => '0s', route => '', backup => 0, down => 0,
);

sub brief ($servers = $state->servers) {
    my %brief;

    for my $server (values %$servers) {
        my %server = (%$server, %{ $server->{lrt} // {} });
        delete @server{qw(server lrt)};

        $brief{ $name{ $server->{server} } // $server->{server} } =
            join ' ', delete $server{id},
                map { "$_=$server{$_}" }
                grep { !defined $default{$_} || $server{$_} ne $default{$_} }
                sort keys %server;
    }

    return \%brief;
}


# The same from the file, so what is in force is what is saved.

sub saved ($servers, $name) {
    ok($state->is_saved, "$name: saved");
    is_deeply(brief($state->listed), $servers, "$name: the file");
    is_deeply(brief(), $servers, "$name: the group");
}

###############################################################################
# without a file the configuration fills it

my $lines = 'server %%ADDRESS_a%%; server %%ADDRESS_b%% weight=2 max_conns=9;
    server %%ADDRESS_d%% backup max_fails=3 fail_timeout=3s;';
my $conf  = "lrt_state state/u.json; $lines";

conf($conf)->start;

ok($state->is_saved, 'no file: it is written');
my %whole = (
    max_conns => 0, max_fails => 1, fail_timeout => '10s', slow_start => '0s',
    route => '', backup => $false, down => $false,
);
is_deeply($state->doc, {
    version => 1, upstream => 'u', next_id => 3, method => 'round_robin_ext',
    slow_start => '0s', panic => 'off', health_checks => [],
    servers => [
        { %whole, id => 0, server => $at{a}, weight => 1 },
        { %whole, id => 1, server => $at{b}, weight => 2, max_conns => 9 },
        { %whole, id => 2, server => $at{d}, weight => 1, max_fails => 3,
            fail_timeout => '3s', backup => $true },
    ],
}, 'no file: what is written; no method is round_robin_ext')
    or diag($state->text);
ok($t->wait_for(sub { ($state->text($state->good) // '') eq $state->text }),
    'no file: the good copy is the same');
is((stat $state->path)[2] & 07777, 0640, 'no file: its mode');
is($state->status->{file}, $state->path, 'no file: its name in the API');
is_deeply($t->many(12, '/u'), { a => 4, b => 8 }, 'no file: requests');

###############################################################################
# changes through the API are saved, and there after a restart

my @took;

sub soon ($r, $name, $seen) {
    my $begin = time;
    like($r->status, qr/^20[01]$/, "API, $name") or diag($r->body);
    ok($t->wait_for(sub { $seen->($state->doc) }), "API, $name: saved")
        or diag($state->text);
    push @took, time - $begin;
}

soon(post({ server => $at{c}, weight => 3, slow_start => '5s', route => 'c3' }),
    'a server is added', sub ($doc) { $doc->{servers}->@* == 4 });
soon(patch(0, { weight => 5, drain => $true }), 'drained',
    sub ($doc) { $doc->{servers}[0]{drain} });
soon(patch(1, { lrt => { health => 'down' }, fail_timeout => '20s' }),
    'forced down', sub ($doc) { $doc->{servers}[1]{lrt} });
soon($u->call(PATCH => '', { method => 'least_time last_byte inflight' }),
    'another method',
    sub ($doc) { $doc->{method} eq 'least_time last_byte inflight' });
soon(post({ server => '127.0.0.1:1', down => $true }), 'one more',
    sub ($doc) { $doc->{next_id} == 5 });
soon($u->call(DELETE => 'servers/4'), 'removed',
    sub ($doc) { $doc->{servers}->@* == 4 });

# a slow machine may be late now and then, but not as a rule
@took = sort { $a <=> $b } @took;
cmp_ok($took[@took / 2], '<', timeout(0.2), 'API: saved within 200 ms')
    or diag("@took");

my $all = {
    a => '0 drain=1 weight=5',
    b => '1 fail_timeout=20s health=down max_conns=9 weight=2',
    c => '3 route=c3 slow_start=5s weight=3',
    d => '2 backup=1 fail_timeout=3s max_fails=3',
};
saved($all, 'API');

my $text = $state->text;
my $mark = $t->log_mark;

restart_with($conf);

saved($all, 'restart');
is($state->method, 'least_time last_byte inflight', 'restart: the method');
is($state->text, $text, 'restart: the file is not touched');
is_deeply($t->many(3, '/u'), { c => 3 }, 'restart: drain and health hold');
is(LRT::API::data(post({ server => '127.0.0.1:1' }))->{id}, 5,
    'restart: the id of a server that was removed is not given again');
has_status($u->call(DELETE => 'servers/5'), 200, 'restart: removed');
$state->is_saved;

is(scalar $t->grep_log(qr/\[warn\] .*is overridden by state file/, $mark), 2,
    'restart: each line that does not hold is named');

###############################################################################
# nginx -t

my ($good, $said) = $t->test_config;
my @warnings = $said =~ /\[warn\].*?: (.*)/g;
ok($good, 'nginx -t: with a file');
like($said, qr{
    "server\ $at{a}"\ of\ upstream\ "u"\ is\ overridden\ by\ state\ file\ "\S+
    /u.json",\ which\ has\ other\ parameters,\ in\ \S+/test.conf:\d+\n
}x, 'nginx -t: other parameters');
unlike($said, qr/server $at{d}/, 'nginx -t: nothing about what holds');
is($state->text, $text =~ s/"next_id":5/"next_id":6/r,
    'nginx -t: the file is not touched');

($good, $said) = $t->test_config(http => q{upstream u {
    lrt_state state/u.json; server 127.0.0.1:1; }});
like($said, qr/"server 127.0.0.1:1" .* which does not list it, in \S+:\d+\n/,
    'nginx -t: not in the file');

my $server = 'server 127.0.0.1:81;';
my @errors = (
    ['twice in a group' => qr/"lrt_state" directive is duplicate in/,
        "upstream v { lrt_state x.json; lrt_state y.json; $server }"],
    ['one file, two groups' =>
        qr/of upstream "w" is the file of upstream "v" as well, in \S+:\d+/,
        "upstream v { lrt_state x.json; $server }
         upstream w { $server lrt_state %%DIR%%/x.json; }"],
    ['a stock method after it' => qr/\bmethod\b.* in \S+:\d+/,
        "upstream v { lrt_state x.json; hash \$uri; $server }"],
    ['a stock method before it' => qr/must be the only load balancing method/,
        "upstream v { hash \$uri; lrt_state x.json; $server }"],
    ['no file' => qr/invalid number of arguments/,
        "upstream v { lrt_state; $server }"],
    ['outside of a group' => qr/is not allowed here/, 'lrt_state x.json;'],
);

for (@errors) {
    my ($what, $pattern, $conf) = @$_;
    ($good, $said) = $t->test_config(http => $conf);
    ok(!$good, "error: $what") or diag($said);
    like($said, qr/\[emerg\].*$pattern/, "error: $what: what is said");
}

($good, $said) = $t->test_config(http => qq{
    upstream v { lrt_state x.json; least_conn_ext; $server }
    upstream w { least_time header; lrt_state y.json; }
    upstream x { lrt_state nowhere/z.json; $server }
});
ok($good, 'methods of ours before and after it, a group without servers')
    or diag($said);
like($said, qr{\[warn\].* folder of state file "\S+/nowhere/z.json" in \S+:\d+},
    'a folder that is not there is warned of');
ok(!-e $t->dir . '/x.json', 'nginx -t writes no file');

###############################################################################
# an edit: what it leaves alone stays as it is, with all that is known

has_status($u->call(PUT => 'servers/', [
    { server => $at{a} }, { server => $at{b} }, { server => $at{c} },
]), 200, 'edit: three servers');
$t->many(12, '/u');
ok($state->is_saved, 'edit: saved');

my $before   = $u->peer($at{a});
my $estimate = $t->get('/u?a.hang=0')->header('x-estimate');
$t->wait_for(sub { !grep { $_->{active} } $u->get->{peers}->@* });
my $held     = $t->begin('/u?hang=1&a.hang=0&a.delay=1200');

# by what nginx says, as a server may be busy with a probe

$t->wait_for(sub { grep { $_->{active} } $u->get->{peers}->@* });
$held->close, $held = undef unless $u->peer($at{a})->{active};

my $list = $state->listed;
delete $list->{$at{c}};
$list->{$at{b}}{weight} = 4;

like($state->edit({ method => 'least_conn_ext', servers => [
    values %$list, { server => $at{d}, backup => $true }, '127.0.0.1:9',
] }), qr/\[notice\] .* 2\ added,\ 1\ removed,\ 1\ updated,\ 1\ unchanged;
    \ generation\ \d+.*\b$at{c}\ removed/x,
    'edit: the log tells what has changed');

my $ids = $state->ids;
is($ids->{$at{a}}, $list->{$at{a}}{id}, 'edit: the id of an unchanged server');
is($ids->{$at{b}}, $list->{$at{b}}{id}, 'edit: the id of a changed one');
is_deeply([sort keys %$ids], [sort $at{a}, $at{b}, $at{d}, '127.0.0.1:9'],
    'edit: the servers');
is($state->method, 'least_conn_ext', 'edit: the method');
cmp_ok($u->peer($at{a})->{requests}, '>=', $before->{requests},
    'edit: counters stay');
like($estimate, qr/^\d/, 'edit: there was an estimate');
is($u->peer($at{b})->{weight}, 4, 'edit: what was changed');
ok($u->peer($at{d})->{backup}, 'edit: a backup');

SKIP: {
    skip 'another server was chosen', 1 unless $held;
    is($held->receive->body, 'a', 'edit: a request from before ends well');
}

SKIP: {
    skip 'no test hooks', 1 unless $hooks;
    ok($hooks->settles, 'edit: the table is valid') or diag($hooks->unrest);
}

# generation and file are as they were written: nobody writes it anew
my $edited = $state->text;
ok($t->wait_for(sub { $state->doc($state->good)->{next_id} }),
    'edit: the good copy follows');
is($state->text, $edited, 'edit: the file stays as its editor left it');

# next: an API write makes it canonical
has_status(patch($ids->{$at{b}}, { weight => 2 }), 200, 'after an edit: a change');
ok($state->is_saved, 'after an edit: saved');
is($state->doc->{version}, 1, 'after an edit: in the full form');
is_deeply($state->ids, $ids, 'after an edit: the ids');

###############################################################################
# other ways to edit, while requests run

like($state->edit({ servers => [$at{a}, $at{b}] }), qr/ applied/, 'two servers');

my $load = $t->load(uri => '/u', rate => 300, concurrency => 4);
my $set  = sub (@servers) { return { servers => [@servers] } };

# what it says can be read only when it is complete, so there is no more
# than a complaint in between
$mark = $t->log_mark;
$state->overwrite($set->($at{a}, $at{b}, $at{c}));
ok($t->wait_for(sub { $state->ids->{$at{c}} }), 'an edit in place');

for my $i (1 .. 5) {
    $state->put($set->($at{a}, $at{b}, "127.0.0.1:$i"));
    sleep 0.05;
}
$state->put($set->($at{a}, $at{b}, $at{c}, $at{d}));
ok($t->wait_for(sub { $state->ids->{$at{d}} }), 'several edits in a row');
ok($state->is_saved, 'several edits in a row: settled');
is_deeply([sort keys $state->ids->%*], [sort $at{a}, $at{b}, $at{c}, $at{d}],
    'several edits in a row: the last one is in force');

# a link stays one

rename $state->path, "$dir/target.json";
symlink 'target.json', $state->path;
sleep 0.1;
has_status(patch($state->ids->{$at{a}}, { weight => 7 }), 200, 'a link');
ok($state->is_saved, 'a link: saved');
ok(-l $state->path, 'a link: stays one');
is(brief($state->listed)->{a} =~ s/^\d+ //r, 'weight=7',
    'a link: what it leads to is written');
$state->overwrite($state->text =~ s/"weight":7/"weight":8/r,
    "$dir/target.json");
ok($t->wait_for(sub { $state->servers->{$at{a}}{weight} == 8 }),
    'a link: an edit behind it');
rename "$dir/target.json", $state->path;

# a file that is deleted is written again

my $ids_before = $state->ids;
unlink $state->path;
ok($t->wait_for(sub { -e $state->path }), 'deleted: written again');
saved(brief(), 'deleted');
is_deeply($state->ids, $ids_before, 'deleted: the same servers');

my $totals = $load->stop;
is_deeply($totals->{failed}, {}, 'no request has failed through all this')
    or diag($load->summary);
cmp_ok(scalar keys $totals->{by}->%*, '>=', 2, 'several servers have answered');

# the worker that looks after the file is killed

my ($line) = $t->grep_log(qr/state file "\S+" applied/, $mark);
my ($leader) = $line =~ /#(\d+): /;
$t->kill_worker(KILL => $leader);
my $begin = time;
has_status(post({ server => '127.0.0.1:2' }), 201, 'leader killed: a change');
ok($t->wait_for(sub { $state->listed->{'127.0.0.1:2'} }),
    'leader killed: another one saves it');
cmp_ok(time - $begin, '<', timeout(2), 'leader killed: within 2 s');

# an edit that meets a change of the API: one of them wins, and it is told

my $meets = 0;

for my $i (10 .. 14) {
    $mark = $t->log_mark;
    my $edit = { servers => [$at{a}, $at{b}, "127.0.0.1:$i"] };
    $state->put($edit);
    sleep rand 0.8;
    my $r = post({ server => "127.0.0.2:$i" });
    has_status($r, 201, "a race, $i");
    ok($t->wait_for(sub { $state->ids->{"127.0.0.1:$i"} }),
        "a race, $i: the edit is in force");
    ok($state->is_saved, "a race, $i: saved");

    my $there = $state->ids->{"127.0.0.2:$i"};
    my $told  = $t->grep_log(qr/ applied:.* 127\.0\.0\.2:$i removed/, $mark);
    is(!!$there, !$told, "a race, $i: the change is there, or it is told");
    $meets++ if $told;
}

note("$meets of 5 changes met an edit");

# whoever dies while he writes: what was answered with 201 is there, and
# what a dead one has written is nobody's edit

my @posted;
my $torn = 0;
$mark = $t->log_mark;

for my $i (1 .. 40) {
    $t->kill_worker if $i % 5 == 0;
    my $r = post({ server => "127.0.0.4:$i", down => $true });
    push @posted, "127.0.0.4:$i" if $r->status eq '201';
    $torn++ unless $state->doc && $state->doc($state->good);
    sleep 0.02;
}

ok($state->is_saved, 'kills: saved');
is_deeply([grep { !$state->listed->{$_} } @posted], [],
    'kills: no change was lost');
is($torn, 0, 'kills: the file is whole at any time');
ok(!$t->grep_log(qr/state file .*(?:edited|applied)/, $mark),
    'kills: nothing looks like an edit')
    or diag($t->grep_log(qr/state file/, $mark));

###############################################################################
# reload

sub holds ($name, $what) {
    my @before = (brief(), $state->ids, $state->method);
    $what->();
    is_deeply([brief(), $state->ids, $state->method], \@before,
        "$name: all is as before");
    ok($state->is_saved, "$name: saved");
}

has_status($u->call(PUT => 'servers/', [
    { server => $at{a}, weight => 2 }, { server => $at{b}, drain => $true },
    { server => $at{c}, lrt => { health => 'up' } },
]), 200, 'reload: three servers');

holds('reload', sub { $t->reload });
holds('reload, other lines', sub {
    conf('lrt_state state/u.json; server %%ADDRESS_d%%;')->reload;
});
holds('reload, another zone', sub {
    conf("zone u 1m; $conf")->reload;
});

$held = $t->begin('/u?delay=700');
$t->wait_for(sub { grep { $t->backend($_)->stats->{active} } @names });
holds('reload, a smaller zone', sub { conf("zone u 64k; $conf")->reload });
is($held->receive->status, 200, 'reload, a smaller zone: a request ends well');

for my $i (1 .. 3) {
    has_status(post({ server => "127.0.0.3:$i", down => $true }), 201,
        'reload right after a change');
    holds("reload right after a change, $i", sub {
        conf('zone u ' . 128 * $i . "k; $conf")->reload;
    });
    ok($state->listed->{"127.0.0.3:$i"}, 'which is saved');
}

# an edit just before a reload

$state->put({ servers => [$at{a}, $at{b}], next_id => 100 });
$t->reload;
ok($t->wait_for(sub { keys $state->ids->%* == 2 }),
    'an edit right before a reload is in force');

is(LRT::API::data(post({ server => $at{c} }))->{id} >= 20, 1, 'ids go on');

# a group that runs gets a file, which decides

my $other = LRT::State->new($t, $api, 'v', "$dir/v.json");
my $v     = 'server %%ADDRESS_a%%; server %%ADDRESS_b%%;';

conf("upstream u { $conf } upstream v { round_robin_ext; $v }")->reload;
$other->api->call(POST => 'servers/', { server => $at{d} });
$other->put({ servers => [$at{c}] });
conf("upstream u { $conf } upstream v { round_robin_ext; $v
    lrt_state state/v.json; }")->reload;
ok($t->wait_for(sub { join(' ', keys $other->ids->%*) eq $at{c} }),
    'a file comes to a group that runs: it decides')
    or diag(explain $other->ids);

unlink $other->path, $other->good;
conf("upstream u { $conf } upstream v { round_robin_ext; $v }")->reload;
ok(!defined $other->status, 'a file leaves a group');
$other->api->call(POST => 'servers/', { server => $at{d} });
conf("upstream u { $conf } upstream v { round_robin_ext; $v
    lrt_state state/v.json; }")->reload;
ok($other->is_saved, 'a new file for a group that runs: written');
is_deeply([sort keys $other->listed->%*], [sort keys $other->ids->%*],
    'a new file for a group that runs: with what it is');
ok($other->listed->{$at{d}}, 'a new file for a group that runs: all of it');

###############################################################################
# a binary upgrade: of two instances one writes the file and takes changes, and
# the other one follows it; more is in t/upgrade.t

$t->stop;
conf($conf)->start(daemon => 1);
post({ server => '127.0.0.5:1', down => $true });
my $both = $state->ids;

$t->signal('USR2');
ok($t->wait_for(sub {
    $t->old_master_pid && $t->old_master_pid != $t->master_pid
        && $t->workers >= 6
}, 15), 'upgrade: two instances run');

my @taken;

for my $server (map { "127.0.0.6:$_" } 1 .. 6) {
    my $r = post({ server => $server, down => $true });
    push @taken, $server if $r->status eq '201';
    like($r->status eq '201' ? 'taken' : LRT::API::fault($r),
        qr/^(?:taken|503 StateElsewhere)$/, 'upgrade: a change');
    sleep 0.3;
}

kill QUIT => $t->old_master_pid;
ok($t->wait_for(sub { !$t->old_master_pid }, 15), 'upgrade: the old one ends');

ok($t->wait_for(sub {
    join(' ', sort keys $state->listed->%*)
        eq join(' ', sort keys $state->ids->%*)
}), 'upgrade: the file is in force');
is($state->ids->{$_}, $both->{$_}, "upgrade: $_ has its id")
    for sort keys %$both;
is_deeply([grep { !defined $state->ids->{$_} } @taken], [],
    'upgrade: changes that were taken are there');

ok($t->wait_for(sub {
    post({ server => '127.0.0.6:7', down => $true })->status eq '201';
}), 'upgrade: the new one takes changes then');

# a change in the last moment before nginx ends; nobody else writes the file

like($state->edit({ servers => [$at{a}] }), qr/ applied/,
    'stop right after a change: one instance runs');

for my $i (1 .. 4) {
    has_status(post({ server => "127.0.0.8:$i", down => $true }), 201,
        'stop right after a change');
    restart_with($conf);
    ok(defined $state->ids->{"127.0.0.8:$i"}, 'stop right after a change: saved');
}

###############################################################################
# without a master

$t->stop;
conf($conf);
$t->conf(main => 'master_process off;', http => "upstream u { $conf }" . q{
    server {
        listen 127.0.0.1:%%PORT_api%%;
        location /api { lrt_api write=on; }
    }
})->start;
has_status(post({ server => '127.0.0.7:1' }), 201, 'no master: a change');
ok($state->is_saved && $state->listed->{'127.0.0.7:1'}, 'no master: saved');
like($state->edit({ servers => [$at{a}] }), qr/ applied/, 'no master: an edit');

###############################################################################
# all forms of the file, each in a group of its own

my %algorithm = (
    round_robin => 'round_robin_ext', least_connections => 'least_conn_ext',
    least_conn => 'least_conn_ext', hashing => 'iphash_ext',
    ip_hash => 'iphash_ext', least_response_time => 'least_time header',
    least_time => 'least_time header', least_conn_ext => 'least_conn_ext',
    'least_time last_byte inflight' => 'least_time last_byte inflight',
);

my @forms = (
    ['short' => {
        servers => [
            { host => '127.0.0.1', port => 8080 }, '127.0.0.1:81',
            'http://127.0.0.1:82/', 'HTTP://127.0.0.1:83', '127.0.0.1',
            'http://[::1]:84/', { host => '::1', port => 85 },
            { host => '[::1]' }, { server => 'http://127.0.0.2' },
            'unix:/tmp/x.sock',
        ],
        algorithm => 'round_robin', health_check_url => '/health',
        health_check_interval => 10,
    }, [qw(127.0.0.1:8080 127.0.0.1:81 127.0.0.1:82 127.0.0.1:83 127.0.0.1:80
           [::1]:84 [::1]:85 [::1]:80 127.0.0.2:80 unix:/tmp/x.sock)]],
    ['empty' => { servers => [] }, []],
    ['ids' => { next_id => 50, servers => [
        { server => '127.0.0.1:1', id => 7 }, '127.0.0.1:2',
        { server => '127.0.0.1:3', id => 60 },
    ] }, [qw(127.0.0.1:1 127.0.0.1:3 127.0.0.1:2)]],
    (map { ["algorithm $_" => { algorithm => $_, servers => ['127.0.0.1:1'] },
        ['127.0.0.1:1'], $algorithm{$_}] } sort keys %algorithm),
    (map { ["method $_" => { method => $_, servers => ['127.0.0.1:1'] },
        ['127.0.0.1:1'], $_] } 'least_time header', 'iphash_ext'),
);

my $groups = '';

for my $i (0 .. $#forms) {
    my $form = LRT::State->new($t, $api, "f$i", "$dir/f$i.json");
    $form->put($forms[$i][1]);
    push $forms[$i]->@*, $form;
    $groups .= "upstream f$i { lrt_state state/f$i.json; server 127.0.0.9; }";
}

restart_with($groups);

for (@forms) {
    my ($name, $doc, $servers, @more) = @$_;
    my $form = pop @more;
    my @have = map { $_->{server} =~ /^unix|:\d+$/
        ? $_->{server} : "$_->{server}:80" } $form->api->servers->@*;

    is_deeply([sort @have], [sort @$servers], "form, $name: the servers");
    is($form->method, $more[0], "form, $name: the method") if @more;
    is_deeply($form->doc, JSON::PP->new->decode(JSON::PP->new->encode($doc)),
        "form, $name: the file is not touched");
}

is_deeply($forms[2][-1]->ids,
    { '127.0.0.1:1' => 7, '127.0.0.1:3' => 60, '127.0.0.1:2' => 61 },
    'form, ids: those that were given, and behind them');

$t->done;
