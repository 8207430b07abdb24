package LRT::Nginx;

# The nginx of a test: start, stop, reload, and its processes.  This is a
# part of LRT, which inherits from it: call these methods on an LRT.

use v5.36;

use Config;
use LRT::Log;
use LRT::Net qw(connect_to timeout);
use LRT::Process;
use Time::HiRes qw(sleep time);


# Starts nginx and waits until its workers run; dies with what nginx logged
# if it does not start.  With daemon => 1 it becomes a daemon: only these
# obey USR2 and WINCH, the signals of a binary upgrade.

sub start ($self, %o) {
    die "nginx runs already\n" if $self->{nginx};

    my $mark   = $self->log_mark;
    my $output = LRT::Log->new("$self->{dir}/nginx.out");
    my $from   = $output->mark;
    my $nginx  = $self->{nginx} = $self->_run_nginx('nginx', %o);

    my $up = $self->wait_for(sub {
        if ($o{daemon} && (my $master = $self->_daemon)) {
            $nginx->end;
            $nginx = $self->{nginx} = LRT::Process->adopt($master);
            delete $o{daemon};
        }

        return $self->_workers_ready || !$nginx->is_running
            && !($o{daemon} && $nginx->ending eq 'exited with code 0');
    }, 15);

    return $self if $up && $nginx->is_running && $self->_accepts;

    my $why = $nginx->is_running ? 'its workers do not run' : $nginx->ending;
    $self->_end_nginx;
    die "nginx did not start, $why\n",
        $self->{log}->tail($mark) || $output->tail($from);
}


sub _run_nginx ($self, $name, %o) {
    my $base = "$self->{dir}/$name";

    local $ENV{ASAN_OPTIONS} =
        join ':', 'detect_leaks=0', $ENV{ASAN_OPTIONS} // ();
    local $ENV{UBSAN_OPTIONS} =
        join ':', 'print_stacktrace=1', $ENV{UBSAN_OPTIONS} // ();

    return LRT::Process->run_program([
        $self->{program}->command, '-p', "$self->{dir}/",
        '-c', "$base.conf", '-e', "$base.log",
        $o{test} ? '-t' : (), $o{daemon} ? () : ('-g', 'daemon off;'),
    ], "$base.out");
}


sub _workers_ready ($self) {
    return -s "$self->{dir}/nginx.pid" if $self->{conf}->single_process;

    my @processes = $self->processes;
    my @workers   = grep { $_->{role} eq 'worker' } @processes;

    return @workers >= $self->{conf}->workers
        && !grep { $_->{role} eq 'starting' } @processes;
}


sub _accepts ($self) {
    my $address = $self->{conf}->listen_address // return 1;
    my $socket  = connect_to($address) // return 0;
    vec(my $set = '', fileno $socket, 1) = 1;

    return select(undef, $set, undef, timeout(5)) > 0
        && getpeername $socket;
}


# Ends nginx: QUIT, and if that is not enough TERM and KILL, which the
# assertion 'nginx stopped' does not forgive; stop('TERM') begins with TERM.
# Returns whether all went well.

sub stop ($self, $signal = 'QUIT') {
    my $nginx = $self->{nginx} or return 1;

    if (!$nginx->is_running && !$self->_masters) {
        return $self->_end_nginx(
            $self->{told_to_end} ? () : 'nginx ' . $nginx->ending);
    }

    kill CONT => -$nginx->pid;

    for my $try ($signal eq 'QUIT' ? qw(QUIT TERM) : $signal) {
        kill $try => $self->_masters;

        my $gone = $self->wait_for(sub {
            !$nginx->is_running && !$nginx->group;
        }, 10);
        return $self->_end_nginx if $gone;

        push @{ $self->{troubles} }, join ' ', "left after $try:",
            map { "$_->{role} $_->{pid}" } $self->processes;
    }

    return $self->_end_nginx('nginx had to be killed');
}


sub _end_nginx ($self, @troubles) {
    push @{ $self->{troubles} }, @troubles;
    (delete $self->{nginx})->end;
    delete $self->{told_to_end};
    unlink "$self->{dir}/nginx.pid";
    return !@troubles;
}


# Reads the configuration again; returns when new workers have taken over
# and the old ones are leaving.  Dies if nginx refuses it.

sub reload ($self) {
    my $refused = $self->_reload;
    die "reload failed:\n$refused" if defined $refused;
    return $self;
}


# A reload that nginx has to refuse: returns what it said.

sub reload_error ($self) {
    my $said = $self->_reload // die "nginx took the configuration\n";
    $self->expect_alerts(map { qr/\Q$_\E/ } $said =~ /\[emerg\] (.+)/g);
    return $said;
}


sub _reload ($self) {
    my $mark   = $self->log_mark;
    my $master = $self->master_pid;
    my $refused;

    $self->signal('HUP');

    # the log tells which workers belong to the new configuration; when
    # there are no others, the old ones have been told to leave

    $self->wait_for(sub {
        my ($said) = $self->log($mark)
            =~ /\] $master#\d+: reconfiguring\n(.*)/s or return;
        return $refused = $said if $said =~ /\[emerg\].*\n/;

        my %new = map { $_ => 1 }
            $said =~ /: start worker process\S* (\d+)\n/g;
        my @workers = $self->workers;
        return @workers && !grep { !$new{$_} } @workers;
    }, 30) or die "no reload in time:\n", $self->{log}->tail($mark);

    die "nginx does not listen after the reload\n"
        unless defined $refused || $self->_accepts;

    return $refused;
}


# A signal to the master.

sub signal ($self, $signal) {
    my $pid = $self->master_pid // die "nginx does not run\n";

    $self->{told_to_end} = 1 if $signal =~ /^(?:QUIT|TERM|INT|KILL)$/;
    kill $signal => $pid;
    $self->wait_for(sub { !grep { $_ == $pid } $self->_masters })
        if $signal eq 'KILL';

    return $self;
}


# Kills a worker, by default any one; returns its pid, undef if there was
# none.  The alert about its end is expected.

sub kill_worker ($self, $signal = 'KILL', $pid = undef) {
    state %number;
    @number{ split ' ', $Config{sig_name} } = split ' ', $Config{sig_num};

    my @workers = $self->workers;

    $pid //= $workers[rand @workers] // return;
    $self->expect_alerts(
        qr/process $pid exited on signal $number{$signal}\b/);
    kill $signal => $pid;

    return $pid;
}


# The living processes of nginx: hashes of pid, parent, state (of proc(5)),
# title, and role: 'master', 'worker', 'old worker', 'starting', 'helper'.

sub processes ($self) {
    my $nginx  = $self->{nginx};
    my @found  = $nginx ? $nginx->group : ();
    my %master = map { $_ => 1 } $nginx ? $nginx->pid : (), grep { $_ }
        map { $self->_pid_in($_) } qw(nginx.pid nginx.pid.oldbin);

    for my $process (@found) {
        my $title = $process->{title} =
            LRT::Process::title_of($process->{pid});

        $process->{role} =
            $master{ $process->{pid} }            ? 'master'
          : $title =~ /^\w+: worker.* shutting/   ? 'old worker'
          : $title =~ /^\w+: worker/              ? 'worker'
          : $title =~ /^\w+: cache/               ? 'helper'
          : $title =~ /^\w+: master/              ? 'starting'
          : !$master{ $process->{parent} }        ? 'starting'
          : $self->_untitled_role($process->{pid});
    }

    return @found;
}


# In some wrappers nginx cannot change its title.

sub _untitled_role ($self, $pid) {
    return 'starting' unless $ENV{LRT_WRAPPER};
    return $self->grep_log(qr/\] $pid#\d+: gracefully shutting down/)
        ? 'old worker' : 'worker';
}


sub workers     ($self) { return $self->_pids('worker') }
sub old_workers ($self) { return $self->_pids('old worker') }
sub _masters    ($self) { return $self->_pids('master') }


sub _pids ($self, $role) {
    my @pids = sort { $a <=> $b }
        map { $_->{pid} } grep { $_->{role} eq $role } $self->processes;
    return @pids;
}


# The master; after a binary upgrade the new one.

sub master_pid ($self) {
    my $nginx = $self->{nginx} or return;
    return $self->_pid_in('nginx.pid') // $nginx->pid;
}


sub old_master_pid ($self) { return $self->_pid_in('nginx.pid.oldbin') }


sub _pid_in ($self, $name) {
    open my $file, '<', "$self->{dir}/$name" or return;
    my ($pid) = (<$file> // '') =~ /^(\d+)/;
    return $pid;
}


# The master that became a daemon: with Debian's nginx its number is known
# before it has left the group of the process that was started.

sub _daemon ($self) {
    my $master = $self->_pid_in('nginx.pid') or return;

    return (grep { $_->{pid} == $master && $_->{group} == $master }
        LRT::Process::all_processes()) ? $master : undef;
}


# Runs nginx -t on a configuration, by default the current one.  Returns
# whether it is good, and what nginx said.

sub test_config ($self, @conf) {
    $self->{conf}->write_for_test('test', @conf);

    my $output  = LRT::Log->new("$self->{dir}/test.out");
    my $from    = $output->mark;
    my $process = $self->_run_nginx('test', test => 1);

    my $ended = $self->wait_for(sub { !$process->is_running }, 30);
    $process->end;
    my $ending = $process->ending;

    push @{ $self->{troubles} }, "nginx -t $ending"
        if !$ended || $ending =~ /signal/;

    return ($ending eq 'exited with code 0', $output->since($from));
}


# What nginx -t says about a bad configuration; a single text is the inside
# of http { }.

sub conf_error ($self, @conf) {
    unshift @conf, 'http' if @conf == 1;
    return ($self->test_config(@conf))[1];
}


1;
