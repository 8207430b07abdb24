#!/usr/bin/perl

# Whatever is sent to the API: what it does not understand it refuses with
# the documented code, and nothing has changed.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use IO::Uncompress::Gunzip ();
use JSON::PP ();
use Test::More;
use Time::HiRes qw(sleep time);

use LRT;
use LRT::API;
use LRT::Hooks;
use LRT::Net qw(timeout);

use constant {
    MANY     => 3000,           # servers, for answers that are long
    OBJECT   => 8192,           # bytes that one server may take
    MEGA     => 1024 * 1024,
    PARALLEL => 1000,           # changes
    CONTINUE => "HTTP/1.1 100 Continue\r\n\r\n",
};

my $t = LRT->new(
    name => 'api_input', need => [qw(module proxy gzip_filter upstream_zone)]);

$t->backend('a');

$t->conf(workers => 2, http => q{
    upstream u {
        zone u 256k;
        round_robin_ext;
        server %%ADDRESS_a%%;
        server 127.0.0.1:8 weight=2 down;
    }
    upstream many { zone many 16m; round_robin_ext; }

    server {
        listen 127.0.0.1:%%PORT_http%%;
        location / { proxy_pass http://u; }
    }
    server {
        listen 127.0.0.1:%%PORT_api%% sndbuf=16k;
        location /api { lrt_api write=on unix=on; }
        location /file { lrt_api write=on; client_body_in_file_only clean; }
        location /short { lrt_api write=on; client_body_buffer_size 1k; }
        location /memory { lrt_api write=on; client_body_buffer_size 16m; }
        location /hurry { lrt_api write=on; send_timeout 300ms; }
        location /packed {
            lrt_api;
            gzip on;
            gzip_types application/json;
            gzip_min_length 1;
        }
        location /metrics { lrt_metrics; }
    }
} . LRT::Hooks::server($t))->start;

my $u     = LRT::API->new($t)->group('u');
my $many  = LRT::API->new($t)->group('many');
my $hooks = LRT::Hooks->group($t, 'u');
my $state = $u->state;

my $new   = '{"server":"127.0.0.1:9"}';


sub refused ($r, $expected, $name) {
    is(LRT::API::fault($r), $expected, $name);
}

sub nothing_changed ($name) {
    is($u->state, $state, "$name: nothing has changed");

    SKIP: {
        skip 'no test hooks', 1 unless $hooks;
        is($hooks->validity, 'valid', "$name: the table is valid");
    }
}

sub unpacked ($r) {
    my $packed = $r->body;
    IO::Uncompress::Gunzip::gunzip(\$packed => \my $text) or return '';
    return $text;
}

# A text that can be read in a message.

sub shown ($text) {
    $text = substr($text, 0, 50) . '...' if length $text > 50;
    return $text =~ s/([^ -~])/sprintf '\x%02x', ord $1/ger;
}

###############################################################################

subtest 'no JSON' => sub {
    my @texts = (
        '', ' ', "\n\t\r ", '{', '}', '[', ']', '[{', '[{}', '{}{}', '{} x',
        '{},', '[{},]', '[,{}]', '[{}{}]', '[{};{}]', '[[{}]]', '[]]', '[}',
        '{]', '[] []', 'null', 'true', '1', '"x"', '[1]', '[null]', '["x"]',
        "\xef\xbb\xbf$new", "\xff\xfe{\0}\0", "\0", "$new\0", "\x0b$new",
        '<xml/>', 'server=127.0.0.1:9', '//' . $new, "/**/$new",
    );

    for my $text (@texts) {
        refused($u->call($_->[0], $_->[1], $text), '415 JsonError',
            "$_->[0] " . shown($text))
            for [POST => 'servers'], [PUT => 'servers'],
                [PATCH => 'servers/0'];
    }

    refused($u->call(POST => 'servers'), '415 JsonError', 'no body at all');
    refused($u->call(POST => 'servers', '', chunked => 5), '415 JsonError',
        'no chunk');

    # it is told where

    like(LRT::API::reason($u->call(POST => 'servers', $_->[0])),
        qr/ at byte $_->[1]$/, "the place in '$_->[0]'")
        for ['x', 1], ["[{},\n x", 7], [$new . ' y', length($new) + 2];

    nothing_changed('no JSON');
};


subtest 'no object of JSON' => sub {
    my @texts = (
        '{"server":}', '{"server" "a"}', q({'server':'a'}), '{server:"a"}',
        '{"server":"a",}', '{,}', '{"server":"a"]', '{"a":"b":"c"}', '{1:2}',
        '{"server":nul}', '{"server":True}', '{"server":a}',
        '{"weight":01}', '{"weight":+1}', '{"weight":.5}', '{"weight":1.}',
        '{"weight":0x1}', '{"weight":NaN}', '{"weight":-}',
        '{"weight":1e999}', '{"weight":1e400}', '{"weight":-1e400}',
        '{"weight":18446744073709551616}', '{"weight":99999999999999999999}',
        '{"weight":-99999999999999999999}', '{"weight":' . '9' x 5000 . '}',
        '{"weight":1,"weight":1}', '{"lrt":{"health":"up","health":"up"}}',
        map({ qq({"server":"$_"}) }
            "\xff", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82",
            "a\nb", "a\0b", "\x1f", '\u0000', 'a\u0000b', '\ud800',
            '\udc00\ud800', '\ud800x', '\u12', '\x', '\\'),
        '{"\u0000":1}', "{\"\xff\":1}",
        '{"x":' . '[' x 4000 . ']' x 4000 . '}',
    );

    for my $text (@texts) {
        refused($u->call($_->[0], $_->[1], $_->[2]), '415 JsonError',
            "$_->[0] " . shown($text))
            for [POST => 'servers', $text], [PUT => 'servers', "[$text]"],
                [POST => 'servers', "[$new,$text]"],
                [PATCH => 'servers/0', $text];
    }

    # deeper than what one server may take

    my $deep = '{"x":' . '[' x 10_000 . ']' x 10_000 . '}';
    refused($u->call($_->[0], $_->[1], $_->[2]), '400 UpstreamConfFormatError',
        "$_->[0] of depth 10,000")
        for [POST => 'servers', $deep], [PUT => 'servers', "[$deep]"],
            [PATCH => 'servers/0', $deep];
    refused($u->call(PUT => 'servers', '[' x 10_000 . ']' x 10_000),
        '415 JsonError', 'lists of depth 10,000');

    nothing_changed('no object');
};


# Values by parameter, and what they are called.

subtest 'wrong values' => sub {
    my %number = map { ($_ => [qw(-1 1.5 1.0 1e1 2147483648
        9223372036854775807 "1" "" true null)]) }
        qw(weight max_conns max_fails);
    my %codes = (
        weight => 'BadWeight', max_conns => 'BadMaxConns',
        max_fails => 'BadMaxFails', fail_timeout => 'BadFailTimeout',
        slow_start => 'BadSlowStart', server => 'BadAddress',
        route => 'BadRoute', service => 'BadService',
    );
    my $time  = [qw(-1 1.5 "" "x" "-1s" "1x" "s" "1s1s" true null
        "99999999999999999999s" 9223372036854775807 9007199254740993),
        '"' . '9' x 300 . 'd"'];
    my $flag  = [qw(0 1 "true" null "")];
    my $text  = [qw(1 true null), '"' . 'x' x 300 . '"'];
    my %values = (
        %number, fail_timeout => $time, slow_start => $time,
        backup => $flag, down => $flag, drain => $flag,
        server => [@$text, '""', '"127.0.0.1:0"', '"a\u0001b"'],
        route => [@$text, '"' . 'x' x 33 . '"'], service => $text,
        id => [qw(-1 1.5 "0" true null)], lrt => [qw(0 "" true null)],
        foo => [qw(1 "" true null)], Weight => [1], '' => [1],
    );
    push @{ $values{weight} }, 0;

    for my $name (sort keys %values) {
        my $code = 'Upstream' . ($codes{$name} // 'ConfFormatError');

        for my $value ($values{$name}->@*, '{}', '{"a":[]}', '[]', '[1]') {
            my $expected = $value =~ /^[\[{]/ && $name ne 'lrt'
                ? 'UpstreamConfFormatError' : $code;
            my $object = $name eq 'server' ? qq({"server":$value})
                : qq({"server":"127.0.0.1:9","$name":$value});

            next if $name eq 'lrt' && $value eq '{}';

            refused($u->call($_->[0], $_->[1], $_->[2]), "400 $expected",
                "$_->[0] " . shown($object))
                for [POST => 'servers', $object],
                    [PUT => 'servers', "[$object]"],
                    [PATCH => 'servers/0', qq({"$name":$value})];
        }
    }

    for my $value ('{"health":"x"}', '{"health":""}', '{"health":1}',
        '{"health":true}', '{"health":null}', '{"health":[]}', '{"foo":1}',
        '{"health":{}}', '{"lrt":{}}', '{"server":"127.0.0.1:10"}')
    {
        refused($u->call(PATCH => 'servers/0', qq({"lrt":$value})),
            '400 UpstreamConfFormatError', "lrt: $value");
    }

    refused($u->call(POST => 'servers', '{}'), '400 UpstreamConfFormatError',
        'no address');
    refused($u->call(POST => 'servers', '{"x":' x 1300 . '1' . '}' x 1300),
        '400 UpstreamConfFormatError', 'objects in objects');
    refused($u->call(POST => 'servers',
        '{"server":"127.0.0.1:9","service":"x"}'),
        '400 UpstreamConfNoResolver', 'a service');

    nothing_changed('wrong values');
};


# What is allowed is taken, up to its limits.

subtest 'limits' => sub {
    my @objects = (
        '{"server":"127.0.0.1:9","weight":2147483647,"max_conns":2147483647,'
            . '"max_fails":2147483647,"fail_timeout":"1y","slow_start":0}',
        '{"server":"127.0.0.1:9","route":"' . 'x' x 32 . '"}',
        '{"server":"unix:/' . 'x' x 100 . '"}',
        ' {"\u0073erver" : "127.0.0.1:\u0039" , "fail_timeout" : 5 } ',
        '{"server":"127.0.0.1:9","slow_start":"1m 30s","lrt":{}}',
        '{"server":"127.0.0.1:9"' . ' ' x (OBJECT - length $new) . '}',
    );

    for my $object (@objects) {
        my $r = $u->call(POST => 'servers?dry_run=1', $object);
        is($r->status, 201, shown($object)) or diag($r->body);
    }

    refused($u->call(POST => 'servers', $objects[-1] =~ s/\}/ }/r),
        '400 UpstreamConfFormatError', 'an object that is too long');
    nothing_changed('limits');
};


# Names that somebody chose to harm a reader of answers, metrics or logs.

subtest 'names' => sub {
    my $odd = "\"x\\\x01\n\x{e9}";
    my $r   = $u->call(POST => 'servers',
        JSON::PP->new->utf8->encode({ $odd => 1 }));
    refused($r, '400 UpstreamConfFormatError', 'an unknown parameter');
    is(LRT::API::reason($r) =~ s/\xc3\xa9/\xe9/r,
        qq(unknown parameter "$odd"), 'is quoted');

    refused($u->call(GET => $_->[0]), $_->[1], "GET $_->[0]")
        for ['servers/%22%5C%01%0A', '400 UpstreamBadServerId'],
            ['servers/%FF%ED%A0%80', '400 UpstreamBadServerId'],
            ['../%22%01%FF/', '404 UpstreamNotFound'],
            ['%22%01%FF/', '404 PathNotFound'];
    is($u->call(GET => '?fields=%22%01%FF,,')->body, '{}', 'a field');
    refused($u->call(DELETE => 'servers/0', undef,
        headers => ['If-Match' => "\"\x01\\\xff,\""]),
        '412 PreconditionFailed', 'a tag');

    my $name = 'unix:/tmp/"a\\b{}';
    my $mark = $t->log_mark;
    is($u->call(POST => 'servers', { server => $name })->status, 201,
        'a socket');
    is($u->servers->[2]{server}, $name, 'in the list');
    is($u->get->{peers}[2]{name}, $name, 'in the status');
    like($t->get('/metrics', port => 'api')->body,
        qr/server="unix:\/tmp\/\\"a\\\\b\{\}"/, 'in the metrics');
    is($t->grep_log(qr/server \Q$name\E added/, $mark), 1, 'in the log');
    is($u->call(DELETE => 'servers/unix:%2Ftmp%2F%22a%5Cb%7B%7D')->status,
        200, 'and removed');

    $state = $u->state;
};


subtest 'pages of others' => sub {
    my @origins = (
        'http://evil.example', 'null', '', 'localhost', '//localhost',
        'http://localhost:81', 'http://localhost.evil', 'http://xlocalhost',
        'http://evil/http://localhost', 'http://',
    );
    my @changes = (
        [POST => 'servers', $new], [PUT => 'servers', '[]'],
        [PATCH => 'servers/0', '{"weight":9}'], [DELETE => 'servers/0'],
        [DELETE => ''],
    );

    for my $header ((map { [Origin => $_] } @origins),
        map { ['Sec-Fetch-Site' => $_] } qw(cross-site same-site x))
    {
        refused($u->call(@$_[0, 1, 2], headers => $header),
            '403 ForeignOrigin', "@$header: $_->[0] $_->[1]") for @changes;
        is($u->call(GET => 'servers', undef, headers => $header)->status, 200,
            "@$header: who reads may");
    }

    # what a form may send without asking first

    for my $type (qw(text/plain application/x-www-form-urlencoded
        multipart/form-data))
    {
        refused($u->call(POST => 'servers', $new, headers => [
            Origin => 'http://evil.example', 'Content-Type' => $type]),
            '403 ForeignOrigin', "a form of another page, $type");
    }

    refused($u->call(DELETE => '', undef, headers => [
        Origin => 'http://localhost', 'Sec-Fetch-Site' => 'cross-site']),
        '403 ForeignOrigin', 'both have to be right');

    is($u->call(PATCH => 'servers/0', '{"weight":1}', headers => $_)->status,
        200, "@$_: allowed")
        for [Origin => 'http://localhost'], [Origin => 'https://LocalHost'],
            ['Sec-Fetch-Site' => 'same-origin'], ['Sec-Fetch-Site' => 'none'];

    nothing_changed('pages of others');
};


subtest 'reading' => sub {
    my @headers = ('X-HTTP-Method-Override' => 'DELETE');

    for my $method (qw(GET HEAD OPTIONS TRACE)) {
        for my $path ('', '?dry_run=0', 'servers', 'servers/0',
            'servers/0?op=remove&method=DELETE&down=1')
        {
            $u->call($method => $path, $_, headers => \@headers)
                for undef, $new, '[]', '{"down":true}';
        }
    }

    nothing_changed('reading');
};


# Texts that are nearly right.

subtest 'at random' => sub {
    my $seed = $ENV{LRT_SEED} ? srand $ENV{LRT_SEED} : srand;
    note("LRT_SEED=$seed");

    my $client = $t->client(port => 'api');
    my $text   = '[{"server":"127.0.0.1:9","weight":2,"down":true,"lrt":'
        . '{"health":"up"},"route":"\u00e9"}, {"server":"127.0.0.1:10"}]';
    my (%status, $wrong);

    for (1 .. ($ENV{LRT_QUICK} ? 100 : 500)) {
        my $body = $text;

        for (0 .. rand 3) {
            my $at = rand length $body;
            my $length = rand 4;
            substr($body, $at, $length) = rand() < 0.5
                ? join '', map { chr rand 256 } 1 .. rand 4
                : substr $text, rand length $text, rand 8;
        }

        my $method = rand() < 0.5 ? 'POST' : 'PUT';
        my $r = $client->request($method, $u->uri('servers?dry_run=1'),
            keepalive => 1, body => $body);
        my $status = $r->status;

        $status{$status}++;
        $wrong //= "$method $body: " . $r->raw
            unless $status =~ /^20[01]$/ && eval { LRT::API::data($r) }
            || LRT::API::fault($r)
                =~ /^(?:400 Upstream|409 EntryExists|415 JsonError)/;
    }

    $client->close;
    note(join ', ', map { "$_: $status{$_}" } sort keys %status);
    cmp_ok($status{415}, '>', 0, 'some are refused');
    is($wrong, undef, 'each with an answer of a known kind');
    nothing_changed('at random');
};

###############################################################################
# ways of a body

subtest 'bodies in pieces and files' => sub {
    my @list = map { { server => "127.2.0.$_:80", down => LRT::API::true } }
        1 .. 60;
    my $list = LRT::API::encode(\@list);
    my $wrong = $list =~ s/\]$/,{"server":1}]/r;

    for my $base (qw(/api /file /short /memory)) {
        my $group = LRT::API->new($t, base => "$base/9")->group('u');

        for my $size (0, 1, 2, 3, 7, 1000) {
            my $how = "$base, " . ($size ? "chunks of $size" : 'one piece');

            is($group->call(POST => 'servers?dry_run=1', $list,
                chunked => $size)->status, 201, $how);
            refused($group->call(POST => 'servers', $wrong,
                chunked => $size), '400 UpstreamBadAddress', "$how, wrong");
        }
    }

    my $client  = $t->client(port => 'api');
    my $request = LRT::HTTP::request_text(
        POST => $u->uri('servers?dry_run=1'), body => substr $list, 0, 300);
    for my $byte (split //, $request) {
        $client->send($byte);
        sleep 0.0002;
    }
    refused($client->receive, '415 JsonError', 'byte by byte');

    nothing_changed('pieces');
};


subtest 'bodies that are announced' => sub {
    my $head = sub ($method, $path, $body, @headers) {
        my $text = LRT::HTTP::request_text($method => $path, body => $body,
            headers => [Expect => '100-continue', @headers]);
        return $t->client(port => 'api')
            ->send(substr $text, 0, length($text) - length $body);
    };

    for my $case (
        [201, POST => $u->uri('servers?dry_run=1'), $new],
        [200, PUT => $u->uri('servers?dry_run=1'), "[$new]"],
        [200, PATCH => $u->uri('servers/0?dry_run=1'), '{"weight":9}'],
        [400, PUT => $u->uri('servers'), '[{"server":1}]'],
        [415, PUT => $u->uri('servers'), 'x' x 100],
        [404, PUT => '/api/9/http/upstreams/x/servers', $new],
        [405, PUT => '/api/9/nginx', $new],
        [403, PUT => $u->uri('servers'), '[]', Origin => 'null'],
    ) {
        my ($expected, $method, $path, $body, @headers) = @$case;
        my $client = $head->($method, $path, $body, @headers);

        is($client->receive_bytes(length CONTINUE), CONTINUE,
            "$method $path: go on");
        is($client->send($body)->receive->status, $expected,
            "$method $path: and then $expected");
    }

    # what is too large is not waited for

    refused($head->(PUT => $u->uri('servers'), ' ' x (20 * MEGA))->receive,
        '413 BodyTooLarge', '20 MB');

    nothing_changed('announced');
};


subtest 'many at the same time' => sub {
    my $before = $u->generation;
    my $server = $u->servers->[0];
    my @values = map { 1 + $_ } 1 .. PARALLEL;      # none is the present one
    my (@clients, @all, @wrong, %by);

    # all but the last byte of each, and then these while nobody works

    for my $value (@values) {
        my $text = LRT::HTTP::request_text(PATCH => $u->uri('servers/0'),
            body => qq({"weight":$value,"max_fails":$value}));

        push @clients, $t->client(port => 'api')->send(substr $text, 0, -1);
    }

    kill STOP => $t->workers;
    $_->send('}') for @clients;
    kill CONT => $t->workers;

    @all = map { $_->receive } @clients;

    is(scalar(grep { $_->status ne '200' } @all), 0, 'each is answered')
        or diag(map { $_->raw } grep { $_->status ne '200' } @all);

    for my $i (0 .. $#all) {
        my $data = eval { LRT::API::data($all[$i]) } // {};
        my @got  = map { $_ // '' } @$data{qw(weight max_fails)};

        push @wrong, "$values[$i]: @got" if "@got" ne "$values[$i] $values[$i]";
        $by{ $all[$i]->header('x-lrt-index') // '' } = $values[$i];
    }

    is(join(', ', @wrong), '', 'with what it has asked for, and all of that');
    is_deeply([sort { $a <=> $b } keys %by],
        [map { $before + $_ } 1 .. PARALLEL], 'they come one after the other');

    my $last = $by{ $before + PARALLEL };
    my $now  = $u->servers->[0];
    is_deeply([@$now{qw(weight max_fails)}], [$last, $last],
        'what the last one has asked for is in force');

    $u->call(PATCH => 'servers/0',
        { weight => $server->{weight}, max_fails => $server->{max_fails} });
    $state =~ s/^200 \d+/'200 ' . $u->generation/e;
    nothing_changed('and back');
};


subtest 'large bodies' => sub {
    my $blank = ' ' x (10 * MEGA);
    my $long  = '{"server":"' . 'x' x (10 * MEGA) . '"}';
    my $list  = join ',', map {
        sprintf '{"server":"127.%d.%d.%d:80"%s}', 4 + $_ / 62500,
            $_ / 250 % 250, 1 + $_ % 250, ' ' x 480;
    } 1 .. 20_000;

    for my $base (qw(/api /memory)) {
        my $group = LRT::API->new($t, base => "$base/9")->group('u');

        refused($group->call(POST => 'servers', $blank), '415 JsonError',
            "$base: nothing, and much of it");
        is($group->call(POST => 'servers', "[$blank]")->status, 201,
            "$base: an empty list");
        refused($group->call(POST => 'servers', $long),
            '400 UpstreamConfFormatError', "$base: a long name");
        my $r = $group->call(POST => 'servers', "[$list,x]");
        refused($r, '415 JsonError', "$base: a long list, its end is wrong");
        like(LRT::API::reason($r), qr/ at byte @{[3 + length $list]}$/,
            "$base: and where");
    }

    refused($u->call(POST => 'servers', "[$list]", chunked => 100_000),
        '400 UpstreamOutOfMemory', 'more servers than fit');

    my $huge = ' ' x (20 * MEGA);
    refused($u->call(POST => 'servers', $huge), '413 BodyTooLarge', '20 MB');
    refused($u->call(POST => 'servers', $huge, chunked => 1_000_000),
        '413 BodyTooLarge', '20 MB in chunks');

    nothing_changed('large bodies');
};


subtest 'clients that leave' => sub {
    my $body = '[' . join(',', map { qq({"server":"127.5.0.$_:80"}) }
        1 .. 250) . ']';
    my $text = LRT::HTTP::request_text(PUT => $u->uri('servers'),
        body => $body);

    for my $length (10, 100, length($text) - length $body,
        length($text) - 5000, length($text) - 1)
    {
        for my $way (qw(close reset)) {
            my $client = $t->client(port => 'api');
            $client->send(substr $text, 0, $length);
            sleep 0.02;
            $client->$way;
        }
    }

    nothing_changed('in the middle of a body');

    # and in the middle of an answer

    my @servers = map {
        my ($i, $j) = (int $_ / 250, 1 + $_ % 250);
        { server => "127.1.$i.$j:80" }
    } 1 .. MANY;
    is($many->call(PUT => 'servers', \@servers)->status, 200, 'many servers');

    for my $uri ($many->uri('servers'), $many->uri(''), '/metrics') {
        for my $length (1, 50_000) {
            for my $way (qw(close reset)) {
                my $client = $t->begin($uri, port => 'api');
                is(length $client->receive_bytes($length), $length,
                    "$uri: some of it");
                $client->$way;
            }
        }
    }

    is($t->get('/')->body, 'a', 'nginx goes on');
    is(scalar(() = $many->call(GET => 'servers')->body =~ /"id":/g), MANY,
        'and answers as before');
    nothing_changed('in the middle of an answer');
};


subtest 'slow readers' => sub {
    my $whole  = $many->call(GET => '')->body;
    my $client = $many->begin(GET => '');
    my $bytes  = '';

    for (1 .. 10) {
        $bytes .= $client->receive_bytes(length($whole) / 20);
        is($t->get('/')->body, 'a', 'others are served meanwhile') if $_ == 5;
        sleep 0.02;
    }

    $bytes .= $client->receive_bytes(2 * length $whole);
    $client->close;

    my $got = LRT::HTTP::Response->new('GET');
    $got->feed($bytes);
    $got->end;
    is($got->error, undef, 'the answer is whole');
    is(scalar(() = $got->body =~ /"id":/g), MANY, 'and complete');
    is($got->header('transfer-encoding'), 'chunked', 'in chunks');

    my $old = $many->call(GET => '', undef, version => '1.0');
    is(scalar(() = $old->body =~ /"id":/g), MANY, 'for HTTP/1.0 as well');

    my $packed = LRT::API->new($t, base => '/packed/9');
    my $r = $packed->group('many')->call(GET => '', undef,
        headers => ['Accept-Encoding' => 'gzip']);
    is($r->header('content-encoding'), 'gzip', 'compressed');
    is(scalar(() = unpacked($r) =~ /"id":/g), MANY, 'and complete');
    $r = $packed->call(GET => '/x', undef,
        headers => ['Accept-Encoding' => 'gzip']);
    like(unpacked($r), qr/^\{"error":.*\}$/, 'an error, compressed');

    # one that does not read at all

    $client = LRT::API->new($t, base => '/hurry/9')->group('many')
        ->begin(GET => '');
    my $mark = $t->log_mark;
    ok($t->wait_for(sub { $t->grep_log(qr/client timed out/, $mark) }, 5),
        'is not waited for');
    cmp_ok(length $client->receive_bytes(2 * length $whole), '<',
        length $whole, 'and gets no more');
    $client->close;
};


is($t->get('/')->body, 'a', 'the group is alive');
nothing_changed('in the end');

$t->done;
