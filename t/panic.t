#!/usr/bin/perl

# lrt_panic: when too few servers are healthy, health is ignored.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use LRT;
use LRT::API;

my $t = LRT->new(name => 'panic', need => [qw(module proxy)]);

my @names = qw(a b c d);
$t->backend($_) for @names;

my $group = q{
    server %%ADDRESS_a%% max_fails=0;
    server %%ADDRESS_b%% max_fails=0;
    server %%ADDRESS_c%% max_fails=0;
    lrt_health_check interval=200ms timeout=200ms fails=2 passes=1 match=well;
};

$t->conf(workers => 2, http => q{
    lrt_match well { header ! X-Ill; }

    upstream some { zone some 256k; round_robin_ext; lrt_panic 50%; GROUP; }
    upstream none { zone none 256k; round_robin_ext; GROUP; }

    upstream backed {
        zone backed 256k;
        least_conn_ext;
        lrt_panic 50%;
        GROUP;
        server %%ADDRESS_d%% max_fails=0 backup;
    }

    upstream fails {
        zone fails 256k;
        least_conn_ext;
        lrt_panic 100%;
        server %%ADDRESS_a%%;
        server %%ADDRESS_b%%;
    }

    server {
        listen 127.0.0.1:%%PORT_http%% reuseport;
        location ~ ^/(?<group>\w+) { proxy_pass http://$group; }
    }

    server {
        listen 127.0.0.1:%%PORT_api%%;
        location /api { lrt_api write=on; }
    }
} =~ s/GROUP;/$group/gr)->start;

my $api = LRT::API->new($t);


# Makes these fail their checks, and no others; waits until that is known.

sub ill (@ill) {
    my %ill = map { $_ => 1 } @ill;

    $t->backend($_)->set($ill{$_} ? (header => 'X-Ill: 1') : ()) for @names;

    return $t->wait_for(sub {
        for my $name (qw(some backed none)) {
            my %state = map { $_->{server} => $_->{state} }
                $api->group($name)->get->{peers}->@*;

            for my $backend (@names) {
                my $state = $state{ $t->address($backend) } // next;
                return if $state ne ($ill{$backend} ? 'unhealthy' : 'up');
            }
        }
        return 1;
    });
}


# The groups that ignore health, as the API tells.

sub in_panic () {
    return join ' ', grep { $api->group($_)->get->{lrt}{in_panic} }
        qw(some none backed);
}


sub told ($mark, $pattern) {
    return $t->wait_for(sub { $t->grep_log($pattern, $mark) });
}

###############################################################################

my $mark = $t->log_mark;

ok(ill('a'), 'two of three are healthy');
is_deeply($t->many(12, '/some'), { b => 6, c => 6 }, 'they get the requests');
is(in_panic(), '', 'no panic in the API');

ok(ill(qw(a b)), 'one of three');
is_deeply($t->many(12, '/some'), { a => 4, b => 4, c => 4 },
    'panic: all get requests');
is_deeply($t->many(12, '/none'), { c => 12 }, 'not without lrt_panic');
is(in_panic(), 'some backed', 'the API tells');

ok(told($mark, qr/\[warn\].* "some": 1 of 3 servers is healthy, panic begins/),
    'a warning');

ok(ill(qw(a b c)), 'none');
is_deeply($t->many(12, '/some'), { a => 4, b => 4, c => 4 }, 'panic goes on');
is_deeply($t->many(12, '/backed'), { d => 12 }, 'a backup that is healthy');
is_deeply($t->many(3, '/none'), { 502 => 3 }, 'nobody without lrt_panic');
is(in_panic(), 'some', 'no panic where a backup is well');

ok(ill(qw(a b c d)), 'nor the backup');
is_deeply($t->many(12, '/backed'), { a => 4, b => 4, c => 4 },
    'primaries before backups');

my $some = $api->group('some');
my ($id) = map { $_->{id} } $some->peer($t->address('a'));

$some->call(PATCH => "servers/$id", { down => LRT::API::true });
is_deeply($t->many(12, '/some'), { b => 6, c => 6 },
    'one that is down stays so');
$some->call(PATCH => "servers/$id", { down => LRT::API::false });

###############################################################################
# its end

$mark = $t->log_mark;
ok(ill(), 'all are healthy');
is_deeply($t->many(12, '/some'), { a => 4, b => 4, c => 4 },
    'and get requests');
ok(told($mark, qr/\[notice\].* "some": \d of 3 servers are .* panic ends/),
    'the log tells');

my @lines = $t->grep_log(qr/"some": .* panic begins/);
is(scalar @lines, 1, 'once for each');

###############################################################################
# max_fails

$t->backend($_)->set(close => 1) for qw(a b);
is($t->get('/fails')->status, 502, 'both servers fail');
$t->backend($_)->set for qw(a b);
is($t->get('/fails')->status, 200, 'and are asked all the same');

$t->done;
