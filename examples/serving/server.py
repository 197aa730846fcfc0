"""Serves one MLflow model by the Open Inference Protocol (V2).

What a reader learns: everything that a serving image must do to work in a release, and no more. The contract stands in README.md.

    MODEL_URI=models:/wine/1 uvicorn server:app --port 9000
"""

from __future__ import annotations

import asyncio
import os
import pathlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from mlflow.exceptions import MlflowException
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest, start_http_server
from pydantic import BaseModel

# A directory, or any URI that MLflow loads (`models:/wine/1` needs MLFLOW_TRACKING_URI); an image brings the directory along.
MODEL_URI = os.environ.get("MODEL_URI", str(pathlib.Path(__file__).parent / "model"))

# Seldon's pods have a port `metrics`, 6000, that is scraped at /prometheus; 0: only /metrics on the port of the model.
METRICS_PORT = int(os.environ.get("METRICS_PORT", "6000"))

# The protocol's names of types: https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
TYPES = {"BOOL": np.bool_, "FP32": np.float32, "FP64": np.float64, "BYTES": np.object_}
TYPES |= {f"{sign}INT{bits}": np.dtype(f"{sign}int{bits}".lower()).type for sign in ("", "U") for bits in (8, 16, 32, 64)}
NAMES = {np.dtype(of): name for name, of in TYPES.items()}

LOAD_TIME = Gauge("model_load_time_seconds", "Time that loading the model took.")
ANSWERS = Counter("model_infer_answers", "Answers by HTTP status.", ["code"])
DURATION = Histogram("model_infer_duration_seconds", "Time to answer one request.")


class Tensor(BaseModel):
    """A named array; `data` may be nested or flat, row by row."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any]


class InferenceRequest(BaseModel):
    inputs: list[Tensor]
    id: str | None = None
    parameters: dict[str, Any] | None = None


class InferenceAnswer(BaseModel):
    model_name: str
    id: str | None = None
    outputs: list[Tensor]


def load() -> mlflow.pyfunc.PyFuncModel:
    began = time.perf_counter()
    model = mlflow.pyfunc.load_model(MODEL_URI)
    LOAD_TIME.set(time.perf_counter() - began)
    return model


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Loads beside the server, so that a large model does not fail the liveness probe while it loads."""
    app.state.loading = asyncio.create_task(asyncio.to_thread(load))
    if METRICS_PORT:
        start_http_server(METRICS_PORT)
    yield


app = FastAPI(title="Model server", description=f"Serves `{MODEL_URI}` by the Open Inference Protocol.", lifespan=lifespan)


@app.middleware("http")
async def measure(request: Request, call_next) -> Response:
    if not request.url.path.endswith("/infer"):
        return await call_next(request)
    with DURATION.time():
        answer = await call_next(request)
    ANSWERS.labels(answer.status_code).inc()
    return answer


@app.exception_handler(HTTPException)
@app.exception_handler(RequestValidationError)
async def explain(_: Request, error: HTTPException | RequestValidationError) -> JSONResponse:
    """Errors are `{"error": "…"}`, and a body that is no request is 400."""
    if isinstance(error, HTTPException):
        return JSONResponse({"error": error.detail}, error.status_code)
    return JSONResponse({"error": "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())}, 400)


def ready_model() -> mlflow.pyfunc.PyFuncModel:
    """The model, or 503 while it is not there."""
    loading = app.state.loading
    if not loading.done():
        raise HTTPException(503, f"`{MODEL_URI}` is being loaded")
    if loading.exception():
        raise HTTPException(503, f"`{MODEL_URI}` cannot be loaded: {loading.exception()}")
    return loading.result()


@app.get("/v2/health/live")
def live() -> dict[str, bool]:
    """Fails where waiting does not help, so that the pod is started anew."""
    loading = app.state.loading
    if loading.done() and loading.exception():
        raise HTTPException(500, f"`{MODEL_URI}` cannot be loaded: {loading.exception()}")
    return {"live": True}


@app.get("/v2/health/ready")
@app.get("/v2/models/{name}/ready")
def ready(name: str | None = None) -> dict[str, bool]:
    """The readiness probe; a caller is sent here only once this is 200."""
    ready_model()
    return {"ready": True}


@app.get("/v2/models/{name}")
def metadata(name: str) -> dict[str, Any]:
    """What goes in and comes out, from the model's signature."""
    schema = ready_model().metadata.get_input_schema()
    return {"name": name, "platform": "mlflow", "inputs": schema.to_dict() if schema else []}


def frame_of(model: mlflow.pyfunc.PyFuncModel, tensors: list[Tensor]) -> pd.DataFrame | np.ndarray:
    """One tensor per column of the signature, or one tensor with all of them."""
    arrays: dict[str, np.ndarray] = {}
    for tensor in tensors:
        if tensor.datatype not in TYPES:
            raise ValueError(f"datatype `{tensor.datatype}` of `{tensor.name}` is none of {', '.join(TYPES)}")
        arrays[tensor.name] = np.array(tensor.data, dtype=TYPES[tensor.datatype]).reshape(tensor.shape)
    schema = model.metadata.get_input_schema()
    columns = schema.input_names() if schema and schema.has_input_names() else []
    if len(arrays) == 1 and len(columns) != 1:
        rows = next(iter(arrays.values()))
        if columns and rows.shape[1:] != (len(columns),):
            raise ValueError(f"one tensor must have the shape [rows, {len(columns)}]; else give one tensor per column: {', '.join(columns)}")
        return pd.DataFrame(rows, columns=columns) if columns else rows
    return pd.DataFrame({name: rows.reshape(-1) for name, rows in arrays.items()})


@app.post("/v2/models/{name}/infer", response_model_exclude_none=True)
def infer(name: str, request: InferenceRequest) -> InferenceAnswer:
    """Answers for every name: the one in the path is the release's, and the image holds one model."""
    model = ready_model()
    try:
        answer = np.asarray(model.predict(frame_of(model, request.inputs)))
    except (MlflowException, ValueError) as error:
        raise HTTPException(400, str(error)) from error
    datatype = NAMES.get(answer.dtype, "BYTES")
    tensor = Tensor(name="output-1", shape=list(answer.shape), datatype=datatype, data=answer.reshape(-1).tolist())
    return InferenceAnswer(model_name=name, id=request.id, outputs=[tensor])


@app.get("/metrics")
def metrics() -> Response:
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
