package LRT::Process;

# The processes that a test starts, and that none of them outlives it.
#
#     my $process = LRT::Process->spawn('lrt echo', sub ($channel) {
#         while (my ($word) = LRT::Process::receive($channel)) {
#             LRT::Process::send_to($channel, uc $word);
#         }
#     });
#     my ($answer) = $process->ask('hello');
#     $process->end;
#
#     my $nginx = LRT::Process->run_program(\@command, 'output.txt');
#     my $pid   = $nginx->pid;       # also the id of its process group
#
# Each process gets a process group of its own.  A guardian, one per test,
# knows the groups and the temporary directories; when the test ends, in
# whatever way, SIGKILL included, its pipe to the guardian closes and the
# guardian kills what is left and removes the directories.

use v5.36;

use File::Path qw(remove_tree);
use LRT::Net qw(timeout);
use POSIX qw(WNOHANG _exit);
use Socket qw(AF_UNIX PF_UNSPEC SOCK_STREAM);
use Storable qw(freeze thaw);
use Time::HiRes qw(sleep time);

my ($guardian, $guard_pipe);        # its pid; what is written here, it knows
my %started;                        # pid => LRT::Process that has not ended
my %channel;                        # pid => our end of its channel
my $owner = $$;


# Runs $main->($channel) in a new process; the channel carries lists of
# plain data, see ask(), receive() and send_to().

sub spawn ($class, $title, $main) {
    socketpair my $ours, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC
        or die "socketpair: $!\n";

    my $pid = _fork(sub {
        close $ours;
        $0 = $title;
        $main->($theirs);
    });

    $channel{$pid} = $ours;
    return $started{$pid} = bless { pid => $pid, title => $title }, $class;
}


# Runs a program, its output in a file.

sub run_program ($class, $command, $output) {
    my $pid = _fork(sub {
        open STDOUT, '>>', $output   or die "$output: $!\n";
        open STDERR, '>&', \*STDOUT  or die "stderr: $!\n";
        exec { $command->[0] } @$command or die "$command->[0]: $!\n";
    });

    return $started{$pid} =
        bless { pid => $pid, title => $command->[0] }, $class;
}


# Takes over a daemon that leads a process group.

sub adopt ($class, $pid) {
    _tell_guardian("+$pid");
    return $started{$pid} =
        bless { pid => $pid, title => title_of($pid), adopted => 1 }, $class;
}


sub _fork ($main) {
    _start_guardian();

    my $pid = fork // die "fork: $!\n";

    if ($pid == 0) {
        setpgrp 0, 0;
        $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP PIPE);
        close $guard_pipe;
        close $_ for values %channel;
        open STDIN,  '<', '/dev/null';
        open STDOUT, '>', '/dev/null';

        eval { $main->(); 1 } or print STDERR "# process $$: $@";
        _exit($@ ? 1 : 0);
    }

    setpgrp $pid, $pid;
    _tell_guardian("+$pid");
    return $pid;
}


sub pid ($self) { return $self->{pid} }


# True while the process itself runs; its exit status is kept.

sub is_running ($self) {
    return 0 if defined $self->{status};
    return scalar grep { $_->{pid} == $self->{pid} } $self->group
        if $self->{adopted};

    my $got = waitpid $self->{pid}, WNOHANG;
    return 1 if $got == 0;

    $self->{status} = $got == $self->{pid} ? $? : -1;
    return 0;
}


# How the process ended, in words.

sub ending ($self) {
    my $status = $self->{status} // return 'did not exit as a child';

    return 'exited on signal ' . ($status & 127) if $status & 127;
    return 'exited with code ' . ($status >> 8);
}


# The living processes of the group: hashes of pid, parent, state, title.

sub group ($self) {
    return grep { $_->{group} == $self->{pid} && $_->{state} !~ /[ZX]/ }
        all_processes();
}


# Ends the whole group by force, if it still lives.

sub end ($self) {
    my $pid = $self->{pid};

    return unless delete $started{$pid};
    kill KILL => -$pid;
    sleep 0.002 while $self->is_running;
    delete $channel{$pid};
    _tell_guardian("-$pid");
}


# Sends a message and returns the answer; dies if none comes in time.

sub ask ($self, @message) {
    my $channel = $channel{ $self->{pid} }
        or die "$self->{title} has ended\n";

    send_to($channel, @message);
    return $self->next_answer(10);
}


sub next_answer ($self, $seconds) {
    my $channel = $channel{ $self->{pid} };

    vec(my $set = '', fileno $channel, 1) = 1;
    select($set, undef, undef, timeout($seconds)) > 0
        or die "$self->{title} does not answer\n";

    my ($ok, @answer) = receive($channel)
        or die "$self->{title} has ended\n";
    $ok or die "$self->{title}: $answer[0]";

    return wantarray ? @answer : $answer[0];
}


# In the process: answers a message with what $handler->(@message) returns.
# Returns false when the test has gone.

sub answer ($channel, $handler) {
    my @message = receive($channel) or return 0;
    my @result  = eval { (1, $handler->(@message)) };

    send_to($channel, @result ? @result : (0, $@));
    return 1;
}


sub send_to ($channel, @message) {
    my $frame = pack 'N/a*', freeze(\@message);

    while (length $frame) {
        my $n = syswrite $channel, $frame;
        return unless defined $n || $!{EINTR};
        substr($frame, 0, $n // 0) = '';
    }
}


sub receive ($channel) {
    my $length = _read_exactly($channel, 4) // return;
    my $frame  = _read_exactly($channel, unpack 'N', $length) // return;
    return @{ thaw $frame };
}


sub _read_exactly ($channel, $length) {
    my $bytes = '';

    while (length $bytes < $length) {
        my $n = sysread $channel, $bytes, $length - length $bytes,
            length $bytes;
        return if defined $n ? $n == 0 : !$!{EINTR};
    }

    return $bytes;
}


# All processes of the machine, from /proc.

sub all_processes () {
    opendir my $proc, '/proc' or die "/proc: $!\n";
    my @found;

    for my $pid (grep { /^\d+$/ } readdir $proc) {
        my $stat = _content("/proc/$pid/stat") // next;
        my ($state, $parent, $group) =
            $stat =~ /^\d+ \(.*\) (\S) (\d+) (\d+)/s or next;

        push @found, {
            pid => $pid, state => $state, parent => $parent, group => $group,
        };
    }

    return @found;
}


sub title_of ($pid) {
    my $title = _content("/proc/$pid/cmdline") // return '';
    $title =~ tr/\0/ /;
    $title =~ s/\s+$//;
    return $title;
}


sub _content ($path) {
    local $/;
    open my $file, '<', $path or return;
    return scalar <$file>;
}


# The guardian also removes directories at the end; with LRT_LEAVE=1 it
# leaves them.

sub remove_at_end ($directory) {
    _start_guardian();
    _tell_guardian("d$directory");
}


sub _tell_guardian ($line) {
    return unless $$ == $owner && $guard_pipe;
    local $SIG{PIPE} = 'IGNORE';
    syswrite $guard_pipe, "$line\n";
}


sub _start_guardian () {
    return if $guardian;

    pipe my $lines, $guard_pipe or die "pipe: $!\n";
    $guardian = fork // die "fork: $!\n";
    return if $guardian;

    setpgrp 0, 0;
    $SIG{$_} = 'IGNORE' for qw(INT TERM HUP PIPE QUIT);
    $0 = 'lrt guardian';
    close $guard_pipe;
    open STDIN,  '<', '/dev/null';
    open STDOUT, '>', '/dev/null';
    open STDERR, '>', '/dev/null';

    my (%groups, @directories);

    while (my $line = <$lines>) {
        chomp $line;
        my $what = substr $line, 0, 1, '';
        if    ($what eq '+') { $groups{$line} = 1 }
        elsif ($what eq '-') { delete $groups{$line} }
        else                 { push @directories, $line }
    }

    kill KILL => -$_ for keys %groups;
    sleep 0.05 if %groups;
    remove_tree(@directories) if @directories && !$ENV{LRT_LEAVE};
    _exit(0);
}


END {
    if ($$ == $owner && $guardian) {
        my $status = $?;
        $_->end for values %started;
        close $guard_pipe;
        waitpid $guardian, 0;
        $? = $status;
    }
}


1;
