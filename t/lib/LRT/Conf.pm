package LRT::Conf;

# nginx.conf of a test: the test gives what matters, the rest is added.
#
#     my $conf = LRT::Conf->new($program, $dir);
#     $conf->set(
#         http => '...',            # the inside of http { }
#         main => '...',            # main level
#         events => '...',          # the inside of events { }
#         workers => 2,             # worker_processes, 1 if not given
#         access_format => '...',   # log_format of access.log
#     );
#     $conf->set('...');            # all of it: main level, events, http
#
# Added are: pid, error_log (info, or debug with LRT_DEBUG=1),
# worker_processes, load_module, user (as root), worker_connections, the
# access log and paths for temporary files.  What the text has itself is not
# added.
#
# Words replaced in the text:
#
#     %%PORT_name%%       a free port, in one test the same for each name
#     %%ADDRESS_name%%    the address of the backend `name`; without such a
#                         backend 127.0.0.1:%%PORT_name%%
#     %%DIR%%             the directory of the test

use v5.36;

use LRT::Net;

use constant ACCESS_FORMAT =>
    '$remote_addr "$request" $status $body_bytes_sent '
    . '$upstream_addr $upstream_status $request_time';

my %ports;                      # name => port, for the whole test
my %addresses;                  # name => address of a backend


sub new ($class, $program, $dir) {
    return bless {
        program => $program, dir => $dir, file => 'nginx.conf',
    }, $class;
}


sub port ($name) { return $ports{$name} //= LRT::Net::free_port() }

sub know ($name, $address) { $addresses{$name} = $address }

sub address ($name) {
    return $addresses{$name} // '127.0.0.1:' . port($name);
}


sub expand ($self, $text) {
    $text =~ s/%%PORT_(\w+)%%/port($1)/ge;
    $text =~ s/%%ADDRESS_(\w+)%%/address($1)/ge;
    $text =~ s/%%DIR%%/$self->{dir}/g;

    die "unknown word $1 in a configuration\n" if $text =~ /(%%\w*%%)/;
    return $text;
}


sub write ($self, $name, $text) {
    my $path = "$self->{dir}/$name";

    open my $file, '>:raw', $path or die "$path: $!\n";
    print $file $text;
    close $file or die "$path: $!\n";

    return $path;
}


sub set ($self, @conf) {
    $self->{conf} = \@conf;
    $self->{text} = $self->_render('nginx');
    ($self->{listen}) = (_listen_addresses($self->{text}),
        $self->{listen} // ());
    return $self->write('nginx.conf', $self->{text});
}


# The same, or another configuration, in a file for nginx -t: with a log and
# a pid file of its own.

sub write_for_test ($self, $name, @conf) {
    local $self->{conf} = \@conf if @conf;
    die "no configuration to test\n" unless $self->{conf};

    return $self->write("$name.conf", $self->_render($name));
}


sub _render ($self, $name) {
    my ($text, %o) = @{ $self->{conf} } == 1
        ? $self->{conf}[0] : (undef, @{ $self->{conf} });

    my $main = $text // $o{main} // '';

    $text //= "$main\n"
        . 'events {' . _unless_in($o{events} // '',
              worker_connections => 4096) . ($o{events} // '') . "}\n"
        . "http {\n" . ($o{http} // '') . "\n}\n";

    $text =~ s/^\s*http\s*\{\K/ $self->_http($text, $o{access_format}) /me;
    $text = $self->expand(
        $self->_preamble($name, $main, $o{workers} // 1) . "\n$text");

    _check_listen($text);
    return $text;
}


sub _preamble ($self, $name, $main, $workers) {
    my $program = $self->{program};
    my $level   = $ENV{LRT_DEBUG} && $program->has('debug') ? 'debug' : 'info';
    my $module  = $program->module;

    return "error_log %%DIR%%/$name.log $level; "
        . ($module ? "load_module $module; " : '')
        . _unless_in($main,
            pid => "%%DIR%%/$name.pid",
            worker_processes => $workers, $> == 0 ? (user => 'root') : ());
}


sub _unless_in ($text, %directives) {
    return join '', map { "$_ $directives{$_}; " }
        grep { $text !~ /(?:^|[;{}])\s*$_\s/m } sort keys %directives;
}


sub _http ($self, $text, $access_format) {
    my @modules   = grep { $self->{program}->has($_) }
        qw(proxy fastcgi uwsgi scgi);
    my %temporary = map { ("${_}_temp_path" => "%%DIR%%/${_}_temp") }
        'client_body', @modules;

    return " log_format lrt '" . ($access_format // ACCESS_FORMAT)
        . "'; access_log %%DIR%%/access.log lrt; "
        . _unless_in($text, %temporary);
}


# Tests do not listen on addresses that others can reach.

sub _check_listen ($text) {
    for (_listen_addresses($text)) {
        die "listen $_: not 127.x.y.z:port, [::1]:port or unix:\n"
            unless /^(?:127\.\d+\.\d+\.\d+|\[::1\]):\d+$|^unix:/;
    }
}


sub _listen_addresses ($text) {
    return $text =~ /^[^#\n]*?(?:^|[\s{;])listen\s+([^\s;]+)/gm;
}


# What the current configuration says.

sub listen_address ($self) { return $self->{listen} }


sub workers ($self) {
    my ($workers) = $self->{text} =~ /^\s*(?:.*;\s)?worker_processes\s+(\d+)/m;
    return $workers // 1;
}


sub single_process ($self) {
    return $self->{text} =~ /^\s*master_process\s+off/m;
}


1;
