#!/usr/bin/perl

# Reloads one after the other, under traffic and changes: no request fails,
# nothing that was learned or added is lost, and nothing piles up.  One group
# has all there is: checks, a state file, changes through the API.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use List::Util qw(max);
use Test::More;
use Time::HiRes qw(sleep time);

use LRT;
use LRT::API;
use LRT::Hooks;
use LRT::Storm;

use constant {
    SERVERS => 20,
    PERIOD  => 0.3,             # seconds from reload to reload
    FLAT    => 1.1,             # memory may grow by a tenth ...
    SLACK   => 512,             # ... and so many KiB: heaps are not exact
};

my ($reloads, $settled) = $ENV{LRT_LONG} ? (200, 30) : (14, 5);
my $t = LRT->new(name => 'reloads', need => [qw(module hooks proxy)]);

$t->skip_quick("$reloads reloads");

###############################################################################

my @groups = qw(rr lc all);
my %free   = map { $_ => $t->address($_) }
    $t->backends('b', SERVERS, delay => '0-10');
my %fixed  = map { $_ => $t->address($_) } $t->backends('f', 4);

configure(0);
$t->start;

my $master = $t->master_pid;
my %group  = map { $_ => LRT::Hooks->group($t, $_) } @groups;
my $all    = LRT::API->new($t)->group('all');
my (%kept, %requests, %known, @backwards, @memory);

# f1 and f2 are configured, but for "all", f2 not always; f3 and f4 are added,
# for good

for my $name (@groups) {
    $kept{$name} = {
        map { $fixed{$_} => $group{$name}->add($fixed{$_}) } qw(f3 f4)
    };
}

my $hooks = LRT::Storm->changes($t,
    groups => [qw(rr lc)], servers => \%free, rate => 400);
my $api   = LRT::Storm->changes($t,
    groups => ['all'], servers => \%free, rate => 100, api => 1);
my %changes = (rr => $hooks, lc => $hooks, all => $api);
my %traffic = map {
    $_ => LRT::Storm->traffic($t, "/$_", concurrency => 6, rate => 400)
} @groups;
my $slow = LRT::Storm->traffic($t, '/lc?delay=1000', concurrency => 3);

my $next  = time;
my $begin = time;

for my $number (1 .. $reloads) {
    configure($number);
    $t->reload;
    counters();

    $next += PERIOD;
    my $pause = $next - time;
    sleep $pause if $pause > 0;
    push @memory, memory();
}

my $seconds = time - $begin;

$_->stop for values %traffic, $slow, $hooks, $api;

###############################################################################

diag sprintf '%d reloads in %.1f s', $reloads, $seconds;

for my $changes ($hooks, $api) {
    diag $changes->summary;
    is_deeply([$changes->total('faults')], [], 'each change was made');
}

diag 'slow: ', $slow->summary;
is_deeply($slow->failed, {}, 'no slow request failed');

for my $name (@groups) {
    my $traffic = $traffic{$name};
    my $changes = $changes{$name};
    my $group   = $group{$name};

    diag "$name: ", $traffic->summary;
    is_deeply($traffic->failed, {}, "$name: no request failed")
        or diag explain $traffic->totals->{first_failures};

    my @wrong = LRT::Storm::wrong_servers(
        $traffic, $name, $changes, keys %fixed);
    is(@wrong, 0, "$name: no request went to a server outside of the group")
        or diag join "\n", grep { defined } @wrong[0 .. 9];

    ok($group->settles(2), "$name: nothing is in flight, the table is valid")
        or diag $group->unrest;

    my $present = $changes->present($name);
    my %ids     = map { $_->{name} => $_->{id} } $group->servers;

    is_deeply({ map { $_ => $ids{$_} } keys $kept{$name}->%* }, $kept{$name},
        "$name: servers added at run time are kept");
    delete @ids{values %fixed};
    is_deeply(\%ids, { map { $free{$_} => $present->{$_} } keys %$present },
        "$name: and so is each change");
    is($group->peer($fixed{f1})->{weight}, $reloads + 1,
        "$name: the last configuration is in force") if $name ne 'all';
}

is_deeply(\@backwards, [], 'no counter went down, nothing was forgotten');
is_deeply([sort map { $known{$_}{estimate_us} ? $_ : () } keys %known],
    [sort @fixed{qw(f3 f4)}], 'there was something to forget');
flat();

ok($t->wait_for(sub { !$t->old_workers }, 5), 'no old worker is left');
is($t->workers, 2, 'two workers');
is($t->master_pid, $master, 'the same master');
is_deeply([$t->grep_log(qr/\[(?:warn|error|crit)\]/)], [],
    'nothing in the log, rows were not used up');

$t->done;

###############################################################################

# A configuration that is never the same as the one before.

sub configure ($number) {
    my $servers = 'server %%ADDRESS_f1%% weight=' . ($number + 1) . ';'
        . ($number % 2 ? 'server %%ADDRESS_f2%%;' : '');

    $t->conf(workers => 2, http => qq{
        upstream rr { zone rr 512k; round_robin_ext; $servers }
        upstream lc { zone lc 512k; least_conn_ext; $servers }
        } . q{
        keepalive_requests 1000000;

        server {
            listen 127.0.0.1:%%PORT_http%%;
            location /rr { proxy_pass http://rr; }
            location /lc { proxy_pass http://lc; }
            location /all {
                proxy_pass http://all;
                proxy_http_version 1.1;
                proxy_set_header Connection "";
            }
        }
        } . LRT::Storm::everything() . LRT::Hooks::server($t));
}


sub counters () {
    for my $name (@groups) {
        for my $server ($group{$name}->servers) {
            my $id   = $server->{id} // next;
            my $seen = $requests{$name}{$id} // 0;

            push @backwards, "$name $id: $server->{requests} < $seen"
                if $server->{requests} < $seen;
            $requests{$name}{$id} = $server->{requests};
        }
    }

    # of those that stay: what was learned, and what checks have found

    for my $peer (map { $all->peer($fixed{$_}) } qw(f3 f4)) {
        my $name = $peer->{server};
        my $then = $known{$name} // {};
        my $now  = $known{$name} = {
            estimate_us => $peer->{lrt}{estimate_us},
            checks      => $peer->{health_checks}{checks},
        };

        push @backwards, "$name: estimate lost"
            if $then->{estimate_us} && !$now->{estimate_us};
        push @backwards, "$name: $now->{checks} checks < $then->{checks}"
            if $now->{checks} < ($then->{checks} // 0);
    }
}


# KiB of the master, and of the largest worker

sub memory () {
    return [map { max(0, map { _rss($_) } @$_) } [$master], [$t->workers]];
}


sub _rss ($pid) {
    open my $file, '<', "/proc/$pid/status" or return 0;
    my ($rss) = join('', <$file>) =~ /^VmRSS:\s+(\d+)/m;
    return $rss // 0;
}


sub flat () {
    SKIP: {
        # they keep freed memory for a while, to find late uses of it
        skip 'sanitizers need memory of their own', 2
            if $t->{program}->about =~ /-fsanitize/;

        for my $which (0, 1) {
            my $who  = $which ? 'workers' : 'master';
            my $then = $memory[$settled - 1][$which];
            my $now  = $memory[-1][$which];

            diag "$who: $then KiB after $settled reloads, $now in the end";
            cmp_ok($now, '<=', $then * FLAT + SLACK,
                "the memory of the $who does not grow");
        }
    }
}
