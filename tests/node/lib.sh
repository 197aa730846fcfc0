# What the scripts of the node share. Sourced, from the top of the repository.

NAME=node
source tests/cluster/lib.sh
source tests/node/versions

readonly KEPT=$PWD/.cache/node            # programs, the root file system of images and the store of containerd; kept
readonly CGROUP=kmlflow-node              # where the pods' processes are counted
readonly ADDRESS=10.245.0.1               # of the node, in a network of its own

# The first process of the node, as it is known outside.
first() {
    local id
    alive namespace && id=$(id_of namespace) && id=$(<"/proc/$id/task/$id/children") && printf '%s' "${id%% *}"
}

# Runs a command in the node: its mounts, its network and its processes.
inside() { nsenter --target "$(first)" --mount --net --pid -- env -C "$PWD" "$@"; }

# The folders of control groups in which the kubelet looks for one that it may use: of version 1 each hierarchy, of version 2 the only one.
hierarchies() {
    if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then
        printf '/sys/fs/cgroup\n'
    else
        find /sys/fs/cgroup -mindepth 1 -maxdepth 1 -type d ! -name unified
    fi
}

# The node's own, those that runc has made besides among them.
control_groups() { find /sys/fs/cgroup -mindepth 1 -maxdepth 2 -type d -name "$CGROUP"; }

# The root file system that images are made on: a Debian of the release that the Dockerfile names, with what our images need.
root_file_system() {
    local packages=python3-minimal,libpython3-stdlib,libgomp1,libstdc++6,ca-certificates,git,openssh-client,tini,redis-server,postgresql-15
    printf '%s %s %s\n' "$KEPT/debian-$(printf 'bookworm %s' "$packages" | sha256sum | cut -c 1-12).tar" bookworm "$packages"
}
