package Balancers;

# The balancers of "scripts/bench live": an nginx with our module, another one
# without it, HAProxy; each in a process that is started for one run, so that
# nothing is left of the run before.
#
#     my $balancers = Balancers->new(workers => 1, wrapper => 'taskset -c 0',
#         against => '/path/to/nginx', haproxy => 1);
#
#     my $running = $balancers->start($balancer, $scenario, @servers);
#     $running->{address}, $running->{processes}->()
#     $running->{stop}->();

use v5.36;

use IO::Socket::INET ();
use LRT;
use LRT::Process;

use Scenarios;

# name, who does it, its method there; "ext" and "nginx" are the same program

my @all = (
    [round_robin        => 'nginx', ''],
    [least_conn         => 'nginx', 'least_conn'],
    [random_two         => 'nginx', 'random two'],
    [stock_least_time   => 'against', 'least_time header'],
    [stock_least_time_inflight => 'against', 'least_time header inflight'],
    [haproxy_leastconn  => 'haproxy', 'leastconn'],
    [haproxy_random     => 'haproxy', 'random(2)'],
    [least_conn_ext     => 'ext', 'least_conn_ext'],
    [least_time         => 'ext', 'least_time header'],
    [least_time_last_byte => 'ext', 'least_time last_byte', 'extra'],
    [least_time_inflight  => 'ext', 'least_time header inflight', 'extra'],
    [oracle             => 'reference', 'sed'],
    [one_queue          => 'reference', 'central'],
);

my %titles = (
    ''         => 'round robin',
    'sed'      => 'computed: true speeds are known',
    'central'  => 'computed: one queue',
);

# The same with requests that got a 5xx sent to another server.

my @retries = map { [
    "$_->[0]_5xx", $_->@[1, 2], 'extra', 'http_5xx',
] } grep { $_->[1] ne 'reference' } @all;


# All, in the order of tables; those of them that a scenario is for.

sub all () {
    return map { {
        name => $_->[0], by => $_->[1], method => $_->[2],
        title => $titles{$_->[2]} // $_->[2], extra => $_->[3],
        retries => $_->[4],
    } } @all[0 .. $#all - 2], @retries, @all[-2, -1];
}

sub of ($scenario, @balancers) {
    return grep {
        my $one = $_;
        !$one->{extra} || grep { $_ eq $one->{name} } $scenario->{also}->@*
    } @balancers;
}


# workers   processes of nginx, threads of HAProxy
# wrapper   goes before the programs
# against   the program of another nginx, undef if there is none
# haproxy   whether there is one

sub new ($class, %o) {
    my $self = bless { %o }, $class;

    # the first one owns the folder; all have the ports in common

    local $ENV{LRT_WRAPPER} = $o{wrapper};
    $self->{ext} = $self->{nginx} =
        LRT->new(name => 'bench', need => [qw(module proxy)]);
    $self->{versions}{ext} = '';
    $self->{versions}{nginx} = $self->{nginx}->version;

    if ($o{against}) {
        local $ENV{LRT_NGINX} = $o{against};
        local $ENV{LRT_MODULE};
        $self->{against} = LRT->new(name => 'bench-against');
        $self->{versions}{against} = $self->{against}->version;
    }

    if ($o{haproxy}) {
        qx{haproxy -v} =~ /version (\d+\.\d+)/;
        $self->{versions}{haproxy} = $1;
    }

    return $self;
}


sub has ($self, $balancer) {
    return $balancer->{by} eq 'reference' || $self->{ $balancer->{by} };
}


# As it stands in tables.

sub title ($self, $balancer) {
    my $by = $balancer->{by};
    my $title = $balancer->{title};

    $title = ($by eq 'haproxy' ? 'HAProxy ' : 'nginx ')
        . "$self->{versions}{$by}, $title" if $self->{versions}{$by};
    $title .= ', 5xx retried' if $balancer->{retries};

    return $by eq 'ext' ? "**$title**" : $title;
}


sub start ($self, $balancer, $scenario, @servers) {
    return $balancer->{by} eq 'haproxy'
        ? $self->_start_haproxy($balancer, $scenario, @servers)
        : $self->_start_nginx($balancer, $scenario, @servers);
}


sub _start_nginx ($self, $balancer, $scenario, @servers) {
    my $t = $self->{ $balancer->{by} };
    my $method = $balancer->{method} ? "$balancer->{method};" : '';
    my $next = $balancer->{retries}
        ? 'proxy_next_upstream error timeout http_500 http_502 http_503 '
          . 'http_504;' : '';
    my $list = join "\n", map {
        "server $_->{address} weight=" . Scenarios::weight($scenario,
            $_->{name}) . " $scenario->{server};"
    } @servers;

    $t->conf(workers => $self->{workers}, http => qq{
        access_log off;
        keepalive_timeout 1h;
        keepalive_requests 10000000;
        upstream u {
            zone u 1m;
            $method
            $list
            keepalive 512;
            keepalive_timeout 1h;
            keepalive_requests 10000000;
        }
        server {
            listen 127.0.0.1:%%PORT_http%% backlog=4096;
            location / {
                proxy_pass http://u;
                proxy_http_version 1.1;
                proxy_set_header Connection "";
                proxy_connect_timeout 1s;
                proxy_read_timeout $scenario->{timeout};
                $next
            }
        }
    });
    $t->start;

    return {
        address   => $t->address('http'),
        processes => sub { $t->workers },
        stop      => sub { $t->stop('TERM') },
    };
}


# What fails at once is asked elsewhere, as nginx does by default.

sub _start_haproxy ($self, $balancer, $scenario, @servers) {
    my $t = $self->{nginx};
    my $address = $t->address('haproxy');
    my $retries = $balancer->{retries} ? '500 502 503 504' : '';
    my $list = join "\n", map {
        "    server $_->{name} $_->{address} weight "
            . Scenarios::weight($scenario, $_->{name})
    } @servers;

    my $file = $t->write('haproxy.cfg', <<END);
global
    nbthread $self->{workers}
    maxconn 8192
defaults
    mode http
    timeout connect 1s
    timeout client 1h
    timeout http-keep-alive 1h
    timeout server $scenario->{timeout}
    http-reuse always
    option redispatch 1
    retry-on conn-failure empty-response response-timeout $retries
frontend f
    bind $address backlog 4096
    default_backend b
backend b
    balance $balancer->{method}
$list
END

    my $process = LRT::Process->run_program([
        split(' ', $self->{wrapper}), 'haproxy', '-db', '-f', $file,
    ], $t->dir . '/haproxy.out');

    $t->wait_for(sub {
        my $socket = IO::Socket::INET->new(PeerAddr => $address);
        $socket || !$process->is_running;
    });
    die "haproxy did not start:\n", $t->read('haproxy.out')
        unless $process->is_running;

    return {
        address   => $address,
        processes => sub { $process->pid },
        stop      => sub { $process->end },
    };
}

1;
