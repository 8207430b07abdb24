package LRT::Program;

# The nginx under test: where it is and what it can do.
#
#     my $program = LRT::Program->find;       # dies when there is none
#     $program->path, $program->version, $program->module
#     $program->has('ssl', 'hooks', '1.29.6')
#
# LRT_NGINX names the program; otherwise it is the newest static build under
# build/.  LRT_MODULE names the .so to load; otherwise it is the one beside
# the program, unless our module is built in.  LRT_WRAPPER goes before the
# program when it is run ("valgrind -q").

use v5.36;

use File::Basename qw(basename dirname);
use File::Spec;
use LRT::Net;

use constant MODULE => 'ngx_http_lrt_upstream_module';


sub find ($class) {
    my $path = $ENV{LRT_NGINX} || _newest_build();

    die 'no nginx to test: run scripts/build, or set LRT_NGINX to the path',
        " of an nginx program\n" unless $path;
    die "LRT_NGINX: no program '$path'\n" unless -f $path && -x _;

    my $self = bless { path => File::Spec->rel2abs($path) }, $class;

    $self->{wrapper} = [split ' ', $ENV{LRT_WRAPPER} // ''];
    $self->{about}   = qx{'$self->{path}' -V 2>&1};
    $self->{about} =~ m{nginx version: nginx/(\d+\.\d+\.\d+)}
        or die "'$path -V' does not answer like nginx:\n$self->{about}";
    $self->{version} = $1;

    $self->{modules} = { map { $_ => 1 } _module_names($self->{path}) };
    $self->{module}  = $self->_find_module;

    return $self;
}


sub _newest_build () {
    my $root   = File::Spec->rel2abs(dirname(__FILE__) . '/../../..');
    my @static = grep { -x && !-e dirname($_) . '/' . MODULE . '.so' }
        glob "'$root'/build/*/objs/nginx";

    return (sort { -M $a <=> -M $b } @static)[0];
}


# Each program and each module holds the names of its modules as strings.

sub _module_names ($path) {
    return _content($path) =~ /(?<=\0)(ngx_\w+_module)(?=\0)/g;
}


sub _content ($path) {
    open my $file, '<:raw', $path or die "$path: $!\n";
    local $/;
    return <$file>;
}


sub _find_module ($self) {
    my $path = $ENV{LRT_MODULE};

    if ($path) {
        die "LRT_MODULE: no file '$path'\n" unless -f $path;
    } else {
        return if $self->{modules}{ (MODULE) };
        $path = dirname($self->{path}) . '/' . MODULE . '.so';
        return unless -f $path;
    }

    return File::Spec->rel2abs($path);
}


sub path    ($self) { return $self->{path} }
sub version ($self) { return $self->{version} }

# All that -V says.

sub about ($self) { return $self->{about} }

# The .so to load, undef if none.

sub module ($self) { return $self->{module} }

# The beginning of a command that runs the program.

sub command ($self) { return (@{ $self->{wrapper} }, $self->{path}) }


sub has_version ($self, $wanted) {
    my @have = split /\./, $self->{version};

    for (split /\./, $wanted) {
        my $have = shift @have // 0;
        return $have > $_ if $have != $_;
    }

    return 1;
}


# The first of the features that is missing, undef if none is.  A feature is
#
#     a version       at least this one
#     module          our module, built in or loaded
#     hooks           its test hooks (-DLRT_TEST)
#     angie, debug, compat, root, ipv6
#     anything else   a module of nginx: ssl, v2, realip, grpc, stream,
#                     upstream_sticky, ...

sub missing ($self, @features) {
    for my $feature (@features) {
        return $feature unless
            $feature =~ /^\d+\./ ? $self->has_version($feature)
          : $feature eq 'module' ? $self->{module} || $self->_built_in
          : $feature eq 'hooks'  ? $self->has_test_hooks
          : $feature eq 'angie'  ? $self->{about} =~ /^Angie version/m
          : $feature eq 'debug'  ? $self->{about} =~ /--with-debug\b/
          : $feature eq 'compat' ? $self->{about} =~ /--with-compat\b/
          : $feature eq 'root'   ? $> == 0
          : $feature eq 'ipv6'   ? LRT::Net::has_ipv6()
          :                        $self->_has_module($feature);
    }

    return undef;
}


sub has ($self, @features) { return !defined $self->missing(@features) }


sub _built_in ($self) { return $self->{modules}{ (MODULE) } }


sub _has_module ($self, $name) {
    return grep { $self->{modules}{$_} }
        "ngx_http_${name}_module", "ngx_${name}_module", $name;
}


# A directive of the hooks is a string in the file that holds our module.

sub has_test_hooks ($self) {
    return $self->{hooks} //= do {
        my $file = $self->{module} // ($self->_built_in && $self->{path});
        $file && _content($file) =~ /lrt_test\0/ ? 1 : 0;
    };
}


1;
