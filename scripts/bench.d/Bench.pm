package Bench;

# What the benches share: options, and the processor's time of a process.

use v5.36;

use File::Basename qw(basename);
use Test::More ();

# the helper of the tests ends with assertions, which are no part of a table

my $quiet = '';
Test::More->builder->output(\$quiet);


# --NAME N for each name => [N if not given, what it is].

sub options (%known) {
    my $usage = 'usage: scripts/bench ' . basename($0)
        . join('', map { " [--$_ N]" } sort keys %known) . "\n\n"
        . join('', map { sprintf "  --%-12s%s, %s if not given\n", $_,
            reverse $known{$_}->@* } sort keys %known);
    my %o = map { $_ => $known{$_}[0] } keys %known;

    while (@ARGV) {
        my $name = shift @ARGV;
        print($usage), exit 0 if $name =~ /^(-h|--help)$/;

        $name =~ s/^--//;
        die $usage unless $known{$name} && @ARGV && $ARGV[0] =~ /^[1-9]\d*$/;
        $o{$name} = shift @ARGV;
    }

    return %o;
}


# Milliseconds of processor that a process has used, and for which it had to
# wait since others used them.

sub processor ($pid) {
    open my $file, '<', "/proc/$pid/schedstat" or die "schedstat: $!\n";
    return map { $_ / 1e6 } (split ' ', <$file>)[0, 1];
}

# The same for all threads of some processes.

sub processors (@pids) {
    my @sums = (0, 0);

    for my $file (map { glob "/proc/$_/task/*" } @pids) {
        my @of = eval { processor($file =~ s{^/proc/}{}r) } or next;
        $sums[$_] += $of[$_] for 0, 1;
    }

    return @sums;
}

1;
