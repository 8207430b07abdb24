package LRT::Checks;

# Active checks of a group, as the API and the log tell of them.
#
#     $t->conf(http => q{ ... } . LRT::Checks::server());
#     my $u = LRT::Checks->new($t, 'u');
#
#     ok($u->becomes(a => 'unhealthy'));
#     is($u->state('a'), 'unhealthy');
#     is_deeply([map { $_->{reason} } $u->turns($mark, 'a')], ['...']);
#
# Servers are named as backends are.

use v5.36;

use LRT::API;
use List::Util qw(uniq);


sub server () {
    return q{
        server {
            listen 127.0.0.1:%%PORT_api%%;
            access_log off;
            location /api { lrt_api write=on unix=on; }
        }
    };
}


sub new ($class, $t, $group) {
    return bless {
        t => $t, group => $group, api => LRT::API->new($t)->group($group),
    }, $class;
}


sub api ($self) { return $self->{api} }


# The state of a server, undef if there is none; of all of them.

sub state ($self, $name) {
    my $peer = $self->{api}->peer($self->{t}->address($name));
    return $peer && $peer->{state};
}


sub states ($self) {
    return map { $_->{state} } $self->{api}->get->{peers}->@*;
}


# Waits; returns whether it is so.

sub becomes ($self, $name, $state, $seconds = 8) {
    return $self->{t}->wait_for(
        sub { ($self->state($name) // '') eq $state }, $seconds);
}


sub all_become ($self, $state, $seconds = 8) {
    return $self->{t}->wait_for(
        sub { join(' ', uniq $self->states) eq $state }, $seconds);
}


sub id ($self, $name) {
    return $self->{api}->peer($self->{t}->address($name))->{id};
}


# What the log says of the checks of a server: hashes of level, from, to,
# reason, status, check (a number), text (its type and uri), time (ms).

sub turns ($self, $mark, $name) {
    my $address = $self->{t}->address($name);

    return map {
        / \[(?<level>\w+)\] .* :\ upstream\ "\Q$self->{group}\E":
          \ server\ \Q$address\E,\ id\ \d+, \ (?<from>\w+)\ ->\ (?<to>\w+)
          :\ (?<reason>[^,]+) (?:, \ status\ (?<status>\d+))?
          , \ check\ (?<check>\d+)\ "(?<text>[^"]*)", \ (?<time>[\d.]+)\ ms
        /x ? { %+ } : ()
    } split /\n/, $self->{t}->log($mark);
}


# The reasons of its turns, waiting for at least one.

sub reason ($self, $mark, $name) {
    my @turns;
    $self->{t}->wait_for(sub { @turns = $self->turns($mark, $name) }, 8);
    return join '; ', map { $_->{reason} } @turns;
}


# The machine was so busy that a probe was not counted: what is exact in
# counts of probes is not so then.

sub late ($self) {
    return scalar $self->{t}->grep_log(qr/this process did not run in time/);
}


1;
