#!/usr/bin/env python3
"""Searches hyperparameters with Katib, or the same search without it, and registers the best model.

What a reader learns:
- an Experiment built with Katib's own SDK: objective, algorithm, parameters, and a trial that runs `fit.py`;
- the same search without a cluster: the same parameters, each trial a call of the function that `fit.py` runs;
- every trial is a tracked run with the tag `katib_trial_name`, so that a name seen in Katib's UI is found in MLflow;
- the best trial becomes a version that can be served: by the runtime image of `runtime/`, or in an image of its own as `publish.py` makes it.

    python proposal.py --trials 6                          # the search runs here; the Experiment is written to a new directory
    python proposal.py --manifest search.yaml              # … to a file of that name
    python proposal.py --submit --image ada/fitting:1      # Katib runs it, in the cluster of the kubeconfig, or of the pod where this runs in one

Why the best one can be served here, and could not be in the project that this one follows. There a trial
- logged a model but never registered it: there was no version that an alias or a button could name;
- built and pushed its image from inside its pod, through the node's Docker socket and with a password in the Experiment: four
  trials, four images, and where build or push failed the run was finished all the same, because nobody looked at the exit code;
- named the image in a tag that nothing read, listened on a port of its own with a protocol of its own, and fetched the model with the
  object store's keys written into the image;
- tagged its run with another key than the one that the README searched for, so the best trial was not found in MLflow at all.
So here a trial only fits: its model goes to MLflow with signature, example and requirements, and outlives the pod. Once the search is
over the best one, and only that one, is registered. An alias on it (`champion`) is a release of the artifact where the configuration of
Kmlflow names a runtime that has what it was logged with, and where a cluster finds what MLflow stores: `runtime/` has both. The runtime that
Kmlflow knows by itself (MLServer 1.7.1) has an older Python and scikit-learn, and the release is refused with that reason.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import os
import pathlib
import random
import secrets
import tempfile
from collections.abc import Iterator

import mlflow
import yaml
from kubeflow import katib
from kubernetes.client import ApiClient, V1ObjectMeta
from kubernetes.config import ConfigException
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion

from fit import Options, add_tracking, fit, help_parser

# What is searched: option of fit.py, Katib's type of it, and its values.
SPACE = [
    ("learning_rate", "discrete", ["0.001", "0.003", "0.01", "0.03"]),
    ("layers", "categorical", ["8", "16", "32,16"]),
    ("batch_size", "discrete", ["16", "32"]),
]

# What is minimised; fit.py prints it as `validation_loss=…` each epoch and tracks the best as `best_validation_loss`.
OBJECTIVE = "validation_loss"


def trial_job(name: str, image: str, tracking_uri: str) -> dict:
    """The Job of one trial. Katib fills in `${trialParameters.…}`; the trial's name becomes a tag."""
    command = ["python", "fit.py", "--no-publish", "--tracking-uri", tracking_uri]
    command += [f"--{name.replace('_', '-')}=${{trialParameters.{name}}}" for name, _, _ in SPACE]
    command += ["--tag=katib_trial_name=${trialParameters.trial_name}", f"--tag=katib_experiment_name={name}"]
    command += [f"--experiment={name}", "--serialization-format=cloudpickle"]
    container = {"name": "fit", "image": image, "command": command}
    # Without this annotation a service mesh's sidecar would keep the Job from ever being complete.
    metadata = {"annotations": {"sidecar.istio.io/inject": "false"}}
    template = {"metadata": metadata, "spec": {"containers": [container], "restartPolicy": "Never"}}
    return {"apiVersion": "batch/v1", "kind": "Job", "spec": {"backoffLimit": 0, "template": template}}


def build_experiment(name: str, namespace: str, algorithm: str, trials: int, image: str, tracking_uri: str) -> katib.V1beta1Experiment:
    """The search as Katib's SDK says it."""
    references = {parameter: parameter for parameter, _, _ in SPACE} | {"trial_name": "${trialSpec.Name}"}
    return katib.V1beta1Experiment(
        api_version="kubeflow.org/v1beta1",
        kind="Experiment",
        metadata=V1ObjectMeta(name=name, namespace=namespace),
        spec=katib.V1beta1ExperimentSpec(
            objective=katib.V1beta1ObjectiveSpec(
                type="minimize",
                objective_metric_name=OBJECTIVE,
                # The best epoch counts, not the last: early stopping goes on for some epochs after it.
                metric_strategies=[katib.V1beta1MetricStrategy(name=OBJECTIVE, value="min")],
            ),
            algorithm=katib.V1beta1AlgorithmSpec(algorithm_name=algorithm),
            parameters=[
                katib.V1beta1ParameterSpec(name=parameter, parameter_type=of, feasible_space=katib.V1beta1FeasibleSpace(list=values))
                for parameter, of, values in SPACE
            ],
            max_trial_count=trials,
            parallel_trial_count=2,
            max_failed_trial_count=1,
            metrics_collector_spec=katib.V1beta1MetricsCollectorSpec(collector=katib.V1beta1CollectorSpec(kind="StdOut")),
            trial_template=katib.V1beta1TrialTemplate(
                primary_container_name="fit",
                trial_parameters=[
                    katib.V1beta1TrialParameterSpec(name=parameter, reference=reference) for parameter, reference in references.items()
                ],
                trial_spec=trial_job(name, image, tracking_uri),
            ),
        ),
    )


def write_manifest(experiment: katib.V1beta1Experiment, path: pathlib.Path) -> None:
    """Writes what `kubectl apply -f` takes."""
    path.write_text(yaml.safe_dump(ApiClient().sanitize_for_serialization(experiment), sort_keys=False))


def assignments(algorithm: str, trials: int, seed: int) -> Iterator[dict[str, str]]:
    """The values of each trial: all of them in order, or drawn."""
    names, values = [name for name, _, _ in SPACE], [of for _, _, of in SPACE]
    everything = [dict(zip(names, chosen, strict=True)) for chosen in itertools.product(*values)]
    if algorithm == "random":
        random.Random(seed).shuffle(everything)
    yield from everything[:trials]


def search_here(name: str, algorithm: str, trials: int, options: Options) -> None:
    """Runs the trials one after the other, tracked as Katib's are."""
    for number, chosen in enumerate(assignments(algorithm, trials, options.seed), start=1):
        trial = f"{name}-{secrets.token_hex(4)}"
        typed = {key: type(getattr(options, key))(value) for key, value in chosen.items()}
        tags = {"katib_trial_name": trial, "katib_experiment_name": name}
        fitted = fit(dataclasses.replace(options, **typed), tags=tags, serialization_format="cloudpickle")
        print(f"trial {number} {trial}: {chosen} took {fitted.epochs} epochs")


def search_in_katib(experiment: katib.V1beta1Experiment, name: str, namespace: str) -> None:
    """Submits the search and waits until it is over."""
    try:
        client = katib.KatibClient(namespace=namespace)
    except ConfigException as error:
        raise SystemExit(f"no cluster to submit to: {error}; leave --submit out to search here") from error
    client.create_experiment(experiment, namespace=namespace)
    client.wait_for_experiment_condition(name, namespace=namespace, timeout=24 * 60 * 60)
    print(f"Katib's best trial: {client.get_optimal_hyperparameters(name, namespace=namespace)}")


def find_trial(name: str, trial: str) -> Run:
    """The run of a trial: what a person types into MLflow's search box is the filter."""
    runs = mlflow.search_runs(experiment_names=[name], filter_string=f"tags.katib_trial_name = '{trial}'", output_format="list")
    if len(runs) != 1:
        raise SystemExit(f"trial `{trial}` has {len(runs)} runs in MLflow's experiment `{name}`")
    return runs[0]


def find_best(name: str) -> Run:
    """The finished trial with the lowest loss."""
    runs = mlflow.search_runs(
        experiment_names=[name],
        filter_string=f"tags.katib_experiment_name = '{name}' AND attributes.status = 'FINISHED'",
        order_by=[f"metrics.best_{OBJECTIVE} ASC"],
        max_results=1,
        output_format="list",
    )
    if not runs:
        raise SystemExit(f"no trial of `{name}` has finished; MLflow's experiment of that name has their runs")
    return runs[0]


def register_run(run: Run, model: str) -> ModelVersion:
    """Registers the model that a run logged, with the names that lead back to its trial."""
    tags = {key: run.data.tags[key] for key in ("katib_trial_name", "katib_experiment_name")}
    return mlflow.register_model(f"models:/{run.outputs.model_outputs[0].model_id}", model, tags=tags)


def parse() -> argparse.Namespace:
    parser = help_parser(__doc__)
    add_tracking(parser, experiment=f"search-{secrets.token_hex(2)}", model="wine")
    parser.add_argument("--algorithm", choices=["random", "grid"], default="random", help="how trials are chosen")
    parser.add_argument("--trials", type=int, default=6, help="most trials")
    parser.add_argument("--epochs", type=int, default=Options.epochs, help="most passes over the data of a trial that runs here")
    parser.add_argument("--seed", type=int, default=Options.seed, help="seed of the search and of the trials that run here")
    parser.add_argument("--manifest", type=pathlib.Path, help="file that the Experiment is written to; in a new directory unless given")
    parser.add_argument("--submit", action="store_true", help="let Katib run it, in the cluster of the kubeconfig or of the pod")
    parser.add_argument("-n", "--namespace", default="kubeflow", help="namespace of the Experiment")
    parser.add_argument(
        "--image",
        default=os.environ.get("FITTING_IMAGE", "registry.example/fitting:1"),
        help="image of the trials, made from the Dockerfile beside this file; FITTING_IMAGE",
    )
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    mlflow.set_tracking_uri(arguments.tracking_uri)
    mlflow.set_experiment(arguments.experiment)
    name = arguments.experiment
    experiment = build_experiment(
        name, arguments.namespace, arguments.algorithm, arguments.trials, arguments.image, arguments.tracking_uri
    )
    manifest = arguments.manifest or pathlib.Path(tempfile.mkdtemp(prefix="search-")) / "search.yaml"
    write_manifest(experiment, manifest)
    print(f"wrote {manifest}")
    if arguments.submit:
        search_in_katib(experiment, name, arguments.namespace)
    else:
        search_here(name, arguments.algorithm, arguments.trials, Options(epochs=arguments.epochs, seed=arguments.seed))

    trial = find_best(name).data.tags["katib_trial_name"]
    best = find_trial(name, trial)
    print(f"best trial: {trial} with {OBJECTIVE} {best.data.metrics[f'best_{OBJECTIVE}']:.5f}; in MLflow: tags.katib_trial_name = '{trial}'")
    version = register_run(best, arguments.model)
    print(f"registered {arguments.model} version {version.version}")


if __name__ == "__main__":
    main()
