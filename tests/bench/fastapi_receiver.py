"""The contender: a receiver as many are written, FastAPI on uvicorn. It verifies MLflow's signature, stores nothing, and answers 202.

Started by the bench: fastapi_receiver.py SECRET_FILE. Prints the port it listens on.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import pathlib
import socket
import sys
import time

import uvicorn
from fastapi import FastAPI, Request, Response

SECRET = pathlib.Path(sys.argv[1]).read_text().strip().encode()
app = FastAPI()


@app.post("/webhooks/mlflow")
async def receive(request: Request) -> Response:
    body = await request.body()
    delivery = request.headers.get("x-mlflow-delivery-id", "")
    timestamp = request.headers.get("x-mlflow-timestamp", "")
    signature = request.headers.get("x-mlflow-signature", "")
    signed = f"{delivery}.{timestamp}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest()).decode()
    if not hmac.compare_digest(expected, signature) or abs(time.time() - int(timestamp)) > 300:
        return Response(status_code=401)
    json.loads(body)
    return Response(json.dumps({"delivery": delivery}), status_code=202, media_type="application/json")


def main() -> None:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    # Whoever reads the port may connect at once, however long the rest takes to start.
    listener.listen(2048)
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(app, loop="uvloop", http="httptools", access_log=False, log_level="warning")
    uvicorn.Server(config).run(sockets=[listener])


main()
