#!/usr/bin/perl

# Everything at once, for a while: traffic by all methods with clients that
# give up, checks of servers that come and go, servers added and removed
# through the API, metrics, a dashboard, a state file, reloads now and then.
# What a process may run out of stays as it was: memory, descriptors, slots.
#
# LRT_SOAK=600 takes ten minutes, and adds and removes 100,000 servers.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use List::Util qw(max sum0);
use Test::More;
use Time::HiRes qw(sleep time);

use LRT;
use LRT::API;
use LRT::HTTP::Client;
use LRT::Hooks;
use LRT::Process;
use LRT::State;
use LRT::Storm;

use constant {
    SERVERS => 20,
    FLAT    => 1.05,            # memory may grow by so much ...
    SLACK   => 1024,            # ... and so many KiB: heaps are not exact
};

my $seconds = $ENV{LRT_SOAK} || ($ENV{LRT_LONG} ? 40 : 12);
my $cycles  = int $seconds * 500 / 3;
my $t = LRT->new(name => 'soak', need => [qw(module hooks proxy)]);

$t->skip_quick("$seconds s of everything");

###############################################################################

my %free  = map { $_ => $t->address($_) }
    $t->backends('b', SERVERS, delay => '0-20');
my @fixed = map { $t->address($_) } $t->backends('f', 6, delay => '0-5');
my $limp  = $t->backend('limp');
my %method = (
    rr => 'round_robin_ext',
    lc => 'least_conn_ext',
    ip => 'iphash_ext balance=1.25',
    lt => 'least_time header',
);

my $servers = join ' ', map { "server $_;" } @fixed, $t->address('limp');

$t->conf(workers => 2, http => join('',
    (map { my $name = $_; qq{
        upstream $name {
            zone $name 1m;
            $method{$name};
            lrt_health_check interval=300ms fails=2 passes=1;
            lrt_slow_start 1s;
            keepalive 8;
            $servers
        }
    } } sort keys %method),
    q{
    keepalive_requests 1000;

    server {
        listen 127.0.0.1:%%PORT_http%%;
        location ~ ^/(?<group>\w+) {
            proxy_pass http://$group;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_next_upstream error timeout http_500;
            proxy_read_timeout 1s;
        }
        location /go/ { lrt_redirect lt; }
    }
    }, LRT::Storm::everything(), LRT::Hooks::server($t)));
$t->start;

my $master = $t->master_pid;
my $api    = LRT::API->new($t);
my $all    = $api->group('all');
my @groups = ('all', sort keys %method);
my %hooks  = map { $_ => LRT::Hooks->group($t, $_) } @groups;
my $state  = LRT::State->new($t, $api, 'all', $t->dir . '/all.json');

$all->call(POST => 'servers/', { server => $_ }) for @fixed;

my %slots = map { $_ => room($_) } @groups;

# the descriptors of workers that are at rest, one of them with the lock of the
# file

ok($state->is_saved, 'the file is written');
my $idle = descriptors();

my $changes = LRT::Storm->changes($t,
    groups => ['all'], servers => \%free, rate => 50, api => 1);
my %traffic = map {
    $_ => $t->load(uri => "/$_?n", concurrency => 6, rate => 150)
} @groups;
my @kept = map {
    $t->load(uri => "/$_?n", concurrency => 2, rate => 50, keepalive => 1)
} @groups;
my $cycling = LRT::Process->spawn('lrt cycles', \&cycles);
my $rude    = LRT::Process->spawn('lrt rude clients', \&rude);

my (@memory, @seen);
my $begin   = time;
my $reloads = 0;

while (time - $begin < $seconds) {
    push @memory, memory();

    # a server that fails, hangs and comes back

    $limp->set(@memory % 4 < 2 ? () :
        @memory % 8 < 4 ? (status => 500) : (hang => 1));

    push @seen, grep { $t->get($_, port => 'api')->status ne '200' }
        '/metrics', '/dashboard', '/api/9/http/upstreams';
    $all->call(PATCH => '', { lrt => { panic => @memory % 2 ? '20%' : 'off' } });

    if (@memory % 10 == 5) {
        $t->reload;
        $reloads++;
    }

    sleep $seconds / 60;
}

my $cycled = $cycling->ask('stop');

$limp->set;
$rude->ask('stop');
$_->end  for $cycling, $rude;
$_->stop for values %traffic, @kept, $changes;

###############################################################################

diag sprintf '%.0f s, %d reloads', time - $begin, $reloads;
diag $changes->summary;
diag "$_: ", $traffic{$_}->summary for @groups;
diag "cycles: $cycled->{made}";

is_deeply($traffic{$_}->totals->{failed}, {}, "$_: no request failed")
    or diag explain $traffic{$_}->totals->{first_failures} for @groups;
is_deeply([map { $_->totals->{failed}->%* } @kept], [],
    'nor on kept connections');
is_deeply([$changes->total('faults')], [], 'each change was made');
is_deeply($cycled->{faults}, [], 'each cycle as well');
cmp_ok($cycled->{made}, '>=', $cycles, 'there were enough of them')
    if $ENV{LRT_SOAK};
is_deeply(\@seen, [], 'metrics, dashboard and API answered');

ok($t->wait_for(sub { !$t->old_workers }, 10), 'no old worker is left');
is($t->master_pid, $master, 'the same master');

my $present = $changes->present('all');

for my $name (@groups) {
    ok($hooks{$name}->settles, "$name: all is at rest")
        or diag $hooks{$name}->unrest;
    is($slots{$name} - room($name),
        $name eq 'all' ? keys %$present : 0, "$name: no slot is lost");
}

ok($t->wait_for(sub {
    join(' ', sort keys $state->listed->%*)
        eq join ' ', sort @fixed, map { $free{$_} } keys %$present
}, 5), 'the file has what there is');

# kept connections to servers close with their workers

$t->reload;
ok($t->wait_for(sub { !$t->old_workers }, 10), 'and again none');
ok($t->wait_for(sub { descriptors() <= $idle }, 10),
    'descriptors are what they were')
    or diag descriptors(), ", $idle in the beginning";
flat();

is_deeply([$t->grep_log(qr/\[(?:crit|emerg)\]/)], [], 'nothing bad in the log');
is_deeply([$t->grep_log(qr/no free row/)], [], 'rows were not used up');

$t->done;

###############################################################################

sub room ($name) {
    return $api->group($name)->get->{lrt}{room};
}


# Servers that are added and removed, one after the other, as many as there are
# to be in nine tenths of the time.

sub cycles ($channel) {
    my $client = LRT::HTTP::Client->new($t->address('api'));
    my $uri    = '/api/9/http/upstreams/rr/servers/';
    my %result = (made => 0, faults => []);
    my $begin  = time;

    until (asked($channel, \%result)) {
        my $pause = $begin + $result{made} * $seconds * 0.9 / $cycles - time;

        if ($pause > 0 || $result{made} == $cycles || $result{faults}->@*) {
            sleep 0.01;
            next;
        }

        my $port = 1 + $result{made} % 60_000;
        my $r = ask($client, POST => $uri,
            qq({"server":"127.1.0.1:$port","down":true}));
        my ($id) = $r->body =~ /^\{"id":(\d+)/;

        $r = ask($client, DELETE => "$uri$id") if defined $id;

        if ($r->error || $r->status ne '200') {
            push $result{faults}->@*, $r->error // $r->body;
        }

        $result{made}++;
    }

    # until the test has read the answer

    LRT::Process::receive($channel);
}


# Reloads close connections: then once more, on a new one.

sub ask ($client, $method, $uri, $body = undef) {
    my $r;

    for (1 .. 3) {
        $r = $client->request($method => $uri, keepalive => 1,
            defined $body ? (body => $body) : ());
        return $r unless $r->error || $r->status eq '503';
        $client->close;
    }

    return $r;
}


# Clients that do not wait for their answers.

sub rude ($channel) {
    my %result = (made => 0);

    until (asked($channel, \%result)) {
        my $client = LRT::HTTP::Client->new($t->address('http'));

        $client->send_request(
            GET => "/$groups[$result{made}++ % @groups]?delay=100");
        sleep 0.02;
        $client->close;
    }

    LRT::Process::receive($channel);
}


sub asked ($channel, $result) {
    my $asked = 0;

    vec(my $set = '', fileno $channel, 1) = 1;

    LRT::Process::answer($channel, sub ($word) {
        $asked = 1;
        return $result;
    }) or $asked = 1 if select($set, undef, undef, 0) > 0;

    return $asked;
}


# Of all workers

sub descriptors () {
    return sum0 map { scalar(() = glob "/proc/$_/fd/*") } $t->workers;
}


# KiB of the master, and of the largest worker

sub memory () {
    return [map { max(0, map { rss($_) } @$_) } [$master], [$t->workers]];
}


# Without the zones, whose pages count once they were touched.

sub rss ($pid) {
    open my $file, '<', "/proc/$pid/status" or return 0;
    my ($kib) = join('', <$file>) =~ /^RssAnon:\s+(\d+)/m;
    return $kib // 0;
}


sub flat () {
    SKIP: {
        # they keep freed memory for a while, to find late uses of it
        skip 'sanitizers need memory of their own', 2
            if $t->{program}->about =~ /-fsanitize/;

        for my $which (0, 1) {
            my @kib  = map { $_->[$which] } @memory;
            my $then = max(@kib[0 .. $#kib / 2]);
            my $now  = max(@kib[$#kib / 2 .. $#kib]);
            my $who  = $which ? 'workers' : 'master';

            diag "$who: at most $then KiB in the first half, then $now";
            cmp_ok($now, '<=', $then * FLAT + SLACK,
                "the memory of the $who does not grow");
        }
    }
}
