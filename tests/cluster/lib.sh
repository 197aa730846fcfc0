# What the scripts of the test bed and of the node share: where things lie, and processes that are started, waited for and ended. Sourced,
# from the top of the repository.

source tests/cluster/versions

readonly NAME=${NAME-cluster}             # of whose scripts source this: `cluster` or `node`
readonly PROGRAMS=$PWD/.cache/cluster     # what `build` makes; kept
readonly BED=$PWD/target/$NAME            # what it needs while it is up; gone after `down`
readonly LOGS=$PWD/target/artifacts/$NAME
readonly STATE=$BED/state RUN=$BED/run
readonly POD_NETWORK=10.244.0.0/16
readonly API=127.0.0.1:6443
readonly KUBECONFIG_OF_TESTS=$BED/kubeconfig

# What a process is known by: its id, and when it began, so that nobody else's process that has the id now is meant. One that has
# ended and that nobody has asked about yet is none.
began_at() { awk '{ sub(/^.*\) /, ""); if ($1 != "Z") print $20 }' "/proc/$1/stat" 2>/dev/null; }

alive() {
    local id began
    [[ -e $RUN/$1 ]] && read -r id began <"$RUN/$1" && [[ -n $began && $(began_at "$id") == "$began" ]]
}

# Whether nothing that was started has ended.
all_alive() {
    local name
    for name in "$RUN"/*; do alive "${name##*/}" || return 1; done
}

id_of() { cut -d ' ' -f 1 "$RUN/$1"; }

# launch NAME COMMAND…: runs it in the background, with a group of its own; nothing to do where it runs already.
launch() {
    local name=$1
    shift
    if alive "$name"; then return; fi
    setsid "$@" >>"$LOGS/$name.log" 2>&1 </dev/null &
    printf '%s %s\n' $! "$(began_at $!)" >"$RUN/$name"
}

# start NAME COMMAND…: the same, and keeps it running.
start() {
    local name=$1
    shift
    launch "$name" tests/cluster/keep "$@"
}

# until_true NAME SECONDS COMMAND…: waits for a command to succeed; on failure shows the end of the log of NAME.
until_true() {
    local name=$1 deadline=$((SECONDS + $2))
    shift 2
    until "$@" >/dev/null 2>&1; do
        if ((SECONDS > deadline)); then
            printf 'Error: `%s` does not answer\n' "$name" >&2
            printf 'Hint: read %s, whose last lines are:\n' "target/artifacts/$NAME/$name.log" >&2
            tail -n 5 "$LOGS/$name.log" >&2
            return 1
        fi
        sleep 0.1
    done
}

# end SIGNAL NAME…: to the whole group of each.
end() {
    local signal=$1 name
    shift
    for name in "$@"; do
        if alive "$name"; then kill "-$signal" -- "-$(id_of "$name")" 2>/dev/null || true; fi
    done
}

# gone SECONDS NAME…: whether all have ended within this time.
gone() {
    local deadline=$((SECONDS + $1)) name
    shift
    for name in "$@"; do
        while alive "$name"; do
            if ((SECONDS >= deadline)); then return 1; fi
            sleep 0.05
        done
    done
}

# Where `build` keeps what the bed reads of others' modules: anew for every change of the versions and of how it is made.
theirs() { printf '%s/theirs-%s\n' "$PROGRAMS" "$(cat tests/cluster/versions tests/cluster/collect.py | sha256sum | cut -c 1-12)"; }
