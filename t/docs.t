#!/usr/bin/perl

# The manual and the sources say the same: each example is of a kind that tests
# know, each configuration passes nginx -t, each message of the sources stands
# in docs/operations.md, each directive in docs/directives.md, each metric in
# docs/api.md, and links lead somewhere.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use Test::More;

use LRT;
use LRT::Manual;
use LRT::Service;

my $root    = "$FindBin::Bin/..";
my $sources = "$root/ngx_http_lrt_upstream_module";

my $t = LRT->new(name => 'docs', need => [qw(module proxy rewrite ssl map
    limit_conn limit_req auth_basic upstream_keepalive upstream_zone
    upstream_least_conn)]);

my $dir = $t->dir;

$t->skip_all('needs openssl')
    if system "openssl req -x509 -newkey rsa:2048 -nodes -days 2"
        . " -subj /CN=docs.test -keyout $dir/docs.key -out $dir/docs.pem"
        . " >$dir/openssl.out 2>&1";

mkdir "$dir/lrt" or die "$dir/lrt: $!\n";


sub slurp ($path) {
    local $/;
    open my $f, '<:encoding(UTF-8)', $path or die "$path: $!\n";
    return scalar <$f>;
}

my $manual = LRT::Manual->new;
my %manual = map { $_ => $manual->text($_) } $manual->files;

###############################################################################
# examples: each of them is of a kind that a test looks at, which are this one
# (nginx, log, syntax, yaml, parts of answers), t/examples.t (console, requests,
# state files) and t/examples_shell.t (other commands)

my %kinds = map { $_ => 0 } qw(nginx console shell json yaml log syntax text);

for my $file ($manual->files) {
    for my $example ($manual->examples($file)->@*) {
        my $name = "$file:$example->{line}";

        ok(defined $kinds{ $example->{kind} }, "$name: kind of the example")
            or diag($example->{text});
        $kinds{ $example->{kind} }++;

        unlike($example->{text}, qr/^(?:\$ |curl |nginx |scripts\/)/m,
            "$name: nobody runs it, and nobody can")
            if $example->{kind} eq 'text';
    }
}

is(join(' ', grep { !$kinds{$_} } sort keys %kinds), '',
    'there are examples of all kinds');

###############################################################################
# configurations

my $blocks = 0;

for my $file ($manual->files) {
    for my $block ($manual->configurations($file)) {
        my ($good, $said) = $t->test_config(
            http => LRT::Manual::here($block->{http}));

        ok($good, "$file:$block->{line}: nginx -t")
            or diag($block->{text}, $said);
        $blocks++;
    }
}

cmp_ok($blocks, '>', 20, 'configurations of the manual');

###############################################################################
# messages

# Functions that take a format, after so many other arguments.  Lines for
# debugging have another name.

my %functions = (
    ngx_log_error => 3, ngx_conf_log_error => 3, ngx_http_lrt_api_log => 2,
    ngx_http_lrt_checker_complain => 2, ngx_http_lrt_unsound => 0,
    ngx_http_lrt_disk_failed => 1);

my $string    = qr/"(?:[^"\\]|\\.)*"/;
my $functions = join '|', keys %functions;

# Formats of a source: strings, which macros may stand between.

sub formats ($code) {
    my @formats;

    $code =~ s/\\\n/\n/g;

    while ($code =~ /\b($functions)\(/g) {
        my $n = $functions{$1};

        push @formats, $1 if $code =~
            /\G\s*(?:[^,;"]+,\s*){$n}
               ((?:$string|\w+(?=\s*"))(?:\s*(?:$string|\b\w+\b))*)/gcx;
    }

    push @formats, $1 while $code =~ /\breturn\s+($string(?:\s*$string)*)/g;
    return @formats;
}

# A format matches a text of the manual that says something in place of each
# conversion.

sub pattern ($format) {
    my $pattern = '';

    for my $part ($format =~ /$string|\w+/g) {
        if ($part !~ s/^"(.*)"$/$1/s) {
            $pattern .= '.+';               # a macro
            next;
        }

        $part =~ s/\\(.)/$1/g;
        $pattern .= join '.*', map { quotemeta }
            split /%(?:\*s|\d*u?[LDidszpPVXx]+|%)/, $part, -1;
    }

    return $pattern;
}

# and the other way round: lines of a log are of the sources

my $formats = join '|', grep { /[a-z]/ } map { pattern($_) }
    map { formats(slurp($_)) } glob "$sources/ngx_http_lrt_*.c";
my $lines = 0;

for my $file ($manual->files) {
    for my $example ($manual->of_kind($file, 'log')) {
        my $line = $example->{text} =~ s/\s+/ /gr
            =~ s/^nginx: \[\w+\] //r =~ s/ $//r;

        like($line, qr/^(?:$formats)(?: in \S+:\d+|, client: .*)?$/,
            "$file:$example->{line}: of the sources");
        $lines++;
    }
}

cmp_ok($lines, '>=', 4, 'lines of the log');

my %documented = map { ($_ => 1) }
    map { s/\s+/ /gr } $manual{'docs/operations.md'} =~ /`([^`\n]+)`/g;

my $all   = join "\n", sort keys %documented;
my $found = 0;

for my $path (glob "$sources/ngx_http_lrt_*.c") {
    next if $path =~ /_test\.c$/;           # not in builds for use
    my ($file) = $path =~ m{([^/]+)$};

    for my $format (formats(slurp($path))) {
        my $pattern = pattern($format);

        next if $pattern !~ /[a-z]/;        # all of it comes from elsewhere
        $found++;
        ok($all =~ /^(?:$pattern)$/m,
            "$file: $format" =~ s/\s+/ /gr =~ s/#/ /gr);
    }
}

cmp_ok($found, '>', 110, 'messages of the sources');

my ($reasons) = slurp("$sources/lrt_check_reason.c")
    =~ /lrt_check_reasons\[\w+\] = \{(.*?)\};/s;

is(join(', ', grep { !$documented{$_} } $reasons =~ /= "([^"]+)"/g), '',
    'reasons of probes');

###############################################################################
# directives, variables, metrics, links

my %directives = map { ($_ => 1) }
    slurp("$sources/ngx_http_lrt_upstream_module.c")
        =~ /\{ ngx_string\("(\w+)"\),\s+NGX_HTTP_\w+_CONF/g,
    slurp("$sources/lrt_methods.h") =~ /^LRT_METHOD\((\w+),/mg;

delete $directives{lrt_test};

cmp_ok(keys %directives, '>', 10, 'directives');
is(join(' ', grep {
        $manual{'docs/directives.md'} !~ /^## $_\n\n    Syntax: +$_\b/m
    } sort keys %directives), '', 'directives of the manual');
is(join(' ', grep { !$directives{$_} }
    $manual{'docs/directives.md'} =~ /^    Syntax: +(\w+)/mg), '',
    'and no other ones');

is(join(' ', grep { $manual{'docs/directives.md'} !~ /^`\$$_`$/m }
    slurp("$sources/ngx_http_lrt_record.c")
        =~ /ngx_string\("(lrt_\w+)"\)/g), '', 'variables');

my $samples = slurp("$sources/ngx_http_lrt_metrics_samples.c")
    . slurp("$sources/ngx_http_lrt_metrics.c");
my %metrics = map { ($_ => 1) }
    (map { "nginx_lrt_upstream_server_$_" } $samples
        =~ /ngx_http_lrt_(?:server|stats)_metric\(\s*"(\w+)"/g),
    (map { "nginx_lrt_upstream_$_" } $samples
        =~ /ngx_http_lrt_group_metric\(\s*"(\w+)"/g),
    $samples =~ /(nginx_lrt_build_info)/g;

cmp_ok(keys %metrics, '>', 15, 'metrics');
is(join(' ', grep { $manual{'docs/api.md'} !~ /^\| `$_` \|/m }
    sort keys %metrics), '', 'metrics of the manual');

my $listed = join ' ', $manual{'docs/api.md'} =~ /^\| `(nginx_lrt_\w+)` \|/mg;

for my $file (sort keys %manual) {
    is(join(' ', grep { my $name = s/_(?:bucket|sum|count)$//r;
                        " $listed " !~ / \Q$name\E / }
        $manual{$file} =~ /\b(nginx_lrt_(?:upstream|build)_\w+)/g), '',
        "$file: no other metrics");
}

# a heading as it is linked to

sub anchors ($text) {
    my %anchors;

    $text =~ s/^```.*?^```$//msg;

    for ($text =~ /^#+ (.+)$/mg) {
        $anchors{ lc =~ s/[^\w\s-]//gr =~ s/\s/-/gr } = 1;
    }

    return \%anchors;
}

for my $file (sort keys %manual) {
    my @wrong;

    for my $link ($manual{$file} =~ /\]\(([^)\s]+)\)/g) {
        next if $link =~ /^https?:/;

        my ($path, $anchor) = split /#/, $link, 2;
        my $folder = $file =~ m{^(.*/)} ? $1 : '';
        my $to     = $path eq '' ? $file : "$folder$path";

        $to =~ s{^[^/]+/\.\./}{};

        push @wrong, $link if !-e "$root/$to"
            || $anchor && !anchors($manual{$to} // '')->{$anchor};
    }

    is("@wrong", '', "$file: links");
}

###############################################################################
# grammars of directives: what stands in brackets is a parameter of the sources

my $all_sources = join '', map { slurp($_) } glob "$sources/*.[ch]";

for my $example ($manual->of_kind('docs/directives.md', 'syntax')) {
    my ($directive, $grammar) = $example->{text}
        =~ /^Syntax: +(\w+)(.*?)(?:;\n|\{ )/s;
    my @words = $grammar =~ /(?<![\w=|])(\w+)=/g;

    is(join(' ', grep { $all_sources !~ /"$_\b/ } @words), '',
        "docs/directives.md:$example->{line}: parameters of $directive");
}

###############################################################################
# parts of answers

my $openapi = slurp("$root/docs/openapi.yaml");

for my $file (grep { $_ ne 'docs/state.md' } $manual->files) {
    for my $example ($manual->of_kind($file, 'json')) {
        my $name = "$file:$example->{line}";
        my $text = $example->{text} =~ s/\.\.\., |, \.\.\.//gr;

        ok(eval { JSON::PP::decode_json($text =~ /^\{/ ? $text : "{$text}") },
            "$name: it is JSON") or diag($@);
        is(join(' ', grep { $openapi !~ /^ +"?$_"?:/m } $text =~ /"(\w+)":/g),
            '', "$name: members of the API");
    }
}

###############################################################################

subtest 'rules of alerts' => sub {
    my $promtool = LRT::Service::program('promtool')
        or plan skip_all => 'needs the Debian package prometheus';

    for my $file ($manual->files) {
        for my $example ($manual->of_kind($file, 'yaml')) {
            my $rules = $t->write('rules.yml', $example->{text});

            is(system("$promtool check rules $rules >$dir/promtool.out 2>&1"),
                0, "$file:$example->{line}: promtool takes them")
                or diag(slurp("$dir/promtool.out"));
        }
    }
};

$t->done;
