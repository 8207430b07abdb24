#!/usr/bin/perl

# The page of scripts/demo in a browser.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use LRT;
use LRT::Browser;
use LRT::Demo;

my $t = LRT->new(name => 'demo_browser', need => [qw(module proxy)]);

my $browser = LRT::Browser->new($t);

sub try_demo ($part, $arguments, %known) {
    my $demo = LRT::Demo->start($t, @$arguments);

    ok($demo->page, 'the demo says where its page is')
        or return diag($demo->output);

    $browser->run([$part], port => $demo->page, %known);

    $demo->signal('INT');
    ok($t->wait_for(sub { $demo->has_ended }, 10), 'it ends');
}

my ($a, $b) = map { $t->backend($_)->address } qw(a b);

try_demo('demo', []);
try_demo('demo_own', [$a, $b], a => $a, b => $b);

$t->done;
