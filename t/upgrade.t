#!/usr/bin/perl

# A binary upgrade and the way back, while requests come over new connections
# and somebody changes servers through whichever instance answers: no request
# fails, and each change that was taken is there in the end.  What was set and
# learned before is known to the new instance.
#
# LRT_SEED=N repeats the times and changes of a run.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use LRT;
use LRT::API;
use LRT::HTTP::Client;
use LRT::Net qw(timeout);
use LRT::State;

my $t = LRT->new(name => 'upgrade', need => [qw(module proxy)]);

my $seed = $ENV{LRT_SEED} || int rand 1_000_000;
srand $seed;
diag("LRT_SEED=$seed");

my %delay = (a => 1, b => 4, c => 40);
my @names = sort keys %delay;

$t->backend($_, delay => $delay{$_}) for @names;

my %at    = map { ($_ => $t->address($_)) } @names;
my $api   = LRT::API->new($t);
my $dir   = $t->dir . '/state';
my $rounds = $ENV{LRT_QUICK} ? 1 : 3;
my ($true, $false) = (LRT::API::true(), LRT::API::false());

mkdir $dir or die "$dir: $!\n";
chmod 0777, $dir;

my $state = LRT::State->new($t, $api, 'u', "$dir/u.json");
my $idle  = LRT::State->new($t, $api, 'idle', "$dir/idle.json");
my $u     = $state->api;

sub configure ($more = '') {
    return $t->conf(workers => 2,

    # what sanitizers are told has to outlive the upgrade
    main => 'env ASAN_OPTIONS; env UBSAN_OPTIONS;',

    http => q{
        upstream u {
            MORE
            least_time header;
            lrt_state state/u.json;
            server %%ADDRESS_a%%;
            server %%ADDRESS_b%%;
        }
        upstream idle {
            least_time header;
            lrt_state state/idle.json;
            server %%ADDRESS_a%%;
            server %%ADDRESS_c%%;
        }
        server {
            listen 127.0.0.1:%%PORT_http%%;
            location / { proxy_pass http://u; }
            location /idle { proxy_pass http://idle; }
        }
        server {
            listen 127.0.0.1:%%PORT_api%%;
            location /api { lrt_api write=on; }
        }
    } =~ s/MORE/$more/r);
}

configure();

###############################################################################
# what somebody knows who has made changes: those that were answered with 200

my %wanted;             # address => { id, weight, drain, health, down }
my %refused;            # how often, and why
my $number = 0;

sub pause ($most) { sleep rand timeout($most) }


# One change, of which the answer says whether it was taken.

sub change ($name) {
    my @kept = grep { /^127\.0\.5\./ } keys %wanted;
    my $what = @kept < 3 ? 'add' : (qw(add weight drain health remove))[rand 5];
    my $server = $what eq 'add' ? '127.0.5.' . ++$number % 250 . ":$number"
        : $kept[rand @kept];
    my $id = ($wanted{$server} // {})->{id};

    my ($r, $set);

    if ($what eq 'add') {
        $r = $u->call(POST => 'servers/', { server => $server,
            down => $true, weight => 1 + $number % 9 });
        $set = { weight => 1 + $number % 9, down => 1, drain => 0,
            health => 'auto' };
        $set->{id} = LRT::API::data($r)->{id} if $r->status eq '201';

    } elsif ($what eq 'remove') {
        $r = $u->call(DELETE => "servers/$id");

    } else {
        my $weight = 10 + int rand 90;
        my $health = (qw(auto up down))[rand 3];
        my %patch = (
            weight => [{ weight => $weight }, { weight => $weight }],
            drain  => [{ drain => $true }, { drain => 1 }],
            health => [{ lrt => { health => $health } }, { health => $health }],
        );

        $r = $u->call(PATCH => "servers/$id", $patch{$what}[0]);
        $set = { $wanted{$server}->%*, $patch{$what}[1]->%* };
    }

    if ($r->status =~ /^20[01]$/) {
        if ($set) { $wanted{$server} = $set } else { delete $wanted{$server} }
        return 1;
    }

    # one that the writer has added may not be known to the other one yet
    my $fault = LRT::API::fault($r);
    $refused{$fault}++;
    fail("$name: $what of $server: $fault")
        unless $fault =~ /^(?:503 StateElsewhere|404 UpstreamServerNotFound)$/;
    return 0;
}


sub changes ($seconds, $name) {
    my $end = time + timeout($seconds);
    my $n = 0;

    while (time < $end) {
        $n += change($name);
        pause(0.08);
    }

    return $n;
}


# The servers of a list in the form of %wanted.

sub brief ($servers) {
    my %brief;

    for my $server (@$servers) {
        $brief{ $server->{server} } = {
            id => $server->{id}, weight => $server->{weight},
            down => $server->{down} ? 1 : 0, drain => $server->{drain} ? 1 : 0,
            health => ($server->{lrt} // {})->{health} // 'auto',
        };
    }

    return \%brief;
}


sub all_there ($name) {
    my $same = sub ($servers) {
        my $brief = brief($servers);
        my $text  = sub ($all) {
            join ';', map { my $s = $all->{$_};
                join ' ', $_, map { "$_=$s->{$_}" } sort keys %$s }
                sort keys %$all;
        };
        return $text->($brief) eq $text->(\%wanted);
    };

    ok($t->wait_for(sub { $same->($u->servers) }, 10),
        "$name: all changes that were taken are in force");
    ok($t->wait_for(sub { $same->($state->doc->{servers}) }, 10),
        "$name: and saved");

    # whichever instance answers

    my $seen;
    $t->wait_for(sub { $seen = $u->servers; $same->($seen) });
    is_deeply(brief($seen), \%wanted, "$name: with their ids")
        or diag(join "\n", $t->grep_log(qr/u\.json" (?:applied|of)/));
}


sub writable ($name) {
    ok($t->wait_for(sub { change($name) }, 10), "$name: changes are taken");
}

###############################################################################
# the processes of both instances

sub workers_of ($master) {
    return grep { $_->{parent} == $master && $_->{title} =~ /worker process/ }
        $t->processes;
}


sub begin ($name) {
    my $old = $t->master_pid;
    $t->signal('USR2');

    ok($t->wait_for(sub {
        my $new = $t->master_pid;
        $new && $new != $old && ($t->old_master_pid // 0) == $old
            && workers_of($new) == 2;
    }, 20), "$name: two instances run") or die "no upgrade\n";

    return ($old, $t->master_pid);
}


sub winch ($old, $name) {
    kill WINCH => $old;
    ok($t->wait_for(sub { !workers_of($old) }, 20),
        "$name: the old workers have left");
}


sub gone ($pid) {
    return $t->wait_for(sub { !grep { $_->{pid} == $pid } $t->processes }, 20);
}


sub no_failures ($load, $name) {
    my $totals = $load->stop;
    is_deeply($totals->{failed}, {}, "$name: no request failed")
        or diag($load->summary);
    cmp_ok($totals->{ok}, '>', 20, "$name: " . $load->summary);
}


# What the idle group knows: times and ages by name.

my %name = reverse %at;

sub known () {
    return { map { ($name{ $_->{server} } => $_->{lrt}) }
        grep { defined $_->{lrt}{estimate_us} } $idle->api->get->{peers}->@* };
}

###############################################################################

$t->start(daemon => 1);
ok($state->is_saved, 'nginx runs');

ok($u->call(PATCH => 'servers/1', { weight => 7 })->status eq '200'
    && $u->call(POST => 'servers/', { server => $at{c}, weight => 3,
        drain => $true })->status eq '201'
    && $u->call(POST => 'servers/', { server => '127.0.5.250:1',
        lrt => { health => 'down' } })->status eq '201',
    'a weight, a server that drains, one that is forced down');

$t->many(40, '/idle');
my $learned = known();
my $since   = time;
is_deeply([sort keys %$learned], [qw(a c)], 'both are known');
ok($t->wait_for(sub {
    my $doc = $idle->doc($idle->path . '.learned') // return;
    return 2 == grep {
        my $us = $learned->{ $name{ $_->{server} } }{estimate_us};
        abs($_->{estimate_us} - $us) <= 1 + $us / 1000;
    } $doc->{servers}->@*;
}, 20), 'and that is written');

%wanted = brief($u->servers)->%*;
is(scalar keys %wanted, 4, 'four servers');

for my $round (1 .. $rounds) {

    # the way there

    my $name = "upgrade $round";
    my $load = $t->load(uri => '/', rate => 150, concurrency => 8);
    my $held = $t->begin('/?a.delay=2500&b.delay=2500');

    changes(0.4, $name);
    my ($old, $new) = begin($name);
    my $taken = changes(1, $name);
    pause(0.6);

    kill WINCH => $old;
    $taken += changes(rand 1.5, $name);
    ok($t->wait_for(sub { !workers_of($old) }, 20),
        "$name: the old workers have left");
    writable($name);
    $taken += changes(rand 1, $name);
    kill QUIT => $old;
    ok(gone($old), "$name: the old instance has ended");
    writable($name);

    is($held->receive->status, 200, "$name: a request from before ends well");
    no_failures($load, $name);
    all_there($name);
    note("$taken changes taken while two instances ran");

    is($t->master_pid, $new, "$name: the new one runs");

    my $known = known();

    for (qw(a c)) {
        my $lrt = $known->{$_} // {};
        ok(abs(($lrt->{estimate_us} // 0) - $learned->{$_}{estimate_us})
            <= 3 + $learned->{$_}{estimate_us} / 100, "$name: estimate of $_")
            or diag(explain $lrt, $learned->{$_});
        cmp_ok($lrt->{estimate_age_ms} // 0, '>=', 1000 * (time - $since) - 500,
            "$name: and its age");
    }

    # there and back

    $name = "back $round";
    $load = $t->load(uri => '/', rate => 150, concurrency => 8);
    ($old, $new) = begin($name);
    changes(rand 1, $name);
    winch($old, $name);
    writable($name);
    changes(rand 1, $name);

    kill HUP => $old;
    ok($t->wait_for(sub { workers_of($old) == 2 }, 20),
        "$name: the old one has workers again");
    changes(rand 1, $name);
    kill QUIT => $new;
    changes(rand 1, $name);
    ok(gone($new), "$name: the new instance has ended");
    writable($name);
    changes(rand 0.5, $name);

    no_failures($load, $name);
    all_there($name);
    is($t->master_pid, $old, "$name: the old one runs");
}

note("refused: ", explain \%refused);

###############################################################################
# FILE.lock was removed while one instance ran

{
    my $lock = $state->path . '.lock';
    unlink $lock;
    ok($t->wait_for(sub { -e $lock }), 'no lock: it is made anew');
    writable('no lock');

    my ($old, $new) = begin('no lock');
    changes(1, 'no lock');
    kill QUIT => $old;
    ok(gone($old), 'no lock: the old instance has ended');
    writable('no lock');
    all_there('no lock');
}

###############################################################################
# the writer is reloaded under changes: its next worker goes first

{
    my $name = 'reloaded';
    my ($old, $new) = begin($name);

    changes(0.5, $name);
    kill HUP => $old;
    changes(3, $name);
    kill QUIT => $old;
    ok(gone($old), "$name: the old instance has ended");
    writable($name);
    all_there($name);
}

###############################################################################
# an old worker with a request stays when the table was replaced, and must not
# keep the file

{
    my $name = 'another zone';

    # some at the worker that writes

    my @held = map { $t->begin('/?a.delay=20000&b.delay=20000') } 1 .. 12;

    changes(0.3, $name);
    configure('zone u 1m;');
    $t->reload;
    changes(0.3, $name);

    my ($old, $new) = begin($name);
    kill QUIT => $old;
    writable($name);
    ok(scalar(workers_of($old)), "$name: requests are still there");
    $_->close for @held;
    ok(gone($old), "$name: the old instance has ended");
    all_there($name);
}

###############################################################################
# all workers of the writer are killed right after a change was taken

{
    my $name = 'killed';
    my ($old, $new) = begin($name);

    for my $i (1 .. 2) {
        writable($name);
        my @workers = map { $_->{pid} } workers_of($old);
        $t->expect_alerts(map { qr/process $_ exited on signal 9/ } @workers);
        kill KILL => @workers;
        ok($t->wait_for(sub {
            my @now = map { $_->{pid} } workers_of($old);
            @now == 2 && !grep { my $pid = $_; grep { $_ == $pid } @workers } @now;
        }, 10), "$name: there are others");
        all_there("$name, $i");
    }

    kill QUIT => $old;
    ok(gone($old), "$name: the old instance has ended");
    writable($name);
    all_there($name);
}

is_deeply([$t->grep_log(qr/\[error\].* lacks what was changed/)], [],
    'nobody left with something unsaved');

$t->done;
