#!/usr/bin/perl

# Groups of 10,000 servers: replaced and read while requests go on, and none
# of these fails.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use LRT;
use LRT::API;
use LRT::Hooks;

use constant MANY => 10_000;

my $t = LRT->new(
    name => 'api_big', need => [qw(module proxy upstream_zone)]);

my $begin = time;
$t->skip_quick('10,000 servers');
$t->backend($_) for qw(a b);

my ($a, $b) = map { $t->address($_) } qw(a b);

$t->conf(workers => 2, http => q{
    upstream u { zone u 64m; least_time header; server %%ADDRESS_a%%; }

    server {
        listen 127.0.0.1:%%PORT_http%%;
        location / { proxy_pass http://u; }
    }
    server {
        listen 127.0.0.1:%%PORT_api%%;
        location /api { lrt_api write=on; }
        location /metrics { lrt_metrics; }
    }
} . LRT::Hooks::server($t))->start;

my $u = LRT::API->new($t)->group('u');


# Two servers that answer, and others that would not.

sub list ($number) {
    return '[' . join(',', map({ qq({"server":"$_"}) } $a, $b), map {
        sprintf '{"server":"127.%d.%d.%d:80","down":true,"weight":%d}',
            $number, $_ / 250, 1 + $_ % 250, 1 + $_ % 7
    } 3 .. MANY) . ']';
}


sub replaced ($what, $list, %counts) {
    my $r = $u->call(PUT => 'servers', $list, timeout => 60);

    is($r->status, 200, $what) or diag($r->body);
    is_deeply(LRT::API::data($r),
        { added => 0, removed => 0, updated => 0, unchanged => 0, %counts },
        "$what: what has changed");
}


# How often a pattern is in what a path holds.

sub matches ($pattern, $uri) {
    my $r = $t->get($uri, port => 'api', timeout => 60);
    return $r->status . ' ' . scalar(() = $r->body =~ /$pattern/g);
}


sub readable ($name, $count = MANY) {
    is(matches(qr/\{"id":\d+,"server":"[^"]+",/, $u->uri('servers')),
        "200 $count", "$name: servers");
    is(matches(qr/"health_checks":\{/, $u->uri('')), "200 $count",
        "$name: status");
    is(matches(qr/^\w+_requests_total\{/m, '/metrics'), "200 $count",
        "$name: metrics");

    my @ids = $u->call(GET => 'servers')->body =~ /"id":(\d+)/g;
    my %ids = map { ($_ => 1) } @ids;
    is(scalar keys %ids, $count, "$name: each with an id of its own");
}

###############################################################################

my $load = $t->load(rate => 200, concurrency => 4, timeout => 30);

replaced('10,000 servers', list(2), added => MANY - 1, unchanged => 1);
readable('10,000 servers');

replaced('the same', list(2), unchanged => MANY);
replaced('others', list(3), added => MANY - 2, removed => MANY - 2,
    unchanged => 2);
readable('others');

is($u->call(PATCH => "servers/127.3.1.1:80", { weight => 9 })->status, 200,
    'one of them is modified');
is($u->call(DELETE => 'servers/127.3.1.1:80')->body =~ tr/{//, MANY - 1,
    'and removed');
is($u->call(DELETE => '')->status, 204, 'counters are reset');

replaced('two servers', qq([{"server":"$a"},{"server":"$b"}]),
    removed => MANY - 3, unchanged => 2);
readable('two servers', 2);

my $totals = $load->stop;
is_deeply($totals->{failed}, {}, 'no request has failed')
    or diag($load->summary);
cmp_ok($totals->{ok}, '>', 10, 'and there were some');
note($load->summary);

# all away, all back

replaced('no servers', '[]', removed => 2);
readable('no servers', 0);
replaced('10,000 again', list(2), added => MANY);
readable('10,000 again');

# a list is compared with the group before it is applied, and what others
# change meanwhile goes on to count

my @changes = map { $t->load(port => 'api', method => 'PATCH', rate => 300,
    uri => $u->uri("servers/$a"), body => qq({"weight":$_})) } 2, 3;

for my $number (3, 2, 3) {
    my $r = $u->call(PUT => 'servers', list($number), timeout => 60);
    my $data = LRT::API::data($r);

    is($r->status, 200, 'a list amid changes') or diag($r->body);
    is_deeply([@$data{qw(added removed)}, $data->{updated}
        + $data->{unchanged}], [MANY - 2, MANY - 2, 2], 'is applied');
}

is_deeply($_->stop->{failed}, {}, 'and so are they') or diag($_->summary)
    for @changes;
is($u->call(PATCH => "servers/$a", { weight => 9 })->status, 200,
    'one more change');
replaced('all that were listed', list(3), updated => 1, unchanged => MANY - 1);
readable('amid changes');

# answers that are long are finished by workers that have to leave

my @readers = map { $t->load(port => 'api', uri => $_, concurrency => 2,
    timeout => 30) } $u->uri('servers'), $u->uri(''), '/metrics';

for (1 .. 3) {
    $t->wait_for(sub { !grep { $_->totals->{requests} < 2 } @readers }, 20);
    $t->reload;
}

is_deeply($_->stop->{failed}, {}, 'reloads cut off no answer')
    or diag($_->summary) for @readers;
readable('after reloads');

SKIP: {
    my $hooks = LRT::Hooks->group($t, 'u') or skip 'no test hooks', 1;
    is($hooks->validity, 'valid', 'the table is valid');
}

is($t->get('/')->status, 200, 'it works');
note(time - $begin, ' s');

$t->done;
