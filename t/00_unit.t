#!/usr/bin/perl

# Unit tests of the pure files, in C, with sanitizers: each t/unit/test_*.c
# becomes a program that speaks TAP and is one subtest here.  And a method is
# added to a copy of the pure files, in the way a developer would do it.
#
# CC is the compiler, LRT_QUICK=1 does a tenth of the draws, LRT_SEED=N repeats
# a run, LRT_WRAPPER goes before the programs, which have no sanitizers then.
# What is compiled is kept in build/unit under a name made from its
# sources, so runs side by side do not disturb each other.

use strict;
use warnings;

use Digest::MD5 qw(md5_hex);
use File::Basename qw(basename);
use File::Copy qw(copy);
use File::Path qw(make_path remove_tree);
use File::Temp qw(tempdir);
use FindBin;
use lib "$FindBin::Bin/lib";
use POSIX ();
use Test::More;

use LRT::TAP qw(run_tap);


my $root = "$FindBin::Bin/..";
my $pure = "$root/ngx_http_lrt_upstream_module";
my $unit = "$FindBin::Bin/unit";

my $compiler = $ENV{CC} || 'cc';
my @compiler = split ' ', $compiler;
my @flags = qw(-std=gnu11 -g -O1 -Wall -Wextra -Werror -DLRT_TEST=1);
my @sanitizers = ('-fsanitize=address,undefined',
                  '-fno-sanitize-recover=all');

our $quiet = 0;

my $scratch = tempdir('lrt-unit-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $store = store();

# leaks are not looked for: tests end where they fail, and the pure files
# allocate nothing

local $ENV{ASAN_OPTIONS} = join ':', $ENV{ASAN_OPTIONS} || (),
                                     'detect_leaks=0';
local $ENV{UBSAN_OPTIONS} = join ':', $ENV{UBSAN_OPTIONS} || (),
                                      'print_stacktrace=1';

my $version = `$compiler --version 2>&1`;

if ($? != 0) {
	plan skip_all => "no C compiler \"$compiler\", name one in CC";
}

if ($ENV{LRT_WRAPPER}) {
	note("run by $ENV{LRT_WRAPPER}");

} elsif (works(@sanitizers)) {
	push @flags, @sanitizers;

} else {
	diag("$compiler has no address and undefined behaviour sanitizers: "
	     . "tests run without them");
}

my @tests = sort glob "$unit/test_*.c";
my @helpers = grep { basename($_) !~ /^test_/ } sort glob "$unit/*.c";

plan tests => @tests + 1;

my $copy = toy();
my @sources = (sort(glob "$pure/lrt_*.c"), @helpers);
my @copies = (sort(glob "$copy/lrt_*.c"), @helpers);

# two at a time, and then everything is there, or fails for all to see

in_parallel(sub { compile($pure, $_[0]) }, @sources);

my @objects = map { compile($pure, $_) } @sources;

in_parallel(sub { ref $_[0] ? compile($copy, ${$_[0]})
                            : link_program($pure, $_[0], @objects) },
            @tests, map { \$_ } @copies);

for my $test (@tests) {
	subtest basename($test, '.c') => sub {
		run_tap(link_program($pure, $test, @objects));
	};
}

subtest 'a new method is a file and a row' => sub {
	run_tap(link_program($copy, "$unit/toy/test_toy.c",
	                     map { compile($copy, $_) } @copies));
};


# the pure files with one method more

sub toy {
	my $dir = "$scratch/toy";

	make_path($dir);

	for my $file (glob("$pure/lrt_*.[ch]"), "$unit/toy/lrt_toy.c") {
		copy($file, $dir) or die "cannot copy $file: $!\n";
	}

	open my $fh, '>>', "$dir/lrt_methods.h" or die "$dir: $!\n";
	print $fh "LRT_METHOD(toy_oldest, lrt_toy)\n";
	close $fh or die "$dir: $!\n";

	return $dir;
}


# what one of them cannot do the caller will try again, and tell

sub in_parallel {
	my ($job, @list) = @_;

	my @children;

	for my $half (0, 1) {
		my $pid = fork;

		last unless defined $pid;

		if ($pid) {
			push @children, $pid;
			next;
		}

		for my $i (grep { $_ % 2 == $half } 0 .. $#list) {
			open STDERR, '>', '/dev/null';
			eval { local $quiet = 1; $job->($list[$i]); 1 } or last;
		}

		POSIX::_exit(0);
	}

	waitpid $_, 0 for @children;
}


# an object file for a source file, with headers of the given directory

sub compile {
	my ($include, $source) = @_;

	return made(basename($source, '.c'), '.o', [$source, headers($include)],
	            @flags, "-I$include", "-I$unit", '-c', $source);
}


sub link_program {
	my ($include, $source, @with) = @_;

	# a test may include a file of the pure ones

	return made(basename($source, '.c'), '',
	            [$source, headers($include), glob("$include/lrt_*.c"), @with],
	            @flags, "-I$include", "-I$unit", $source, @with);
}


sub headers {
	my ($include) = @_;

	return (glob("$include/lrt_*.h"), glob("$unit/*.h"));
}


# what the command makes of the files; kept as long as they do not change

sub made {
	my ($name, $suffix, $files, @command) = @_;

	my $sum = md5_hex(join "\0", $version, @flags,
	                  map { basename($_), content($_) } @$files);
	my $file = "$store/$name-$sum$suffix";

	if (-e $file) {
		utime undef, undef, $file;
		return $file;
	}

	my $new = "$scratch/$name.$$" . $suffix;

	if (run_quiet(@compiler, @command, '-o', $new) != 0) {
		die "$compiler failed\n" if $quiet;
		BAIL_OUT("$compiler failed on $name");
	}

	# under its name there is either nothing or the whole of it

	copy($new, "$file.$$") or die "cannot write $file: $!\n";
	chmod 0755, "$file.$$";
	rename "$file.$$", $file or die "cannot write $file: $!\n";

	return $file;
}


sub works {
	my (@try) = @_;

	open my $fh, '>', "$scratch/probe.c" or die "$scratch: $!\n";
	print $fh "int main(void) { return 0; }\n";
	close $fh or die "$scratch: $!\n";

	return system("$compiler @try $scratch/probe.c -o $scratch/probe "
	              . ">/dev/null 2>&1 && $scratch/probe") == 0;
}


sub run_quiet {
	my (@command) = @_;

	open my $pipe, '-|', @command or return -1;

	while (my $line = <$pipe>) {
		diag($line);
	}

	close $pipe;

	return $?;
}


# build/unit, or a temporary directory where nothing may be written

sub store {
	my $dir = "$root/build/unit";

	eval { make_path($dir) };

	if (-d $dir && -w $dir) {

		# what nobody has used for a day will not be used again

		unlink grep { -M $_ > 1 } glob "$dir/*";

		return $dir;
	}

	return $scratch;
}


sub content {
	my ($file) = @_;

	local $/;

	open my $fh, '<:raw', $file or die "$file: $!\n";

	return scalar <$fh>;
}
