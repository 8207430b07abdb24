package LRT::HTTP::Response;

# A response, from its first byte to its last.
#
#     my $r = LRT::HTTP::Response->new('GET');
#     $r->feed($bytes) or ...;        # true when the response is whole
#     $r->end;                        # the connection has ended
#
# For a test:
#
#     status        the number, or without a response the word why
#     error         undef, or 'refused', 'reset', 'timeout', 'cut',
#                   'malformed'
#     header($name) the value, several of them joined by ", "
#     body          decoded if it was chunked; as far as it came
#     json          the body as data
#     raw           all bytes as they came
#     name          who answered: X-Backend, or the body's first word, or
#                   for a failure its status
#     interim       the 1xx statuses that came before
#     time          seconds from the request to the end

use v5.36;


sub new ($class, $method = 'GET') {
    return bless {
        method => $method, raw => '', at => 0, headers => {}, interim => [],
    }, $class;
}


sub feed ($self, $bytes) {
    $self->{raw} .= $bytes;

    return 1 if $self->{complete};
    return $self->{complete} // 0
        unless defined $self->{code} || $self->_read_head;
    return $self->_read_chunks if $self->{chunked};

    my $length = $self->{length} // return 0;
    my $at     = $self->{at};
    return 0 if length($self->{raw}) < $at + $length;

    $self->{body} = substr $self->{raw}, $at, $length;
    $self->{at} += $length;
    return $self->{complete} = 1;
}


# The end of the connection ends a response without a stated length.

sub end ($self, $why = undef) {
    return 1 if $self->{complete};

    $self->fail($why // 'cut')
        if !defined $self->{code} || $self->{chunked}
        || defined $self->{length};

    $self->{body} //= substr $self->{raw}, $self->{at};
    return $self->{complete} = 1;
}


sub fail ($self, $error) {
    $self->{error} //= $error;
    return $self->{complete} = 1;
}


sub _read_head ($self) {
    while ((my $end = index $self->{raw}, "\r\n\r\n", $self->{at}) >= 0) {
        my $head = substr $self->{raw}, $self->{at}, $end - $self->{at};
        $self->{at} = $end + 4;

        my ($line, @fields) = split /\r\n/, $head;
        my ($version, $code) =
            ($line // '') =~ m{^HTTP/1\.([01]) (\d{3})(?: |$)}
            or return !$self->fail('malformed');

        if ($code < 200 && $code != 101) {
            push @{ $self->{interim} }, $code;
            next;
        }

        $self->{version} = $version;
        $self->{code}    = $code;
        return $self->_read_fields(@fields);
    }

    return 0;
}


sub _read_fields ($self, @fields) {
    my $headers = $self->{headers};

    for (@fields) {
        my ($name, $value) = /^([^:\s]+):[ \t]*(.*?)[ \t]*$/
            or return !$self->fail('malformed');
        $name = lc $name;
        $headers->{$name} = exists $headers->{$name}
            ? "$headers->{$name}, $value" : $value;
    }

    if ($self->{method} eq 'HEAD' || $self->{code} =~ /^(?:101|204|304)$/) {
        $self->{length} = 0;
    } elsif (lc($headers->{'transfer-encoding'} // '') eq 'chunked') {
        $self->{chunked} = 1;
    } else {
        $self->{length} = $headers->{'content-length'};
    }

    return 1;
}


sub _read_chunks ($self) {
    $self->{body} //= '';

    while (my ($data, $at) = next_chunk(\$self->{raw}, $self->{at})) {
        return $self->fail('malformed') unless defined $data;

        $self->{body} .= $data;
        $self->{at} = $at;
        return $self->{complete} = 1 if $data eq '';
    }

    return 0;
}


# The chunk at a place of a text and the place behind it; the last one is
# empty.  Returns nothing when it is not all there, undef if it is none.

sub next_chunk ($text, $at) {
    my $end = index $$text, "\n", $at;
    return if $end < 0;

    # a match in the whole of a long text would copy it

    my ($size) = substr($$text, $at, $end - $at) =~ /^([0-9a-fA-F]{1,8})/
        or return (undef, $at);
    my $data = $end + 1;
    $size = hex $size;

    if ($size == 0) {
        pos($$text) = $data;
        return $$text =~ /\G(?:[^\r\n]+\r\n)*\r\n/gc ? ('', pos $$text) : ();
    }

    return if length $$text < $data + $size + 2;
    return (undef, $at) if substr($$text, $data + $size, 2) ne "\r\n";
    return (substr($$text, $data, $size), $data + $size + 2);
}


sub keeps_alive ($self) {
    my $connection = lc($self->{headers}{connection} // '');

    return !$self->{error} && $self->{complete}
        && ($self->{chunked} || defined $self->{length})
        && ($self->{version} ? $connection ne 'close'
                             : $connection eq 'keep-alive');
}


sub name ($self) {
    return $self->status if $self->{error} || $self->{code} >= 400;

    my ($name) = $self->{headers}{'x-backend'}
        // ($self->{body} // '') =~ /(\S{1,80})/;
    return $name // $self->status;
}


sub json ($self) {
    require JSON::PP;
    return JSON::PP->new->allow_nonref->decode($self->body);
}


sub body ($self) {
    return $self->{body} // substr $self->{raw}, $self->{at};
}


sub error   ($self) { return $self->{error} }
sub headers ($self) { return $self->{headers} }
sub interim ($self) { return $self->{interim} }
sub raw     ($self) { return $self->{raw} }
sub status  ($self) { return $self->{error} // $self->{code} }
sub time    ($self) { return $self->{time} // 0 }

sub header ($self, $name) { return $self->{headers}{ lc $name } }


1;
