package LRT::Shim;

# What nginx gets from below, for tests that shift or break it: the wall
# clock, connect(), random(), memory, the disk.  Small libraries, made by the C
# compiler of the machine and loaded before the others.
#
#     my $shim = LRT::Shim->new($t, 'time')
#         or $t->skip_all('needs a C compiler');
#
#     $shim->start;                           # as $t->start
#     $shim->set(shift => 3600);
#     $shim->set(error => ENETUNREACH, port => $t->port('a'));
#     is($shim->get('randoms'), $before);
#
# Fields of "time": shift (seconds), error and port (of connect()), randoms and
# srandoms (calls so far).  Fields of "memory": asked (requests so far), refuse
# (the one that fails), all (and those that follow), refused; not with the
# address sanitizer, which has a malloc() of its own.  Fields of "disk": delay
# (ms that each fsync() takes), syncs (those that have begun), at (the call at
# which a state file cannot be saved: 1 write, 2 fsync, 3 close, 4 rename, 5
# after that), error (errno that it has; 0: the first who comes there is
# killed).  Fields of "turns": turns of the event loop, the longest (us), those
# of a millisecond.

use v5.36;

use File::Basename qw(dirname);

my %fields = (
    time   => [qw(shift error port randoms srandoms)],
    memory => [qw(asked refuse all refused)],
    disk   => [qw(delay syncs at error)],
    turns  => [qw(turns longest long_turns)],
);


sub new ($class, $t, $name) {
    my ($library, $file) = map { $t->dir . "/$name.$_" } qw(so data);

    return if system 'cc -shared -fPIC -O1 -w -o ' . "$library "
        . dirname(__FILE__) . "/shim_$name.c 2>/dev/null";

    my @fields = $fields{$name}->@*;

    $t->write("$name.data", "\0" x 4096);
    return bless {
        t => $t, library => $library, file => $file,
        place => { map { ($fields[$_] => 8 * $_) } 0 .. $#fields },
    }, $class;
}


sub start ($self, @options) {
    return $self->below(sub { $self->{t}->start(@options) });
}


# The same for anything else that starts nginx.

sub below ($self, $what) {
    local $ENV{LD_PRELOAD}   = $self->{library};
    local $ENV{LRT_SHIM}     = $self->{file};
    local $ENV{ASAN_OPTIONS} = join ':',
        'verify_asan_link_order=0', $ENV{ASAN_OPTIONS} // ();

    return $what->();
}


sub set ($self, %o) {
    open my $file, '+<:raw', $self->{file} or die "$self->{file}: $!\n";

    my $place = $self->{place};

    for (sort { $place->{$b} <=> $place->{$a} } keys %o) {
        sysseek $file, $place->{$_}, 0;
        syswrite $file, pack 'q', $o{$_};
    }

    return $self;
}


sub get ($self, $field) {
    open my $file, '<:raw', $self->{file} or die "$self->{file}: $!\n";
    sysseek $file, $self->{place}{$field}, 0;
    sysread $file, my $bytes, 8;
    return unpack 'q', $bytes;
}


1;
