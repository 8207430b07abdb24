#!/usr/bin/perl

# "lrt_state" when the file, its folder or the disk is not as it should be:
# the group stays whole, the error says where and why, what is broken is not
# overwritten, and all goes on when it is mended.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep);

use LRT;
use LRT::API;
use LRT::State;

my $t = LRT->new(
    name => 'state_bad', need => [qw(module proxy upstream_zone)]);

srand(my $seed = $ENV{LRT_SEED} // time);
note("LRT_SEED=$seed");

$t->backend($_) for qw(a b);

my %at   = map { ($_ => $t->address($_)) } qw(a b);
my $dir  = $t->dir . '/state';
my $api  = LRT::API->new($t);
my $root = $> == 0;

# as root the workers run under a name that may not do everything

my ($user, $group) = $root ? ('nobody', $() : ();
$group = getgrgid((getpwnam 'nobody')[3]) if $root;

mkdir $dir or die "$dir: $!\n";

my $whole = qq({
  "version": 1,
  "upstream": "u",
  "next_id": 7,
  "method": "least_time header",
  "servers": [
    {"id": 2, "server": "$at{a}", "weight": 3, "fail_timeout": "5s"},
    {"id": 6, "server": "$at{b}", "lrt": {"health": "up"}, "drain": false}
  ]
}
);


sub conf ($upstreams) {
    return $t->conf(workers => 2, main => $root ? "user $user $group;" : '',
        http => $upstreams . q{
        server {
            listen 127.0.0.1:%%PORT_http%%;
            location ~ ^/(?<group>\w+) { proxy_pass http://$group; }
        }
        server {
            listen 127.0.0.1:%%PORT_api%%;
            client_max_body_size 1m;
            location /api { lrt_api write=on; }
        }
    });
}


# A group in a file of its own, which is whole; and its block.

sub group ($name, $folder = $dir) {
    return LRT::State->new($t, $api, $name, "$folder/$name.json")->put($whole);
}


sub block ($state, $zone = '64k') {
    my $name = $state->name;
    return "upstream $name { zone $name $zone; lrt_state ${\$state->path};
        server %%ADDRESS_a%% weight=9; }";
}


# A folder and what is in it belongs to the workers.

sub hand_over ($folder = $dir) {
    chown +(getpwnam $user)[2, 3], $folder, glob "$folder/*" if $root;
}


sub post ($state, $port) {
    return $state->api->call(
        POST => 'servers/', { server => "127.0.0.1:$port", down => \1 });
}


sub add ($state, $port, $status, $name) {
    my $r = post($state, $port);
    my $said = $r->status eq '201' ? 201 : LRT::API::fault($r);
    is($said, $status, $name) or diag($r->body);
    return LRT::API::reason($r);
}

###############################################################################
# what can be wrong with a text: the error as a start, an edit, and the API
# have it

my $n = $whole =~ tr/\n//;

sub with ($old, $new) { return $whole =~ s/\Q$old\E/$new/r }

my @bad = (
    ['empty' => '', qr/line 1: /],
    ['spaces' => " \n\n", qr/line \d: /],
    ['no object' => '[]', qr/line 1: an object is expected/],
    ['a number' => '1', qr/line 1: /],
    ['zeroes' => "\0" x 64, qr/line 1: /],
    ['no UTF-8' => with('"u"', qq("\xff")), qr/line 3: unable to decode byte 0xff/],
    ['no list' => '{}', qr/line 1: an object with a list "servers"/],
    ['another list' => '{"servers":{}}', qr/line 1: .*list "servers"/],
    ['text behind it' => "$whole\n{}", qr/line 12: .*end of file/],
    ['a comma too much' => with('false}', 'false},'), qr/line 9: /],
    ['a deep one' => '[' x 100_000, qr/line 1: .*depth/],
    ['version 2' => with('1,', '2,'), qr/line 2: "version" 2 is not known/],
    ['version 1.0' => with('1,', '1.0,'), qr/line 2: invalid .*"version"/],
    ['an unknown field' => with('"next_id"', '"next"'),
        qr/line 4: unknown parameter "next"/],
    ['a field twice' => with('"upstream"', '"version"'),
        qr/line \d: duplicate object key/],
    ['a wrong method' => with('least_time header', 'fastest'),
        qr/line 5: invalid method "fastest"/],
    ['a stock method' => with('least_time header', 'least_conn'),
        qr/line 5: invalid method "least_conn"/],
    ['an unknown algorithm' => with('"method"', '"algorithm"')
            =~ s/least_time header/magic/r,
        qr/line 5: invalid method "magic"/],
    ['method and algorithm' => with('"upstream": "u"', '"algorithm": "ip_hash"'),
        qr/line 3: both "method" and "algorithm"/],
    ['method of a number' => with('"least_time header"', '3'),
        qr/line 5: invalid value of "method"/],
    ['a list in it' => with('"u"', '["u"]'), qr/line 3: nested .*"upstream"/],
    ['next_id < 0' => with('7,', '-1,'), qr/line 4: invalid value of "next_id"/],
    ['a huge next_id' => with('7,', '1e400,'), qr/line 4: /],
    ['ids run out' => with('"id": 2, ', '')
            =~ s/"id": 6/"id": 9007199254740991/r,
        qr/line 4: there are no more ids/],
    ['server: a huge id' => with('"id": 6', '"id": 9007199254740992'),
        qr/line 8: server 2: invalid value of "id"/],
    ['next_id of 2^64' => with('7,', '18446744073709551616,'), qr/line 4: /],

    ['server: unknown field' => with('"drain"', '"drian"'),
        qr/line 8: server 2: unknown parameter "drian"/],
    ['server: twice in it' => with('"drain"', '"id"'),
        qr/line 8: duplicate object key/],
    ['server: listed twice' => with($at{b}, $at{a}),
        qr/line 8: server 2: server "$at{a}" is listed twice/],
    ['server: id twice' => with('"id": 6', '"id": 2'),
        qr/line 8: server 2: the id 2 is there twice/],
    ['server: none' => with(qq("server": "$at{b}"), '"weight": 1'),
        qr/line 8: server 2: missing "server"/],
    ['server: a name' => with($at{b}, 'example.com:80'),
        qr/line 8: server 2: .*not resolved: "example.com:80"/],
    ['server: a wrong port' => with($at{b}, '127.0.0.1:99999'),
        qr/line 8: server 2: invalid address "127.0.0.1:99999": invalid port/],
    ['server: https' => with($at{b}, 'https://127.0.0.1/'),
        qr/line 8: server 2: whether TLS is used is up to "proxy_pass"/],
    ['server: a path' => with($at{b}, 'http://127.0.0.1/x'),
        qr/line 8: server 2: invalid address/],
    ['server: empty' => with($at{b}, ''), qr/line 8: server 2: invalid addr/],
    ['server: host and server' => with('"drain"', '"host":"127.0.0.1","drain"'),
        qr/line 8: server 2: both "host" and "server"/],
    ['server: weight 0' => with('"weight": 3', '"weight": 0'),
        qr/line 7: server 1: invalid value of "weight"/],
    ['server: weight of a text' => with('"weight": 3', '"weight": "3"'),
        qr/line 7: server 1: invalid value of "weight"/],
    ['server: a wrong time' => with('"5s"', '"5 s"'),
        qr/line 7: server 1: invalid value of "fail_timeout"/],
    ['server: drain of a number' => with('false', '0'),
        qr/line 8: server 2: invalid value of "drain"/],
    ['server: health' => with('"up"', '"fine"'),
        qr/line 8: server 2: invalid value of "health"/],
    ['server: a number' => with('{"id": 6', '5, {"id": 6'),
        qr/line 8: server 2: an object or a text is expected/],
    ['server: null' => '{"servers": [null]}', qr/line 1: server 1: /],
    ['server: a backup for iphash_ext' => with('least_time header', 'iphash_ext')
            =~ s/"drain": false/"backup": true/r,
        qr/line 8: server 2: "iphash_ext" has no backup servers/],
    ['server: a service' => with('"drain"', '"service":"http","drain"'),
        qr/line 8: server 2: services are not resolved/],
);

# cut off anywhere; the last byte is a line's end, without which it is whole

my %cuts = map { ($_ => 1) } 1, 2, length($whole) - 2,
    map { 1 + int rand length($whole) - 2 } 1 .. 20;

push @bad, map { ["cut at $_" => substr($whole, 0, $_), qr/line \d+: /] }
    sort { $a <=> $b } keys %cuts;

# What nginx -t says: files are read when they are tested, so this is quick.

my $u = group('u');
conf(block($u));
my ($good, $said) = $t->test_config;
ok($good, 'nginx -t: a good file') or diag($said);

for (@bad) {
    my ($name, $text, $pattern) = @$_;
    $u->put($text);
    ($good, $said) = $t->test_config;
    ok(!$good && $said =~ m{
        \[emerg\]\ state\ file\ "\Q$dir\E/u.json"\ of\ upstream\ "u":\ $pattern
    }x, "nginx -t: $name") or diag($said);
}

# bits that flip: an error with a line, or a file that means something else

my ($refused, $taken, @strange) = (0, 0);

for (1 .. 40) {
    my $text = $whole;
    vec($text, rand 8 * length $text, 1) ^= 1;
    $u->put($text);

    ($good, $said) = $t->test_config;
    my $json = eval { JSON::PP->new->utf8->decode($text) };

    if ($good) {
        $taken++;
        push @strange, "taken: $text" unless $json;
    } else {
        $refused++;
        push @strange, "$said: $text" unless $said =~ /upstream "u": line \d+:/;
    }
}

is("@strange", '', 'bits that flip')
    or diag(join "\n", @strange);
note("$refused refused, $taken were another file");

###############################################################################
# a start with a broken file

my $broken = '{"servers": [';
$u->put($broken);
hand_over();
$t->expect_alerts(qr/state file .*\[|there is no good copy of it/);
ok(!eval { $t->start; 1 }, 'start, no good copy: refused');
like($@, qr/\[emerg\] .*u.json" .*: line 1: .* there is no good copy of it/,
    'start, no good copy: the reason');

$u->overwrite($broken, $u->good);
ok(!eval { $t->start; 1 }, 'start, the copy is broken as well: refused');

$u->overwrite($whole, $u->good);
my $mark = $t->log_mark;
$t->start;
like(($t->grep_log(qr/\[error\]/, $mark))[0],
    qr/u.json" .*: line 1: .* the last good copy "\S+u.json.good" is used/,
    'start with a good copy: the error');
is_deeply($u->ids, { $at{a} => 2, $at{b} => 6 },
    'start with a good copy: the servers');
is($u->method, 'least_time header', 'start with a good copy: the method');
is($t->get('/u')->status, 200, 'start with a good copy: requests');
add($u, 1, '409 StateInvalid', 'start with a good copy: no changes');
like($u->status->{error}, qr/^line 1: /, 'start with a good copy: the reason');

ok(!($t->test_config)[0],
    'start with a good copy: nginx -t still fails');

# a reload goes on with what runs, whatever is changed beside it

conf(block($u) . block(group('v')))->reload;
is_deeply($u->ids, { $at{a} => 2, $at{b} => 6 }, 'broken, reload: the servers');
conf(block($u, '1m'))->reload;
is_deeply($u->ids, { $at{a} => 2, $at{b} => 6 },
    'broken, another zone: the servers');
ok($u->becomes(0), 'broken, another zone: still known to be');
add($u, 1, '409 StateInvalid', 'broken, another zone: no changes');
is($u->text, $broken, 'broken: the file is not overwritten');
is_deeply($u->doc($u->good)->{servers}->@* + 0, 2,
    'broken: nor is anything lost in the good copy');

$u->put($whole);
ok($u->becomes(1), 'mended: valid');
add($u, 1, 201, 'mended: changes');
ok($u->is_saved, 'mended: saved');
is($u->ids->{'127.0.0.1:1'}, 7, 'mended: ids go on');
$t->stop;

###############################################################################
# the same while nginx runs, and what is no text; all at once

sub instead ($state, $make) {
    unlink $state->path;
    $make->($state->path);
}


my $crowd = with('{"id": 6', join('',
    map { qq({"server": "127.0.0.1:$_"},\n) } 1 .. 300) . '{"id": 6');

push @bad,
    ['more than there is room for' => $crowd,
        qr/zone "\w+" has no room for 300 more servers/],
    ['a folder' => sub ($path) { mkdir $path }, qr/it is no regular file\n/],
    ['a pipe' => sub ($path) { POSIX::mkfifo($path, 0666) },
        qr/it is no regular file\n/],
    ['a link to itself' => sub ($path) { symlink $path, $path },
        qr/open\(\) failed \(40: /],
    ['100 MB' => sub ($path) {
        open my $file, '>', $path or die "$path: $!\n";
        truncate $file, 100e6 or die "$path: $!\n";
    }, qr/it is larger than 64 MiB\n/],
    ['not readable' => sub ($path) {
        open my $file, '>', $path or die "$path: $!\n";
        chmod 0, $path;
    }, qr/open\(\) failed \(13: Permission denied\)\n/];

$_->[3] = group("g$_->[4]")
    for map { $bad[$_][4] = $_; $bad[$_] } 0 .. $#bad;

conf(join '', map { block($_->[3]) } @bad);
hand_over();
$t->start;

my %before = map { ($_->[0] => $_->[3]->ids) } @bad;
ok($t->wait_for(sub { -e $bad[-1][3]->good }), 'edits: good copies are made');
$mark = $t->log_mark;

for (@bad) {
    my (undef, $what, undef, $state) = @$_;
    ref $what ? instead($state, $what) : $state->put($what);
}

for (@bad) {
    my ($name, $what, $pattern, $state) = @$_;
    $t->wait_for(sub { !$state->status->{valid} });

    my $path  = quotemeta $state->path;
    my @lines = $t->grep_log(qr/state file "$path"/, $mark);
    like("@lines\n",
        qr/\[error\].*of upstream "\w+" is not applied: $pattern/,
        "edit: $name");
    is(scalar @lines, 1, "edit: $name: told once") or diag("@lines");

    my $reason = add($state, 1, '409 StateInvalid', "edit: $name: no change");
    like("$reason\n", $pattern, "edit: $name: the API says why");
    is_deeply($state->ids, $before{$name}, "edit: $name: the old set is whole");
    is($state->text, $what, "edit: $name: the file is not overwritten")
        unless ref $what;
}

ok(-d $bad[-5][3]->path, 'a folder stays one');
ok(-p $bad[-4][3]->path, 'a pipe stays one');

for (@bad) {
    my $state = $_->[3];
    rmdir $state->path;
    $state->put($whole);
}

for (@bad) {
    my ($name, undef, undef, $state) = @$_;
    ok($state->becomes(1), "mended: $name");
    add($state, 1, 201, "mended: $name: changes");
}

is_deeply([map { $_->[0] } grep { !$_->[3]->is_saved } @bad], [],
    'mended: all are saved');

# changed in the moment before it is seen that the file is no file any more

my $pipe = $bad[-4][3];
instead($pipe, $bad[-4][1]);
post($pipe, 2);
ok($pipe->becomes(0), 'a change before it is seen: the file is no file');
ok(-p $pipe->path, 'a change before it is seen: it is not replaced');
unlink $pipe->path;
ok($pipe->is_saved, 'deleted: written again');
$t->stop;

###############################################################################
# what cannot be written

# No file of a worker grows beyond this; false if that cannot be done.

sub limit ($bytes) {
    for my $worker ($t->workers) {
        my $pid = fork // die "fork: $!\n";

        if (!$pid) {
            my (undef, undef, $uid, $gid) = getpwnam($user // '');
            POSIX::setgid($gid), POSIX::setuid($uid) if $root;
            open STDERR, '>', '/dev/null';
            exec 'prlimit', '--pid', $worker, "--fsize=$bytes:"
                or POSIX::_exit(1);
        }

        waitpid $pid, 0;
        return 0 if $?;
    }

    return 1;
}


my @unsaved = map {
    my $folder = $t->dir . "/$_";
    mkdir $folder or die "$folder: $!\n";
    my $state = group($_, $folder);
    hand_over($folder);
    [$state, $folder];
} qw(closed sticky taken);

my ($closed, $sticky, $taken_tmp) = @unsaved;
my $big = group('big');
$big->put({ servers => [map { { server => "127.0.0.1:$_", down => \1 } }
    1 .. 1500] });

# a method that has no backups, and a file that says nothing of the method
my $hashed = group('hashed');
$hashed->put({ servers => [$at{a}] });

conf(join('', map { block($_->[0]) } @unsaved) . block($big, '8m')
    . block($hashed) =~ s/zone/iphash_ext; zone/r);
hand_over();
$t->start;

like($hashed->edit({ servers => [$at{a}, { server => $at{b}, backup => \1 }] }),
    qr/line \d+: server 2: "iphash_ext" has no backup servers/,
    'a backup where the method has none: refused');
is_deeply([keys $hashed->ids->%*], [$at{a}],
    'a backup where the method has none: the old set is whole');

{
    chmod 0555, $closed->[1];
    my @taken = map { $taken_tmp->[0]->path . ".$_.tmp" } $t->workers;
    mkdir $_ for @taken;
    chown 0, 0, $sticky->[1], $sticky->[0]->path if $root;
    chmod 01777, $sticky->[1];
    $mark = $t->log_mark;

    my @cases = (
        [$closed->[0] => qr/open\(\) of temporary file failed \(13: /],
        [$taken_tmp->[0] => qr/open\(\) of temporary file failed \(17: /],
        $root ? [$sticky->[0] => qr/rename\(\) failed \(1: /] : (),
    );

    # a limit of the process takes the part of a full disk
    my $limited = -s $t->dir . '/nginx.log' < 100_000 && limit(200_000);
    push @cases, [$big => qr/write\(\) failed \(27: /] if $limited;
    note('no prlimit here, so no test of a full disk') unless $limited;

    for (@cases) {
        my ($state, $pattern) = @$_;
        my $name = 'not saved, ' . $state->name;
        my $text = $state->text;
        my $path = quotemeta $state->path;

        add($state, 9001, 201, "$name: a change");
        my @lines;
        ok($t->wait_for(sub {
            @lines = $t->grep_log(qr/"$path" .*could not be saved/, $mark)
        }), "$name: there is an error");
        like("@lines", qr/\[crit\].*could not be saved: $pattern/,
            "$name: the error");
        is(scalar @lines, 1, "$name: told once");

        my $status = $state->status;
        is("$status->{saved}$status->{valid}", '01', "$name: the API says so");
        is($state->text, $text, "$name: the file is whole");
        ok($state->ids->{'127.0.0.1:9001'}, "$name: the change is in force");
        push @$_, $text;
    }

    chmod 0755, $closed->[1];
    rmdir $_ for @taken;
    hand_over($sticky->[1]);
    limit('unlimited') if $limited;

    for (@cases) {
        my $state = $_->[0];
        my $name  = 'not saved, ' . $state->name;
        ok($state->is_saved, "$name: saved as soon as that is possible");
        ok($state->listed->{'127.0.0.1:9001'}, "$name: with the change");
        is_deeply([glob $state->path . '.*tmp'], [],
            "$name: nothing is left behind");
    }
}

$t->done;
