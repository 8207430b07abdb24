#!/usr/bin/perl

# What lives in the zone stays over reloads: servers that were added at run
# time, ids, parameters, counters; whatever happens to the "zone" directive,
# to the list of servers, to the method or to the groups.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use LRT;
use LRT::Hooks;

my $t = LRT->new(
    name => 'zone', need => [qw(module proxy rewrite upstream_zone)]);

my @names = 'a' .. 'd';
$t->backend($_) for @names;

my %address = map { ($_ => $t->address($_)) } @names;
my %name    = reverse %address;
my $hooks   = LRT::Hooks->group($t, 'u');


# A configuration with these upstream blocks; a text without blocks is the
# inside of `u`.

sub conf ($upstreams, %o) {
    $upstreams = "upstream u { $upstreams }" if $upstreams !~ /upstream/;

    return $t->conf(workers => 2, http => $upstreams . q{
        server {
            listen 127.0.0.1:%%PORT_http%% reuseport;
            location ~ ^/(?<group>\w+) {
                proxy_pass http://$group;
                add_header X-Worker $pid;
            }
        }
    } . ($o{more} // '') . LRT::Hooks::server($t));
}


sub reload_with ($upstreams) { conf($upstreams)->reload }


# The servers: name => "id weight=N ..." with the fields asked for.

sub servers (@fields) {
    return {
        map {
            my $server = $_;
            my $name   = $name{ $server->{name} } // $server->{name};
            $name .= ' backup' if $server->{backup};
            $name .= ' removed' if $server->{zombie};
            ($name => join ' ', $server->{id} // '-',
                map { "$_=$server->{$_}" } @fields);
        } $hooks->servers
    };
}


sub with_hooks ($tests) {
    SKIP: {
        skip 'no test hooks', 1 unless $hooks;
        $tests->();
    }
}


sub at_rest ($name) {
    ok($hooks->settles, "$name: the table is valid, no request in flight")
        or diag($hooks->unrest);
}

###############################################################################
# the "zone" directive comes, changes and goes

my $servers = 'server %%ADDRESS_a%%; server %%ADDRESS_b%% weight=2;';
conf("round_robin_ext; $servers")->start;

is_deeply($t->many(12, '/u'), { a => 4, b => 8 }, 'without "zone"');

with_hooks(sub {
    $hooks->add($address{c}, weight => 3, max_fails => 7);
    $hooks->add($address{d}, backup => 1);
    $hooks->remove($hooks->add($address{d}));
    $hooks->set($address{a}, weight => 6);
    is_deeply($t->many(22, '/u'), { a => 12, b => 4, c => 6 },
        'servers and weights that are changed at run time');
});

my @fields = qw(weight max_conns max_fails backup down in_conf requests);
my $load   = $t->load(uri => '/other', rate => 300, concurrency => 2);
my $before;

$before = servers(@fields) if $hooks;

my @steps = (
    ['nothing'  => ''],
    ['added'    => 'zone u 256k;'],
    ['renamed'  => 'zone another 256k;'],
    ['larger'   => 'zone another 1m;'],
    ['removed'  => ''],
    ['smaller'  => 'zone u 64k;'],
    ['removed, was small' => ''],
    ['added again' => 'zone u 128k;'],
    ['shared'   => 'zone z 128k;',
        'upstream first { zone z 128k; server %%ADDRESS_a%%; }'],
);

for my $step (@steps) {
    my ($what, $zone, $more) = @$step;
    my ($generation, $capacity) = $hooks
        ? @{ $hooks->dump }{qw(generation capacity)} : ();

    reload_with(($more // '') . qq{
        upstream u { $zone round_robin_ext; $servers }
        upstream other { least_conn_ext; server %%ADDRESS_b%%; }
    });

    with_hooks(sub {
        my $dump = $hooks->dump;
        is_deeply(servers(@fields), $before,
            "zone, $what: ids, parameters and counters stay");
        is($dump->{generation}, $generation, "zone, $what: no new generation")
            if $what =~ /^(?:nothing|renamed|removed|shared)$/;
        is($dump->{capacity}, $capacity, "zone, $what: the same room")
            if $what =~ /^(?:nothing|renamed|removed|shared)$/;
        cmp_ok($dump->{capacity}, '>', $capacity, "zone, $what: more room")
            if $what =~ /larger|was small/;
        cmp_ok($dump->{capacity}, '<', $capacity, "zone, $what: less room")
            if $what =~ /smaller/;
    });
}

my $totals = $load->stop;
delete $totals->{failed}{'status 502'};         # before the group was there
is_deeply($totals->{failed}, {}, 'meanwhile no request has failed')
    or diag($load->summary);

with_hooks(sub {
    is_deeply($t->many(22, '/u'), { a => 12, b => 4, c => 6 },
        'all are used as before');
    is($hooks->add('127.0.0.1:1', down => 1), 5, 'ids go on');
    $hooks->remove(5);
    at_rest('zone');
});

is_deeply($t->many(3, '/first'), { a => 3 }, 'as is a stock group beside it');

# requests of old workers, and requests of new ones

my $slow = $t->begin('/u?delay=300');
$t->wait_for(sub { grep { $t->backend($_)->stats->{active} } @names });
reload_with("zone u 512k; round_robin_ext; $servers");
is($t->get('/u')->status, 200, 'zone resized while a request runs: new ones');
is($slow->receive->status, 200, 'zone resized while a request runs: it ends');

with_hooks(sub {
    at_rest('zone resized while a request runs');

    # too small for what is there at run time

    my @ids = map { $hooks->add("127.0.0.1:$_", down => 1) } 1 .. 60;
    conf("zone u 64k; round_robin_ext; $servers");
    like($t->reload_error,
        qr/zone "u" .* too small: .* for 64 it must be at least \d+k/,
        'a zone too small for servers that were added at run time');
    is($hooks->dump->{primaries}, 63, 'they stay, in the old zone');
    $hooks->remove($_) for @ids;
    is($hooks->add('127.0.0.1:1', down => 1), 66, 'which is in use');
    $hooks->remove(66);
});

###############################################################################
# the configuration is merged three ways

with_hooks(sub {
    my $zone = 'zone u 512k; round_robin_ext;';
    my $merged = sub ($text, @fields) {
        reload_with("$zone $text");
        return servers(@fields);
    };

    is_deeply(servers('weight'), {
        a => '0 weight=6', b => '1 weight=2', c => '2 weight=3',
        'd backup' => '3 weight=1',
    }, 'merge: what is there');

    is_deeply($merged->('server %%ADDRESS_a%% max_fails=2;
        server %%ADDRESS_b%% weight=4;', qw(weight max_fails)), {
        a => '0 weight=6 max_fails=2', b => '1 weight=4 max_fails=1',
        c => '2 weight=3 max_fails=7', 'd backup' => '3 weight=1 max_fails=1',
    }, 'merge: what was changed in the configuration wins, each by itself');

    $hooks->set($address{a}, weight => 5, max_fails => 3);
    $hooks->set($address{b}, down => 1);

    is_deeply($merged->('server %%ADDRESS_a%% max_fails=2;
        server %%ADDRESS_b%% weight=4;', qw(weight max_fails down)), {
        a => '0 weight=5 max_fails=3 down=0',
        b => '1 weight=4 max_fails=1 down=1',
        c => '2 weight=3 max_fails=7 down=0',
        'd backup' => '3 weight=1 max_fails=1 down=0',
    }, 'merge: what was changed at run time stays otherwise');

    is_deeply($merged->('server %%ADDRESS_a%% max_fails=2 weight=5;
        server %%ADDRESS_b%% weight=4 fail_timeout=3s;', 'weight', 'down'), {
        a => '0 weight=5 down=0', b => '1 weight=4 down=1',
        c => '2 weight=3 down=0', 'd backup' => '3 weight=1 down=0',
    }, 'merge: the same value from both');

    # removed at run time

    $hooks->remove($address{b});
    my $a_only = {
        a => '0 weight=5', c => '2 weight=3', 'd backup' => '3 weight=1',
    };

    is_deeply($merged->('server %%ADDRESS_a%% max_fails=2 weight=5;
        server %%ADDRESS_b%% weight=4;', 'weight'), $a_only,
        'merge: a server that was removed at run time stays away');
    is_deeply($merged->('server %%ADDRESS_a%% max_fails=2 weight=5;
        server %%ADDRESS_b%% weight=9;', 'weight'), $a_only,
        'merge: even when its parameters change');

    reload_with("zone u 300k; round_robin_ext;
        server %%ADDRESS_a%% max_fails=2 weight=5;
        server %%ADDRESS_b%% weight=9;");
    is_deeply(servers('weight'), $a_only, 'merge: even when the zone changes');

    $merged->('server %%ADDRESS_a%% max_fails=2 weight=5;');
    is($hooks->dump->{gone}, 0, 'merge: forgotten when it leaves the list');

    is_deeply($merged->('server %%ADDRESS_a%% max_fails=2 weight=5;
        server %%ADDRESS_b%% weight=9;', 'weight'),
        { %$a_only, b => '67 weight=9' },
        'merge: and added when it comes back');

    $hooks->remove($address{b});
    $hooks->add($address{b}, weight => 8);
    is_deeply($merged->('server %%ADDRESS_a%% max_fails=2 weight=5;
        server %%ADDRESS_b%% weight=9;', 'weight', 'in_conf'), {
        a => '0 weight=5 in_conf=1', b => '68 weight=8 in_conf=1',
        c => '2 weight=3 in_conf=0', 'd backup' => '3 weight=1 in_conf=0',
    }, 'merge: removed and added at run time: as at run time');

    # added at run time, and configured later

    is_deeply($merged->('server %%ADDRESS_a%% max_fails=2 weight=5;
        server %%ADDRESS_b%% weight=9;
        server %%ADDRESS_c%% weight=2 max_conns=4;',
        qw(weight max_conns max_fails in_conf)), {
        a => '0 weight=5 max_conns=0 max_fails=3 in_conf=1',
        b => '68 weight=8 max_conns=0 max_fails=1 in_conf=1',
        c => '2 weight=2 max_conns=4 max_fails=1 in_conf=1',
        'd backup' => '3 weight=1 max_conns=0 max_fails=1 in_conf=0',
    }, 'merge: a server of the run time is configured: as configured');

    is_deeply($merged->('server %%ADDRESS_d%%;', 'in_conf'), {
        d => '69 in_conf=1', 'd backup' => '3 in_conf=0',
    }, 'merge: servers leave the configuration, a primary beside a backup');

    is_deeply($merged->('', 'in_conf'), { 'd backup' => '3 in_conf=0' },
        'merge: the last one leaves the configuration');
    is_deeply($t->many(3, '/u'), { d => 3 }, 'merge: what is left serves');
    $hooks->remove(3);
    is($t->get('/u')->status, 502, 'merge: until nothing is left');
    is_deeply($merged->($servers, 'weight'),
        { a => '70 weight=1', b => '71 weight=2' },
        'merge: servers come into the empty group');

    # listed twice

    is_deeply($merged->("$servers server %%ADDRESS_a%% weight=3;", 'weight'),
        { a => '70 weight=4', b => '71 weight=2' },
        'merge: a server is listed once more');
    is_deeply($merged->($servers, 'weight'),
        { a => '70 weight=1', b => '71 weight=2' },
        'merge: and once again');

    # the method

    my $method = sub ($method) {
        reload_with("zone u 512k; $method; $servers");
        return $hooks->dump->{method};
    };

    is($method->('least_conn_ext'), 'least_conn_ext',
        'merge: another method is configured');
    $hooks->method('round_robin_ext');
    is($method->('least_conn_ext'), 'round_robin_ext',
        'merge: a method of the run time stays');
    is($method->('round_robin_ext'), 'round_robin_ext',
        'merge: until the configuration changes');
    is($method->('least_conn_ext'), 'least_conn_ext', 'merge: and wins');
    is_deeply(servers('weight'), { a => '70 weight=1', b => '71 weight=2' },
        'merge: the servers are the same');

    at_rest('merge');
});

###############################################################################
# a server leaves while it works

reload_with("round_robin_ext; $servers server %%ADDRESS_c%%;");

my @held = map { $t->begin('/u?hang=1&x') } 1 .. 4;
$t->wait_for(sub { $t->backend('c')->stats->{active} });

my $answers;
for (1 .. 4) {
    $answers = $t->begin('/u?c.delay=500&a.hang=1&b.hang=1');
    last if $t->wait_for(
        sub { $t->backend('c')->stats->{active} == 2 }, 0.1);
}

reload_with("round_robin_ext; $servers");
is_deeply($t->many(12, '/u'), { a => 4, b => 8 },
    'a server that left the configuration gets no new requests');

with_hooks(sub {
    like(servers('inflight')->{'c removed'}, qr/inflight=[12]/,
        'but it is there until its last one');
});

reload_with("round_robin_ext; $servers server %%ADDRESS_c%%;");
is_deeply($t->many(8, '/u'), { a => 2, b => 4, c => 2 },
    'when it comes back meanwhile, it is used again');

with_hooks(sub {
    my %ids = map { ($_->{id} // 'old') => 1 }
        grep { $_->{name} eq $address{c} } $hooks->servers;
    is(scalar keys %ids, 2, 'in another place, as long as the old is in use');
});

is($answers->receive->body, 'c', 'the old request gets its answer');
$_->close for @held;

with_hooks(sub { at_rest('a server leaves while it works') });

###############################################################################
# groups come and go

sub both ($u, $v) {
    return join ' ', map { $t->get("/$_")->name } $u, $v;
}

my $u = "upstream u { round_robin_ext; server %%ADDRESS_a%%; }";
my $v = "upstream v { least_conn_ext; server %%ADDRESS_b%%; }";

reload_with("$u $v");
is(both('u', 'v'), 'a b', 'a group was added');

$slow = $t->begin('/v?delay=300');
$t->wait_for(sub { $t->backend('b')->stats->{active} });
reload_with($u);
is(both('u', 'v'), 'a 502', 'a group was removed');
is($slow->receive->body, 'b', 'its request ends well');

reload_with("$u $v");
is(both('u', 'v'), 'a b', 'it comes back');

with_hooks(sub {
    my $v = LRT::Hooks->group($t, 'v');
    is($v->peer($address{b})->{id}, 0, 'and knows nothing of its former life');
    $v->add($address{c}, backup => 1);
});

reload_with($u . $v =~ s/upstream v/upstream w/r);
is(both('u', 'w'), 'a b', 'a group was renamed');
is(both('u', 'v'), 'a 502', 'the old name is gone');

with_hooks(sub {
    is(scalar(LRT::Hooks->group($t, 'w')->servers), 1,
        'the new one begins as configured');
});

reload_with('upstream u { server %%ADDRESS_a%%; }');
is($t->get('/u')->body, 'a', 'without any group of ours');
reload_with("$u $v");
is(both('u', 'v'), 'a b', 'and with them');

###############################################################################
# from a stock method to ours and back

my $both = 'zone u 256k; server %%ADDRESS_a%%; server %%ADDRESS_b%%;';
my @methods = ('', 'round_robin_ext;', '', 'least_conn_ext;',
    $t->has('upstream_least_conn') ? 'least_conn;' : (), 'round_robin_ext;');

for my $method (@methods) {
    my $name = $method || 'stock round robin';
    my $slow = $t->begin('/u?delay=150');

    $t->wait_for(sub { grep { $t->backend($_)->stats->{active} } @names });
    reload_with("$method $both");
    is_deeply($t->many(8, '/u'), { a => 4, b => 4 }, "to $name: requests");
    is($slow->receive->status, 200, "to $name: a request from before");

    with_hooks(sub { at_rest("to $name") }) if $method =~ /_ext/;
}

###############################################################################
# a table without free slots: new servers wait for the places of old ones

with_hooks(sub {
    my $list = sub ($from, @first) {
        my $capacity = $hooks->capacity;
        return join '', 'zone u 32k; round_robin_ext;',
            map { "server $_;" } map({ $t->address($_) } @first),
            map { "127.0.0.1:$_ down" } $from .. $from + $capacity - 1 - @first;
    };

    reload_with('zone u 32k; round_robin_ext; server %%ADDRESS_a%%;');
    my $capacity = $hooks->capacity;
    reload_with($list->(100, 'a'));
    is($hooks->dump->{primaries}, $capacity, 'full: the table is full');

    my $slow = $t->begin('/u?hang=1');
    $t->wait_for(sub { $t->backend('a')->stats->{active} });

    my $load = $t->load(uri => '/u', rate => 1000, concurrency => 2);
    reload_with($list->(200, 'b'));
    is_deeply($load->stop->{failed}, {},
        'full: no request fails while all servers are replaced')
        or diag($load->summary);

    ok($t->wait_for(sub { $hooks->dump->{primaries} == $capacity - 1 }),
        'full: all servers are replaced but for the one in use')
        or diag($hooks->dump->{primaries});
    is($t->get('/u')->body, 'b', 'full: new ones serve');
    is(servers('inflight')->{'a removed'}, '- inflight=1',
        'full: the old one has its request');

    $slow->close;
    ok($t->wait_for(sub { $hooks->dump->{primaries} == $capacity }),
        'full: then the last one gets its place');
    at_rest('full');
});

###############################################################################
# reloads that fail change nothing

reload_with("zone u 256k; round_robin_ext; $servers");
my $state = $hooks ? $hooks->dump : undef;

conf("zone u 512k; least_conn_ext; server %%ADDRESS_c%%; nonsense;");
like($t->reload_error, qr/unknown directive "nonsense"/,
    'a configuration that is wrong');
is_deeply($t->many(6, '/u'), { a => 2, b => 4 }, 'all is as before');

with_hooks(sub {
    is_deeply({ $hooks->dump->%*, servers => 0 }, { %$state, servers => 0 },
        'the generation is the same');
});

# nginx finds out late that a port is taken, and tries for some seconds

$t->expect_alerts(qr/bind\(\) to \S+ failed|still could not bind/);
my $mark = $t->log_mark;
conf("zone u 512k; least_conn_ext; server %%ADDRESS_c%%;",
    more => 'server { listen %%ADDRESS_d%%; }');
$t->reload_error;
is_deeply($t->many(6, '/u'), { a => 2, b => 4 },
    'a port that is taken: all is as before');
ok($t->wait_for(sub { $t->grep_log(qr/still could not bind/, $mark) }, 10),
    'nginx gives up');
is_deeply($t->many(6, '/u'), { a => 2, b => 4 }, 'all is as before');

with_hooks(sub {
    is_deeply({ $hooks->dump->%*, servers => 0 }, { %$state, servers => 0 },
        'the generation is the same');
    $hooks->add($address{c});
    is_deeply($t->many(8, '/u'), { a => 2, b => 4, c => 2 },
        'the table can be changed');
    at_rest('failed reloads');
});

reload_with("zone u 256k; round_robin_ext; $servers server %%ADDRESS_d%%;");
ok($t->many(20, '/u')->{d}, 'and the next reload is a good one');

$t->done;
