package LRT::Load;

# Requests in the background, from a process of its own.
#
#     my $load = LRT::Load->new(
#         address => $address, concurrency => 8, rate => 500, uri => '/');
#     ...                                 # reload, kill, change
#     my $totals = $load->stop;
#     is_deeply($totals->{failed}, {}, 'no request failed')
#         or diag($load->summary);
#
# Options and totals are those of LRT::HTTP::run(); without `count` the
# requests go on until stop().  Subs among the options run in that process.
# Several loads may run at once.

use v5.36;

use LRT::HTTP;
use LRT::Loop;
use LRT::Process;


sub new ($class, %o) {
    my $process = LRT::Process->spawn('lrt load', sub ($channel) {
        _run($channel, %o);
    });

    return bless { process => $process }, $class;
}


sub _run ($channel, %o) {
    my $loop   = LRT::Loop->new;
    my $totals = LRT::HTTP::new_totals();
    my ($stop, $wanted, $gone);

    $SIG{PIPE} = 'IGNORE';

    $loop->on_read($channel, sub {
        LRT::Process::answer($channel, sub ($word) {
            $stop = 1 if $word eq 'stop';
            $wanted = 1 if $word ne 'totals';
            return $totals;
        }) or $stop = $gone = 1;
    });

    LRT::HTTP::run(
        %o, loop => $loop, totals => $totals, until => sub { $stop });

    $loop->once until $wanted || $gone;
    LRT::Process::send_to($channel, 1, $totals);
    $loop->once until $gone;
}


# The totals up to now.

sub totals ($self) {
    return $self->{totals} // $self->{process}->ask('totals');
}


# Starts no more requests, waits for those under way, returns the totals.

sub stop ($self) { return $self->_end_with('stop') }


# Waits until all requests of a load with a `count` have ended.

sub finish ($self) { return $self->_end_with('finish') }


sub _end_with ($self, $word) {
    return $self->{totals} //= do {
        my $process = $self->{process};
        $process->ask($word);
        my $totals = $process->next_answer(600);
        $process->end;
        $totals;
    };
}


# The totals in one line, for diag().

sub summary ($self) {
    my $totals = $self->totals;

    return sprintf '%d requests in %.1f s, %d ok, slowest %.3f s%s',
        $totals->@{qw(requests seconds ok slowest)},
        join '', map { "; $_: $totals->{failed}{$_}" }
            sort keys $totals->{failed}->%*;
}


1;
