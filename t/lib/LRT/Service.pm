package LRT::Service;

# Servers of other makers, for tests that balance over them.
#
#     my $program = LRT::Service::program('memcached') or skip ...;
#
#     LRT::Service->start($t, ['one_memcached'],
#         $program, -l => '127.0.0.1', -p => $t->port('one_memcached'));
#     LRT::Service->start(...);
#     LRT::Service::wait_for_all($t);     # until they listen on those ports
#
# All of them end with the test; ->end does it before.

use v5.36;

use LRT::Net qw(connect_to timeout);
use LRT::Process;

# that of the distribution, which has the modules of the distribution
use constant PYTHON => '/usr/bin/python3';

my @starting;


# Where a program is, undef if nowhere.

sub program ($name) {
    my ($path) = grep { -x } map { "$_/$name" }
        split(/:/, $ENV{PATH}), qw(/usr/bin /usr/sbin);
    return $path;
}


sub has_python_module ($name) {
    return -x PYTHON && !system PYTHON . " -c 'import $name' 2>/dev/null";
}


# The ports are given by their names.  The output is in a file of the test's
# directory, PORT.out.

sub start ($class, $t, $ports, @command) {
    my $output = $t->dir . "/$ports->[0].out";
    my $self   = bless {
        ports => $ports, output => $output,
        process => LRT::Process->run_program(\@command, $output),
    }, $class;

    push @starting, $self;
    return $self;
}


sub wait_for_all ($t) {
    for my $self (splice @starting) {
        for my $port ($self->{ports}->@*) {
            my $address = $t->address($port);
            $t->wait_for(sub {
                _listens($address) || !$self->{process}->is_running
            }, 20);
            _listens($address)
                or die "no server on port $port:\n", $self->output;
        }
    }
}


sub _listens ($address) {
    my $socket = connect_to($address) // return 0;
    vec(my $set = '', fileno $socket, 1) = 1;

    return select(undef, $set, undef, timeout(1)) > 0 && getpeername $socket;
}


sub output ($self) {
    open my $file, '<', $self->{output} or return "$self->{output}: $!\n";
    local $/;
    return scalar <$file>;
}


sub end ($self) { $self->{process}->end }


1;
