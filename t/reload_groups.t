#!/usr/bin/perl

# Reloads that take everything away and bring it back: the groups, all of
# http { }; a module that nobody uses; groups that share a zone and servers.
# "nginx -t" of any of them touches nothing that runs.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep);

use LRT;
use LRT::API;
use LRT::State;

my $t = LRT->new(name => 'groups', need => [qw(module proxy upstream_zone)]);

$t->backend($_) for qw(a b c);

my ($a, $b, $c) = map { $t->address($_) } qw(a b c);
my $api = LRT::API->new($t);
my ($u, $v) = map { $api->group($_) } qw(u v);

mkdir $t->dir . '/state';

my $groups = q{
    upstream u {
        zone z 256k;
        round_robin_ext;
        server %%ADDRESS_a%%;
        server %%ADDRESS_b%%;
    }
    upstream v {
        zone z;
        least_conn_ext;
        server %%ADDRESS_a%%;
        server %%ADDRESS_b%%;
    }
    upstream stock {
        zone z;
        server %%ADDRESS_a%%;
    }
    upstream saved {
        least_time last_byte;
        lrt_state state/saved.json;
        lrt_health_check interval=200ms;
        server %%ADDRESS_c%%;
    }
};


sub conf ($groups) {
    return (workers => 2, http => $groups . q{
        server {
            listen 127.0.0.1:%%PORT_http%%;
            location ~ ^/(?<group>\w+) { proxy_pass http://$group; }
        }
        server {
            listen 127.0.0.1:%%PORT_api%%;
            location /api { lrt_api write=on; }
            location /metrics { lrt_metrics; }
        }
    });
}

my @no_http = ("worker_processes 2;\nevents { }\n");
my $stock   = 'upstream u { zone z 256k; server %%ADDRESS_a%%; }';


# A reload that may end with a nginx that does not listen.

sub reload_with (@conf) {
    my %old = map { $_ => 1 } $t->workers;

    $t->conf(@conf)->signal('HUP');
    return $t->wait_for(sub {
        my @workers = $t->workers;
        return @workers == 2 && !grep { $old{$_} } @workers;
    }, 15);
}


sub by ($uri) { return $t->many(8, $uri) }

###############################################################################
# a module that is there and has nothing to do

$t->conf(conf($stock))->start;

is_deeply(by('/u'), { a => 8 }, 'no group of ours: stock ones work');
is_deeply($api->get('/http/upstreams/'), {}, 'no group of ours: none is listed');
is(LRT::API::fault($u->call(POST => 'servers', { server => $b })),
    '400 UpstreamStatic', 'no group of ours: and none can be changed');
is($t->get('/metrics', port => 'api')->status, 200,
    'no group of ours: metrics are there');
ok(reload_with(conf($stock)), 'no group of ours: a reload');
ok(reload_with(conf($groups)), 'groups of ours come');
is_deeply(by('/u'), { a => 4, b => 4 }, 'groups of ours come: they work');
is_deeply(by('/v'), { a => 4, b => 4 }, 'groups of ours come: all of them');

###############################################################################
# groups that share a zone and servers, and nothing else

is($u->call(PATCH => 'servers/0', { weight => 7, max_fails => 5 })->status, 200,
    'shared: a change of one');
is($u->call(POST => 'servers', { server => $c, weight => 8 })->status, 201,
    'shared: a server more for one');
is_deeply($t->many(16, '/u'), { a => 7, b => 1, c => 8 },
    'shared: it follows');
is_deeply(by('/v'), { a => 4, b => 4 }, 'shared: the other does not');

is($v->call(DELETE => 'servers/1')->status, 200,
    'shared: a server less for the other');
is_deeply([map { join ' ', sort keys $_->all('id')->%* } $u, $v],
    [join(' ', sort $a, $b, $c), $a], 'shared: the servers of both');
is($u->peer($a)->{requests} - $v->peer($a)->{requests}, 11 - 8,
    'shared: requests of each');

# a failure is one of the group that has seen it

$t->get('/u?b.close=1') for 1 .. 48;
is($u->peer($b)->{state}, 'unavail', 'shared: a server fails in one');
is($v->call(POST => 'servers', { server => $b })->status, 201,
    'shared: for the other it is as good as new');
is_deeply(by('/v'), { a => 4, b => 4 }, 'shared: and has its requests');
is($u->peer($b)->{state}, 'unavail', 'shared: which the first does not see');

my @before = ($u->state, $v->state, $u->peer($a)->{requests});
ok(reload_with(conf($groups)), 'shared: a reload');
is_deeply([$u->state, $v->state, $u->peer($a)->{requests}], \@before,
    'shared: each keeps its own');

# one of them leaves, and comes back

ok(reload_with(conf($groups =~ s/upstream v \{.*?\}//sr)),
    'shared: one group leaves');
is($t->get('/v')->status, 502, 'shared: it is gone');
is($u->state, $before[0], 'shared: the other is as it was');
ok(reload_with(conf($groups)), 'shared: it comes back');
is_deeply([sort keys $v->all('id')->%*], [sort $a, $b],
    'shared: as it is configured');
is($u->state, $before[0], 'shared: the other is as it was');

###############################################################################
# nginx -t of all that a reload may bring

my $saved = LRT::State->new($t, $api, 'saved', $t->dir . '/state/saved.json');
ok($saved->is_saved, 'nginx -t: a state file is there');

my %tests = (
    'the same'        => [conf($groups)],
    'no group'        => [conf('upstream u { server 127.0.0.1:1; }')],
    'another group'   => [conf($groups =~ s/upstream u/upstream w/r)],
    'another zone'    => [conf($groups =~ s/256k/1m/r)],
    'other servers'   => [conf($groups =~ s/ADDRESS_a/ADDRESS_c/gr)],
    'no http'         => \@no_http,
    'a broken one'    => [conf($groups . 'nonsense;')],
);

# Servers, generations, and the file itself.

sub live () {
    my @file = (stat $saved->path)[1, 7, 9];
    return [$u->state, $v->state, $saved->api->state, @file];
}

my $live = live();

for my $name (sort keys %tests) {
    my ($good) = $t->test_config($tests{$name}->@*);
    is(!!$good, $name ne 'a broken one', "nginx -t: $name");
    is_deeply(live(), $live, "nginx -t: $name: nothing has changed");
}

###############################################################################
# all of http { } goes, with a request and a change under way

my $probes = sub () {
    return scalar grep { $_->{uri} eq '/' } $t->backend('c')->requests;
};
ok($t->wait_for(sub { $probes->() > 1 }), 'no http: servers are probed');

my $slow = $t->begin('/v?delay=300');
$t->wait_for(sub { grep { $t->backend($_)->stats->{active} } qw(a b) });
is($saved->api->call(POST => 'servers', { server => $b, down => \1 })->status,
    201, 'no http: a change in the last moment');

ok(reload_with(@no_http), 'no http: a reload');
is($slow->receive->status, 200, 'no http: a request from before ends well');
ok($t->wait_for(sub { !$t->old_workers }), 'no http: old workers leave');
is($t->get('/u')->error, 'refused', 'no http: nobody listens');
ok($saved->listed->{$b}, 'no http: the change is in the file');

my $probed = $probes->();
sleep 0.5;
is($probes->(), $probed, 'no http: nobody probes');

ok(reload_with(@no_http), 'no http: once more');
ok(($t->test_config(conf($groups)))[0], 'no http: nginx -t of all groups');
ok(reload_with(conf($groups)), 'http comes back');
is_deeply(by('/u'), { a => 4, b => 4 }, 'http comes back: groups work');
is_deeply([sort keys $saved->api->all('id')->%*], [sort $b, $c],
    'http comes back: what was saved is there');
ok($t->wait_for(sub { $probes->() > $probed }),
    'http comes back: servers are probed');

$t->done;
