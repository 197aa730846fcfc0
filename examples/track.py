#!/usr/bin/env python3
"""Tracks a model with the MLflow client and registers it.

What a reader learns:
- parameters, and metrics of how good the model is;
- system metrics: how much CPU, memory, disk and network the run used, sampled by psutil while it ran (`system/…` in MLflow);
- artifacts: any file, here a table of what was mistaken for what;
- a model with its signature (names and types of the columns) and an input example, which are what a release is checked against;
- registering: the model becomes a version that has an address, `models:/NAME/VERSION`.

    python track.py --tracking-uri http://127.0.0.1:5000 --model iris

Nothing is served yet: an alias asks for that. `client.set_registered_model_alias("iris", "champion", 1)` releases version 1 where Kmlflow
hears of it (`kmlflow mlflow connect`) and its configuration names a runtime image that has what `requirements.txt` installs, and the place
where a cluster finds what MLflow stores: `runtime/` has the image and the lines. Elsewhere the version's tag `kmlflow.status.reason` says
what is missing.
"""

from __future__ import annotations

import argparse
import os

import mlflow
from mlflow.models import infer_signature
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score
from sklearn.model_selection import train_test_split

# How often the use of the machine is looked at while the run goes on. MLflow's default is 10 seconds, longer than this run.
SAMPLE_SECONDS = 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--tracking-uri",
        default=os.environ.get("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000"),
        help="address of the MLflow server (default: MLFLOW_TRACKING_URI, else %(default)s)",
    )
    parser.add_argument("--experiment", default="iris", help="experiment that the run belongs to (default: %(default)s)")
    parser.add_argument("--model", default="iris", help="name to register the model under (default: %(default)s)")
    parser.add_argument("--strength", type=float, default=1.0, help="strength of the model, C: the higher, the less it is held back (default: %(default)s)")
    parser.add_argument("--iterations", type=int, default=200, help="most iterations of the solver (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="seed of the split (default: %(default)s)")
    return parser.parse_args()


def track(strength: float, iterations: int, seed: int, model_name: str) -> tuple[str, str]:
    """Fits and tracks in one run; gives the run's id and the registered version."""
    rows, classes = load_iris(return_X_y=True, as_frame=True)
    train, test, train_classes, test_classes = train_test_split(rows, classes, test_size=0.2, stratify=classes, random_state=seed)
    with mlflow.start_run(log_system_metrics=True) as run:
        mlflow.log_params({"strength": strength, "iterations": iterations, "seed": seed, "rows": len(train)})
        model = LogisticRegression(C=strength, max_iter=iterations).fit(train, train_classes)

        guesses = model.predict(test)
        accuracy, f1 = accuracy_score(test_classes, guesses), f1_score(test_classes, guesses, average="macro")
        mlflow.log_metrics({"accuracy": accuracy, "f1": f1})

        mistaken = confusion_matrix(test_classes, guesses).tolist()
        mlflow.log_dict({"rows are the truth, columns the guess": mistaken}, "confusion.json")
        mlflow.log_text(f"{accuracy:.3f} of the {len(test)} test rows were right.\n", "summary.txt")

        info = mlflow.sklearn.log_model(
            model,
            name="model",
            signature=infer_signature(test, guesses),
            input_example=test.head(2),
            # MLflow's default, skops, is safer to load, but of the images of MLServer only one like runtime/'s can: it takes MLflow 3.9.
            serialization_format="cloudpickle",
            registered_model_name=model_name,
        )
    return run.info.run_id, str(info.registered_model_version)


def main() -> None:
    arguments = parse()
    mlflow.set_tracking_uri(arguments.tracking_uri)
    mlflow.set_experiment(arguments.experiment)
    mlflow.set_system_metrics_sampling_interval(SAMPLE_SECONDS)
    mlflow.set_system_metrics_samples_before_logging(1)
    run_id, version = track(arguments.strength, arguments.iterations, arguments.seed, arguments.model)
    print(f"run {run_id}")
    print(f"registered {arguments.model} version {version}")


if __name__ == "__main__":
    main()
