package Demo::Log;

# What nginx says about the list in its log, for who edits the list and reads a
# terminal instead: that an edit is refused, and why.  nginx says it once for
# each content.
#
#     my $log = Demo::Log->new($path);
#     say for $log->news;

use v5.36;


sub new ($class, $path) {
    return bless { path => $path, text => '' }, $class;
}


sub news ($self) {
    my @lines;

    if (!$self->{file}) {
        open $self->{file}, '<:raw', $self->{path} or return;
    }

    1 while sysread $self->{file}, $self->{text}, 65536, length $self->{text};

    while ($self->{text} =~ s/^(.*)\n//) {
        my $line = $1;

        # what is quoted is as it was written, and may steer terminals

        push @lines, "nginx: $1" =~ s/[\x00-\x1f\x7f]|\xc2[\x80-\x9f]/?/gr
            if $line =~ / \[(?:error|crit)\] \S+ (state file .*)/;
    }

    return @lines;
}


1;
