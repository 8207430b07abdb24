#!/usr/bin/perl

# The last change before nginx ends is in the state file, whoever was to write
# it and however slow he or the disk is; or the log says that it is not.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use LRT;
use LRT::API;
use LRT::Net qw(timeout);
use LRT::Shim;
use LRT::State;

my $t = LRT->new(name => 'state_exit', need => [qw(module)]);

my $shim = LRT::Shim->new($t, 'disk') or $t->skip_all('needs a C compiler');
my $api  = LRT::API->new($t);
my $dir  = $t->dir . '/state';

mkdir $dir or die "$dir: $!\n";
chmod 0777, $dir;

my $state = LRT::State->new($t, $api, 'u', "$dir/u.json");
my $u     = $state->api;
my $last  = 0;

$t->conf(workers => 3, http => q{
    upstream u { lrt_state state/u.json; server 127.0.0.1:9; }
    server {
        listen 127.0.0.1:%%PORT_api%%;
        location /api { lrt_api write=on; }
    }
});


sub start () {
    $shim->set(delay => 0);
    $shim->start;
    ok($state->is_saved, 'nginx runs');
}


# A server more; its address.

sub change ($name) {
    my $server = '127.0.8.' . ++$last . ':1';
    my $r = $u->call(POST => 'servers/',
        { server => $server, down => LRT::API::true() });
    is($r->status, 201, "$name: a change is answered") or diag($r->body);
    return $server;
}


sub listed ($server) { return $state->text =~ /"\Q$server\E"/ }


# The worker that looks after the file.

sub leader () {
    my $line = $state->edit({ servers => ['127.0.7.' . ++$last . ':1'] });
    return $line =~ /#(\d+): / ? $1 : die "who has applied it? $line\n";
}


# Each writes that begins takes so long, and one has begun.

sub slow_disk ($ms, $name) {
    my $before = $shim->get('syncs');
    $shim->set(delay => $ms);
    my $server = change($name);
    ok($t->wait_for(sub { $shim->get('syncs') > $before }),
        "$name: it is being written");
    return $server;
}

###############################################################################
# who was to write it is stopped: those who leave do not rely on him

start();

my $leader = leader();
my $server = slow_disk(60_000, 'stopped');
kill STOP => $leader;
$shim->set(delay => 0);
$t->signal('QUIT');

ok($t->wait_for(sub { listed($server) }, 5),
    'stopped: another one has saved it before he left');
$t->kill_worker(KILL => $leader);
$t->stop;

start();
ok($state->ids->{$server}, 'stopped: it is there after a start');

###############################################################################
# a change that comes while the one before is written, on a slow disk: to save
# one takes four times as long as it takes to sync a file or a folder

for my $signal (qw(QUIT TERM)) {
    my $name = "slow disk, $signal";
    my @servers = slow_disk($signal eq 'QUIT' ? 350 : 50, $name);

    push @servers, change($name);
    my $mark = $t->log_mark;
    $t->stop($signal);

    # a second may be too short on a busy machine, but not in silence
    my $told = $signal eq 'TERM' && $t->grep_log(qr/ lacks what was /, $mark);
    is_deeply([grep { !$told && !listed($_) } @servers], [],
        "$name: both are saved");
    start();
}

# too slow

for my $signal (qw(QUIT TERM)) {
    my $name = "no disk, $signal";
    my $mark = $t->log_mark;
    slow_disk(60_000, $name);
    $server = change($name);

    my $begin = time;
    $t->stop($signal);
    cmp_ok(time - $begin, '<', timeout(6), "$name: nginx ends");
    ok(!listed($server), "$name: it cannot be saved");
    like(join('', $t->grep_log(qr/u\.json/, $mark)),
        qr/\[error\].*"\S+u\.json" of upstream "u" lacks what was changed/,
        "$name: and that is told");
    start();
}

###############################################################################
# an edit that was not seen yet decides, and what it takes back is named

for my $i (1 .. 4) {
    my $mark = $t->log_mark;
    $state->put({ servers => ["127.0.6.$i:1"] });
    $server = change("edit, $i");
    $t->stop;

    ok(listed("127.0.6.$i:1"), "edit, $i: it is in force");
    ok(listed($server) || $t->grep_log(qr/ applied: .*\b\Q$server\E removed/, $mark),
        "edit, $i: the change is there, or it is told")
        or diag(join "\n", $t->grep_log(qr/u\.json/, $mark));
    start();
}

###############################################################################
# and one that comes while something else is written is not overwritten

{
    my $mark = $t->log_mark;
    $server = slow_disk(60_000, 'edit of a slow disk');
    $state->put({ servers => ['127.0.6.9:1'] });
    $shim->set(delay => 0);
    like($state->answer($mark), qr/ applied: .*\b\Q$server\E removed/,
        'edit of a slow disk: what it takes back is told');
    ok(listed('127.0.6.9:1') && !$state->ids->{$server},
        'edit of a slow disk: it is in force');
}

# who was stopped while he wrote does not bring back what was before

{
    my $name = 'late writer';
    $leader = leader();
    my $mark = $t->log_mark;
    my @servers = slow_disk(60_000, $name);
    kill STOP => $leader;
    $shim->set(delay => 0);
    ok($t->wait_for(sub { listed($servers[0]) }), "$name: another one saves it");

    # a worker that is stopped may be the one to be told of a connection
    push @servers, '127.0.9.1:1';
    $state->edit({ servers => [map { { server => $_, down => \1 } } @servers] });
    kill CONT => $leader;
    push @servers, change($name);
    ok($state->is_saved, "$name: saved");
    sleep 0.6;
    is_deeply([grep { !listed($_) || !defined $state->ids->{$_} } @servers], [],
        "$name: nothing was taken back")
        or diag(join "\n", $t->grep_log(qr/u\.json/, $mark));
}

$t->done;
