#!/usr/bin/perl

# What the manual shows is so: its commands run against the configuration that
# stands before them, with the status that they should have, and answers have
# the members that are shown.

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

$t->backend("b$_") for @ports;

for my $folder (qw(lrt bin)) {
    mkdir "$dir/$folder" or die "$dir/$folder: $!\n";
    chmod 0777, "$dir/$folder";
}

# the status of the last one of a command

$t->write('bin/curl', "#!/bin/sh\nexec " . LRT::Service::program('curl')
    . " --max-time 20 -D $dir/headers \"\$@\"\n");
chmod 0755, "$dir/bin/curl";

###############################################################################

# each block of it begins anew

my $block = '';

for my $shown ($manual->commands('README.md')) {
    start('README.md', 0) if $shown->{block} ne $block;
    $block = $shown->{block};
    is_as_shown('README.md', $shown);
}

# the manual tells what it did in between, but not how

start('docs/api.md', 0, "upstream stock { server 127.0.0.1:1; } $requests");

for my $shown ($manual->commands('docs/api.md')) {
    is_as_shown('docs/api.md', $shown);

    is_as_shown('docs/api.md', { %$shown, answer => '',
        command => $shown->{command} =~ s/\?dry_run=1//r })
        if $shown->{command} =~ /dry_run=1/;
}

for my $file (qw(docs/migrating.md docs/security.md)) {
    for my $shown ($manual->commands($file)) {
        my @before = grep { $_->{line} < $shown->{line} }
            $manual->configurations($file);

        start($file, $#before);
        is_as_shown($file, $shown);
    }
}

start('docs/state.md', 0, $requests);

for my $shown ($manual->commands('docs/state.md')) {
    my $mark = $t->log_mark;

    ok($t->wait_for(sub { -e "$dir/lrt/backend.json" }),
        'docs/state.md: there is a file');
    is_as_shown('docs/state.md', $shown);
    ok($t->wait_for(sub { $t->grep_log(qr/ applied\b/, $mark) }),
        'docs/state.md: the edit is applied');
}

cmp_ok($runs, '>', 35, 'commands of the manual');

$t->stop;
$t->done;

###############################################################################

# nginx with a configuration of a file, as it is there and nowhere else

sub start ($file, $number, $more = '') {
    my $http = ($manual->configurations($file))[$number]{http};

    $t->stop if $t->master_pid;
    unlink glob "$dir/lrt/*";

    $http =~ s/\bserver\s+\K127\.0\.0\.1:(80\d\d)/%%ADDRESS_b$1%%/g;
    $t->conf(http => LRT::Manual::here($http) . $more);
    $t->start;
}


sub here ($text) {
    my $port = $t->port('listen8080');

    $text =~ s/\b(?:localhost|plus):8080\b/localhost:$port/g;
    $text =~ s{127\.0\.0\.1:(80\d\d)}{$t->address("b$1")}ge;
    $text =~ s{/run/nginx-api/}{$dir/}g;
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
