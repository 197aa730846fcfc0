"""`pipeline.py submit`: the SDK's client sends the pipeline that `compile` writes to what KF_PIPELINES_ENDPOINT names, and tells how it ended."""

from __future__ import annotations

from scene import Scene
from servers import PipelinesStandIn


def check_submission(scene: Scene) -> None:
    """Asked as from a notebook of the platform, where the address is a variable."""
    checks = scene.checks
    how = {"python": "pipeline"}
    scene.fails("pipeline.py: no Kubeflow Pipelines is said", "no Kubeflow Pipelines to submit to", "pipeline.py", "submit", **how)
    with PipelinesStandIn("SUCCEEDED") as kubeflow:
        text = scene.must("pipeline.py", "submit", "--layers", "8", "--experiment", "sent", more={"KF_PIPELINES_ENDPOINT": kubeflow.url}, **how)
    checks.holds("pipeline.py: the end is told", "the run run-1 has succeeded" in text, text)
    checks.equal("pipeline.py: its experiment", kubeflow.experiments, ["sent"])
    [run] = kubeflow.submitted
    checks.equal("pipeline.py: what is submitted", run["pipeline_spec"]["pipelineInfo"]["name"], "fit-evaluate-register")
    checks.equal("pipeline.py: with its arguments", (run["runtime_config"]["parameters"]["layers"], run["runtime_config"]["parameters"]["tracking_uri"]), ("8", scene.mlflow))
    with PipelinesStandIn("FAILED") as kubeflow:
        scene.fails("pipeline.py: a failure is told", "the run run-1 has failed", "pipeline.py", "submit", more={"KF_PIPELINES_ENDPOINT": kubeflow.url}, **how)
