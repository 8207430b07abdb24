package LRT::Methods;

# The methods, for tests of what has to hold with each of them.
#
#     for my $method (LRT::Methods->all) {
#         $conf .= "upstream u_$method->{id} { $method->{directive}; ... }";
#     }
#     ...
#     my @answers = map { $t->get("/$method->{id}", from => $_)->name }
#         LRT::Methods::clients;
#     $method->balances('all', @answers);
#
# The servers are called "one" and "two".  Requests come from many clients,
# each of them twice: the second round must repeat the first if clients stay
# with their servers.

use v5.36;

use LRT::Hooks;
use Test::More;

use constant CLIENTS => 24;     # all on one of two servers: 1 in 8 million

my @table = (
    [round_robin => 'round_robin_ext'],
    [least_conn  => 'least_conn_ext'],
    [iphash      => 'iphash_ext'],
    [header      => 'least_time header'],
    [last_byte   => 'least_time last_byte inflight'],
);


# Hashes of id, a word for names, and directive.

sub all ($class) {
    return map { bless { id => $_->[0], directive => $_->[1] }, $class } @table;
}


# Clients stay with their servers; servers have equal shares.

sub is_sticky ($self) { return $self->{id} eq 'iphash' }
sub is_even   ($self) { return $self->{id} =~ /^(?:round_robin|least_conn)$/ }


# The addresses of the clients, one for each request.

sub clients () { return map { "127.0.7.$_" } (1 .. CLIENTS) x 2 }


# Who answered the clients is as the method wants it.

sub balances ($self, $what, @answers) {
    my $name = "$self->{directive}: $what: ";
    my $half = @answers / 2;
    my %by;
    $by{$_}++ for @answers;

    return is_deeply(\%by, { one => $half, two => $half },
        $name . 'both servers have their share') if $self->is_even;

    is(join(' ', sort keys %by), 'one two', $name . 'both servers answer');
    is_deeply([@answers[$half .. $#answers]], [@answers[0 .. $half - 1]],
        $name . 'clients stay with their servers') if $self->is_sticky;
}


# The first server is dead.  Which servers were asked for each client, one
# of "two" and "one, two"; who had answered them before.

sub fails_over ($self, $what, $before, @asked) {
    my $name = "$self->{directive}: $what: ";
    my %times;
    $times{$_}++ for @asked;

    return is_deeply(\@asked,
        [map { $_ eq 'one' ? 'one, two' : 'two' } @$before],
        $name . 'clients of a dead server go to the other')
        if $self->is_sticky;

    return is_deeply(\%times, { two => @asked / 2, 'one, two' => @asked / 2 },
        $name . 'what a dead server got goes to the other') if $self->is_even;

    # by its time, the dead one may have been the better one or the worse
    is(join(' ', grep { !/^(?:one, )?two$/ } keys %times), '',
        $name . 'nothing is left to a dead server');
}


# No request is counted any more.

sub settles ($self, $t, $group, $what) {
    SKIP: {
        my $hooks = LRT::Hooks->group($t, $group) or skip 'no test hooks', 1;
        ok($hooks->settles, "$self->{directive}: $what: nothing is counted")
            or diag($hooks->unrest);
    }
}


1;
