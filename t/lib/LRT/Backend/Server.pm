package LRT::Backend::Server;

# The process behind LRT::Backend: serves all its backends in one loop.
# What the settings mean is written there.

use v5.36;

use Errno qw(EAGAIN EINTR);
use List::Util qw(min);
use LRT::HTTP::Response;
use LRT::Loop;
use LRT::Net qw(accept_from listen_on reset_connection);
use LRT::Process;
use Time::HiRes qw(time);

use constant {
    BLOCK         => 65_536,
    LOGGED        => 1000,      # requests remembered per backend
    LOGGED_BODY   => 65_536,
    ACCEPTS       => 64,        # in a row, then others have their turn
    WRITES        => 16,
};

my %known = map { $_ => 1 } qw(
    body body_delay chunked close cut delay drip drop echo hang header
    keepalive raw reset size status times upgrade
);

my %reason = (
    101 => 'Switching Protocols', 200 => 'OK', 204 => 'No Content',
    404 => 'Not Found', 500 => 'Internal Server Error',
    502 => 'Bad Gateway', 503 => 'Service Unavailable',
);

my $loop;
my %backends;
my $connections = 0;            # the number of the last one


sub main ($channel) {
    $loop = LRT::Loop->new;
    $SIG{PIPE} = 'IGNORE';
    my $gone;

    $loop->on_read($channel, sub {
        LRT::Process::answer($channel, \&command) or $gone = 1;
    });
    $loop->once until $gone;
}


# Commands of the test

my %commands = (
    add        => \&add,
    set        => \&set,
    clear      => \&clear,
    start      => \&start,
    stop       => \&stop,
    close_idle => \&close_idle,
    stats      => \&stats,
    requests   => sub ($backend) { $backend->{log} },
);


sub command ($name, $command, @arguments) {
    return $commands{$command}->(
        $command eq 'add' ? $name : $backends{$name}, @arguments);
}


sub add ($name, $address) {
    my $backend = $backends{$name} = {
        name => $name, address => $address, settings => {}, log => [],
        connections => {}, stats => { open => 0, active => 0 },
    };

    clear($backend);
    start($backend);
}


sub start ($backend) {
    return 0 if $backend->{socket};

    $backend->{socket} = listen_on($backend->{address});
    $loop->on_read($backend->{socket}, sub { on_connection($backend) });
    return 1;
}


sub stop ($backend, %o) {
    my $socket = delete $backend->{socket};

    if ($socket) {
        $loop->forget($socket);
        close $socket;
    }

    close_idle($backend);

    if ($o{abort}) {
        disconnect($_, 'reset') for values $backend->{connections}->%*;
    }

    return defined $socket;
}


sub close_idle ($backend) {
    my @idle = grep { !$_->{busy} } values $backend->{connections}->%*;
    disconnect($_) for @idle;
    return scalar @idle;
}


sub set ($backend, %settings) {
    my @unknown = grep { !$known{$_} } sort keys %settings;
    die "unknown setting '@unknown', known are: @{[sort keys %known]}\n"
        if @unknown;

    $backend->{settings} = \%settings;
    return 1;
}


sub clear ($backend) {
    my $stats = $backend->{stats};
    $stats->{$_} = 0 for qw(connections requests answered aborted);
    $stats->{max_active} = $stats->{active};
    $backend->{log} = [];
    return 1;
}


sub stats ($backend) {
    my $idle = grep { !$_->{busy} } values $backend->{connections}->%*;
    return { $backend->{stats}->%*, idle => $idle };
}


# Connections

sub on_connection ($backend) {
    for (1 .. ACCEPTS) {
        my $socket = accept_from($backend->{socket}) or return;
        my $connection = {
            socket => $socket, backend => $backend, in => '', out => '',
            id => ++$connections,
        };

        $backend->{stats}{connections}++;
        $backend->{stats}{open}++;
        $backend->{connections}{ $connection->{id} } = $connection;

        if ($backend->{settings}{drop}) {
            disconnect($connection);
        } else {
            $loop->on_read($socket, sub { on_bytes($connection) });
        }
    }
}


sub disconnect ($connection, $reset = undef) {
    my $socket  = delete $connection->{socket} // return;
    my $backend = $connection->{backend};

    $loop->forget($socket);
    $loop->cancel(delete $connection->{timer});
    $reset ? reset_connection($socket) : close $socket;

    delete $connection->{more};
    delete $backend->{connections}{ $connection->{id} };
    $backend->{stats}{open}--;
    $backend->{stats}{active}-- if delete $connection->{busy};
}


sub on_bytes ($connection) {
    my $n = sysread $connection->{socket}, $connection->{in}, BLOCK,
        length $connection->{in};

    return if !defined $n && ($! == EAGAIN || $! == EINTR);

    if (!$n) {
        $connection->{backend}{stats}{aborted}++ if $connection->{busy};
        return disconnect($connection);
    }

    if ($connection->{upgraded}) {
        return echo($connection);
    }

    next_request($connection) unless $connection->{busy};
}


sub next_request ($connection) {
    my $end = index $connection->{in}, "\r\n\r\n";
    return if $end < 0;

    my $head = substr $connection->{in}, 0, $end + 2;
    my ($body, $behind) = body_of($head, \$connection->{in}, $end + 4)
        or return;

    my ($method, $uri, $version) =
        $head =~ m{\A(\S+) (\S+) HTTP/1\.([01])\r\n}
        or return disconnect($connection);

    substr($connection->{in}, 0, $behind) = '';

    my $request = {
        method => $method, uri => $uri, head => $head, body => $body,
        http_1_1 => $version,
        keepalive => scalar($version
            ? $head !~ /^connection:\s*close\r/mi
            : $head =~ /^connection:\s*keep-alive\r/mi),
    };
    my $backend = $connection->{backend};

    $connection->{busy} = 1;
    $backend->{stats}{active}++;

    if ($uri =~ m{^/_(stats|set|close)(?:\?(.*))?$}) {
        return control($connection, $request, $1, $2);
    }

    my $stats = $backend->{stats};
    my $log   = $backend->{log};

    $stats->{requests}++;
    $stats->{max_active} = $stats->{active}
        if $stats->{active} > $stats->{max_active};

    push @$log, [
        time, $connection->{id}, $head, substr $body, 0, LOGGED_BODY,
    ];
    splice @$log, 0, LOGGED if @$log >= 2 * LOGGED;

    serve($connection, $request, settings_for($backend, $uri));
}


# The body of a request and the place behind it; nothing if more is to come.

sub body_of ($head, $text, $at) {
    if ($head =~ /^transfer-encoding:\s*chunked\r/mi) {
        my $body = '';

        while (my ($data, $next) =
                   LRT::HTTP::Response::next_chunk($text, $at)) {
            return ('', length $$text) unless defined $data;
            return ($body, $next) if $data eq '';
            ($body, $at) = ($body . $data, $next);
        }

        return;
    }

    my $length = $head =~ /^content-length:\s*(\d+)/mi ? $1 : 0;
    return if length $$text < $at + $length;
    return (substr($$text, $at, $length), $at + $length);
}


sub settings_for ($backend, $uri) {
    my $settings = $backend->{settings};
    my %all      = %$settings;

    if (defined $all{times} && --$settings->{times} <= 0) {
        $backend->{settings} = {};
    }

    if ((my $query = index $uri, '?') >= 0) {
        my %own = parse_query(substr $uri, $query + 1);
        my $name = $backend->{name};

        for my $key (keys %own) {
            my $setting = $key =~ s/^\Q$name\E\.//r;
            $all{$setting} = $own{$key} if $known{$setting};
        }
    }

    return \%all;
}


sub parse_query ($query) {
    my %parameters;

    for (split /&/, $query // '') {
        my ($name, $value) = split /=/, $_, 2;
        $value //= 1;
        $value =~ s/%([0-9a-fA-F]{2})/chr hex $1/ge;
        $parameters{$name} = $value;
    }

    return %parameters;
}


sub control ($connection, $request, $what, $query) {
    my $backend = $connection->{backend};
    my %answer  = (status => 200, body => "ok\n");

    $backend->{stats}{answered}--;

    if ($what eq 'set') {
        eval { set($backend, parse_query($query)); 1 }
            or @answer{qw(status body)} = (400, $@);
    } elsif ($what eq 'close') {
        close_idle($backend);
    } else {
        my $stats = stats($backend);
        $stats->{active}--;                     # not this one
        $stats->{answered}++;
        $answer{body} = join '', map { "$_ $stats->{$_}\n" }
            sort keys %$stats;
    }

    respond($connection, $request, \%answer);
}


# Answers

sub serve ($connection, $request, $settings) {
    return if $settings->{hang};

    my ($from, $to) = split /-/, $settings->{delay} // 0;
    $from += rand($to - $from) if defined $to;

    later($connection, $from, sub {
        respond($connection, $request, $settings);
    });
}


sub later ($connection, $milliseconds, $callback) {
    return $callback->() unless $milliseconds;

    $connection->{timer} = $loop->after($milliseconds / 1000, $callback);
}


sub respond ($connection, $request, $settings) {
    return disconnect($connection) if $settings->{close};
    return disconnect($connection, 'reset') if $settings->{reset};

    if (defined $settings->{raw}) {
        $connection->{last} = 1;
        return send_answer(
            $connection, $settings, $settings->{raw}, sub { '' });
    }

    if ($settings->{upgrade}
        && $request->{head} =~ /^upgrade:[ \t]*([^\r]+)/mi)
    {
        $connection->{upgraded} = 1;
        transmit($connection, "HTTP/1.1 101 $reason{101}\r\n"
            . "Connection: upgrade\r\nUpgrade: $1\r\n\r\n");
        return echo($connection);
    }

    my $status  = $settings->{status} // 200;
    my $bare    = $status =~ /^(?:1..|204|304)$/;
    my $chunked = $settings->{chunked} && !$bare;
    my $block   = $settings->{echo} ? $request->{body}
                : $settings->{body} // $connection->{backend}{name};
    my $size    = $settings->{size} // length $block;
    my $cut     = $settings->{cut};
    my $head    = "HTTP/1.1 $status " . ($reason{$status} // 'Other')
                . "\r\nX-Backend: $connection->{backend}{name}\r\n";

    my $keep = $request->{keepalive} && ($settings->{keepalive} // 1);
    $keep = 0 if defined $cut || $chunked && !$request->{http_1_1};
    $connection->{last} = 1 unless $keep;

    $head .= "$settings->{header}\r\n" if defined $settings->{header};
    $head .= 'Connection: ' . ($keep ? 'keep-alive' : 'close') . "\r\n";
    $head .= "Content-Length: $size\r\n" unless $chunked || $bare;

    if ($chunked) {
        $chunked = $request->{http_1_1};
        $head .= "Transfer-Encoding: chunked\r\n" if $chunked;
    }

    $size = min($size, $cut) if defined $cut;
    $size = 0 if $bare || $request->{method} eq 'HEAD';

    # the parts of the body, '' at the end; with `size` it may be of any size

    my $end = $chunked && !defined $cut && $request->{method} ne 'HEAD'
            ? "0\r\n\r\n" : '';
    $block = 'x' x min($size, BLOCK) if defined $settings->{size};

    send_answer($connection, $settings, "$head\r\n", sub {
        my $part = substr $block, 0, $size;
        $size -= length $part;

        $part = sprintf "%x\r\n%s\r\n", length $part, $part
            if $chunked && $part ne '';
        ($part, $end) = ($part . $end, '') if !$size;

        return $part;
    });
}


sub send_answer ($connection, $settings, $head, $next_part) {
    return drip($connection, $settings->{drip}, $head . $next_part->())
        if $settings->{drip};

    if (!$settings->{body_delay}) {
        $connection->{more} = $next_part;
        return transmit($connection, $head . $next_part->());
    }

    $connection->{more} = sub { undef };
    transmit($connection, $head);
    later($connection, $settings->{body_delay}, sub {
        $connection->{more} = $next_part;
        transmit($connection, '');
    });
}


sub drip ($connection, $interval, $text) {
    my $byte = substr $text, 0, 1, '';

    $connection->{more} = sub { undef };
    delete $connection->{more} if $text eq '';
    transmit($connection, $byte);

    later($connection, $interval, sub {
        drip($connection, $interval, $text);
    }) if $text ne '' && $connection->{socket};
}


sub echo ($connection) {
    my $bytes = $connection->{in};
    $connection->{in} = '';
    transmit($connection, $bytes) if $connection->{socket};
}


# Sends what there is to send.  An answer ends when nothing is left and
# there is no `more`, or `more` returns ''; undef means: not yet.

sub transmit ($connection, $bytes) {
    $connection->{out} .= $bytes;

    for (1 .. WRITES) {
        if ($connection->{out} eq '') {
            my $more = $connection->{more} ? $connection->{more}->() : '';
            return unless defined $more;
            return answered($connection) if $more eq '';
            $connection->{out} = $more;
        }

        my $n = syswrite $connection->{socket}, $connection->{out};

        if (!defined $n) {
            last if $! == EAGAIN;
            next if $! == EINTR;
            $connection->{backend}{stats}{aborted}++;
            return disconnect($connection);
        }

        substr($connection->{out}, 0, $n) = '';
    }

    return if $connection->{waiting}++;

    $loop->on_write($connection->{socket}, sub {
        delete $connection->{waiting};
        $loop->on_write($connection->{socket}, undef);
        transmit($connection, '');
    });
}


sub answered ($connection) {
    return if $connection->{upgraded};

    my $stats = $connection->{backend}{stats};
    $stats->{answered}++;
    return disconnect($connection) if $connection->{last};

    delete @$connection{qw(busy more)};
    $stats->{active}--;
    next_request($connection) if $connection->{in} ne '';
}


1;
