"""Runs every example as a user would, in a copy of the directory, and holds what it leaves against what its header promises.

MLflow, Prometheus, the service, the serving image's server and the SDKs of Katib and Kubeflow Pipelines are the real ones. There is no cluster,
and no program that builds images: `docker` is `builder_stand_in.py` where a test says so.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import yaml

import pipelines
import servers
from runtime import check_served, check_table, released
from scene import Scene, ask, facts, live_image, registered, stand_in, until
from service import ROOT, Checks, Service
from tracking import Tracking

# What publish.py ends with where the release is there.
ANSWERED = r"asked for by alias champion\nserving as production/models/wine: http://\S+/v2/models/wine/infer\n$"

SCRIPTS = {
    "track.py": ["--tracking-uri", "--experiment", "--model"],
    "fit.py": ["--learning-rate", "--layers", "--epochs", "--batch-size", "--patience", "--seed", "--fast-dev-run", "--no-publish"],
    "publish.py": ["--builder", "--registry", "--username", "--alias", "--request", "--wait", "--learning-rate", "--fast-dev-run", "--no-publish"],
    "proposal.py": ["--algorithm", "--trials", "--submit", "--manifest", "--image"],
    "metrics.py": ["--prometheus", "--release", "--namespace", "--last"],
    "pipeline.py": ["compile", "run", "submit"],
    "release.sh": ["KMLFLOW_URL", "KMLFLOW_TOKEN", "IMAGE"],
}


def check_papers(scene: Scene) -> None:
    """The index, the headers, `--help`, and that the requirements agree."""
    checks, index = scene.checks, (scene.examples / "README.md").read_text()
    with ThreadPoolExecutor(2) as pool:
        asked = pool.map(lambda s: scene.must(s, "--help", python="pipeline" if s == "pipeline.py" else "examples"), SCRIPTS)
    texts = dict(zip(SCRIPTS, asked, strict=True))
    for script, options in SCRIPTS.items():
        text = texts[script]
        checks.holds(f"README names {script}", f"[{script}]({script})" in index)
        checks.holds(f"{script} --help: teaches", "What a reader learns:" in text, text)
        for option in options:
            checks.holds(f"{script} --help: {option}", option in text, text)
    for folder in ("serving", "runtime", "demo"):
        checks.holds(f"README names {folder}/", f"({folder}/README.md)" in index)
    text = texts["fit.py"]
    checks.holds("fit.py --help: defaults", "(default: 0.01)" in text and "(default: 200)" in text, text)
    pins: dict[str, set[str]] = {}
    for path in ("requirements.txt", "requirements-pipeline.txt", "serving/requirements.txt", "runtime/requirements.txt"):
        for line in (scene.examples / path).read_text().splitlines():
            if line and not line.startswith("#"):
                name, equals, version = line.partition("==")
                checks.holds(f"{path}: {line} is pinned", bool(equals and version))
                pins.setdefault(name.replace("mlflow-skinny", "mlflow"), set()).add(version)
    checks.holds("the requirements agree", all(len(versions) == 1 for versions in pins.values()), str(pins))


def check_track(scene: Scene) -> None:
    checks, client = scene.checks, scene.client
    model, version = registered(scene.must("track.py", "--model", "flowers", "--experiment", "tracking"))
    checks.equal("track.py: registered", (model, version), ("flowers", "1"))
    found = scene.version(model, version)
    run = client.get_run(found.run_id)
    checks.equal("track.py: experiment", client.get_experiment(run.info.experiment_id).name, "tracking")
    checks.equal("track.py: parameters", set(run.data.params), {"strength", "iterations", "seed", "rows"})
    checks.holds("track.py: performance", run.data.metrics["accuracy"] > 0.9 and run.data.metrics["f1"] > 0.9, str(run.data.metrics))
    for name in ("system/cpu_utilization_percentage", "system/system_memory_usage_megabytes", "system/disk_usage_megabytes"):
        checks.holds(f"track.py: {name}", run.data.metrics.get(name, 0) > 0, str(run.data.metrics))
    artifacts = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
    checks.holds("track.py: artifacts", {"confusion.json", "summary.txt"} <= artifacts, str(artifacts))
    check_model(scene, "track.py", model, version, "cloudpickle", columns=4)
    client.set_registered_model_alias(model, "champion", version)
    check_served(scene, "track.py", released(scene, "track.py", model, version))


def check_model(scene: Scene, what: str, model: str, version: str, saved_by: str, columns: int = 13) -> None:
    """A version has what a release is checked against."""
    import mlflow

    info = mlflow.models.get_model_info(f"models:/{model}/{version}")
    checks = scene.checks
    checks.equal(f"{what}: signature", len(info.signature.inputs.input_names()), columns)
    checks.holds(f"{what}: output", info.signature.outputs is not None)
    checks.holds(f"{what}: input example", info.saved_input_example_info is not None)
    checks.equal(f"{what}: saved by", info.flavors["sklearn"]["serialization_format"], saved_by)
    checks.holds(f"{what}: loads anywhere", scene.version(model, version).source.startswith("models:/m-"))


def check_fit(scene: Scene) -> None:
    import mlflow
    from sklearn.metrics import log_loss

    checks, client = scene.checks, scene.client
    text = scene.must("fit.py", "--model", "fitted")
    checks.holds("fit.py: stopped early", "stopped early: no better for 5 epochs" in text, text[-500:])
    model, version = registered(text)
    run = client.get_run(scene.version(model, version).run_id)
    epochs = int(run.data.metrics["epochs"])
    checks.holds("fit.py: before the last epoch", 5 < epochs < 200, str(epochs))
    checks.equal("fit.py: prints what Katib reads", len(re.findall(r"^epoch=\d+ .*validation_loss=[0-9.]+ ", text, re.MULTILINE)), epochs)
    checks.equal("fit.py: a parameter", run.data.params["learning_rate"], "0.01")
    losses = [m.value for m in client.get_metric_history(run.info.run_id, "validation_loss")]
    checks.equal("fit.py: a loss per epoch", len(losses), epochs)
    check_model(scene, "fit.py", model, version, "skops")
    client.set_registered_model_alias(model, "champion", version)
    check_served(scene, "fit.py, by skops", released(scene, "fit.py, by skops", model, version))
    sys.path.insert(0, str(scene.examples))
    import fit

    rows, classes = fit.load_data(fit.Options()).validation
    loss = log_loss(classes, mlflow.sklearn.load_model(f"models:/{model}/{version}").predict_proba(rows))
    best = run.data.metrics["best_validation_loss"]
    checks.holds("fit.py: the best weights are kept", abs(loss - best) < 1e-9 and abs(losses[-1] - best) > 1e-9, f"{loss} {best} {losses[-1]}")

    text = scene.must("fit.py", "--patience", "0", "--epochs", "3", "--layers", "8,4", "--batch-size", "16", "--no-publish", "--tag", "who=ada")
    checks.holds("fit.py: --no-publish", "not registered" in text and "3 epochs" in text, text[-500:])
    run = client.search_runs([run.info.experiment_id], "tags.who = 'ada'")[0]
    checks.equal("fit.py: options are tracked", (run.data.params["layers"], run.data.params["batch_size"]), ("8,4", "16"))
    text = scene.must("fit.py", "--fast-dev-run", "--model", "fitted")
    checks.holds("fit.py: --fast-dev-run", "not registered" in text and ": 1 epochs" in text, text[-500:])
    checks.equal("fit.py: one version in all", len(client.search_model_versions("name = 'fitted'")), 1)
    scene.fails("fit.py: a tag without a value", "`who` is not KEY=VALUE", "fit.py", "--tag", "who")


def check_server(scene: Scene, what: str, url: str, example: dict) -> None:
    """The serving example's contract, line by line."""
    checks = scene.checks
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/any/ready", "/v2/models/any", "/docs", "/openapi.json"):
        checks.equal(f"{what}: {path}", ask(url + path)[0], 200)
    names, rows = example["columns"], example["data"]
    by_column = [{"name": n, "shape": [len(rows), 1], "datatype": "FP64", "data": [r[i] for r in rows]} for i, n in enumerate(names)]
    whole = {"name": "rows", "shape": [len(rows), len(names)], "datatype": "FP64", "data": rows}
    status, text = ask(f"{url}/v2/models/wine/infer", {"id": "7", "inputs": by_column})
    answer = json.loads(text)
    checks.equal(f"{what}: infer", (status, answer.get("model_name"), answer.get("id")), (200, "wine", "7"))
    output = answer["outputs"][0]
    checks.equal(f"{what}: its output", (output["datatype"], output["shape"], len(output["data"])), ("INT64", [len(rows)], len(rows)))
    status, text = ask(f"{url}/v2/models/wine/infer", {"inputs": [whole]})
    checks.equal(f"{what}: one tensor gives the same", (status, json.loads(text)["outputs"]), (200, answer["outputs"]))
    wrong = {
        "a missing column": {"inputs": by_column[1:]},
        "one column of many": {"inputs": by_column[:1]},
        "a wrong shape": {"inputs": [whole | {"shape": [1, len(names)]}]},
        "an unknown type": {"inputs": [whole | {"datatype": "FP8"}]},
        "a text for a number": {"inputs": [whole | {"data": "x"}]},
        "no inputs": {},
    }
    for name, body in wrong.items():
        status, text = ask(f"{url}/v2/models/wine/infer", body)
        checks.holds(f"{what}: {name} is 400", status == 400 and bool(json.loads(text)["error"]), f"{status} {text}")
    _, text = ask(f"{url}/metrics")
    checks.holds(f"{what}: load time", bool(re.search(r"^model_load_time_seconds [0-9.]+", text, re.MULTILINE)), text[:500])
    checks.holds(f"{what}: answers are counted", 'model_infer_answers_total{code="200"} 2.0' in text and 'code="400"} 6.0' in text, text)


def serve_context(scene: Scene, context: pathlib.Path) -> servers.Server:
    """Starts the server as the Dockerfile says: its RUN, then its CMD, in the build context; on free ports of loopback."""
    dockerfile = (context / "Dockerfile").read_text()
    python = str(scene.pythons["serving"])
    [install] = re.findall(r"^RUN python (.*)$", dockerfile, re.MULTILINE)
    subprocess.run([python, *shlex.split(install)], cwd=context, check=True)
    [command] = re.findall(r"^CMD (.*)$", dockerfile, re.MULTILINE)
    port, metrics = servers.free_port(), servers.free_port()
    words = [{"python": python, "0.0.0.0": "127.0.0.1", "9000": str(port)}.get(word, word) for word in json.loads(command)]
    variables = {"PATH": "/usr/bin:/bin", "HOME": str(scene.home), "METRICS_PORT": str(metrics)}
    server = servers.Server(words, f"http://127.0.0.1:{port}", "/v2/health/ready", context, variables)
    server.metrics = f"http://127.0.0.1:{metrics}/prometheus"
    return server


def check_refused(scene: Scene) -> None:
    """The runtime that the service knows by itself has not what the examples log with: that is said, and nothing is promised."""
    checks = scene.checks
    ran = scene.run("publish.py", "--model", "too-new")
    last = ran.stdout.splitlines()[-2:]
    checks.equal("publish.py: asks, and ends with 1 where it is refused", (ran.returncode, last[0]), (1, "asked for by alias champion"))
    why = "refused: version 1 cannot be served: the runtime `docker.io/seldonio/mlserver:1.7.1-mlflow` cannot serve the model: it was logged with Python 3.11."
    checks.holds("publish.py: says why", last[1].startswith(why) and "`scikit-learn` 1.9.1" in last[1] and "name it in `runtimes`" in last[1], last[1])


def check_unanswered(scene: Scene) -> None:
    """Nobody is there to answer."""
    text = scene.must("publish.py", "--model", "unheard", "--wait", "1")
    scene.checks.holds("publish.py: says that nobody has answered", "nobody has answered within 1 s" in text and "`kmlflow deliveries list`" in text, text)


def check_made_good(scene: Scene) -> None:
    """With the lines of `runtime/` pasted, the service releases at its start what was refused, and what it never heard of."""
    for name in ("too-new", "unheard"):
        released(scene, f"publish.py, {name}", name, "1")
        state = until(lambda name=name: scene.version(name, "1").tags.get("kmlflow.status.state") == "serving")
        scene.checks.holds(f"publish.py, {name}: MLflow shows it", state, str(scene.version(name, "1").tags))


def check_publish(scene: Scene) -> None:
    """Without a builder: the artifact is released, and the service commits."""
    checks = scene.checks
    context = scene.home / "context"
    text = scene.must("publish.py", "--context", str(context))
    checks.holds("publish.py: no builder is said", "docker is not installed" in text and "podman is not installed" in text, text)
    checks.holds("publish.py: says what is to be served", "no image was built: the artifact itself is to be served" in text, text)
    checks.holds("publish.py: reads the answer back", re.search(ANSWERED, text) is not None, text)
    model, version = registered(text)
    found = scene.version(model, version)
    checks.equal("publish.py: alias", (model, found.aliases), ("wine", ["champion"]))
    checks.holds("publish.py: no image is named", "serving_image" not in found.tags, str(found.tags))
    fact = {"kind": "aliasSet", "alias": "champion", "version": version}
    checks.holds("publish.py: the service is told", until(lambda: fact in facts(scene.service)), str(facts(scene.service)))
    check_model(scene, "publish.py", model, version, "cloudpickle")
    check_served(scene, "publish.py", released(scene, "publish.py", model, version))
    files = {str(path.relative_to(context)) for path in context.rglob("*")}
    checks.holds("publish.py: context", {"Dockerfile", "server.py", "requirements.txt", "model/MLmodel", "model/model.pkl"} <= files, str(files))
    closed = [str(path) for path in context.rglob("*") if not path.stat().st_mode & 0o004]
    checks.equal("publish.py: the user of the pod can read all of it", closed, [])

    port = servers.free_port()
    command = found.tags["serve_locally"].replace("--port 9000", f"--port {port}")
    checks.holds("publish.py: serve_locally is whole", command != found.tags["serve_locally"], command)
    variables = scene.variables() | {"METRICS_PORT": "0"}
    del variables["MLFLOW_TRACKING_URI"]
    local = servers.Server(["bash", "-c", command], f"http://127.0.0.1:{port}", "/v2/health/ready", scene.examples, variables)
    with local:
        check_server(scene, "serve_locally", local.url, json.loads((context / "model/input_example.json").read_text()))


def check_image(scene: Scene) -> None:
    """With a builder: the image is built, pushed and named, and the server in it works."""
    checks = scene.checks
    programs, record = stand_in(scene, "docker")
    context = scene.home / "image"
    text = scene.must("publish.py", "--context", str(context), "--registry", "harbor.example", "--username", "models", programs=programs)
    model, version = registered(text)
    image = f"harbor.example/models/wine:{version}"
    python = ".".join(map(str, sys.version_info[:3]))
    calls = ["version", f"build --build-arg PYTHON_VERSION={python} --tag {image} {context}", f"push {image}"]
    checks.equal("publish.py: builds and pushes", record.read_text().splitlines(), calls)
    tags = scene.version(model, version).tags
    checks.equal("publish.py: serving_image", tags.get("serving_image"), image)
    checks.equal("publish.py: serve_locally", tags.get("serve_locally"), f"docker run --rm --publish 9000:9000 {image}")
    check_model(scene, "publish.py with an image", model, version, "skops")
    found = until(lambda: live_image(scene.service, "wine") == image)
    checks.holds("publish.py with an image: the answer", re.search(ANSWERED, text) is not None, text)
    checks.holds("publish.py with an image: the alias is a commit", found, f"{live_image(scene.service, 'wine')}\n{scene.service.call('GET', '/deliveries')}")

    podman, record = stand_in(scene, "podman")
    for model in ("Größe v1", "Gr e v1", "模型"):
        text = scene.must("publish.py", "--model", model, "--request", "single", "--wait", "0", programs=podman)
        checks.holds(f"publish.py: --wait 0 does not wait for {model}", text.endswith("asked for by tag kmlflow.release=single\n"), text)
    found = until(lambda: {"Größe v1", "Gr e v1", "模型"} <= set(names_of(scene)))
    checks.holds("publish.py: --request is a release", found, f"{text}\n{scene.service.call('GET', '/deliveries')}")
    pushed = [line for line in record.read_text().splitlines() if line.startswith("push ")]
    images = [f"push docker.io/ada/{names_of(scene).get(model)}:1" for model in ("Größe v1", "Gr e v1", "模型")]
    checks.equal("publish.py: podman will do, and each model has an image that is called like its release", pushed, images)
    checks.holds("publish.py: a hash keeps them apart", len(set(pushed)) == 3 and all(re.search(r"-[0-9a-f]{4}:1$", line) for line in pushed), str(pushed))
    scene.fails("publish.py: a build that fails names no image", "the build fails", "publish.py", "--model", "fails", programs=programs)
    checks.equal("publish.py: nor releases it", (scene.version("fails", "1").tags, scene.version("fails", "1").aliases), ({}, []))
    scene.fails("publish.py: whose registry is asked", "set DOCKER_USERNAME", "publish.py", programs=programs, more={"DOCKER_USERNAME": ""})


def names_of(scene: Scene) -> dict[str, str]:
    """The release of each model."""
    return {item["spec"]["model"]: item["metadata"]["name"] for item in scene.service.must("GET", "/releases")["items"]}


def check_proposal(scene: Scene) -> None:
    from kubeflow.katib import V1beta1Experiment
    from kubeflow.katib.api_client import ApiClient

    checks, client = scene.checks, scene.client
    text = scene.must("proposal.py", "--experiment", "search-one", "--trials", "3", "--epochs", "30", "--model", "searched")
    [written] = re.findall(r"^wrote (/.*search\.yaml)$", text, re.MULTILINE)
    manifest = yaml.safe_load(pathlib.Path(written).read_text())
    checks.holds("proposal.py: leaves nothing beside itself", not list(scene.examples.rglob("search.yaml")), written)
    answer = argparse.Namespace(data=json.dumps(manifest))
    experiment = ApiClient().deserialize(answer, V1beta1Experiment)
    checks.equal("proposal.py: Katib's SDK reads all of it back", strip(ApiClient().sanitize_for_serialization(experiment)), strip(manifest))
    checks.equal("proposal.py: kind", (manifest["apiVersion"], manifest["kind"]), ("kubeflow.org/v1beta1", "Experiment"))
    # Katib's own controller takes this one in the tier `cluster`.
    taken = json.loads(json.dumps(manifest).replace(scene.mlflow, "http://mlflow.example"))
    checks.equal("proposal.py: what Katib was seen to take", taken, yaml.safe_load((ROOT / "tests/e2e/bed/experiment.yaml").read_text()))
    check_trial(scene, manifest["spec"])

    experiment_id = client.get_experiment_by_name("search-one").experiment_id
    runs = client.search_runs([experiment_id])
    names = [run.data.tags["katib_trial_name"] for run in runs]
    checks.equal("proposal.py: every trial is tracked", (len(runs), len(set(names))), (3, 3))
    for name in names:
        checks.equal(f"proposal.py: {name} is found by its tag", len(client.search_runs([experiment_id], f"tags.katib_trial_name = '{name}'")), 1)
    best = min(runs, key=lambda run: run.data.metrics["best_validation_loss"])
    model, version = registered(text)
    found = scene.version(model, version)
    checks.equal("proposal.py: the best is registered", (model, found.run_id), ("searched", best.info.run_id))
    checks.equal("proposal.py: and says from where", found.tags["katib_trial_name"], best.data.tags["katib_trial_name"])
    checks.equal("proposal.py: and alone", len(client.search_model_versions("name = 'searched'")), 1)
    check_model(scene, "proposal.py", model, version, "cloudpickle")
    client.set_registered_model_alias(model, "champion", version)
    check_served(scene, "proposal.py", released(scene, "proposal.py", model, version))
    port = servers.free_port()
    command = [str(scene.pythons["examples"]), "-m", "uvicorn", "--app-dir", "serving", "server:app", "--port", str(port)]
    variables = scene.variables() | {"MODEL_URI": f"models:/{model}/{version}", "METRICS_PORT": "0"}
    with servers.Server(command, f"http://127.0.0.1:{port}", "/v2/health/ready", scene.examples, variables) as server:
        check_server(scene, "the best of the search", server.url, json.loads((scene.home / "context/model/input_example.json").read_text()))
    check_submission(scene, best.data.tags["katib_trial_name"])


def check_submission(scene: Scene, best: str) -> None:
    """The SDK's client submits what was written, waits, and the best run is found though this program fitted none of them."""
    checks = scene.checks
    scene.fails("proposal.py: no cluster is said", "no cluster to submit to", "proposal.py", "--submit")
    with servers.KatibStandIn(best) as cluster:
        config = scene.home / "kubeconfig"
        config.write_text(cluster.kubeconfig())
        options = ["--submit", "--experiment", "search-one", "--trials", "3", "--model", "searched", "--manifest", "submitted.yaml"]
        text = scene.must("proposal.py", *options, more={"KUBECONFIG": str(config)})
    written = yaml.safe_load((scene.examples / "submitted.yaml").read_text())
    checks.equal("proposal.py: what is submitted is what is written", cluster.submitted, [written])
    checks.holds("proposal.py: Katib's best trial is told", f"'best_trial_name': '{best}'" in text, text)
    model, version = registered(text)
    checks.equal("proposal.py: and registered", scene.version(model, version).tags["katib_trial_name"], best)


def check_trial(scene: Scene, spec: dict) -> None:
    """A trial's command, with Katib's values put in, is one that fit.py takes."""
    checks, template = scene.checks, spec["trialTemplate"]
    parameters = {p["name"] for p in spec["parameters"]}
    references = {p["name"]: p["reference"] for p in template["trialParameters"]}
    checks.holds("proposal.py: every reference exists", all(r in parameters or r == "${trialSpec.Name}" for r in references.values()), str(references))
    checks.equal("proposal.py: every parameter is used", parameters - set(references.values()), set())
    [container] = template["trialSpec"]["spec"]["template"]["spec"]["containers"]
    checks.equal("proposal.py: primary container", container["name"], template["primaryContainerName"])
    values = {p["name"]: p["feasibleSpace"]["list"][0] for p in spec["parameters"]} | {"${trialSpec.Name}": "search-one-abcd"}
    command = [re.sub(r"\$\{trialParameters\.(\w+)\}", lambda m: values[references[m[1]]], word) for word in container["command"]]
    checks.holds("proposal.py: nothing is left open", not any("${" in word for word in command), str(command))
    checks.equal("proposal.py: the command", command[:2], ["python", "fit.py"])
    text = scene.must(*command[1:], "--fast-dev-run", "--experiment", "as-a-trial", python="pipeline")
    objective = spec["objective"]["objectiveMetricName"]
    checks.holds("proposal.py: the objective is printed", f" {objective}=" in text, text)
    experiment_id = scene.client.get_experiment_by_name("as-a-trial").experiment_id
    found = scene.client.search_runs([experiment_id], "tags.katib_trial_name = 'search-one-abcd'")
    checks.equal("proposal.py: a trial's tag", len(found), 1)


def strip(value: object) -> object:
    """Without what is empty, which the SDK leaves out."""
    if isinstance(value, dict):
        return {k: strip(v) for k, v in value.items() if v not in (None, {}, [])}
    return [strip(v) for v in value] if isinstance(value, list) else value


def check_pipeline(scene: Scene) -> None:
    checks = scene.checks
    scene.must("pipeline.py", "compile", "--output", "compiled.yaml", python="pipeline")
    [document, *_] = yaml.safe_load_all((scene.examples / "compiled.yaml").read_text())
    checks.equal("pipeline.py: name", document["pipelineInfo"]["name"], "fit-evaluate-register")
    checks.equal("pipeline.py: steps", set(document["root"]["dag"]["tasks"]), {"fit-model", "evaluate-model", "register-model"})
    for executor in document["deploymentSpec"]["executors"].values():
        checks.holds("pipeline.py: a step installs nothing", "pip install" not in str(executor["container"]["command"]))
    text = scene.must("pipeline.py", "run", "--model", "piped", "--experiment", "pipeline", "--threshold", "0.8", python="pipeline")
    model, version = registered(text)
    checks.equal("pipeline.py: registered", (model, version), ("piped", "1"))
    tags = scene.version("piped", "1").tags
    checks.holds("pipeline.py: it says how good", float(tags.get("accuracy", 0)) >= 0.8, str(tags))
    check_model(scene, "pipeline.py", "piped", "1", "cloudpickle")
    scene.fails("pipeline.py: the gate", "is below 1.1: not registered", "pipeline.py", "run", "--model", "piped", "--epochs", "1", "--threshold", "1.1", python="pipeline")
    checks.equal("pipeline.py: what is not good enough", len(scene.client.search_model_versions("name = 'piped'")), 1)
    pipelines.check_submission(scene)


# How many requests each version got in 15 seconds, by HTTP status, and below which bound they were answered.
PLAYED = {"v7": ({"200": 57, "500": 3}, 0.25), "v8": ({"200": 6}, 0.005)}
BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0]


def engine_history(now: int) -> str:
    """What Seldon's engine would tell Prometheus, in OpenMetrics: half an hour, and the time that the check may take. Counts are known, so answers are."""
    name = "seldon_api_executor_server_requests_seconds"
    lines = [f"# TYPE {name} histogram"]
    for version, (codes, bound) in PLAYED.items():
        for code, each in codes.items():
            for service in ("predictions", "status"):
                labels = f'namespace="models",deployment_name="wine",predictor_name="{version}",service="{service}",method="post",code="{code}"'
                for turn, at in enumerate(range(now - 1800, now + 600, 15)):
                    count = turn * each
                    for le in [*BUCKETS, "+Inf"]:
                        below = count if le == "+Inf" or le >= bound else 0
                        lines.append(f'{name}_bucket{{{labels},le="{le}"}} {below} {at}')
                    lines.append(f"{name}_count{{{labels}}} {count} {at}")
    return "\n".join([*lines, "# EOF", ""])


def check_metrics(scene: Scene) -> None:
    """A Prometheus that holds half an hour of a release is asked, and one that scrapes the serving example as the cluster's would."""
    checks, home = scene.checks, scene.home / "history"
    home.mkdir()
    (home / "history").write_text(engine_history(int(time.time())))
    subprocess.run(["promtool", "tsdb", "create-blocks-from", "openmetrics", "--quiet", home / "history", home / "data"], check=True)
    with servers.prometheus(home, "{}") as prometheus:
        where = ["--prometheus", prometheus.url, "-n", "models"]
        text = scene.must("metrics.py", *where, "--release", "wine", "--last", "20m", "--step", "10m")
        rows = [line.split() for line in text.splitlines()]
        checks.equal("metrics.py: the head", rows[0], ["version", "QPS", "errors", "p95"])
        checks.equal("metrics.py: v7", rows[1], ["v7", "4.00/s", "5.0%", "242", "ms"])
        checks.equal("metrics.py: v8, without an error", rows[2], ["v8", "0.40/s", "0.0%", "5", "ms"])
        checks.holds("metrics.py: --last", sum("v7 4.00/s" in line for line in text.splitlines()) >= 2, text)
        for name in ("absent", 'x"} or vector(1) #'):
            ran = scene.run("metrics.py", *where, "--release", name)
            checks.holds(f"metrics.py: {name} has no data", ran.returncode == 3 and "no data: Prometheus knows no requests" in ran.stdout, ran.stdout)
    scene.fails("metrics.py: what is no Prometheus", "is it a Prometheus?", "metrics.py", "--prometheus", scene.mlflow, "--release", "wine")


def check_serving(scene: Scene) -> None:
    """The server as the image would run it, and a Prometheus that scrapes it with the labels that a pod of the release gives."""
    home, context = scene.home / "scraped", scene.home / "image"
    home.mkdir()
    with serve_context(scene, context) as model:
        check_server(scene, "the image's server", model.url, json.loads((context / "model/input_example.json").read_text()))
        target = model.metrics.removeprefix("http://").removesuffix("/prometheus")
        labels = {"namespace": "models", "pod": "wine-v7-0-model-5d8f-abcde", "container": "model"}
        job = {"job_name": "model", "metrics_path": "/prometheus", "scrape_interval": "1s", "static_configs": [{"targets": [target], "labels": labels}]}
        with servers.prometheus(home, yaml.safe_dump({"scrape_configs": [job]})) as prometheus:
            check_load_time(scene, prometheus.url)


def check_load_time(scene: Scene, prometheus: str) -> None:
    """The dashboard that the service committed finds the load time that the serving example tells."""
    dashboard = yaml.safe_load((scene.service.clone() / "releases/production/models/wine/dashboard.yaml").read_text())
    panels = [panel for text in dashboard["data"].values() for panel in json.loads(text)["panels"]]
    [query] = [t["expr"] for p in panels for t in p["targets"] if "model_load_time_seconds" in t["expr"]]

    def asked() -> list[dict]:
        found = urllib.request.urlopen(f"{prometheus}/api/v1/query?{urllib.parse.urlencode({'query': query})}", timeout=30)
        return json.load(found)["data"]["result"]

    scene.checks.holds("serving: the dashboard finds its load time", until(lambda: bool(asked())), query)
    scene.checks.equal("serving: under its version", [one["metric"] for one in asked()], [{"predictor_name": "v7"}])


def check_release(scene: Scene) -> None:
    checks, service = scene.checks, scene.service
    address = {"KMLFLOW_URL": service.url, "KMLFLOW_TOKEN": service.token, "WITHIN": "60"}
    scene.fails("release.sh: a model that MLflow does not have", "MLflow has no version 1 of the model", "release.sh", "by-curl", more=address)
    scene.client.create_registered_model("by-curl")
    for _ in range(2):
        scene.client.create_model_version("by-curl", "s3://mlflow/by-curl")
    text = scene.must("release.sh", "by-curl", more=address)
    oids = re.findall(r"^(release|canary|advance|promote|rollback|retract) +([0-9a-f]{40})$", text, re.MULTILINE)
    checks.equal("release.sh: says each commit", [name for name, _ in oids], ["release", "canary", "advance", "promote", "rollback", "retract"])
    clone = service.clone()
    log = subprocess.run(["git", "-C", clone, "log", "--format=%H %s"], capture_output=True, text=True, check=True).stdout
    checks.holds("release.sh: the commits are there", all(oid in log for _, oid in oids), f"{text}\n{log}")
    subjects = [line for line in log.splitlines() if "release(production/models/by-curl)" in line]
    checks.holds("release.sh: the newest is the retraction", bool(oids) and subjects[0].startswith(oids[-1][1]), log)
    checks.holds("release.sh: the history is shown", "history:\nroll back to version 1\n" in text, text)
    checks.holds("release.sh: a canary's order", len(subjects) > len(oids), log)
    checks.holds("release.sh: nothing is left", not (clone / "releases/production/models/by-curl").exists())
    checks.holds("release.sh: what was taken back is kept", (clone / "retracted/production/models/by-curl.yaml").exists())
    scene.fails("release.sh: without a token", "set it to a token", "release.sh", more={"KMLFLOW_URL": service.url})
    scene.fails("release.sh: a wrong token", "401", "release.sh", more=address | {"KMLFLOW_TOKEN": "nobody"})


def carry_out(scene: Scene, chosen: list[str], *those: Callable[[Scene], None]) -> None:
    """Runs the checks that were asked for, and says how long each took."""
    for check in those:
        began, name = time.monotonic(), check.__name__.removeprefix("check_")
        if not chosen or name in chosen:
            check(scene)
            print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pipeline", type=pathlib.Path, required=True, help="the Python with requirements-pipeline.txt")
    parser.add_argument("--serving", type=pathlib.Path, required=True, help="the Python with serving/requirements.txt")
    parser.add_argument("--runtime", type=pathlib.Path, required=True, help="the Python with runtime/requirements.txt")
    parser.add_argument("checks", nargs="*", help="names of the checks to run, all unless given; some need what an earlier one left")
    arguments = parser.parse_args()
    here, chosen = pathlib.Path.cwd(), arguments.checks
    pythons = {name: here / getattr(arguments, name) for name in ("pipeline", "serving", "runtime")} | {"examples": pathlib.Path(sys.executable)}
    checks = Checks()
    with tempfile.TemporaryDirectory(prefix="kmlflow-test-") as directory, Tracking() as tracking:
        home = pathlib.Path(directory)
        # The service is started anew with other settings: on the same port, which MLflow delivers to, and with the same data.
        place = {"data": home / "data", "port": servers.free_port()}
        variables = {"KMLFLOW__MLFLOW__TRACKING_URI": tracking.url}
        with Service(variables=variables | {"KMLFLOW__MLFLOW__ARTIFACTS_DESTINATION": "s3://mlflow/art"}, **place) as service:
            scene = Scene(home, pythons, tracking, service, checks)
            connected = service.connect(tracking.url)
            checks.holds("connect succeeds", connected.returncode == 0, connected.stdout)
            carry_out(scene, chosen, check_papers, check_table, check_refused)
        carry_out(scene, chosen, check_unanswered)
        shutil.copy(scene.examples / "runtime/kmlflow.yaml", place["data"])
        with Service(variables=variables, **place) as scene.service:
            carry_out(scene, chosen, check_made_good, check_track, check_fit, check_publish, check_image, check_serving)
            carry_out(scene, chosen, check_proposal, check_pipeline, check_metrics, check_release)
    checks.end()


main()
