package LRT::Shim;

# What nginx gets from below, for tests that shift or break it: the wall
# clock, connect(), random().  A small library, made by the C compiler of the
# machine and loaded before the others.
#
#     my $shim = LRT::Shim->new($t) or $t->skip_all('needs a C compiler');
#
#     $shim->start;                           # as $t->start
#     $shim->set(shift => 3600);
#     $shim->set(error => ENETUNREACH, port => $t->port('a'));
#     is($shim->get('randoms'), $before);
#
# Fields: shift (seconds), error and port (of connect()), randoms and
# srandoms (calls so far).

use v5.36;

use FindBin;

my @fields = qw(shift error port randoms srandoms);
my %place  = map { ($fields[$_] => 8 * $_) } 0 .. $#fields;


sub new ($class, $t) {
    my ($library, $file) = map { $t->dir . "/shim.$_" } qw(so data);

    return if system 'cc -shared -fPIC -O1 -w -o ' . "$library "
        . "$FindBin::Bin/lib/LRT/shim.c 2>/dev/null";

    $t->write('shim.data', "\0" x 4096);
    return bless { t => $t, library => $library, file => $file }, $class;
}


sub start ($self, @options) {
    local $ENV{LD_PRELOAD}   = $self->{library};
    local $ENV{LRT_SHIM}     = $self->{file};
    local $ENV{ASAN_OPTIONS} = join ':',
        'verify_asan_link_order=0', $ENV{ASAN_OPTIONS} // ();

    return $self->{t}->start(@options);
}


sub set ($self, %o) {
    open my $file, '+<:raw', $self->{file} or die "$self->{file}: $!\n";

    for (sort { $place{$b} <=> $place{$a} } keys %o) {
        sysseek $file, $place{$_}, 0;
        syswrite $file, pack 'q', $o{$_};
    }

    return $self;
}


sub get ($self, $field) {
    open my $file, '<:raw', $self->{file} or die "$self->{file}: $!\n";
    sysseek $file, $place{$field}, 0;
    sysread $file, my $bytes, 8;
    return unpack 'q', $bytes;
}


1;
