#!/usr/bin/perl

# iphash_ext: a client stays with its server, and moves only if it must.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use LRT;
use LRT::Hooks;

my $t = LRT->new(name => 'iphash', need => [qw(module proxy)]);

my @names = qw(a b c d);
$t->backend($_) for @names, 'new';

my $servers = join ' ', map { "server %%ADDRESS_$_%% max_fails=0;" } @names;

my $http = qq{
    upstream keyed { iphash_ext key=\$arg_k; $servers }
    upstream by_address { iphash_ext; $servers }
    upstream by_net { iphash_ext ipv4=24; $servers }
    upstream bounded { iphash_ext key=\$arg_k balance=1.5; $servers }

    server {
        listen 127.0.0.1:%%PORT_http%%;
        listen 127.0.0.2:%%PORT_http%%;
        add_header X-Choice \$lrt_choice;
        location ~ ^/(?<group>\\w+) { proxy_pass http://\$group; }
    }
} . LRT::Hooks::server($t);

$t->conf(workers => 2, http => $http);
$t->start;

my @clients = map { "client$_" } 1 .. 400;


# who answers each client

sub homes ($group = 'keyed') {
    my %home;

    $t->run(
        count       => scalar @clients,
        concurrency => 8,
        keepalive   => 1,
        uri         => sub ($i) { "/$group?k=$clients[$i]" },
        on_response => sub ($r, $i) { $home{ $clients[$i] } = $r->name },
    );

    return \%home;
}

sub moved ($from, $to) {
    return grep { $from->{$_} ne $to->{$_} } @clients;
}


# the same server for a client, over both workers, and all servers have some

my $home = homes();

is_deeply(homes(), $home, 'clients stay with their servers');

# a hundred each are fair; chance takes nine of them, or gives them, and seven
# times that is next to impossible

my %share;
$share{$_}++ for values %$home;
is((grep { $_ > 40 && $_ < 160 } values %share), 4,
   'all servers have their share of them') or diag(explain(\%share));

# after a reload as well, or when nginx was gone

$t->reload;
is_deeply(homes(), $home, 'after a reload they are where they were');

$t->stop;
$t->start;
is_deeply(homes(), $home, 'and after a restart');

# one server goes with the configuration: only its clients move

(my $without = $http) =~ s/server %%ADDRESS_b%% max_fails=0;//g;
$t->conf(workers => 2, http => $without);
$t->reload;

my $now = homes();
my @moved = moved($home, $now);

is_deeply([sort @moved], [sort grep { $home->{$_} eq 'b' } @clients],
          'only clients of the removed server move');

$t->conf(workers => 2, http => $http);
$t->reload;
is_deeply(homes(), $home, 'and they come back with it');

# one server more: it gets a fifth of them, nobody moves between the others

(my $with = $http) =~
    s/keyed \{[^}]*\K(?=\})/server %%ADDRESS_new%% max_fails=0;/;
$t->conf(workers => 2, http => $with);
$t->reload;

$now = homes();
@moved = moved($home, $now);

is_deeply([grep { $now->{$_} ne 'new' } @moved], [],
          'clients move to an added server only');
ok(@moved > 24 && @moved < 136, 'about a fifth of them does')
    or diag(scalar @moved);

$t->conf(workers => 2, http => $http);
$t->reload;
is_deeply(homes(), $home, 'and they go back when it is gone');

# a dead server is passed over for its own clients, and gets them back

$t->backend('c')->stop;
$now = homes();
@moved = moved($home, $now);

is_deeply([sort @moved], [sort grep { $home->{$_} eq 'c' } @clients],
          'only clients of a dead server go elsewhere');

my ($lost) = @moved;
is($t->get("/keyed?k=$lost")->name, $now->{$lost}, 'each to one place');

$t->backend('c')->start;
is_deeply(homes(), $home, 'when it lives again they are back');

# clients without a key take turns

is_deeply($t->many(8, '/keyed'), { a => 2, b => 2, c => 2, d => 2 },
          'without a key it is round robin');
like($t->get('/keyed')->header('X-Choice'), qr/the client has no key/,
     'and the choice says so');
like($t->get('/keyed?k=x')->header('X-Choice'), qr/the server of this client/,
     'while a client with a key has a server');

# addresses: all of it by default, 24 bits where that is wanted

my %by;
for my $i (1 .. 40) {
    my $name = $t->get('/by_address', from => "127.0.7.$i")->name;
    $by{$name}++;
    $by{same}++ if $name eq $t->get('/by_address', from => "127.0.7.$i")->name;
}

is($by{same}, 40, 'an address has a server');
ok(keys %by > 3, 'addresses are told apart by all of their bits');

is(scalar keys %{ { map { $t->get('/by_net', from => "127.0.7.$_")->name => 1 }
                    1 .. 20 } }, 1, 'with ipv4=24 a network is one client');

# one client asks for more than its server's share at once

my @held = map { $t->begin('/bounded?k=one&hang=1') } 1 .. 12;
my %held;

$t->wait_for(sub {
    %held = map { $_ => $t->backend($_)->stats->{active} } @names;
    my $sum = 0;
    $sum += $_ for values %held;
    return $sum == 12;
});

ok(!(grep { $_ > 5 } values %held),
   'no server has more than 1.5 of its share of 12, rounded up')
    or diag(explain(\%held));
$_->close for @held;

# what is above that has one place as well, as long as the load is the same:
# of 14 requests six are allowed on the client's server, and of two more

SKIP: {
    my $group = LRT::Hooks->group($t, 'bounded') or skip 'no test hooks', 3;

    $group->settles;
    my $own = $t->get('/bounded?k=one')->name;
    $group->settles;

    my %got;
    @held = ();

    for my $count (1 .. 14) {
        push @held, $t->begin('/bounded?k=one&hang=1');
        $t->wait_for(sub { $group->inflight == $count });
    }

    ok($t->wait_for(sub { $t->backend($own)->stats->{active} == 6 }),
       'a server has all it may have');

    for (1 .. 10) {
        $got{ $t->get('/bounded?k=one')->name }++;
        $t->wait_for(sub { $group->inflight == 14 });
    }

    is(scalar keys %got, 1, 'requests above that go to one other server')
        or diag(explain(\%got));
    ok(!$got{$own}, 'which is not their own');

    $_->close for @held;
}

# servers that are changed at run time

SKIP: {
    my $group = LRT::Hooks->group($t, 'keyed') or skip 'no test hooks', 3;

    my $a = $t->address('a');

    $group->set($a, down => 1);
    @moved = moved($home, homes());
    is_deeply([sort @moved], [sort grep { $home->{$_} eq 'a' } @clients],
              'only clients of a server that is down move');

    $group->set($a, down => 0);
    is_deeply(homes(), $home, 'and come back when it is up');
    ok($group->settles, 'nothing is left in flight');
}

# what is wrong

for (
    ['iphash_ext; server 127.0.0.1:81; server 127.0.0.1:82 backup;',
     qr/does not support parameter "backup"/, 'a backup'],
    ['server 127.0.0.1:81; server 127.0.0.1:82 backup; iphash_ext;',
     qr/does not support parameter "backup"/, 'a backup before it'],
    ['iphash_ext ipv4=33; server 127.0.0.1:81;',
     qr/invalid parameter "ipv4=33"/, 'too many bits'],
    ['iphash_ext ipv6=0; server 127.0.0.1:81;',
     qr/invalid parameter "ipv6=0"/, 'no bits'],
    ['iphash_ext balance=0.9; server 127.0.0.1:81;',
     qr/invalid parameter "balance=0\.9"/, 'a bound below the mean'],
    ['iphash_ext key=$no_such_variable; server 127.0.0.1:81;',
     qr/unknown "no_such_variable" variable/, 'an unknown variable'],
    ['iphash_ext key=$arg_a key=$arg_b; server 127.0.0.1:81;',
     qr/invalid parameter "key=\$arg_b"/, 'two keys'],
    ['iphash_ext header; server 127.0.0.1:81;',
     qr/invalid parameter "header"/, 'a parameter of another method'],
    ['ip_hash; iphash_ext; server 127.0.0.1:81;',
     qr/only load balancing method/, 'a stock method before'],
    ['iphash_ext; ip_hash; server 127.0.0.1:81;',
     qr/another load balancing method/, 'a stock method behind'],
) {
    my ($text, $error, $what) = @$_;
    like($t->conf_error("upstream u { $text }"), $error, "$what is an error");
}

$t->done;
