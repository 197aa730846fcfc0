# The images of the node: packed here and put into containerd's store, where they are not there yet. Sourced by `inside`.

readonly IMAGES=node.example              # no registry: what is not there cannot be pulled
readonly SANDBOX=$IMAGES/sandbox:1
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
    local busybox
    busybox=$(command -v busybox)
    # The first process of every pod, and a shell with the usual programs.
    image "$SANDBOX" --file "$(command -v tini-static):/tini" --file "$busybox:/bin/busybox" --file "$busybox:/bin/sh" \
        --config '{"Entrypoint": ["/tini", "--", "/bin/busybox", "sleep", "infinity"]}'
}
