#!/usr/bin/perl

# FILE.learned: what was learned about servers is there after a restart, with
# its age, and after a kill; whatever stands in that file, nginx starts.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use Test::More;
use Time::HiRes qw(sleep time);

use LRT;
use LRT::API;
use LRT::Net qw(timeout);
use LRT::State;

my $t = LRT->new(name => 'learned', need => [qw(module proxy rewrite)]);

my %delay = (fast => 2, slow => 80, backup => 10);
my @names = sort keys %delay;

$t->backend($_, delay => $delay{$_}) for @names;

my %at  = map { ($_ => $t->address($_)) } @names;
my $dir = $t->dir . '/state';
my $api = LRT::API->new($t);

mkdir $dir or die "$dir: $!\n";
chmod 0777, $dir;

my $state = LRT::State->new($t, $api, 'u', "$dir/u.json");
my $u     = $state->api;
my $file  = $state->path . '.learned';
my $json  = JSON::PP->new->canonical;


sub conf ($more = '') {
    return $t->conf(workers => 2, http => qq{
        upstream u {
            least_time header;
            lrt_state state/u.json;
            server %%ADDRESS_fast%%;
            server %%ADDRESS_slow%%;
            server %%ADDRESS_backup%% backup;
            $more
        }
        server {
            listen 127.0.0.1:%%PORT_http%%;
            location / { proxy_pass http://u; }
        }
        server {
            listen 127.0.0.1:%%PORT_api%%;
            location /api { lrt_api write=on; }
        }
    });
}


# What the API says: estimates and their ages, by name.

my %name = reverse %at;

sub known () {
    my %known;

    for my $peer ($u->get->{peers}->@*) {
        my $lrt  = $peer->{lrt};
        my $name = $name{ $peer->{server} } // $peer->{server};
        $known{$name} = { us => $lrt->{estimate_us},
            age => $lrt->{estimate_age_ms} } if defined $lrt->{estimate_us};
    }

    return \%known;
}


sub learned () { return $state->doc($file) }

sub warnings ($mark) { return $t->grep_log(qr/\[warn\].*was learned/, $mark) }


sub restart ($name) {
    my $mark = $t->log_mark;
    $t->stop;
    $t->start;
    is(scalar $t->grep_log(qr/\[notice\].* tells what was learned of/, $mark),
        1, "$name: it is read") or diag($t->grep_log(qr/learned/, $mark));
    return known();
}


sub is_near ($us, $before, $name) {
    ok(defined $us && abs($us - $before) <= 1 + $before / 1000, $name)
        or diag(($us // 'none') . " and $before us");
}

###############################################################################
# requests teach, and a restart keeps it

conf()->start;
ok($state->is_saved, 'nginx runs');
ok(!-e $file, 'nothing is learned, and nothing is written');

$t->many(60, '/');
my $before = known();
is_deeply([sort keys %$before], [qw(fast slow)], 'requests have taught times');
cmp_ok($before->{slow}{us}, '>', 5 * $before->{fast}{us}, 'which differ');

my $begin = time;
sleep 1;
$t->stop;

my $doc = learned();
is($doc->{version}, 1, 'the file: its version');
is($doc->{upstream}, 'u', 'the file: its group');
is(scalar $doc->{servers}->@*, 2, 'the file: who is known')
    or diag($state->text($file));
is((stat $file)[2] & 0777, (stat $state->path)[2] & 0777, 'the file: its mode');

$t->start;
my $after = known();
my $away  = 1000 * (time - $begin);

for (qw(fast slow)) {
    is_near($after->{$_}{us}, $before->{$_}{us}, "restart: time of $_");
    cmp_ok($after->{$_}{age}, '>=', 1000, "restart: age of $_, at least");
    cmp_ok($after->{$_}{age}, '<=', $before->{$_}{age} + $away + 50,
        "restart: age of $_, at most");
}

# the first picks: without estimates the slow one would get half of them

my $then = learned()->{written_ms};
is_deeply($t->many(8, '/'), { fast => 8 }, 'restart: first picks');

###############################################################################
# without an end: what was written by then

my $written = $t->wait_for(sub {
    my $doc   = learned();
    my $known = known();

    return $doc->{written_ms} > $then && !grep {
        my $us = $known->{ $name{ $_->{server} } }{us};
        abs($_->{estimate_us} - $us) > $us / 1000;
    } $doc->{servers}->@*;
}, 20);

SKIP: {
    ok($written, 'kill: it was written while nginx ran') or skip 'no file', 4;

    $before = { map { ($name{ $_->{server} } => $_) }
        learned()->{servers}->@* };
    my $master = $t->master_pid;
    my @all    = map { $_->{pid} } $t->processes;
    $t->expect_alerts(qr/exited on signal 9/);
    kill STOP => $master;
    $t->signal('KILL');
    kill KILL => @all;
    $t->wait_for(sub { !grep { kill 0, $_ } @all });
    $t->stop;
    $t->start;

    my $known = known();
    is_near($known->{$_}{us}, $before->{$_}{estimate_us}, "kill: time of $_")
        for qw(fast slow);
    cmp_ok($known->{slow}{age}, '>=', $before->{slow}{age_ms}, 'kill: age');
    is_deeply($t->many(4, '/'), { fast => 4 }, 'kill: first picks');
}

###############################################################################
# nothing new, nothing written; and nothing of it under nginx -t

my $text = $state->text($file);
my $good = $text;

{
    $t->stop;
    my @stat = (stat $file)[1, 9];
    $good = $state->text($file);
    my ($fine, $said) = $t->test_config;
    ok($fine, 'nginx -t: good') or diag($said);
    unlike($said, qr/was learned/, 'nginx -t: not a word of it');
    is_deeply([(stat $file)[1, 9]], \@stat, 'nginx -t: not written');

    $state->overwrite('no JSON', $file);
    ($fine, $said) = $t->test_config;
    ok($fine, 'nginx -t: good with a damaged one') or diag($said);
    $state->overwrite($good, $file);

    @stat = (stat $file)[1, 9];
    $t->start;
    ok($u->call(POST => 'servers/', { server => '127.0.0.1:4', down => \1 })
        ->status, 'nothing new: a change');
    $state->is_saved;
    $t->reload;
    $t->stop;
    is_deeply([(stat $file)[1, 9]], \@stat, 'nothing new: not written again');
}

###############################################################################
# a clock of the wall that went on, or back

sub with_file ($name, $change) {
    my $doc = $json->decode($good);
    $change->($doc);
    $t->stop;
    $state->put($json->encode($doc), $file);
    $t->start;
    return known();
}

my $known = with_file('a week', sub ($doc) {
    $doc->{written_ms} -= 7 * 86400 * 1000;
});
my $week = 7 * 86400 * 1000;
cmp_ok($known->{slow}{age}, '>=', $week, 'a week later: age');
cmp_ok($known->{slow}{age}, '<', $week + 600_000, 'a week later: not more');

$known = with_file('too old', sub ($doc) {
    $doc->{written_ms} -= 30 * 86400 * 1000;
});
is_deeply($known, {}, 'a month later: nothing is known');

$known = with_file('from the future', sub ($doc) {
    $doc->{written_ms} += 86400 * 1000;
    $_->{age_ms} = 5 for $doc->{servers}->@*;
});
cmp_ok($known->{slow}{age}, '<', 60_000, 'a clock that went back: no time');

###############################################################################
# who has come and gone meanwhile

my $mark = $t->log_mark;

$known = with_file('others', sub ($doc) {
    push $doc->{servers}->@*, { server => '127.0.0.1:1', estimate_us => 7,
        samples => 1, age_ms => 0 };
});
is_deeply([sort keys %$known], [qw(fast slow)], 'one that is not there');
is_deeply([warnings($mark)], [], 'one that is not there: no warning');

$t->stop;
my $list = $state->doc;
push $list->{servers}->@*, { server => '127.0.0.1:2' };
$list->{servers} = [grep { $_->{server} ne $at{slow} } $list->{servers}->@*];
delete $list->{next_id};
$state->put($list);
$state->put($good, $file);
$t->start;
is_deeply([keys known()->%*], ['fast'], 'one that came, one that left');

is($u->call(POST => 'servers/', { server => $at{slow} })->status, 201,
    'the one that left comes back');
ok(!known()->{slow}, 'and nothing is known of it');

###############################################################################
# whatever stands there

sub start_with ($name, $make, $pattern) {
    $t->stop;
    unlink $file;
    $make->($file);

    my $mark = $t->log_mark;
    $t->start;
    my @warnings = warnings($mark);
    is(@warnings, 1, "$name: one warning") or diag(@warnings);
    like($warnings[0] // '',
        qr/file "\Q$file\E" of what was learned in upstream "u" is ignored: $pattern/,
        "$name: it says why");
    is_deeply(known(), {}, "$name: nothing of it is known");
    is($t->get('/')->status, 200, "$name: requests");
}

sub text_of ($text) { return sub ($path) { $state->overwrite($text, $path) } }

sub changed ($change) {
    my $doc = $json->decode($good);
    $change->($doc);
    return text_of($json->encode($doc));
}

my $lines = () = $good =~ /\n/g;

start_with('empty', text_of(''), qr/line 1: /);
start_with('cut off', text_of(substr $good, 0, length($good) / 2),
    qr/line \d+: /);
start_with('nearly all of it', text_of($good =~ s/\}\n\z//r), qr/line \d+: /);
start_with('not JSON', text_of("\0\xff\x01" x 500), qr/line 1: /);
start_with('no version', changed(sub ($d) { delete $d->{version} }),
    qr/line \d+: "version" 0 is not known/);
start_with('another version', changed(sub ($d) { $d->{version} = 2 }),
    qr/line 1: "version" 2 is not known/);
start_with('no time', changed(sub ($d) { delete $d->{written_ms} }),
    qr/line 1: an object with "written_ms" and a list "servers" is expected/);
start_with('a word that is not known', changed(sub ($d) { $d->{more} = 1 }),
    qr/line 1: unknown parameter "more"/);
start_with('a number that is too large', text_of($good =~
    s/"estimate_us":\d+(?![\s\S]*"estimate_us")/"estimate_us":99999999999/r),
    qr/line \d+: server 2: invalid value of "estimate_us"/);
start_with('numbers that do not fit', text_of($good =~
    s/"samples":\d+(?![\s\S]*"samples")/"samples":0/r),
    qr/line \d+: server 2: the numbers of "\S+" do not fit together/);
start_with('a server twice', changed(sub ($d) {
    $d->{servers}[1] = $d->{servers}[0];
    $d->{servers}[$_]{server} = $at{fast} for 0, 1;
}), qr/line 1: server 2: server "\S+" is listed twice/);
start_with('no address', changed(sub ($d) { $d->{servers}[1]{server} = 'x:1' }),
    qr/line 1: server 2: no address but a name/);
start_with('too large', sub ($path) {
    open my $f, '>', $path or die "$path: $!\n";
    truncate $f, 100_000_000;
}, qr/it is larger than 64 MiB/);
start_with('a link', sub ($path) {
    $state->overwrite($good, "$dir/elsewhere");
    symlink "$dir/elsewhere", $path or die "$path: $!\n";
}, qr/open\(\) failed \(\d+: .*\)/);
is($state->text("$dir/elsewhere"), $good, 'a link: what it leads to stays');

$t->many(4, '/');
$t->stop;
ok(-f $file && !-l $file, 'a link: a file takes its place');
is($state->text("$dir/elsewhere"), $good, 'a link: and not its end');
$t->start;

SKIP: {
    skip 'nothing is unreadable for root', 1 if $> == 0;
    start_with('unreadable', sub ($path) {
        $state->overwrite($good, $path);
        chmod 0, $path;
    }, qr/open\(\) failed \(13: .*\)/);
    unlink $file;
}

start_with('a folder', sub ($path) { mkdir $path or die "$path: $!\n" },
    qr/it is no regular file/);

# it cannot be replaced, which is told once, and hinders nothing else

$mark = $t->log_mark;
$t->many(4, '/');
is($u->call(POST => 'servers/', { server => '127.0.0.1:3', down => \1 })->status,
    201, 'a folder: a change');
ok($state->is_saved, 'a folder: saved');
$t->stop;
cmp_ok(scalar(warnings($mark)), '<=', $t->workers || 2,
    'a folder: no more than a line of each worker');
ok(-d $file, 'a folder: it stays');
rmdir $file;

###############################################################################
# without lrt_state nobody looks at it, whatever it is

$state->put($good, $file);

$t->conf(workers => 1, http => q{
    upstream u { least_time header; server %%ADDRESS_fast%%; }
    server {
        listen 127.0.0.1:%%PORT_http%%;
        location / { proxy_pass http://u; }
    }
    server {
        listen 127.0.0.1:%%PORT_api%%;
        location /api { lrt_api write=on; }
    }
})->start;
is_deeply(known(), {}, 'no lrt_state: nothing is read');
$t->get('/');
$t->stop;
is($state->text($file), $good, 'no lrt_state: nothing is written');

$t->done;
