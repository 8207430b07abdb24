#!/usr/bin/perl

# A reload while requests run: workers of two and more configurations share a
# table, or have one each if its zone has another size.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep);

use LRT;
use LRT::Hooks;
use LRT::Loop;
use LRT::Net qw(accept_from listen_on);

my $t = LRT->new(name => 'merge', need => [qw(module hooks proxy)]);

$t->backend($_) for qw(b c d e f);
gate('gate', map { "127.3.0.$_" } 1 .. 40);

configure(qw(gate b));
$t->start;

my $group = LRT::Hooks->group($t, 'u');

###############################################################################

subtest 'requests of old workers count for new ones' => sub {
    my $held = hold();

    configure(qw(gate b c));
    $t->reload;
    is($t->old_workers, 1, 'one old worker is left');
    is($group->peer(address('gate'))->{inflight}, 1, 'with its request');

    is_deeply($t->many(20, '/'), { b => 10, c => 10 },
        'new workers prefer the others');
    is($group->validity(quiet => 1), 'valid', 'counts are right');

    is(release($held), 'gate', 'the request is finished');
    is_deeply($t->many(30, '/'), { gate => 10, b => 10, c => 10 },
        'all are equal again');
    at_rest();
};


subtest 'a server goes and comes while it is used' => sub {
    my $held = hold();
    my $id   = $group->id(address('gate'));
    my ($slot) = map { $_->{slot} } grep { $_->{id} == $id } $group->servers;

    configure(qw(b c));
    $t->reload;
    is($group->peer(address('gate')), undef, 'removed');
    is_deeply($group->all('inflight'),
        { 'removed ' . address('gate') => 1,
            address('b') => 0, address('c') => 0 },
        'but its request still counts');
    is_deeply($t->many(20, '/'), { b => 10, c => 10 }, 'it gets no new one');

    configure(qw(b c d gate));
    $t->reload;
    my $new = $group->peer(address('gate'));
    isnt($new->{id}, $id, 'it comes back as another');
    isnt($new->{slot}, $slot, 'in another place');
    is($new->{inflight}, 0, 'without requests');
    is((grep { $_->{slot} == $slot } $group->servers)[0]{inflight}, 1,
        'those of the old one are where they were');

    my $second = hold();
    is($group->peer($new->{id})->{inflight}, 1, 'a request for the new one');
    is($group->inflight, 2, 'two requests');

    is(release($held), 'gate', 'the old request is finished');
    is($second->receive->name, 'gate', 'and the new one');
    at_rest();
    is($group->servers, 4, 'the old one is gone');
};


# What is changed at run time, through workers of any generation, stays until
# the configuration says something new.

subtest 'three ways' => sub {
    my @held = hold();

    $group->set(address('b'), weight => 5);
    $group->remove(address('c'));
    my $kept = $group->add(address('e'), weight => 2, max_fails => 0);
    my $late = late('/?op=set&group=u&id=' . $group->id(address('d'))
        . '&weight=7');

    configure([b => 'max_conns=700'], 'c', 'd', 'gate');
    $t->reload;
    is_deeply([sort map { $_->{name} } $group->servers],
        [sort map { address($_) } qw(b d e gate)],
        'a removed server stays away');
    is($group->peer($kept)->{weight}, 2, 'an added one stays');
    is($group->peer(address('b'))->{weight}, 5, 'a changed weight stays');
    is($group->peer(address('b'))->{max_conns}, 700, 'what is new comes');

    push @held, hold();
    is($t->old_workers, 1, 'an old worker is there');
    is($late->()->status, 200, 'and makes a change');
    is($group->peer(address('d'))->{weight}, 7, 'which is one for all');

    configure([b => 'weight=3 max_conns=700'], 'd', 'gate');
    $t->reload;
    is($t->old_workers, 2, 'two old workers, of different age');
    is($group->inflight, 2, 'with a request each');
    is($group->peer(address('b'))->{weight}, 3, 'a new weight comes');
    is($group->peer(address('d'))->{weight}, 7, 'the old one does not');

    push @held, hold();
    configure([b => 'weight=3 max_conns=700'], 'c', 'd', 'gate');
    $t->reload;
    is($t->old_workers, 3, 'three old workers');
    is($group->inflight, 3, 'with a request each');
    ok($group->peer(address('c')), 'a server comes back when it had left');
    is($group->peer($kept)->{weight}, 2, 'an added one stays');
    is($group->validity(quiet => 1), 'valid', 'counts are right');

    is(release(@held), 'gate gate gate', 'all are finished');
    $group->remove($kept);
    at_rest();
};


for my $size (qw(1m 256k)) {
    subtest "a zone of another size, $size" => sub {
        configure(qw(b c gate));
        $t->reload;
        $t->many(30, '/');

        my $kept   = $group->add(address('e'), weight => 2, max_fails => 0);
        $group->set(address('b'), weight => 4);
        my $before = $group->dump;
        my $held   = hold();
        my $id     = $group->id(address('c'));
        my $change = late("/?op=set&group=u&id=$id&weight=9");
        my $look   = late('/?op=dump&group=u');

        configure({ zone => $size }, qw(b c d gate));
        $t->reload;

        my $after = $group->dump;
        my %new   = map { $_->{id} => $_ } $after->{servers}->@*;

        isnt($after->{capacity}, $before->{capacity}, 'another capacity');
        cmp_ok($after->{generation}, '>', $before->{generation},
            'a new generation');
        is_deeply(
            [map { [@{ $new{ $_->{id} } }{qw(name weight max_fails)}] }
                $before->{servers}->@*],
            [map { [@$_{qw(name weight max_fails)}] } $before->{servers}->@*],
            'all servers came with it');
        is_deeply([grep { $new{ $_->{id} }{requests} < $_->{requests} }
            $before->{servers}->@*], [], 'with what is known of them');
        is($after->{servers}->@*, 5, 'a new one, too');

        is($group->inflight, 0, 'requests of the old table do not count');
        is($group->validity(quiet => 1), 'valid', 'the new table is valid');

        like($look->()->body, qr/ inflight=1 /, 'they are in the old table');
        my $r = $change->();
        is($r->status, 503, 'a change through an old worker is refused');
        like($r->body, qr/^superseded/, 'for it would be lost');
        is($group->peer($id)->{weight}, 1, 'nothing has changed');

        is(release($held), 'gate', 'the request is finished');
        at_rest();

        $group->remove($kept);
        $t->many(20, '/');
        at_rest();
        is($group->id(address('c')), $id, 'the same servers');
    };
}


# New servers need room, and removed ones that are used still take it.

subtest 'a full zone' => sub {
    my $other = LRT::Hooks->group($t, 'v');

    configure({ zone => '32k', v => 1 }, 'b');
    $t->reload;

    my $capacity = $group->capacity;
    note "room for $capacity servers";
    my @all = map { "127.3.0.$_:" . $t->port('gate') } 2 .. $capacity + 1;

    configure({ v => 1 }, @all);
    $t->reload;
    ok($t->wait_for(sub { $group->servers == $capacity }), 'all in use');
    at_rest();

    my @held = map { $t->begin('/') } @all;
    $t->wait_for(sub { $group->inflight == $capacity });
    is_deeply([values $group->all('inflight')->%*], [(1) x $capacity],
        'a request on each');

    my @next = map { s/127\.3/127.4/r } @all[0 .. $capacity - 2];
    my $mark = $t->log_mark;
    configure({ v => 1 }, @next, 'b');
    $t->reload;
    is($group->dump->{primaries}, 0, 'new servers have to wait');
    is((grep { $_->{zombie} } $group->servers), $capacity, 'for old ones');
    is($t->get('/')->status, 502, 'and requests, too');

    # a worker that still has the old table to look after must not mind

    my $v = $t->begin('/v');
    $t->wait_for(sub { $other->inflight });

    configure({ zone => '256k', v => 1 }, @next, 'b', 'c');
    $t->reload;
    is($group->servers, $capacity + 1, 'in a larger zone they have not');
    ok($t->old_workers >= 2, 'workers of the old table are there');
    $_->reset for @held;
    ok($t->wait_for(sub { $t->old_workers == 1 }), 'one of them is left');
    sleep 0.3;
    is_deeply([$t->grep_log(qr/\[error\].* merged/, $mark)], [],
        'it leaves it alone');

    release($v);
    at_rest();

    # once more, and the requests end one by one

    configure({ zone => '32k', v => 1 }, 'b');
    $t->reload;
    is_deeply([$t->grep_log(qr/too many servers/, $mark)], [],
        'a smaller zone has to have room only for those that stay');
    configure({ v => 1 }, @all);
    $t->reload;
    ok($t->wait_for(sub { $group->servers == $capacity }), 'full again');
    at_rest();

    @held = map { $t->begin('/') } @all;
    $t->wait_for(sub { $group->inflight == $capacity });
    configure({ v => 1 }, @next, 'b');
    $t->reload;

    for my $there (1 .. $capacity) {
        (pop @held)->reset;
        ok($t->wait_for(sub { $group->dump->{primaries} == $there }, 2),
            "room for $there");
    }

    is_deeply([sort map { $_->{name} } $group->servers],
        [sort @next, address('b')], 'all new servers are there');
    at_rest();
};

$t->done;

###############################################################################

# A server is a name, an address, or [name, parameters].

sub configure (@servers) {
    state $zone = '128k';
    my $o = ref $servers[0] eq 'HASH' ? shift @servers : {};

    $zone = $o->{zone} if $o->{zone};

    my $list = join "\n", map {
        my ($name, $parameters) = ref ? @$_ : ($_, '');
        'server ' . address($name) . " max_fails=0 $parameters;";
    } @servers;

    $t->conf(workers => 1, http => "upstream u { zone u $zone;"
        . " least_conn_ext; $list }"
        . ($o->{v} ? 'upstream v { least_conn_ext; server '
            . address('gate') . '; }' : '')
        . 'server { listen 127.0.0.1:%%PORT_http%%;'
        . 'location / { proxy_pass http://u; }'
        . ($o->{v} ? 'location /v { proxy_pass http://v; }' : '')
        . '}' . LRT::Hooks::server($t));
}


sub address ($name) {
    return $name =~ /:/     ? $name
         : $name eq 'gate'  ? '127.3.0.1:' . $t->port('gate')
         :                    $t->address($name);
}


# A request that waits at the gate, whatever waits there already.

sub hold () {
    my $waiting = waiting();
    my @others  = grep { $_->{name} ne address('gate') && defined $_->{id} }
        $group->servers;

    $group->set($_->{id}, down => 1) for @others;
    my $request = $t->begin('/?hold', timeout => 60);
    $t->wait_for(sub { waiting() > $waiting })
        or die "no request came to the gate\n";
    $group->set($_->{id}, down => 0) for @others;

    return $request;
}


# Lets all pass that wait at the gate; returns who answered the requests.

sub release (@requests) {
    $t->get('/open', address => address('gate'));
    return join ' ', map { $_->receive->name } @requests;
}


sub waiting () {
    return $t->get('/waiting', address => address('gate'))->body;
}


# A request for the hooks that the workers of now will answer, when the sub
# that is returned is called: they have read half of it before.

sub late ($uri) {
    my $client = $t->client(port => 'lrt_test');

    $client->send("GET $uri HTTP/1.1\r\nHost: x\r\n");
    sleep 0.05;

    return sub {
        $client->send("Connection: close\r\n\r\n");
        my $response = $client->receive;
        $client->close;
        return $response;
    };
}


sub at_rest () {
    ok($t->wait_for(sub { !$t->old_workers }, 5), 'old workers have left');
    ok($group->settles, 'all at rest') or diag $group->unrest;
}


# Servers that keep requests until the gate is opened: those with a query
# "hold", or all that come to addresses but the first.

sub gate ($name, @hosts) {
    my $port    = $t->port($name);
    my @sockets = map { listen_on("$_:$port") } @hosts;

    $t->daemon(sub {
        my $loop = LRT::Loop->new;
        my %waiting;

        for my $number (0 .. $#sockets) {
            my $socket = $sockets[$number];

            $loop->on_read($socket, sub {
                my $client = accept_from($socket) or return;
                my $text   = '';

                $loop->on_read($client, sub {
                    my $n = sysread $client, $text, 4096, length $text;
                    return if !defined $n;

                    if ($n == 0) {
                        delete $waiting{$client};
                        $loop->forget($client);
                        return close $client;
                    }

                    return if $text !~ /\r\n\r\n/;
                    my ($uri) = $text =~ /^\S+ (\S+)/;

                    if ($uri eq '/open') {
                        _answer($loop, $_, 'gate') for values %waiting;
                        %waiting = ();
                    } elsif ($uri =~ /hold/ || $number || $uri eq '/v') {
                        return $waiting{$client} = $client;
                    }

                    _answer($loop, $client,
                        $uri eq '/waiting' ? scalar keys %waiting : 'gate');
                });
            });
        }

        $loop->once while 1;
    });
    close $_ for @sockets;
}


sub _answer ($loop, $client, $body) {
    $loop->forget($client);
    syswrite $client, "HTTP/1.0 200 OK\r\nContent-Length: "
        . length($body) . "\r\n\r\n$body";
    close $client;
}
