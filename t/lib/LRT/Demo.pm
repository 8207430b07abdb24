package LRT::Demo;

# scripts/demo as a test sees it: a program that says where it can be reached.
#
#     my $demo = LRT::Demo->start($t, @arguments);    # waits until it is ready
#     $demo->port, $demo->page, $demo->list
#     $demo->signal('INT');
#     $demo->has_ended

use v5.36;

use File::Basename qw(dirname);
use LRT::Process;
use LRT::Program;

my $script = dirname(__FILE__) . '/../../../scripts/demo';


sub start ($class, $t, @arguments) {
    my $self = bless { t => $t, output => $t->dir . '/demo.out' }, $class;

    my $program = LRT::Program->find;
    $t->write('demo.out', '');

    local $ENV{LRT_NGINX}    = $program->path;
    local $ENV{LRT_MODULE}   = $program->module // '';
    local $ENV{TMPDIR}       = $t->dir;
    local $ENV{ASAN_OPTIONS} =
        join ':', 'detect_leaks=0', $ENV{ASAN_OPTIONS} // ();

    $self->{process} = LRT::Process->run_program([$script, @arguments],
        $self->{output});

    $t->wait_for(sub { $self->output =~ /Ctrl-C/ || $self->has_ended }, 60);
    return $self;
}


sub output ($self) { return $self->{t}->read('demo.out') }


# Where its own page is, where the servers are balanced, and the list of them.

sub page ($self) { return $self->output =~ m{:(\d+)/dashboard} ? $1 : undef }
sub port ($self) { return $self->output =~ m{balances http://[^:]+:(\d+)} ? $1 : undef }
sub list ($self) { return $self->output =~ m{^ *edit (\S+)}m ? $1 : undef }


sub pid ($self) { return $self->{process}->pid }

sub signal ($self, $name) { return kill $name => $self->pid }


# All that it started has its temporary folder in the command, or a parent that
# has: those that live.

sub processes ($self) {
    my @all    = LRT::Process::all_processes();
    my %family = ($self->pid => 1);

    for (1 .. 3) {
        $family{$_->{pid}} = 1 for grep { $family{ $_->{parent} } } @all;
    }

    return grep { $family{ $_->{pid} } && $_->{state} ne 'Z' } @all;
}


sub has_ended ($self) { return !$self->{process}->is_running }

sub ending ($self) { return $self->{process}->ending }


1;
