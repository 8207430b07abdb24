package LRT::State;

# A group that stands in a file, "lrt_state": the file from outside, and what
# the API says of it.
#
#     my $state = LRT::State->new($t, $api, 'u', "$dir/u.json");
#
#     $state->is_saved;                   # waits
#     is_deeply($state->doc->{servers}[0], { id => 0, ... });
#     like($state->edit({ servers => [...] }), qr/applied/);
#     is_deeply($state->ids, { '127.0.0.1:81' => 0 });
#
# Data becomes JSON, a text goes as it is.

use v5.36;

use JSON::PP ();
use LRT::API;

my $json = JSON::PP->new->canonical->pretty;


sub new ($class, $t, $api, $name, $path) {
    return bless {
        t => $t, name => $name, path => $path, api => $api->group($name),
    }, $class;
}


sub path ($self) { return $self->{path} }
sub name ($self) { return $self->{name} }
sub api  ($self) { return $self->{api} }

sub good ($self) { return "$self->{path}.good" }


# The file

sub text ($self, $path = $self->{path}) {
    open my $file, '<:raw', $path or return;
    local $/;
    return scalar <$file>;
}


sub doc ($self, $path = $self->{path}) {
    my $text = $self->text($path) // return;
    return eval { $json->decode($text) };
}


# The file's servers by address.

sub listed ($self) {
    my $doc = $self->doc // return {};
    return { map { ($_->{server} => $_) } $doc->{servers}->@* };
}


# As an editor does it that replaces a file, and as one that does not.

sub put ($self, $data, $path = $self->{path}) {
    $self->overwrite($data, "$path.new");
    rename "$path.new", $path or die "$path: $!\n";
    return $self;
}


sub overwrite ($self, $data, $path = $self->{path}) {
    open my $file, '>:raw', $path or die "$path: $!\n";
    print $file ref $data ? $json->encode($data) : $data;
    close $file or die "$path: $!\n";
    return $self;
}


# An edit, and the line of the log about it.

sub edit ($self, $data) {
    my $mark = $self->{t}->log_mark;
    $self->put($data);
    return $self->answer($mark);
}


sub answer ($self, $mark) {
    my $path = quotemeta $self->{path};
    my ($line) = $self->{t}->wait_for(sub {
        join '', ($self->{t}->grep_log(
            qr/state file "$path".* (?:applied|is not applied)\b/,
            $mark))[-1] // ();
    });
    return $line;
}


# What the API says: file, valid, saved, error.

sub status ($self) {
    return $self->{api}->get('?fields=lrt')->{lrt}{state};
}


sub is_saved ($self) {
    return $self->{t}->wait_for(sub {
        my $status = $self->status;
        $status->{saved} && $status->{valid} && -e $self->{path};
    });
}


sub becomes ($self, $valid) {
    return $self->{t}->wait_for(sub { $self->status->{valid} == $valid });
}


# The servers that are in force, by address.

sub servers ($self) {
    return { map { ($_->{server} => $_) } $self->{api}->servers->@* };
}

sub ids ($self) { return $self->{api}->all('id') }


sub method ($self) { return $self->{api}->get('?fields=lrt')->{lrt}{method} }


1;
