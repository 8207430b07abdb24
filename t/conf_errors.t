#!/usr/bin/perl

# Configurations: what is wrong gets an error that names the place and the
# fix, what is unusual works, and testing one touches nothing that runs.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use POSIX ();
use Test::More;

use LRT;
use LRT::Hooks;

my $t = LRT->new(name => 'conf', need => [qw(module proxy upstream_zone)]);

$t->backend($_) for qw(a b);


# A configuration is refused with one error, which matches the pattern and
# names the line that is marked by "# here".

sub refused ($name, $conf, $pattern, %o) {
    my ($good, $said) = $t->test_config(%o, http => $conf);
    my @lines  = split /\n/, $t->read('test.conf');
    my ($line) = grep { $lines[$_ - 1] =~ /# here/ } 1 .. @lines;
    my @errors = $said =~ /\[emerg\] (.*)/g;

    ok(!$good && @errors == 1, "$name: refused with one error")
        or diag($said);
    like($errors[0], qr/$pattern.* in \S+\/test\.conf:$line$/,
        "$name: the error names the line and what to do");
}


sub accepted ($name, $conf, @warnings) {
    my ($good, $said) = $t->test_config(http => $conf);
    my @said = $said =~ /\[(?:warn|error|emerg)\] (.*)/g;

    ok($good, "$name: accepted") or diag($said);
    is(scalar @said, scalar @warnings, "$name: number of warnings")
        or diag($said);
    like($said[$_], qr/$warnings[$_]/, "$name: the warning")
        for 0 .. $#warnings;
}

###############################################################################
# the directives

for my $method (qw(round_robin_ext least_conn_ext)) {
    refused("$method with an argument", qq{
        upstream u {
            $method 2;                                              # here
            server 127.0.0.1:81;
        }
    }, qr/invalid number of arguments in "$method" directive/);

    refused("$method in a server", qq{
        server {
            listen 127.0.0.1:%%PORT_http%%;
            $method;                                                # here
        }
    }, qr/"$method" directive is not allowed here/);
}

refused('a method outside of upstream', q{
    least_conn_ext;                                                 # here
}, qr/"least_conn_ext" directive is not allowed here/);

refused('a method in a location', q{
    server {
        listen 127.0.0.1:%%PORT_http%%;
        location / {
            round_robin_ext;                                        # here
        }
    }
}, qr/"round_robin_ext" directive is not allowed here/);

refused('two methods', q{
    upstream u {
        round_robin_ext;
        least_conn_ext;                                             # here
        server 127.0.0.1:81;
    }
}, qr/"least_conn_ext" is a second .* after "round_robin_ext", leave one/);

refused('a method twice', q{
    upstream u {
        server 127.0.0.1:81;
        least_conn_ext;
        least_conn_ext;                                             # here
    }
}, qr/"least_conn_ext" is a second .* after "least_conn_ext", leave one/);

###############################################################################
# a stock method beside ours, with keepalive at each place

for my $stock ('least_conn', 'ip_hash', 'hash $uri', 'random two') {
    my ($module) = split ' ', $stock;
    next unless $t->has("upstream_$module");

    for my $keepalive ('', 'keepalive 4;') {
        my $with = $keepalive ? ' and keepalive' : '';

        refused("$module before ours$with", qq{
            upstream u {
                $stock;
                $keepalive
                round_robin_ext;                                    # here
                server 127.0.0.1:81;
            }
        }, qr/"round_robin_ext" must be the only load balancing method/);

        refused("$module after ours$with", qq{
            upstream u {                                            # here
                least_conn_ext;
                $keepalive
                $stock;
                server 127.0.0.1:81;
            }
        }, qr/"u" has another .* beside "least_conn_ext", leave one of them/);
    }

    my ($good, $said) = $t->test_config(http => qq{
        upstream u {
            keepalive 4;
            $stock;
            least_conn_ext;
            server 127.0.0.1:81;
        }
    });
    ok(!$good, "keepalive, $module, ours: refused");
    like($said, qr/\[emerg\] .*"least_conn_ext".* in \S+test\.conf:\d+$/m,
        "keepalive, $module, ours: the error names our method");
}

for my $method (qw(round_robin_ext least_conn_ext)) {
    accepted("keepalive before $method",
        "upstream u { keepalive 4; $method; server 127.0.0.1:81; }");
    accepted("keepalive after $method",
        "upstream u { $method; server 127.0.0.1:81; keepalive 4; }");
}

SKIP: {
    skip 'no sticky', 1 unless $t->has('upstream_sticky');

    refused('sticky before a method', q{
        upstream u {
            sticky cookie x;
            least_conn_ext;                                         # here
            server 127.0.0.1:81;
        }
    }, qr/"least_conn_ext" must .* stand before "sticky"/);

    accepted('sticky after a method', q{
        upstream u {
            least_conn_ext;
            sticky cookie x;
            server 127.0.0.1:81;
        }
    });
}

###############################################################################
# servers

refused("\"$_\" of a server", qq{
    upstream u {
        round_robin_ext;
        server 127.0.0.1:81 $_;                                     # here
    }
}, qr/invalid parameter "$_"/) for qw(nonsense weight=0 weight=x max_conns=-1);

refused("$_ above the limit", qq{
    upstream u {                                                    # here
        round_robin_ext;
        server 127.0.0.1:81 $_=2147483648;
    }
}, qr/\b$_\b.* of server "127\.0\.0\.1:81" is above 2147483647/)
    for qw(weight max_conns max_fails);

accepted('the largest of all', q{
    upstream u {
        round_robin_ext;
        server 127.0.0.1:81 weight=2147483647 max_conns=2147483647
            max_fails=2147483647 fail_timeout=1000d;
        server 127.0.0.1:82 weight=2147483647;
    }
});

SKIP: {
    skip 'no "resolve"', 1 unless $t->has_version('1.27.3');

    refused('resolve', q{
        upstream u {                                                # here
            least_conn_ext;
            zone u 256k;
            server localhost:81 resolve;
        }
    }, qr/"resolve" of server "localhost:81" is not supported .* remove it/);
}

refused("a server twice, once with $_", qq{
    upstream u {                                                    # here
        round_robin_ext;
        server 127.0.0.1:81;
        server 127.0.0.1:81 $_;
    }
}, qr/server "127\.0\.0\.1:81" is listed twice .* leave one of them/)
    for qw(down max_fails=3 fail_timeout=1s);

accepted('a server twice', q{
    upstream u {
        round_robin_ext;
        server 127.0.0.1:81 weight=2;
        server 127.0.0.1:82;
        server 127.0.0.1:81 weight=3;
    }
}, qr/"127\.0\.0\.1:81" is listed twice, weights are added, .* in \S+:\d+$/);

refused('a server twice, together too heavy', q{
    upstream u {                                                    # here
        round_robin_ext;
        server 127.0.0.1:81 weight=2147483647;
        server 127.0.0.1:81;
    }
}, qr/weight .* of server "127\.0\.0\.1:81" is above 2147483647/);

accepted('a server as primary and as backup', q{
    upstream u {
        round_robin_ext;
        server 127.0.0.1:81;
        server 127.0.0.1:81 backup;
    }
});

# the printed address and the text of the directive are kept together

my $zeros = sub ($length) {
    return '127.0.0.1:' . '0' x ($length - 12) . '81';
};

refused('a server with a long name', qq{
    upstream u {                                                    # here
        round_robin_ext;
        server @{[$zeros->(229)]};
    }
}, qr/name of server "\S+" is too long: it may have 196 characters/);

accepted('a name as long as it may be', qq{
    upstream u {
        round_robin_ext;
        server @{[$zeros->(196)]};
        server unix:/@{['x' x 106]};
    }
});

###############################################################################
# lrt_match

for my $case (
    [qr/"status" needs a value/, 'status', 'status !'],
    [qr/invalid status "\S*", it must be a number or a range from 100 to 599/,
        'status 99', 'status 600', 'status 2xx', 'status 200-', 'status -299',
        'status 299-200', 'status 200 204-600', 'status 200 ! 204',
        'status ! !500', 'status 2-3-4', 'status ""'],
    [qr/"status" has too many values/, 'status' . ' 200' x 33],
    [qr/"header" needs "name", "! name" or "name operator value"/,
        'header', 'header !', 'header A =', 'header A = b c', 'header A b',
        'header ! A = b'],
    [qr/invalid header name "[^"]*"/,
        'header A: = b', 'header ""', 'header "! A"', 'header ! A@b'],
    [qr/invalid operator "\S*", it must be "=", "!=", "~" or "!~"/,
        'header A == b', 'header A ! b', 'header A ~* b', 'header A "" b'],
    [qr/"body" needs an operator and a regular expression/,
        'body', 'body ~', 'body a', 'body ~ a b'],
    [qr/invalid operator "\S*", it must be "~" or "!~"/,
        'body = a', 'body != a', 'body ! a'],
    [qr/pcre2?_compile\(\) failed: .* "\(a"/, 'body ~ (a', 'header A !~ (a'],
    [qr/"require" is not supported in "lrt_match": a probe has no request/,
        'require $a'],
    [qr/unknown test "type" in "lrt_match", it must be "status", "header" or/,
        'type a'],
) {
    my ($pattern, @tests) = @$case;

    refused("lrt_match with '$_'", qq{
        lrt_match m {
            $_;                                                     # here
        }
    }, $pattern) for @tests;
}

refused('lrt_match with two of "status"', q{
    lrt_match m {
        status 200;
        status 204;                                                 # here
    }
}, qr/"status" is duplicate, give all values in one/);

refused("lrt_match with more than $_->[1] of $_->[2]", qq{
    lrt_match m {
        @{[ "$_->[0];" x $_->[1] ]}
        $_->[0];                                                    # here
    }
}, qr/too many tests of $_->[2]/)
    for ['header A', 32, 'headers'], ['body ~ a', 8, 'the body'];

refused('lrt_match without tests', q{
    lrt_match m {
    }                                                               # here
}, qr/no tests in "lrt_match" "m"/);

refused('lrt_match twice', q{
    lrt_match m { status 200; }
    lrt_match m {                                                   # here
        status 204;
    }
}, qr/duplicate "lrt_match" "m"/);

refused('lrt_match in a server', q{
    server {
        listen 127.0.0.1:%%PORT_http%%;
        lrt_match m {                                               # here
            status 200;
        }
    }
}, qr/"lrt_match" directive is not allowed here/);

refused('lrt_match without a name', q{
    lrt_match {                                                     # here
        status 200;
    }
}, qr/invalid number of arguments in "lrt_match" directive/);

accepted('lrt_match', qq{
    lrt_match plus {
        status 200;
        header Content-Type = text/html;
        body ~ "Welcome to nginx!";
    }
    lrt_match not_redirect {
        status ! 301-303 307;
        header Refresh;
        header ! X-Accel-Redirect;
    }
    lrt_match "as much as there may be" {
        status !100-599 @{[ '200-200 ' x 31 ]};
        header !A;
        header Connection !~ close;
        header A != "";
        @{[ 'header Content-Type ~ "^text/(?i)html\b";' x 29 ]}
        @{[ 'body !~ "{x}|;";' x 8 ]}
    }
    lrt_match body { body ~ a; }
    lrt_match Plus { header A; }
});

###############################################################################
# zones: the error names a size, with which it works, and nothing less does

my $page = POSIX::sysconf(POSIX::_SC_PAGESIZE());

sub group ($count, $size, $method = 'least_conn_ext') {
    return "upstream u { $method; zone u $size;\n"
        . join('', map { "server 127.0.0.1:$_;\n" } 1 .. $count) . '}';
}


for my $case ([30, 1], [65, 1], [500, 1], [500, 16]) {
    my ($count, $workers) = @$case;
    my $name = "zone for $count servers and $workers workers";
    my @main = (workers => $workers);

    my $said = $t->conf_error(@main, http => group($count, '32k'));
    like($said, qr/
        zone \s "u" \s of \s upstream \s "u" \s is \s too \s small: .*
        for \s $count \s it \s must \s be \s at \s least \s \d+k \s
        in \s \S+:\d+$
    /mx, "$name: the error says what is needed");

    my ($needed) = $said =~ /at least (\d+)k/;
    my $bytes = $needed * 1024;

    my ($good) = $t->test_config(@main, http => group($count, "${needed}k"));
    ok($good, "$name: the size that was named is enough");

    ($good) = $t->test_config(@main, http => group($count, $bytes - $page));
    ok(!$good, "$name: one page less is not");
}

accepted('several groups in one zone, stock ones among them', q{
    upstream first { zone z 256k; server 127.0.0.1:81; }
    upstream u { zone z; round_robin_ext; server 127.0.0.1:81; }
    upstream v { zone z; least_conn_ext; server 127.0.0.1:82; }
    upstream last { zone z; least_conn; server 127.0.0.1:81; }
});

###############################################################################
# what is unusual, at work; and nginx -t beside a running nginx

my $start = q{
    upstream first { zone z 256k; server %%ADDRESS_a%%; }
    upstream u { zone z; round_robin_ext; server %%ADDRESS_a%%; }
    upstream v { zone z; least_conn_ext; server %%ADDRESS_b%%; }
    upstream last { zone z; server %%ADDRESS_b%%; }
    upstream empty { least_conn_ext; }
    upstream twice {
        server %%ADDRESS_a%%;
        server %%ADDRESS_a%% backup;
        round_robin_ext;
    }
    upstream sum {
        server %%ADDRESS_a%% weight=2;
        server %%ADDRESS_b%%;
        server %%ADDRESS_a%%;
        round_robin_ext;
    }
    upstream zoned { least_conn_ext; zone zoned 64k; %%SERVERS%% }

    server {
        listen 127.0.0.1:%%PORT_http%%;
        location ~ ^/(?<group>\w+) {
            set $group $group;
            proxy_pass http://$group;
            proxy_next_upstream error timeout http_503;
            add_header X-Upstream $upstream_addr always;
        }
    }
} . LRT::Hooks::server($t);

my $with_servers = sub ($servers) { return $start =~ s/%%SERVERS%%/$servers/r };

$t->conf(http => $with_servers->('server %%ADDRESS_a%%;'))->start;

is($t->get('/u')->body, 'a', 'a group in a zone with others works');
is($t->get('/v')->body, 'b', 'and the next one');
is($t->get('/first')->body, 'a', 'and the stock one before');
is($t->get('/last')->body, 'b', 'and the stock one behind');

is_deeply($t->many(8, '/sum'), { a => 6, b => 2 },
    'weights of a server listed twice are added');

my ($a, $b) = map { $t->address($_) } qw(a b);

is($t->get('/twice?status=503')->header('X-Upstream'), "$a, $a",
    'an address is asked as primary and then as backup');

my $r = $t->get('/empty');
is($r->status, 502, 'a group without servers answers 502');
is($r->header('X-Upstream'), 'empty', 'and names itself');
is($t->grep_log(qr/no live upstreams while connecting to upstream/), 1,
    'and logs it');

my $zoned = LRT::Hooks->group($t, 'zoned');

SKIP: {
    my $empty = LRT::Hooks->group($t, 'empty') or skip 'no test hooks', 4;
    my $id    = $empty->add($a);

    is($t->get('/empty')->body, 'a', 'until a server is added');
    $empty->remove($id);
    is($t->get('/empty')->status, 502, 'and again when it is removed');

    is($empty->refusal('remove', id => 7), '404 missing',
        'a server that is not there cannot be removed');
    is($empty->validity(quiet => 1), 'valid', 'the table is valid');
}

my $before = $zoned && $zoned->dump;
my @tested = (
    [1, 'the same', undef],
    [1, 'other servers', 'server %%ADDRESS_b%% weight=7;'],
    [1, 'no server', ''],
    [0, 'a bad one', 'server %%ADDRESS_b%% nonsense;'],
    [0, 'too many servers',
        join '', map { "server 127.0.0.1:$_;" } 1 .. 500],
);

for my $case (@tested) {
    my ($good, $name, $servers) = @$case;
    my ($is_good, $said) = $t->test_config(
        defined $servers ? (http => $with_servers->($servers)) : ());

    ok($good ? $is_good : !$is_good, "nginx -t with $name") or diag($said);
}

SKIP: {
    skip 'no test hooks', 1 unless $zoned;
    is_deeply($zoned->dump, $before, 'has not touched the running nginx');
}

is($t->get('/zoned')->body, 'a', 'which serves as before');

###############################################################################
# files that are included: errors that are seen later, when others were read,
# name the right one

for (['redirect', 'server { listen 127.0.0.1:%%PORT_more%%;
                            location / { lrt_redirect none; } }'],
    ['health check', 'upstream i { server %%ADDRESS_a%%;
                      lrt_health_check interval=1s timeout=2s; }'],
    ['folder of state file', 'upstream i { server %%ADDRESS_a%%;
                              lrt_state none/i.json; }'])
{
    my ($what, $text) = @$_;

    my $first = $t->write('first.conf', "\n\n" . $text =~ s/\n\s*/ /gr);
    my $last  = $t->write('last.conf', 'server { listen 127.0.0.1:%%PORT_last%%; }');
    my $said  = $t->conf_error("include $first; include $last;");

    like($said, qr/\[(?:emerg|warn)\] .*$what.* in \Q$first\E:3\b/,
        "$what: an error names the file that was included");
}

###############################################################################
# a zone that is too small at reload

my $many = join '', 'server %%ADDRESS_b%%;',
    map { "server 127.0.0.1:$_ down;" } 1 .. 200;

$t->conf(http => $with_servers->($many));
my $said = $t->reload_error;
like($said, qr/zone "zoned" .* is too small: .* for 201 it must be at least/,
    'a reload is refused too');
is($t->get('/zoned')->body, 'a', 'and the old servers stay');

SKIP: {
    skip 'no test hooks', 1 unless $zoned;
    is_deeply({ %{ $zoned->dump }, servers => 0 }, { %$before, servers => 0 },
        'with the same generation of the table');
}

my ($needed) = $said =~ /at least (\d+)k/;
$start =~ s/zone zoned 64k/zone zoned ${needed}k/;

$t->conf(http => $with_servers->($many))->reload;
is($t->get('/zoned')->body, 'b', 'with the size that was named it works');

$t->done;
