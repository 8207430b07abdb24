#!/usr/bin/perl

# Programs of others that know the API of NGINX Plus: the Go library of
# controllers, the exporter for Prometheus; and what Prometheus itself thinks
# of our metrics.  Without a program its part is skipped.

use v5.36;

use Digest::MD5 ();
use File::Path qw(make_path);
use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use Test::More;

use LRT;
use LRT::API;
use LRT::Process;

use constant LIBRARY =>
    '/usr/share/gocode/src/github.com/nginxinc/nginx-plus-go-client';

my $t = LRT->new(
    name => 'api_clients', need => [qw(module proxy upstream_zone)]);

$t->backend($_) for qw(a b c);
my ($a, $b, $c) = map { $t->address($_) } qw(a b c);

$t->conf(workers => 2, http => q{
    upstream u { zone u 256k; round_robin_ext; }
    upstream other {
        zone other 256k;
        least_time last_byte;
        server %%ADDRESS_a%% max_conns=50;
        server %%ADDRESS_b%%;
        server %%ADDRESS_c%% backup;
        server unix:%%DIR%%/"x"\.sock down;
    }
    server {
        listen 127.0.0.1:%%PORT_http%%;
        location ~ ^/(?<group>\w+) { proxy_pass http://$group; }
    }
    server {
        listen 127.0.0.1:%%PORT_api%%;
        location /api { lrt_api write=on; }
        location /metrics { lrt_metrics; }
    }
})->start;

my $api = LRT::API->new($t);


# The path of a program, undef if there is none.

sub program ($name) {
    my ($path) = grep { -x } map { "$_/$name" }
        split(/:/, $ENV{PATH}), '/usr/sbin', '/sbin';
    return $path;
}


# What a command writes, and how it ended.

sub output ($name, @command) {
    my $file    = $t->dir . "/$name.out";
    my $process = LRT::Process->run_program(\@command, $file);

    $t->wait_for(sub { !$process->is_running }, 60);
    $process->end;
    return ($process->ending, $t->read("$name.out"));
}


# A program made of a Go file and the library; kept in build/ as long as
# neither of them changes.

sub built ($go) {
    my $source = "$FindBin::Bin/clients/plus.go";
    my $md5    = Digest::MD5->new;

    for my $file ($source, glob LIBRARY . '/client/*.go') {
        open my $content, '<:raw', $file or die "$file: $!\n";
        $md5->addfile($content);
    }

    my $store   = "$FindBin::Bin/../build/go";
    my $program = "$store/plus-" . $md5->hexdigest;
    return $program if -x $program;

    $store = $t->dir unless eval { make_path($store); -w $store };
    $program = "$store/" . $program =~ s{.*/}{}r;

    local @ENV{qw(GO111MODULE GOFLAGS GOPROXY GOPATH GOCACHE)} = ('off', '',
        'off', $t->dir . ':/usr/share/gocode', "$store/cache");
    my ($ending, $said) =
        output('build', $go, 'build', '-o', "$program.$$", $source);

    diag($said) unless $ending eq 'exited with code 0';
    rename "$program.$$", $program;
    return $program;
}


# The samples of metrics: name and labels, in order, => value.

sub samples ($text) {
    my %samples;

    for (grep { !/^#/ } split /\n/, $text) {
        my ($name, $labels, $value) = /^(\w+)(?:\{(.*)\})? (\S+)$/ or next;
        my @labels = sort(($labels // '') =~ /\w+="(?:[^"\\]|\\.)*"/g);
        $samples{ join ' ', $name, @labels } = $value;
    }

    return \%samples;
}

###############################################################################

$t->many(40, '/other');
$t->get('/other?status=404') for 1 .. 4;
ok($t->wait_for(sub {
    !grep { $_->{active} } $api->group('other')->get->{peers}->@*
}), 'servers that have answered');


subtest 'the library of controllers' => sub {
    my $go = program('go') or plan skip_all => 'no go';
    plan skip_all => 'no nginx-plus-go-client' unless -d LIBRARY;

    my $program = built($go);
    ok(-x $program, 'it can be compiled') or return;

    my $endpoint = 'http://127.0.0.1:' . $t->port('api') . '/api';
    my ($ending, $said) = output('plus', $program, $endpoint, 'u', $a, $b, $c);
    my @lines = split /\n/, $said;

    is($ending, 'exited with code 0', 'it ends well');

    for (grep { /^(?:not )?ok / } @lines) {
        my ($wrong, $name, $why) = /^(not )?ok (.*?)(: .*)?$/;
        ok(!$wrong, $name =~ s/#//gr) or diag($_);
    }

    cmp_ok(scalar @lines, '>', 35, 'it came to its end');
    is_deeply([sort keys $api->group('u')->all('id')->%*], [sort $a, $b],
        'what it left behind');

    # what it has read

    my $stats = eval { JSON::PP->new->decode($lines[-1]) } // {};
    my $group = $api->group('other')->get;
    my %read  = map { ($_->{Server} => $_) }
        ($stats->{Upstreams}{other}{Peers} // [])->@*;

    is($stats->{NginxInfo}{Version}, $t->version, 'the version');
    is($stats->{Upstreams}{other}{Zone}, 'other', 'the zone');
    is(scalar keys %read, 4, 'all servers');
    ok($stats->{Slabs}{other}{Pages}{Free}, 'room in the zone');

    for my $peer ($group->{peers}->@*) {
        my $read = $read{ $peer->{server} };

        is_deeply([@$read{qw(Requests Sent Received State Weight)},
            $read->{Responses}{'2xx'}, $read->{Responses}{'4xx'},
            $read->{max_conns}],
            [@$peer{qw(requests sent received state weight)},
            $peer->{responses}{'2xx'}, $peer->{responses}{'4xx'},
            $peer->{max_conns} // 0], "$peer->{server}: its figures");
    }
};


subtest 'the exporter' => sub {
    my $exporter = program('prometheus-nginx-exporter')
        or plan skip_all => 'no prometheus-nginx-exporter';

    my $port    = $t->port('exporter');
    my $process = LRT::Process->run_program([$exporter, '-nginx.plus',
        '-nginx.scrape-uri', 'http://127.0.0.1:' . $t->port('api') . '/api',
        '-web.listen-address', "127.0.0.1:$port"], $t->dir . '/exporter.out');

    my $r;
    $t->wait_for(sub {
        $r = $t->get('/metrics', port => 'exporter');
        $r->status eq '200' || !$process->is_running;
    }, 10);

    is($r->status, 200, 'it answers') or diag($t->read('exporter.out'));
    my $samples = samples($r->body);
    is($samples->{nginxplus_up}, 1, 'nginx is up')
        or diag($t->read('exporter.out'));

    my @states = qw(up draining down unavail checking unhealthy);
    my %number = map { ($states[$_] => $_ + 1) } 0 .. $#states;

    for my $peer ($api->group('other')->get->{peers}->@*) {
        my $server = $peer->{server} =~ s/(["\\])/\\$1/gr;
        my @labels = (qq(server="$server"), 'upstream="other"');
        my $metric = sub ($name, @more) {
            return $samples->{ join ' ',
                "nginxplus_upstream_server_$name", sort @labels, @more };
        };

        is($metric->('state'), $number{ $peer->{state} },
            "$server: state $peer->{state}");
        is($metric->('limit') // 0, $peer->{max_conns} // 0,
            "$server: max_conns");
        cmp_ok($metric->($_) // -1, '==', $peer->{$_}, "$server: $_")
            for qw(requests sent received fails unavail active);
        cmp_ok($metric->('responses', qq(code="$_")) // -1, '==',
            $peer->{responses}{$_}, "$server: $_")
            for qw(1xx 2xx 3xx 4xx 5xx);
        cmp_ok($metric->($_) // 0, '==', $peer->{$_} // 0, "$server: $_")
            for qw(header_time response_time);
    }

    is($samples->{'nginxplus_upstream_zombies upstream="other"'}, 0,
        'zombies');
    is($samples->{'nginxplus_upstream_keepalives upstream="other"'}, 0,
        'keepalives');

    $process->end;
};


subtest 'what Prometheus thinks of our metrics' => sub {
    my $promtool = program('promtool') or plan skip_all => 'no promtool';
    my $r        = $t->get('/metrics', port => 'api');

    is($r->status, 200, 'metrics');
    like($r->header('content-type'), qr{^text/plain; version=0\.0\.4},
        'their type');

    # it reads its standard input

    my ($ending, $said) = output('promtool', '/bin/sh', '-c',
        'exec "$1" check metrics <"$2"', 'sh', $promtool,
        $t->write('metrics.txt', $r->body));

    is($said, '', 'no complaint');
    is($ending, 'exited with code 0', 'it ends well');

    # and the figures are those of the API

    my $samples = samples($r->body);

    for my $peer ($api->group('other')->get->{peers}->@*) {
        my $server = $peer->{server} =~ s/(["\\])/\\$1/gr;
        my $metric = sub ($name, @more) {
            return $samples->{ join ' ', "nginx_lrt_upstream_server_$name",
                sort @more, qq(server="$server"), 'upstream="other"' };
        };

        is($metric->('requests_total'), $peer->{requests},
            "$server: requests");
        is($metric->('responses_total', 'code="2xx"'),
            $peer->{responses}{'2xx'}, "$server: responses");
        is($metric->('response_duration_seconds_count'),
            $peer->{response_time_hist}{count} // 0, "$server: times");
        is($metric->('response_duration_seconds_bucket', 'le="+Inf"'),
            $peer->{response_time_hist}{count} // 0, "$server: buckets");
        is($metric->('state', qq(state="$peer->{state}")), 1,
            "$server: state");
    }
};

$t->done;
