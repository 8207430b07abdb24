#!/usr/bin/perl

# lrt_redirect: the client is told which server to ask.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use LRT;
use LRT::Hooks;

my $t = LRT->new(name => 'redirect', need => [qw(module proxy)]);

$t->backend($_) for qw(a b c);

$t->conf(workers => 2, http => q{
    server {
        listen 127.0.0.1:%%PORT_http%%;
        location /rr { lrt_redirect rr; }
        location /lc { lrt_redirect lc code=302; }
        location /lt { lrt_redirect lt code=308; }
        location /ip { lrt_redirect ip; }
        location /host { lrt_redirect rr scheme=https host=$lrt_peer.example; }
        location /unix { lrt_redirect un; }
        location /named { lrt_redirect un host=other.example; }
        location /none { lrt_redirect none; }
        location /proxy { proxy_pass http://lt; }
    }

    # the groups stand behind those who name them

    upstream rr { round_robin_ext;
                  server %%ADDRESS_a%% weight=3; server %%ADDRESS_b%%; }
    upstream lc { least_conn_ext;
                  server %%ADDRESS_a%% weight=3; server %%ADDRESS_b%%;
                  server %%ADDRESS_c%% down; }
    upstream lt { least_time header;
                  server %%ADDRESS_a%%; server %%ADDRESS_b%%; }
    upstream ip { iphash_ext key=$arg_k;
                  server %%ADDRESS_a%%; server %%ADDRESS_b%%; }
    upstream un { round_robin_ext; server unix:%%DIR%%/sock; }
    upstream none { round_robin_ext; }
} . LRT::Hooks::server($t));
$t->start;

my %name = map { ("http://" . $t->address($_) => $_) } qw(a b c);


sub where ($uri, %o) {
    my $location = $t->get($uri, %o)->header('Location') // '';
    return $location =~ m{^(\w+://[^/]+)} ? $name{$1} // $1 : '';
}

sub shares ($uri, $count) {
    my %n;
    $n{ where($uri) }++ for 1 .. $count;
    return \%n;
}


my $response = $t->get('/rr/x%20y/%2F?a=1&b=%26;c');
is($response->status, 307, 'the code is 307 by default');
like($response->header('Location'), qr{^http://127\.[\d.:]+/rr/x%20y/%2F\?a=1&b=%26;c$},
     'the URI is that of the request, byte for byte');

is($t->get('/lc')->status, 302, 'code=302');
is($t->get('/lt')->status, 308, 'code=308');
is($t->request(HEAD => '/rr')->status, 307, 'HEAD');
is($t->post('/rr', 'x' x 100_000)->status, 307, 'POST with a body');

# nobody reports back, and still not all are sent to one server

is_deeply(shares('/rr', 40), { a => 30, b => 10 }, 'round robin by weight');
is_deeply(shares('/lc', 40), { a => 30, b => 10 },
          'least connections by weight, without a server that is down');
is_deeply(shares('/lt', 40), { a => 20, b => 20 },
          'least time by weight while nothing is known');

is_deeply(shares('/ip?k=me', 10), { where('/ip?k=me') => 10 },
          'a client has one server');

# a slow server gets the less

$t->backend('a')->set(delay => 200);
$t->run(count => 30, uri => '/proxy', concurrency => 10);

my $lt = shares('/lt', 60);
ok(($lt->{a} // 0) < ($lt->{b} // 0) / 2, 'a slow server is named less often')
    or diag(explain($lt));

like($t->get('/host/z')->header('Location'),
     qr{^https://127\.[\d.:]+\.example/host/z$}, 'scheme= and host=');
is($t->get('/unix')->status, 502, 'a unix socket is no place to go to');
is($t->get('/named/z')->header('Location'), 'http://other.example/named/z',
   'unless there is host=');
is($t->get('/none')->status, 502, 'no server at all');

SKIP: {
    my $group = LRT::Hooks->group($t, 'rr') or skip 'no test hooks', 2;

    $group->set($t->address('a'), down => 1);
    is_deeply(shares('/rr', 10), { b => 10 }, 'a server that is down is not named');
    $group->set($t->address('b'), down => 1);
    is($t->get('/rr')->status, 502, 'nor is anybody if all are');
}

for (
    ['lrt_redirect nobody', qr/"nobody" is none/, 'an unknown upstream'],
    ['lrt_redirect stock', qr/"stock" is none/, 'an upstream of a stock method'],
    ['lrt_redirect u code=200', qr/invalid code "code=200"/, 'a wrong code'],
    ['lrt_redirect u to=me', qr/invalid parameter "to=me"/, 'a wrong parameter'],
    ['lrt_redirect', qr/invalid number of arguments/, 'no upstream'],
) {
    my ($text, $error, $what) = @$_;
    like($t->conf_error("
        upstream stock { server 127.0.0.1:81; }
        upstream u { round_robin_ext; server 127.0.0.1:81; }
        server { listen 127.0.0.1:%%PORT_http%%; location / { $text; } }"),
        $error, "$what is an error");
}

$t->done;
