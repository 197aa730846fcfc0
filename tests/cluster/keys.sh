# The certificates of the bed and a kubeconfig for each who speaks to the API server. Sourced by `inside`.

# certificate NAME SUBJECT [NAMES]: a key, and a certificate that the bed's authority has signed.
certificate() {
    local name=$1 extensions=extendedKeyUsage=serverAuth,clientAuth
    if [[ -n ${3-} ]]; then extensions+=$'\n'subjectAltName=$3; fi
    openssl ecparam -name prime256v1 -genkey -noout -out "$name.key"
    openssl req -new -key "$name.key" -subj "$2" |
        openssl x509 -req -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -extfile <(printf '%s' "$extensions") -out "$name.crt"
}

# kubeconfig NAME NAMESPACE FILE
kubeconfig() {
    cat >"$3" <<YAML
apiVersion: v1
kind: Config
clusters: [{name: bed, cluster: {server: "https://$API", certificate-authority-data: $(base64 -w 0 ca.crt)}}]
users: [{name: $1, user: {client-certificate-data: $(base64 -w 0 "$1.crt"), client-key-data: $(base64 -w 0 "$1.key")}}]
contexts: [{name: bed, context: {cluster: bed, user: $1, namespace: $2}}]
current-context: bed
YAML
}

make_keys() (
    cd "$STATE/keys"
    umask 077
    openssl ecparam -name prime256v1 -genkey -noout -out ca.key
    openssl req -x509 -new -key ca.key -subj /CN=bed -days 30 -out ca.crt
    certificate apiserver /CN=kube-apiserver IP:127.0.0.1,IP:10.96.0.1,DNS:localhost,DNS:kubernetes.default.svc
    certificate webhook /CN=webhook IP:127.0.0.1
    openssl genrsa -out tokens.key 2048
    openssl rsa -in tokens.key -pubout -out tokens.pub
    local who
    for who in kube-controller-manager kube-scheduler; do
        certificate "$who" "/CN=system:$who"
        kubeconfig "$who" default "$STATE/$who.kubeconfig"
    done
    # Each under its own name, so that the audit log tells them apart.
    for who in kwok argocd envoy-gateway seldon katib pods tests; do
        certificate "$who" "/O=system:masters/CN=$who"
        kubeconfig "$who" "$([[ $who == argocd ]] && echo argocd || echo default)" "$STATE/$who.kubeconfig"
    done
    cp "$STATE/tests.kubeconfig" "$KUBECONFIG_OF_TESTS"
)
