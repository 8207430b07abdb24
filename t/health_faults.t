#!/usr/bin/perl

# What servers may do to active checks: say nothing, too little, too much or
# nonsense.  Each probe ends in time, says why it failed, and holds no more
# than its share of memory and connections.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use List::Util qw(max min);
use Test::More;
use Time::HiRes qw(sleep time);

use LRT;
use LRT::Checks;
use LRT::Net qw(timeout);
use LRT::Raw;

use constant { OK => LRT::Raw::OK, LIMIT => 256 * 1024 };

my $t   = LRT->new(name => 'health_faults', need => [qw(module proxy rewrite)]);
my $raw = LRT::Raw->new($t);

my $chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

sub length_of ($value) {
    return "HTTP/1.1 200 OK\r\nContent-Length: $value\r\n\r\nok";
}

# what a server says to each request, and what the log has to say of it; what
# begins with "ok" passes

my %says = (
    text => ["220 mail.example.org ESMTP\r\n", 'malformed status line'],
    early_text => ["SSH-2.0-x\r\n\r\n", 'malformed status line'],
    version => ["HTTP/9.9 999 X\r\n\r\n", 'unsupported version of http'],
    http2 => ["HTTP/2.0 200 OK\r\n\r\n", 'unsupported version of http'],
    status => ["HTTP/1.1 999 X\r\n\r\n", 'malformed status line'],
    status_nul => ["HTTP/1.1 200 O\0K\r\n\r\n", 'malformed status line'],
    header_nul => ["HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
        'malformed header line'],
    header_no_colon => ["HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
        'malformed header line'],
    line_1m => ["HTTP/1.1 200 OK\r\nX: " . 'x' x 1_000_000 . "\r\n\r\n",
        'too long header line'],
    head_1m => ["HTTP/1.1 200 OK\r\n" . "X: xxxxxxx\r\n" x 100_000 . "\r\n",
        'too large response header'],
    bare_lf => ["HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        'line ends without a carriage return'],
    negative => [length_of('-1'), 'bad content length'],
    two_lengths => [length_of("2\r\nContent-Length: 3"),
        'bad content length'],
    length_text => [length_of('2x'), 'bad content length'],
    length_huge => [length_of('99999999999999999999'), 'bad content length'],
    both_lengths => [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
        . "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        'bad content length'],
    coding => [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        'unknown transfer encoding'],
    chunk_overflow => ["${chunked}fffffffffffffffff\r\nok",
        'malformed chunk'],
    chunk_text => ["${chunked}no number\r\nok", 'malformed chunk'],
    chunk_longer => ["${chunked}2\r\nokok\r\n0\r\n\r\n", 'malformed chunk'],
    ok_8_interim => ["HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" x 4
        . "HTTP/1.1 100 Continue\r\n\r\n" x 4 . OK],
    interim_20 => [("HTTP/1.1 100 Continue\r\n\r\n"
        . "HTTP/1.1 103 Early Hints\r\n\r\n") x 10 . OK,
        'too many 1xx responses'],
    switching => ["HTTP/1.1 101 Switching Protocols\r\n"
        . "Upgrade: x\r\nConnection: upgrade\r\n\r\n",
        'switches protocols unasked'],
    status_500 => ["HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n",
        'unexpected status'],
    ok_no_text => ["HTTP/1.1 204\r\n\r\n"],
    ok_chunked => ["${chunked}2;x=y\r\nok\r\n0\r\nX: y\r\n\r\n"],
    truncated => [[send => length_of(10), close => 1],
        'connection closed within the response body'],
    cut_head => [[send => "HTTP/1.1 200 OK\r\nX: ", close => 1],
        'connection closed before a full response header'],
    ok_till_end => [
        [send => "HTTP/1.0 200 OK\r\n\r\nok", wait => 20, close => 1]],
    close => [[close => 1],
        'connection closed before a full response header'],
    reset => [[reset => 1], 'connection reset'],
    ok_drip => [[drip => [OK, 1]]],
);

# those that take all of the time they get

my $timeout = timeout(200);

my %slow = (
    silent  => [],
    drip    => [drip => [OK, $timeout / 10]],
    headers => [send => "HTTP/1.1 200 OK\r\n",
        trickle => ["X: y\r\n", $timeout / 10]],
    interim => [send => "HTTP/1.1 100 Continue\r\n",
        trickle => ["X: y\r\n", $timeout / 10]],
);

# bodies without an end: where the word is that is looked for

my %endless = (
    ok_chunked_end => [send => $chunked . filled(LIMIT - 100, 'WORD'),
        flood => chunk('x' x 8192)],
    chunked_behind => [send => $chunked . filled(LIMIT + 100, 'WORD'),
        flood => chunk('x' x 8192)],
    ok_10g => [send => length_of('10737418240'), send => 'WORD',
        flood => 'x' x 8192],
    ok_no_length => [send => "HTTP/1.1 200 OK\r\n\r\n"
        . 'x' x (LIMIT - 100) . 'WORD', flood => 'x' x 8192],
    no_length_behind => [send => "HTTP/1.1 200 OK\r\n\r\n"
        . 'x' x LIMIT . 'WORD', flood => 'x' x 8192],
    empty_chunks => [send => $chunked, flood => chunk('x')],
);


sub chunk ($bytes) { return sprintf "%x\r\n%s\r\n", length $bytes, $bytes }


# Chunks of 4096 until a word ends at a place; the framing counts.

sub filled ($end, $word) {
    my $text = '';

    $text .= chunk('x' x 4096) while length($text) + 8400 < $end;
    my $rest = $end - length($text) - length($word) - 6;
    return $text . chunk('x' x $rest . $word);
}


my (%s, %upstream);

for my $group (\%says, \%slow, \%endless) {
    for my $name (sort keys %$group) {
        my $steps = $group->{$name};
        $steps = $steps->[0] if $group == \%says;
        $steps = [send => $steps] if !ref $steps;

        my $prefix = $group == \%says ? 'm' : $group == \%slow ? 's' : 'e';
        $s{$name} = $raw->server("${prefix}_$name", answers => [$steps]);
        push $upstream{$prefix}->@*, "server %%ADDRESS_${prefix}_$name%%;";
    }
}

my %cycle = (
    f_never  => 'FFP',
    f_toggle => 'FP',
    f_out    => 'FFFPPP',
    f_back   => 'FFFPFPF',
);

my %kept = (
    k_good    => [],
    k_fin     => [idle => 60],
    k_rst     => [idle => 60, idle_reset => 1],
    k_stale   => [cycle => 1, answers => [[send => OK], [close => 1]]],
    k_broken  => [cycle => 1, answers => [[send => OK], [reset => 1]]],
    k_more    => [answers => [[send => OK . 'more']]],
    k_1_0     => [answers => [[send => OK =~ s/1\.1/1.0/r]]],
    k_close   => [answers => [
        [send => OK =~ s/OK\r\n/OK\r\nConnection: close\r\n/r]]],
    k_trickle => [answers => [[
        send => length_of(1000), trickle => ['x', 20]]]],
    k_dead    => [answers => [[send => OK], [close => 1]]],
);

$s{$_} = $raw->server($_) for sort keys %cycle;
$s{$_} = $raw->server($_, $kept{$_}->@*) for sort keys %kept;

my $interval = timeout(250);
my $often    = timeout(150);

# one worker: each counts its lines on its own, and on a machine that stops now
# and then another one would go on with the probes

$t->conf(workers => 1, http => qq{
    lrt_match word { status 200; body ~ WORD; }

    upstream m {
        @{$upstream{m}}
        lrt_health_check interval=${interval}ms timeout=${interval}ms fails=1;
    }
    upstream s {
        zone s 256k;
        @{$upstream{s}}
        lrt_health_check interval=${interval}ms timeout=${timeout}ms
                         fails=3 jitter=0%;
    }
    upstream e {
        @{$upstream{e}}
        lrt_health_check interval=${interval}ms timeout=${interval}ms
                         fails=1 match=word keepalive_time=1h;
    }
    upstream f {
        @{[map { "server %%ADDRESS_$_%%;" } sort keys %cycle]}
        lrt_health_check interval=${often}ms timeout=${often}ms
                         fails=3 passes=2;
    }
    upstream k {
        @{[map { "server %%ADDRESS_$_%%;" } sort keys %kept]}
        lrt_health_check interval=${interval}ms timeout=${interval}ms
                         fails=1 keepalive_time=1h;
    }

    server {
        listen 127.0.0.1:%%PORT_http%%;
        location ~ ^/(?<group>\\w+) { proxy_pass http://\$group; }
    }
} . LRT::Checks::server());

my $mark = $t->log_mark;
$t->start;

my ($m, $s, $e, $f, $k) =
    map { LRT::Checks->new($t, $_) } qw(m s e f k);

###############################################################################

subtest 'nonsense' => sub {
    for my $name (sort keys %says) {
        my $wanted = $says{$name}[1];

        if ($wanted) {
            is($m->reason($mark, "m_$name"), $wanted, $name);
        } else {
            ok($t->wait_for(sub { $s{$name}->requests > 2 }), "$name: probes");
            ok($m->becomes("m_$name", 'up'), "$name: passes");
            is_deeply([unexcused($m, "m_$name")], [], "$name: always");
        }
    }

    my ($turn) = $m->turns($mark, 'm_status_500');
    is($turn->{status}, 500, 'the log has the status');
    is($turn->{text}, 'http /', 'and the check');
    is($turn->{level}, 'warn', 'as a warning');
    is("$turn->{from} $turn->{to}", 'up unhealthy', 'and what has changed');
};


subtest 'as slow as can be' => sub {
    my ($at_least, $at_most) = ($timeout / 1000 - 0.05,
        $timeout / 1000 + timeout(0.05));

    for my $name (sort keys %slow) {
        my $server = $s{$name};
        is($s->reason($mark, "s_$name"), 'no full answer in time', $name);

        my @ended = grep { $_->{ended} } $server->connections;
        my @times = map { $_->{ended} - $_->{opened} } @ended;

        cmp_ok(min(@times), '>', $at_least, "$name: not before its timeout");
        cmp_ok(min(@times), '<', $at_most, "$name: nor after it");
        is(scalar(grep { $_->{how} eq 'ours' } @ended), 0,
            "$name: nginx closes the connection");
        is($server->most_open, 1, "$name: one at a time");
        is(scalar(grep { $_->{requests}->@* > 1 } @ended), 0,
            "$name: for one request");
    }

    # how many it took; what was counted before the state is read is less,
    # or equal, and what is counted after that is more, or equal

    my $silent = $s{silent};
    my ($before, $after) = (0, 0);

    $silent->set;
    ok($s->becomes('s_silent', 'up'), 'it answers');
    $silent->clear;
    $silent->set(answers => []);

    $t->wait_for(sub {
        my $ended = grep { $_->{ended} && !is_answered($_) }
            $silent->connections;
        return 1 if $s->state('s_silent') eq 'unhealthy';
        $before = $ended;
        return 0;
    });
    $after = grep { $_->{ended} } $silent->connections;

    cmp_ok($after, '>=', 3, 'it takes three probes');
    cmp_ok($before, '<=', 3, 'and no more') unless $s->late;
};


sub is_answered ($connection) { return $connection->{wrote} }


subtest 'without an end' => sub {
    for my $name (sort keys %endless) {
        my $server = $s{$name};

        if ($name =~ /^ok/) {
            ok($t->wait_for(sub { $server->requests > 3 }), "$name: probes");
            ok($e->becomes("e_$name", 'up'), "$name: what was seen is good");
            is_deeply([unexcused($e, "e_$name")], [], "$name: always");
        } else {
            is((unexcused($e, "e_$name", 1))[0], 'body test failed',
                "$name: what is behind the limit is not seen");
        }

        my @connections = grep { $_->{ended} } $server->connections;
        cmp_ok(scalar @connections, '>=', 1, "$name: nginx hangs up");
        is(max(map { scalar $_->{requests}->@* } @connections), 1,
            "$name: for each probe");
        cmp_ok(max(map { $_->{wrote} } @connections), '<', 16 * 2**20,
            "$name: after what was in buffers");
        is($server->most_open, 1, "$name: one at a time");
    }

    SKIP: {
        skip 'sanitizers keep memory', 1 if sanitized();

        my $seen = sub { scalar map { $s{$_}->requests } keys %endless };
        my ($enough, $rss) = ($seen->() + 30, memory());

        $t->wait_for(sub { $seen->() > $enough }, 15);
        cmp_ok(memory() - $rss, '<', 1024, 'memory does not grow, KB');
    }
};


sub sanitized () { return $t->{program}->about =~ /-fsanitize/ }


# Of the workers, KB.

sub memory () {
    my $sum = 0;

    for my $pid ($t->workers) {
        open my $status, '<', "/proc/$pid/status" or next;
        $sum += /^VmRSS:\s+(\d+)/ ? $1 : 0 for <$status>;
    }

    return $sum;
}


# The reasons of turns for the worse that are not the fault of a machine
# that is too busy; with $wait at least one.

sub unexcused ($checks, $name, $wait = 0) {
    my @reasons;

    $t->wait_for(sub {
        @reasons = grep { $_ !~ /timed out|in time/ } map { $_->{reason} }
            grep { $_->{to} eq 'unhealthy' } $checks->turns($mark, $name);
        return @reasons || !$wait;
    });

    return @reasons;
}

###############################################################################

# Each letter is a probe that passes or fails; what the state has to be after
# each.  A server is looked at when its last probe is over, so long before the
# next one that the state is that after it.

my %after = (
    f_never  => { FFP     => 'uuu' },
    f_toggle => { FP      => 'uu' },
    f_out    => { FFFPPP  => 'uudduu' },
    f_back   => { FFFPFPF => 'uuddddd' },
);

subtest 'so many fails, so many passes' => sub {
    my $lines = sub {
        return $t->grep_log(
            qr/upstream "f": server \Q${\$t->address('f_out')}\E,/, $mark);
    };

    my $early = () = $lines->();

    for my $name (sort keys %after) {
        my ($letters, $states) = $after{$name}->%*;
        my ($seen, $wrong);

        # the machine may stop for longer than a probe may take

        for my $try (1 .. 4) {
            ($seen, $wrong) = watch($name, $letters, $states);
            last unless @$wrong;
            diag("$name: again, after @$wrong");
        }

        is_deeply($wrong, [], "$name: the state after each probe");
        is(join('', sort { $a <=> $b } keys %$seen),
            join('', 0 .. length($letters) - 1), "$name: all were seen");
    }

    # if it was too late with an answer before, its minute may have begun then

    my @lines;
    ok($t->wait_for(sub {
        @lines = $lines->();
        return @lines && $lines[-1] =~ /; no more lines about it for a while$/;
    }), 'the last line of a server that flaps says so');
    $early ? cmp_ok(scalar @lines, '>=', 6, 'after six lines')
           : is(scalar @lines, 6, 'after six lines');

    return if $ENV{LRT_QUICK};

    my $told = qr/upstream "f": server \Q${\$t->address('f_out')}\E, id \d+, changed state (\d+) times in the last minute, and is \w+; (\d+) turns so far/;
    ok($t->wait_for(sub { $t->grep_log($told, $mark) }, 75),
        'a minute later it says how many there were');

    my ($times, $turns) = ($t->grep_log($told, $mark))[0] =~ $told;
    my $peer = $f->api->peer($t->address('f_out'));
    cmp_ok($times, '>', 6, 'more than lines');

    # the probe that ends the minute may be a turn itself

    cmp_ok($turns - $times, '<=', 1, 'each turn of that minute');
    cmp_ok($turns, '>=', $times, 'and no other');
    cmp_ok($peer->{lrt}{turns}, '>=', $turns, 'and the API goes on counting');
    is($peer->{health_checks}{unhealthy}, int((1 + $peer->{lrt}{turns}) / 2),
        'every other turn is a failure');
};


sub watch ($name, $letters, $states) {
    my $server = $s{$name};
    my (%seen, @wrong);
    my $at = 0;

    $server->set;
    $f->becomes($name, 'up');
    $server->clear;
    $t->wait_for(sub { $server->requests >= 2 });
    $server->clear;
    $server->set(cycle => 1, answers => [map { [send =>
        $_ eq 'P' ? OK : "HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n"
    ] } split //, $letters]);
    $server->clear;

    # f_back never comes back, so its next round begins with another state

    my $rounds = $name eq 'f_back' ? 1 : 3;

    $t->wait_for(sub {
        my $before = () = $server->requests;
        sleep 0.03;
        my $state = substr $f->state($name), 0, 2;
        my $after = () = $server->requests;

        if ($before && $before == $after) {
            $at = ($before - 1) % length $letters;
            my $wanted = substr($states, $at, 1) eq 'u' ? 'up' : 'un';
            $seen{$at} = 1;
            push @wrong, "probe $before: $state" if $state ne $wanted;
        }

        return $before >= $rounds * length $letters || @wrong;
    }, 15);

    return (\%seen, \@wrong);
}

###############################################################################

subtest 'connections that are kept' => sub {
    my %all = map {
        my $server = $s{$_};
        $t->wait_for(sub { $server->requests > 6 });
        ($_ => [$server->connections]);
    } keys %kept;

    for my $name (sort keys %kept) {
        next if $name eq 'k_dead';
        is_deeply([unexcused($k, $name)], [], "$name: nothing fails");
        ok($k->becomes($name, 'up'), "$name: it is up");
        is($s{$name}->most_open, 1, "$name: one at a time");
    }

    my $most = sub ($name) {
        return max map { scalar $_->{requests}->@* } $all{$name}->@*;
    };

    cmp_ok($most->('k_good'), '>', 6, 'a connection is used again');
    is($most->('k_fin'), 1, 'one that the server closes is not');
    is($most->('k_rst'), 1, 'nor one that it resets');
    is($most->('k_stale'), 2, 'a stale one is closed when it is used');
    is($most->('k_broken'), 2, 'or reset');
    is($most->('k_more'), 1, 'bytes behind the end: not used again');
    is($most->('k_1_0'), 1, 'nor with HTTP/1.0');
    is($most->('k_close'), 1, 'nor when the server says so');
    is($most->('k_trickle'), 1, 'nor when its body is not over');
    cmp_ok(scalar $all{k_trickle}->@*, '>', 3, 'but a new one');

    like($all{k_good}[0]{requests}[0]{text}, qr/^Connection: keep-alive\r/m,
        'the request says that it is kept');

    is((unexcused($k, 'k_dead', 1))[0],
        'connection closed before a full response header',
        'one that fails on a new connection, too, has failed');
};

$t->done;
