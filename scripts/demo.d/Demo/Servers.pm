package Demo::Servers;

# The simulated servers: one program of scripts/lab for each address of the
# loopback that the list has.  What somebody else listens on is balanced all the
# same, but nothing is started for it.
#
#     my $servers = Demo::Servers->new(program => $path, log => $path);
#     my @lines   = $servers->follow(@addresses);     # what happened, in words
#     my $error   = $servers->command($address, 'slow');

use v5.36;

use Time::HiRes qw(time);
use Demo::Process ();

# Name, colour, and a usual time of service; there is no end of names.

my @kinds = (
    ['red',      4, 20], ['green', 140, 25], ['blue',  215, 30],
    ['orange',  28, 40], ['pink',  325, 30], ['teal',  180, 25],
    ['violet', 265, 35], ['lime',   85, 30], ['brown',  15, 40],
);

# A server that left the list has requests still; nginx reads the list within
# two seconds.

my $grace = 4;

my $slow = 20;


sub new ($class, %o) {
    return bless { %o, servers => {}, names => 0 }, $class;
}


sub follow ($self, @addresses) {
    my %listed = map { ($_ => 1) } @addresses;
    my $all    = $self->{servers};
    my @lines;

    for my $address (@addresses) {
        my $server = $all->{$address};

        if ($server) {
            delete $server->{leaves};
            next;
        }

        $server = $all->{$address} = { address => $address };
        push @lines, $self->_begin($server);
    }

    $_->{leaves} //= time + $grace
        for grep { !$listed{ $_->{address} } } values %$all;

    return @lines;
}


sub _begin ($self, $server) {
    my $address = $server->{address};

    if ($address !~ /^127\.\d+\.\d+\.\d+:\d+$/) {
        $server->{state} = 'foreign';
        return "$address is balanced; only addresses in 127.0.0.0/8 are "
            . 'simulated';
    }

    my $n    = $self->{names}++;
    my $kind = $kinds[$n % @kinds];
    my $more = int($n / @kinds);

    $server->{name} = $kind->[0] . ($more ? $more + 1 : '');
    $server->{hue}  = ($kind->[1] + 20 * $more) % 360;
    $server->{work} = $kind->[2];

    if (!$self->_start($server)) {
        $server->{state} = 'foreign';
        return "$address is taken by another program: balanced, not simulated";
    }

    return "$address is simulated: $server->{name}, about $server->{work} ms";
}


sub _start ($self, $server) {
    my $process = Demo::Process->start(
        [$self->{program}, '--control', '-e', join ' ', 'server',
            $server->{name}, "listen=$server->{address}", 'slots=8',
            "work=lognormal:$server->{work}ms:0.3", "hue=$server->{hue}"],
        in => 1, out => 1, log => $self->{log});

    if (!$process->line(5)) {
        $process->end;
        return 0;
    }

    # else the first request would start it, as new

    $process->tell('start');

    $server->{process} = $process;
    $server->{state}   = 'running';
    $server->{slow}    = 1;
    return 1;
}


# What has become of them meanwhile.

sub look ($self) {
    my @lines;

    for my $server (values $self->{servers}->%*) {
        my $address = $server->{address};

        if ($server->{leaves} && $server->{leaves} < time) {
            delete $self->{servers}{$address};
            _stop($server);
            push @lines, "$address has left the list"
                . ($server->{name} ? ": $server->{name} is stopped" : '');

        } elsif ($server->{process} && !$server->{process}->is_running) {
            my $ending = (delete $server->{process})->ending;
            $server->{state} = 'stopped';
            push @lines, "$server->{name} at $address $ending";
        }
    }

    return @lines;
}


sub _stop ($server) {
    my $process = delete $server->{process} or return;
    $process->end;
    return;
}


# What a button does; returns what is wrong, or nothing.

sub command ($self, $address, $word) {
    my $server = $self->{servers}{$address}
        or return 'there is no such server';

    return 'this server is not simulated' if $server->{state} eq 'foreign';

    if ($word eq 'stop') {
        _stop($server);
        $server->{state} = 'stopped';

    } elsif ($word eq 'start') {
        return if $server->{process};
        $self->_start($server) or return 'it cannot listen there';

    } elsif (!$server->{process}) {
        return 'this server is stopped';

    } elsif ($word eq 'slow') {
        $server->{slow} = $slow;
        $server->{process}->tell("now $server->{name} slow $slow");

    } elsif ($word eq 'normal') {
        $server->{slow} = 1;
        $server->{process}->tell("now $server->{name} recover");

    } else {
        return 'there is no such command';
    }

    return;
}


sub status ($self) {
    return [ map { {
        address => $_->{address}, state => $_->{state},
        $_->{name} ? (
            name => $_->{name}, hue => $_->{hue}, usual_ms => $_->{work},
            slow => $_->{slow},
        ) : (),
    } } grep { !$_->{leaves} }
        map { $self->{servers}{$_} } sort keys $self->{servers}->%* ];
}


sub end ($self) {
    _stop($_) for values $self->{servers}->%*;
    $self->{servers} = {};
    return;
}


1;
