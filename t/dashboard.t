#!/usr/bin/perl

# lrt_dashboard: the page as it is sent, and the headers that guard it.

use v5.36;

use Digest::SHA qw(sha256_base64);
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use LRT;

my $t = LRT->new(name => 'dashboard', need => [qw(module)]);

my $html =
    file("$FindBin::Bin/../ngx_http_lrt_upstream_module/dashboard.html");

$t->conf(workers => 1, http => q{
    upstream u { round_robin_ext; server 127.0.0.1:81; }
    server {
        listen 127.0.0.1:%%PORT_http%%;
        location /api { lrt_api; }
        location /dashboard { lrt_dashboard; }
        location = /exact { lrt_dashboard /other/api/; }
        location /slash/ { lrt_dashboard ../a"&<b>; }
        location ~ ^/any { lrt_dashboard ./api; }
        location /few { lrt_dashboard; limit_except GET { deny all; } }
        location /zip { lrt_dashboard; gzip on; }
    }
})->start;


sub file ($path) {
    open my $file, '<:raw', $path or die "$path: $!\n";
    local $/;
    return scalar <$file>;
}

sub hash ($text) {
    my $hash = sha256_base64($text);
    return $hash . '=' x (-length($hash) % 4);
}

sub policy ($response) {
    return { map { my ($name, @values) = split ' '; ($name => "@values") }
        split /;\s*/, $response->header('Content-Security-Policy') // '' };
}

sub lacks ($pattern, $what) {
    is_deeply([$html =~ /$pattern/g], [], $what);
}

sub with_api ($html, $api) {
    return $html =~ s/(<meta name="lrt-api" content=")/$1$api/r;
}


my $page = $t->get('/dashboard');

is($page->status, 200, 'the page');
is($page->header('Content-Type'), 'text/html; charset=utf-8', 'its type');
ok($page->body eq with_api($html, '/api'),
   'it is the file, with the usual path of the API');
cmp_ok(length $page->body, '<', 100_000, 'it has less than 100 kB');

# what is embedded is what is permitted

my ($script, @scripts) = $page->body =~ m{<script[^>]*>(.*?)</script>}gs;
my ($style, @styles) = $page->body =~ m{<style[^>]*>(.*?)</style>}gs;

is(@scripts + @styles, 0, 'one script, one style');
is_deeply(policy($page), {
    'default-src'               => "'none'",
    'script-src'                => "'sha256-" . hash($script) . q{'},
    'style-src'                 => "'sha256-" . hash($style) . q{'},
    'img-src'                   => 'data:',
    'connect-src'               => "'self'",
    'base-uri'                  => "'none'",
    'form-action'               => "'none'",
    'frame-ancestors'           => "'none'",
    'require-trusted-types-for' => "'script'",
    'trusted-types'             => "'none'",
}, 'the policy permits its own script and style, and nothing else');

lacks(qr{\bstyle=|\bon[a-z]+="|javascript:}i,
      'no handlers and styles in attributes, which the policy would refuse');
lacks(qr{(?:https?:)?//[a-z0-9]+}i, 'no address of another host');
lacks(qr{innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b
         |new\ Function|\balert\(|\bprompt\(|\bconfirm\(}x,
      'nothing that makes markup or code of text, or stops the browser');

is($page->header('Cache-Control'), 'no-cache', 'asked for again each time');
is($page->header($_->[0]), $_->[1], $_->[0])
    for ['X-Content-Type-Options', 'nosniff'], ['X-Frame-Options', 'DENY'],
        ['Referrer-Policy', 'no-referrer'],
        ['Cross-Origin-Opener-Policy', 'same-origin'],
        ['Cross-Origin-Resource-Policy', 'same-origin'];

# tags

my $tag = $page->header('ETag');

like($tag, qr/^"[0-9a-f]{32}"$/, 'a tag');

for my $case ([$tag, 304], ["\"x\", $tag", 304], ["W/$tag", 304], ['"x"', 200])
{
    my ($sent, $status) = @$case;
    my $r = $t->get('/dashboard', headers => ['If-None-Match' => $sent]);

    is($r->status, $status, "If-None-Match: $sent");
    is(length $r->body, $status == 304 ? 0 : length $page->body,
       $status == 304 ? 'no body' : 'the page');
    is($r->header('ETag'), $tag, 'the tag again');
}

isnt($t->get('/exact')->header('ETag'), $tag, 'another API, another tag');

# methods

my $head = $t->request(HEAD => '/dashboard');

is($head->status, 200, 'HEAD');
is($head->body, '', 'no body');
is($head->header('Content-Length'), length $page->body, 'the length');
is($head->header('ETag'), $tag, 'the tag');

for my $method (qw(POST PUT DELETE PATCH OPTIONS)) {
    my $r = $t->request($method => '/dashboard',
                        $method eq 'POST' ? (body => 'x' x 10_000) : ());
    is($r->status, 405, "$method is 405");
    is($r->header('Allow'), 'GET, HEAD', 'and what is not');
}

# where it is, and where its API is

for my $case (
    ['/dashboard/', '/api', 'a slash at the end'],
    ['/dashboard?x=1', '/api', 'arguments'],
    ['/exact', '/other/api/', 'an exact location, another API'],
    ['/slash/', '../a&quot;&amp;&lt;b&gt;', 'a hostile path stays a value'],
    ['/anything/x', './api', 'a regular expression'],
    ['/few', '/api', 'limit_except'],
) {
    my ($uri, $api, $what) = @$case;
    ok($t->get($uri)->body eq with_api($html, $api), $what);
}

is($t->get($_)->status, 404, "$_ is not there")
    for qw(/dashboards /dashboard/x /slash/x);
is($t->post('/few', 'x')->status, 403, 'what limit_except forbids');

SKIP: {
    skip 'nginx without gzip', 2 unless $t->has('gzip_filter');

    my $r = $t->get('/zip', headers => ['Accept-Encoding' => 'gzip']);
    is($r->header('Content-Encoding'), 'gzip', 'gzip');
    is($r->header('ETag'), "W/$tag", 'its tag is weak');
}

for (
    ['lrt_dashboard api', qr/invalid path "api" of the API/, 'no slash'],
    ['lrt_dashboard //other/api', qr/invalid path/, 'another host'],
    ['lrt_dashboard http://other/api', qr/invalid path/, 'a whole address'],
    ['lrt_dashboard /api?x', qr/invalid path/, 'arguments'],
    ['lrt_dashboard ""', qr/invalid path/, 'an empty path'],
    ['lrt_dashboard ..', qr/invalid path/, 'dots alone'],
    ['lrt_dashboard /a /b', qr/invalid number of arguments/, 'two paths'],
    ['lrt_dashboard; lrt_api', qr/is duplicate, or beside/, 'two handlers'],
) {
    my ($text, $error, $what) = @$_;
    like($t->conf_error("
        server { listen 127.0.0.1:%%PORT_http%%; location / { $text; } }"),
        $error, $what);
}

$t->done;
