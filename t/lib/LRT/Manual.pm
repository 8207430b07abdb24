package LRT::Manual;

# The manual as tests see it: README, SECURITY and docs, and all examples that
# they show, by their kinds.
#
#     my $manual = LRT::Manual->new;
#
#     for my $file ($manual->files) {
#         my $text = $manual->text($file);
#         for my $block ($manual->configurations($file)) {
#             $t->test_config(http => LRT::Manual::here($block->{http}));
#         }
#         for my $shown ($manual->commands($file)) {
#             system 'sh', '-c', $shown->{command}
#                 if LRT::Manual::is_request($shown);
#         }
#     }

use v5.36;

use File::Basename qw(dirname);
use File::Spec ();

my $root = File::Spec->rel2abs(dirname(__FILE__) . '/../../..');


sub new ($class) {
    return bless {
        text => { map { (s{^\Q$root\E/}{}r => _slurp($_)) }
            (map { "$root/$_.md" } qw(README SECURITY)),
            glob "$root/docs/*.md" },
    }, $class;
}


sub _slurp ($path) {
    local $/;
    open my $f, '<:encoding(UTF-8)', $path or die "$path: $!\n";
    return scalar <$f>;
}


sub files ($self)        { return sort keys $self->{text}->%* }
sub text  ($self, $file) { return $self->{text}{$file} }


# Examples, as {line, kind, text}: what stands between fences is of the kind
# that the fence names, what is indented tells by its first line.
#
#     nginx     a configuration
#     console   commands behind "$", and what they answer
#     shell     commands
#     json      a state file, or a part of an answer
#     yaml      rules of alerts
#     log       what the module writes to the log
#     syntax    the grammar of a directive
#     text      what nobody can run: drawings, results, other languages
#
# A fence without a name is of the kind ''.

sub examples ($self, $file) {
    return $self->{examples}{$file} //= [_examples($self->text($file))];
}


sub _examples ($text) {
    my (@examples, $now);
    my ($number, $before, $indent) = (0, '');

    for my $line (split /\n/, $text) {
        $number++;

        if ($line =~ /^( *)(?:```|~~~)(.*)/) {
            if (defined $indent) {
                undef $indent;
            } else {
                $indent = $1;
                push @examples, { line => $number + 1, kind => $2, text => '' };
            }

            undef $now;

        } elsif (defined $indent) {
            $examples[-1]{text} .= $line =~ s/^$indent//r . "\n";

        } elsif ($line =~ /^ {4}/ && ($now || $before eq '')) {
            push @examples, $now = { line => $number, text => '', kind =>
                $line =~ /^ +Syntax:/ ? 'syntax'
                : $line =~ /^ +\{/ ? 'json' : 'shell' } unless $now;
            $now->{text} .= substr($line, 4) . "\n";

        } elsif ($line ne '') {
            undef $now;
        } elsif ($now) {
            $now->{text} .= "\n";
        }

        $before = $line;
    }

    return @examples;
}


sub of_kind ($self, $file, @kinds) {
    return grep { my $kind = $_->{kind}; grep { $_ eq $kind } @kinds }
        $self->examples($file)->@*;
}


# Configurations, as {line, kind, text, http}: "http" is the inside of http { },
# whole, though the manual leaves out what its reader has.

sub configurations ($self, $file) {
    return map { { %$_, http => _configuration($_->{text}) } }
        $self->of_kind($file, 'nginx');
}


# Commands, as {line, block, command, answer}; those behind "$" have the answer
# that is shown, the other ones have none.  Commands of one block belong
# together.

sub commands ($self, $file) {
    my @shown;

    for my $example ($self->of_kind($file, qw(console shell))) {
        my ($now, $number) = (undef, $example->{line});

        for my $line (split /\n/, $example->{text}) {
            if ($now && !$now->{whole}) {
                $now->{command} .= "\n$line";

            } elsif ($example->{kind} eq 'shell' ? $line =~ /^(.+)/
                : $line =~ /^\$ (.*)/)
            {
                $now = { line => $number, block => $example->{line},
                    command => $1, answer => '' };
                push @shown, $now;

            } elsif ($now) {
                $now->{answer} .= "$line\n";
            }

            $now->{whole} = $now->{command} !~ /[\\|]\s*\z/
                && ($now->{command} =~ tr/'//) % 2 == 0 if $now;
            $number++;
        }
    }

    return @shown;
}


# Whether a command is a request, or makes one; the other ones are for a shell
# of the reader's system.

sub is_request ($shown) { $shown->{command} =~ /^(?:curl|seq|jq|consul)\b/ }


# A configuration is a sequence of statements: "word ...;" or "word ... {...}".

sub _statements ($text) {
    my ($from, $depth, @statements) = (0, 0);

    while ($text =~ /\G(?:\#[^\n]*|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|
                          [^\s;{}"'\#][^\s;{}]*|([;{}])|\s+)/gxs)
    {
        my $mark = $1 // next;
        $depth += { '{' => 1, '}' => -1, ';' => 0 }->{$mark};
        next if $depth || $mark eq '{';

        push @statements, substr $text, $from, pos($text) - $from;
        $from = pos $text;
    }

    die "no statement: ", substr $text, $from
        if $depth || substr($text, $from) =~ /^\s*[^#\s]/m;

    return @statements;
}


# What belongs into a server or a group is put there: the manual leaves out
# what its reader has.

sub _place ($statement) {
    my ($word) = $statement =~ /\A(?:\s|#[^\n]*\n)*(\S+?)[\s;]/
        or die "no word: $statement\n";

    return $word =~ /^(?:location|proxy_\w+)$/ ? 'server'
         : $word =~ /^lrt_(?:health_check|slow_start|panic|state)$/
             || $word =~ /^(?:\w+_ext|least_time|keepalive)$/
             || $word eq 'server' && $statement !~ /\{/ ? 'upstream'
         : 'http';
}


# The same with ports, files and names of a test.  Certificates are docs.pem and
# docs.key in its directory, state files in its folder "lrt".

sub here ($text) {
    $text =~ s{\b(listen\s+)(?:127\.0\.0\.1:)?(\d+)}
              {${1}127.0.0.1:%%PORT_listen$2%%}g;
    $text =~ s/\b(server\s*\{)(?![^\}]*\blisten\b)
              /$1 listen 127.0.0.1:%%PORT_listen8080%%;/gx;
    $text =~ s{unix:/run/nginx-api/}{unix:%%DIR%%/}g;
    $text =~ s{/[\w/.-]+\.pem\b}{%%DIR%%/docs.pem}g;
    $text =~ s{/[\w/.-]+\.key\b}{%%DIR%%/docs.key}g;
    $text =~ s{/var/lib/nginx/lrt/}{%%DIR%%/lrt/}g;
    $text =~ s{/var/log/nginx/}{%%DIR%%/manual-}g;
    return $text;
}


sub _configuration ($text) {
    my %in = (http => '', server => '', upstream => '');

    $in{ _place($_) } .= $_ for _statements($text);

    my $http = $in{http};

    $http .= "\nupstream docs {$in{upstream}\nserver 127.0.0.1:1; }"
        if $in{upstream};
    $http .= "\nserver {$in{server}\n}" if $in{server};

    for my $group ($text =~ m{(?:proxy_pass\s+https?://|lrt_redirect\s+)(\w+)}g)
    {
        $http = "upstream $group { least_conn_ext; server 127.0.0.1:1; }\n"
            . $http unless $http =~ /\bupstream\s+$group\s*\{/;
    }

    return $http;
}


1;
