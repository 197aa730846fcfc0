#!/usr/bin/env python3
"""Fits, evaluates and registers as a Kubeflow pipeline.

What a reader learns:
- steps as components of the KFP SDK: plain functions whose imports are inside, because each runs in a container of its own;
- what passes between steps is small (an address of a model at MLflow), so that no step needs the disk of another;
- a gate: a model that is not good enough fails the pipeline and is not registered;
- `compile` writes the YAML that is uploaded to Kubeflow Pipelines; `run` runs the same pipeline on this machine, without a cluster;
  `submit` has Kubeflow Pipelines run it, and waits.

    python pipeline.py compile --output pipeline.yaml
    python pipeline.py run --layers 32,16 --threshold 0.9
    FITTING_IMAGE=ada/fitting:1 python pipeline.py submit --layers 32,16

In a cluster the steps run in the image of the Dockerfile beside this file, which has `fit.py` and everything it needs. `submit` asks at
KF_PIPELINES_ENDPOINT, which the platform's notebooks have set (there it is the kernel `Kubeflow Pipelines` that has the SDK).
"""

import argparse
import os
import pathlib
import tempfile
from typing import NamedTuple

from kfp import compiler, dsl, local
from kfp.client import Client

from fit import add_tracking, help_parser

IMAGE = os.environ.get("FITTING_IMAGE", "registry.example/fitting:1")


# The image has the SDK, so a step installs nothing when it starts.
@dsl.component(base_image=IMAGE, install_kfp_package=False)
def fit_model(tracking_uri: str, experiment: str, learning_rate: float, layers: str, epochs: int) -> str:
    """Fits and tracks; gives the model's address at MLflow."""
    import mlflow

    from fit import Options, fit

    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_experiment(experiment)
    options = Options(learning_rate=learning_rate, layers=layers, epochs=epochs)
    return fit(options, tags={"pipeline": "fit-evaluate-register"}, serialization_format="cloudpickle").model_uri


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def evaluate_model(tracking_uri: str, model_uri: str, report: dsl.Output[dsl.Metrics]) -> float:
    """Loads the model as a server would and gives its accuracy on rows that it has not seen."""
    import mlflow
    from sklearn.metrics import accuracy_score

    from fit import Options, load_data

    mlflow.set_tracking_uri(tracking_uri)
    rows, classes = load_data(Options()).test
    accuracy = float(accuracy_score(classes, mlflow.pyfunc.load_model(model_uri).predict(rows)))
    report.log_metric("accuracy", accuracy)
    return accuracy


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def register_model(
    tracking_uri: str, model_uri: str, model: str, accuracy: float, threshold: float
) -> NamedTuple("Registered", [("model", str), ("version", str)]):
    """Makes a version of a model that is good enough; it says how good."""
    from collections import namedtuple

    import mlflow

    if accuracy < threshold:
        raise ValueError(f"an accuracy of {accuracy:.3f} is below {threshold}: not registered")
    mlflow.set_tracking_uri(tracking_uri)
    version = mlflow.register_model(model_uri, model, tags={"accuracy": f"{accuracy:.3f}"}).version
    return namedtuple("Registered", ["model", "version"])(model, str(version))


@dsl.pipeline(name="fit-evaluate-register", description="Fits a model, evaluates it and registers it where it is good enough.")
def fit_evaluate_register(
    tracking_uri: str,
    experiment: str = "wine",
    model: str = "wine",
    learning_rate: float = 0.01,
    layers: str = "16",
    epochs: int = 200,
    threshold: float = 0.9,
) -> NamedTuple("Registered", [("model", str), ("version", str)]):
    fitted = fit_model(tracking_uri=tracking_uri, experiment=experiment, learning_rate=learning_rate, layers=layers, epochs=epochs)
    # The model's address is its content: what was evaluated once need not be again, but a registration must always happen.
    evaluated = evaluate_model(tracking_uri=tracking_uri, model_uri=fitted.output)
    registered = register_model(
        tracking_uri=tracking_uri, model_uri=fitted.output, model=model, accuracy=evaluated.outputs["Output"], threshold=threshold
    ).set_caching_options(False)
    return registered.outputs


def run_here(arguments: dict[str, object]) -> dict[str, object]:
    """Runs the steps as processes of this machine, one after the other."""
    # Steps import fit.py, which the image has in its working directory.
    os.environ["PYTHONPATH"] = str(pathlib.Path(__file__).parent.resolve())
    local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=tempfile.mkdtemp(prefix="pipeline-"), raise_on_error=True)
    return fit_evaluate_register(**arguments).outputs


def submit(endpoint: str, arguments: dict[str, object]) -> None:
    """Has Kubeflow Pipelines run it, and waits until it is over."""
    if not endpoint:
        raise SystemExit("no Kubeflow Pipelines to submit to: name its address by --endpoint or KF_PIPELINES_ENDPOINT")
    client = Client(host=endpoint)
    run = client.create_run_from_pipeline_func(fit_evaluate_register, arguments=arguments, experiment_name=arguments["experiment"])
    print(f"run {run.run_id}")
    state = client.wait_for_run_completion(run.run_id, timeout=24 * 60 * 60).state
    if state.lower() != "succeeded":
        raise SystemExit(f"the run {run.run_id} has {state.lower()}; Kubeflow Pipelines shows which step, and its log")
    print(f"the run {run.run_id} has succeeded")


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of the pipeline."""
    add_tracking(command, experiment="wine", model="wine")
    command.add_argument("--learning-rate", type=float, default=0.01, help="step size of the optimizer; default: %(default)s")
    command.add_argument("--layers", default="16", help="neurons of each hidden layer; default: %(default)s")
    command.add_argument("--epochs", type=int, default=200, help="most passes over the data; default: %(default)s")
    command.add_argument("--threshold", type=float, default=0.9, help="accuracy below which nothing is registered; default: %(default)s")


def main() -> None:
    parser = help_parser(__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    compile_command = commands.add_parser("compile", help="write the pipeline as YAML")
    compile_command.add_argument("--output", default="pipeline.yaml", help="file to write; default: %(default)s")
    add_arguments(commands.add_parser("run", help="run the pipeline on this machine"))
    submit_command = commands.add_parser("submit", help="have Kubeflow Pipelines run it, and wait")
    submit_command.add_argument("--endpoint", default=os.environ.get("KF_PIPELINES_ENDPOINT", ""), help="address of Kubeflow Pipelines; KF_PIPELINES_ENDPOINT")
    add_arguments(submit_command)
    arguments = vars(parser.parse_args())
    command = arguments.pop("command")
    if command == "compile":
        compiler.Compiler().compile(fit_evaluate_register, arguments["output"])
        print(f"wrote {arguments['output']}")
    elif command == "submit":
        submit(arguments.pop("endpoint"), arguments)
    else:
        registered = run_here(arguments)
        print(f"registered {registered['model']} version {registered['version']}")


if __name__ == "__main__":
    main()
