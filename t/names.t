#!/usr/bin/perl

# Names of groups, servers and zones may be anything that nginx takes: what is
# said of them is valid JSON and valid text for Prometheus, and they are found
# by them.  What a browser makes of such names is in t/dashboard_browser.t.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use Encode ();
use JSON::PP ();
use Test::More;

use LRT;
use LRT::API;
use LRT::State;

my $t = LRT->new(
    name => 'names', need => [qw(module proxy rewrite map upstream_zone)]);

$t->backend('a');

# bytes; for nginx a name ends at a slash, "?" or "#"

my @names = (
    q{<img src=x onerror="alert('1')">&amp;},
    q{"}, q{'}, q{\\}, q{\\\\"}, q{\\u0022}, q({"a":[1]}), '${x}', '%22%00%',
    ' ', "a\nb", "\t\r", "\x01\x08\x1f\x7f", '..x', '-', 'null', '0',
    Encode::encode_utf8("Gr\x{f6}\x{df}e-\x{65e5}\x{672c}-\x{1f600}"),
    Encode::encode_utf8("\x{2028}\x{202e}\x{feff}\x{85}"),
    "\xff\xfe", "\xc0\x80x", "\xed\xa0\x80", "x\xe2\x82",
    'x' x 255, "\xff" x 255, '"' x 255, Encode::encode_utf8("\x{65e5}" x 85),
);

# those that "proxy_pass" can tell from a port, and "map" from a variable

my @asked = grep { $names[$_] !~ /[:\$]/ } 0 .. $#names;

use constant SOCKET => 100;     # bytes that the path of a socket may have


# As an argument in nginx.conf, and in a path.

sub quoted ($name) { return '"' . $name =~ s/(["\\])/\\$1/gr . '"' }

sub escaped ($name) {
    return $name =~ s/([^A-Za-z0-9])/sprintf '%%%02X', ord $1/ger;
}


# Characters, as JSON has to have them: what is none is U+FFFD.

sub characters ($bytes) {
    my $text = '';

    while ($bytes ne '') {
        my $rest = $bytes;
        my $some = Encode::decode('UTF-8', $rest, Encode::FB_QUIET);
        $text .= $some;
        $text .= "\x{fffd}", substr $rest, 0, 1, '' if $rest ne '';
        $bytes = $rest;
    }

    return $text;
}


# The same for Prometheus: what is none is "%FF".

sub label ($bytes) {
    my $text = '';

    while ($bytes ne '') {
        my $rest = $bytes;
        $text .= Encode::decode('UTF-8', $rest, Encode::FB_QUIET);
        $text .= sprintf '%%%02X', ord substr $rest, 0, 1, '' if $rest ne '';
        $bytes = $rest;
    }

    return $text;
}


sub socket_of ($name) { return 'unix:/' . substr $name, 0, SOCKET }

mkdir $t->dir . '/state';

$t->conf(http => join('', map {
        my $name = quoted($names[$_]);
        qq{
            upstream $name {
                zone $name 64k;
                round_robin_ext;
                server %%ADDRESS_a%%;
                server @{[ quoted(socket_of($names[$_])) ]} down;
                lrt_state state/$_.json;
            }
        }
    } 0 .. $#names)
    . 'map $uri $group {' . join('', map {
        "/$_ @{[ quoted($names[$_]) ]};\n"
    } @asked) . '}' . q{
    server {
        listen 127.0.0.1:%%PORT_http%%;
        add_header X-Choice $lrt_choice;
        location / { proxy_pass http://$group; proxy_set_header Host x; }
    }
    server {
        listen 127.0.0.1:%%PORT_api%%;
        location /api { lrt_api write=on; }
        location /metrics { lrt_metrics; }
    }
})->start;

my $api  = LRT::API->new($t);
my $json = JSON::PP->new->utf8;         # as strict as JSON is

# A name that can be read in a message.

sub shown ($name) {
    $name = substr($name, 0, 24) . '...' if length $name > 24;
    return $name =~ s/([^ -~])/sprintf '\x%02x', ord $1/ger;
}

###############################################################################
# the API

for my $name (@names) {
    my $group = $api->group(escaped($name));
    my $shown = shown($name);

    my $r    = $group->call(GET => '');
    my $said = eval { $json->decode($r->body) };
    ok($said, "$shown: the status is JSON") or diag($r->body), next;

    is($said->{zone}, characters($name), "$shown: the zone");
    is($said->{peers}[1]{server}, characters(socket_of($name)),
        "$shown: the server");
    is($said->{peers}[1]{name}, characters(socket_of($name)),
        "$shown: and its name");

    my $list = eval { $json->decode($group->call(GET => 'servers')->body) };
    is($list && $list->[1]{server}, characters(socket_of($name)),
        "$shown: in the list");

    # a change, its answer, and an error

    $r = $group->call(PATCH => 'servers/1', { weight => 7 });
    $said = eval { $json->decode($r->body) };
    is($said && $said->{weight}, 7, "$shown: a change") or diag($r->body);
    is(LRT::API::fault($group->call(GET => 'servers/9')),
        '404 UpstreamServerNotFound', "$shown: an error");
}

my $all = eval { $json->decode($api->call(GET => '/http/upstreams')->body) };
is_deeply([sort keys %$all], [sort map { characters($_) } @names],
    'all groups at once');

my $slabs = eval { $json->decode($api->call(GET => '/slabs')->body) };
is_deeply([sort keys %$slabs], [sort map { characters($_) } @names],
    'all zones');

is(LRT::API::fault($api->group(escaped($_ . '!'))->call(GET => '')),
    '404 UpstreamNotFound', shown($_) . '!: no such group') for @names;

###############################################################################
# requests, and what is said of them

my $bad = 0;

for my $i (@asked) {
    my $r = $t->get("/$i");
    $bad++ unless $r->status eq '200' && ($r->body // '') eq 'a'
        && ($r->header('X-Choice') // '') =~ /^127\.0\.0\.1:\d+ round_robin_e/;
}

is($bad, 0, 'each group answers');

###############################################################################
# Prometheus: the grammar of its text, by the letter

my $text    = $t->get('/metrics', port => 'api')->body;
my $value   = qr/"((?:[^"\\\n]|\\["\\n])*)"/;
my $pair    = qr/[a-zA-Z_]\w*=$value/;
my $number  = qr/[-+]?(?:\d+(?:\.\d+)?(?:e[-+]?\d+)?|Inf|NaN)/i;
my $sample  = qr/[a-zA-Z_:][\w:]*(?:\{(?:$pair(?:,$pair)*)?\})? $number/;
my $comment = qr/# (?:HELP|TYPE) [a-zA-Z_:][\w:]* [^\n]*/;

is(eval { Encode::decode('UTF-8', my $copy = $text, Encode::FB_CROAK); 1 }, 1,
    'metrics: UTF-8');
like($text, qr/\n\z/, 'metrics: the last line ends');

my @wrong = grep { !/^(?:$sample|$comment)\z/a } split /\n/, $text;
is(join("\n", map { shown($_) } @wrong), '', 'metrics: each line is one');

sub labels ($which) {
    my %found;

    while ($text =~ /[{,]$which=$value/g) {
        my $name = $1 =~ s/\\(.)/$1 eq 'n' ? "\n" : $1/ger;
        $found{ Encode::decode('UTF-8', $name) } = 1;
    }

    return [sort keys %found];
}

is_deeply(labels('upstream'), [sort map { label($_) } @names],
    'metrics: the groups');
is_deeply([grep { /^unix/ } labels('server')->@*],
    [sort map { label(socket_of($_)) } @names], 'metrics: the servers');

###############################################################################
# state files

@wrong = ();

for my $i (0 .. $#names) {
    my $state = LRT::State->new($t, $api, escaped($names[$i]),
        $t->dir . "/state/$i.json");
    my $doc = $state->is_saved && eval { $json->decode($state->text) };

    push @wrong, shown($names[$i]) unless $doc
        && $doc->{upstream} eq characters($names[$i])
        && $doc->{servers}[1]{weight} == 7;
}

is("@wrong", '', 'state files: each is JSON, with names and changes');

$t->done;
