package LRT::Storm::Changes;

# Changes of groups in the background, see LRT::Storm.
#
# Each process knows what is in the groups of its servers; only when an
# answer did not come, because a worker was killed or left, it has a look at
# the table.

use v5.36;

use LRT::HTTP::Client;
use LRT::Process;
use LRT::Storm::ByAPI;
use LRT::Storm::ByHooks;
use Time::HiRes qw(sleep time);

use constant {
    PATIENCE => 10,             # seconds with no change made
    FOREVER  => 9e99,
};


sub new ($class, $t, %o) {
    my $count     = $o{processes} // 2;
    my $by        = 'LRT::Storm::' . ($o{api} ? 'ByAPI' : 'ByHooks');
    my @names     = sort keys $o{servers}->%*;
    my @processes = map {
        my $part = $_;
        my @own  = map { $names[$_] }
            grep { $_ % $count == $part } 0 .. $#names;
        my %job  = (
            by      => $by,
            address => $t->address($by->can('port')->()),
            groups  => $o{groups},
            servers => { map { $_ => $o{servers}{$_} } @own },
            rate    => ($o{rate} // 1000) / $count,
            usable  => $o{usable} // 3,
            last_id => {},
        );

        LRT::Process->spawn('lrt changes', sub ($channel) {
            _main($channel, \%job);
        });
    } 0 .. $count - 1;

    $_->ask('begin') for @processes;
    return bless { processes => \@processes }, $class;
}


sub stop ($self) {
    return $self if $self->{results};

    my @results = map { $_->ask('stop') } $self->{processes}->@*;
    $_->end for $self->{processes}->@*;
    $self->{results} = \@results;

    return $self;
}


# The sum over all processes: changes made; busy, how often the lock was not
# free; lost, answers that did not come; faults, answers that should not be
# (texts); seconds.

sub total ($self, $what) {
    my @values = map { $_->{$what} } $self->stop->{results}->@*;

    return map { @$_ } @values if $what eq 'faults';
    return (sort { $b <=> $a } @values)[0] if $what =~ /^(?:seconds|longest)$/;
    my $sum = 0;
    $sum += $_ for @values;
    return $sum;
}


sub summary ($self) {
    return sprintf
        '%d changes in %.1f s, %.0f a second; %d added; slowest %.3f s; '
        . 'lock taken %d times; %d answers lost', map { $self->total($_) }
        qw(changes seconds rate added longest busy lost);
}


# When each server may have been in the group and not down: its name =>
# [[from, to], ...].

sub presence ($self, $group) {
    return {
        map { $_->{presence}{$group}->%* } $self->stop->{results}->@*
    };
}


# The ids that were given in the group, by process, in their order.

sub ids ($self, $group) {
    return map { $_->{ids}{$group} } $self->stop->{results}->@*;
}


# What is in the group in the end: name => id; and since when: name => [when
# it was asked for, when that was answered].

sub present ($self, $group) { return $self->_state($group, 'id') }
sub since   ($self, $group) { return $self->_state($group, 'since') }


sub _state ($self, $group, $what) {
    my %all = map { $_->{state}{$group}->%* } $self->stop->{results}->@*;
    return { map { $_ => $all{$_}{$what} } keys %all };
}


# The process

sub _main ($channel, $job) {
    my ($stop, $gone, $begun);

    $SIG{PIPE} = 'IGNORE';
    srand $$;

    $job->{client} = LRT::HTTP::Client->new($job->{address}, timeout => 5);
    $job->{result} = {
        changes => 0, added => 0, busy => 0, lost => 0, longest => 0,
        faults => [], ids => {}, presence => {},
    };

    my $handler = sub ($word) {
        return $begun = _begin($job) if $word eq 'begin';
        $stop = 1;
        return _result($job, $begun);
    };

    until ($stop || $gone) {
        my $pause = $begun ? _pause($job, $begun) : 1;

        if ($pause > 0 || $job->{count} % 32 == 0) {
            vec(my $set = '', fileno $channel, 1) = 1;
            if (select($set, undef, undef, $pause > 0 ? $pause : 0) > 0) {
                LRT::Process::answer($channel, $handler) or $gone = 1;
            }
            next if $pause > 0 || $stop || $gone;
        }

        $job->{count}++;
        _change($job);
    }

    # until the test has read the answer

    LRT::Process::receive($channel) unless $gone;
}


sub _pause ($job, $begun) {
    return $begun + $job->{count} / $job->{rate} - time;
}


sub _begin ($job) {
    $job->{count} = 0;

    for my $group ($job->{groups}->@*) {
        $job->{state}{$group} = {};
        _add($job, $group, $_) for sort keys $job->{servers}->%*;
    }

    $job->{result}->@{qw(changes added)} = (0, 0);
    return time;
}


sub _result ($job, $begun) {
    my $result = $job->{result};

    $result->{seconds} = time - $begun;
    $result->{rate}    = $result->{changes} / $result->{seconds};

    $result->{state}   = $job->{state};

    return $result;
}


sub _change ($job) {
    my $groups = $job->{groups};
    my $group  = $groups->[$job->{count} % @$groups];
    my $state  = $job->{state}{$group};
    my @names  = keys $job->{servers}->%*;
    my $name   = $names[rand @names];
    my $server = $state->{$name};

    return _add($job, $group, $name) if !$server;
    return _set($job, $group, $name, weight => 1 + int rand 10)
        if rand() < 0.2;
    return _set($job, $group, $name, down => 0)
        if $server->{down};

    # it stays usable, unless there are enough others

    my $usable = grep { !$_->{down} } values %$state;
    return _set($job, $group, $name, weight => 1 + int rand 10)
        if $usable <= $job->{usable};

    return rand() < 0.2 ? _set($job, $group, $name, down => 1)
                        : _remove($job, $group, $name);
}


sub _add ($job, $group, $name) {
    my $begin  = time;
    my $r      = _ask($job, add => $group, $name, $job->{servers}{$name},
        max_fails => 0, weight => 1 + int rand 3) // return;
    my $id     = _by($job, id => $r)
        // return _fault($job, "add of $name to $group: " . $r->body);

    _new_id($job, $group, $id);
    $job->{state}{$group}{$name} = { id => $id, since => [$begin, time] };
    $job->{result}{added}++;
    _opens($job, $group, $name, $begin);
}


sub _remove ($job, $group, $name) {
    my $id = $job->{state}{$group}{$name}{id};
    my $r  = _ask($job, remove => $group, $name, $id) // return;

    _by($job, success => $r)
        or return _fault($job,
            "removal of $name, $id, from $group: " . $r->body);

    delete $job->{state}{$group}{$name};
    _closes($job, $group, $name);
}


sub _set ($job, $group, $name, $what, $value) {
    my $server = $job->{state}{$group}{$name};
    my $begin  = time;
    my $r      = _ask($job, set => $group, $name, $server->{id},
        $what => $value) // return;

    _by($job, success => $r)
        or return _fault($job, "$what=$value of $name in $group: " . $r->body);

    return if $what ne 'down' || ($server->{down} // 0) == $value;
    $server->{down} = $value;
    $value ? _closes($job, $group, $name)
           : _opens($job, $group, $name, $begin);
}


sub _new_id ($job, $group, $id) {
    my $ids = $job->{result}{ids}{$group} //= [];

    _fault($job, "id $id of $group after $ids->[-1]")
        if @$ids && $id <= $ids->[-1];
    push @$ids, $id;
}


# A server may get requests from before it was added until its removal was
# answered.

sub _opens ($job, $group, $name, $begin) {
    my $times = $job->{result}{presence}{$group}{$name} //= [];
    push @$times, [$begin, FOREVER]
        unless @$times && $times->[-1][1] == FOREVER;
}


sub _closes ($job, $group, $name) {
    my $times = $job->{result}{presence}{$group}{$name};
    $times->[-1][1] = time if $times && $times->[-1][1] == FOREVER;
}


# What is done differently by different ways of making changes.

sub _by ($job, $what, @arguments) {
    return $job->{by}->can($what)->(@arguments);
}


sub _request ($job, $method, $uri, $body = undef) {
    return $job->{client}->request($method => $uri, keepalive => 1,
        defined $body ? (body => $body) : ());
}


# Makes a change; returns the answer, or undef if there was none.  While the
# lock is taken it is asked again.

sub _ask ($job, $op, $group, $name, @what) {
    my $begin = time;

    while (1) {
        my $r = _request($job, _by($job, request => $op, $group, @what));

        return _look($job, $group, $name, $begin) if $r->error;

        if ($r->status eq '503' && time < $begin + PATIENCE) {
            $job->{result}{busy}++;
            sleep 0.0005;
            next;
        }

        my $took = time - $begin;
        $job->{result}{longest} = $took if $took > $job->{result}{longest};
        $job->{result}{changes}++;
        return $r;
    }
}


# Nobody answered: what has become of the server?

sub _look ($job, $group, $name, $begin) {
    my $address = $job->{servers}{$name};
    my $state   = $job->{state}{$group};
    my $end     = $begin + PATIENCE;

    $job->{result}{lost}++;
    $job->{client}->close;

    while (time < $end) {
        my $r = _request($job, _by($job, look => $group));
        my ($id, $down) = eval {
            die $r->error, "\n" if $r->error;
            _by($job, found => $r, $address);
        };

        if ($@) {
            $job->{client}->close;
            sleep 0.005;
            next;
        }

        if (!defined $id) {
            delete $state->{$name};
            _closes($job, $group, $name);
            return;
        }

        if (!$state->{$name} || $state->{$name}{id} != $id) {
            _new_id($job, $group, $id);
            $state->{$name} = { id => $id, since => [$begin, time] };
        }

        $state->{$name}{down} = $down;
        $down ? _closes($job, $group, $name)
              : _opens($job, $group, $name, $begin);
        return;
    }

    return _fault($job, "no look at $group in time");
}


sub _fault ($job, $text) {
    push $job->{result}{faults}->@*, sprintf '%.3f: %s', time, $text
        if $job->{result}{faults}->@* < 20;
    return;
}


1;
