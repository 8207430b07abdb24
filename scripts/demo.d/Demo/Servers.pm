package Demo::Servers;

# The simulated servers: one program of scripts/lab for each address of the
# loopback that the list has.  What somebody else listens on is balanced all the
# same, but nothing is started for it.
#
#     my $servers = Demo::Servers->new(program => $path, log => $path);
#     $servers->follow(@addresses);                   # what the list has
#     if ($servers->is_waiting) {
#         my @lines = $servers->in_force(@addresses); # what nginx balances
#     }
#     my @lines   = $servers->look;                   # what happened, in words
#     my $error   = $servers->command($address, 'slow');
#
# nginx may refuse a list, and goes on with what it had; so who is new is there
# at once, as it may be asked soon, but spoken of and stopped is who nginx has
# added and removed.

use v5.36;

use Time::HiRes qw(time);
use Demo::Process ();

# Name, colour, and a usual time of service; there is no end of names.

my @kinds = (
    ['red',      4, 20], ['green', 140, 25], ['blue',  215, 30],
    ['orange',  28, 40], ['pink',  325, 30], ['teal',  180, 25],
    ['violet', 265, 35], ['lime',   85, 30], ['brown',  15, 40],
);

# A server that nginx has removed has requests still.

my $grace = 4;

my $slow = 20;


sub new ($class, %o) {
    return bless { %o, servers => {}, names => 0, begun => 0 }, $class;
}


sub follow ($self, @addresses) {
    my %listed = map { ($_ => 1) } @addresses;
    my $all    = $self->{servers};

    for my $address (@addresses) {
        $all->{$address} //= $self->_begin($address);
        delete $all->{$address}{leaves};
    }

    $_->{listed} = $listed{ $_->{address} } for values %$all;
    return;
}


# Whether the list names somebody who is not yet known to be in force, or does
# not name somebody who may be.

sub is_waiting ($self) {
    return scalar grep { $_->{listed} ? $_->{text} : !$_->{leaves} }
        values $self->{servers}->%*;
}


sub in_force ($self, @addresses) {
    my %in_force = map { ($_ => 1) } @addresses;
    my @lines;

    for my $server (sort { $a->{number} <=> $b->{number} }
        values $self->{servers}->%*)
    {
        if ($in_force{ $server->{address} }) {
            push @lines, delete $server->{text} // ();

        } elsif (!$server->{listed}) {
            $server->{leaves} //= time + $grace;
        }
    }

    return @lines;
}


# With the text that is to be said when it is in force.

sub _begin ($self, $address) {
    my $server = { address => $address, number => $self->{begun}++ };

    if ($address !~ /^127\.\d+\.\d+\.\d+:\d+$/) {
        $server->{state} = 'foreign';
        $server->{text}  = "$address is balanced; only addresses in "
            . '127.0.0.0/8 are simulated';
        return $server;
    }

    my $n    = $self->{names}++;
    my $kind = $kinds[$n % @kinds];
    my $more = int($n / @kinds);

    $server->{name} = $kind->[0] . ($more ? $more + 1 : '');
    $server->{hue}  = ($kind->[1] + 20 * $more) % 360;
    $server->{work} = $kind->[2];

    if ($self->_start($server)) {
        $server->{text} = "$address is simulated: $server->{name}, about "
            . "$server->{work} ms";

    } else {
        $server->{state} = 'foreign';
        $server->{text}  = "$address is taken by another program: balanced, "
            . 'not simulated';
    }

    return $server;
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

            # who never was in force is not spoken of

            push @lines, "$address has left the list"
                . ($server->{name} ? ": $server->{name} is stopped" : '')
                if !$server->{text};

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
