package Demo::Config;

# The list of servers: a file as docs/state.md has it, in the simple form that a
# person writes or the full one that the module does.
#
#     my $config = Demo::Config->new($path);
#     if ($config->has_changed) { ... $config->addresses ... }

use v5.36;

use JSON::PP ();

my $json = JSON::PP->new->canonical->pretty;


sub new ($class, $path) {
    return bless { path => $path, seen => '', addresses => [] }, $class;
}


sub path ($self) { return $self->{path} }


sub addresses ($self) { return $self->{addresses}->@* }


# True once after each change that can be read.  What cannot is for nginx to
# complain about: it says the line and the reason, and keeps what was in force.

sub has_changed ($self) {
    my @stat = stat $self->{path} or return 0;
    my $seen = join ' ', @stat[1, 7, 9];

    return 0 if $seen eq $self->{seen};
    $self->{seen} = $seen;

    my @addresses = eval { addresses_of(read_json($self->{path})) };
    return 0 if $@;

    $self->{addresses} = \@addresses;
    return 1;
}


sub addresses_of ($data) {
    return map { address_of($_) } $data->{servers}->@*;
}


sub address_of ($server) {
    my $address = !ref $server ? $server
        : $server->{server} // join ':', $server->{host},
            $server->{port} // 80;

    $address =~ s{^http://([^/]*)/?$}{$1};
    return $address =~ /^(?:[\d.]+|\[.*\])$/ ? "$address:80" : $address;
}


# The same with another address; for ports that are taken.

sub with_address ($server, $address) {
    return $address if !ref $server || !defined $server->{host};

    my ($host, $port) = $address =~ /^(.*):(\d+)$/;
    return { %$server, host => $host, port => 0 + $port };
}


sub read_json ($path) {
    open my $file, '<:raw', $path or die "$path: $!\n";
    local $/;
    return $json->decode(scalar readline $file);
}


# In one step, as whoever edits the file should.

sub write_json ($path, $data) {
    open my $file, '>:raw', "$path.new" or die "$path.new: $!\n";
    print $file $json->encode($data)    or die "$path.new: $!\n";
    close $file                         or die "$path.new: $!\n";
    rename "$path.new", $path           or die "$path: $!\n";
    return;
}


1;
