#!/usr/bin/perl

# lrt_health_check, lrt_slow_start and lrt_panic in configurations: what is
# wrong gets an error that names the place and the fix.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use LRT;

my $t = LRT->new(name => 'health_conf', need => [qw(module proxy)]);

my $port = $t->port('a');
my $servers = "server 127.0.0.1:$port; server 127.0.0.2:$port;";

$t->write('bad.crt', "-----BEGIN CERTIFICATE-----\nnothing\n");


# A directive of a group is refused with one error that matches and names its
# line.

sub refused ($directive, $pattern, $more = $servers, $http = '') {
    my ($good, $said) = $t->test_config(http => qq{
        $http
        upstream u {
            $more
            $directive;                                             # here
        }
    });
    my @lines  = split /\n/, $t->read('test.conf');
    my ($line) = grep { $lines[$_ - 1] =~ /# here/ } 1 .. @lines;
    my @errors = $said =~ /\[emerg\] (.*)/g;

    ok(!$good && @errors == 1, "refused: $directive") or diag($said);
    like($errors[0], qr/$pattern.* in \S+\/test\.conf:$line$/s,
        'and the error says why, and where');
}


sub accepted ($inside, $http = '') {
    my ($good, $said) = $t->test_config(http => qq{
        $http
        upstream u { $servers $inside }
    });
    ok($good, "accepted: $inside") or diag($said);
    is($said =~ /\[(?:warn|error|emerg)\] (.*)/ ? $1 : '', '',
        'without a warning');
}

###############################################################################

my $check = 'lrt_health_check';

subtest 'checks that are none' => sub {
    for my $parameter (
        'unknown', 'unknown=1', 'interval', 'interval=', 'interval=0',
        'interval=x', 'interval=-1s', 'timeout=0', 'timeout=1y1', 'fails=0',
        'fails=x', 'fails=-1', 'fails=10001', 'passes=0', 'passes=1.5',
        'port=0', 'port=65536', 'port=http', 'requests=0', 'requests=-1',
        'requests=3000000000', 'type=udp', 'type=', 'type=HTTP',
        'ssl_verify=yes', 'ssl_verify', 'jitter=10', 'jitter=%',
        'jitter=101%', 'jitter=-1%', 'jitter=1.55%', 'mandatory=on',
        'persistents', 'uri', 'uri=', 'host=', 'match=', 'keepalive_time=0',
        'Interval=1s', ' interval=1s',
    ) {
        refused(qq{$check "$parameter"},
            qr/invalid parameter "\Q$parameter\E" of "$check"/);
    }
};


subtest 'checks that make no sense' => sub {
    my $in = qr/health check of upstream "u": /;

    for (
        ['interval=1s timeout=2s',
            '"timeout" 2000ms must be .* at most "interval" 1000ms'],
        ['interval=9ms', '"interval" must be from 10ms to 7d'],
        ['interval=8d', '"interval" must be from 10ms to 7d'],
        ['keepalive_time=4503599627370497ms',
            '"keepalive_time" must be at most 4503599627370496ms'],
        ['persistent', '"persistent" needs "mandatory"'],
        ['match=none', 'there is no "lrt_match none"'],
        ['uri=health', 'invalid "uri"'],
        ['uri=http://x/', 'invalid "uri"'],
        ['"uri=/a b"', 'invalid "uri"'],
        ["'uri=/a\r\nX: y'", 'invalid "uri"'],
        ["'host=a\r\nX: y'", 'invalid "host"'],
        ["'host=a b'", 'invalid "host"'],
        ["'uri=/\x7f'", 'invalid "uri"'],
        (map { ["'uri=/caf$_'", 'invalid "uri"'] } "\xe9", "\xc3",
            "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80"),
        ["'host=caf\xe9.test'", 'invalid "host"'],
        ['type=tcp uri=/', 'a check of type "tcp" sends nothing'],
        ['type=tcp host=x', 'a check of type "tcp" sends nothing'],
        ['type=tcp match=x', 'a check of type "tcp" sends nothing'],
        ['type=tcp keepalive_time=1s',
            'a check of type "tcp" sends nothing'],
        ['ssl_name=x', '"ssl_name" and "ssl_ca" need "type=https"'],
        ['ssl_ca=ca.crt', '"ssl_name" and "ssl_ca" need "type=https"'],
        ['type=tcp ssl_name=x', '"ssl_name" and "ssl_ca" need'],
    ) {
        my ($parameters, $why) = @$_;
        refused("$check $parameters", qr/$in$why/);
    }

    refused("$check type=https $_",
        qr/${in}the name of servers in TLS has 0 bytes, from 1 to 255/)
        for $t->has('ssl') ? ('host=:443', 'host=[]', 'host=[') : ();
    refused("$check type=https $_=" . 'x' x 256,
        qr/${in}the name of servers in TLS has 256 bytes, from 1 to 255/)
        for $t->has('ssl') ? qw(host ssl_name) : ();

    refused("$check port=81", qr{${in}"port=81" for the unix socket unix:/x},
        'server unix:/x;');
    refused("$check match=m", qr/${in}there is no "lrt_match m"/, $servers,
        'lrt_match mm { status 200; }');
    refused("$check; $check; $check; $check; $check",
        qr/an upstream has at most 4 checks/);
    refused("$check uri=/" . 'x' x 4000,
        qr/the texts of a check are longer than \d+ bytes together/);
    refused($check, qr/must be the only load balancing method/,
        "least_conn; $servers");

    # these are errors of nginx itself

    for my $file ($t->has('ssl') ? qw(none.crt bad.crt) : ()) {
        like($t->conf_error(qq{
            upstream u { $servers $check type=https ssl_ca=%%DIR%%/$file; }
        }), qr/\[emerg\] .*\/\Q$file\E"/, "refused: $file");
    }
};


subtest 'slow start, panic' => sub {
    refused("lrt_slow_start $_", qr/invalid/) for qw(x -1s 1y1 5%);
    refused('lrt_slow_start 4503599627370497ms',
        qr/"lrt_slow_start" takes at most 4503599627370496ms/);
    refused('lrt_slow_start', qr/invalid number of arguments/);
    refused("lrt_slow_start $_; lrt_slow_start 2s", qr/is duplicate/)
        for qw(1s 0);

    refused("lrt_panic $_", qr/takes "off" or percents from 0\.1% to 100%/)
        for qw(x 50 101% -1% % 0% 0.05% 1.55% on);
    refused('lrt_panic', qr/invalid number of arguments/);
    refused("lrt_panic $_; lrt_panic 20%", qr/is duplicate/) for qw(10% off);
    refused('lrt_panic 50%', qr/must be the only load balancing method/,
        "ip_hash; $servers");
};


subtest 'elsewhere' => sub {
    for ("$check", 'lrt_slow_start 1s', 'lrt_panic off') {
        my ($name) = split ' ';
        like($t->conf_error("$_;"), qr/"$name" directive is not allowed here/,
            "$name in http");
        like($t->conf_error(
            "server { listen 127.0.0.1:%%PORT_http%%; location / { $_; } }"),
            qr/"$name" directive is not allowed here/, "$name in a location");
    }
};


subtest 'all that is right' => sub {
    accepted("$check;");
    accepted("$check uri=/ interval=5s timeout=1s jitter=10% fails=3 passes=2"
        . " port=8080 match=m type=http host=x mandatory persistent"
        . " keepalive_time=1m requests=100;", 'lrt_match m { status 200; }');
    accepted("$check 'uri=/caf\xc3\xa9' 'host=\xf0\x9f\x8d\xba.test';");
    accepted("$check match=m;", 'lrt_match m { status ! 500; }');
    accepted("$check; $check; $check; $check;");
    accepted("$check interval=10ms; $check interval=7d timeout=7d;");
    accepted("$check jitter=0%; $check jitter=100%; $check jitter=12.5%;");
    accepted("$check type=tcp port=1; $check fails=10000 passes=10000;");
    accepted("$check interval=100ms;");
    accepted("$check type=https host=:443 ssl_name=" . 'x' x 255 . ';')
        if $t->has('ssl');
    accepted("$check type=https; $check type=https ssl_verify=off;")
        if $t->has('ssl');
    accepted('lrt_slow_start 30s;');
    accepted("$check keepalive_time=4503599627370496ms;"
        . ' lrt_slow_start 4503599627370496ms;');
    accepted('lrt_panic off;');
    accepted("lrt_panic $_;") for qw(1% 50% 100% 12.5% 0.1%);
    accepted("$check; least_conn_ext; lrt_panic 1%; lrt_slow_start 1m;");
    accepted("lrt_panic 1%; least_time header; $check;");

    # a match behind its check

    my ($good, $said) = $t->test_config(http => qq{
        upstream u { $servers $check match=late; }
        lrt_match late { status 200; }
    });
    ok($good, 'a match may stand behind its check') or diag($said);

    ($good, $said) = $t->test_config(http => "upstream u { $check; }");
    ok($good, 'a group without servers') or diag($said);
};

$t->done;
