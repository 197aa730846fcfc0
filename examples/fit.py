#!/usr/bin/env python3
"""Fits a small neural network on the CPU and tracks it in MLflow.

What a reader learns:
- which options a fitting routine has, and how `--help` shows each of them with its default;
- early stopping that really stops, and keeps the weights of the best epoch, not of the last;
- metrics per epoch in MLflow, printed as `name=value` too, which is what Katib's metrics collector reads;
- what makes a model servable: a signature, an input example and its exact requirements, stored at MLflow and not on a disk of this machine.

    python fit.py --layers 32,16 --learning-rate 0.005
    python fit.py --fast-dev-run        # one epoch on a handful of rows, to see that the code runs
    python fit.py --no-publish          # tracked, but no version is registered

The data is the wine set that comes with scikit-learn: 13 numbers of a chemical analysis say which of three growers a wine is from.
"""

from __future__ import annotations

import argparse
import copy
import importlib.metadata
import os
from dataclasses import asdict, dataclass, fields

import mlflow
import pandas as pd
from mlflow.entities.model_registry import ModelVersion
from mlflow.models import infer_signature
from sklearn.datasets import load_wine
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

# The rows that `--fast-dev-run` sees: some of each of the three classes.
FAST_DEV_ROWS = 24

# Types that skops does not load unless they are named; each was looked at: they hold numbers alone.
TRUSTED_TYPES = ["sklearn.neural_network._stochastic_optimizers.AdamOptimizer"]

# What a server needs to load the model, each in the version that is installed here. Without the first entry MLflow would add
# `mlflow`, which brings the whole tracking server into the image.
REQUIRED = ["mlflow-skinny", "scikit-learn", "numpy", "pandas", "skops", "cloudpickle"]


@dataclass(frozen=True)
class Options:
    """What can be varied; a search varies the same."""

    learning_rate: float = 0.01
    layers: str = "16"
    epochs: int = 200
    batch_size: int = 32
    weight_decay: float = 0.0001
    patience: int = 5
    min_delta: float = 0.001
    seed: int = 7
    fast_dev_run: bool = False

    def sizes(self) -> tuple[int, ...]:
        """The neurons of each hidden layer."""
        return tuple(int(size) for size in self.layers.split(","))


@dataclass(frozen=True)
class Fitted:
    """A tracked model: `model_uri` is its address at MLflow, valid wherever the tracking server is reached."""

    run_id: str
    model_uri: str
    epochs: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class Data:
    """Rows and their classes: to fit, to decide when to stop, and to judge at the end."""

    train: tuple[pd.DataFrame, pd.Series]
    validation: tuple[pd.DataFrame, pd.Series]
    test: tuple[pd.DataFrame, pd.Series]


def load_data(options: Options) -> Data:
    """Splits the data, always in the same way for the same seed."""
    rows, classes = load_wine(return_X_y=True, as_frame=True)
    if options.fast_dev_run:
        rows, _, classes, _ = train_test_split(rows, classes, train_size=FAST_DEV_ROWS, stratify=classes, random_state=options.seed)
    rest, test, rest_classes, test_classes = train_test_split(rows, classes, test_size=0.25, stratify=classes, random_state=options.seed)
    train, validation, train_classes, validation_classes = train_test_split(
        rest, rest_classes, test_size=0.25, stratify=rest_classes, random_state=options.seed
    )
    return Data((train, train_classes), (validation, validation_classes), (test, test_classes))


def fit_network(options: Options, data: Data) -> tuple[Pipeline, int]:
    """Fits epoch by epoch, and gives the best model and the number of epochs that it took."""
    scaler = StandardScaler().fit(data.train[0])
    train, validation = scaler.transform(data.train[0]), scaler.transform(data.validation[0])
    network = MLPClassifier(
        hidden_layer_sizes=options.sizes(),
        learning_rate_init=options.learning_rate,
        alpha=options.weight_decay,
        batch_size=min(options.batch_size, len(train)),
        random_state=options.seed,
    )
    classes = sorted(data.train[1].unique())
    best, best_loss, worse = network, float("inf"), 0
    for epoch in range(1, (1 if options.fast_dev_run else options.epochs) + 1):
        network.partial_fit(train, data.train[1], classes=classes)
        guesses = network.predict_proba(validation)
        metrics = {
            "train_loss": float(network.loss_),
            "validation_loss": log_loss(data.validation[1], guesses, labels=classes),
            "validation_accuracy": accuracy_score(data.validation[1], guesses.argmax(axis=1)),
        }
        mlflow.log_metrics(metrics, step=epoch)
        print(f"epoch={epoch}", *(f"{name}={value:.5f}" for name, value in metrics.items()), flush=True)
        if metrics["validation_loss"] < best_loss - options.min_delta:
            best, best_loss, worse = copy.deepcopy(network), metrics["validation_loss"], 0
        else:
            worse += 1
        if options.patience and worse == options.patience:
            print(f"stopped early: no better for {worse} epochs")
            break
    mlflow.log_metrics({"epochs": epoch, "best_validation_loss": best_loss})
    return Pipeline([("scale", scaler), ("network", best)]), epoch


def fit(options: Options, tags: dict[str, str] | None = None, serialization_format: str = "skops") -> Fitted:
    """Fits within a run of its own and logs the model; `tags` are set on the run."""
    data = load_data(options)
    with mlflow.start_run(tags=tags) as run:
        mlflow.log_params(asdict(options))
        model, epochs = fit_network(options, data)
        examples = data.train[0].head(2)
        info = mlflow.sklearn.log_model(
            model,
            name="model",
            signature=infer_signature(examples, model.predict(examples)),
            input_example=examples,
            pip_requirements=[f"{name}=={importlib.metadata.version(name)}" for name in REQUIRED],
            serialization_format=serialization_format,
            skops_trusted_types=TRUSTED_TYPES if serialization_format == "skops" else None,
        )
        metrics = {"test_accuracy": accuracy_score(data.test[1], model.predict(data.test[0]))}
        # With the model's id they are seen on the pages of the model and of its versions too.
        mlflow.log_metrics(metrics, model_id=info.model_id)
    return Fitted(run.info.run_id, info.model_uri, epochs, metrics)


def register(fitted: Fitted, model: str, tags: dict[str, str] | None = None) -> ModelVersion:
    """Makes the next version of a registered model."""
    return mlflow.register_model(fitted.model_uri, model, tags=tags)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds what can be varied, for every script that fits."""
    texts = {
        "learning_rate": "step size of the optimizer (Adam)",
        "layers": "neurons of each hidden layer, first to last, as in 32,16",
        "epochs": "most passes over the data",
        "batch_size": "rows of one step",
        "weight_decay": "strength of the L2 penalty on the weights",
        "patience": "stop after so many epochs in a row without a better validation loss; 0: never",
        "min_delta": "how much lower a validation loss is to count as better",
        "seed": "seed of the split and of the weights",
        "fast_dev_run": "one epoch on a few rows, and nothing is registered: shows that the code runs",
    }
    for field in fields(Options):
        name = f"--{field.name.replace('_', '-')}"
        if isinstance(field.default, bool):
            parser.add_argument(name, action="store_true", help=texts[field.name])
        else:
            parser.add_argument(name, type=type(field.default), default=field.default, help=texts[field.name])


def add_tracking(parser: argparse.ArgumentParser, experiment: str, model: str) -> None:
    """Adds where to track and what to call the model."""
    parser.add_argument(
        "--tracking-uri", default=os.environ.get("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000"), help="MLflow's address; MLFLOW_TRACKING_URI"
    )
    parser.add_argument("--experiment", default=experiment, help="experiment that runs belong to")
    parser.add_argument("--model", default=model, help="name in the model registry")


def options_of(arguments: argparse.Namespace) -> Options:
    """Takes the options of `add_options` out of the parsed arguments."""
    return Options(**{field.name: getattr(arguments, field.name) for field in fields(Options)})


def help_parser(description: str) -> argparse.ArgumentParser:
    """A parser that shows the header of a script and the defaults of its options."""

    class Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
        pass

    return argparse.ArgumentParser(description=description, formatter_class=Formatter)


def tag(text: str) -> tuple[str, str]:
    """Reads KEY=VALUE."""
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"`{text}` is not KEY=VALUE")
    return key, value


def main() -> None:
    parser = help_parser(__doc__)
    add_options(parser)
    add_tracking(parser, experiment="wine", model="wine")
    parser.add_argument("--tag", type=tag, action="append", default=[], metavar="KEY=VALUE", help="tag of the run; may be given more than once")
    parser.add_argument("--serialization-format", choices=["skops", "cloudpickle"], default="skops", help="how the model is saved; see publish.py")
    parser.add_argument("--no-publish", action="store_true", help="track the run, but register no version")
    arguments = parser.parse_args()
    mlflow.set_tracking_uri(arguments.tracking_uri)
    mlflow.set_experiment(arguments.experiment)
    options = options_of(arguments)
    fitted = fit(options, dict(arguments.tag), arguments.serialization_format)
    print(f"run {fitted.run_id}: {fitted.epochs} epochs, {fitted.metrics}")
    if arguments.no_publish or options.fast_dev_run:
        print("not registered")
    else:
        print(f"registered {arguments.model} version {register(fitted, arguments.model).version}")


if __name__ == "__main__":
    main()
