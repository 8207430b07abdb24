#!/usr/bin/perl

# A thousand changes a second under traffic: no request fails, none goes to
# a server that is not in the group, and nothing is left over.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use LRT;
use LRT::Hooks;
use LRT::Storm;

use constant { SERVERS => 50, RATE => 1000 };

my $seconds = $ENV{LRT_LONG} ? 30 : 4;
my $t       = LRT->new(name => 'changes', need => [qw(module hooks proxy)]);

$t->skip_quick("$seconds s of changes");

###############################################################################

my @groups  = qw(rr lc);
my %address = map { $_ => $t->address($_) }
    $t->backends('b', SERVERS, delay => '0-20');

$t->conf(workers => 2, http => q{
    upstream rr { zone rr 512k; round_robin_ext; }
    upstream lc { zone lc 512k; least_conn_ext; }

    keepalive_requests 1000000;

    server {
        listen 127.0.0.1:%%PORT_http%%;
        location /rr { proxy_pass http://rr; }
        location /lc { proxy_pass http://lc; }
    }
    } . LRT::Hooks::server($t));
$t->start;

my %group   = map { $_ => LRT::Hooks->group($t, $_) } @groups;
my @workers = $t->workers;
my $changes = LRT::Storm->changes($t,
    groups => \@groups, servers => \%address, rate => RATE);
my %traffic = map {
    $_ => LRT::Storm->traffic($t, "/$_", concurrency => 16, rate => 800)
} @groups;

sleep $seconds;

$_->stop for values %traffic;
$changes->stop;

###############################################################################

diag $changes->summary;
is_deeply([$changes->total('faults')], [], 'each change was made');
is($changes->total('lost'), 0, 'each change was answered');
cmp_ok($changes->total('rate'), '>=', RATE / 4 / LRT::Net::timeout(1),
    'it was a storm');

for my $name (@groups) {
    my $group   = $group{$name};
    my $traffic = $traffic{$name};

    diag "$name: ", $traffic->summary;
    is_deeply($traffic->failed, {}, "$name: no request failed")
        or diag explain $traffic->totals->{first_failures};

    my @wrong = LRT::Storm::wrong_servers($traffic, $name, $changes);
    is(@wrong, 0, "$name: no request went to a server outside of the group")
        or diag join "\n", grep { defined } @wrong[0 .. 9];

    ok($group->settles(1), "$name: nothing is in flight, the table is valid")
        or diag $group->unrest;

    my %times;
    $times{$_}++ for map { @$_ } $changes->ids($name);
    is_deeply([grep { $times{$_} > 1 } keys %times], [],
        "$name: no id was given twice");

    my $present = $changes->present($name);
    my %name    = reverse %address;
    my %counted = map { $name{ $_->{name} } => $_->{requests} }
        $group->servers;
    is_deeply(
        [LRT::Storm::wrong_counts($traffic, $name, $changes, \%counted)], [],
        "$name: each request was counted where it belongs");

    is_deeply({ map { $_->{name} => $_->{id} } $group->servers },
        { map { $address{$_} => $present->{$_} } keys %$present },
        "$name: the table holds what it should");
}

is_deeply([$t->workers], \@workers, 'the workers are the same');
is_deeply([$t->grep_log(qr/\[(?:warn|error|crit)\]/)], [],
    'nothing in the log');

$t->done;
