#!/usr/bin/perl

# Commands that the manual shows and that are no requests: those that change
# versions, keep files or make folders do what it says, in the directory of the
# test; those that build, install or measure are not run, but they exist and
# know their options.

use v5.36;

use FindBin;
use lib "$FindBin::Bin/lib";
use File::Basename qw(basename);
use File::Copy qw(copy);
use File::Temp ();
use JSON::PP ();
use Test::More;

use LRT;
use LRT::Manual;
use LRT::Program;
use LRT::Service;

# The nginx that is replaced by another one is a copy.

my $program = LRT::Program->find;
my $root    = "$FindBin::Bin/..";
my $usr     = File::Temp::tempdir('lrt-examples-usr-XXXXXX', TMPDIR => 1);
my $module  = "$usr/lib/nginx/modules/ngx_http_lrt_upstream_module.so";

LRT::Process::remove_at_end($usr);
chmod 0755, $usr;
system 'mkdir', '-p', "$usr/sbin", "$usr/lib/nginx/modules";

# without a module in a file the manual's commands have one to copy
put($program->path, "$usr/sbin/nginx");
put($program->module // $0, $module);

$ENV{LRT_NGINX}  = "$usr/sbin/nginx";
$ENV{LRT_MODULE} = $module if $program->module;

my $t = LRT->new(name => 'examples-shell', need => [qw(module proxy
    upstream_keepalive upstream_zone)]);

my $dir    = $t->dir;
my $manual = LRT::Manual->new;

mkdir "$dir/$_" or die "$dir/$_: $!\n" for qw(bin backup);

$t->write('bin/nginx', "#!/bin/sh\n"
    . "export ASAN_OPTIONS=detect_leaks=0:\$ASAN_OPTIONS\n"
    . "exec $usr/sbin/nginx -p $dir/ -c $dir/nginx.conf -e $dir/nginx.log"
    . " \"\$@\"\n");
chmod 0755, "$dir/bin/nginx";

my @ours = map { s/\s.*//sr } (getpwuid $>)[0] // $>, (getgrgid $))[0] // $);

###############################################################################
# what is not run

my %checked;

for my $file ($manual->files) {
    next if $file eq 'docs/operations.md';

    for my $shown (grep { !LRT::Manual::is_request($_) }
        $manual->commands($file))
    {
        my $name    = "$file:$shown->{line}";
        my $command = $shown->{command} =~ s/\s+#.*//r;
        my ($kind)  = $command =~ m{^(scripts/|(?:apt-get[ ]install|\./configure
            |make|install|LRT_NGINX=\S+[ ]prove)(?![\w-]))}x
            or do { fail("$name: a command that tests know"); next };

        $checked{$kind}++;

        $kind eq 'scripts/'        ? is_usage($name, split ' ', $command)
      : $kind eq 'apt-get install' ? are_packages($name, $command)
      : $kind eq './configure'     ? are_options($name, $command)
      : $kind eq 'make'            ? is_target($name, $command)
      : $kind eq 'install'         ? makes_folder($name, $command)
      :                              is_prove($name, $command);
    }
}

is(scalar keys %checked, 6, 'commands of all kinds');
cmp_ok($checked{'scripts/'}, '>', 20, 'scripts');

###############################################################################
# changes of a running nginx

my $backend = $t->backend('b');
my $path    = "$dir/lrt/backend.json";
my ($old, $new);                # masters
my @known;                      # workers

$t->conf(workers => 2,
    main => 'env ASAN_OPTIONS; env UBSAN_OPTIONS;', http => q{
    upstream backend {
        least_conn_ext;
        lrt_state lrt/backend.json;
        server %%ADDRESS_b%%;
    }
    server {
        listen 127.0.0.1:%%PORT_http%%;
        location /    { proxy_pass http://backend; }
        location /api { lrt_api write=on; }
    }
});

$t->start(daemon => 1);
ok($t->wait_for(sub { -e $path }), 'nginx runs');

my %blocks;

for my $shown ($manual->commands('docs/operations.md')) {
    push @{ $blocks{ $shown->{block} } }, $shown;
}

for my $block (sort { $a <=> $b } keys %blocks) {
    my @steps = $blocks{$block}->@*;

    # the way back begins while both are there

    if ($steps[0]{command} =~ /^kill -HUP/) {
        my ($upgrade) = grep { $_->[-1]{command} =~ /oldbin/ }
            map { $blocks{$_} } sort { $a <=> $b } keys %blocks;

        step($_) for grep { $_->{command} =~ /-(?:USR2|WINCH)/ } @$upgrade;
        step($_) for @steps;

        # "Later: put the files back, then the same way as above"

        rename "$usr/sbin/nginx.before", "$usr/sbin/nginx" or die "$!\n";
        rename "$module.before", $module or die "$!\n";
        step($_) for grep { $_->{command} =~ /^kill/ } @$upgrade;
        ok(same($program->path, "/proc/$new/exe"),
            'docs/operations.md: the program from before runs again');
        next;
    }

    step($_) for @steps;
}

# "To restore, rename a copy into place"

# the instance that is left takes changes when it has seen that it is alone
ok($t->wait_for(sub { (weight(PATCH => '{"weight":7}') // 0) == 7 }),
    'a change after the copy');
ok($t->wait_for(sub { (slurp($path) // '') =~ /"weight":7/ }), 'is saved');
rename "$dir/backup/backend.json", $path or die "$dir/backup: $!\n";
ok($t->wait_for(sub { weight('GET') == 1 }), 'the copy is in force');

$t->stop;
$t->done;

###############################################################################

sub here ($text) {
    $text =~ s{/usr/(?=sbin/|lib/)}{$usr/}g;
    $text =~ s{/run/nginx\.pid}{$dir/nginx.pid}g;
    $text =~ s{/var/lib/nginx/lrt\b}{$dir/lrt}g;
    $text =~ s{(?<= )/backup/}{$dir/backup/}g;
    return $text;
}


sub run ($name, $command) {
    $t->write('command', "PATH=$dir/bin:\$PATH\n$command\n");
    is(system("sh $dir/command >$dir/command.out 2>&1"), 0, "$name: it runs")
        or diag("$command\n", slurp("$dir/command.out"));
}


# Each command of docs/operations.md, and what the manual says that it does.

sub step ($shown) {
    my $name    = "docs/operations.md:$shown->{line}";
    my $command = here($shown->{command});

    @known = $t->workers;
    $old   = $t->old_master_pid;
    $new   = $t->master_pid;

    if ($command =~ /^#/) {
        is($shown->{command}, '# install the new ones', "$name: a remark");
        put($program->path, "$usr/sbin/nginx", "\n");
        put($program->module // $0, $module);
        return;
    }

    run($name, $command);

    for ($command) {
        /^nginx -t && nginx -s reload$/ ? has_new_workers($name)
      : /^cp -p (\S+)\s(?:\\\n\s+)?(\S+)$/ ? is_copy($name, $1, $2)
      : /^kill -USR2 \S+ \S+pid\)/     ? has_two_masters($name)
      : /^kill -WINCH \S+ \S+oldbin\)/ ? has_no_old_workers($name)
      : /^kill -QUIT \S+ \S+oldbin\)/  ? runs_alone($name, $new, $old)
      : /^kill -HUP \S+ \S+oldbin\)/   ? has_old_workers($name)
      : /^kill -QUIT \S+ \S+pid\)/     ? runs_alone($name, $old, $new)
      : fail("$name: a command that tests know");
    }

    is($t->get('/')->status, 200, "$name: requests go on");
}


sub workers_of ($master) {
    return grep { $_->{parent} == $master && $_->{role} eq 'worker' }
        $t->processes;
}


sub has_new_workers ($name) {
    ok($t->wait_for(sub {
        my @now = $t->workers;
        @now == 2 && !grep { my $pid = $_; grep { $_ == $pid } @known } @now;
    }, 20), "$name: there are new workers");
}


sub is_copy ($name, $from, $to) {
    $to .= '/' . basename($from) if -d $to;
    ok(same($from, $to), "$name: a copy");
    is((stat $to)[9], (stat $from)[9], "$name: its time");
}


sub has_two_masters ($name) {
    my $before = $new;

    ok($t->wait_for(sub {
        ($old, $new) = ($t->old_master_pid // 0, $t->master_pid);
        $old == $before && $new && $new != $old && workers_of($new) == 2;
    }, 20), "$name: the new one has workers");
    is(scalar workers_of($old), 2, "$name: so has the old one");
    ok(same("$usr/sbin/nginx", "/proc/$new/exe"),
        "$name: it is the program that was installed");
}


sub has_no_old_workers ($name) {
    ok($t->wait_for(sub { !workers_of($old) && answers() == $new }, 20),
        "$name: the new one answers alone");
    ok(kill(0 => $old), "$name: the old master is there");
}


sub has_old_workers ($name) {
    ok($t->wait_for(sub { workers_of($old) == 2 }, 20),
        "$name: the old one has workers");
}


sub runs_alone ($name, $stays, $ends) {
    ok($t->wait_for(sub { !grep { $_->{pid} == $ends
        || $_->{parent} == $ends } $t->processes }, 20), "$name: it has ended");
    ok($t->wait_for(sub { ($t->master_pid // 0) == $stays
        && !$t->old_master_pid }), "$name: the other one has the pid file");
    is(answers(), $stays, "$name: and answers");
    $new = $stays;
}


# The master of the worker that answers.

sub answers () {
    return JSON::PP::decode_json($t->get('/api/9/nginx')->body)->{ppid};
}


# The weight of the server, undef if a change is refused.

sub weight ($method, $body = undef) {
    my $answer = $t->request(
        $method => '/api/9/http/upstreams/backend/servers/0',
        defined $body ? (body => $body) : ());
    return JSON::PP::decode_json($answer->body)->{weight};
}

###############################################################################

# What a script tells about itself has the options and words that are shown.

sub is_usage ($name, $script, @words) {
    state %help;
    my $what = join ' ', $script,
        $script eq 'scripts/bench' ? shift @words : ();
    my $help = $help{$what}
        //= qx{cd $root && $what --help 2>&1} . ($? ? "exit $?" : '');
    my @unknown;

    like($help, qr/\Ausage: \Q$what\E\b(?!.*^exit)/ms, "$name: $what --help");

    while (defined(my $word = shift @words)) {
        my ($known, $value) = $word =~ /^-/
            ? $help =~ /(?<![\w-])(\Q$word\E)(?![\w-])(?: ([A-Z]))?/
            : $word =~ /^[\w.]+:\d+$/ ? $help =~ /\b(ADDRESS)\b/
            : $help =~ /\b(\Q$word\E)\b/;

        push @unknown, $word unless defined $known;
        shift @words // push @unknown, "$word what" if defined $value;
    }

    is("@unknown", '', "$name: it knows them");
}


# The package that is made, or what scripts/build needs.

sub are_packages ($name, $command) {
    my $made  = slurp("$root/debian/control");
    my $build = slurp("$root/scripts/build");
    my @words = split ' ', $command =~ s/^apt-get install //r;

    is(join(' ', grep { m{^\./build/package/([\w-]+)_\*\.deb$}
            ? $made !~ /^Package: \Q$1\E$/m : $build !~ /[( ]\Q$_\E[ )]/
        } @words), '', "$name: packages");
}


sub source ($file) {
    my ($found) = glob "'$root'/build/src/nginx-*/auto/$file";
    return $found && slurp($found);
}


sub are_options ($name, $command) {
    SKIP: {
        my $known = source('options') // skip 'needs a source of nginx', 1;

        is(join(' ', grep { $known !~ /^ *\Q$_\E(?:=\*)?\)/m }
            $command =~ /(--[\w-]+)/g), '', "$name: options of configure");
    }
}


sub is_target ($name, $command) {
    my ($target) = $command =~ /^make (\w+)$/;

    SKIP: {
        my $known = source('install') // skip 'needs a source of nginx', 1;
        like($known, qr/^$target:/m, "$name: a target");
    }
}


sub is_prove ($name, $command) {
    ok(defined LRT::Service::program('prove'), "$name: there is prove");
    is(join(' ', grep { !-e "$root/$_" }
        $command =~ m{(?:-I |prove .* )([\w/]+)}g), '', "$name: folders");
}


# The folder of state files: workers of that user can write there.

sub makes_folder ($name, $command) {
    my ($user, $group) = $command =~ /-o (\S+) -g (\S+)/;
    my ($example) = $manual->configurations('docs/state.md');

    system 'rm', '-rf', "$dir/lrt";
    ($user, $group) = @ours if $> || !defined getpwnam $user;
    run($name, here($command) =~ s/-o \S+ -g \S+/-o $user -g $group/r);

    my @is = stat "$dir/lrt";

    is_deeply([map { $_ // '' } getpwuid($is[4]) // $is[4],
        getgrgid($is[5]) // $is[5],
        sprintf '%o', $is[2] & 07777], [$user, $group, '750'],
        "$name: the folder");

    my $mark = $t->log_mark;

    $t->conf(main => $> ? '' : "user $user $group;",
        http => LRT::Manual::here($example->{http}));
    $t->start;
    ok($t->wait_for(sub { -e "$dir/lrt/backend.json" }),
        "$name: a state file in it");
    is(join('', $t->grep_log(qr/\[(?:warn|error|crit)\]/, $mark)), '',
        "$name: no warnings");
    $t->stop;
    system 'rm', '-rf', "$dir/lrt";
    mkdir "$dir/lrt";
}


# Puts a file in place as packages do, which is a new file of that name.

sub put ($from, $to, $more = '') {
    copy($from, "$to.new") or die "$to: $!\n";
    open my $file, '>>:raw', "$to.new" or die "$to: $!\n";
    print $file $more;
    close $file or die "$to: $!\n";
    chmod 0755, "$to.new";
    rename "$to.new", $to or die "$to: $!\n";
}


sub same ($one, $other) {
    return system('cmp', '-s', $one, $other) == 0;
}


sub slurp ($path) {
    open my $file, '<', $path or return;
    local $/;
    return scalar <$file>;
}
