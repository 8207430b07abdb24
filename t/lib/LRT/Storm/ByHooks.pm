package LRT::Storm::ByHooks;

# How LRT::Storm::Changes changes a group through the test hooks.  The same
# functions are in LRT::Storm::ByAPI.

use v5.36;


sub port () { return 'lrt_test' }


# method, URI and body of a change; `what` is of a server: its address if it
# is added, else its id

sub request ($op, $group, $what, %values) {
    my $server = $op eq 'add' ? 'server' : 'id';

    return (GET => "/?op=$op&group=$group&$server=$what"
        . join '', map { "&$_=$values{$_}" } sort keys %values);
}


# Whether it was made, and the id of a server that was added

sub success ($r) { return $r->body =~ /^ok / }
sub id      ($r) { return $r->body =~ /^ok id=(\d+) / ? $1 : undef }


# A request for what is in the group, and what its answer says of an address:
# id and down; undef if it is not there.  Dies if that is no answer.

sub look ($group) { return (GET => "/?op=dump&group=$group") }

sub found ($r, $address) {
    die "no dump\n" unless $r->body =~ /^generation=/;
    return $r->body =~ /^slot=\d+ id=(\d+) name=\Q$address\E .* down=(\d)/m
        ? ($1, $2) : ();
}


1;
