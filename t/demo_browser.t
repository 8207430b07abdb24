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
my $demo    = LRT::Demo->start($t);

ok($demo->page, 'the demo says where its page is') or diag($demo->output);

$browser->run(['demo'], port => $demo->page) if $demo->page;

$demo->signal('INT');
ok($t->wait_for(sub { $demo->has_ended }, 10), 'it ends');

$t->done;
