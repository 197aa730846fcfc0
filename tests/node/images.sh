# The images of the node: packed here and put into containerd's store, where they are not there yet. Sourced by `inside`.
#
# DEBIAN, ENVOY_PROGRAM, RUNTIME and STORE come from `up`: the root file system, Envoy, and the Python packages of a runtime of MLServer and
# of an object store's client.

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
