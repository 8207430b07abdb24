#!/usr/bin/perl

# "master_process off": one process is master and worker in one.
#
# It can read its configuration again, but afterwards it takes no connection
# any more, with any balancer: nginx does not set up the new one's
# connections.  What it holds then is brought to an end, and that must go
# well although zones may have gone.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep);

use LRT;
use LRT::Hooks;
use LRT::Net qw(timeout);

my $t = LRT->new(name => 'single', need => [qw(module hooks proxy)]);

$t->backend($_) for qw(a b c d);
$t->expect_alerts(qr/worker_connections are not enough/);

###############################################################################

subtest 'serves and changes' => sub {
    configure(qw(a b));
    $t->start;
    my $group = LRT::Hooks->group($t, 'u');

    is($t->processes, 1, 'one process');
    is_deeply($t->many(20, '/'), { a => 10, b => 10 },
        'requests');

    my $id = $group->add($t->address('c'));
    is_deeply($t->many(30, "/"),
        { a => 10, b => 10, c => 10 }, 'an added server');
    $group->set($t->address('a'), down => 1)->remove($t->address('b'));
    is_deeply($t->many(10, '/', concurrency => 4), { c => 10 },
        'a removed one');

    my @held = map { $t->begin('/?hang=1') } 1 .. 5;
    ok($t->wait_for(sub { $group->inflight == 5 }), 'requests are counted');
    is($group->validity(quiet => 1), 'valid', 'by their process');
    $_->reset for @held;
    ok($group->settles, 'and given back') or diag $group->unrest;
    ok($t->stop, 'the end');
};


# The process takes no new connections after a reload: we have some open.

subtest 'reload while a request runs' => sub {
    my ($request, $look) = before();

    configure(qw(a b d));
    $t->signal('HUP');

    my $address = $t->address('d');
    ok($t->wait_for(sub { $look->('dump') =~ /\Q$address\E/ }),
        'the configuration is merged');
    like($look->('dump'), qr/ inflight=1 /, 'the request still counts');
    is($look->('validate', quiet => 1), "valid\n", 'the table is valid');
    ended($request);
    ok($t->wait_for(sub {
        $look->('validate', quiet => 1) eq "valid\n"
            && $look->('dump') !~ / inflight=[1-9]/
    }), 'it is given back');
    ok($t->stop, 'the end');
};


for my $what (
    'a zone of another size', 'no group any more', 'another method')
{
    subtest "reload while a request runs, $what" => sub {
        my ($request, $look) = before();

        configure($what eq 'a zone of another size' ? { zone => '1m' }
                : $what eq 'no group any more'      ? { zone => '' }
                :                 { method => 'least_conn' }, qw(a b c));
        $t->signal('HUP');
        ok($t->wait_for(sub {
            $look->('dump') !~ /^generation/
        }), 'the table is not there any more');
        is($look->('set', id => 0, weight => 3), 'status 503',
            'changes are refused');
        ended($request);
        ok($t->stop, 'the end');
    };
}

$t->done;

###############################################################################

sub configure (@servers) {
    my $o    = ref $servers[0] ? shift @servers : {};
    my $list = join ' ',
        map { 'server ' . $t->address($_) . ' max_fails=0;' } @servers;
    my $zone   = $o->{zone} // '128k';
    my $method = $o->{method} // 'least_conn_ext';

    $t->conf(main => "master_process off;\n", http =>
        ($zone ? "upstream u { zone u $zone; $method; $list }" : '') . '
        server {
            listen 127.0.0.1:%%PORT_http%%;
            location / { proxy_pass http://'
            . ($zone ? 'u' : $t->address('a')) . '; }
        }
        ' . LRT::Hooks::server($t));
}


# A request that takes some time, and a sub that asks the hooks on a
# connection that is there already.

sub before () {
    configure(qw(a b));
    $t->start;

    my $client = $t->client(port => 'lrt_test');
    my $look   = sub ($op, %o) {
        my $r = $client->request(
            GET => "/?op=$op&group=u" . join('', map { "&$_=$o{$_}" } keys %o),
            keepalive => 1);
        return $r->status eq '200' ? $r->body : 'status ' . $r->status;
    };
    like($look->('dump'), qr/^generation=/, 'a table');

    my $request = $t->begin('/?delay=' . timeout(1000));
    ok($t->wait_for(sub { $look->('dump') =~ / inflight=1 / }), 'a request');

    return ($request, $look);
}


sub ended ($request) {
    my $r = $request->receive;
    is($r->status, 200, 'the request is answered');
    is($t->processes, 1, 'the process is there');
}
