#!/usr/bin/perl

# Memory that is refused to nginx: each request for it in turn, at a test of the
# configuration, at a start with a state file, at changes through the API and at
# edits of the file.  Nobody crashes; what was refused is told; what is in force
# is what was before or all that was asked for, and so is the file.
#
# LRT_LONG=1 refuses each, else some: which ones, LRT_SEED says.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use List::Util qw(max);
use Test::More;

use LRT;
use LRT::API;
use LRT::Shim;
use LRT::State;

my $t = LRT->new(
    name => 'memory', need => [qw(module proxy upstream_zone)]);

$t->skip_all('the address sanitizer has a malloc() of its own')
    if $t->{program}->about =~ /-fsanitize/;

$t->skip_all('calls of a module that is loaded are not counted')
    if defined $t->{program}->module;

my $shim = LRT::Shim->new($t, 'memory')
    or $t->skip_all('needs a C compiler');
my $api = LRT::API->new($t);
my $dir = $t->dir . '/state';

srand(my $seed = $ENV{LRT_SEED} // time);
note("LRT_SEED=$seed");

mkdir $dir or die "$dir: $!\n";
chmod 0777, $dir;

my $u    = LRT::State->new($t, $api, 'u', "$dir/u.json");
my $text = <<'END';
{"next_id":7,"method":"least_time header","slow_start":"3s","panic":"20%",
 "health_checks":[{"type":"http","uri":"/a/path/to/be/asked/for"}],
 "servers":[{"id":2,"server":"127.0.0.123:18081","down":true,"weight":3},
            {"id":6,"server":"[::1]:18082","down":true,"route":"a_route"}]}
END
my %ids = ('127.0.0.123:18081' => 2, '[::1]:18082' => 6);

$t->conf(workers => 1, http => qq{
    lrt_match ok { status 200-399; header Content-Type ~ json; body ~ "yes"; }
    upstream u { zone u 256k; lrt_state $dir/u.json; server 127.0.0.1:1; }
    upstream c {
        zone c 256k;
        iphash_ext;
        lrt_health_check match=ok uri=/health;
        lrt_panic 10%;
        server 127.0.0.1:1;
        server 127.0.0.1:2 weight=2;
    }
    server {
        listen 127.0.0.1:%%PORT_http%%;
        location / { proxy_pass http://u; }
        location /c { proxy_pass http://c; }
    }
    server {
        listen 127.0.0.1:%%PORT_api%%;
        location /api { lrt_api write=on servers=127.0.0.0/8; }
        location /metrics { lrt_metrics; }
    }
});


# Numbers of requests to refuse: all up to the last one, or so many of them.

sub some ($last, $wanted) {
    return 1 .. $last if $ENV{LRT_LONG};

    $wanted = max(4, $wanted / 4) if $ENV{LRT_QUICK};
    my $step = max(1, int $last / $wanted);
    my @some = map { 1 + $_ * $step + int rand $step } 0 .. $wanted;
    return grep { $_ <= $last } @some;
}


# What says that there was no memory, by the word or by an error of a function.

my $told = qr/Cannot allocate memory|no memory|out of memory|failed \(12: /i;

###############################################################################
# nginx -t

$u->put($text);

sub test_with (%o) {
    $shim->set(asked => 0, refuse => 0, all => 0, refused => 0, %o);
    return $shim->below(sub { $t->test_config });
}


my ($good, $said) = test_with();
my $last = $shim->get('asked');
ok($good && $last > 100, "nginx -t asks for memory $last times")
    or diag($said);

for my $all (0, 1) {
    my (@silent, @good, $tried);

    for my $n (some($last, 60)) {
        ($good, $said) = test_with(refuse => $n, all => $all);
        next unless $shim->get('refused');
        $tried++;
        push @good, $n if $good;
        push @silent, "$n: $said" if !$good && $said !~ /$told/;
    }

    my $what = $all ? 'and all that follow' : 'only that one';
    ok($tried, "nginx -t, $what: $tried times");
    is_deeply(\@silent, [], "nginx -t, $what: it says so");
    note("good without: @good") if @good;
    is($u->text, $text, "nginx -t, $what: the file is as before");
}

###############################################################################
# a start

$t->expect_alerts($told, qr/exited with (?:fatal )?code 2/);

sub start_with (%o) {
    $u->put($text);
    unlink $u->good;
    $shim->set(asked => 0, refuse => 0, all => 0, refused => 0, %o);
    return eval { $shim->start; 1 } ? '' : $@;
}


sub pairs ($ids) { return join ' ', map { "$_ $ids->{$_}" } sort keys %$ids }


is(start_with(), '', 'a start');
is_deeply($u->ids, \%ids, 'a start: the servers');
$t->stop;

# as far as nginx -t came: behind that memory is for workers, whom nginx lets
# die when they begin, and then it waits for a reload

my @wrong;
my ($refused, $started) = (0, 0);

for my $n (some($last, 40)) {
    my $mark = $t->log_mark;
    my $said = start_with(refuse => $n);

    if ($said) {
        $refused++;
        $said .= $t->log($mark);
        push @wrong, "$n: silent: $said" unless $said =~ /$told/;
        push @wrong, "$n: $said" if $said =~ /signal/;

    } else {
        $started++;
        $shim->set(refuse => 0);

        # without memory in the master, workers fill the table, a moment later

        my $seen;
        $t->wait_for(sub { ($seen = $u->ids)->%* });
        push @wrong, "$n: other servers: " . pairs($seen)
            if pairs($seen) ne pairs(\%ids);
        $t->stop;
    }

    push @wrong, "$n: another file" unless $u->text eq $text;
}

is_deeply(\@wrong, [], 'a start: all or nothing, and it says so');
note("$refused refused, $started went on");

###############################################################################
# changes of what runs: what is answered is so, in force and in the file; when
# nginx has no memory for the answer itself it is cut off, and says nothing

is(start_with(), '', 'a start for changes');
my $workers = join ' ', $t->workers;
my $port    = 20000;

my %change = (
    'POST of a server' => sub {
        my $r = $u->api->call(POST => 'servers/', {
            server => '127.0.0.1:' . ++$port, down => \1, route => 'a_route' });
        return ($r->status, "127.0.0.1:$port");
    },
    'PUT of a list' => sub {
        my @new = map { '127.0.0.1:' . ++$port } 1 .. 3;
        my $r   = $u->api->call(PUT => 'servers/',
            [map { { server => $_, down => \1 } } @new]);
        return ($r->status, @new);
    },
);

sub set ($ids) { return join ' ', sort keys %$ids }

for my $name (sort keys %change) {
    my ($n, $ok, $failed, $cut, @wrong) = (0, 0, 0, 0);

    # until it does without the n-th

    while ($n < 400) {
        $n += $ENV{LRT_LONG} ? 1 : 1 + int rand($ENV{LRT_QUICK} ? 12 : 4);

        my $before = set($u->ids);
        $shim->set(refuse => 0, refused => 0);
        $shim->set(refuse => $shim->get('asked') + $n);
        my ($status, @new) = $change{$name}->();
        my $hit = $shim->get('refused');
        $shim->set(refuse => 0);

        my $after = set($u->ids);
        my $all   = $name =~ /PUT/ ? join ' ', sort @new
                  : join ' ', sort split(' ', $before), @new;

        if ($status =~ /^20/) {
            $ok++;
            push @wrong, "$n: $status, but $after" if $after ne $all;
        } elsif ($status eq 'cut' && $after eq $all) {
            $cut++;
        } else {
            $failed++;
            push @wrong, "$n: $status, but $after" if $after ne $before;
        }

        last unless $hit;
    }

    is_deeply(\@wrong, [], "$name: all of it, or an error and nothing");
    ok($ok && $failed, "$name: $failed times refused, $ok times done");
    note("$name: $cut times done, but cut off") if $cut;
}

ok($u->is_saved, 'changes: the file is saved in the end');
is(set($u->listed), set($u->ids), 'changes: the file has what is in force');

# edits, which are tried again: in the end each is applied

my ($taken, $tries) = (0, 0);

for my $n (some(80, 12)) {
    my @new = map { '127.0.0.1:' . ++$port } 1 .. 3;

    $shim->set(refused => 0, refuse => $shim->get('asked') + $n);
    $u->put({ servers => [map { { server => $_, down => \1 } } @new] });
    $t->wait_for(sub { $shim->get('refused') }, 2);
    $shim->set(refuse => 0);

    $tries++;
    $taken += !!$t->wait_for(sub { set($u->ids) eq join ' ', sort @new }, 10);
}

is($taken, $tries, "edits: all $tries are applied, if not at once");
ok(!$t->grep_log(qr/is not applied/), 'edits: none is called wrong');
is(join(' ', $t->workers), $workers, 'the worker is the same');

$t->done;
