#!/usr/bin/perl

# What the manual shows is so: its requests run against the configuration that
# stands before them, with the status that they should have, and answers have
# the members that are shown; its state files are accepted and in force.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use Test::More;

use LRT;
use LRT::Manual;
use LRT::Service;

my $t = LRT->new(name => 'examples', need => [qw(module proxy)]);

for my $program (qw(curl jq)) {
    $t->skip_all("needs $program") unless LRT::Service::program($program);
}

my $json   = JSON::PP->new->canonical;
my $manual = LRT::Manual->new;
my $dir    = $t->dir;
my @ports  = (8081, 8082, 8083, 8089);
my $runs   = 0;

my $requests = q{
    server {
        listen 127.0.0.1:%%PORT_http%%;
        location / { proxy_pass http://backend; }
    }
};

# as /api of "In short"

my $api = q{
    server {
        listen 127.0.0.1:%%PORT_listen8080%%;
        location /api { lrt_api write=on; }
    }
};

$t->backend("b$_") for @ports;

for my $folder (qw(lrt bin)) {
    mkdir "$dir/$folder" or die "$dir/$folder: $!\n";
    chmod 0777, "$dir/$folder";
}

# the status of the last one of a command

$t->write('bin/curl', "#!/bin/sh\nexec " . LRT::Service::program('curl')
    . " --max-time 20 -D $dir/headers \"\$@\"\n");

# what Consul gives to a handler, once

$t->write('bin/consul', q{#!/bin/sh
[ "$*" = "watch -type keyprefix -prefix upstreams/app/ sh -c $8" ] || exit 1
echo '[{"Key":"upstreams/app/%%ADDRESS_b8082%%","Flags":0,"Value":"e30="},
       {"Key":"upstreams/app/%%ADDRESS_b8083%%","Flags":0,"Value":"e30="}]' |
    sh -c "$8"
});

chmod 0755, glob "$dir/bin/*";

###############################################################################

# each block of it begins anew

my $block = '';

for my $shown (requests('README.md')) {
    start('README.md', 0) if $shown->{block} ne $block;
    $block = $shown->{block};
    is_as_shown('README.md', $shown);
}

# the manual tells what it did in between, but not how

start('docs/api.md', 0, "upstream stock { server 127.0.0.1:1; } $requests");

for my $shown (requests('docs/api.md')) {
    is_as_shown('docs/api.md', $shown);

    is_as_shown('docs/api.md', { %$shown, answer => '',
        command => $shown->{command} =~ s/\?dry_run=1//r })
        if $shown->{command} =~ /dry_run=1/;
}

for my $file (qw(docs/migrating.md docs/security.md)) {
    for my $shown (requests($file)) {
        my @before = grep { $_->{line} < $shown->{line} }
            $manual->configurations($file);
        my $group = $before[-1]{http} =~ /\bupstream\b/ ? ''
            : 'upstream backend { least_conn_ext; server %%ADDRESS_b8081%%; }';

        start($file, $#before, $group);
        is_as_shown($file, $shown);

        is_deeply([map { $_->{server} } api('upstreams/app/servers')->@*],
            [map { $t->address("b$_") } 8082, 8083],
            "$file:$shown->{line}: the servers of Consul")
            if $shown->{command} =~ /^consul/;
    }
}

###############################################################################
# files

my $path  = "$dir/lrt/backend.json";
my @files = map { { %$_, text => here($_->{text}) } }
    $manual->of_kind('docs/state.md', 'json');
my ($learned) = grep { $_->{text} =~ /"written_ms"/ } @files;
my ($written) = @files = grep { $_ != $learned } @files;
my ($log)     = $manual->of_kind('docs/state.md', 'log');

for my $file (@files) {
    my $name = "docs/state.md:$file->{line}";
    my $mark;

    start('docs/state.md', 0, "$requests $api");
    ok($t->wait_for(sub { -e $path }), "$name: nginx writes one");
    $mark = $t->log_mark;
    edit($file->{text});
    ok($t->wait_for(sub { $t->grep_log(qr/"$path".* applied\b/, $mark) }),
        "$name: it is applied");
    is_in_force($file, 'an edit');

    $t->stop;
    unlink glob "$path*";
    edit($file->{text});
    ok(($t->test_config)[0], "$name: nginx -t");
    $t->start;
    is_in_force($file, 'a start');
}

{
    my $name = "docs/state.md:$written->{line}";

    start('docs/state.md', 0, "$requests $api", 'backend.json' =>
        $written->{text});

    for my $weight (9, 2) {
        is($t->request(PATCH => '/api/9/http/upstreams/backend/servers/0',
            port => 'listen8080', body => qq({"weight":$weight}))->status, 200,
            "$name: weight $weight");
        ok($t->wait_for(sub { slurp($path) =~ /"id":0,.*"weight":$weight,/ }),
            "$name: saved");
    }

    is(slurp($path), $written->{text} =~ s/\s*\z/\n/r,
        "$name: that is how it is written");

    my $now = int(1000 * time);

    start('docs/state.md', 0, "$requests $api",
        'backend.json' => $written->{text}, 'backend.json.learned' =>
        $learned->{text} =~ s/"written_ms":\K\d+/$now/r);

    $name = "docs/state.md:$learned->{line}";
    is(scalar $t->grep_log(qr/learned" tells what was learned of 2 servers/), 1,
        "$name: nginx takes it");

    my %peers = map { ($_->{server} => $_->{lrt}) }
        api('upstreams/backend')->{peers}->@*;

    for my $server ($json->decode($learned->{text})->{servers}->@*) {
        my $lrt = $peers{ $server->{server} };

        cmp_ok(abs($lrt->{estimate_us} - $server->{estimate_us}), '<=', 1,
            "$name: an estimate");
        cmp_ok($lrt->{estimate_age_ms}, '>=', $server->{age_ms},
            "$name: its age");
    }
}

{
    my $name = "docs/state.md:$log->{line}";
    my $said = here($log->{text}) =~ s/\s+/ /gr =~ s/ $//r;
    my ($line, $server) = $said =~ /: line (\d+): server (\d+): /;
    my ($bad, $why) = $said =~ /: (line .*"(.*?)":.*)/ ? ($2, $1) : ();

    start('docs/state.md', 0, "$requests $api");
    ok($t->wait_for(sub { -e $path }), "$name: nginx writes one");

    for my $shown (requests('docs/state.md')) {
        my $mark = $t->log_mark;

        if ($shown->{line} < $log->{line}) {
            is_as_shown('docs/state.md', $shown);
            ok($t->wait_for(sub { $t->grep_log(qr/ applied\b/, $mark) }),
                'docs/state.md: the edit is applied');
            next;
        }

        # the server that is named, in the line that is named

        edit('{ "servers": [' . join(', ', map { qq("127.0.0.1:$_") }
            2 .. $server) . ',' . "\n" x ($line - 1) . qq("$bad"]}));
        ok($t->wait_for(sub { $t->grep_log(qr/\Q$said\E/, $mark) }),
            "$name: what the log says");
        is_as_shown('docs/state.md', $shown);
        is(api('upstreams/backend?fields=lrt')->{lrt}{state}{error}, $why,
            "$name: and the API");
        is(scalar @{ api('upstreams/backend/servers') }, 2,
            "$name: what was in force stays in force");
    }
}

cmp_ok($runs, '>', 38, 'commands of the manual');

$t->stop;
$t->done;

###############################################################################

# Commands that are requests: t/examples_shell.t has the other ones.

sub requests ($file) {
    return grep { LRT::Manual::is_request($_) } $manual->commands($file);
}


# nginx with a configuration of a file, as it is there and nowhere else, and
# with files in its folder.

sub start ($file, $number, $more = '', %files) {
    my $http = ($manual->configurations($file))[$number]{http};

    $t->stop if $t->master_pid;
    unlink glob "$dir/lrt/*";

    $http =~ s/\bserver\s+\K127\.0\.0\.1:(80\d\d)/%%ADDRESS_b$1%%/g;
    $t->conf(http => LRT::Manual::here($http) . $more);
    $t->write("lrt/$_", $files{$_}) for keys %files;
    $t->start;
}


# As the manual tells editors.

sub edit ($text) {
    $t->write('lrt/edited', $text);
    rename "$dir/lrt/edited", $path or die "$path: $!\n";
}


sub api ($uri) {
    return $json->decode($t->get("/api/9/http/$uri", port => 'listen8080')
        ->body);
}


# What a state file has is what the API says, be it in the short form.

sub is_in_force ($file, $when) {
    my $name = "docs/state.md:$file->{line}: after $when";
    my $want = $json->decode($file->{text});
    my $lrt  = api('upstreams/backend?fields=lrt')->{lrt};
    my $have = { %$lrt, servers => api('upstreams/backend/servers') };

    for my $server ($want->{servers}->@*) {
        $server = { server => $server } unless ref $server;
        $server->{server} //= delete($server->{host}) . ':'
            . delete $server->{port};
        delete $server->{id} if $when eq 'an edit';     # it has one
    }

    $want->{method} //= 'least_time header'
        if (delete $want->{algorithm} // '') eq 'least_time';

    if (defined(my $uri = delete $want->{health_check_url})) {
        $want->{health_checks} = [{ uri => $uri,
            interval => delete($want->{health_check_interval}) . 's' }];
    }

    delete @$want{qw(version upstream next_id)};    # the group has none
    is_deeply(part($have, $want), $want, $name)
        or diag($json->encode($have));
}


# Of data what other data has: all of lists, some members of objects.

sub part ($data, $of) {
    return ref $of eq 'HASH' && ref $data eq 'HASH'
        ? { map { ($_ => part($data->{$_}, $of->{$_})) } keys %$of }
        : ref $of eq 'ARRAY' && ref $data eq 'ARRAY'
        ? [map { part($data->[$_], $of->[$_]) } 0 .. $#$data] : $data;
}


sub here ($text) {
    my $port = $t->port('listen8080');

    $text =~ s/\b(?:localhost|plus):8080\b/localhost:$port/g;
    $text =~ s{127\.0\.0\.1:(80\d\d)}{$t->address("b$1")}ge;
    $text =~ s{"port":(80\d\d)}{'"port":' . $t->port("b$1")}ge;
    $text =~ s{/run/nginx-api/}{$dir/}g;
    $text =~ s{/var/lib/nginx/lrt/}{$dir/lrt/}g;
    return $text;
}


sub is_as_shown ($file, $shown) {
    my $name    = "$file:$shown->{line}";
    my $answer  = here($shown->{answer});
    my $command = here($shown->{command});

    $t->write('command', "PATH=$dir/bin:\$PATH\ncd $dir/lrt\n$command\n");
    unlink "$dir/headers";

    my $got  = qx{sh $dir/command 2>$dir/errors};
    my $exit = $? >> 8;
    my ($want) = $answer =~ /^curl: \((\d+)\)/;

    $runs++;
    is($exit, $want // 0, "$name: it runs")
        or diag("$command\n", slurp("$dir/errors"));
    return if defined $want || $command =~ /^jq/;

    my ($status) = (slurp("$dir/headers") // '') =~ /^HTTP\/\S+ (\d+)/m;
    my ($error)  = $answer =~ /"error":\{"status":(\d+)/;

    $error //= 503 if $answer =~ /"ready":false/;
    defined $error ? is($status, $error, "$name: its status")
        : like($status, qr/^20[0124]$/, "$name: its status")
        or diag("$command\n$got");

    return if $answer eq '' || $answer =~ /\.\.\.[\],\}]/;
    is(shape($got), shape($answer), "$name: its answer")
        or diag("$command\n$got");
}


# Of JSON the members, of headers the names, of a text the first line, without
# its numbers.

sub shape ($text) {
    my $data = eval { $json->decode($text =~ s/ after [\d.]+ s$//r) };

    return $json->encode(members($data)) if ref $data;

    return join ' ', sort grep { /^(?:etag|x-lrt-index|cache-control)$/ }
        map { /^([\w-]+):/ ? lc $1 : () } split /\n/, $text
        if $text =~ /^HTTP/;

    return ($text =~ /^(.*)/)[0] =~ s/\d+/0/gr;
}


# Lists may be longer or shorter.

sub members ($data) {
    return ref $data eq 'HASH'
        ? { map { $_ => members($data->{$_}) } keys %$data }
        : ref $data eq 'ARRAY' ? [map { members($_) } @$data[0 .. 0]] : '';
}


sub slurp ($path) {
    open my $f, '<', $path or return;
    local $/;
    return scalar <$f>;
}
