#!/usr/bin/perl

# "lrt_state" on a disk that is full or broken: the file is whole at any time,
# the one before or the one after, whoever is killed at whichever call; and
# starts with all that may stand where the file should be.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use Errno qw(EACCES EDQUOT EIO ENOSPC EROFS);
use POSIX ();
use Test::More;

use LRT;
use LRT::API;
use LRT::Shim;
use LRT::State;

my $t = LRT->new(name => 'state_disk', need => [qw(module)]);

my $shim = LRT::Shim->new($t, 'disk') or $t->skip_all('needs a C compiler');
my $api  = LRT::API->new($t);
my $dir  = $t->dir . '/state';
my $last = 0;

mkdir $dir or die "$dir: $!\n";

my %at    = (write => 1, fsync => 2, close => 3, rename => 4, renamed => 5);
my $state = LRT::State->new($t, $api, 'u', "$dir/u.json");


sub block ($name) {
    return "upstream $name { lrt_state state/$name.json; server 127.0.0.1:9; }";
}


sub conf ($upstreams) {
    return $t->conf(workers => 2, http => $upstreams . q{
        server {
            listen 127.0.0.1:%%PORT_api%%;
            location /api { lrt_api write=on; }
        }
    });
}


# A server more; its address.

sub change ($name) {
    my $server = '127.0.8.' . ++$last . ':1';
    my $r = $state->api->call(POST => 'servers/',
        { server => $server, down => LRT::API::true() });
    is($r->status, 201, "$name: a change is answered") or diag($r->body);
    return $server;
}


sub temporary () { return glob "$dir/*.tmp" }


conf(block('u'));
$shim->start;
ok($state->is_saved, 'nginx runs');

###############################################################################
# calls that fail

for (
    [write => ENOSPC], [rename => EACCES],
    $ENV{LRT_QUICK} ? () : ([write => EIO], [fsync => EIO], [fsync => ENOSPC],
        [close => EDQUOT], [rename => EROFS], [rename => ENOSPC]),
) {
    my ($call, $error) = @$_;
    my $why  = $! = $error;
    my $name = "$call(): $why";
    my $path = quotemeta $state->path;
    my $text = $state->text;
    my $mark = $t->log_mark;
    my @told;

    $shim->set(error => $error, at => $at{$call});
    my $server = change($name);

    ok($t->wait_for(sub {
        @told = $t->grep_log(qr/"$path" .*could not be saved/, $mark);
    }), "$name: is told");
    like("@told", qr/\[crit\].*: $call\(\) failed \($error: \Q$why\E\)/,
        "$name: with the reason");

    my $status = $state->status;
    is("$status->{saved}$status->{valid}", '01', "$name: the API says so");
    ok(defined $state->ids->{$server}, "$name: the change is in force");
    is($state->text, $text, "$name: the file is as before");
    is($state->text($state->good), $text, "$name: and so is its copy");
    is_deeply([temporary()], [], "$name: nothing is left behind");
    ok(($t->test_config)[0], "$name: nginx -t finds no fault");

    $shim->set(at => 0);
    ok($state->is_saved && $state->listed->{$server},
        "$name: saved as soon as that is possible");
    ok($t->wait_for(sub { $state->text($state->good) eq $state->text }),
        "$name: and the copy follows");

    @told = $t->grep_log(qr/"$path" .*could not be saved/, $mark);
    is(scalar @told, 1, "$name: it was told once") or diag("@told");
}

###############################################################################
# a worker that is killed at one of them

for my $call ($ENV{LRT_QUICK} ? qw(write rename) : sort keys %at) {
    my $name   = "killed at $call()";
    my %worker = map { $_ => 1 } $t->workers;

    $shim->set(error => 0, at => $at{$call});
    $t->expect_alerts(qr/exited on signal 9/);

    my $torn   = 0;
    my $server = change($name);

    ok($t->wait_for(sub {
        $torn++ unless $state->doc && $state->doc($state->good);
        grep { !$worker{$_} } $t->workers;
    }), "$name: somebody was");

    ok($state->is_saved && $state->listed->{$server},
        "$name: another one has saved it");
    ok($t->wait_for(sub { $state->text($state->good) eq $state->text }),
        "$name: and the copy as well");
    is($torn, 0, "$name: both were whole at any time");
    unlink temporary();
}

# all of nginx, between the first byte and the new name

for my $call ('rename', $ENV{LRT_QUICK} ? () : qw(write renamed)) {
    my $name = "all are killed at $call()";

    ok($state->is_saved, "$name: all is saved");
    my %before = $state->ids->%*;

    # the master first: nobody starts another worker

    my @workers = $t->workers;
    kill STOP => $t->master_pid;
    $shim->set(error => 0, at => $at{$call});
    my $server = change($name);

    $t->wait_for(sub { $shim->get('at') == 0 });
    kill KILL => $t->master_pid, @workers;
    $t->signal('KILL');
    $t->stop;

    my $mark = $t->log_mark;
    $shim->start;
    my $there = $state->ids;

    is_deeply({ %$there, $server => 0 }, { %before, $server => 0 },
        "$name: the servers from before");
    is(defined $there->{$server}, $call eq 'renamed',
        "$name: the file is the one " . ($call eq 'renamed' ? 'after' : 'before'));
    is(scalar $t->grep_log(qr/\[(?:error|crit|alert|emerg)\]/, $mark), 0,
        "$name: there is nothing to complain of");
    unlink temporary();
}

$t->stop;

###############################################################################
# a start with something else where the file should be

my $copy = '{"servers":[{"id":5,"server":"127.0.0.9:1"}],"next_id":9}';

my @things = (
    ['100 MB of nothing' => sub ($path) {
        open my $file, '>', $path or die "$path: $!\n";
        truncate $file, 100e6 or die "$path: $!\n";
    }, qr/it is larger than 64 MiB\b/],
    ['100 MB of a list' => sub ($path) {
        open my $file, '>', $path or die "$path: $!\n";
        print $file '{"servers":[' . '"127.0.0.1:1",' x 7_200_000
            or die "$path: $!\n";
    }, qr/it is larger than 64 MiB\b/],
    ['a folder' => sub ($path) { mkdir $path }, qr/it is no regular file\b/],
    ['a pipe' => sub ($path) { POSIX::mkfifo($path, 0600) },
        qr/it is no regular file\b/],
    ['a link to itself' => sub ($path) { symlink $path, $path },
        qr/open\(\) failed \(40: /],
    ['a link to a device' => sub ($path) { symlink '/dev/zero', $path },
        qr/it is no regular file\b/],
    ['nothing in it' => sub ($path) { $state->overwrite('', $path) },
        qr/line 1: /],
    $> == 0 ? () : (['not readable' => sub ($path) {
        $state->overwrite($copy, $path);
        chmod 0, $path;
    }, qr/open\(\) failed \(13: Permission denied\)/]),
);

for my $i (0 .. $#things) {
    my ($name, $make, $pattern) = $things[$i]->@*;
    my $path = "$dir/t$i.json";

    $make->($path);
    my ($good, $said) = $t->test_config(http => block("t$i"));
    ok(!$good, "nginx -t, $name: refused");
    like($said, qr/\[emerg\] state file "\Q$path\E" of upstream "t$i": $pattern/,
        "nginx -t, $name: the reason");

    # a start takes the copy

    $state->overwrite($copy, "$path.good");
}

my $mark = $t->log_mark;
conf(join '', map { block("t$_") } 0 .. $#things)->start;

for my $i (0 .. $#things) {
    my ($name, $make, $pattern) = $things[$i]->@*;
    my $thing = LRT::State->new($t, $api, "t$i", "$dir/t$i.json");
    my @told  = $t->grep_log(
        qr{"\Q$dir\E/t$i\.json".*: the last good copy|"t$i": $pattern}, $mark);

    is(scalar @told, 1, "start, $name: told once") or diag("@told");
    like("@told", qr/\[error\].* of upstream "t$i": $pattern.*the last good /,
        "start, $name: the reason");
    is_deeply($thing->ids, { '127.0.0.9:1' => 5 },
        "start, $name: the servers of the good copy");
    is($thing->status->{valid}, 0, "start, $name: the API says so");
    is($thing->text($thing->good), $copy, "start, $name: the copy is kept");
    unlink $thing->path unless rmdir $thing->path;
}

# a folder that workers may not look into, and a master may

SKIP: {
    skip 'workers have another name only as root', 1 if $> != 0;

    $t->stop;
    $state = LRT::State->new($t, $api, 'v', "$dir/v.json");
    $state->put($copy);
    chmod 0700, $dir;

    my $group = getgrgid((getpwnam 'nobody')[3]);
    my $mark  = $t->log_mark;

    $t->conf(main => "user nobody $group;", http => block('v') . q{
        server {
            listen 127.0.0.1:%%PORT_api%%;
            location /api { lrt_api write=on; }
        }
    })->start;

    is_deeply($state->ids, { '127.0.0.9:1' => 5 },
        'a folder that is closed: the servers of the file');
    ok($t->wait_for(sub { !$state->status->{valid} || !$state->status->{saved} }),
        'a folder that is closed: the API says so');
    like(join('', $t->grep_log(qr{"\Q$dir\E/v\.json"}, $mark)),
        qr/\[(?:error|crit)\].*failed \(13: Permission denied\)/,
        'a folder that is closed: the log has the reason');

    chmod 0777, $dir;
    ok($state->is_saved, 'a folder that is opened: all is well');
}

$t->done;
