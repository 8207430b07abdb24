#!/usr/bin/perl

# Active checks over TLS: whom they trust, what they call the server by, and
# what the log says when it is somebody else.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use LRT;
use LRT::API;
use LRT::Checks;
use LRT::Net qw(timeout);
use LRT::Raw;
use LRT::State;

my $t   = LRT->new(name => 'health_tls',
    need => [qw(module proxy rewrite ssl)]);
my $raw = LRT::Raw->new($t);
my $dir = $t->dir;
my $ms  = timeout(400);
my $often = "interval=${ms}ms timeout=${ms}ms fails=1";

make_certificates() or $t->skip_all('needs openssl');

# who shows which certificate; the check of a group, and what comes of it

my %cert = map { ($_ => $_) } qw(good expired future self stranger address);

my @cases = (
    ['by_host', 'good', "host=good.test"],
    ['by_host_port', 'good', "host=good.test:8443"],
    ['by_ssl_name', 'good', "host=x.test ssl_name=good.test match=sni"],
    ['sni', 'good', "host=good.test match=sni"],
    ['good.test', 'good', 'match=host'],
    ['wildcard', 'good', "host=any.wild.test"],
    ['address', 'address', "host=127.0.0.1 match=no_sni"],
    ['address6', 'address', "host=[::1]:443 match=no_sni"],
    ['address6_bare', 'address', "host=::1 match=status400"],
    ['kept', 'good', "host=good.test keepalive_time=1h"],
    ['off_expired', 'expired', "host=good.test ssl_verify=off"],
    ['off_self', 'self', "host=good.test ssl_verify=off"],
    ['off_name', 'good', "host=wrong.test ssl_verify=off"],

    ['name', 'good', "host=wrong.test", 'certificate for another name'],
    ['wildcard2', 'good', "host=a.b.wild.test",
        'certificate for another name'],
    ['prefix', 'good', "host=good.tes", 'certificate for another name'],
    ['wrong_ip', 'good', "host=127.0.0.1", 'certificate for another name'],
    ['by_group', 'good', '', 'certificate for another name'],
    ['expired', 'expired', "host=good.test", 'certificate expired'],
    ['future', 'future', "host=good.test", 'certificate not yet valid'],
    ['self', 'self', "host=good.test", 'self-signed certificate'],
    ['stranger', 'stranger', "host=good.test", 'certificate not trusted'],
    ['system', 'good', "host=good.test ssl_ca=", 'certificate not trusted'],
    ['plain', 'plain', "host=good.test", 'no tls on this port'],
    ['plain_early', 'plain_early', "host=good.test", qr/no tls|data before tls/],
    ['before', 'before', "host=good.test", qr/no tls|data before tls/],
    ['after', 'after', "host=good.test", 'no tls on this port'],
    ['closes', 'closes', "host=good.test",
        'connection closed in tls handshake'],
    ['resets', 'resets', "host=good.test", qr/closed in tls|reset/],
    ['silent', 'silent', "host=good.test", 'tls handshake timed out'],
    ['alert', 'alert', "host=good.test", 'tls handshake failed'],
    ['nobody', 'nobody', "host=good.test", 'connection refused'],
    ['old', 'old', "host=good.test", 'tls handshake failed'],
);

my $bad_request = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";

my %open = (
    plain       => [wait => 50, send => $bad_request, close => 1],
    plain_early => [send => "220 mail\r\n"],
    before      => [send => "GET / HTTP/1.1\r\n\r\n"],
    after       => [wait => 50, send => "x" x 100],
    closes      => [wait => 20, close => 1],
    resets      => [wait => 20, reset => 1],
    silent      => [],
    alert       => [wait => 20, send => "\x15\x03\x03\x00\x02\x02\x28"],
);

my %s = map { ($_ => $raw->server($_, open => $open{$_})) } sort keys %open;

my $servers = join '', map {
    my ($protocols, $file) = $_ eq 'old' ? ('TLSv1.1', 'good')
                                         : ('TLSv1.2 TLSv1.3', $_);
    qq{
    server {
        listen 127.0.0.1:%%PORT_$_%% ssl;
        ssl_certificate %%DIR%%/$file.crt;
        ssl_certificate_key %%DIR%%/$file.key;
        ssl_protocols $protocols;
        ssl_ciphers ALL:\@SECLEVEL=0;
        access_log %%DIR%%/$_.log tls;
        add_header X-SNI \$ssl_server_name;
        add_header X-Host \$http_host;
        return 200 "\$connection_requests \$ssl_session_reused";
    }
}} 'old', sort keys %cert;

my $groups = join '', map {
    my ($name, $server, $check) = @$_;
    $check .= ' ssl_ca=%%DIR%%/ca.crt'
        unless $check =~ s/ ssl_ca=$// || $check =~ /verify=off/;
    qq{
    upstream $name {
        server %%ADDRESS_$server%%;
        lrt_health_check $often type=https $check;
    }
}} @cases;

# state files whose paths of certificates are equally long

my %file = (file_good => 'ca', file_stranger => 'cb');

$t->write('cb.crt', $t->read('other.crt'));

for my $name (sort keys %file) {
    my ($server) = $name =~ /_(.*)/;

    LRT::State->new($t, LRT::API->new($t), $name, "$dir/$name.json")->put({
        servers => [$t->address($server)],
        health_checks => [{ type => 'https', host => 'good.test',
            interval => "${ms}ms", fails => 1, mandatory => LRT::API::true(),
            ssl_ca => "$dir/$file{$name}.crt" }],
    });

    $groups .= "upstream $name { lrt_state $name.json; }\n";
}

$t->conf(workers => 2, http => qq{
    log_format tls '\$connection \$connection_requests';
    lrt_match sni    { status 200; header X-SNI = good.test; }
    lrt_match host   { header X-SNI = good.test; header X-Host = good.test; }
    lrt_match status400 { status 400; header X-SNI !~ .; }
    lrt_match no_sni { status 200; header X-SNI !~ .; }
    $groups
    $servers
} . LRT::Checks::server());

my $mark = $t->log_mark;
$t->start;

###############################################################################

for my $case (@cases) {
    my ($name, $server, $check, $reason) = @$case;
    my $group = LRT::Checks->new($t, $name);

    if (ref $reason) {
        like($group->reason($mark, $server), $reason, "$name: fails");
    } elsif ($reason) {
        is($group->reason($mark, $server), $reason, "$name: $reason");
    }
}

# all that pass have been probed some times by now

sleep timeout(0.5);

for my $case (grep { !$_->[3] } @cases) {
    my ($name, $server, $check) = @$case;
    my $group = LRT::Checks->new($t, $name);

    ok($group->becomes($server => 'up'), "$name: passes");
    is_deeply([grep { $_ !~ /timed out|in time/ } map { $_->{reason} }
        grep { $_->{to} eq 'unhealthy' } $group->turns($mark, $server)], [],
        "$name: always");
}

cmp_ok(scalar(my @tries = $s{plain}->connections), '>=', 2,
    'who fails is probed again');

ok($t->wait_for(sub { $t->read('good.log') =~ /^\d+ 3$/m }),
    'connections are used again');

for my $name (sort keys %file) {
    my ($server) = $name =~ /_(.*)/;
    my $group = LRT::Checks->new($t, $name);
    ok($group->becomes($server => 'up'), "$name: trusts its own");
}

# one that gets a good certificate

{
    my $mark = $t->log_mark;
    my $group = LRT::Checks->new($t, 'expired');

    copy($_) for qw(crt key);
    $t->reload;
    ok($group->becomes(expired => 'up'), 'a new certificate');
}


sub copy ($what) {
    $t->write("expired.$what", $t->read("good.$what"));
}

###############################################################################

# A small CA, for certificates of any time.

sub make_certificates () {
    $t->write('ca.conf', q{
        [ca]
        default_ca = default
        [default]
        new_certs_dir = %%DIR%%
        database = %%DIR%%/ca.index
        rand_serial = yes
        default_md = sha256
        policy = policy
        unique_subject = no
        [policy]
        commonName = supplied
        [names]
        subjectAltName = DNS:good.test, DNS:*.wild.test
        [addresses]
        subjectAltName = IP:127.0.0.1, IP:::1
        [root]
        basicConstraints = critical, CA:TRUE
        [req]
        distinguished_name = dn
        [dn]
    });
    $t->write('ca.index', '');

    my $new = 'req -newkey rsa:2048 -nodes -config ca.conf';
    my ($now, $year) = (time, 365 * 86400);

    for my $root (qw(ca other)) {
        openssl("$new -x509 -extensions root -days 30 -subj /CN=$root"
            . " -keyout $root.key -out $root.crt") or return 0;
    }

    openssl("$new -x509 -extensions names -days 30 -subj /CN=good.test"
        . ' -keyout self.key -out self.crt') or return 0;

    my @signed = (
        [good     => 'ca',    -1, 1],
        [expired  => 'ca',    -2, -1],
        [future   => 'ca',    1, 2],
        [stranger => 'other', -1, 1],
        [address  => 'ca',    -1, 1, 'addresses'],
    );

    for (@signed) {
        my ($name, $ca, $from, $to, $names) = @$_;
        my ($start, $end) = map {
            my @time = gmtime($now + $_ * $year);
            sprintf '%04d%02d%02d000000Z', $time[5] + 1900, $time[4] + 1,
                $time[3];
        } $from, $to;

        $names //= 'names';
        openssl("$new -subj /CN=good.test -keyout $name.key -out $name.csr")
            && openssl("ca -batch -config ca.conf -cert $ca.crt"
                . " -keyfile $ca.key -extensions $names -startdate $start"
                . " -enddate $end -notext -in $name.csr -out $name.crt")
            or return 0;
    }

    return 1;
}


sub openssl ($command) {
    return !system "cd $dir && openssl $command >>openssl.out 2>&1";
}

$t->done;
