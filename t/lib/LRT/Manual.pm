package LRT::Manual;

# The manual as tests see it: README, SECURITY and docs, their configurations
# and the commands that they show.
#
#     my $manual = LRT::Manual->new;
#
#     for my $file ($manual->files) {
#         my $text = $manual->text($file);
#         for my $block ($manual->configurations($file)) {
#             $t->test_config(http => LRT::Manual::here($block->{http}));
#         }
#         for my $shown ($manual->commands($file)) {
#             system 'sh', '-c', $shown->{command};
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


# Blocks of nginx's language, as {line, text, http}: "http" is the inside of
# http { }, whole, though the manual leaves out what its reader has.

sub configurations ($self, $file) {
    my $text = $self->text($file);
    my @blocks;

    while ($text =~ /^( *)```nginx\n(.*?)^\1```$/msg) {
        push @blocks, {
            line => 1 + (substr($text, 0, $-[0]) =~ tr/\n//),
            text => $2, http => _configuration($2),
        };
    }

    return @blocks;
}


# Commands of a shell, as {line, block, command, answer}; those behind "$" have
# the answer that is shown, those in indented blocks have none.  Commands of one
# block belong together.

sub commands ($self, $file) {
    my (@shown, $now, $fenced);
    my ($number, $block) = (0, 0);

    for my $line (split /\n/, $self->text($file)) {
        $number++;

        if ($line =~ /^```/) {
            $fenced = !$fenced;
            $block++;
            undef $now;
            next;
        }

        if ($now && !$now->{whole}) {
            $now->{command} .= "\n$line";

        } elsif ($fenced ? $line =~ /^\$ (.*)/
            : $line =~ /^    ((?:curl|jq) .*)/)
        {
            $now = { line => $number, block => $block, command => $1,
                answer => '' };
            push @shown, $now;

        } else {
            $now->{answer} .= "$line\n" if $now && $fenced;
            $block++ if !$fenced && $line !~ /^(?:    |$)/;
            next;
        }

        $now->{whole} = $now->{command} !~ /[\\|]\s*\z/
            && ($now->{command} =~ tr/'//) % 2 == 0;
    }

    return @shown;
}


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
              /$1 listen 127.0.0.1:%%PORT_listen%%;/gx;
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
