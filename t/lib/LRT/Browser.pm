package LRT::Browser;

# Pages in a real browser: files of t/browser, run by node with Chromium.
#
#     my $browser = LRT::Browser->new($t);        # may skip the test
#     $browser->run(['read', 'write'], port => $t->port('api'), ...);
#
# What the files assert are assertions of the test.  LRT_SCREENSHOTS=DIR keeps
# the pictures.

use v5.36;

use File::Basename qw(dirname);
use JSON::PP ();
use LRT::Process;
use Test::More;

my $folder = dirname(__FILE__) . '/../../browser';


# Where all is installed by a script, a skipped test would tell nothing.

sub new ($class, $t) {
    my $node     = _program(qw(node nodejs));
    my $chromium = _program(qw(chromium chromium-browser));

    my $missing = !$node ? 'node'
        : !$chromium ? 'chromium'
        : !-d "$folder/node_modules/playwright-core"
            ? 'playwright-core, "npm ci" in t/browser installs it'
        : undef;

    $t->skip_all("needs $missing") if $missing && !$ENV{CI};
    is($missing, undef, 'node, chromium and playwright-core are there')
        or do { $t->done; exit };

    return bless { t => $t, node => $node, chromium => $chromium }, $class;
}


sub _program (@names) {
    my ($path) = grep { -x } map { my $name = $_;
        map { "$_/$name" } split /:/, $ENV{PATH} } @names;
    return $path;
}


# Runs these files; they know all that is named here.

sub run ($self, $names, %settings) {
    my $t = $self->{t};

    local $ENV{HOME} = $t->dir;

    my $process = LRT::Process->run_program(
        [$self->{node}, "$folder/run.mjs", JSON::PP->new->canonical->encode({
            dir => $t->dir, chromium => $self->{chromium},
            shots => $ENV{LRT_SCREENSHOTS} // '', %settings,
        }), @$names],
        $t->write(tap => ''));

    my $at = 0;
    my $complete = $t->wait_for(sub {
        my $running = $process->is_running;
        my $text    = $t->read('tap');

        while ((my $end = index $text, "\n", $at) >= 0) {
            my $line = substr $text, $at, $end - $at;
            $at = $end + 1;
            return 'complete' if $self->_relay($line);
        }
        return $running ? 0 : 'ended';
    }, 150);

    is($complete, 'complete', 'all parts were run');
    $t->wait_for(sub { !$process->is_running });
    $process->end;
    return;
}


# Their lines, as they come: assertions, remarks, what is for us to do.

sub _relay ($self, $line) {
    if ($line =~ /^(not )?ok \d+ - (.*)/) {
        $self->{failed} = defined $1;
        ok(!$self->{failed}, $2);
    } elsif ($line =~ /^do (\w+)/) {
        $1 eq 'stop' ? $self->{t}->stop : $self->{t}->start;
        $self->{t}->write('done-' . ++$self->{done}, '');
    } elsif ($line =~ /^1\.\.\d+$/) {
        return 1;
    } elsif ($line =~ /^# /) {
        $self->{failed} ? diag($line =~ s/^# //r) : note($line =~ s/^# //r);
    } else {
        diag($line);
    }

    return 0;
}


1;
