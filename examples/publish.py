#!/usr/bin/env python3
"""Fits a model, registers it, makes its serving image and asks for its release.

What a reader learns:
- how the build context of a serving image is constructed: the server of `serving/`, the model's files, both requirements;
- the tag `serving_image`: the image that Kmlflow serves the version from;
- the tag `serve_locally`: the exact command by which anybody serves this version on a laptop;
- the alias, set last, which asks for the release: Kmlflow sees it, and commits or refuses;
- the tags `kmlflow.status.*`, by which it answers: `state`, `url` where it serves, `reason` where it does not.

    DOCKER_USERNAME=ada python publish.py                                   # Docker Hub: docker.io/ada/wine:1
    DOCKER_USERNAME=models python publish.py --registry harbor.k5w.localhost # Harbor's project `models`, or any other registry
    python publish.py --builder none                                        # no image: Kmlflow is to serve the artifact itself

Where neither docker nor podman is there (or their service does not answer) it says so and asks for a release of the artifact. For that the
configuration of Kmlflow must say two things: where a cluster finds what MLflow stores (`mlflow.artifacts_destination`), and an image that has
what the model was logged with (`runtimes`). The image that it knows by itself (MLServer 1.7.1 with Python 3.10 and scikit-learn 1.5.2) does not
have what `requirements.txt` installs, so the release is refused; `runtime/` makes an image that has it, and holds the lines to paste.

The artifact is then saved by cloudpickle: MLflow's default, skops, is safer, but MLflow reads it from 3.9 on. The image of `runtime/` has that,
the released images of MLServer do not. In a serving image the model is loaded by the MLflow that saved it, so skops stays.

It ends with 1 where the release is refused.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import pathlib
import platform
import re
import shlex
import shutil
import subprocess
import tempfile
import time

import mlflow

from fit import add_options, add_tracking, fit, help_parser, options_of, register

SERVING = pathlib.Path(__file__).parent / "serving"

# What the tags begin with by which Kmlflow says how a version fares.
STATUS = "kmlflow.status."

# Between two looks at these tags.
LOOK_SECONDS = 0.5


def find_builder(wanted: str) -> str | None:
    """The first program that can build an image here, or nothing."""
    for name in {"auto": ["docker", "podman"], "none": []}.get(wanted, [wanted]):
        if shutil.which(name) is None:
            print(f"{name} is not installed")
            continue
        # Docker is two programs; this fails where the second, its service, does not answer.
        answer = subprocess.run([name, "version"], capture_output=True, text=True)
        if answer.returncode == 0:
            return name
        print(f"{name} cannot build here: {answer.stderr.strip()}")
    return None


def construct_context(model_uri: str, directory: pathlib.Path) -> pathlib.Path:
    """Puts together what the Dockerfile copies: the server, what it needs, and the model's files from MLflow."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("Dockerfile", "requirements.txt", "server.py"):
        shutil.copy(SERVING / name, directory / name)
    mlflow.artifacts.download_artifacts(model_uri, dst_path=str(directory / "model"))
    return directory


def image_name(registry: str, username: str, model: str, version: str) -> str:
    """`docker.io/ada/wine:1`. A model's name may hold what an image's may not; its hash then keeps two models apart, as in a release's name."""
    name = re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-")[:63]
    if name != model:
        digits = hashlib.sha256(model.encode()).hexdigest()[:4]
        name = f"{name[:35].strip('-') or 'm'}-{digits}"
    return f"{registry}/{username}/{name}:{version}"


def build_and_push(builder: str, context: pathlib.Path, image: str) -> None:
    """Fails where the build or the push does, so that no version ever names an image that is not there."""
    python = f"PYTHON_VERSION={platform.python_version()}"
    subprocess.run([builder, "build", "--build-arg", python, "--tag", image, str(context)], check=True)
    subprocess.run([builder, "push", image], check=True)


def ask_for_release(model: str, version: str, alias: str, request: str | None) -> str:
    """Asks by an alias, or by the tag that names a strategy, which Kmlflow answers once and deletes."""
    client = mlflow.MlflowClient()
    if request:
        client.set_model_version_tag(model, version, "kmlflow.release", request)
        return f"tag kmlflow.release={request}"
    client.set_registered_model_alias(model, alias, version)
    return f"alias {alias}"


def wait_for_answer(model: str, version: str, seconds: float) -> dict[str, str]:
    """How the version fares, by the tags that Kmlflow writes to it; nothing where it has written none in this time."""
    client, deadline = mlflow.MlflowClient(), time.monotonic() + seconds
    while True:
        tags = client.get_model_version(model, version).tags
        status = {name.removeprefix(STATUS): value for name, value in tags.items() if name.startswith(STATUS)}
        # `entering`: it is committed, and its pods come before its traffic.
        if status.get("state", "entering") != "entering" or time.monotonic() >= deadline:
            return status
        time.sleep(LOOK_SECONDS)


def tell(status: dict[str, str], seconds: float) -> None:
    """Says what became of it, and ends the program where that is a refusal."""
    state = status.get("state")
    if state is None:
        print(f"nobody has answered within {seconds:g} s; the answer will stand in the version's tags {STATUS}*, on MLflow's page")
        print("does Kmlflow hear of it (`kmlflow mlflow connect`), and what did it make of it (`kmlflow deliveries list`)?")
    elif state == "refused":
        raise SystemExit(f"refused: {status.get('reason')}")
    else:
        print(f"{state} as {status.get('release')}: {status.get('url')}")


def parse() -> argparse.Namespace:
    parser = help_parser(__doc__)
    add_options(parser)
    add_tracking(parser, experiment="wine", model="wine")
    parser.add_argument("--builder", choices=["auto", "docker", "podman", "none"], default="auto", help="what builds the image")
    parser.add_argument("--registry", default="docker.io", help="host of the image registry: Docker Hub, Harbor or any other")
    parser.add_argument("--username", default=os.environ.get("DOCKER_USERNAME"), help="user or project at the registry; DOCKER_USERNAME")
    parser.add_argument("--context", type=pathlib.Path, help="directory for the build context; a new one unless given")
    parser.add_argument("--alias", default="champion", help="alias that asks for the release")
    parser.add_argument("--request", metavar="STRATEGY", help="set the tag kmlflow.release=STRATEGY instead of the alias: single, canary, …")
    parser.add_argument("--wait", type=float, default=20, metavar="SECONDS", help="wait at most so long for Kmlflow's answer; 0: do not wait")
    parser.add_argument("--no-publish", action="store_true", help="stop after the fit")
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    mlflow.set_tracking_uri(arguments.tracking_uri)
    mlflow.set_experiment(arguments.experiment)
    builder = find_builder(arguments.builder)
    if builder and not arguments.username:
        raise SystemExit("no user at the registry is named: set DOCKER_USERNAME or --username, or build nothing with --builder none")

    options = options_of(arguments)
    fitted = fit(options, serialization_format="skops" if builder else "cloudpickle")
    context = construct_context(fitted.model_uri, arguments.context or pathlib.Path(tempfile.mkdtemp(prefix="serving-")))
    print(f"build context: {context}")
    if arguments.no_publish or options.fast_dev_run:
        print("not published")
        return

    version = register(fitted, arguments.model).version
    print(f"registered {arguments.model} version {version}")
    client = mlflow.MlflowClient()
    if builder:
        image = image_name(arguments.registry, arguments.username, arguments.model, version)
        build_and_push(builder, context, image)
        client.set_model_version_tag(arguments.model, version, "serving_image", image)
        locally = f"docker run --rm --publish 9000:9000 {image}"
        print(f"pushed {image}")
    else:
        # Run beside this file; the server is the one of the image.
        where = f"MLFLOW_TRACKING_URI={arguments.tracking_uri} MODEL_URI={shlex.quote(f'models:/{arguments.model}/{version}')}"
        locally = f"{where} uvicorn --app-dir serving server:app --port 9000"
        print("no image was built: the artifact itself is to be served, by an image that Kmlflow's configuration names (see runtime/)")
    client.set_model_version_tag(arguments.model, version, "serve_locally", locally)
    print(f"serve it locally: {locally}")
    print(f"asked for by {ask_for_release(arguments.model, version, arguments.alias, arguments.request)}")
    if arguments.wait > 0:
        tell(wait_for_answer(arguments.model, version, arguments.wait), arguments.wait)


if __name__ == "__main__":
    main()
