#!/usr/bin/perl

# scripts/demo: its own check passes, a list of one's own is followed, servers
# of others are balanced without being touched, and whatever ends it leaves
# nothing behind.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/../scripts/demo.d";
use IO::Socket::INET ();
use JSON::PP ();
use Test::More;
use Time::HiRes qw(sleep);

use Demo::Config ();
use LRT;
use LRT::Demo;
use LRT::Net qw(free_port);

my $t = LRT->new(name => 'demo', need => [qw(module proxy)]);

my $json = JSON::PP->new;


sub is_served ($address) {
    return defined IO::Socket::INET->new(PeerAddr => $address);
}

sub status ($demo) {
    return $json->decode($t->get('/control/status', port => $demo->page)->body);
}

sub state_of ($demo, $address) {
    my ($one) = grep { $_->{address} eq $address } status($demo)->{servers}->@*;
    return $one ? $one->{state} : 'gone';
}

sub command ($demo, $query, %o) {
    return $t->post("/control/server?$query", '', port => $demo->page, %o)
        ->status;
}

# how many requests of clients each has answered

sub answered ($demo) {
    my $group = $json->decode($t->get('/api/9/http/upstreams/demo',
        port => $demo->page)->body);
    return { map { ($_->{server} => $_->{responses}{'2xx'}) }
        $group->{peers}->@* };
}

# what its terminal says of edits that nginx did not take

sub refusals ($demo) {
    my $list = $demo->list;
    my @all  = $demo->output =~
        /^nginx: (state file "\Q$list\E" .* is not applied: .*)$/mg;
    return @all;
}

sub is_refused ($demo, $n, $reason, $what) {
    ok($t->wait_for(sub { refusals($demo) >= $n }, 10), "$what is refused");
    like((refusals($demo))[-1] // '', $reason, 'with the reason');
}

# it is over, and so is all that it started

sub is_gone ($demo, $ending, @addresses) {
    my @before = $demo->processes;

    ok($t->wait_for(sub { $demo->has_ended }, 15), 'it ends');
    like($demo->ending, $ending, 'and says how');

    my %running = map { ($_->{pid} => 1) } LRT::Process::all_processes();
    is(join(' ', grep { $running{$_} } map { $_->{pid} } @before), '',
        'no process is left');
    is(join(' ', grep { is_served($_) } @addresses), '', 'no port');
    is(join(' ', glob $t->dir . '/lrt-demo-*'), '', 'no folder');
}

sub addresses ($demo) {
    return map { "127.0.0.1:$_" } $demo->page, $demo->port;
}


# the list, and what stands beside it

sub files ($list) { return join ' ', sort glob "$list*" }

sub has_checked ($demo) {
    ok($t->wait_for(sub { $demo->has_ended }, 40), 'within 40 s');
    is($demo->ending, 'exited with code 0', 'all is well')
        or return diag($demo->output);

    like($demo->output, $_->[0], $_->[1]) for
        [qr/^\[.*\] each of the 4 servers answered$/m, 'servers answer'],
        [qr/^\[.*\] the share of \w+ fell /m, 'the traffic moves'],
        [qr/^\[.*\] 100 requests meanwhile, none failed/m, 'a stopped one'],
        [qr/^\[.*\] \S+ gets requests \S+ s after it was put /m, 'a new one'],
        [qr/^\[.*\] demo: ok$/m, 'to its end'];

    is(join(' ', glob $t->dir . '/lrt-demo-*'), '', 'no folder is left');
}


subtest 'what it checks itself' => sub {
    has_checked(LRT::Demo->start($t, '--check'));
};


subtest 'a check with a list of one\'s own' => sub {
    my $list = $t->write('checked.json', $json->encode({
        servers   => [map { '127.0.0.1:' . free_port() } 1 .. 4],
        algorithm => 'least_time', health_check_url => '/health',
        health_check_interval => 1,
    }));
    my $before = $t->read('checked.json');

    has_checked(LRT::Demo->start($t, '--check', '--config', $list,
        '--rate', 40));

    is($t->read('checked.json'), $before, 'the list is as it was');
    is(files($list), $list, 'with nothing beside it');
};


subtest 'a check without traffic' => sub {
    my $demo = LRT::Demo->start($t, qw(--check --rate 0));

    ok($demo->has_ended, 'ends at once');
    is($demo->ending, 'exited with code 1', 'as a failure');
    is($demo->output, "demo: --check watches where requests go: with it, "
        . "--rate is at least 10\n", 'with the reason');
};


subtest 'Ctrl-C' => sub {
    my $demo = LRT::Demo->start($t);
    ok($demo->page, 'it runs') or return diag($demo->output);

    my @servers = map { $_->{address} } status($demo)->{servers}->@*;
    is(scalar grep({ is_served($_) } @servers), 4, 'with four servers');
    cmp_ok(scalar $demo->processes, '>=', 8,
        'nginx, its workers, servers, a load');
    ok($t->wait_for(sub {
        my $n = answered($demo);
        !grep { !$_ } values %$n;
    }, 10), 'each gets requests');

    kill INT => -$demo->pid;            # as a terminal does
    is_gone($demo, qr/code 130/, @servers, addresses($demo));
};


subtest 'a list of one\'s own' => sub {
    my @address = map { '127.0.0.1:' . free_port() } 1 .. 3;
    my $list    = $t->dir . '/own.json';
    my $taken   = $t->backend('taken')->address;

    Demo::Config::write_json($list, {
        servers => [$address[0], { host => '127.0.0.1',
            port => 0 + ($address[1] =~ s/.*://r) }],
        algorithm => 'least_time', health_check_url => '/health',
        health_check_interval => 1,
    });

    my $demo = LRT::Demo->start($t, '--config', $list, '--rate', 100);
    is($demo->list, $list, 'is taken in its place')
        or return diag($demo->output);

    my $data = Demo::Config::read_json($list);
    $data->{servers} = [@address, $taken];
    Demo::Config::write_json($list, $data);

    ok($t->wait_for(sub { answered($demo)->{ $address[2] } }, 10),
        'a server that is added gets requests');
    is(state_of($demo, $address[2]), 'running', 'as it was started');

    is(state_of($demo, $taken), 'foreign', 'and what runs already is left alone');
    is(command($demo, "address=$taken&do=stop"), 409, 'for good');

    shift $data->{servers}->@*;
    Demo::Config::write_json($list, $data);

    ok($t->wait_for(sub { !is_served($address[0]) }, 15),
        'one that is removed is stopped');
    is(state_of($demo, $address[0]), 'gone', 'and is no more');

    is($t->post('/api/9/http/upstreams/demo/servers',
        qq({"server":"$address[0]"}), port => $demo->page)->status, 201,
        'one comes by the API');
    ok($t->wait_for(sub { answered($demo)->{ $address[0] } }, 10),
        'is started, and gets requests');
    ok($t->wait_for(sub { Demo::Config::read_json($list)->{version} }),
        'the list has all fields now');

    # what is no list changes nothing

    $data = Demo::Config::read_json($list);
    rename $t->write('broken.json', '{"servers":['), $list;
    is_refused($demo, 1, qr/ line 1: /, 'a broken list');
    is(scalar status($demo)->{servers}->@*, 4, 'nor is it followed');

    # nor does one that nginx refuses as a whole, for one of its servers

    my $other = $t->backend('other')->address;
    my $kept  = shift $data->{servers}->@*;
    my $left  = Demo::Config::address_of($kept);

    Demo::Config::write_json($list, { %$data, servers =>
        [$data->{servers}->@*, { server => $other },
            { server => 'localhost:18087' }] });
    is_refused($demo, 2, qr/ "localhost:18087"/, 'a name');
    unlike($demo->output, qr/^(?:localhost:18087|\Q$other\E) is /m,
        'none of its servers is said to be balanced');
    is(state_of($demo, $left), 'running',
        'and one that it left out is not stopped');

    Demo::Config::write_json($list, { %$data, servers =>
        [$kept, $data->{servers}->@*, { server => $other }] });
    ok($t->wait_for(sub {
        $demo->output =~ /^\Q$other\E is .* balanced, /m;
    }, 10), 'one is when the list is mended');
    ok(defined answered($demo)->{$other}, 'as it is');
    is(scalar refusals($demo), 2, 'each was refused once');

    my @failed = grep { !/^200 / } do {
        my ($log) = glob $t->dir . '/lrt-demo-*/access.log';
        open my $file, '<', $log or die "$log: $!\n";
        readline $file;
    };
    is("@failed", '', 'no request failed');

    $demo->signal('TERM');
    is_gone($demo, qr/code 143/, @address, addresses($demo));
    is(files($list), $list, 'the list stays, and nothing beside it');
};


subtest 'buttons' => sub {
    my $demo = LRT::Demo->start($t, '--rate', 0);
    my ($address) = map { $_->{address} } status($demo)->{servers}->@*;
    my $stop = "address=$address&do=stop";

    is($t->get("/control/server?$stop", port => $demo->page)->status, 405,
        'not by GET');
    is(command($demo, $stop, headers => [Origin => 'http://evil.example']), 403,
        'nor from another page');
    is(command($demo, $stop, headers => ['Sec-Fetch-Site' => 'cross-site']), 403,
        'nor from elsewhere');
    is($t->get('/', port => $demo->page, host => 'evil.example')->status,
        'cut', 'nobody is answered under another name');
    is(command($demo, 'address=127.0.0.1:1&do=stop'), 409, 'no such server');
    is(command($demo, "address=$address&do=explode"), 409, 'no such word');
    ok(is_served($address), 'nothing has happened');

    my $name = '127.0.0.1:' . $demo->page;
    is(command($demo, $stop, host => $name,
        headers => [Origin => "http://$name"]), 200, 'from the page itself');
    ok(!is_served($address), 'it is stopped');
    is(command($demo, "address=$address&do=slow"), 409, 'and cannot be slowed');
    is(command($demo, "address=$address&do=start"), 200, 'started');
    ok(is_served($address), 'and there');

    # nginx itself ends

    my ($pid) = do {
        my ($file) = glob $t->dir . '/lrt-demo-*/nginx.pid';
        open my $handle, '<', $file or die "$file: $!\n";
        readline $handle;
    };
    my @all = ($address, addresses($demo));
    kill TERM => $pid;
    is_gone($demo, qr/code 1/, @all);
    like($demo->output, qr/^demo: nginx ended with code 0$/m, 'with the reason');
};


subtest 'servers of others' => sub {
    $t->backend($_) for qw(a b);
    my ($a, $b) = map { $t->address($_) } qw(a b);

    my $demo = LRT::Demo->start($t, $a, $b =~ s/^127.0.0.1/localhost/r);
    ok($demo->page, 'it runs') or return diag($demo->output);

    is_deeply([sort keys answered($demo)->%*], [sort $a, $b],
        'they are balanced');
    is(status($demo)->{simulated}, JSON::PP::false, 'and not simulated');

    my $n = $t->many(10, '/', port => $demo->port);
    is($n->{a} + $n->{b}, 10, 'they answer');

    sleep 1;
    my $sent = answered($demo);
    is($sent->{$a} + $sent->{$b}, 10, 'nobody else asks them for anything');
    is(command($demo, "address=$a&do=stop"), 409, 'they cannot be stopped');

    $demo->signal('INT');
    is_gone($demo, qr/code 130/, addresses($demo));
    ok(is_served($a) && is_served($b), 'they run on');
};


subtest 'killed' => sub {
    my $demo = LRT::Demo->start($t);
    my @all  = (addresses($demo),
        map { $_->{address} } status($demo)->{servers}->@*);

    $demo->signal('KILL');
    ok($t->wait_for(sub { !grep { is_served($_) } @all }, 10),
        'nobody listens any more');
};

$t->done;
