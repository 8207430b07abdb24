#!/usr/bin/perl

# Requests that fail are repeated on other servers: when, how often, where,
# and what if the servers change in between.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use LRT;
use LRT::Hooks;

my $t = LRT->new(name => 'retries', need => [qw(module proxy)]);

my @methods = qw(round_robin_ext least_conn_ext);
$t->backend($_) for 'a' .. 'd';

my %address = map { ($_ => $t->address($_)) } 'a' .. 'd';
my %name    = reverse %address;

# a location for each thing to try, its name is that of the condition

my %next = (
    default         => '',
    error           => 'proxy_next_upstream error;',
    timeout         => 'proxy_next_upstream timeout;',
    invalid_header  => 'proxy_next_upstream invalid_header;',
    http_500        => 'proxy_next_upstream http_500;',
    http_404        => 'proxy_next_upstream http_404;',
    off             => 'proxy_next_upstream off;',
    non_idempotent  => 'proxy_next_upstream error non_idempotent;',
    two_tries       => 'proxy_next_upstream_tries 2;',
    one_try         => 'proxy_next_upstream_tries 1;',
    short           => 'proxy_next_upstream_timeout 400ms;',
    unbuffered      => 'proxy_request_buffering off;',
);

my $locations = join '', map {
    qq{
        location ~ ^/$_/(?<group>\\w+) {
            $next{$_}
            proxy_pass http://\$group;
        }
        location ~ ^/impatient_$_/(?<group>\\w+) {
            $next{$_}
            proxy_pass http://\$group;
            proxy_read_timeout 250ms;
        }
    }
} sort keys %next;

my $groups = join '', map {
    qq{
        upstream three_$_ {
            $_;
            server %%ADDRESS_a%% max_fails=0;
            server %%ADDRESS_b%% max_fails=0;
            server %%ADDRESS_c%% max_fails=0;
        }
        upstream lone_$_ {
            $_;
            server %%ADDRESS_a%%;
            server %%ADDRESS_b%% down;
        }
        upstream tiers_$_ {
            $_;
            server %%ADDRESS_d%% max_fails=0 backup;
            server %%ADDRESS_a%% max_fails=0;
            server %%ADDRESS_c%% max_fails=0 backup;
            server %%ADDRESS_b%% max_fails=0;
        }
        upstream twice_$_ {
            $_;
            server %%ADDRESS_a%% max_fails=0;
            server %%ADDRESS_b%% max_fails=0;
            server %%ADDRESS_a%% max_fails=0;
            server %%ADDRESS_a%% max_fails=0;
        }
        upstream changes_$_ {
            $_;
            server %%ADDRESS_a%% max_fails=0;
            server %%ADDRESS_b%% max_fails=0;
        }
    }
} @methods;

$t->conf(http => qq{
    $groups

    # no kept connections, on which a failure may mean nothing
    proxy_http_version 1.0;

    add_header X-Upstream \$upstream_addr always;

    server {
        listen 127.0.0.1:%%PORT_http%%;
        $locations

        location ~ ^/slow/(?<group>\\w+) {
            proxy_read_timeout 10s;
            proxy_pass http://\$group;
        }
    }
} . LRT::Hooks::server($t))->start;


# Who was asked, in order: "a b", "502 a b" for a failure.

sub asked ($uri, %o) {
    my $r = $t->request($o{method} // 'GET', $uri, %o);
    my @names = map { $name{$_} // $_ }
        split /, /, $r->header('X-Upstream') // '';

    return join ' ', ($r->status == 200 ? () : $r->status), @names;
}


sub sorted ($text) { return join ' ', sort split / /, $text }


my $fail = join '&', map { "$_.close=1" } 'a' .. 'd';

for my $method (@methods) {
    my ($three, $lone, $tiers, $twice) =
        map { "${_}_$method" } qw(three lone tiers twice);
    my $m = $method =~ s/_ext//r;

    # when a request is repeated

    my $failing = sub ($condition, $how) {
        my @asked = map { asked("/$condition/$three?a.$how") } 1 .. 3;
        return (grep { /\ba\b/ } @asked)[0];
    };

    like($failing->('default', 'close=1'), qr/^a [bc]$/,
        "$m: an error, by default");
    like($failing->('impatient_default', 'hang=1'), qr/^a [bc]$/,
        "$m: a timeout, by default");
    is($failing->('default', 'status=500'), '500 a',
        "$m: not a 500, by default");
    like($failing->('error', 'reset=1'), qr/^a [bc]$/, "$m: a reset");
    is($failing->('impatient_error', 'hang=1'), '504 a',
        "$m: not a timeout if not told");
    like($failing->('impatient_timeout', 'hang=1'), qr/^a [bc]$/,
        "$m: a timeout");
    is($failing->('timeout', 'close=1'), '502 a', "$m: then not an error");
    like($failing->('http_500', 'status=500'), qr/^a [bc]$/, "$m: http_500");
    like($failing->('http_404', 'status=404'), qr/^a [bc]$/, "$m: http_404");
    is($failing->('http_404', 'status=500'), '500 a', "$m: then not a 500");
    like($failing->('invalid_header', 'raw=HTTP/1.1 200 OK%0d%0aX%00Y: 1'
        =~ s/ /%20/gr . '%0d%0a%0d%0a'), qr/^a [bc]$/, "$m: invalid_header");
    is($failing->('off', 'close=1'), '502 a', "$m: never with 'off'");

    # requests that may have done something

    my @post = (method => 'POST', body => 'body');

    my @asked = map { asked("/default/$three?a.close=1", @post) } 1 .. 3;
    is((grep { /a/ } @asked)[0], '502 a', "$m: no POST that was sent");

    @asked = map { asked("/non_idempotent/$three?a.close=1", @post) } 1 .. 3;
    like((grep { /a/ } @asked)[0], qr/^a [bc]$/, "$m: except if told");

    $t->backend('a')->stop;
    @asked = map { asked("/default/$three", @post) } 1 .. 3;
    like((grep { /a/ } @asked)[0], qr/^a [bc]$/,
        "$m: but a POST that was not sent");
    $t->backend('a')->start;

    my @bodies = map {
        $t->post("/non_idempotent/$three?echo=1&a.close=1", 'x' x 50_000)->body
    } 1 .. 3;
    is(scalar(grep { $_ eq 'x' x 50_000 } @bodies), 3,
        "$m: its body is sent again");

    my @statuses = map {
        $t->post("/unbuffered/$three?echo=1&a.close=1", 'x' x 50_000)->status
    } 1 .. 3;
    is(sorted("@statuses"), '200 200 502',
        "$m: if it was kept, and not passed on at once");

    my @cut = map {
        $t->get("/default/$three?size=1000&a.cut=500")->error // 'ok'
    } 1 .. 3;
    is(sorted("@cut"), 'cut ok ok', "$m: no response that has begun");

    # how often

    is(sorted(asked("/default/$three?$fail")), '502 a b c',
        "$m: each server is tried once");
    is(sorted(asked("/http_500/$three?status=500")), '500 a b c',
        "$m: and the last answer is passed on");
    is(sorted(asked("/http_404/$three?status=404")), '404 a b c',
        "$m: also a 404");
    like(asked("/two_tries/$three?$fail"), qr/^502 [abc] [abc]$/,
        "$m: two with 'tries 2'");
    like(asked("/one_try/$three?$fail"), qr/^502 [abc]$/,
        "$m: one with 'tries 1'");
    like(asked("/short/$three?close=1&delay=500"), qr/^502 [abc]$/,
        "$m: none when the time is up");
    is(sorted(asked("/short/$three?close=1")), '502 a b c',
        "$m: all as long as it is not");
    is(asked("/default/$lone?$fail"), '502 a',
        "$m: a lone server is tried once");
    like(asked("/default/$tiers?$fail"), qr/^502 (?:a b|b a) (?:c d|d c)$/,
        "$m: backups come after primaries");
    like(asked("/default/$tiers?a.close=1&b.close=1"), qr/^(?:a b|b a) [cd]$/,
        "$m: and save the request");
    is(sorted(asked("/default/$twice?$fail")), '502 a a a b',
        "$m: a server that is listed three times is tried so often");

    # the servers change while a request is on its first one, which is `a`
    # as long as the last request went to `b`

    my $group = "changes_$method";
    my $hooks = LRT::Hooks->group($t, $group) or next;

    my $during = sub ($changes) {
        my $client = $t->begin("/default/$group?a.hang=1");
        $t->wait_for(sub { $t->backend('a')->stats->{active} });
        $changes->();
        $t->backend('a')->stop(abort => 1);
        $t->backend('a')->start;

        my $r = $client->receive;
        my @names = map { $name{$_} // $_ }
            split /, /, $r->header('X-Upstream');
        return join ' ', ($r->status == 200 ? () : $r->status), @names;
    };
    my $reset = sub () {
        $hooks->remove($_->{id}) for $hooks->servers;
        $hooks->add($address{a}, max_fails => 0);
        $hooks->add($address{b}, max_fails => 0);
        $t->wait_for(sub { $t->get("/default/$group")->body eq 'b' });
    };

    $reset->();
    is($during->(sub { }), 'a b', "$m: changes: none");

    $reset->();
    is($during->(sub {
        $hooks->remove($address{b});
        $hooks->add($address{c});
    }), 'a c', "$m: changes: the second server is another one");

    $reset->();
    is($during->(sub { $hooks->remove($address{b}) }), "502 a $group",
        "$m: changes: there is no second server any more");

    $reset->();
    is($during->(sub { $hooks->set($address{b}, down => 1) }), "502 a $group",
        "$m: changes: it is down");

    $reset->();
    is($during->(sub { $hooks->remove($address{a}) }), 'a b',
        "$m: changes: the first server is gone");

    $reset->();
    is($during->(sub {
        $hooks->remove($address{a});
        $hooks->add($address{c}, weight => 1000);
        $hooks->remove($address{b});
        $hooks->add($address{d}, backup => 1);
    }), 'a c', "$m: changes: all servers are others");

    $reset->();
    is($during->(sub {
        $hooks->remove($_->{id}) for $hooks->servers;
    }), "502 a $group", "$m: changes: all servers are gone");

    $reset->();
    is($during->(sub {
        $hooks->method((grep { $_ ne $method } @methods)[0]);
        $hooks->set($address{$_}, weight => 7) for qw(a b);
    }), 'a b', "$m: changes: another method and other weights");
    $hooks->method($method);

    $reset->();
    is($during->(sub {
        $hooks->set($address{b}, weight => $_) for 1 .. 21;
    }), 'a b', "$m: changes: many in a row");

    $reset->();
    my $client = $t->begin("/default/$group?delay=150&b.close=1");
    $t->wait_for(sub { $t->backend('a')->stats->{active} });
    $hooks->remove($address{a});
    is($client->receive->body, 'a',
        "$m: changes: a request ends well on a server that was removed");

    ok($hooks->settles, "$m: the table is valid, no request in flight")
        or diag($hooks->unrest);
    is(scalar(grep { $_->{zombie} } $hooks->servers), 0,
        "$m: and no slot of a removed server is held");
}

$t->done;
