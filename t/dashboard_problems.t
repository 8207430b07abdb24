#!/usr/bin/perl

# What lrt_dashboard says, in a browser, of groups and servers that are not
# well, and of names that are long.

use v5.36;

use Fcntl qw(O_NONBLOCK O_RDONLY);
use FindBin;
use lib "$FindBin::Bin/lib";
use POSIX ();
use Test::More;

use LRT;
use LRT::API;
use LRT::Browser;

my $t = LRT->new(name => 'problems', need => [qw(module proxy)]);

my $browser = LRT::Browser->new($t);

my $name = 'x' x 255;
my $path = '/' . 'y' x 300;

$t->backend($_) for qw(a b d);
$t->backend('d')->set(status => 503);


sub conf ($lines) {
    return $t->conf(workers => 1, http => qq{
        $lines
        upstream ranked {
            zone ranked 128k;
            least_time last_byte inflight;
            server %%ADDRESS_dead%%;
            lrt_health_check type=tcp interval=300ms fails=1;
        }
        upstream flat {
            zone flat 128k;
            round_robin_ext;
            server %%ADDRESS_dead%%;
            server %%ADDRESS_a%% down;
            lrt_health_check type=tcp interval=300ms fails=1;
        }
        upstream ranked_panic {
            zone ranked_panic 128k;
            least_time header;
            lrt_panic 60%;
            server %%ADDRESS_a%%;
            server %%ADDRESS_d%%;
            server %%ADDRESS_dead%% down;
            lrt_health_check interval=300ms fails=1;
        }
        upstream flat_panic {
            zone flat_panic 128k;
            round_robin_ext;
            lrt_panic 60%;
            server %%ADDRESS_a%%;
            server %%ADDRESS_d%%;
            server %%ADDRESS_dead%% down;
            lrt_health_check interval=300ms fails=1;
        }
        upstream backed {
            zone backed 128k;
            least_time header;
            lrt_panic 60%;
            server %%ADDRESS_a%%;
            server %%ADDRESS_b%% backup;
            server %%ADDRESS_d%% backup;
            lrt_health_check interval=300ms fails=1;
        }
        upstream lost {
            zone lost 128k;
            round_robin_ext;
            server %%ADDRESS_a%%;
        }
        upstream $name {
            zone wide 128k;
            round_robin_ext;
            server %%ADDRESS_a%%;
            lrt_health_check uri=$path interval=300ms;
        }
        server {
            listen 127.0.0.1:%%PORT_api%%;
            access_log off;
            location /api { lrt_api write=on; }
            location /dashboard { lrt_dashboard; }
        }
    });
}


# A check is set while the new configuration, which has been read, waits for
# a log that nobody reads: it comes too late for the reload to be refused.

my $lost = LRT::API->new($t)->group('lost');
my $fifo = $t->dir . '/fifo';

conf('lrt_match ok { status 200; }')->start;

POSIX::mkfifo($fifo, 0600) or die "$fifo: $!\n";
conf("access_log $fifo.before; access_log $fifo;");
$t->signal('HUP');
ok($t->wait_for(sub { -e "$fifo.before" }), 'a configuration is read');

is($lost->call(PATCH => '',
    { health_checks => [{}, { match => 'ok' }] })->status, 200,
    'a check that it does not have the lrt_match of');

sysopen my $reader, $fifo, O_RDONLY | O_NONBLOCK or die "$fifo: $!\n";
ok($t->wait_for(sub { $lost->get->{lrt}{skipped_checks} }), 'it is left out');
ok($t->wait_for(sub { !$t->old_workers }), 'no old workers');


$browser->run(['problems'], port => $t->port('api'), name => $name,
    path => $path, map { ($_ => $t->address($_)) } qw(a b d dead));

$t->done;
