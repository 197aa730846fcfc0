"""Asks a service everything that its OpenAPI document describes, and holds every answer, and every body that it took, against what is declared for it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import urllib.error
import urllib.request

from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import OpenAPIV31SpecValidator

from gallery import GALLERY, make
from service import Checks, Service

API = "/api/v1"
RELEASE = "/releases/{environment}/{namespace}/{name}"


class Contract:
    """The document, and every answer held against it."""

    def __init__(self, service: Service, checks: Checks) -> None:
        self.service, self.checks = service, checks
        self.document = json.loads(urllib.request.urlopen(f"{service.url}/api/openapi.json", timeout=60).read())
        self.asked: set[tuple[str, str]] = set()

    def ask(self, method: str, path: str, expected: int, *, body: object = None, query: str = "", headers: dict[str, str] | None = None, token: str | None = None, **names: object) -> dict:
        """Asks what the document calls `path` and checks status, headers, media type and body."""
        template = path if path.startswith("/webhooks") else API + path
        url = self.service.url + template.format(**names) + query
        sent = {"Authorization": f"Bearer {token or self.service.token}", "Content-Type": "application/json"} | (headers or {})
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data=data, method=method, headers=sent)
        try:
            answer = urllib.request.urlopen(request, timeout=60)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            status, media, text = answer.status, answer.headers.get_content_type(), answer.read()
            found = {name.lower() for name in answer.headers}
        what = f"{method} {template}{query} {names or ''}"
        self.checks.equal(f"{what}: status", status, expected)
        self.asked.add((method.lower(), template))
        operation = self.document["paths"][template][method.lower()]
        declared = operation["responses"].get(str(status)) or operation["responses"].get(f"{status // 100}XX")
        if declared is None:
            self.checks.holds(f"{what}: {status} is declared", False, str(list(operation["responses"])))
            return {}
        if status < 300 and isinstance(body, (dict, list)):
            taken = operation["requestBody"]["content"]["application/json"]["schema"]
            self.checks.holds(f"{what}: what was taken is declared", *self.fits(taken, body))
        known = {p["name"].lower() for p in operation.get("parameters", []) if p["in"] == "header"}
        self.checks.holds(f"{what}: its headers are declared", {h.lower() for h in headers or {}} - known <= SIGNATURE, str(known))
        for name in ("etag", "location"):
            if name in found:
                self.checks.holds(f"{what}: {name} is declared", name in {h.lower() for h in declared.get("headers", {})}, str(declared))
        if not text:
            self.checks.holds(f"{what}: declared without a body", "content" not in declared, str(declared))
            return {}
        value = json.loads(text)
        self.checks.holds(f"{what}: media type", media in declared.get("content", {}), f"{media} for {declared}")
        schema = declared.get("content", {}).get(media, {}).get("schema", {})
        self.checks.holds(f"{what}: body", *self.fits(schema, value))
        return value

    def fits(self, schema: dict, value: object) -> tuple[bool, str]:
        """Whether a value is what a schema says, and what about it is not."""
        validator = Draft202012Validator(schema | {"components": self.document["components"]}, format_checker=FormatChecker())
        errors = [inner for error in validator.iter_errors(value) for inner in [error, *(error.context or [])]]
        return not errors, "; ".join(f"{e.json_path}: {e.message[-300:]}" for e in errors[:6])


GITHUB = {"x-github-delivery", "x-github-event", "x-hub-signature-256"}
SIGNATURE = {"webhook-id", "webhook-timestamp", "webhook-signature", "x-mlflow-delivery-id", "x-mlflow-timestamp", "x-mlflow-signature"} | GITHUB


def place(name: str) -> dict[str, object]:
    return {"environment": "production", "namespace": "models", "name": name}


def read_all(contract: Contract) -> None:
    ask = contract.ask
    ask("GET", "/releases", 200)
    ask("GET", "/releases", 200, query="?limit=2")
    taken = contract.document["paths"][API + RELEASE]["put"]["requestBody"]["content"]["application/json"]["schema"]
    for asked in GALLERY:
        for body in asked.bodies():
            contract.checks.holds(f"{asked.name}: what was taken is declared", *contract.fits(taken, body))
        found = ask("GET", RELEASE, 200, **place(asked.name))
        ask("PUT", RELEASE, 200, body=found, **place(asked.name))
        for part in ("history", "manifests", "diff", "events"):
            ask("GET", f"{RELEASE}/{part}", 200, **place(asked.name))
        # No cluster is watched here.
        ask("GET", f"{RELEASE}/logs", 409, **place(asked.name))
    for path in ("/environments", "/hold", "/deliveries", "/tokens", "/audit"):
        ask("GET", path, 200)


def change_all(contract: Contract) -> None:
    ask = contract.ask
    body = {"model": "fresh", "version": "1", "image": "registry.example/fresh:1"}
    fresh = place("fresh")
    preview = ask("PUT", RELEASE, 200, body=body, query="?dryRun=true", **fresh)
    contract.checks.holds("a preview has a diff", "diff" in preview, str(list(preview)))
    ask("PUT", RELEASE, 201, body=body, headers={"If-None-Match": "*", "Idempotency-Key": "one"}, **fresh)
    ask("PUT", RELEASE, 200, body=body | {"version": 2, "image": "registry.example/fresh:2", "requestedBy": "ci"}, **fresh)
    ask("POST", f"{RELEASE}/rollback", 200, body={"to": 1, "requestedBy": "ci"}, **fresh)
    ask("POST", f"{RELEASE}/rollback", 409, **fresh)
    ask("PUT", RELEASE, 412, body=body, headers={"If-None-Match": "*"}, **fresh)
    ask("PUT", RELEASE, 412, body=body, headers={"If-Match": '"0"'}, **fresh)
    ask("PUT", RELEASE, 400, body={"colour": 1}, **fresh)
    ask("PUT", RELEASE, 422, body=body | {"version": "latest"}, **fresh)
    ask("PUT", RELEASE, 404, body=body, **(fresh | {"environment": "nowhere"}))
    ask("PUT", RELEASE, 401, body=body, token="nobody", **fresh)
    tag = ask("GET", RELEASE, 200, **fresh)["etag"]
    ask("GET", RELEASE, 304, headers={"If-None-Match": f'"{tag}"'}, **fresh)
    for act in ("advance", "pause", "resume", "promote"):
        ask("POST", f"{RELEASE}/{act}", 200, **place("canary"))
    ask("POST", f"{RELEASE}/advance", 409, **place("canary"))
    ask("POST", f"{RELEASE}/weights", 200, body={"weights": {"a": 40, "b": 60}}, **place("arms"))
    ask("POST", f"{RELEASE}/abort", 200, **place("shadowed"))
    ask("POST", f"{RELEASE}/rollback", 200, **place("canary"))
    ask("DELETE", RELEASE, 200, **fresh)
    ask("GET", RELEASE, 404, **fresh)
    ask("POST", "/hold", 200, body={"reason": "a check"})
    ask("GET", "/hold", 200)
    ask("PUT", RELEASE, 202, body=body, **place("later"))
    ask("DELETE", "/hold", 200)
    ask("POST", "/rerender", 200, body={"all": True, "dryRun": True})
    ask("POST", "/rerender", 200, body={"all": True}, query="?dryRun=true")
    ask("POST", "/rerender", 400, body={"all": True}, query="?dryrun=true")
    for method in ("GET", "POST"):
        # There is no tracking server here, and the answer says so.
        ask(method, "/sweep", 409)
    ask("POST", "/policies/test", 200, body={"model": "fresh", "aliases": {"champion": "1"}})
    predictor = {"name": "main", "graph": {"name": "model", "type": "MODEL"}}
    by_hand = {
        "apiVersion": "machinelearning.seldon.io/v1",
        "kind": "SeldonDeployment",
        "metadata": {"name": "wine", "namespace": "models"},
        "spec": {"predictors": [predictor]},
    }
    ask("POST", "/import", 200, body={"environment": "production", "namespace": "models", "objects": [by_hand]})
    made = ask("POST", "/tokens", 201, body={"role": "viewer", "expires": "1d", "scopes": ["production/models/*"]})
    ask("POST", "/tokens", 403, body={"role": "viewer"}, token=made["token"])
    ask("DELETE", "/tokens/{id}", 204, id=made["id"])
    ask("DELETE", "/tokens/{id}", 404, id=made["id"])


def deliver(contract: Contract) -> None:
    secret = base64.b64decode((contract.service.data / "secrets/generic").read_text().strip().removeprefix("whsec_"))
    body = json.dumps({"name": "fresh", "namespace": "models", "environment": "production", "model": "fresh", "version": "3", "image": "registry.example/fresh:3"}).encode()
    at = str(int(time.time()))
    proof = base64.b64encode(hmac.new(secret, b"check-1." + at.encode() + b"." + body, hashlib.sha256).digest()).decode()
    headers = {"webhook-id": "check-1", "webhook-timestamp": at, "webhook-signature": f"v1,{proof}"}
    contract.ask("POST", "/webhooks/{source}", 202, body=body, headers=headers, source="generic")
    contract.ask("POST", "/webhooks/{source}", 401, body=body, source="generic")
    key = (contract.service.data / "secrets/github").read_bytes().strip()
    ping = json.dumps({"zen": "Design for failure."}).encode()
    proof = f"sha256={hmac.new(key, ping, hashlib.sha256).hexdigest()}"
    of_github = {"x-github-delivery": "check-2", "x-github-event": "ping", "x-hub-signature-256": proof}
    contract.ask("POST", "/webhooks/{source}", 200, body=ping, headers=of_github, source="github")
    contract.ask("GET", "/deliveries/{id}", 200, id="check-1")
    contract.ask("GET", "/deliveries/{id}", 404, id="nobody")
    contract.ask("POST", "/deliveries/{id}/redeliver", 202, id="check-1")
    exhibit = {"headers": headers, "body": body.decode()}
    contract.ask("POST", "/doctor/webhook", 200, body=exhibit)


def main() -> None:
    checks = Checks()
    with Service() as service:
        contract = Contract(service, checks)
        errors = list(OpenAPIV31SpecValidator(contract.document).iter_errors())
        checks.holds("the document is valid", not errors, "; ".join(str(error.message)[:300] for error in errors[:5]))
        make(service)
        change_all(contract)
        deliver(contract)
        read_all(contract)
        described = {(method, path) for path, item in contract.document["paths"].items() for method in item}
        # A stream has no end to hold against a schema.
        left = described - contract.asked - {("get", f"{API}/events")}
        checks.holds("everything described was asked", not left, str(sorted(left)))
    checks.end()


main()
