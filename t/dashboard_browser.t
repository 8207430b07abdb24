#!/usr/bin/perl

# lrt_dashboard in a browser.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use LRT;
use LRT::Browser;

my $t = LRT->new(name => 'browser', need => [qw(module proxy)]);

my $browser = LRT::Browser->new($t);


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

$browser->run([qw(read write stale big)],
    port => $t->port('api'), dead => $t->address('dead'),
    map { ($_ => $t->address($_)) } qw(a b c d e k));

$load->stop;

$t->done;
