# The images of the node: packed here and put into containerd's store, where they are not there yet. Sourced by `inside`.
#
# DEBIAN, ENVOY_PROGRAM, RUNTIME, STORE and WEED come from `up`: the root file system, Envoy, the Python packages of a runtime of MLServer and
# of an object store's client, and the object store.

readonly IMAGES=node.example              # no registry: what is not there cannot be pulled
readonly SANDBOX=$IMAGES/sandbox:1
readonly RUNTIME_IMAGE=docker.io/ada/mlserver:1.7.1-mlflow3.17.2 # the one of examples/runtime
readonly ctr=(ctr --namespace k8s.io)

# image NAME OPTION…: what pack.py makes of the options, under this name.
image() {
    local name=$1 key
    key=$(tests/node/pack.py --key "$@")
    if [[ -n $("${ctr[@]}" images list --quiet "name==$name,labels.packed==$key") ]]; then return; fi
    tests/node/pack.py "$@" | "${ctr[@]}" images import - >>"$LOGS/images.log"
    # Pinned: what fills a disk is looked for elsewhere.
    "${ctr[@]}" images label "$name" "packed=$key" io.cri-containerd.pinned=pinned >>"$LOGS/images.log"
}

images() {
    local busybox files=tests/node/files
    busybox=$(command -v busybox)
    # The first process of every pod, and a shell with the usual programs.
    image "$SANDBOX" --file "$(command -v tini-static):/tini" --file "$busybox:/bin/busybox" --file "$busybox:/bin/sh" \
        --config '{"Entrypoint": ["/tini", "--", "/bin/busybox", "sleep", "infinity"]}'
    image "$IMAGES/coredns:$COREDNS" --file "$KEPT/coredns-$COREDNS:/coredns" --config '{"Entrypoint": ["/coredns"]}'
    image "$IMAGES/envoy-gateway:$ENVOY_GATEWAY" --file "$PROGRAMS/envoy-gateway-$ENVOY_GATEWAY:/usr/local/bin/envoy-gateway" \
        --config '{"Entrypoint": ["envoy-gateway"]}'
    image "$IMAGES/envoy:$ENVOY" --tar "$DEBIAN" --file "$ENVOY_PROGRAM:/usr/local/bin/envoy" --config '{"Entrypoint": ["envoy"]}'

    # What the operator has started beside a model. A name without a registry is one of the default registry.
    image docker.io/stand-in/seldon-core-executor:1.17.1 --tar "$DEBIAN" --file "$ENVOY_PROGRAM:/usr/local/bin/envoy" --file "$files/engine.yaml:/engine.yaml" \
        --config '{"Entrypoint": ["envoy", "--config-path", "/engine.yaml", "--concurrency", "1", "--log-level", "warning"], "User": "8888"}'
    image docker.io/stand-in/storage-initializer:1 --tar "$DEBIAN" --folder "$STORE:/opt/store" --file "$files/initializer.py:/initializer.py" \
        --config '{"Entrypoint": ["/initializer.py"], "Env": ["PYTHONPATH=/opt/store", "HOME=/tmp"], "User": "8888"}'
    # As its Dockerfile says, on Debian's Python.
    image "$RUNTIME_IMAGE" --tar "$DEBIAN" --folder "$RUNTIME:/opt/runtime" --file "$files/console:/usr/local/bin/mlserver" --config \
        '{"Cmd": ["sh", "-c", "exec mlserver start \"$MLSERVER_MODEL_URI\""], "WorkingDir": "/tmp", "User": "8888",
          "Env": ["PYTHONPATH=/opt/runtime", "HOME=/tmp", "PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1", "MLFLOW_DISABLE_TELEMETRY=true", "MLSERVER_PARALLEL_WORKERS=0"]}'
}

# tagged FOLDER NAME: the name and the tag that a folder of the platform gives an image; no digest, which only a registry's has.
tagged() { sed -nE "s|.*name: $2, newName: ([^,]+), newTag: \"?([^\"}@]+).*|\1:\2|p" "gitops-repo/platform/$1/kustomization.yaml"; }

# named FILE NAME: the same of what a file names as it is.
named() { sed -nE "s|.*image: (\S*/$2:\S+)$|\1|p" "$1" | sort -u; }

# The images of the platform under the names that its manifests have, with the programs that there are here: PostgreSQL and Redis
# are Debian's, MLflow that of the examples, Envoy and Envoy Gateway those of the bed.
platform_images() {
    local files=tests/node/files links=$STATE/links open=$STATE/open homes=/home one
    mkdir -p "$links" "$open"
    # A folder that everybody may write to.
    chmod 1777 "$open"
    for one in server repo-server cmp-server application-controller applicationset-controller notifications dex; do ln -sfn argocd "$links/argocd-$one"; done
    find "$links" -mindepth 1 -exec touch --no-dereference --date=@0 {} +

    image "docker.io/library/$(tagged kmlflow kmlflow)" --tar "$DEBIAN" --file "$KEPT/kmlflow:/usr/local/bin/kmlflow" --config \
        '{"Entrypoint": ["tini", "--", "kmlflow"], "Cmd": ["serve"], "User": "10001:10001", "WorkingDir": "/var/lib/kmlflow", "Env": ["KMLFLOW__DATA_DIR=/var/lib/kmlflow/data"]}'
    # Checks of signatures are switched off: that program would be one more.
    image "$(named "$THEIRS/elsewhere/install.yaml" argocd)" --tar "$DEBIAN" --file "$PROGRAMS/argocd-$ARGOCD:/usr/local/bin/argocd" --folder "$links:/usr/local/bin" \
        --file "$PROGRAMS/helm-$HELM:/usr/local/bin/helm" --file "$PROGRAMS/kustomize-$KUSTOMIZE:/usr/local/bin/kustomize" --file "$files/passwd:/etc/passwd" \
        --folder "$THEIRS/bin:/usr/local/bin" --config '{"Entrypoint": ["tini", "--"], "User": "999", "WorkingDir": "'"$homes"'/argocd", "Env": ["HOME='"$homes"'/argocd", "USER=argocd", "ARGOCD_GPG_ENABLED=false"]}' \
        --folder "$open:$homes/argocd" --folder "$open:/app/config"
    image "$(named "$THEIRS/elsewhere/install.yaml" redis)" --tar "$DEBIAN" --config '{"Entrypoint": ["redis-server"], "WorkingDir": "/tmp", "User": "999"}'
    image "$(tagged postgresql postgres)" --tar "$DEBIAN" --file "$files/passwd:/etc/passwd" --file "$files/postgres:/usr/local/bin/serve-postgres" --folder "$open:/run/postgresql" \
        --config '{"Entrypoint": ["serve-postgres"], "User": "999", "WorkingDir": "/tmp", "Env": ["LC_ALL=C.UTF-8"]}'
    image "$(tagged object-store seaweedfs)" --tar "$DEBIAN" --file "$WEED:/usr/local/bin/weed" --file "$(command -v busybox):/usr/bin/wget" \
        --config '{"Entrypoint": ["weed"], "User": "1000", "WorkingDir": "/tmp", "Env": ["HOME=/tmp"]}'
    image "$(tagged mlflow mlflow)" --tar "$DEBIAN" --folder "$RUNTIME:/opt/runtime" --folder "$STORE:/opt/store" --file "$files/console:/usr/local/bin/mlflow" \
        --config '{"User": "1000", "WorkingDir": "/tmp", "Env": ["PYTHONPATH=/opt/runtime:/opt/store", "PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1"]}'
    # By its source it tells in /tmp, beside Envoy, that it has drained: without that the pod would use up the time that it has to end.
    image "docker.io/envoyproxy/gateway:$(sed -n '/name: gateway-helm/s/.*version: \([^,]*\),.*/\1/p' gitops-repo/platform/catalogue.yaml)" \
        --file "$PROGRAMS/envoy-gateway-$ENVOY_GATEWAY:/usr/local/bin/envoy-gateway" --folder "$open:/tmp" --config '{"Entrypoint": ["envoy-gateway"]}'
    image "$(named tests/node/charts/kube-prometheus-stack/templates/prometheus.yaml prometheus)" --file "$KEPT/prometheus-$PROMETHEUS:/bin/prometheus" --config '{"Entrypoint": ["prometheus"], "User": "1000"}'
    for one in prometheus-operator prometheus-config-reloader; do
        image "quay.io/prometheus-operator/$one:$PROMETHEUS_OPERATOR" --file "$KEPT/${one#prometheus-}-$PROMETHEUS_OPERATOR:/bin/$one" \
            --config "{\"Entrypoint\": [\"$one\"], \"User\": \"65534\"}"
    done
    image "$(named gitops-repo/platform/gateway/gateway.yaml envoy)" --tar "$DEBIAN" --file "$ENVOY_PROGRAM:/usr/local/bin/envoy" --config '{"Entrypoint": ["envoy"]}'
}
