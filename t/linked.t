#!/usr/bin/perl

# Programs of t/linked: they are linked with the objects of the nginx that is
# tested, and call what reads and writes JSON without a running one.  Each
# t/linked/test_*.c speaks TAP and is one subtest here; its first line names the
# files of the module that get sanitizers.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use LRT;
use LRT::Program;
use LRT::TAP qw(run_tap);

my $t = LRT->new(name => 'linked');

my $root   = "$FindBin::Bin/..";
my $module = "$root/ngx_http_lrt_upstream_module";
my $build  = LRT::Program->find->path =~ s{/objs/[^/]*$}{}r;

$t->skip_all('needs a build of nginx with the module in it')
    unless -f "$build/objs/Makefile"
    && -d "$build/objs/addon/ngx_http_lrt_upstream_module"
    && !-f "$build/objs/ngx_http_lrt_upstream_module.so";

# a build with sanitizers has them already, and under a wrapper they are not
# wanted

my $flags = '-g -Wall -Wextra -Werror';
$flags .= ' -fsanitize=address,undefined -fno-sanitize-recover=all'
    unless $ENV{LRT_WRAPPER} || `grep ^CFLAGS $build/objs/Makefile` =~ /-fsanit/;

for my $source (sort glob "$FindBin::Bin/linked/test_*.c") {
    my ($name)  = $source =~ m{(\w+)\.c$};
    my $program = $t->dir . "/$name";
    my @watched = map { "$module/$_" } watched($source);

    subtest $name => sub {
        my $said = `$root/scripts/link --flags '$flags' $build $program \\
            $source @watched 2>&1`;
        is($?, 0, 'linked') or return diag($said);
        run_tap($program);
    };
}

$t->done;


sub watched ($source) {
    open my $file, '<', $source or die "$source: $!\n";
    my ($names) = <$file> =~ m{^/\* sources: (.*) \*/$}
        or die "$source names no sources\n";
    return split ' ', $names;
}
