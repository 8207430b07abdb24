package LRT::Lab;

# The programs of scripts/lab, from Perl.  A scenario is a list of lines, see
# "scripts/lab/build" and then "load --help".
#
#     my $lab  = LRT::Lab->new;
#     my @scenario = ('server s count=4 slots=2', 'traffic rate=500 seed=3');
#
#     my $servers = $lab->backends(\@scenario);
#     my $load    = $lab->load(\@scenario, [$servers->addresses]);
#     my $result  = $load->result;        # waits
#     my $counts  = $servers->end->{servers}{s0}{requests};
#
#     my $limit   = $lab->reference(\@scenario, '--policy', 'central');
#
# None of the programs outlives this process: the stdin of backends ends with
# it, and who still runs when the object goes is told to end.

use v5.36;

use File::Basename qw(dirname);
use IO::Handle ();
use IPC::Open2 qw(open2);
use JSON::PP ();

my $root = dirname(__FILE__) . '/../../..';
my $json = JSON::PP->new;


# Builds the programs; options: sanitize, and for those that run live realtime,
# and wrapper => [...], a command that goes before them.

sub new ($class, %o) {
    my $options = $o{sanitize} ? '--sanitize' : '';
    my @output = qx{"$root/scripts/lab/build" $options};
    die "scripts/lab/build failed\n" if $? || !@output;
    chomp(my $dir = $output[-1]);

    return bless {
        dir => $dir, realtime => $o{realtime}, wrapper => $o{wrapper} // [],
    }, $class;
}


sub backends ($self, $lines, @options) {
    my $pid = open2(my $out, my $in, $self->_live('backends'), '--control',
        @options, _arguments($lines));
    my $running = bless {
        pid => $pid, out => $out, in => $in, name => 'backends',
    }, 'LRT::Lab::Backends';

    $running->{listening} = $running->_answer->{listening};
    return $running;
}


sub load ($self, $lines, $targets, @options) {
    return _start($self->_live('load'), @options,
        (map { ('--target', $_) } @$targets), _arguments($lines));
}


sub _live ($self, $program) {
    return ($self->{wrapper}->@*, "$self->{dir}/$program",
        $self->{realtime} ? '--realtime' : ());
}


sub reference ($self, $lines, @options) {
    return _start("$self->{dir}/reference", @options, _arguments($lines))
        ->result;
}


sub _start (@command) {
    my $pid = open my $out, '-|', @command or die "$command[0]: $!\n";
    return bless { pid => $pid, out => $out, name => $command[0] },
        'LRT::Lab::Program';
}


sub _arguments ($lines) { return map { ('-e', $_) } @$lines }


package LRT::Lab::Program;

# What it prints, as data; dies if it failed.

sub result ($self) {
    my $result = $self->_answer;
    waitpid $self->{pid}, 0;
    $self->{ended} = 1;
    die "$self->{name} ended with $?\n" if $?;
    return $result;
}


sub pid ($self) { return $self->{pid} }


# A pipe is waited for when it is closed.

sub DESTROY ($self) {
    local ($?, $!);
    kill TERM => $self->{pid} unless $self->{ended};
}


sub _answer ($self) {
    my $line = readline $self->{out};
    die "$self->{name} said nothing\n" unless defined $line;
    return $json->decode($line);
}


package LRT::Lab::Backends;

our @ISA = ('LRT::Lab::Program');


# "127.0.0.1:port" of one, or of all as they are in the scenario.

sub address ($self, $name) {
    my ($one) = grep { $_->{name} eq $name } $self->{listening}->@*;
    return $one->{address};
}

sub addresses ($self) { return map { $_->{address} } $self->{listening}->@* }


# A command; see "backends --help".

sub tell ($self, $command) {
    print { $self->{in} } "$command\n" or die "backends: $!\n";
    $self->{in}->flush;
    return;
}


sub counters ($self) {
    $self->tell('counters');
    return $self->_answer;
}


# Ends the program and returns its last counters.

sub end ($self) {
    $self->tell('end');
    return $self->result;
}


1;
