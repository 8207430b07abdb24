package LRT::TAP;

# Programs that speak TAP, such as those of t/unit.

use v5.36;

use Exporter qw(import);
use POSIX ();
use Test::More ();
use Time::HiRes qw(time);

our @EXPORT_OK = qw(run_tap);


# Runs a program and repeats its assertions as our own.  LRT_WRAPPER goes before
# it.

sub run_tap ($program) {
    my ($started, $planned, $seen, $failed, @output) = (time, -1, 0, 0);

    my $pid = open(my $tap, '-|') // die "cannot fork: $!\n";

    if ($pid == 0) {
        open STDERR, '>&', \*STDOUT;
        exec(split(' ', $ENV{LRT_WRAPPER} // ''), $program)
            or POSIX::_exit(127);
    }

    while (my $line = <$tap>) {
        chomp $line;
        push @output, $line;

        if ($line =~ /^(not )?ok \d+ - (.*)/) {
            $seen++;
            $failed += defined $1;
            Test::More::ok(!$1, $2);

        } elsif ($line =~ /^1\.\.(\d+)$/) {
            $planned = $1;

        } elsif ($line =~ /^# (.*)/) {
            Test::More::note($1);
        }
    }

    close $tap;
    my $status = $?;

    Test::More::ok($status == 0 || $failed && $status == 256, 'ended by itself')
        or Test::More::diag(sprintf 'exit status %d, signal %d',
            $status >> 8, $status & 127);
    Test::More::is($planned, $seen, 'ran to its end');

    if ($failed || $status || $planned != $seen) {
        Test::More::diag($_) for grep { !/^ok / } @output;
    }

    Test::More::note(sprintf '%.1f s', time - $started);
    return;
}


1;
