package LRT::Storm::Traffic;

# Requests in the background, each one remembered; see LRT::Storm.

use v5.36;

use LRT::Load;
use Time::HiRes qw(time);


sub new ($class, $t, $uri, %o) {
    state $number = 0;

    my $path = $t->dir . '/traffic' . ++$number;
    my %begun;

    # these run in the process of the load, which ends without flushing

    open my $file, '>', $path or die "$path: $!\n";
    my $load = $t->load(
        concurrency => 8,
        %o,
        uri => sub ($request) { $begun{$request} = time; $uri },
        on_response => sub ($response, $request) {
            my $failed = $response->error || $response->status !~ /^[23]/;
            syswrite $file, sprintf "%.6f %.6f %s %s\n",
                delete $begun{$request}, time, $response->name,
                $failed ? 'failed' : '-';
        },
    );
    close $file;

    return bless { load => $load, path => $path }, $class;
}


sub stop ($self) {
    $self->{totals} = $self->{load}->stop;
    return $self;
}


sub totals  ($self) { return $self->{load}->totals }
sub summary ($self) { return $self->{load}->summary }

# Reason => how many.

sub failed ($self) { return $self->totals->{failed} }


# All requests in the order of their ends: begin, end, who answered, whether
# it failed.

sub requests ($self) {
    open my $file, '<', $self->{path} or die "$self->{path}: $!\n";
    return map {
        my @request = split;
        [@request[0 .. 2], $request[3] eq 'failed'];
    } <$file>;
}


# The longest time without a successful answer, and when it began.

sub longest_gap ($self) {
    my ($longest, $when, $last) = (0, 0);

    for my $request (sort { $a->[1] <=> $b->[1] } $self->requests) {
        my ($begin, $end, $server, $failed) = @$request;

        next if $failed;
        ($longest, $when) = ($end - $last, $last)
            if defined $last && $end - $last > $longest;
        $last = $end;
    }

    return ($longest, $when);
}


1;
