package Statistics;

# Few numbers, paired: what two balancers made of the same requests.
#
#     my ($ratio, $low, $high) = Statistics::ratio(\@ours, \@others);
#
# Ratios are averaged as logarithms, and so is their interval: with them,
# "twice" and "half" are as far from 1.  The interval is that of Student for
# 95 %; with less than two pairs there is none.

use v5.36;

use List::Util qw(sum);

use constant CONFIDENCE => .95;


sub mean (@list) { return @list ? sum(@list) / @list : undef }


sub deviation (@list) {
    return undef if @list < 2;
    my $mean = mean(@list);
    return sqrt(sum(map { ($_ - $mean) ** 2 } @list) / (@list - 1));
}


# The mean and its interval.

sub interval (@list) {
    my $mean = mean(@list);
    return $mean if @list < 2;

    my $half = student((1 + CONFIDENCE) / 2, @list - 1)
        * deviation(@list) / sqrt @list;
    return ($mean, $mean - $half, $mean + $half);
}


sub ratio ($ours, $others) {
    my @pairs = grep { $ours->[$_] && $others->[$_] } 0 .. $#$ours;
    return unless @pairs;
    return map { exp } interval(
        map { log($ours->[$_] / $others->[$_]) } @pairs);
}


# How much of the way from another balancer to a limit is done, 1 for all of
# it; undef if there is none worth the name.

sub gap_closed ($ours, $other, $limit) {
    return undef if grep { !defined } $ours, $other, $limit;
    return undef if $other - $limit < .05 * $other;
    return ($other - $ours) / ($other - $limit);
}


# What a value of Student's distribution is below with the probability p, for
# p of .5 and more.

sub student ($p, $freedom) {
    my ($low, $high) = (0, 2);

    $high *= 2 while _above($high, $freedom) > 1 - $p;

    for (1 .. 60) {
        my $middle = ($low + $high) / 2;
        if (_above($middle, $freedom) > 1 - $p) { $low = $middle }
        else                                    { $high = $middle }
    }

    return $low;
}


# P(T > t), in closed form (Abramowitz, Stegun 26.7.3, 26.7.4)

sub _above ($t, $freedom) {
    my $angle = atan2 $t, sqrt $freedom;
    my ($sin, $cos) = (sin $angle, cos $angle);
    my $odd = $freedom % 2;
    my ($term, $sum) = $odd ? ($cos, 0) : (1, 0);

    for (my $k = $odd ? 1 : 0; $k < $freedom - 1; $k += 2) {
        $sum += $term;
        $term *= $cos ** 2 * ($k + 1) / ($k + 2);
    }

    my $within = $odd
        ? ($angle + $sin * $sum) / atan2(1, 0)
        : $sin * $sum;

    return (1 - $within) / 2;
}


# Shares of a server in windows of time, and when they changed: how many
# windows after "from" its share has gone below $low of what is fair, for as
# long as the event takes; and how many after "to" it is above $high.  A share
# is that of WIDTH windows, since there are few requests in one.

use constant WIDTH => 5;

sub shifted ($windows, $from, $to, $low) {
    my @shares = map { _share($windows, $_) } $from .. $to - WIDTH;
    my $n = @shares;

    $n-- while $n && $shares[$n - 1] < $low;
    return $n < @shares ? $n : undef;
}


sub returned ($windows, $to, $high) {
    for my $w ($to .. $windows->$#* - WIDTH + 1) {
        return $w - $to if _share($windows, $w) > $high;
    }

    return undef;
}


# windows: [requests to it, what would be fair]

sub _share ($windows, $first) {
    my @some = $windows->@[$first .. $first + WIDTH - 1];
    my $fair = sum(map { $_->[1] } @some);
    return $fair ? sum(map { $_->[0] } @some) / $fair : 0;
}

1;
