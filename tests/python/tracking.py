"""A real MLflow server as a process, for tests in Python, and the few calls that fill its registry."""

from __future__ import annotations

import base64
import json
import os
import pathlib
import shutil
import sys
import tempfile
import urllib.error
import urllib.request

from servers import Server, free_port

# The administrator of a server with accounts, and the password, which stands in no other place than tests.
ADMIN = ("admin", "a-password-of-tests")

ACCOUNTS = """[mlflow]
default_permission = NO_PERMISSIONS
database_uri = sqlite:///{home}/accounts.db
admin_username = admin
admin_password = a-password-of-tests
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
"""


def basic(name: str, password: str) -> str:
    """The header of somebody with a name and a password."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


class Tracking(Server):
    """`mlflow server` of the Python that runs the test, on a free port, with what webhooks to this machine need."""

    def __init__(self, with_accounts: bool = False, store: tuple[str, dict[str, str]] | None = None):
        """Artifacts lie in a folder, or in a store: its address, and the variables that let MLflow in."""
        self.with_accounts = with_accounts
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="kmlflow-test-"))
        self.artifacts = self.home / "artifacts"
        programs, port = pathlib.Path(sys.executable).parent, free_port()
        variables = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "LC_ALL": "C.UTF-8",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
            "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
            "MLFLOW_WEBHOOK_CACHE_TTL": "0",
            # The key is one that only tests have; MLflow's own default is another one in each of its processes.
            "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": base64.urlsafe_b64encode(b"only for the tests of this repo.").decode(),
        }
        command = [str(programs / "mlflow"), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        destination, let_in = store or (str(self.artifacts), {})
        variables |= let_in
        command += ["--backend-store-uri", f"sqlite:///{self.home}/mlflow.db", "--artifacts-destination", destination]
        if with_accounts:
            settings = self.home / "accounts.ini"
            settings.write_text(ACCOUNTS.format(home=self.home))
            variables |= {"MLFLOW_AUTH_CONFIG_PATH": str(settings), "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN[1], "MLFLOW_FLASK_SERVER_SECRET_KEY": "only-for-tests"}
            command += ["--app-name", "basic-auth"]
        super().__init__(command, f"http://127.0.0.1:{port}", "/health", self.home, variables)

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        shutil.rmtree(self.home, ignore_errors=True)

    def call(self, method: str, path: str, body: object, at: str | None = None) -> tuple[int, dict]:
        """Asks its API as the administrator, directly or at another address; `path` begins after the host."""
        headers = {"Content-Type": "application/json"} | ({"Authorization": basic(*ADMIN)} if self.with_accounts else {})
        request = urllib.request.Request(f"{at or self.url}{path}", data=json.dumps(body).encode(), method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, {"text": error.read().decode(errors="replace")}

    def must(self, path: str, body: object, at: str | None = None) -> dict:
        """Posts to its API and insists that it is done."""
        status, answer = self.call("POST", path, body, at)
        if status != 200:
            raise SystemExit(f"MLflow: {path}: {status} {answer}")
        return answer

    def register(self, model: str, versions: int, at: str | None = None) -> None:
        """Makes a model with so many versions."""
        api = "/ajax-api/2.0/mlflow"
        self.must(f"{api}/registered-models/create", {"name": model}, at)
        for _ in range(versions):
            self.must(f"{api}/model-versions/create", {"name": model, "source": "s3://models/a"}, at)

    def account(self, name: str, permission: str, model: str) -> str:
        """Makes an account that may do so much with a model, and gives its header."""
        password = f"{name}-of-tests-only"
        self.must("/api/2.0/mlflow/users/create", {"username": name, "password": password})
        grant = {"username": name, "resource_type": "registered_model", "resource_id": model, "permission": permission}
        self.must("/api/3.0/mlflow/users/permissions/grant", grant)
        return basic(name, password)
