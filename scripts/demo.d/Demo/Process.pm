package Demo::Process;

# A program that does not outlive the demo: it is ended when the demo ends, and
# by the kernel if the demo is killed.  A process group of its own keeps it from
# Ctrl-C, so that all is stopped in order.
#
#     my $process = Demo::Process->start(\@command, log => $path);
#     if (!$process->is_running) { ... $process->ending ... }
#     $process->end;
#
# With in => 1 and out => 1 there are pipes; without a log it says what it has to
# say where we do.

use v5.36;

use Fcntl ();
use POSIX qw(WNOHANG _exit);
use Time::HiRes qw(sleep time);

my ($guard) = grep { -x } '/usr/bin/setpriv', '/bin/setpriv';


sub start ($class, $command, %o) {
    my ($in, $out, $child_in, $child_out);

    pipe $child_in, $in   or die "pipe: $!\n" if $o{in};
    pipe $out, $child_out or die "pipe: $!\n" if $o{out};

    my $pid = fork // die "fork: $!\n";

    if ($pid == 0) {
        setpgrp 0, 0;
        $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP PIPE);

        open STDIN, '<&', $child_in // do {
            open my $null, '<', '/dev/null';
            $null;
        };
        open STDERR, '>>', $o{log} if $o{log};
        open STDOUT, '>&', $child_out // \*STDERR if $child_out || $o{log};

        my @command = @$command;
        unshift @command, $guard, '--pdeathsig', 'TERM' if $guard;
        { exec { $command[0] } @command }
        print STDERR "$command[0]: $!\n";
        _exit(127);
    }

    $in->autoflush if $in;
    return bless { pid => $pid, in => $in, out => $out }, $class;
}


sub pid ($self) { return $self->{pid} }


sub tell ($self, $line) {
    return print { $self->{in} } "$line\n";
}


# A line of its output, or nothing if there is none in time.

sub line ($self, $seconds) {
    my $end  = time + $seconds;
    my $text = '';

    while ($text !~ /\n/) {
        my $left = $end - time;
        vec(my $set = '', fileno $self->{out}, 1) = 1;

        return if $left <= 0;
        next   if select($set, undef, undef, $left) <= 0;
        return if !sysread $self->{out}, $text, 4096, length $text;
    }

    return $text;
}


sub is_running ($self) {
    return 0 if defined $self->{status};

    my $got = waitpid $self->{pid}, WNOHANG;
    return 1 if $got == 0;

    $self->{status} = $got == $self->{pid} ? $? : -1;
    return 0;
}


sub ending ($self) {
    my $status = $self->{status};
    return $status & 127 ? 'was ended by signal ' . ($status & 127)
        : 'ended with code ' . ($status >> 8);
}


# Asks it to end, and kills it if it does not.

sub end ($self, $seconds = 3) {
    my $last = time + $seconds;

    kill TERM => $self->{pid} if $self->is_running;
    sleep 0.01 while $self->is_running && time < $last;

    if ($self->is_running) {
        kill KILL => -$self->{pid};
        sleep 0.01 while $self->is_running;
    }

    return;
}


1;
