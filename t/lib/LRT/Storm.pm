package LRT::Storm;

# Traffic and changes that go on while a test kills and reloads, and what
# came of them.
#
#     my $traffic = LRT::Storm->traffic($t, '/u', concurrency => 8);
#     my $changes = LRT::Storm->changes($t, groups => ['u'], rate => 500,
#         servers => \@addresses);
#     ...
#     $traffic->stop;
#     $changes->stop;
#
#     is_deeply($traffic->failed, {});
#     is_deeply([LRT::Storm::wrong_servers($traffic, 'u', $changes)], []);
#
# Everybody uses the same clock, and notes it before he asks and after he got
# the answer: so it can be said which servers a request could have met.

use v5.36;

use LRT::Storm::Changes;
use LRT::Storm::Traffic;


# Requests to a URI; options as for LRT->load.  The server that answers is
# the first word of the body or the header X-Backend.

sub traffic ($class, $t, $uri, %o) {
    return LRT::Storm::Traffic->new($t, $uri, %o);
}


# Adds, removals and changes of weight and "down" in some groups, `rate` of
# them a second, by `processes` processes (2).  Each has its part of the
# servers, and leaves at least `usable` of them (3) in each group; it begins
# with all of them added.  Returns when that is done.  They are made through
# the test hooks, or with api => 1 through the API.
#
# servers => hash: name, as in answers => address

sub changes ($class, $t, %o) {
    return LRT::Storm::Changes->new($t, %o);
}


# The configuration of a group `all` with all that a group may have, and of the
# API on a port of its own; no servers, these are to be added.

sub everything () {
    return q{
        upstream all {
            zone all 2m;
            least_time last_byte inflight;
            lrt_health_check uri=/health interval=1s;
            lrt_slow_start 200ms;
            lrt_panic 20%;
            lrt_state %%DIR%%/all.json;
            keepalive 16;
        }

        server {
            listen 127.0.0.1:%%PORT_api%%;
            access_log off;
            location /api { lrt_api write=on; }
            location /metrics { lrt_metrics; }
            location /dashboard { lrt_dashboard /api; }
        }
    };
}


# Requests that were answered by a server that was not in the group, or was
# down, all the time from their beginning to their end; as text.  A server
# that never changed is named in `always`.

sub wrong_servers ($traffic, $group, $changes, @always) {
    my $presence = $changes->presence($group);
    my %always   = map { $_ => 1 } @always;
    my @wrong;

    for my $request ($traffic->requests) {
        my ($begin, $end, $server, $failure) = @$request;
        next if $failure || $always{$server};

        push @wrong, sprintf '%.6f to %.6f by %s', $begin, $end, $server
            unless grep { $_->[0] <= $end && $_->[1] >= $begin }
                @{ $presence->{$server} };
    }

    return @wrong;
}


# Servers of which the table counted fewer requests, or more, than they can
# have answered; as text.  $counted: name => requests of who is there now.

sub wrong_counts ($traffic, $group, $changes, $counted) {
    my $since = $changes->since($group);
    my (%least, %most, @wrong);

    for my $request ($traffic->requests) {
        my ($begin, $end, $server) = @$request;
        my ($asked, $answered) = ($since->{$server} // next)->@*;

        $least{$server}++ if $begin >= $answered;
        $most{$server}++  if $end >= $asked;
    }

    for my $server (sort keys %$since) {
        my ($least, $most) = ($least{$server} // 0, $most{$server} // 0);
        my $count = $counted->{$server} // 'none';

        push @wrong, "$server: $count, not $least to $most"
            if $count eq 'none' || $count < $least || $count > $most;
    }

    return @wrong;
}


1;
