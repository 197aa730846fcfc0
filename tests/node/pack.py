#!/usr/bin/env python3
"""Packs a container image from files, without a registry: an archive of the OCI image layout on stdout, which `ctr images import -` takes.

    pack.py NAME [--tar FILE | --folder FOLDER:PLACE | --file FILE:PLACE]… [--config JSON]

Each of the three is a layer, in the order of the command line; owners are root. `--config` is the image's `config`
(https://github.com/opencontainers/image-spec/blob/v1.1.0/config.md). With `--key` nothing is packed: a digest is printed that is another one
as soon as any of it changes. Layers are not compressed: an import is then one copy and one unpacking.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import pathlib
import platform
import sys
import tarfile
import tempfile
from collections.abc import Iterator

TYPE = "application/vnd.oci.image"

# Files carry no time of their packing, so that the same files are the same layer.
EPOCH = "1970-01-01T00:00:00Z"

MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


class Layer(argparse.Action):
    """Collects layers of every sort in one list."""

    def __call__(self, _parser, namespace, value, option=None) -> None:
        namespace.layers = [*(namespace.layers or []), (option.strip("-"), *str(value).partition(":")[::2])]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    for sort in ("--tar", "--folder", "--file"):
        parser.add_argument(sort, action=Layer, dest="layers", default=[])
    parser.add_argument("--config", type=json.loads, default={})
    parser.add_argument("--key", action="store_true")
    return parser.parse_args()


def below(place: pathlib.Path) -> Iterator[pathlib.Path]:
    """A file, or all files of a folder."""
    if not place.is_dir():
        yield place
        return
    for folder, _, files in os.walk(place):
        yield from (pathlib.Path(folder) / file for file in files)


def key(wanted: argparse.Namespace) -> str:
    """Files are known by name, size and time: to read a gigabyte for every start would take longer than the start."""
    digest = hashlib.sha256(pathlib.Path(__file__).read_bytes())
    digest.update(json.dumps([wanted.name, wanted.layers, wanted.config]).encode())
    for _, source, _ in wanted.layers:
        for file in sorted(below(pathlib.Path(source))):
            about = file.lstat()
            digest.update(f"{file} {about.st_size} {about.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:32]


def of_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def write_layer(into: io.BufferedIOBase, sort: str, source: str, place: str) -> None:
    if sort == "tar":
        with open(source, "rb") as archive:
            while part := archive.read(1 << 20):
                into.write(part)
        return
    place = place.strip("/")
    with tarfile.open(fileobj=into, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for folder in reversed(pathlib.PurePath(place).parents[:-1]):
            entry = tarfile.TarInfo(str(folder))
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        # A file may be reached by a link; what lies in a folder stays as it is.
        archive.dereference = sort == "file"
        archive.add(source, arcname=place or ".", filter=of_root)


def described(kind: str, blob: bytes) -> dict:
    return {"mediaType": f"{TYPE}.{kind}", "digest": f"sha256:{hashlib.sha256(blob).hexdigest()}", "size": len(blob)}


def pack(wanted: argparse.Namespace, to: io.BufferedIOBase) -> None:
    layers = []
    with tarfile.open(fileobj=to, mode="w|") as image:

        def put(name: str, size: int, blob: io.BufferedIOBase) -> None:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = size, 0o644
            image.addfile(entry, blob)

        for layer in wanted.layers:
            # An archive says first how long a file in it is.
            with tempfile.TemporaryFile() as blob:
                write_layer(blob, *layer)
                size = blob.tell()
                blob.seek(0)
                digest = hashlib.file_digest(blob, "sha256").hexdigest()
                blob.seek(0)
                put(f"blobs/sha256/{digest}", size, blob)
            layers.append({"mediaType": f"{TYPE}.layer.v1.tar", "digest": f"sha256:{digest}", "size": size})
        system = {"architecture": MACHINES[platform.machine()], "os": "linux"}
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        config = wanted.config | {"Env": [path, *wanted.config.get("Env", [])]}
        root = {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]}
        about = json.dumps(system | {"created": EPOCH, "config": config, "rootfs": root, "history": [{"created": EPOCH} for _ in layers]}).encode()
        manifest = json.dumps({"schemaVersion": 2, "mediaType": f"{TYPE}.manifest.v1+json", "config": described("config.v1+json", about), "layers": layers}).encode()
        named = described("manifest.v1+json", manifest) | {"platform": system, "annotations": {"io.containerd.image.name": wanted.name}}
        index = json.dumps({"schemaVersion": 2, "mediaType": f"{TYPE}.index.v1+json", "manifests": [named]}).encode()
        for blob in (about, manifest):
            put(f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}", len(blob), io.BytesIO(blob))
        layout = b'{"imageLayoutVersion": "1.0.0"}'
        put("oci-layout", len(layout), io.BytesIO(layout))
        put("index.json", len(index), io.BytesIO(index))


def main() -> None:
    wanted = arguments()
    if wanted.key:
        print(key(wanted))
    else:
        pack(wanted, sys.stdout.buffer)


if __name__ == "__main__":
    main()
