package LRT::HTTP;

# Many HTTP requests at once, from one process; for single ones see
# LRT::HTTP::Client.
#
#     my $totals = LRT::HTTP::run(
#         address => $address, count => 1000, concurrency => 20, uri => '/');
#     print "$_ $totals->{by}{$_}\n" for keys $totals->{by}->%*;
#
# Nothing here dies because of what a server does: a response that did not
# come has an error() - 'refused', 'reset', 'timeout', 'cut' (the connection
# ended too early) or 'malformed' - and its status() is that word.
#
# Options of a request: headers => [name => value, ...], body => '...',
# chunked => size (the body goes out in chunks of that size), version =>
# '1.0', host => '...', keepalive => 1.  Options of a connection: timeout =>
# seconds, from => '127.0.0.5' (the client's own address).

use v5.36;

use Errno qw(EAGAIN ECONNREFUSED ECONNRESET EINTR ENOENT ENOTCONN EPIPE);
use LRT::HTTP::Response;
use LRT::Loop;
use LRT::Net qw(connect_to timeout);
use Time::HiRes qw(time);

use constant { BLOCK => 65_536, TIMEOUT => 10 };


# The text of a request.

sub request_text ($method, $uri, %o) {
    my $body    = $o{body} // '';
    my @headers = (Host => $o{host} // 'localhost');

    push @headers, Connection => 'close' unless $o{keepalive};

    if ($o{chunked}) {
        push @headers, 'Transfer-Encoding' => 'chunked';
        my @chunks = unpack "(a$o{chunked})*", $body;
        $body = join '',
            map { sprintf "%x\r\n%s\r\n", length, $_ } @chunks, '';
    } elsif (defined $o{body}) {
        push @headers, 'Content-Length' => length $body;
    }

    push @headers, @{ $o{headers} // [] };
    my $text = "$method $uri HTTP/" . ($o{version} // '1.1') . "\r\n";

    while (my ($name, $value) = splice @headers, 0, 2) {
        $text .= "$name: $value\r\n";
    }

    return "$text\r\n$body";
}


# The word for an error of connect, read or write.

sub failure ($errno) {
    return 'refused' if $errno == ECONNREFUSED || $errno == ENOENT;
    return 'reset'   if $errno == ECONNRESET   || $errno == EPIPE;
    return 'error ' . ($! = $errno);
}


# Many requests from one process.  Options, beside those of a request:
#
#     address     => where to
#     count       => how many requests; without it, until $until->()
#     until       => sub that returns true when no more are wanted
#     concurrency => how many at a time (1)
#     rate        => how many a second at most (no limit)
#     method, uri, headers, from
#                 => a value, or an array used in turn, or a sub that gets
#                    the number of the request and returns the value
#     keepalive   => 1: connections are used again
#     on_response => sub ($response, $number)
#     loop        => an LRT::Loop to work in
#
# Returns a hash:
#
#     requests, ok    how many ended, how many of them with status 200..399
#     failed          reason => how many; reasons as for a response's error,
#                     or 'status 502'
#     by              who answered => how many; a failure counts by its word
#     status          status => how many
#     order           who answered, in order of arrival, the last 10,000
#     reconnects      kept connections that the server had closed: the
#                     request was sent again
#     slowest, total_time, seconds
#                     of one request, of all of them, of the whole run
#     first_failures  the first ten, in words, with their time

sub run (%o) {
    my $loop   = $o{loop} // LRT::Loop->new;
    my $totals = $o{totals} // new_totals();
    my $begin  = time;
    my %run    = (
        %o, loop => $loop, totals => $totals, idle => [], active => {},
        timeout => timeout($o{timeout} // TIMEOUT), varies => 0,
    );

    $run{varies} ||= ref $o{$_} eq 'CODE' for qw(method uri headers);
    $run{varies} ||= ref $o{$_} eq 'ARRAY' for qw(method uri);
    $run{varies} ||= ref $o{headers} && ref $o{headers}[0];

    my $active      = $run{active};
    my $concurrency = $o{concurrency} // 1;
    my $started     = 0;
    my $next_sweep  = $begin;

    while (1) {
        my $now  = time;
        my $more = defined $o{count} ? $started < $o{count} : 1;
        my $wait = 0.05;

        $more = 0 if $o{until} && $o{until}->();

        while ($more && %$active < $concurrency) {
            if ($o{rate}) {
                my $due = $begin + $started / $o{rate} - $now;
                if ($due > 0) {
                    $wait = $due if $due < $wait;
                    last;
                }
            }
            _start(\%run, $started++, $now);
            $more = 0 if defined $o{count} && $started >= $o{count};
        }

        last if !$more && !%$active;
        $loop->once($wait);
        next if $now < $next_sweep;

        $next_sweep = $now + 0.05;
        _end(\%run, $_, undef, 'timeout')
            for grep { $_->{deadline} < $now } values %$active;
    }

    _close(\%run, $_) for @{ $run{idle} };
    $totals->{seconds} += time - $begin;

    return $totals;
}


sub new_totals () {
    return {
        requests => 0, ok => 0, failed => {}, by => {}, status => {},
        order => [], reconnects => 0, slowest => 0, total_time => 0,
        seconds => 0, first_failures => [],
    };
}


sub _choose ($from, $number) {
    return ref $from eq 'ARRAY' ? $from->[$number % @$from]
         : ref $from eq 'CODE'  ? $from->($number)
         :                        $from;
}


sub _start ($run, $number, $now) {
    my $method = _choose($run->{method} // 'GET', $number);

    if ($run->{varies} || !defined $run->{text}) {
        my $headers = $run->{headers};
        $headers = _choose($headers, $number)
            if ref $headers eq 'CODE' || $headers && ref $headers->[0];

        $run->{text} = request_text($method, _choose($run->{uri}, $number),
            headers => $headers,
            %$run{qw(host version body chunked keepalive)});
    }

    my $job = {
        number => $number, method => $method, text => $run->{text},
        begun => $now, deadline => $now + $run->{timeout},
    };
    $run->{active}{$number} = $job;

    if (my $socket = pop @{ $run->{idle} }) {
        $run->{loop}->forget($socket);
        $job->{socket} = $socket;
        $job->{kept}   = 1;
        return _send($run, $job);
    }

    _connect($run, $job);
}


sub _connect ($run, $job) {
    my $from = _choose($run->{from}, $job->{number});

    $job->{kept}     = 0;
    $job->{sent}     = 0;
    $job->{response} = undef;
    $job->{socket}   = connect_to($run->{address}, $from)
        or return _end($run, $job, undef, failure($!));
    _send($run, $job);
}


# Writes are tried at once: on the loopback a connection is there as soon
# as it was asked for.

sub _send ($run, $job) {
    my $n = syswrite $job->{socket}, $job->{text}, BLOCK, $job->{sent} // 0;

    if (defined $n) {
        $job->{sent} += $n;
        if ($job->{sent} == length $job->{text}) {
            my $loop = $run->{loop};
            $loop->on_write($job->{socket}, undef) if $job->{waited};
            $loop->on_read($job->{socket}, sub { _receive($run, $job) });
            return;
        }
    } elsif ($! != EAGAIN && $! != ENOTCONN && $! != EINTR) {
        return _broken($run, $job, failure($!));
    }

    return if $job->{waited}++;
    $run->{loop}->on_write($job->{socket}, sub { _send($run, $job) });
}


sub _receive ($run, $job) {
    my $n = sysread $job->{socket}, my $bytes, BLOCK;

    if (!defined $n) {
        return if $! == EAGAIN || $! == EINTR;
        return _broken($run, $job, failure($!));
    }

    return _broken($run, $job, 'cut') if $n == 0 && !$job->{response};

    my $response = $job->{response}
        //= LRT::HTTP::Response->new($job->{method});

    ($n ? $response->feed($bytes) : $response->end) or return;
    _end($run, $job, $response, $response->error);
}


# A kept connection may have been closed by the server just before it was
# used again: such a request goes out once more on a new connection.

sub _broken ($run, $job, $reason) {
    return _end($run, $job, $job->{response}, $reason)
        if !$job->{kept} || $job->{response};

    $run->{totals}{reconnects}++;
    _close($run, delete $job->{socket});
    delete $job->{waited};
    _connect($run, $job);
}


sub _end ($run, $job, $response, $error) {
    my $socket = delete $job->{socket};
    delete $run->{active}{ $job->{number} };

    if ($socket && $run->{keepalive} && !$error && $response->keeps_alive) {
        $run->{loop}->on_read($socket, undef);
        push @{ $run->{idle} }, $socket;
    } elsif ($socket) {
        _close($run, $socket);
    }

    $response //= LRT::HTTP::Response->new($job->{method});
    $response->fail($error) if $error;
    $response->{time} = time - $job->{begun};

    _count($run->{totals}, $response);
    $run->{on_response}->($response, $job->{number}) if $run->{on_response};
}


sub _close ($run, $socket) {
    $run->{loop}->forget($socket);
    close $socket;
}


sub _count ($totals, $response) {
    my $status = $response->status;
    my $reason = $response->error
        // ($status =~ /^[23]/ ? undef : "status $status");
    my $name   = $response->name;
    my $order  = $totals->{order};

    $totals->{requests}++;
    $totals->{by}{$name}++;
    $totals->{status}{$status}++ unless $response->error;
    $totals->{total_time} += $response->time;
    $totals->{slowest} = $response->time
        if $response->time > $totals->{slowest};

    push @$order, $name;
    splice @$order, 0, 10_000 if @$order > 20_000;

    if (!defined $reason) {
        $totals->{ok}++;
        return;
    }

    $totals->{failed}{$reason}++;
    push @{ $totals->{first_failures} },
        sprintf '%.3f %s after %.3f s', time, $reason, $response->time
        if @{ $totals->{first_failures} } < 10;
}


1;
