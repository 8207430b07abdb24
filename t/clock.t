#!/usr/bin/perl

# The wall clock jumps by an hour: what is known of times, and a slow start, go
# on as if nothing had happened.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use LRT;
use LRT::Checks;
use LRT::Net qw(timeout);
use LRT::Raw;
use LRT::Shim;

use constant { HOUR => 3600, START => 3 };     # seconds

my $t    = LRT->new(name => 'clock', need => [qw(module proxy)]);
my $shim = LRT::Shim->new($t, 'time')
    or $t->skip_all('needs a C compiler');
my $raw  = LRT::Raw->new($t);
my $u    = LRT::Checks->new($t, 'u');

$t->backend('a', delay => 5);
my $b = $raw->server('b');

$t->conf(http => q{
    upstream u {
        zone u 256k;
        least_time last_byte;
        server %%ADDRESS_a%%;
    }
    upstream slow {
        zone slow 256k;
        round_robin_ext;
        server %%ADDRESS_a%%;
        server %%ADDRESS_b%%;
        lrt_slow_start 3s;
        lrt_health_check interval=200ms timeout=200ms fails=3 passes=1;
    }
    server {
        listen 127.0.0.1:%%PORT_http%%;
        location / { proxy_pass http://u; }
    }
} . LRT::Checks::server());
$shim->start;

my $slow = LRT::Checks->new($t, 'slow');

sub estimate () { return $u->api->peer($t->address('a'))->{lrt} }
sub ramp ()     { return $slow->api->peer($t->address('b'))->{lrt}{ramp_permille} }

###############################################################################

for my $shift (HOUR, -HOUR, 0) {
    $t->many(50, '/');
    my $before = estimate();
    $shim->set(shift => $shift);
    $t->many(50, '/');
    my $after = estimate();

    cmp_ok($after->{estimate_us}, '>', 4000, "to $shift s: an estimate");
    cmp_ok(abs log($after->{estimate_us} / $before->{estimate_us}), '<',
        log 3, "to $shift s: of the same kind as before");
    cmp_ok($after->{estimate_age_ms}, '<', timeout(10_000),
        "to $shift s: and as new");
}

for my $shift (HOUR, -HOUR) {
    my $name = "a slow start, and a jump by $shift s";

    $shim->set(shift => 0);
    $b->set(status => 500);
    ok($slow->becomes(b => 'unhealthy'), "$name: a server is out");
    $b->set;
    ok($slow->becomes(b => 'up'), "$name: and back");

    my $back = time;
    my $first = ramp();
    $shim->set(shift => $shift);
    sleep 0.3;
    my $second = ramp();

    SKIP: {
        skip 'the machine was busy', 1 if time - $back > START / 2;
        ok(defined $first && defined $second && $second >= $first,
            "$name: it goes on");
    }

    ok($t->wait_for(sub { !defined ramp() }, 2 * START), "$name: it ends");
    cmp_ok(time - $back, '>', START - 0.5, "$name: not early");
    last if $shift < 0;

    # the next return within a minute takes longer

    $t->stop;
    $shim->start;
}

$t->done;
