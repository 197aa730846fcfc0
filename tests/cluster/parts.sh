# The parts that the test bed and the node have in common, each started by a function. Sourced by `inside` of either, in its network,
# after its `lib.sh`.

source tests/cluster/keys.sh
export KUBECONFIG=$STATE/tests.kubeconfig PATH=$BED/bin:$PATH

readonly OURS=tests/cluster/manifests THEIRS=$BED/theirs KEYS=$STATE/keys
readonly ETCD_AT=http://127.0.0.1:2379 REDIS_PORT=6379

# Some of the parts listen on every address.
if [[ $(readlink /proc/self/ns/net) == "${OUTSIDE:?}" ]]; then
    printf 'Error: this is the network of the machine.\nHint: tests/%s/up\n' "$NAME" >&2
    exit 1
fi

# done_with WHAT: one line of progress.
done_with() { awk -v began="$BEGAN" -v now="$(date +%s.%N)" -v what="$1" 'BEGIN { printf "   %5.1f s  %s\n", now - began, what }'; }

apply() { kubectl apply --server-side --force-conflicts --field-manager=bed "$@" >/dev/null; }

# Also of those that are milliseconds old, at which `kubectl wait` fails.
definitions_are_there() { kubectl wait --for=condition=Established crd --all --timeout=30s; }

# control_plane OPTION… -- OPTION…: etcd, the API server with the first options besides, and the controllers with the second.
control_plane() {
    local api=()
    while [[ $1 != -- ]]; do api+=("$1") && shift; done
    shift
    mkdir -p "$KEYS"
    [[ -e $KUBECONFIG_OF_TESTS ]] || make_keys 2>"$LOGS/keys.log"

    start etcd etcd --name bed --data-dir "$STATE/etcd" --unsafe-no-fsync --log-level warn \
        --listen-client-urls "$ETCD_AT" --advertise-client-urls "$ETCD_AT" --initial-cluster bed=http://127.0.0.1:2380 \
        --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380
    until_true etcd 30 curl -fsS "$ETCD_AT/health"

    # Tests are not to be throttled; the lack of a second authority for the front proxy must be named.
    start kube-apiserver kube-apiserver "${api[@]}" --etcd-servers="$ETCD_AT" --secure-port="${API#*:}" --service-cluster-ip-range=10.96.0.0/16 \
        --tls-cert-file="$KEYS/apiserver.crt" --tls-private-key-file="$KEYS/apiserver.key" --client-ca-file="$KEYS/ca.crt" \
        --requestheader-client-ca-file="$KEYS/ca.crt" --requestheader-allowed-names=front-proxy \
        --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$KEYS/tokens.pub" \
        --service-account-signing-key-file="$KEYS/tokens.key" --authorization-mode=Node,RBAC --allow-privileged=true --profiling=false \
        --enable-priority-and-fairness=false --max-requests-inflight=0 --max-mutating-requests-inflight=0 \
        --audit-policy-file="$OURS/audit.yaml" --audit-log-path="$LOGS/audit.log"
    until_true kube-apiserver 120 kubectl get --raw /readyz
    done_with 'the API server answers'

    local secure=(--bind-address=127.0.0.1 --leader-elect=false --profiling=false) part
    for part in kube-controller-manager kube-scheduler; do
        local own=("--kubeconfig=$STATE/$part.kubeconfig" "--authentication-kubeconfig=$STATE/$part.kubeconfig" "--authorization-kubeconfig=$STATE/$part.kubeconfig")
        if [[ $part == kube-controller-manager ]]; then
            own+=(--use-service-account-credentials "--service-account-private-key-file=$KEYS/tokens.key" "--root-ca-file=$KEYS/ca.crt" "$@")
        fi
        start "$part" "$part" "${secure[@]}" "${own[@]}"
    done
    until_true kube-controller-manager 60 kubectl --namespace default get serviceaccount default
    done_with 'controllers and scheduler run'
}

seldon_definition() {
    if [[ -n ${KMLFLOW_TEST_SELDON_CRD-} ]]; then
        apply --filename "$KMLFLOW_TEST_SELDON_CRD"
    else
        stand-in crd templates/seldon/crd-fields.txt | apply --filename -
        printf '            the CRD of the SeldonDeployment is made of our list of fields: `KMLFLOW_TEST_SELDON_CRD` names no file\n'
    fi
}

definitions() {
    [[ ! -e $STATE/defined ]] || return 0
    apply --filename "$THEIRS/crds"
    seldon_definition
    # On a machine that builds meanwhile this was seen to take more than a minute.
    until_true kube-apiserver 180 definitions_are_there
    apply --filename "$OURS/namespaces.yaml"
    touch "$STATE/defined"
    done_with 'custom resources are defined'
}

# The real operator where there is one: it needs a certificate for its webhook, and the ConfigMap that its chart makes.
real_operator() {
    local serving=$STATE/seldon/k8s-webhook-server/serving-certs
    mkdir -p "$serving"
    cp "$KEYS/webhook.crt" "$serving/tls.crt"
    cp "$KEYS/webhook.key" "$serving/tls.key"
    sed "s|AUTHORITY|$(base64 -w 0 "$KEYS/ca.crt")|" "$OURS/seldon-operator.yaml" | apply --filename -
    start seldon-operator env KUBECONFIG="$STATE/seldon.kubeconfig" TMPDIR="$STATE/seldon" POD_NAMESPACE=seldon-system \
        ISTIO_ENABLED=false AMBASSADOR_ENABLED=false KEDA_ENABLED=false USE_EXECUTOR=true DEFAULT_USER_ID=8888 \
        EXECUTOR_CONTAINER_IMAGE_AND_VERSION=stand-in/seldon-core-executor:1.17.1 EXECUTOR_SERVER_PORT=8000 EXECUTOR_SERVER_GRPC_PORT=5001 \
        PREDICTIVE_UNIT_HTTP_SERVICE_PORT=9000 PREDICTIVE_UNIT_GRPC_SERVICE_PORT=9500 PREDICTIVE_UNIT_METRICS_PORT_NAME=metrics \
        "$KMLFLOW_TEST_SELDON_OPERATOR" --webhook-port=29443 --metrics-addr=127.0.0.1:8383
    done_with "the operator is $KMLFLOW_TEST_SELDON_OPERATOR"
}

operator() {
    if [[ -n ${KMLFLOW_TEST_SELDON_OPERATOR-} ]]; then
        real_operator
    else
        apply --filename "$OURS/seldon.yaml"
        start seldon-operator env KUBECONFIG="$STATE/seldon.kubeconfig" stand-in operator
    fi
}

# Ports of Argo CD begin with 28: Envoy Gateway takes 8080, 8081, 9443, 18000 to 18002 and 19001 on every address.
#
# argo NAME COMPONENT ARGUMENT…: a part of Argo CD, all of which are one program.
argo() {
    local name=$1 component=$2 home=$STATE/argocd
    shift 2
    start "$name" env HOME="$home/home" TMPDIR="$home/tmp" KUBECONFIG="$STATE/argocd.kubeconfig" ARGOCD_BINARY_NAME="$component" \
        ARGOCD_FAKE_IN_CLUSTER=true ARGOCD_GPG_ENABLED=false ARGOCD_GNUPGHOME="$home/gpg" ARGOCD_TLS_DATA_PATH="$home/tls" \
        ARGOCD_SSH_DATA_PATH="$home/ssh" ARGOCD_GPG_DATA_PATH="$home/gpg-source" ARGOCD_PLUGINSOCKFILEPATH="$home/plugins" \
        ARGOCD_SYNC_WAVE_DELAY=0 argocd "$@"
}

argocd() {
    mkdir -p "$STATE"/argocd/{home,tmp,gpg,gpg-source,tls,ssh,plugins}
    chmod 700 "$STATE/argocd/gpg"
    start redis redis-server --bind 127.0.0.1 --port "$REDIS_PORT" --save '' --appendonly no --dir "$STATE" --loglevel warning
    # Before the parts: one that starts without its ConfigMap never listens for webhooks.
    apply --filename "$OURS/argocd.yaml"
    local repositories=(--repo-server-plaintext) cache=(--redis "127.0.0.1:$REDIS_PORT") tls=(--disable-tls)
    # Since 3.5 the first excludes the second, which has a default.
    if env ARGOCD_BINARY_NAME=argocd-repo-server argocd --help | grep -e --client-ca-path >/dev/null; then tls+=(--client-ca-path ''); fi
    argo argocd-repo-server argocd-repo-server --address 127.0.0.1 --port 28081 --metrics-address 127.0.0.1 --metrics-port 28084 \
        "${tls[@]}" "${cache[@]}"
    argo argocd-controller argocd-application-controller --namespace argocd --repo-server 127.0.0.1:28081 --metrics-port 28082 \
        --app-resync 180 --app-resync-jitter 0 "${repositories[@]}" "${cache[@]}"
    argo argocd-applicationsets argocd-applicationset-controller --namespace argocd --argocd-repo-server 127.0.0.1:28081 \
        --metrics-addr 127.0.0.1:12345 --probe-addr 127.0.0.1:12346 --webhook-addr 127.0.0.1:7001 "${repositories[@]}"
    argo argocd-server argocd-server --namespace argocd --address 127.0.0.1 --port 28080 --metrics-port 28083 --insecure --disable-auth \
        --repo-server 127.0.0.1:28081 --dex-server http://127.0.0.1:1 "${repositories[@]}" "${cache[@]}"
    argo argocd-notifications argocd-notifications --namespace argocd --argocd-repo-server 127.0.0.1:28081 --argocd-repo-server-plaintext \
        --metrics-port 28085
    until_true argocd-repo-server 60 curl -fsS http://127.0.0.1:28084/healthz
    until_true argocd-controller 60 curl -fsS http://127.0.0.1:28082/healthz
    until_true argocd-server 60 curl -fsS http://127.0.0.1:28080/healthz
    done_with 'Argo CD answers'
}
