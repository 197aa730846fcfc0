"""An object store as a process, for tests in Python: SeaweedFS, which speaks S3. Needs boto3."""

from __future__ import annotations

import json
import pathlib
import shutil
import tempfile

import boto3

from servers import Server

# Who may do everything in it; it stands in no other place than tests.
KEY, SECRET = "of-tests", "only-for-tests"

# Where `weed server` speaks S3.
PORT = 8333


class Store(Server):
    """`weed server`, on every address, so only in a network of its own; its buckets end with its `with` block."""

    def __init__(self, program: pathlib.Path, buckets: list[str]):
        self.buckets = buckets
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="kmlflow-test-"))
        identity = {"name": "tests", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]}
        (self.home / "s3.json").write_text(json.dumps({"identities": [identity]}))
        command = [str(program), "server", f"-dir={self.home}", "-ip=127.0.0.1", "-ip.bind=0.0.0.0", "-filer", "-s3", f"-s3.config={self.home}/s3.json"]
        command += ["-master.volumeSizeLimitMB=64", "-master.volumePreallocate=false"]
        super().__init__(command, f"http://127.0.0.1:{PORT}", "/status", self.home, {"PATH": "/usr/bin:/bin", "HOME": str(self.home)})

    def __enter__(self) -> Store:
        super().__enter__()
        client = boto3.client("s3", endpoint_url=self.url, aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name="us-east-1")
        for bucket in self.buckets:
            client.create_bucket(Bucket=bucket)
        return self

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        shutil.rmtree(self.home, ignore_errors=True)

    def of_mlflow(self) -> dict[str, str]:
        """The variables by which MLflow reaches it."""
        return {"MLFLOW_S3_ENDPOINT_URL": self.url, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1"}

    @staticmethod
    def of_rclone(address: str) -> dict[str, str]:
        """The variables by which a pod reaches it at an address of the node."""
        of = {"TYPE": "s3", "PROVIDER": "Other", "ENDPOINT": f"http://{address}:{PORT}", "ACCESS_KEY_ID": KEY, "SECRET_ACCESS_KEY": SECRET}
        return {f"RCLONE_CONFIG_S3_{name}": value for name, value in of.items()}
