"""The runtime image of the examples: that its table says what it has, and that a real MLServer with exactly that serves what the service committed."""

from __future__ import annotations

import json
import pathlib
import re
import shlex
import subprocess

import yaml

from scene import Scene, ask, stand_in, until
from servers import Server, free_port

# Read by the Python of the runtime: the versions of what is named.
VERSIONS = "import importlib.metadata as m, json, platform, sys; print(json.dumps({n: m.version(n) for n in sys.argv[1:]} | {'python': platform.python_version()}))"

# The node of the graph in a release, by which Seldon's operator has MLServer call the model.
NODE = "model"


def entry(scene: Scene) -> tuple[str, dict]:
    """The image of the table in `kmlflow.yaml`, and what is said of it."""
    [only] = yaml.safe_load((scene.examples / "runtime/kmlflow.yaml").read_text())["runtimes"].items()
    return only


def destination(scene: Scene) -> str:
    return yaml.safe_load((scene.examples / "runtime/kmlflow.yaml").read_text())["mlflow"]["artifacts_destination"]


def check_table(scene: Scene) -> None:
    """The lines to paste say what pip installs, and the image has them."""
    checks, folder = scene.checks, scene.examples / "runtime"
    image, said = entry(scene)
    names = ["mlflow", *said["packages"]]
    printed = subprocess.run([scene.pythons["runtime"], "-c", VERSIONS, *names], capture_output=True, text=True, check=True).stdout
    installed = {name: version.split(".")[:2] for name, version in json.loads(printed).items()}
    table = {"python": said["python"], "mlflow": said["mlflow"]} | said["packages"]
    checks.equal("runtime/: the table is what pip installed", {name: version.split(".")[:2] for name, version in table.items()}, installed)
    pinned = {line.partition("==")[0] for line in (folder / "requirements.txt").read_text().splitlines() if "==" in line}
    checks.equal("runtime/: and all that is pinned for models", set(said["packages"]), pinned - {"mlflow", "mlserver", "mlserver-mlflow", "uvloop"})
    checks.equal("runtime/: it serves by default", (said["default"], said["formats"]), (True, ["pickle", "cloudpickle", "skops"]))

    dockerfile = (folder / "Dockerfile").read_text()
    checks.holds("runtime/: the image's Python", f"\nFROM python:{said['python']}." in dockerfile, dockerfile)
    checks.holds("runtime/: the image installs that", bool(re.search(r"^RUN python -m pip install .* -r requirements.txt$", dockerfile, re.MULTILINE)), dockerfile)
    tag = image.removeprefix("docker.io/")
    programs, record = stand_in(scene, "docker")
    for text in (dockerfile, (folder / "README.md").read_text()):
        [command] = re.findall(r"docker build .* && docker push [^`\s]+", text)
        subprocess.run(["bash", "-c", command], cwd=folder, env=scene.variables(programs=programs), check=True)
    checks.equal("runtime/: what is said makes the image of the table", record.read_text().splitlines(), [f"build --tag {tag} .", f"push {tag}"] * 2)


def released(scene: Scene, what: str, name: str, version: str) -> pathlib.Path:
    """Insists on a commit that serves the version's artifact by the runtime; gives the directory that a cluster would fetch."""
    checks, service = scene.checks, scene.service

    def view() -> dict:
        status, answer = service.call("GET", f"/releases/production/models/{name}")
        return answer if status == 200 else {}

    def served() -> dict:
        return next(iter(view().get("spec", {}).get("variants", [])), {})

    came = until(lambda: served().get("version") == version)
    refused = [item["reason"] for item in service.must("GET", "/deliveries?state=refused")["items"]]
    checks.holds(f"{what}: the alias is a commit", came, f"{view()} {refused}")
    log = subprocess.run(["git", "-C", service.clone(), "log", "--format=%H"], capture_output=True, text=True, check=True).stdout
    checks.holds(f"{what}: which the repository has", view().get("commit", "none") in log, str(view()))
    place, root = str(served().get("modelUri")), f"{destination(scene)}/"
    checks.holds(f"{what}: it serves the artifact where a cluster finds it", place.startswith(root), place)
    checks.equal(f"{what}: by the runtime of the table", view().get("spec", {}).get("serving", {}).get("runtime"), entry(scene)[0])
    return scene.artifacts / place.removeprefix(root)


def mlserver(scene: Scene, artifact: pathlib.Path) -> Server:
    """Starts what the Dockerfile says, with what Seldon's operator sets for an artifact: the model is told by the environment alone."""
    dockerfile = (scene.examples / "runtime/Dockerfile").read_text()
    [command] = re.findall(r"^CMD (.*)$", dockerfile, re.MULTILINE)
    [settings] = re.findall(r"^ENV (.*)$", dockerfile, re.MULTILINE)
    python, port = scene.pythons["runtime"], free_port()
    home = scene.home / f"mlserver-{port}"
    home.mkdir()
    variables = dict(setting.split("=", 1) for setting in shlex.split(settings)) | {
        "PATH": f"{python.parent}:/usr/bin:/bin",
        "HOME": str(home),
        "MLSERVER_HOST": "127.0.0.1",
        "MLSERVER_HTTP_PORT": str(port),
        "MLSERVER_GRPC_PORT": str(free_port()),
        "MLSERVER_METRICS_PORT": str(free_port()),
        "MLSERVER_METRICS_ENDPOINT": "/prometheus",
        "MLSERVER_MODEL_NAME": NODE,
        "MLSERVER_MODEL_IMPLEMENTATION": "mlserver_mlflow.MLflowRuntime",
        "MLSERVER_MODEL_URI": str(artifact),
    }
    return Server(json.loads(command), f"http://127.0.0.1:{port}", "/v2/health/ready", home, variables)


def check_served(scene: Scene, what: str, artifact: pathlib.Path) -> None:
    """MLServer answers what the model itself says of its input example."""
    import mlflow
    import pandas as pd

    scene.checks.holds(f"{what}: its files are where the commit says", artifact.is_dir(), str(artifact))
    if not artifact.is_dir():
        return
    example = json.loads((artifact / "input_example.json").read_text())
    expected = mlflow.pyfunc.load_model(str(artifact)).predict(pd.DataFrame(example["data"], columns=example["columns"])).tolist()
    rows = example["data"]
    inputs = [{"name": n, "shape": [len(rows), 1], "datatype": "FP64", "data": [row[i] for row in rows]} for i, n in enumerate(example["columns"])]
    with mlserver(scene, artifact) as server:
        status, text = ask(f"{server.url}/v2/models/{NODE}/infer", {"inputs": inputs})
    outputs = json.loads(text).get("outputs", [{}])
    found = [(output.get("datatype"), output.get("shape"), output.get("data")) for output in outputs]
    scene.checks.equal(f"{what}: MLServer answers", (status, found), (200, [("INT64", [len(rows), 1], expected)]))
