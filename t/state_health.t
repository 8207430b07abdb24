#!/usr/bin/perl

# "lrt_state" and what holds for a group: health checks, slow start and panic
# stand in the file, old and short forms of it are understood, and checks that
# cannot be are refused with line and reason.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use LRT;
use LRT::API;
use LRT::State;

my $t = LRT->new(name => 'state_health', need => [qw(module proxy)]);

$t->backend($_) for qw(a b);

my %at  = map { ($_ => $t->address($_)) } qw(a b);
my $dir = $t->dir . '/state';
my $api = LRT::API->new($t);
my $yes = LRT::API::true();

mkdir $dir or die "$dir: $!\n";

my %group = map { ($_ => LRT::State->new($t, $api, $_, "$dir/$_.json")) }
    qw(u old short first bad);


# What the blocks of groups hold beside file and server.

sub conf (%inside) {
    return $t->conf(workers => 2, http => 'lrt_match good { status 200; }'
        . join('', map { qq(
            upstream $_ {
                zone $_ 128k;
                lrt_state state/$_.json;
                server %%ADDRESS_a%%;
                $inside{$_}
            }) } sort keys %inside)
        . q(
        server {
            listen 127.0.0.1:%%PORT_api%%;
            location /api { lrt_api write=on unix=on; }
        }));
}


# The settings in force; and a check in full.

sub settings ($name) {
    my $lrt = $group{$name}->api->get('?fields=lrt')->{lrt};
    return { map { ($_ => $lrt->{$_}) } qw(slow_start panic health_checks) };
}

sub check (%o) {
    return { type => 'http', interval => '5s', timeout => '1s',
        jitter => '10%', fails => 3, passes => 2,
        ($o{type} // '') eq 'tcp' ? () : (uri => '/'), %o };
}

sub probed ($backend, $uri) {
    return $t->wait_for(sub {
        scalar grep { $_->{uri} eq $uri } $t->backend($backend)->requests });
}

my %conf = map { ($_ => '') } keys %group;

$conf{$_} = 'lrt_health_check uri=/conf interval=100ms; lrt_panic 10%;'
    for qw(old first);
$conf{first} .= 'lrt_health_check type=tcp;';

$group{old}->put({ servers => [$at{a}] });
$group{short}->put({ servers => [$at{a}], health_check_url => '/short',
    health_check_interval => '100ms' });
$group{first}->put({ servers => [$at{a}], health_check_url => '/first',
    health_check_interval => '50ms' });

conf(%conf)->start;

###############################################################################

subtest 'changes are saved' => sub {
    my $u = $group{u};
    my $checks = [check(uri => '/api', interval => '100ms',
        timeout => '100ms', match => 'good'), check(type => 'tcp')];

    ok($u->is_saved, 'the file');
    is_deeply([$u->doc->@{qw(slow_start panic health_checks)}],
        ['0s', 'off', []], 'it has settings');

    is($u->api->call(PATCH => '', { slow_start => '1500ms', panic => '20%',
        health_checks => $checks })->status, 200, 'a change');
    ok($u->is_saved, 'it is saved');

    my $all = { slow_start => '1500ms', panic => '20%',
        health_checks => $checks };

    is_deeply({ map { ($_ => $u->doc->{$_}) } keys %$all }, $all,
        'what the file says');

    $t->stop;
    conf(%conf, u => 'lrt_slow_start 1s; lrt_panic 20%; lrt_health_check;');

    my $mark = $t->log_mark;
    $t->start;

    is_deeply(settings('u'), $all, 'a restart keeps them');
    ok(probed('a', '/api'), 'probes come');

    my @warned = map { /"(lrt_\w+)" of upstream "u" is overridden by state file/ }
        $t->grep_log(qr/\[warn\]/, $mark);

    is_deeply([sort @warned], [qw(lrt_health_check lrt_slow_start)],
        'what does not hold is named');
};


subtest 'edits' => sub {
    my $u   = $group{u};
    my $doc = $u->doc;

    $doc->{servers} = [$doc->{servers}[0], $at{b}];
    $doc->{health_checks} = [{ uri => '/edit', interval => '100ms' }];
    $doc->{panic} = 'off';

    my $line = $u->edit($doc);

    like($line, qr/applied: 1 added, .* generation \d+, settings, $at{b} added/,
        'applied');
    is_deeply(settings('u'), { slow_start => '1500ms', panic => 'off',
        health_checks => [check(uri => '/edit', interval => '100ms',
            timeout => '100ms')] }, 'what holds');
    ok(probed('b', '/edit'), 'probes come');

    delete $doc->@{qw(slow_start panic health_checks)};
    $doc->{servers} = [$at{b}];

    my $before = settings('u');
    like($u->edit($doc), qr/applied: 0 added, 1 removed/, 'without settings');
    is_deeply(settings('u'), $before, 'they stay as they are');
};


subtest 'the short form' => sub {
    is_deeply(settings('short')->{health_checks}, [check(uri => '/short',
        interval => '100ms', timeout => '100ms')], 'it makes a check');
    is_deeply(settings('first')->{health_checks}, [check(uri => '/first',
        interval => '50ms', timeout => '50ms'), check(type => 'tcp')],
        'or changes the first one');
    ok(probed('a', $_), "$_: probes come") for qw(/short /first);

    like($group{short}->edit({ servers => [$at{a}],
        health_check_interval => 10 }), qr/applied/, 'another interval');
    is_deeply(settings('short')->{health_checks}, [check(uri => '/short',
        interval => '10s', timeout => '100ms')], 'the rest stays');

    is($group{short}->api->call(PATCH => '', { panic => '5%' })->status, 200,
        'a change through the API');
    ok($group{short}->is_saved, 'is saved');
    is_deeply([sort keys $group{short}->doc->%*], [qw(health_checks method
        next_id panic servers slow_start upstream version)],
        'in the long form');
};


subtest 'a file without settings' => sub {
    my $checks = sub { settings('old')->{health_checks}[0]{uri} };

    is_deeply(settings('old'), { slow_start => '0s', panic => '10%',
        health_checks => [check(uri => '/conf', interval => '100ms',
            timeout => '100ms')] }, 'the configuration has them');

    $conf{old} =~ s{/conf}{/other};
    conf(%conf)->reload;
    is($checks->(), '/other', 'a reload: another configuration');

    ok($group{old}->is_saved, 'it is saved');
    is($group{old}->doc->{health_checks}[0]{uri}, '/other', 'and in the file');

    my $mark = $t->log_mark;
    $conf{old} =~ s{/other}{/third};
    conf(%conf)->reload;
    is($checks->(), '/other', 'from then on the file decides');
    is(scalar $t->grep_log(
        qr/"lrt_health_check" of upstream "old" is overridden/, $mark), 1,
        'and the log says so');
};

###############################################################################

subtest 'what cannot be' => sub {
    my $bad   = $group{bad};
    my $fine  = qq({\n"servers": ["$at{a}"]\n});
    my $check = sub ($text) {
        return qq({\n"health_checks": [\n{"uri": "/"},\n$text\n],\n)
            . qq("servers": ["$at{a}"]\n});
    };

    my @bad = (
        [$check->('{"uri": "x"}'), qr/line 4: check 1: invalid "uri"/],
        [$check->('{"interval": "soon"}'),
            qr/line 4: check 1: invalid value of "interval"/],
        [$check->('{"interval": 1, "timeout": 2}'),
            qr/line 4: check 1: "timeout" 2000ms must be/],
        [$check->('{"match": "none"}'),
            qr/line 4: check 1: there is no "lrt_match none"/],
        [$check->('{"url": "/"}'), qr/line 4: check 1: unknown parameter "url"/],
        [$check->('{"fails": 0}'), qr/line 4: check 1: invalid .*"fails"/],
        [$check->('5'), qr/line 4: check 1: an object is expected/],
        [$check->('{},{},{},{}'), qr/line 2: "health_checks" has more than 4/],
        [$check->('{}') =~ s/,\n"servers"/,\n"health_check_url": "\/",$&/r
            =~ s/,,/,/r, qr/line \d: both "health_check_url" and "health_checks"/],
        [$check->('{"port": 1}') =~ s/\["$at{a}"/["$at{a}",\n"unix:\/x"/r,
            qr/line 7: server 2: "port" 1 of check 1 .* unix socket/],
        [$fine =~ s/\{/{"health_check_url": "x",/r,
            qr/line 1: check 0: invalid "uri"/],
        [$fine =~ s/\{/{"health_check_interval": 0,/r,
            qr/line 1: check 0: "interval" must be/],
        [$fine =~ s/\{/{"panic": 10,/r, qr/line 1: invalid value of "panic"/],
        [$fine =~ s/\{/{"slow_start": -1,/r,
            qr/line 1: invalid value of "slow_start"/],
    );

    is($bad->api->call(PATCH => '', { health_checks =>
        [{ uri => '/good', mandatory => $yes }] })->status, 200, 'a good one');
    ok($bad->is_saved, 'it is saved');

    my $before = settings('bad');

    for my $i (0, 9) {
        my ($text, $reason) = $bad[$i]->@*;
        like($bad->edit($text), qr/is not applied: $reason/, "edit: $reason");
    }

    for (@bad) {
        my ($text, $reason) = @$_;
        $bad->put($text);

        my ($good, $said) = $t->test_config;
        ok(!$good && $said =~ $reason, "nginx -t: $reason")
            or diag($text, $said);
    }

    is_deeply(settings('bad'), $before, 'nothing has changed');
    is(LRT::API::fault($bad->api->call(PATCH => '', { panic => '1%' })),
        '409 StateInvalid', 'no changes through the API');

    # a test of responses is not there any more

    $bad->put($check->('{"match": "gone"}'));
    $t->stop;

    my $mark = $t->log_mark;
    $t->start;
    is_deeply(settings('bad'), $before, 'a start takes the good copy');
    is(scalar $t->grep_log(qr/"lrt_match gone", the last good copy/, $mark), 1,
        'and says why');
};


# what runs needs certificates that neither a file nor a configuration names

SKIP: {
    skip 'no TLS', 1 unless $t->has('ssl');

    subtest 'certificates over a reload' => sub {
        my $bad = $group{bad};

        $bad->put({ servers => [$at{a}], health_checks =>
            [{ type => 'https', interval => '100ms', ssl_verify => \0 }] });
        $t->stop;
        $t->start;

        my $probes = sub {
            $bad->api->peer($at{a})->{health_checks}{checks} };

        ok($t->wait_for(sub { $probes->() > 1 }), 'probes come');

        $bad->put('{');
        ok($bad->becomes(0), 'the file is broken');

        my $mark = $t->log_mark;
        $t->reload;

        my $before = $probes->();
        ok($t->wait_for(sub { $probes->() > $before + 2 }), 'they still come');
        is_deeply([$t->grep_log(qr/checks of upstream/, $mark)], [],
            'no complaint');
    };
}

$t->done;
