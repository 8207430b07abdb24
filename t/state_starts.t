#!/usr/bin/perl

# Starts of nginx with a state file that is damaged: with a good copy it takes
# that, all of it; without one it refuses.  The message names file and line, and
# neither file is touched.
#
# LRT_LONG=1 makes 300 starts, otherwise 20, or 10 with LRT_QUICK=1.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use Test::More;

use LRT;
use LRT::API;
use LRT::State;

my $t = LRT->new(
    name => 'state_starts', need => [qw(module proxy upstream_zone)]);

srand(my $seed = $ENV{LRT_SEED} // time);
note("LRT_SEED=$seed");

my $starts = $ENV{LRT_LONG} ? 300 : $ENV{LRT_QUICK} ? 10 : 20;
my $dir    = $t->dir . '/state';
my $u      = LRT::State->new($t, LRT::API->new($t), 'u', "$dir/u.json");

# workers may read there, but not write: what they do later is another test

mkdir $dir or die "$dir: $!\n";

my $whole = JSON::PP->new->canonical->pretty->encode({
    version => 1, next_id => 70, method => 'least_time header',
    servers => [map { {
        id => 2 * $_, server => "127.0.0.1:$_", down => \1, weight => 1 + $_,
    } } 1 .. 20],
});
my $copy = '{"servers":[{"id":5,"server":"127.0.0.9:1","down":true},
    {"id":8,"server":"127.0.0.9:2","down":true}],"next_id":9}';
my %copied = ('127.0.0.9:1' => 5, '127.0.0.9:2' => 8);

$t->conf(workers => 1, http => qq{
    upstream u { zone u 256k; lrt_state $dir/u.json; server 127.0.0.1:1; }
    server {
        listen 127.0.0.1:%%PORT_http%%;
        location / { proxy_pass http://u; }
    }
    server {
        listen 127.0.0.1:%%PORT_api%%;
        location /api { lrt_api write=on; }
    }
});
$t->expect_alerts(qr/\[emerg\].* there is no good copy of it/);


# A file that is no JSON any more, by a parser that is not ours.

sub damaged () {
    while (1) {
        my $text = $whole;
        my $at   = int rand length $text;

        for (int rand 5) {
            if    ($_ == 0) { substr $text, $at, length $text, '' }
            elsif ($_ == 1) { vec($text, 8 * $at + int rand 8, 1) ^= 1 }
            elsif ($_ == 2) { substr $text, $at, 1 + int rand 50, '' }
            elsif ($_ == 3) { substr $text, $at, 512, "\0" x 512 }
            else            { $text =~ s/"version" : 1/'"version" : ' . (2 + $at)/e }
        }

        next if $text eq $whole;
        return $text
            if $text !~ /"version" : 1\b/
            || !eval { JSON::PP->new->utf8->decode($text); 1 };
    }
}


my (@wrong, $refused, $copies);

for my $i (1 .. $starts) {
    my $text     = damaged();
    my $has_copy = $i % 3;

    $u->overwrite($text);
    $has_copy ? $u->overwrite($copy, $u->good) : unlink $u->good;

    my $mark    = $t->log_mark;
    my $started = eval { $t->start; 1 };
    my $log     = $t->log($mark);

    push @wrong, "$i: silent: $log"
        unless $log =~ m{state file "\Q$dir\E/u\.json" of upstream "u": line \d+: };

    if ($has_copy) {
        $copies += !!$started;
        push @wrong, "$i: not started: $log" unless $started;

        if ($started) {
            my $ids = $u->ids;
            push @wrong, "$i: other servers: " . join ' ', sort keys %$ids
                unless join(' ', map { "$_ $ids->{$_}" } sort keys %$ids)
                eq join ' ', map { "$_ $copied{$_}" } sort keys %copied;
            $t->stop;
        }

        push @wrong, "$i: another copy" unless $u->text($u->good) eq $copy;

    } else {
        $refused += !$started;
        push @wrong, "$i: started" if $started;
        $t->stop if $started;
    }

    push @wrong, "$i: another file" unless $u->text eq $text;
}

is_deeply(\@wrong, [], "$starts starts with damaged files")
    or note(join "\n", @wrong);
is($copies, $starts - int $starts / 3, 'with a copy they took it');
is($refused, int $starts / 3, 'without one they refused');

# the same files, mended

$u->overwrite($whole);
$t->start;
is(keys $u->ids->%*, 20, 'mended: all servers');

$t->done;
