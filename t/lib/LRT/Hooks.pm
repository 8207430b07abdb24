package LRT::Hooks;

# What the test hooks of the module (-DLRT_TEST) show and do: a client of the
# location `lrt_test`.
#
#     $t->conf(http => q{ upstream u { ... } ... } . LRT::Hooks::server($t));
#     $t->start;
#
#     SKIP: {
#         my $group = LRT::Hooks->group($t, 'u') or skip 'no test hooks', 3;
#
#         my $id = $group->add('127.0.0.1:8081', weight => 5);
#         $group->set($id, down => 1);
#         is($group->peer($id)->{requests}, 0);
#         ok($group->settles);
#     }
#
# A server is named by its id or by its address, "127.0.0.1:8081"; the
# address means the primary if a backup has the same.  Parameters are those
# of the "server" directive and drain; fail_timeout is in milliseconds.
#
# While another process holds the lock of the table the answer is 503: then
# it is asked again, for two seconds.  Other refusals die with the reason;
# ->refusal returns it.

use v5.36;

use Carp qw(croak);
use List::Util qw(sum0);
use LRT::HTTP;
use Time::HiRes qw(sleep time);

use constant { PATIENCE => 2, PAUSE => 0.005 };


# The server block to put into http { }; empty if the program has no hooks.

sub server ($t) {
    return '' unless $t->has_test_hooks;
    return q{
        server {
            listen 127.0.0.1:%%PORT_lrt_test%%;
            access_log off;
            location / { lrt_test; }
        }
    };
}


# The hooks of a group, undef if the program has none.

sub group ($class, $t, $name) {
    return undef unless $t->has_test_hooks;
    return bless { t => $t, name => $name }, $class;
}


# Changes

# Returns the id of the new server.

sub add ($self, $address, %parameters) {
    my $text = $self->_done('add', server => $address, %parameters);
    return $text =~ /\bid=(\d+)/ ? $1 : croak "no id in '$text'";
}


sub set ($self, $server, %parameters) {
    $self->_done('set', id => $self->id($server), %parameters);
    return $self;
}


sub remove ($self, $server) {
    $self->_done('remove', id => $self->id($server));
    return $self;
}


sub method ($self, $directive) {
    $self->_done('method', name => $directive);
    return $self;
}


# A change that has to be refused: status and reason, "409 exists".

sub refusal ($self, $op, %arguments) {
    $arguments{id} = $self->id($arguments{id}) if defined $arguments{id};

    my $r = $self->_ask($op, %arguments);
    my ($reason) = ($r->body // '') =~ /^([a-z]*)/;
    return join ' ', $r->status, $reason || ();
}


# State

# All of the table: generation, method, capacity, primaries, backups, gone,
# merged; servers, an array of hashes in the order of their slots: slot, id
# (none: removed, but requests still use it; then zombie is 1), name, weight,
# max_conns, max_fails, backup, down, drain, in_conf, fails, inflight,
# requests.

sub dump ($self) {
    my ($head, @lines) = split /\n/, $self->_done('dump');
    my %table = _fields($head);

    for my $line (@lines) {
        my %server = _fields($line);
        $server{zombie} = 1 if $line =~ / zombie /;

        # below 0 it is printed as a large number
        $server{inflight} = unpack 'l', pack 'L', $server{inflight};
        push @{ $table{servers} }, \%server;
    }

    $table{servers} //= [];
    return \%table;
}


sub _fields ($text) { return $text =~ /(\w+)=(\S*)/g }


sub generation ($self) { return $self->dump->{generation} }
sub capacity   ($self) { return $self->dump->{capacity} }
sub servers    ($self) { return $self->dump->{servers}->@* }


# One server, a hash of the above; undef if there is none.

sub peer ($self, $server) {
    my @found = grep { defined $_->{id} } $self->servers;

    @found = grep {
        $server =~ /^\d+$/ ? $_->{id} == $server : $_->{name} eq $server
    } @found;

    return (sort { $a->{backup} <=> $b->{backup} } @found)[0];
}


sub id ($self, $server) {
    return $server if $server =~ /^\d+$/;

    my $peer = $self->peer($server)
        // croak "no server '$server' in group '$self->{name}'";
    return $peer->{id};
}


# One parameter or figure of all servers: address => value; of a removed one
# that is still in use "removed address" => value.

sub all ($self, $field) {
    return {
        map { (($_->{zombie} ? 'removed ' : '') . $_->{name} => $_->{$field}) }
            $self->servers
    };
}


# Requests that hold a server, removed ones among them.

sub inflight ($self) { return sum0 map { $_->{inflight} } $self->servers }


# The counters of a server: requests, 1xx .. 5xx, codes (a hash), sent,
# received, fails, unavail, selected (ms), samples, p50 (us).

sub stats ($self, $server) {
    my %stats = _fields($self->_done('stats', id => $self->id($server)));

    for (grep { /^code\d/ } keys %stats) {
        $stats{codes}{ s/^code//r } = delete $stats{$_};
    }

    $stats{codes} //= {};
    return \%stats;
}


# 'valid', or what is wrong with the table; quiet => 1 says that no request
# runs, and compares all counts.

sub validity ($self, %o) {
    my $r = $self->_ask('validate', quiet => $o{quiet} ? 1 : 0);
    return $r->body =~ s/\n//r;
}


# Waits until the table has come to rest: no request in flight, counts
# right.  nginx gives a server back after the client has its answer.

sub settles ($self, $seconds = 3) {
    return $self->{t}->wait_for(sub {
        !(grep { $_->{inflight} != 0 } $self->servers)
            && $self->validity(quiet => 1) eq 'valid'
    }, $seconds);
}


# What is not at rest, in words, for diag().

sub unrest ($self) {
    return join "\n", $self->validity(quiet => 1), map {
        "$_->{name}: $_->{inflight} in flight"
    } grep { $_->{inflight} } $self->servers;
}


# For tests of crashes

# The next worker that comes to this point is killed.

sub kill_at ($self, $point) { return $self->_done('hook', point => $point) }

# Kills a worker that holds the lock of the table, or keeps one there for
# some milliseconds: requests that are sent and not waited for.

sub die_locked ($self) { return $self->_begin('die_locked') }
sub hold ($self, $ms)  { return $self->_begin('hold', ms => $ms) }


# The same, and others have seen that the lock is taken, which may take half a
# second; in list context with the time before it was.

sub held ($self, $ms) {
    for (1 .. 20) {
        my $before = time;
        my $hold   = $self->hold($ms);

        # not for long: what came to the same worker would have to wait

        for (1 .. 5) {
            return wantarray ? ($hold, $before) : $hold
                if $self->{t}->get($self->_uri('validate'),
                    port => 'lrt_test', timeout => 0.1)->status eq '503';
        }

        $hold->receive;
    }

    die "nobody has the lock\n";
}


# Requests

sub _begin ($self, $op, %arguments) {
    return $self->{t}->begin($self->_uri($op, %arguments), port => 'lrt_test');
}


sub _done ($self, $op, %arguments) {
    my $r = $self->_ask($op, %arguments);
    return $r->body if $r->status eq '200';

    my $body = $r->body // '';
    croak "$op of group '$self->{name}': ", $r->status, " $body";
}


sub _ask ($self, $op, %arguments) {
    my $uri = $self->_uri($op, %arguments);
    my $end = time + LRT::HTTP::timeout(PATIENCE);

    while (1) {
        my $r = $self->{t}->get($uri, port => 'lrt_test');
        return $r if $r->status ne '503' || time > $end;
        sleep PAUSE;
    }
}


sub _uri ($self, $op, %arguments) {
    return "/?op=$op&group=$self->{name}"
        . join '', map { "&$_=$arguments{$_}" } sort keys %arguments;
}


1;
