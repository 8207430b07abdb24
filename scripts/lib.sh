# Helpers of the scripts in this folder; sourced, not run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cache=$root/build/src

say() {
    printf '[%3ds] %s\n' "$SECONDS" "$*" >&2
}

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# run LOG COMMAND...: quiet as long as it goes well
run() {
    local log=$1
    shift

    if ! "$@" >>"$log" 2>&1 </dev/null; then
        tail -n 40 "$log" >&2
        die "failed: $1 (all of its output: $log)"
    fi
}

no_spaces() {
    [[ $root != *[[:space:]]* ]] ||
        die "nginx cannot be configured with an add-on in a folder with" \
            "spaces: $root"
}

# Makes sure that Debian packages are there: installs them when it may,
# otherwise says what to type.  On other systems it trusts the user.
need_packages() {
    local missing sudo=

    command -v dpkg-query >/dev/null || return 0

    missing=$(missing_packages "$@")
    [ -n "$missing" ] || return 0

    if [ "$(id -u)" != 0 ]; then
        sudo='sudo -n'
        $sudo true 2>/dev/null ||
            die "packages are missing; as root, run: apt-get install $missing"
    fi

    say "install $missing"
    mkdir -p "$cache"
    (
        flock 9
        install_packages $missing
    ) 9>"$cache/.packages.lock"
}

missing_packages() {
    local name missing=()

    for name in "$@"; do
        case $(dpkg-query -W -f '${Status}' "$name" 2>/dev/null) in
        *' installed') ;;
        *) missing+=("$name") ;;
        esac
    done

    printf '%s' "${missing[*]}"
}

install_packages() {
    local log=$cache/packages.log stubs=$cache/no-services
    local apt=($sudo env DEBIAN_FRONTEND=noninteractive apt-get -y
        -o DPkg::Lock::Timeout=600 -o DPkg::Use-Pty=0
        -o DPkg::Path="$stubs:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")

    # a package that brings a service (nginx) must not start it
    mkdir -p "$stubs"
    ln -sf /bin/true "$stubs/invoke-rc.d"
    ln -sf /bin/true "$stubs/deb-systemd-invoke"

    : >"$log"

    if ! "${apt[@]}" install --no-install-recommends "$@" \
        >>"$log" 2>&1 </dev/null
    then
        # most often the lists are old, or were never fetched
        run "$log" "${apt[@]}" update
        run "$log" "${apt[@]}" install --no-install-recommends "$@"
    fi
}

# What t/dashboard_browser.t needs: a browser, and the library that drives it,
# in the version of the lock file.  Node.js may come from elsewhere than Debian,
# and brings npm then.
need_browser() {
    local names=(chromium)

    command -v node >/dev/null || names+=(nodejs)
    command -v npm >/dev/null || names+=(npm)

    need_packages "${names[@]}"
    mkdir -p "$cache"
    (
        flock 9
        install_library "$root/t/browser"
    ) 9>"$cache/.packages.lock"
}

install_library() {
    local lock=node_modules/.package-lock.json log=$cache/npm.log

    cd "$1"
    [ ! -f "$lock" ] || [ package-lock.json -nt "$lock" ] || return 0

    say "install $(sed -n 's/.*"\(playwright-core\)": "\(.*\)"/\1 \2/p' package.json)"
    : >"$log"
    run "$log" npm ci --ignore-scripts --no-audit --no-fund
}
