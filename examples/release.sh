#!/usr/bin/env bash
# Releases a model by curl alone: one version, a canary to the next, its promotion, a rollback, and away again.
#
# What a reader learns:
# - every change is one request, and the answer names the commit that made it so;
# - the order of a release: what a request starts goes on in commits of its own, and the phase says how far it is;
# - a repeated request with the same Idempotency-Key has one effect, so that a script may try again.
#
#     export KMLFLOW_URL=http://127.0.0.1:8080 KMLFLOW_TOKEN=…
#     ./release.sh [NAME]            # wine, unless given
#
# Where the service has a tracking server, versions 1 and 2 of the model must be in MLflow: what is not there is not released.
# NAMESPACE, ENVIRONMENT, IMAGE (without its tag) and WITHIN (seconds that each phase may take) can be set.
set -euo pipefail

if [[ ${1-} == -h || ${1-} == --help ]]; then
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"
    exit
fi
name=${1:-wine}
: "${KMLFLOW_URL:?set it to the address of the service}" "${KMLFLOW_TOKEN:?set it to a token; the first start of the service prints one}"
release="$KMLFLOW_URL/api/v1/releases/${ENVIRONMENT:-production}/${NAMESPACE:-models}/$name"
image=${IMAGE:-registry.example/$name}
within=${WITHIN:-600}

# The token comes from a pipe: an argument would be seen in the list of processes.
api() {
    curl --silent --show-error --fail-with-body --header @<(printf 'Authorization: Bearer %s' "$KMLFLOW_TOKEN") \
        --header 'Content-Type: application/json' "$@"
}

# texts NAME: every text of that name in the JSON on standard input, a line each.
texts() { grep -o "\"$1\":\"[^\"]*\"" | cut -d '"' -f 4; }

# act WHAT METHOD PATH [BODY]: sends a change and says which commit it made; the release before it in the answer may name older ones.
act() {
    local answer
    answer=$(api --request "$2" --header "Idempotency-Key: $name-$$-$1" --data "${4:-{\}}" "$release$3") || {
        echo "$1: $answer" >&2
        exit 1
    }
    printf '%-10s %s\n' "$1" "$(texts commit <<<"$answer" | tail -n 1 || echo 'queued: a commit follows')"
}

# until_phase PHASE VERSION: watches until the release is there; a cluster needs time to start pods.
until_phase() {
    local answer deadline=$((SECONDS + within))
    until answer=$(api "$release") && [[ $(texts phase <<<"$answer" | head -n 1) == "$1" && $answer == *"\"version\":\"$2\""* ]]; do
        if ((SECONDS >= deadline)); then
            echo "not $1 with version $2 within $within seconds: $answer" >&2
            exit 1
        fi
        sleep 1
    done
    printf '%-10s %s\n' '' "$1"
}

act release PUT '' "{\"model\": \"$name\", \"version\": \"1\", \"image\": \"$image:1\"}"
until_phase settled 1

act canary PUT '' "{\"model\": \"$name\", \"version\": \"2\", \"strategy\": \"canary\", \"steps\": [10, 50], \"image\": \"$image:2\"}"
until_phase running 2

act advance POST /advance
act promote POST /promote
until_phase settled 2

act rollback POST /rollback
until_phase settled 1

echo 'history:'
api "$release/history" | texts summary

act retract DELETE ''
