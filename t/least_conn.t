#!/usr/bin/perl

# least_conn_ext: the server with the fewest running requests for its weight,
# over all workers; equal ones take turns by weight.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use List::Util qw(min sum);
use Test::More;

use LRT;
use LRT::Hooks;

my $t = LRT->new(name => 'lc', need => [qw(module proxy)]);

my @names = qw(a b c);
$t->backend($_) for @names;
my @many = $t->backends('m', 150);

my $http = q{
    upstream equal {
        least_conn_ext;
        server %%ADDRESS_a%%;
        server %%ADDRESS_b%%;
        server %%ADDRESS_c%%;
    }

    upstream weighted {
        least_conn_ext;
        server %%ADDRESS_a%%;
        server %%ADDRESS_b%% weight=2;
        server %%ADDRESS_c%% weight=3;
    }

    upstream tiers {
        least_conn_ext;
        server %%ADDRESS_a%% max_fails=0;
        server %%ADDRESS_b%% backup;
        server %%ADDRESS_c%% down weight=100;
    }

    upstream many { least_conn_ext; } # servers

    proxy_read_timeout 60s;

    server {
        listen 127.0.0.1:%%PORT_http%% reuseport;
        add_header X-Worker $pid always;
        location ~ ^/(?<group>\w+) { proxy_pass http://$group; }
    }
} =~ s/\} # servers/join '', (map { "server %%ADDRESS_$_%%; " } @many), '}'/er
  . LRT::Hooks::server($t);


# How many requests each backend is at.

sub running (@of) {
    return map { ($_ => $t->backend($_)->stats->{active}) } @of;
}


# Starts a request that does not end: its client and who got it.

sub hold ($group) {
    my %before = running(@names);
    my $client = $t->begin("/$group?hang=1");

    my %now;
    $t->wait_for(sub {
        %now = running(@names);
        sum(values %now) > sum(values %before);
    });
    my ($name) = grep { $now{$_} > $before{$_} } @names;

    return { client => $client, name => $name // 'nobody' };
}


# Ends such requests.

sub release (@held) {
    my %before = running(@names);
    $_->{client}->close for @held;

    $t->wait_for(sub {
        my %now = running(@names);
        sum(values %now) == sum(values %before) - @held;
    });
}

###############################################################################
# one worker: nothing overlaps

$t->conf(http => $http)->start;

is(join(' ', $t->sequence(9, '/equal')), 'a b c ' x 2 . 'a b c',
    'idle servers take turns');

my @order = $t->sequence(18, '/weighted');
my %off   = map { $_ => 1 } grep {
    my %by;
    $by{$_}++ for @order[$_ .. $_ + 5];
    "@by{@names}" ne '1 2 3';
} 0 .. @order - 6;
is_deeply(\%off, {}, 'by weight, exactly in each period')
    or diag "@order";

my @clients = map { $t->begin('/many?hang=1') } @many;
my %running;
$t->wait_for(sub {
    %running = running(@many);
    sum(values %running) == @many;
});
is_deeply([grep { $_ != 1 } values %running], [],
    'as many requests as servers: each server has one');
$_->close for @clients;
$t->stop;

###############################################################################
# two workers

$t->conf(http => $http, workers => 2)->start;

for my $case ([equal => 1, 1, 1], [weighted => 1, 2, 3]) {
    my ($group, @weight) = @$case;
    my %weight; @weight{@names} = @weight;
    my (@held, @wrong);

    for my $number (1 .. 12) {
        my %running = running(@names);
        my %load    = map { ($_ => $running{$_} / $weight{$_}) } @names;

        push @held, hold($group);
        my $to = $held[-1]{name};
        push @wrong, "request $number to $to"
            if ($load{$to} // 'inf') > min(values %load);
    }

    is_deeply(\@wrong, [], "$group: each request goes to the least loaded");
    is_deeply({ running(@names) },
        { map { ($_ => 12 * $weight{$_} / sum(@weight)) } @names },
        "$group: 12 requests are shared exactly");

    # who loses its requests gets the next ones

    my @on_b  = grep { $_->{name} eq 'b' } @held;
    my @other = grep { $_->{name} ne 'b' } @held;

    release(@on_b);
    is({ running('b') }->{b}, 0, "$group: one server is idle again");

    my @next = map { hold($group) } @on_b;
    is(join(' ', map { $_->{name} } @next), join(' ', ('b') x @on_b),
        "$group: it gets all that follow");

    release(@other, @next);
    is(sum(values %{ { running(@names) } }), 0, "$group: all have ended");

    SKIP: {
        my $hooks = LRT::Hooks->group($t, $group)
            or skip 'no test hooks', 1;
        ok($hooks->settles, "$group: nothing is counted any more")
            or diag($hooks->unrest);
    }
}

# many at a time: two workers may look in the same instant, no more

$t->backend($_)->clear for @names;

my %workers;
my $totals = $t->run(
    count => 360, concurrency => 36, uri => '/weighted?delay=40',
    on_response => sub ($r, $number) { $workers{ $r->header('X-Worker') }++ },
);

is_deeply($totals->{failed}, {}, '36 at a time: all are answered');
is(scalar keys %workers, 2, '36 at a time: by both workers');

my %busiest = map { ($_ => $t->backend($_)->stats->{max_active}) } @names;
cmp_ok($busiest{ $names[$_] }, '<=', 6 * ($_ + 1) + 2,
    "36 at a time: no more than its part runs on $names[$_]") for 0 .. 2;

# the slower a server, the less it gets

$t->backend('a')->set(delay => 200);
my $by = $t->many(60, '/equal?b.delay=20&c.delay=20', concurrency => 6);
$t->backend('a')->set;
cmp_ok($by->{a}, '<', $by->{b} / 2, 'a slow server gets less');

###############################################################################
# tiers and failures

my @held = map { hold('tiers') } 1 .. 3;
is(join(' ', map { $_->{name} } @held), 'a a a',
    'an idle backup gets nothing as long as a primary works');
release(@held);

$t->backend('a')->stop;
is_deeply($t->many(6, '/tiers'), { b => 6 },
    'it does when the primary fails, and a server that is down never');
$t->backend('a')->start;

$t->backend('a')->set(close => 1);
is_deeply($t->many(12, '/tiers'), { b => 12 },
    'requests that fail are repeated elsewhere');
$t->backend('a')->set;
is_deeply($t->many(4, '/tiers'), { a => 4 },
    'and a failed request is no longer counted');

###############################################################################
# changes at run time

SKIP: {
    my $group = LRT::Hooks->group($t, 'equal') or skip 'no test hooks', 1;

    $group->set($t->address('a'), weight => 4);
    my @held = map { hold('equal') } 1 .. 12;
    is_deeply({ running(@names) }, { a => 8, b => 2, c => 2 },
        'a new weight counts at once');

    $group->set($t->address('b'), weight => 10);
    push @held, map { hold('equal') } 1 .. 18;
    is_deeply({ running(@names) }, { a => 8, b => 20, c => 2 },
        'also for what runs already');

    $group->set($t->address('c'), down => 1);
    release(splice @held);
    push @held, map { hold('equal') } 1 .. 14;
    is_deeply({ running(@names) }, { a => 4, b => 10, c => 0 },
        'a server that is set down gets no more');

    release(@held);
    ok($group->settles, 'nothing is counted any more')
        or diag($group->unrest);
}

$t->done;
