"""Fills a registry by MLflow's own store: so many models with so many versions each, the alias `champion` on the first of each.

Usage: registry_fill.py FILE MODELS VERSIONS. By REST the same takes several times as long, and the bench is not about it.
"""

import logging
import sys

from mlflow.entities.model_registry import ModelVersionTag
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore


def fill(file: str, models: int, versions: int) -> None:
    store = SqlAlchemyStore(f"sqlite:///{file}")
    for model in range(models):
        name = f"m{model}"
        store.create_registered_model(name)
        for version in range(1, versions + 1):
            image = ModelVersionTag("serving_image", f"registry.example/{name}:{version}")
            store.create_model_version(name, "s3://models/x", tags=[image])
        store.set_registered_model_alias(name, "champion", "1")


if __name__ == "__main__":
    logging.disable(logging.INFO)
    fill(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
