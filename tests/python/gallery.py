"""One release per strategy, each in several states, and some whose names try to break out: what the other checks look at."""

from __future__ import annotations

import dataclasses

from service import Service

IMAGE = "registry.example/{model}:{version}"


@dataclasses.dataclass
class Asked:
    """What was asked of one release; the checks look for it in the repository."""

    name: str
    model: str
    strategy: str
    stable: str
    second: str | None = None
    more: dict = dataclasses.field(default_factory=dict)
    serving: dict = dataclasses.field(default_factory=dict)

    @property
    def path(self) -> str:
        return f"production/models/{self.name}"

    def image(self, version: str) -> str:
        return IMAGE.format(model=self.name, version=version)

    def body(self, version: str) -> dict:
        return {"model": self.model, "version": version, "image": self.image(version)}

    def bodies(self) -> list[dict]:
        """What is put, one after the other."""
        first = self.body(self.stable) | ({"serving": self.serving} if self.serving else {})
        return [first] + ([self.body(self.second) | {"strategy": self.strategy} | self.more] if self.second else [])


SERVING = {
    "replicas": 2,
    "timeout": "7s",
    "docsPath": "/docs",
    "resources": {"requests": {"cpu": "250m", "memory": "300Mi"}, "limits": {"memory": "700Mi"}},
    "env": [
        {"name": "THREADS", "value": "4"},
        {"name": "NOTE", "value": "a: b # c {{ d }} 'e' \"f\""},
        # Texts that YAML 1.1 would read as something else where they stood without quotes.
        {"name": "ON", "value": "yes"},
        {"name": "GROUPED", "value": "1_000"},
        {"name": "CLOCK", "value": "190:20"},
    ],
}

GALLERY = [
    Asked("single", "single", "single", "3", serving=SERVING),
    Asked("canary", "canary", "canary", "7", "8", {"steps": [{"weight": 10, "pause": "10m"}, {"weight": 40}], "requestedBy": "ada@example.com"}, SERVING),
    Asked("arms", "arms", "ab", "1", "2", {"weights": {"a": 70, "b": 30}, "match": [{"header": "x-group", "value": "beta", "variant": "b"}]}),
    Asked("colours", "colours", "blue-green", "4", "5", {"scaleDownDelay": "45m"}),
    Asked("shadowed", "shadowed", "shadow", "11", "12", {"percent": 20}),
    # Names and texts that are data everywhere and code nowhere.
    Asked("quoted", "it's \"quoted\" {{ 7*7 }} ${x} \\", "canary", "1", "2", {"steps": [5], "requestedBy": "e\"ve' }} {{ x }}"}),
    Asked("yamlish", "yes, [no, &a *a !!x # |", "single", "1"),
    Asked("unicode", "größe-模型", "single", "9"),
    # Names that YAML 1.1 would read as something else.
    Asked("boolean", "yes", "canary", "1", "2", {"steps": [5], "requestedBy": "off"}),
    Asked("grouped", "1_000", "single", "1"),
    Asked("minutes", "190_20", "single", "1"),
    Asked("dated", "2026-11-27", "single", "2026"),
    Asked("default-key", "=", "single", "1", serving=SERVING),
]


def make(service: Service) -> None:
    """Makes them all through the API."""
    for asked in GALLERY:
        for body in asked.bodies():
            service.must("PUT", f"/releases/{asked.path}", body)
