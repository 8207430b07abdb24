package LRT::Storm::ByAPI;

# How LRT::Storm::Changes changes a group through the API; see
# LRT::Storm::ByHooks.

use v5.36;

use JSON::PP ();
use LRT::API;

my %method = (add => 'POST', set => 'PATCH', remove => 'DELETE');


sub port () { return 'api' }

sub _servers ($group) { return "/api/9/http/upstreams/$group/servers/" }


sub request ($op, $group, $what, %values) {
    return ($method{$op}, _servers($group) . ($op eq 'add' ? '' : $what),
        $op eq 'remove' ? undef : LRT::API::encode({
            $op eq 'add' ? (server => $what) : (),
            map { $_ => $_ eq 'down' ? \$values{$_} : $values{$_} }
                keys %values,
        }));
}


sub success ($r) { return $r->status =~ /^20[01]$/ }
sub id      ($r) { return success($r) ? LRT::API::data($r)->{id} : undef }


sub look ($group) { return (GET => _servers($group)) }

sub found ($r, $address) {
    my ($server) = grep { $_->{server} eq $address } LRT::API::data($r)->@*;
    return $server ? ($server->{id}, $server->{down} ? 1 : 0) : ();
}


1;
