package LRT::Log;

# A log file, read from a mark on.
#
#     my $log  = LRT::Log->new($path);
#     my $mark = $log->mark;
#     ...
#     like($log->since($mark), qr/reconfiguring/);
#
# A file that does not exist is an empty one.

use v5.36;

use constant TAIL => 20;        # lines


sub new ($class, $path) { return bless { path => $path }, $class }

sub mark ($self) { return -s $self->{path} // 0 }


sub since ($self, $from) {
    open my $file, '<:raw', $self->{path} or return '';
    seek $file, $from, 0;
    local $/;
    return scalar(<$file>) // '';
}


# The whole lines; one that is still being written is not among them.

sub lines ($self, $from) {
    my @lines = $self->since($from) =~ /^(.*)\n/gm;
    return @lines;
}


sub grep ($self, $pattern, $from) {
    my @found = grep { $_ =~ $pattern } $self->lines($from);
    return @found;
}


# The last lines, and the last lines that warn, as text.

sub tail ($self, $from) {
    return _last_of($self->lines($from));
}


sub warnings ($self) {
    return _last_of(
        $self->grep(qr/\[(?:warn|error|crit|alert|emerg)\]/, 0));
}


sub _last_of (@lines) {
    splice @lines, 0, @lines - TAIL if @lines > TAIL;
    return join '', map { "$_\n" } @lines;
}


# Lines that no healthy nginx writes, but for the expected ones.

sub alerts ($self, @expected) {
    my @alerts = $self->grep(qr/
        ^ (?: \S+ \s \S+ | \w+: ) \s \[ (?: alert | emerg ) \]
      | process \s \d+ \s exited \s with \s (?:fatal \s)? code \s [1-9]
    /x, 0);

    for my $pattern (@expected) {
        @alerts = grep { $_ !~ $pattern } @alerts;
    }

    return @alerts;
}


# What sanitizers and valgrind found, but for a known habit of nginx itself,
# whose files they name src/...: it copies 0 bytes from null pointers.

sub sanitizer_reports ($self) {
    my @reports = $self->grep(qr/
        ERROR: \s \w+Sanitizer
      | runtime \s error:
      | ^==\d+== \s (?:Invalid|Conditional|Use\s of|Process\sterminating)
    /x, 0);

    return grep { !m{
        ^src/\S+ \s runtime \s error: \s
        (?: null \s pointer \s passed | applying \s zero \s offset )
    }x } @reports;
}


1;
