package LRT;

# Tests of nginx: its life cycle, its logs, backends, requests, load.
#
#     use v5.36;
#     use FindBin;
#     use lib "$FindBin::Bin/lib";
#     use Test::More;
#     use LRT;
#
#     my $t = LRT->new(plan => 2, need => ['proxy']);
#
#     $t->backend($_) for qw(a b);
#     $t->conf(workers => 2, http => q{
#         upstream u {
#             server %%ADDRESS_a%%;
#             server %%ADDRESS_b%%;
#         }
#         server {
#             listen 127.0.0.1:%%PORT_http%%;
#             location / { proxy_pass http://u; }
#         }
#     });
#     $t->start;
#
#     is($t->get('/')->status, 200, 'a request');
#     is_deeply($t->many(10, '/'), { a => 5, b => 5 }, 'balanced');
#
#     $t->done;
#
# Three assertions come by themselves at the end and are not part of the
# plan given: 'no alerts' ([alert], [emerg], dead workers), 'no sanitizer
# report', 'nginx stopped'.  Without a plan the test has to end with
# $t->done, which takes the place of done_testing.
#
# Whatever happens to the test, SIGKILL included, nothing that it started
# stays behind.  All is on 127.0.0.0/8, ::1 and unix sockets.
#
# The directory of the test holds nginx.conf, nginx.log (the error log),
# nginx.out (its output), access.log, and for nginx -t test.conf, test.log,
# test.out.
#
# Environment: LRT_NGINX, LRT_MODULE, LRT_WRAPPER (see LRT::Program);
# LRT_TIMEOUT_FACTOR multiplies all timeouts; LRT_QUICK=1 leaves out what is
# slow, LRT_LONG=1 adds what is very slow; LRT_LEAVE=1 keeps the directory;
# LRT_DEBUG=1 writes the debug log if nginx can.

use v5.36;

use File::Temp ();
use LRT::Backend;
use LRT::Conf;
use LRT::HTTP;
use LRT::HTTP::Client;
use LRT::Load;
use LRT::Log;
use LRT::Net qw(timeout);
use LRT::Nginx;
use LRT::Process;
use LRT::Program;
use Test::More ();
use Time::HiRes qw(sleep time);

use parent -norequire, 'LRT::Nginx';

use constant ASSERTIONS => 3;

my $owner = $$;
my @instances;                  # each LRT of this test
my $finished;

$SIG{PIPE} = 'IGNORE';

for my $end ([HUP => 1], [INT => 2], [TERM => 15]) {
    $SIG{$end->[0]} = sub { exit 128 + $end->[1] };
}


# plan => N       how many assertions the test makes
# need => [...]   the test is skipped without these, see LRT::Program
# name => ...     goes into the name of the directory

sub new ($class, %o) {
    my $test    = Test::More->builder;
    my $program = eval { LRT::Program->find }
        // $test->BAIL_OUT($@ =~ s/\n//r);

    LRT::Net::raise_descriptor_limit();

    my $dir = File::Temp::tempdir(
        'lrt-' . ($o{name} ? "$o{name}-" : '') . 'XXXXXX', TMPDIR => 1);
    chmod 0755, $dir;
    LRT::Process::remove_at_end($dir);

    my $self = bless {
        program  => $program,
        dir      => $dir,
        conf     => LRT::Conf->new($program, $dir),
        log      => LRT::Log->new("$dir/nginx.log"),
        access   => LRT::Log->new("$dir/access.log"),
        backends => {},
        loads    => [],
        alerts   => [],         # patterns of those that are expected
        troubles => [],         # what 'nginx stopped' will show
    }, $class;

    push @instances, $self;
    $self->need(@{ $o{need} // [] });
    $test->plan(tests => $o{plan} + ASSERTIONS) if $o{plan};

    return $self;
}


# What this nginx is

sub version        ($self)        { $self->{program}->version }
sub has_version    ($self, $what) { $self->{program}->has_version($what) }
sub has            ($self, @what) { $self->{program}->has(@what) }
sub has_test_hooks ($self)        { $self->{program}->has_test_hooks }


# Skips the whole test if something is missing.

sub need ($self, @what) {
    my $missing = $self->{program}->missing(@what);
    $self->skip_all("needs $missing") if defined $missing;
    return $self;
}


# For tests that take long, with the reason: "20 s of kills".

sub skip_quick ($self, $reason) {
    $self->skip_all("LRT_QUICK is set: $reason") if $ENV{LRT_QUICK};
    return $self;
}


sub only_long ($self, $reason) {
    $self->skip_all("needs LRT_LONG=1: $reason") unless $ENV{LRT_LONG};
    return $self;
}


# Skips what is left of the test.

sub skip_all ($self, $reason) {
    my $test = Test::More->builder;
    my $plan = $test->has_plan;

    $finished = 1;
    $test->plan(skip_all => $reason) unless $plan;
    $test->skip($reason) for $test->current_test + 1 .. $plan;
    exit 0;
}


# Files, ports, addresses

sub dir     ($self)        { $self->{dir} }
sub port    ($self, $name) { LRT::Conf::port($name) }
sub address ($self, $name) { LRT::Conf::address($name) }
sub expand  ($self, $text) { $self->{conf}->expand($text) }


# Writes a file into the directory of the test, returns its path.

sub write ($self, $name, $text) {
    return $self->{conf}->write($name, $self->expand($text));
}


sub read ($self, $name) {
    open my $file, '<', "$self->{dir}/$name" or die "$name: $!\n";
    local $/;
    return scalar <$file>;
}


# The configuration: conf(http => ..., main => ..., events => ...,
# workers => N, access_format => ...), or conf($text) for the whole of it.
# See LRT::Conf for what is added and which words are replaced.

sub conf ($self, @conf) {
    $self->{conf}->set(@conf);
    return $self;
}


# Waits until $condition->() is true, $seconds at most; returns its value.

sub wait_for ($self, $condition, $seconds = 5) {
    my $end   = time + timeout($seconds);
    my $pause = 0.002;

    while (1) {
        my $value = $condition->();
        return $value if $value || time > $end;
        sleep $pause;
        $pause *= 1.5 if $pause < 0.02;
    }
}


# Logs

# The error log from a mark on: mark first, then log($mark) for the text or
# grep_log(qr/.../, $mark) for the lines.

sub log_mark ($self)            { $self->{log}->mark }
sub log      ($self, $from = 0) { $self->{log}->since($from) }

sub grep_log ($self, $pattern, $from = 0) {
    return $self->{log}->grep($pattern, $from);
}


# The lines of the access log that match.  nginx writes them after the
# response, in its own time: waits until there are as many as wanted.

sub access_log ($self, $pattern = qr/^/, $wanted = 0) {
    my $log = $self->{access};
    $self->wait_for(sub { $log->grep($pattern, 0) >= $wanted });
    return $log->grep($pattern, 0);
}


# Alerts that match are no failure.

sub expect_alerts ($self, @patterns) {
    push @{ $self->{alerts} }, @patterns;
    return $self;
}


# Requests.  Each takes options: those of LRT::HTTP, and where it goes to:
# port => name or number, or address => '...'; by default the first address
# that the configuration listens on.

sub get  ($self, $uri, %o) { $self->request(GET => $uri, %o) }

sub post ($self, $uri, $body, %o) {
    return $self->request(POST => $uri, body => $body, %o);
}

sub request ($self, $method, $uri, %o) {
    return $self->client(%o)->request($method, $uri, %o);
}


# A connection to steer by hand, an LRT::HTTP::Client.

sub client ($self, %o) { LRT::HTTP::Client->new($self->_to(\%o), %o) }


# A request that is sent and not waited for: ->receive, ->close, ->reset.

sub begin ($self, $uri, %o) {
    return $self->client(%o)->send_request(
        delete $o{method} // 'GET', $uri, keepalive => 0, %o);
}


# Who answered how many of so many requests; failures count by their status.

sub many ($self, $count, $uri, %o) {
    return $self->run(count => $count, uri => $uri, %o)->{by};
}


# Who answered, one after the other.

sub sequence ($self, $count, $uri, %o) {
    return $self->run(count => $count, uri => $uri, %o)->{order}->@*;
}


# All about many requests: see LRT::HTTP::run.

sub run ($self, %o) {
    return LRT::HTTP::run(address => $self->_to(\%o), %o);
}


# Requests in the background until ->stop, see LRT::Load.

sub load ($self, %o) {
    my $load = LRT::Load->new(address => $self->_to(\%o), uri => '/', %o);
    push @{ $self->{loads} }, $load;
    return $load;
}


sub _to ($self, $options) {
    my $port    = delete $options->{port};
    my $address = delete $options->{address};

    return $address if defined $address;
    return '127.0.0.1:' . ($port =~ /^\d+$/ ? $port : $self->port($port))
        if defined $port;
    return $self->{conf}->listen_address // die "no address to connect to\n";
}


# Backends

# The backend of that name, an LRT::Backend; the first call starts it.
# listen => '127.0.0.1' (the default), '127.0.0.7', '[::1]' or 'unix' says
# where; the other options are its settings.

sub backend ($self, $name, %o) {
    die "not a name for a backend: '$name'\n" if $name =~ /\W/;
    die "backend '$name' runs already\n" if %o && $self->{backends}{$name};

    return $self->{backends}{$name} //= do {
        my $listen  = delete $o{listen} // '127.0.0.1';
        my $address = $listen eq 'unix' ? "unix:$self->{dir}/$name.sock"
                    : $listen =~ /:\d+$|^unix:/ ? $listen
                    : "$listen:" . $self->port($name);

        LRT::Conf::know($name => $address);
        LRT::Backend->new($name, address => $address, %o);
    };
}


# Many backends at once, on one port and as many addresses 127.1.x.y; their
# names are the prefix and a number from 1.  Returns the names.

sub backends ($self, $prefix, $count, %o) {
    my $port = $self->port("backends $prefix");

    return map {
        my $host = sprintf '127.1.%d.%d', $_ / 250, 1 + $_ % 250;
        $self->backend("$prefix$_", listen => "$host:$port", %o)->name;
    } 1 .. $count;
}


# Runs a sub in a process of its own, for servers of another protocol.

sub daemon ($self, $main) {
    return LRT::Process->spawn('lrt daemon', sub ($channel) { $main->() });
}


# The end

sub done ($self) { _finish() }


sub _finish () {
    return if $finished++;

    my $test = Test::More->builder;
    my (@alerts, @reports, @troubles);

    LRT::HTTP::Client::close_all();

    for my $self (@instances) {
        $_->{process}->end for @{ $self->{loads} };
        $self->stop;

        my ($log, $output, @others) = map { LRT::Log->new("$self->{dir}/$_") }
            qw(nginx.log nginx.out test.log test.out);

        push @alerts,
            map { $_->alerts(@{ $self->{alerts} }) } $log, $output;
        push @reports,
            map { $_->sanitizer_reports } $log, $output, @others;
        push @troubles, @{ $self->{troubles} };
    }

    $test->is_eq(join("\n", @alerts),   '', 'no alerts');
    $test->is_eq(join("\n", @reports),  '', 'no sanitizer report');
    $test->is_eq(join("\n", @troubles), '', 'nginx stopped');
    $test->done_testing unless $test->has_plan;
}


# A test that ends in its normal way is finished here at the latest; one
# that died is told about: the log's last warnings.

END {
    if ($$ == $owner && @instances) {
        my $status = $?;
        my $test   = Test::More->builder;

        if ($status == 0 && $test->has_plan) {
            _finish();
        } elsif ($status == 0 && !$finished) {
            $test->ok(0, 'the test ended without $t->done');
        }

        for my $self (@instances) {
            my $warnings = $self->{log}->warnings;
            $test->diag("nginx warned, in the end (LRT_LEAVE=1 keeps all):\n",
                $warnings) if $warnings && ($status || !$test->is_passing);
            $test->diag("left: $self->{dir}") if $ENV{LRT_LEAVE};
        }

        $? = $status;
    }
}


1;
