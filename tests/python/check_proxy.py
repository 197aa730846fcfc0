"""MLflow through the service: what is not the index page comes through as it is, and the index page where it is not what is expected too."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import http.server
import os
import threading
import urllib.request

from service import Checks, Service
from tracking import Tracking

# Large enough that nobody holds it by chance.
ARTIFACT_MIB = 48

PAGE = b"<!doctype html><html><body>a page without a head</body></html>"


class Odd(http.server.BaseHTTPRequestHandler):
    """A server whose index page is never what is expected; `/?case` says how."""

    def do_GET(self) -> None:
        case = self.path.partition("?")[2]
        body, headers = PAGE, {"Content-Type": "text/html", "ETag": '"1"'}
        if case == "compressed":
            body, headers = gzip.compress(b"<html></head>"), headers | {"Content-Encoding": "gzip"}
        if case == "not-modified":
            body = b""
        # Before the answer: one without a body is whole to its reader at once.
        self.server.bodies[case] = body
        self.send_response(304 if case == "not-modified" else 200)
        for name, value in (headers | ({"Content-Length": str(len(body))} if body else {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def get(url: str, path: str, headers: dict[str, str] | None = None) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    connection.request("GET", path, headers=headers or {})
    answer = connection.getresponse()
    return answer, answer.read()


def main() -> None:
    checks = Checks()
    with Tracking() as tracking, Service(variables={"KMLFLOW__MLFLOW__TRACKING_URI": tracking.url}) as service:
        real(checks, tracking, service)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Odd) as server:
        server.bodies = {}
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with Service(variables={"KMLFLOW__MLFLOW__TRACKING_URI": f"http://127.0.0.1:{server.server_port}"}) as service:
            odd(checks, server, service)
        server.shutdown()
    checks.end()


def real(checks: Checks, tracking: Tracking, service: Service) -> None:
    direct, page = get(tracking.url, "/")
    through, with_line = get(service.url, "/mlflow/", {"Accept-Encoding": "gzip", "If-None-Match": direct.headers["etag"]})
    line = b'<script defer src="_kmlflow/button.js"></script>'
    checks.equal("the index page is MLflow's with one more line", with_line.replace(line, b""), page)
    checks.equal("the line is there once", with_line.count(line), 1)
    checks.equal("nobody keeps it", (through.status, through.headers["cache-control"], through.headers["etag"]), (200, "no-store", None))
    script = page.split(b'src="')[1].split(b'"')[0].decode()
    checks.equal("a script of MLflow is the same", get(service.url, f"/mlflow/{script}")[1], get(tracking.url, f"/{script}")[1])
    unknown, _ = get(service.url, "/mlflow/", {"Host": "evil.example"})
    checks.equal("another host name is refused", unknown.status, 403)
    redirect, _ = get(service.url, "/mlflow")
    checks.equal("the mount leads to its page", (redirect.status, redirect.headers["location"]), (308, "mlflow/"))

    artifact = os.urandom(1024 * 1024) * ARTIFACT_MIB
    path = "/mlflow/api/2.0/mlflow-artifacts/artifacts/large/file.bin"
    put = urllib.request.Request(f"{service.url}{path}", data=artifact, method="PUT", headers={"Content-Type": "application/octet-stream"})
    with urllib.request.urlopen(put, timeout=120) as answer:
        checks.equal("an artifact goes up", answer.status, 200)
    stored = next((tracking.home / "artifacts").rglob("file.bin"))
    checks.equal("whole", hashlib.sha256(stored.read_bytes()).hexdigest(), hashlib.sha256(artifact).hexdigest())
    _, down = get(service.url, path)
    checks.holds("and comes down whole", down == artifact)
    part, some = get(service.url, f"/mlflow/{script}", {"Range": "bytes=10-19"})
    checks.holds("a part of a file is as MLflow gives it", part.status in (200, 206) and some == get(tracking.url, f"/{script}", {"Range": "bytes=10-19"})[1])


def odd(checks: Checks, server: http.server.ThreadingHTTPServer, service: Service) -> None:
    for case, status in (("without-head", 200), ("compressed", 200), ("not-modified", 304)):
        answer, body = get(service.url, f"/mlflow/?{case}")
        checks.equal(f"{case}: the page is as it came", (answer.status, body, answer.headers["etag"]), (status, server.bodies[case], '"1"'))
    with urllib.request.urlopen(f"{service.url}/metrics") as answer:
        metrics = answer.read().decode()
    for case in ("without-head", "compressed", "not-modified"):
        checks.holds(f"{case}: it is counted", f'kmlflow_mlflow_pages_total{{outcome="{case}"}} 1' in metrics)


main()
