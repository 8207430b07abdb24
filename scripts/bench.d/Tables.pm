package Tables;

# Of runs of "scripts/bench live": their figures, tables in Markdown, plots.

use v5.36;

use List::Util qw(max sum sum0);

use Scenarios;
use Statistics;

use constant {
    AWAY => .2,                 # of a fair share, by when a server lost it
    BACK => .5,                 # and has it back
    HIGH => .6,                 # of a processor: rates are too high
};

my @quantiles = qw(p50 p90 p99 p99.9);


# What a run comes to.  Shares are of requests that servers got, so that those
# which were tried twice count twice.

sub figures ($scenario, $run) {
    my $load = $run->{load};
    my ($from, $to) = map { 10 * $_ } $scenario->{from} // $scenario->{warmup},
        $scenario->{to} // $scenario->{warmup} + $scenario->{length};
    my $windows = _windows($scenario, $run);
    my @during = $windows->@[$from .. $to - 1];

    my %f = (
        (map { $_ => $load->{latency_ms}{$_} } 'mean', @quantiles),
        errors => 1 - $load->{ok} / ($load->{requests} || 1),
        share => sum0(map { $_->[0] } @during)
            / (sum0(map { $_->[2] } @during) || 1),
    );

    $f{away} = Statistics::shifted($windows, $from, $to, AWAY)
        if $scenario->{from};
    $f{back} = Statistics::returned($windows, $to, BACK) if $scenario->{to};
    defined && ($_ /= 10) for @f{qw(away back)};

    return \%f;
}


# For each window of 100 ms: requests to watched servers, those that would be
# fair if all are equal, and all.

sub _windows ($scenario, $run) {
    my %of = $run->{windows}->%*;
    my @watched = grep {
        my $name = $_;
        grep { Scenarios::matches($_, $name) } $scenario->{watched}->@*
    } keys %of;
    my $n = 10 * ($scenario->{warmup} + $scenario->{length});

    return [ map {
        my $w = $_;
        my $all = sum0(map { $_->[$w] // 0 } values %of);
        [ sum0(map { $of{$_}[$w] // 0 } @watched), $all * @watched / keys %of,
          $all ];
    } 0 .. $n - 1 ];
}


# runs: { name of a balancer => [a run for each seed] }

sub markdown ($scenario, $balancers, $runs, $base) {
    my %f = map {
        my $name = $_;
        $name => [map { figures($scenario, $_) } $runs->{$name}->@*]
    } keys %$runs;
    my $events = $scenario->{from};
    my $share = join ', ', map { s/\*$//r } $scenario->{watched}->@*;
    my @columns = (
        'ms', 'mean', 'p50', 'p99', 'p99.9', 'errors',
        $share ? "to $share" : (),
        $events ? 'away after' : (), $scenario->{to} ? 'back after' : (),
        "$base / this: mean", 'p99', 'gap closed: mean', 'p99',
    );

    my $text = "### $scenario->{name}: $scenario->{title}\n\n"
        . _row(@columns) . _row('---', ('---:') x (@columns - 1));

    for my $balancer (grep { $f{ $_->{name} } } @$balancers) {
        my $name = $balancer->{name};
        my $mean = sub ($key, $of = $name) {
            Statistics::mean(map { $_->{$key} } $f{$of}->@*);
        };
        my $compare = sub ($key) {
            return '' if $name eq $base || !$f{$base};
            my ($ratio, @interval) = Statistics::ratio(
                map { [map { $_->{$key} } $f{$_}->@*] } $base, $name);
            return '' unless defined $ratio;
            return sprintf '%.2f', $ratio unless @interval;
            return sprintf '%.2f (%.2f-%.2f)', $ratio, @interval;
        };
        my $gap = sub ($key) {
            return '' if $name eq $base || !$f{$base} || !$f{oracle};
            my $closed = Statistics::gap_closed(
                map { $mean->($key, $_) } $base, $name, 'oracle');
            return defined $closed && $closed > -10
                ? sprintf('%.0f %%', 100 * $closed) : '-';
        };
        my $computed = $balancer->{by} eq 'reference';

        $text .= _row($balancer->{label},
            (map { _number($mean->($_)) } qw(mean p50 p99 p99.9)),
            sprintf('%.2f %%', 100 * $mean->('errors')),
            $share ? sprintf('%.2f %%', 100 * $mean->('share')) : (),
            $events ? _times(map { $_->{away} } $f{$name}->@*) : (),
            $scenario->{to} ? _times(map { $_->{back} } $f{$name}->@*) : (),
            (map { $compare->($_) } qw(mean p99)),
            (map { $computed ? '' : $gap->($_) } qw(mean p99)));
    }

    return "$text\n" . _conditions($balancers, $runs) . "\n";
}


# A row for each scenario: what each balancer made of it, and the ratio to the
# best of the others.

sub summary ($compared, $balancers, $base) {
    my $text = '';

    for my $key (qw(mean p99)) {
        my @columns = grep {
            my $name = $_->{name};
            grep { $_->{runs}{$name} } @$compared;
        } @$balancers;

        $text .= "### " . ($key eq 'mean' ? 'Mean' : '99th percentile')
            . ", ms\n\n" . _row('', 'seeds', (map { $_->{label} } @columns),
                "$base / the best other one")
            . _row('---', ('---:') x (@columns + 2));

        for my $one (@$compared) {
            my %all = map {
                $_ => [map { figures($one->{scenario}, $_)->{$key} }
                    $one->{runs}{$_}->@*]
            } keys $one->{runs}->%*;
            my %mean = map { $_ => Statistics::mean($all{$_}->@*) } keys %all;
            my ($best) = sort { $mean{$a} <=> $mean{$b} } grep {
                my $name = $_;
                $name ne $base && grep { $_->{name} eq $name
                    && $_->{by} ne 'reference' } @columns;
            } keys %mean;
            my ($ratio, @interval) = $best && $all{$base}
                ? Statistics::ratio($all{$base}, $all{$best}) : ();

            $text .= _row($one->{scenario}{name},
                max(map { scalar @$_ } values %all), (map {
                defined $mean{ $_->{name} } ? _number($mean{ $_->{name} }) : ''
            } @columns), !defined $ratio ? '' : @interval
                ? sprintf('%.2f (%.2f-%.2f)', $ratio, @interval)
                : sprintf('%.2f', $ratio));
        }

        $text .= "\n";
    }

    return $text;
}


sub _row (@cells) { return '| ' . join(' | ', @cells) . " |\n" }


sub _number ($n) {
    return sprintf $n < 10 ? '%.2f' : $n < 1000 ? '%.1f' : '%.0f', $n;
}


# Seconds of all seeds, some of which may have none.

sub _times (@seconds) {
    my @some = grep { defined } @seconds;
    return 'no' unless @some;
    return sprintf('%.1f s', Statistics::mean(@some))
        . (@some < @seconds ? sprintf(' (%d of %d)', scalar @some,
            scalar @seconds) : '');
}


# How far the machine can be trusted in this.

sub _conditions ($balancers, $runs) {
    my @live = map { ($runs->{ $_->{name} } // [])->@* }
        grep { $_->{by} ne 'reference' } @$balancers;
    return '' unless @live;

    my $most = sub ($key) { max(map { $_->{$key} } @live) };
    my $text = sprintf "Seeds: %d. Proxies needed up to %.0f %% of their "
        . "processors, the lab %.0f %% of its own; of the requests of a run, "
        . "99 %% were sent less than %.1f ms late. Proxies waited for a "
        . "processor for up to %.1f %% of the time. Runs repeated: %d.",
        max(map { scalar @$_ } values %$runs),
        100 * $most->('proxy'), 100 * $most->('lab'), $most->('late'),
        100 * $most->('waited'), sum(map { $_->{tries} - 1 } @live);

    $text .= ' More than ' . 100 * HIGH . ' % is too much: a part of the '
        . 'latency is not that of servers.'
        if grep { $most->($_) > HIGH } qw(proxy lab);

    my @bad = grep { $_->{flags}->@* } @live;
    $text .= ' **Not to be trusted:** ' . join('; ', map {
        "$_->{balancer}, seed $_->{seed} (" . join(', ', $_->{flags}->@*) . ')'
    } @bad) . '.' if @bad;

    return "$text\n";
}


# A plot of the percentiles.

sub plot ($scenario, $balancers, $runs, $file) {
    my (@lines, $data);

    for my $balancer (grep { $runs->{ $_->{name} } } @$balancers) {
        my @f = map { figures($scenario, $_) }
            $runs->{ $balancer->{name} }->@*;
        my $title = $balancer->{label} =~ tr/*"//dr;
        my $style = $balancer->{by} eq 'reference' ? 'dashtype 2'
            : $balancer->{by} eq 'ext' ? 'linewidth 3' : 'linewidth 1';

        push @lines, qq('-' using 1:2 with linespoints $style title "$title");
        $data .= join '', map {
            my $q = $_;
            my $ms = Statistics::mean(map { $_->{$q} } @f);
            -log(1 - substr($q, 1) / 100) / log(10) . " $ms\n"
        } @quantiles;
        $data .= "e\n";
    }

    my $tics = join ', ', map {
        sprintf '"%s" %.4f', $_, -log(1 - substr($_, 1) / 100) / log 10
    } @quantiles;

    open my $gnuplot, '|-', 'gnuplot' or return;
    print $gnuplot <<END, 'plot ', join(', ', @lines), "\n", $data;
set terminal svg size 900,600 noenhanced background "white"
set output "$file"
set title "$scenario->{name}"
set logscale y
set ylabel "ms"
set xtics ($tics)
set grid
set key outside below
END
    close $gnuplot or warn "gnuplot failed\n";
    return;
}

1;
