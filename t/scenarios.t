#!/usr/bin/perl

# The table of scripts/bench live: the lab understands each scenario, servers
# can do the work, and the names in it are those of somebody.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/../scripts/bench.d";
use Test::More;

use Balancers;
use LRT::Lab;
use Scenarios;
use Tables;

my $lab = LRT::Lab->new;
my @balancers = Balancers::all();
my %known = map { $_->{name} => 1 } @balancers;
my %seen;

is(scalar keys %known, scalar @balancers, 'names of balancers');

for my $scenario (Scenarios::all()) {
    my $name = $scenario->{name};

    $scenario->{length} //= 1;
    ok(!$seen{$name}++, "$name, a name of its own");

    my $run = $lab->reference(Scenarios::lines($scenario, 1),
        '--policy', 'sed', '--windows', '*');
    my %windows = (delete $run->{windows})->%*;
    delete $windows{all};

    cmp_ok($run->{load}, '<', .95, "$name, the work can be done");
    ok(!$scenario->{events}->@* || $scenario->{from} || $scenario->{length},
        "$name, events fit in");
    is_deeply([grep { !$known{$_} } $scenario->{also}->@*], [],
        "$name, balancers");

    for my $pattern ($scenario->{watched}->@*, keys $scenario->{weights}->%*) {
        ok(grep({ Scenarios::matches($pattern, $_) } keys %windows),
            "$name, $pattern is a server");
    }

    my $f = Tables::figures($scenario, { load => $run, windows => \%windows });
    cmp_ok($f->{p99}, '>=', $f->{p50}, "$name, figures");
    cmp_ok($f->{share}, '<', 1, "$name, share");
}

# what an ablation takes out is still there

is(system("$FindBin::Bin/../scripts/bench.d/ablation --list >/dev/null"), 0,
    'parts of an ablation');

done_testing();
