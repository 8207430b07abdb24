#!/usr/bin/perl

# The figures of scripts/bench live, with inputs whose answers are known.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/../scripts/bench.d";
use Test::More;

use Statistics;

sub near ($got, $wanted, $what) {
    ok(defined $got && abs($got - $wanted) < 1e-4 * (1 + abs $wanted), $what)
        or diag(($got // 'undef') . ", not $wanted");
}


subtest 'the distribution of Student' => sub {
    my %printed = (                     # as in any table
        '.975 1' => 12.7062, '.975 2' => 4.30265, '.975 3' => 3.18245,
        '.975 4' => 2.77645, '.975 5' => 2.57058, '.975 9' => 2.26216,
        '.975 30' => 2.04227, '.95 7' => 1.89458, '.995 10' => 3.16927,
        '.5 6' => 0,
    );

    near(Statistics::student(split ' '), $printed{$_}, $_)
        for sort keys %printed;
};


subtest 'intervals' => sub {

    # mean 3, deviation sqrt 2.5, so 3 +- 2.77645 * sqrt .5

    my ($mean, $low, $high) = Statistics::interval(1 .. 5);
    near($mean, 3, 'mean');
    near($low, 1.03676, 'low');
    near($high, 4.96324, 'high');
    near(Statistics::deviation(1 .. 5), sqrt 2.5, 'deviation');

    is_deeply([Statistics::interval(7)], [7], 'no interval of one');
    is(Statistics::deviation(7), undef, 'no deviation of one');
};


subtest 'paired ratios' => sub {
    my ($ratio, $low, $high) =
        Statistics::ratio([1, 20, 300], [2, 40, 600]);
    near($_, .5, 'always half, whatever seeds make of it')
        for $ratio, $low, $high;

    ($ratio, $low, $high) = Statistics::ratio([1, 4], [2, 2]);
    near($ratio, 1, 'half and twice is the same');
    near($low * $high, 1, 'and as uncertain to both sides');
    near($high, exp(12.7062 * log 2), 'very');

    near((Statistics::ratio([0, 3], [5, 6]))[0], .5, 'pairs that are');
    is_deeply([Statistics::ratio([], [])], [], 'none');
};


subtest 'gaps' => sub {
    near(Statistics::gap_closed(6, 10, 2), .5, 'half of the way');
    near(Statistics::gap_closed(12, 10, 2), -.25, 'the wrong way');
    is(Statistics::gap_closed(10, 10, 9.9), undef, 'no way to go');
    is(Statistics::gap_closed(10, 10, undef), undef, 'no limit');
};


subtest 'shares in time' => sub {

    # slow from 10 to 30: its share goes after 3 windows, and is back 6 later

    my @windows = map { [
        $_ < 13 || $_ >= 36 ? 10 : $_ == 20 ? 1 : 0, 10,
    ] } 0 .. 49;

    is(Statistics::shifted(\@windows, 10, 30, .2), 3, 'away');
    is(Statistics::returned(\@windows, 30, .5), 4,
        'back, when 3 windows of 5 have it');

    $windows[27][0] = 10;
    is(Statistics::shifted(\@windows, 10, 30, .2), undef, 'not for good');

    $_->[0] = 0 for @windows[30 .. 49];
    is(Statistics::returned(\@windows, 30, .5), undef, 'never back');
    is(Statistics::shifted(\@windows, 30, 50, .2), 0, 'has not been there');
};

done_testing();
