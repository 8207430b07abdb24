#!/usr/bin/perl

# lrt_dashboard in a browser: t/browser/*.mjs, run by node with Chromium.
# LRT_SCREENSHOTS=DIR keeps the pictures.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use Test::More;

use LRT;
use LRT::Process;

my $t = LRT->new(name => 'browser', need => [qw(module proxy)]);

my $folder = "$FindBin::Bin/browser";


sub program (@names) {
    my ($path) = grep { -x } map { my $name = $_;
        map { "$_/$name" } split /:/, $ENV{PATH} } @names;
    return $path;
}

my $node     = program(qw(node nodejs));
my $chromium = program(qw(chromium chromium-browser));

my $missing = !$node ? 'node'
    : !$chromium ? 'chromium'
    : !-d "$folder/node_modules/playwright-core"
        ? 'playwright-core, "npm ci" in t/browser installs it'
    : undef;

# where all is installed by a script, a skipped test would tell nothing

$t->skip_all("needs $missing") if $missing && !$ENV{CI};
is($missing, undef, 'node, chromium and playwright-core are there')
    or do { $t->done; exit };


$t->backend($_) for qw(a b c d e k);
$t->backend('a')->set(delay => '1-3');
$t->backend('c')->set(delay => '5-20');
$t->backend('d')->set(status => 503);

$t->write(htpasswd => "ops:{PLAIN}secret\n");

$t->conf(workers => 2, http => q{
    upstream shop {
        zone shop 256k;
        least_time last_byte;
        server %%ADDRESS_a%% weight=2;
        server %%ADDRESS_b%%;
        server %%ADDRESS_c%% max_conns=50;
        server %%ADDRESS_d%%;
        server %%ADDRESS_k%% backup;
        lrt_health_check uri=/health interval=300ms fails=2 passes=2;
    }
    upstream "Größe-日本" {
        zone size 128k;
        least_conn_ext;
        server %%ADDRESS_e%%;
        server %%ADDRESS_k%% down;
    }
    upstream lonely {
        zone lonely 128k;
        round_robin_ext;
        server %%ADDRESS_dead%%;
        lrt_health_check type=tcp interval=300ms fails=1;
    }
    upstream "<img src=x onerror=alert(1)>&lt;\"'\\\\" {
        zone hostile 128k;
        round_robin_ext;
        server "unix:%%DIR%%/<b onclick=alert(2)>&amp;\"'\\\\" down;
        server %%ADDRESS_k%%;
    }
    upstream big { zone big 16m; round_robin_ext; }
    server {
        listen 127.0.0.1:%%PORT_http%%;
        location / { proxy_pass http://shop; }
        location /size { proxy_pass "http://Größe-日本"; }
    }
    server {
        listen 127.0.0.1:%%PORT_api%%;
        location /api { lrt_api write=on; }
        location /dashboard { lrt_dashboard; }
        location /ro { lrt_api; }
        location /rodash { lrt_dashboard /ro; }
        location /pw {
            lrt_api write=on;
            limit_except GET { auth_basic x; auth_basic_user_file htpasswd; }
        }
        location /pwdash { lrt_dashboard /pw; }
    }
})->start;

my $load = $t->load(rate => 80, concurrency => 4, uri => ['/', '/', '/size'], timeout => 30);

my $settings = JSON::PP->new->canonical->encode({
    dir => $t->dir, chromium => $chromium, port => $t->port('api'),
    dead => $t->address('dead'), shots => $ENV{LRT_SCREENSHOTS} // '',
    map { ($_ => $t->address($_)) } qw(a b c d e k),
});

local $ENV{HOME} = $t->dir;

my $browser = LRT::Process->run_program(
    [$node, "$folder/run.mjs", $settings, qw(read write stale big)],
    $t->write(tap => ''));


# Its lines, as they come: assertions, remarks, what is for us to do.

sub relay ($line) {
    state $failed = 0;
    state $done = 0;

    if ($line =~ /^(not )?ok \d+ - (.*)/) {
        $failed = defined $1;
        ok(!$failed, $2);
    } elsif ($line =~ /^do (\w+)/) {
        $1 eq 'stop' ? $t->stop : $t->start;
        $t->write('done-' . ++$done, '');
    } elsif ($line =~ /^1\.\.\d+$/) {
        return 1;
    } elsif ($line =~ /^# /) {
        $failed ? diag($line =~ s/^# //r) : note($line =~ s/^# //r);
    } else {
        diag($line);
    }

    return 0;
}

my $at = 0;
my $complete = $t->wait_for(sub {
    my $running = $browser->is_running;
    my $text    = $t->read('tap');

    while ((my $end = index $text, "\n", $at) >= 0) {
        my $line = substr $text, $at, $end - $at;
        $at = $end + 1;
        return 'complete' if relay($line);
    }
    return $running ? 0 : 'ended';
}, 150);

is($complete, 'complete', 'all parts were run');
$t->wait_for(sub { !$browser->is_running });
$browser->end;
$load->stop;

$t->done;
