# How programs are built from the modules of Go. Sourced by `build` of the test bed and of the node, after `lib.sh`.

export CGO_ENABLED=0 GOTOOLCHAIN=local GOWORK=off GOFLAGS='-trimpath -buildvcs=false'

# begin_build FOLDER: where the programs go. One at a time: whoever comes second finds everything built.
begin_build() {
    module_has_versions || exit 1
    BUILT=$1
    mkdir -p "$BUILT" "$LOGS" target/tests
    exec {LOCK}>"$BUILT/lock"
    flock "$LOCK"
}

# Programs are named by their versions and built of what the module says: both must say the same.
module_has_versions() {
    local name
    for name in KUBERNETES ETCD KWOK KUSTOMIZE ARGOCD GITOPS_ENGINE ENVOY_GATEWAY KATIB HELM PROMETHEUS_OPERATOR; do
        if ! grep --quiet --extended-regexp " ${!name//./\\.}( |\$)" tests/cluster/module/go.mod; then
            printf 'Error: tests/cluster/module/go.mod has no `%s` (%s of tests/cluster/versions).\nHint: tests/cluster/pin, and commit what it writes\n' "${!name}" "$name" >&2
            return 1
        fi
    done
}

# A Go that is new enough for every program, in $GO.
need_go() { GO=${GO-$(find_go "$(sed -n 's/^go //p' tests/cluster/module/go.mod)")}; }

# built NAME VERSION COMMAND…: runs a command that writes the program to $into, where it is not there yet.
built() {
    local name=$1 version=$2 began=$SECONDS into
    shift 2
    into=$BUILT/$name-$version
    [[ ! -x $into ]] || return 0
    need_go
    say "building $name $version"
    if ! into=$into.new "$@" >"$LOGS/build-$name.log" 2>&1; then
        tail -n 20 "$LOGS/build-$name.log" >&2
        printf 'Error: `%s` was not built.\nHint: the whole log is %s\n' "$name" "target/artifacts/$NAME/build-$name.log" >&2
        exit 1
    fi
    mv "$into.new" "$into"
    say "built $name in $((SECONDS - began)) s"
}

# of_module PACKAGE [FLAGS]: a program of the module around all of them.
of_module() { (cd tests/cluster/module && "$GO" build -mod=readonly -ldflags "-s -w ${2-}" -o "$into" "$1"); }

# sources MODULE@VERSION: where a module's files lie.
sources() { GOFLAGS=-mod=mod "$GO" mod download -json "$1" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p'; }

# Without this the API server calls itself v0.0.0.
stamp=k8s.io/component-base/version
minor=${KUBERNETES#v1.}
stamp="-X $stamp.gitVersion=$KUBERNETES -X $stamp.gitMajor=1 -X $stamp.gitMinor=${minor%%.*}"
