"""JupyterLab as the platform runs it, without its image: what the manifest installs, with its arguments and variables, and the examples in its kernels.

The packages go to a home below `.cache`, which the script of the platform fills once, as it does a volume."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import urllib.request
import uuid

import websocket
import yaml
from servers import Server, free_port
from service import ROOT, Checks
from tracking import Tracking

FOLDER = ROOT / "gitops-repo/platform/jupyterlab"
TOKEN = "only-for-tests"

# A fit with every import of the first time, on a busy machine.
PATIENCE_SECONDS = 240


def home() -> pathlib.Path:
    """The volume, another one for other lists."""
    lists = b"".join(file.read_bytes() for file in sorted([*FOLDER.glob("requirements*.txt"), FOLDER / "packages.sh"]))
    return ROOT / ".cache" / f"jupyterlab-{hashlib.sha256(lists).hexdigest()[:12]}"


def pod() -> dict:
    documents = yaml.safe_load_all((FOLDER / "jupyterlab.yaml").read_text())
    [found] = [one["spec"]["template"]["spec"] for one in documents if one["kind"] == "Deployment"]
    return found


def container() -> dict:
    return pod()["containers"][0]


def environment(of: pathlib.Path) -> dict[str, str]:
    # A Python of a distribution wants to be told that its user's packages are the user's; what uv fetched for others it need not fetch again.
    told = {"PIP_BREAK_SYSTEM_PACKAGES": "1", "UV_BREAK_SYSTEM_PACKAGES": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    fetched = os.environ.get("UV_CACHE_DIR", f"{os.environ['HOME']}/.cache/uv")
    return {"HOME": str(of), "PATH": f"{of}/.local/bin:{os.environ['PATH']}", "LC_ALL": "C.UTF-8", "UV_CACHE_DIR": fetched} | told


def installed(checks: Checks, of: pathlib.Path) -> None:
    """The script of the init container; JupyterLab itself is of the image, and here of pip."""
    of.mkdir(parents=True, exist_ok=True)
    variables = environment(of) | {"START": str(FOLDER)}
    # First, as its own kernel is older than that of the volume.
    if not (of / ".local/bin/jupyter-lab").exists():
        subprocess.run(["python3", "-m", "pip", "install", "--quiet", "--user", "jupyterlab==4.6.6"], env=variables, check=True)
    for what in ("the packages can be had together", "a restart has them at once"):
        ran = subprocess.run(["bash", FOLDER / "packages.sh"], env=variables, capture_output=True, text=True)
        checks.equal(what, (ran.returncode, ran.stderr if ran.returncode else ""), (0, ""))
    checks.equal("and installs nothing", ran.stdout, "")


def mounted(of: pathlib.Path) -> None:
    """The files of the ConfigMaps in the places that the manifest names, which nobody can write to."""
    into = of / "examples"
    shutil.rmtree(into, ignore_errors=True)
    [volume] = [volume for volume in pod()["volumes"] if volume["name"] == "examples"]
    for source in volume["projected"]["sources"]:
        folder = ROOT / source["configMap"]["name"].replace("-", "/")
        files = {file.name: file.name for file in folder.iterdir() if file.is_file()}
        for key, place in {item["key"]: item["path"] for item in source["configMap"].get("items", [])}.items() or files.items():
            (into / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / key, into / place)
            (into / place).chmod(0o444)


class Lab(Server):
    """The server with the arguments of the manifest, and with its variables but for the addresses."""

    def __init__(self, of: pathlib.Path, tracking: Tracking):
        self.home = of
        arguments = [argument.replace("/home/jovyan", str(of)).replace("0.0.0.0", "127.0.0.1") for argument in container()["args"]]
        named = {variable["name"]: variable["value"] for variable in container()["env"] if "value" in variable}
        variables = environment(of) | named | {"JUPYTER_TOKEN": TOKEN, "MLFLOW_TRACKING_URI": tracking.url, "MLFLOW_DISABLE_TELEMETRY": "true"}
        port = free_port()
        command = [str(of / ".local/bin/jupyter-lab"), *arguments, "--no-browser", "--allow-root", f"--ServerApp.port={port}"]
        super().__init__(command, f"http://127.0.0.1:{port}", "/api", of, variables)

    def call(self, path: str, body: object = None) -> object:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/api/{path}", data=data, headers={"Authorization": f"token {TOKEN}", "Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def run(self, kernel: str, code: str) -> str:
        """What a cell prints, or how it failed, in a new notebook beside the examples."""
        made = self.call("sessions", {"path": f"examples/{uuid.uuid4()}.ipynb", "type": "notebook", "name": "", "kernel": {"name": kernel}})
        assert isinstance(made, dict)
        address = self.url.replace("http", "ws", 1) + f"/api/kernels/{made['kernel']['id']}/channels?token={TOKEN}"
        channel = websocket.create_connection(address, timeout=PATIENCE_SECONDS)
        header = {"msg_id": uuid.uuid4().hex, "username": "", "session": uuid.uuid4().hex, "msg_type": "execute_request", "version": "5.3", "date": ""}
        content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False, "stop_on_error": True}
        channel.send(json.dumps({"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}))
        said = ""
        while True:
            message = json.loads(channel.recv())
            if message["parent_header"].get("msg_id") != header["msg_id"]:
                continue
            kind, content = message["msg_type"], message["content"]
            said += content.get("text", "") if kind == "stream" else ""
            said += "\n".join([content["ename"], content["evalue"]]) if kind == "error" else ""
            # Last of all comes that it waits again.
            if kind == "status" and content["execution_state"] == "idle":
                channel.close()
                return said


def main() -> None:
    checks = Checks()
    of = home()
    installed(checks, of)
    mounted(of)
    with Tracking() as tracking, Lab(of, tracking) as lab:
        kernels = lab.call("kernelspecs")
        assert isinstance(kernels, dict)
        checks.equal("it has a kernel for pipelines", sorted(kernels["kernelspecs"]), ["pipelines", "python3"])
        served = yaml.safe_load((FOLDER.parent / "kmlflow/kmlflow.yaml").read_text())["runtimes"]
        [python] = [runtime["python"] for runtime in served.values() if runtime.get("default")]
        tell = "import sys; print('%d.%d' % sys.version_info[:2], sys.prefix)"
        checks.equal("a notebook has the Python of what serves its models", lab.run("python3", tell).split(), [python, str(of / ".models")])
        shell = subprocess.run(["bash", "-lc", f'python3 -c "{tell}"'], env=environment(of), capture_output=True, text=True)
        checks.equal("and so has a terminal", shell.stdout.split(), [python, str(of / ".models")])
        names = [entry["name"] for entry in lab.call("contents/examples")["content"]]
        checks.holds("it shows the examples", {"track.py", "fit.py", "proposal.py", "pipeline.py"} <= set(names), str(names))
        said = lab.run("python3", "%run track.py --model iris")
        checks.holds("track.py registers a model", "registered iris version 1" in said, said)
        version = tracking.call("GET", "/api/2.0/mlflow/model-versions/get?name=iris&version=1", None)
        checks.equal("which MLflow has", version[0], 200)
        context = "import pathlib, tempfile, publish; print(*sorted(file.name for file in publish.construct_context('models:/iris/1', pathlib.Path(tempfile.mkdtemp())).iterdir()))"
        said = lab.run("python3", context)
        checks.equal("publish.py finds what a serving image is built of", said.split(), ["Dockerfile", "model", "requirements.txt", "server.py"])
        said = lab.run("python3", "%run fit.py --fast-dev-run --no-publish")
        checks.holds("fit.py fits", "Error" not in said and said != "", said)
        said = lab.run("python3", "%run proposal.py --trials 2")
        checks.holds("proposal.py searches", "registered" in said, said)
        said = lab.run("pipelines", "%run pipeline.py run")
        checks.holds("pipeline.py runs in its kernel", "registered" in said, said)
        try:
            urllib.request.urlopen(f"{lab.url}/api/contents", timeout=10)
            checks.holds("nobody looks without the token", False)
        except urllib.error.HTTPError as error:
            checks.equal("nobody looks without the token", error.code, 403)
    checks.end()


if __name__ == "__main__":
    sys.exit(main())
