//! With a real MLflow server. Needs Python's `mlflow`: the tier `mlflow` installs it and names it.

mod connect;
