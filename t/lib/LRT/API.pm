package LRT::API;

# A client of the location `lrt_api`: JSON there and back.
#
#     my $api = LRT::API->new($t, port => 'api', base => '/api/9');
#
#     my $r = $api->call(POST => '/http/upstreams/u/servers/',
#         { server => '127.0.0.1:81' });
#     is($r->status, 201);
#     is(LRT::API::fault($r), '409 EntryExists');
#
#     my $u = $api->group('u');
#     is_deeply($u->servers->[0], { id => 0, ... });
#     $u->call(PATCH => 'servers/0', { weight => 5 });
#     my $before = $u->state;             # list and generation
#
# Data that is sent is made into JSON, a text goes as it is.  Booleans that
# come back compare as 1 and 0, and can be sent again.

use v5.36;

use JSON::PP ();
use LRT::HTTP::Client;

use constant HREF =>
    'https://nginx.org/en/docs/http/ngx_http_api_module.html';

my $json = JSON::PP->new->canonical->allow_nonref;


sub new ($class, $t, %o) {
    return bless {
        t => $t, port => $o{port} // 'api', base => $o{base} // '/api/9',
    }, $class;
}


# The same client with paths below a group's.

sub group ($self, $name) {
    return bless {
        %$self, base => "$self->{base}/http/upstreams/$name/", group => $name,
    }, ref $self;
}


# true and false, for data that is sent

sub true  () { return $JSON::PP::true }
sub false () { return $JSON::PP::false }

sub encode ($data) { return ref $data ? $json->encode($data) : $data }


# A request, an LRT::HTTP::Response; options are those of LRT::HTTP.

sub call ($self, $method, $path, $data = undef, %o) {
    return $self->{t}->request($method, $self->uri($path),
        port => $self->{port}, defined $data ? (body => encode($data)) : (),
        %o);
}


# A request that is sent and not waited for.

sub begin ($self, $method, $path, $data = undef, %o) {
    return $self->{t}->begin($self->uri($path), method => $method,
        port => $self->{port}, defined $data ? (body => encode($data)) : (),
        %o);
}


sub uri ($self, $path) { return "$self->{base}$path" }


# What a path holds, as data; dies if the answer is not 200.

sub get ($self, $path = '') {
    my $r = $self->call(GET => $path);
    $r->status eq '200'
        or die "GET $path: ", $r->status, ' ', $r->body, "\n";
    return data($r);
}


sub data ($r) { return $json->decode($r->body) }


# Of a group: its servers; one parameter of them, by address; both list and
# generation, as text.

sub servers ($self) { return $self->get('servers/') }

sub all ($self, $field) {
    return { map { ($_->{server} => $_->{$field}) } $self->servers->@* };
}


sub state ($self) {
    my $r = $self->call(GET => 'servers/');
    return join ' ', $r->status, $r->header('x-lrt-index') // '-', $r->body;
}


sub generation ($self) {
    return $self->call(GET => 'servers/')->header('x-lrt-index');
}


# Of a group: one server's status, by its address.

sub peer ($self, $address) {
    my ($peer) = grep { $_->{server} eq $address } $self->get->{peers}->@*;
    return $peer;
}


# A refusal in short, "409 EntryExists"; what is not in the form that clients
# know is told in full.

sub fault ($r) {
    my $data  = eval { data($r) };
    my $error = ref $data eq 'HASH' ? $data->{error} : undef;

    return 'no error: ' . $r->status . ' ' . $r->body
        unless ref $error eq 'HASH'
        && join(',', sort keys %$data)  eq 'error,href,request_id'
        && join(',', sort keys %$error) eq 'code,status,text'
        && $error->{status} eq $r->status
        && $error->{text} =~ /./
        && $data->{request_id} =~ /^[0-9a-f]{32}$/
        && $data->{href} eq HREF
        && ($r->header('content-type') // '') eq 'application/json';

    return "$error->{status} $error->{code}";
}


# Its text, for those who read it.

sub reason ($r) { return (eval { data($r) } // {})->{error}{text} // '' }


1;
