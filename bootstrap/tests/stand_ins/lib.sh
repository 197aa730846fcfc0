# Shared by the stand-ins. $STATE is the directory that they keep everything in.

# How a program was called.
note() { printf '%s\n' "$*" >>"$STATE/calls"; }

# What a test lets a call do instead: each line of `faults` is an expression over the whole call, a tab, and what to run. `die` ends the caller, as
# `kill -9` and a power cut do.
fault() {
    [[ -e $STATE/faults ]] || return 0
    local line
    while IFS=$'\t' read -r expression action; do
        if [[ "$*" =~ $expression ]]; then eval "$action"; fi
    done <"$STATE/faults"
}

# With CUT=after: the caller dies once after each call that changes something, before it knows that it was done.
cut() {
    local code=$?
    [[ ${CUT-} == after && $code == 0 ]] || return
    case "$1" in
        'kubectl apply '* | 'kubectl create '* | 'kubectl rollout '* | 'kubectl exec '* | 'minikube start '* | 'minikube image build '* | 'docker run '*) ;;
        *) return ;;
    esac
    if ! grep -qxF -- "$1" "$STATE/cuts" 2>/dev/null; then
        printf '%s\n' "$1" >>"$STATE/cuts"
        die
    fi
}

die() {
    kill -KILL "$PPID"
    exit 137
}

fail() {
    printf '%s\n' "$1" >&2
    exit 1
}
