package LRT::Raw;

# Servers that send what they are told, byte by byte, and remember who came
# when.  One process serves all of them.
#
#     my $raw = LRT::Raw->new($t);
#     my $s   = $raw->server('silent', answers => []);
#
#     $s->set(answers => [[send => LRT::Raw::OK], [reset => 1]]);
#     is($s->requests, 5);
#     $s->stop;                       # connections are refused ...
#     $s->start;                      # ... and accepted again
#
# A server has steps for each connection, `open`, and a list of steps for each
# request, `answers`: the first request gets the first ones and so on, then
# the last ones are repeated, or with cycle => 1 all of them.  At first it
# answers each request with OK; without any answers it says nothing.  A
# request is what ends with an empty line.  With status => N it answers each
# with this status.  Steps are pairs:
#
#     send  => BYTES
#     drip  => [BYTES, MS]        byte by byte, one each MS
#     trickle => [BYTES, MS]      all of them again and again, each MS
#     flood => BYTES              again and again, as fast as they are taken
#     wait  => MS
#     close => 1, reset => 1
#
# They stop when the connection ends; the next request does not end them.
# idle => MS closes a connection so long after each answer, idle_reset => 1
# with a reset.

use v5.36;

use Errno qw(EAGAIN EINTR);
use LRT::Conf;
use LRT::Loop;
use LRT::Net qw(accept_from listen_on reset_connection);
use LRT::Process;
use Time::HiRes qw(time);

use constant OK => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

use constant { BLOCK => 65_536, REMEMBERED => 20_000 };


sub new ($class, $t) {
    return bless {
        t => $t, process => LRT::Process->spawn('lrt raw servers', \&_main),
    }, $class;
}


# listen => as for LRT->backend, and settings.

sub server ($self, $name, %o) {
    my $listen  = delete $o{listen} // '127.0.0.1';
    my $address = $listen eq 'unix' ? $self->{t}->dir . "/$name.sock"
                : $listen =~ /:\d+$/ ? $listen
                : "$listen:" . LRT::Conf::port($name);
    $address = "unix:$address" if $listen eq 'unix';

    LRT::Conf::know($name => $address);

    my $server = bless {
        name => $name, address => $address, process => $self->{process},
    }, 'LRT::Raw::Server';

    $server->_ask('add', $address);
    $server->set(%o) if %o;
    return $server;
}


# Requests of all servers, oldest first: [time, name of the server].

sub all_requests ($self) {
    return $self->{process}->ask('', 'all')->@*;
}


# The process

my $loop;
my %servers;
my @all;                        # requests
my $ids = 0;

my %commands = (
    add => \&_add, set => \&_set, clear => \&_clear, start => \&_start,
    stop => \&_stop, drop => \&_drop,
    connections => sub ($server) { $server->{log} },
    all => sub ($server) { \@all },
);


sub _main ($channel) {
    $loop = LRT::Loop->new;
    $SIG{PIPE} = 'IGNORE';
    my $gone;

    $loop->on_read($channel, sub {
        LRT::Process::answer($channel, sub ($name, $command, @arguments) {
            return $commands{$command}->(
                $command eq 'add' ? $name : $servers{$name}, @arguments);
        }) or $gone = 1;
    });
    $loop->once until $gone;
}


sub _add ($name, $address) {
    my $server = $servers{$name} = {
        name => $name, address => $address, log => [], open => {},
    };

    _set($server);
    return _start($server);
}


sub _set ($server, %o) {
    $o{answers} = [[send => "HTTP/1.1 $o{status} X\r\n"
        . "Content-Length: 0\r\n\r\n"]] if $o{status};

    $server->{settings} = { answers => [[send => OK]], %o };
    $server->{asked} = 0;
    return 1;
}


sub _clear ($server) {
    $server->{log} = [values $server->{open}->%*];
    $_->{log}{requests} = [] for values $server->{open}->%*;
    $server->{log} = [map { $_->{log} } $server->{log}->@*];
    @all = grep { $_->[1] ne $server->{name} } @all;
    return 1;
}


sub _start ($server) {
    return 0 if $server->{socket};

    my $socket = $server->{socket} = listen_on($server->{address});
    $loop->on_read($socket, sub {
        while (my $accepted = accept_from($socket)) {
            _on_connection($server, $accepted);
        }
    });
    return 1;
}


sub _stop ($server) {
    my $socket = delete $server->{socket} or return 0;

    $loop->forget($socket);
    close $socket;
    _drop($server);
    return 1;
}


# Ends all connections; how => 'reset' does it so.

sub _drop ($server, $how = 'close') {
    my @open = values $server->{open}->%*;
    _end($_, 'ours', $how eq 'reset') for @open;
    return scalar @open;
}


sub _on_connection ($server, $socket) {
    my $c = {
        id => ++$ids, server => $server, socket => $socket, in => '',
        out => '', steps => [], log => {
            id => $ids, opened => time, requests => [], wrote => 0,
        },
    };

    $server->{open}{ $c->{id} } = $c;
    push $server->{log}->@*, $c->{log};
    shift $server->{log}->@* if $server->{log}->@* > REMEMBERED;

    $loop->on_read($socket, sub { _on_bytes($c) });
    _run($c, ($server->{settings}{open} // [])->@*);
}


sub _end ($c, $how, $reset = 0) {
    my $socket = delete $c->{socket} // return;

    $loop->forget($socket);
    $loop->cancel($_) for delete @$c{qw(timer idle)};
    $reset ? reset_connection($socket) : close $socket;

    delete $c->{server}{open}{ $c->{id} };
    @{ $c->{log} }{qw(ended how)} = (time, $how);
}


sub _on_bytes ($c) {
    my $n = sysread $c->{socket}, $c->{in}, BLOCK, length $c->{in};

    if (!defined $n) {
        return if $! == EAGAIN || $! == EINTR;
        return _end($c, 'reset');
    }

    return _end($c, 'closed') if $n == 0;

    # what is no text is just noted

    $c->{log}{bytes} .= substr $c->{in}, -$n
        if length($c->{log}{bytes} // '') < 1000;

    while ($c->{socket} && $c->{in} =~ s/\A(.*?\r\n)\r\n//s) {
        _on_request($c, $1);
    }
}


sub _on_request ($c, $text) {
    my $server   = $c->{server};
    my $settings = $server->{settings};
    my $answers  = $settings->{answers};
    my $number   = $server->{asked}++;
    my $now      = time;

    push $c->{log}{requests}->@*, { time => $now, text => $text };
    push @all, [$now, $server->{name}];
    shift @all if @all > REMEMBERED;

    return unless @$answers;
    $number = $settings->{cycle} ? $number % @$answers
            : $number < @$answers ? $number : $#$answers;

    $loop->cancel(delete $c->{idle});
    _run($c, $answers->[$number]->@*);

    $c->{idle} = $loop->after($settings->{idle} / 1000, sub {
        _end($c, 'ours', $settings->{idle_reset});
    }) if $settings->{idle} && $c->{socket};
}


# Steps come after those that still run.

sub _run ($c, @steps) {
    push $c->{steps}->@*, @steps;
    _next($c) unless $c->{running};
}


sub _next ($c) {
    delete $c->{running};

    while ($c->{socket} && $c->{steps}->@*) {
        my ($step, $what) = splice $c->{steps}->@*, 0, 2;

        if ($step eq 'close' || $step eq 'reset') {
            return _end($c, 'ours', $step eq 'reset');
        } elsif ($step eq 'send') {
            $c->{out} .= $what;
            return unless _write($c);
        } elsif ($step eq 'flood') {
            $c->{flood} = $what x (1 + int BLOCK / length $what);
            $c->{out} .= $c->{flood};
            return unless _write($c);
        } else {
            $c->{running} = 1;
            return _later($c, $step, $what);
        }
    }
}


sub _later ($c, $step, $what) {
    my ($bytes, $ms) = ref $what ? @$what : ('', $what);

    if ($step eq 'drip' && $bytes ne '') {
        my $rest = substr $bytes, 1;
        $c->{out} .= substr $bytes, 0, 1;
        $c->{steps} = [drip => [$rest, $ms], $c->{steps}->@*] if $rest ne '';
        _write($c);
    } elsif ($step eq 'trickle') {
        $c->{out} .= $bytes;
        $c->{steps} = [trickle => $what, $c->{steps}->@*];
        _write($c);
    }

    return unless $c->{socket};
    $c->{timer} = $loop->after($ms / 1000, sub { _next($c) });
}


# Returns whether all is written; if not the steps go on when it is.

sub _write ($c) {
    while (length $c->{out}) {
        my $n = syswrite $c->{socket}, $c->{out}, BLOCK;

        if (!defined $n) {
            next if $! == EINTR;
            return _end($c, 'reset') && 0 unless $! == EAGAIN;
            last;
        }

        substr($c->{out}, 0, $n) = '';
        $c->{log}{wrote} += $n;
        $c->{out} .= $c->{flood} if $c->{flood} && $c->{out} eq '';
        last if $c->{flood};
    }

    return 1 unless length $c->{out};

    $c->{running} = 1;
    $loop->on_write($c->{socket}, sub {
        $loop->on_write($c->{socket}, undef);
        _next($c) if _write($c);
    });

    return 0;
}


package LRT::Raw::Server;

use List::Util qw(max);

use constant SEEN_LATE => 0.02;


sub name    ($self) { return $self->{name} }
sub address ($self) { return $self->{address} }

sub set   ($self, %o) { return $self->_ask('set', %o) }
sub clear ($self)     { return $self->_ask('clear') }
sub stop  ($self)     { return $self->_ask('stop') }
sub start ($self)     { return $self->_ask('start') }

# Ends all connections, returns how many there were.

sub drop ($self, $how = 'close') { return $self->_ask('drop', $how) }


# All since the beginning or clear(), oldest first: hashes of id, opened,
# requests (hashes of time, text), wrote (bytes), bytes (the first that came);
# if it has ended: ended, and how: 'closed', 'reset', or 'ours'.

sub connections ($self) { return $self->_ask('connections')->@* }


# Its requests, the same.

sub requests ($self) {
    my @requests = sort { $a->{time} <=> $b->{time} }
        map { $_->{requests}->@* } $self->connections;
    return @requests;
}


# Those of checks, and all others.

sub probes ($self) {
    my @probes = grep { $_->{text} =~ /nginx-lrt-check/ } $self->requests;
    return @probes;
}

sub others ($self) {
    my @others = grep { $_->{text} !~ /nginx-lrt-check/ } $self->requests;
    return @others;
}


# How many connections there were at a time, at most.  One that follows upon
# the end of another may be seen before that.

sub most_open ($self) {
    my @events = map {
        my ($opened, $ended) = @$_{qw(opened ended)};
        ([$opened, 1], $ended
            ? [max($opened + 1e-6, $ended - SEEN_LATE), -1] : ())
    } $self->connections;

    @events = sort { $a->[0] <=> $b->[0] || $a->[1] <=> $b->[1] } @events;
    my ($open, $most) = (0, 0);

    $most = max $most, $open += $_->[1] for @events;
    return $most;
}


sub _ask ($self, $command, @arguments) {
    return $self->{process}->ask($self->{name}, $command, @arguments);
}


1;
