package Demo::Control;

# What the buttons of the page ask for, over a socket that only nginx is told
# of.  GET /status tells what runs; POST /server?address=..&do=.. changes it.

use v5.36;

use IO::Select ();
use IO::Socket::UNIX ();
use JSON::PP ();

my $json = JSON::PP->new->canonical;

my %texts = (200 => 'OK', 400 => 'Bad Request', 403 => 'Forbidden',
    404 => 'Not Found', 405 => 'Method Not Allowed', 409 => 'Conflict');


# Options: status => a function that returns data, command => one that takes
# an address and a word, and returns what is wrong.

sub new ($class, $path, %o) {
    my $socket = IO::Socket::UNIX->new(Local => $path, Listen => 64)
        or die "$path: $!\n";
    return bless { %o, socket => $socket }, $class;
}


# Waits for that long, and answers who asks.

sub serve ($self, $seconds) {
    my $select = $self->{select} //= IO::Select->new($self->{socket});

    for ($select->can_read($seconds)) {
        my $client = $self->{socket}->accept or next;
        my $head   = _head($client)          // next;
        my ($status, $data) = $self->_answer($head);
        my $body = $json->encode($data) . "\n";

        print $client "HTTP/1.1 $status $texts{$status}\r\n",
            "Content-Type: application/json\r\n",
            "X-Content-Type-Options: nosniff\r\n",
            "Cache-Control: no-store\r\nConnection: close\r\n",
            'Content-Length: ', length $body, "\r\n\r\n", $body;
        close $client;
    }

    return;
}


# nginx sends a head at once, and there is nobody else.

sub _head ($client) {
    my $select = IO::Select->new($client);
    my $head   = '';

    while ($head !~ /\r\n\r\n/) {
        return if length $head > 65536 || !$select->can_read(1)
            || !sysread $client, $head, 16384, length $head;
    }

    return $head;
}


sub _answer ($self, $head) {
    my ($method, $path, $query) = $head =~ m{^(\w+) ([^ ?]*)\??(\S*) };
    my %field = map { lc } $head =~ /^([\w-]+): *(.*?)\r$/mg;

    return _error(400, 'what is this') if !defined $path;
    return (200, $self->{status}->())  if $path eq '/status';
    return _error(404, 'no such path') if $path ne '/server';
    return _error(405, 'only POST')    if $method ne 'POST';

    # a page from elsewhere can send a POST, too

    return _error(403, 'the request comes from another page')
        if ($field{'sec-fetch-site'} // 'none') !~ /^(?:none|same-origin)$/
        || ($field{origin} // '') !~ m{^(?:https?://\Q$field{host}\E)?$};

    my %argument = map { s/%([0-9a-f]{2})/chr hex $1/egir }
        map { /^(\w+)=(.*)$/ } split /&/, $query;

    my $wrong = $self->{command}->($argument{address} // '',
        $argument{do} // '');

    return $wrong ? _error(409, $wrong) : (200, $self->{status}->());
}


sub _error ($status, $text) { return ($status, { error => $text }) }


1;
