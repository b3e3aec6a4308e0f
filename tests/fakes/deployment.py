"""What the deployment files say: docker-compose.yml as Compose would resolve it, and the Dockerfile."""

import json
import re
from dataclasses import dataclass
from typing import Any

from tests.fakes.repository import ROOT

OUR_IMAGE = "octoroute-py"


@dataclass(frozen=True)
class Dockerfile:
    """The instructions of the final stage that the tests ask about; `text` is the whole file."""

    text: str
    entrypoint: list[str]
    command: list[str]
    healthcheck: list[str]
    user: str
    exposed: int


@dataclass(frozen=True)
class Service:
    """One service of docker-compose.yml."""

    name: str
    spec: dict[str, Any]
    argv: list[str]
    healthcheck: list[str]

    @property
    def ours(self) -> bool:
        """Whether it runs our image."""
        return bool(self.spec["image"] == OUR_IMAGE)

    @property
    def port(self) -> int:
        """The port its command is told to listen on."""
        return int(self.argv[self.argv.index("--port") + 1])


def with_defaults(text: str) -> str:
    """`text` as Compose reads it when no variable is set: `${NAME:-default}` becomes its default."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def _exec_form(text: str, instruction: str) -> list[str]:
    found = re.findall(rf"^{instruction} (\[.*\])$", text.replace("\\\n", ""), re.MULTILINE)
    words: list[str] = json.loads(found[-1])
    return words


def read_dockerfile() -> Dockerfile:
    text = (ROOT / "Dockerfile").read_text()
    return Dockerfile(
        text=text,
        entrypoint=_exec_form(text, "ENTRYPOINT"),
        command=_exec_form(text, "CMD"),
        healthcheck=_exec_form(text, r"HEALTHCHECK .*CMD"),
        user=re.findall(r"^USER (.+)$", text, re.MULTILINE)[-1],
        exposed=int(re.findall(r"^EXPOSE (\d+)$", text, re.MULTILINE)[-1]),
    )


def read_services(compose: dict[str, Any], *, dockerfile: Dockerfile) -> dict[str, Service]:
    """Every service with the command it really runs: its own, or else the image's."""
    found = {}
    for name, spec in compose["services"].items():
        ours = spec["image"] == OUR_IMAGE
        command = spec.get("command", dockerfile.command if ours else [])
        entrypoint = spec.get("entrypoint", dockerfile.entrypoint if ours else [])
        health = spec.get("healthcheck", {}).get("test", ["CMD"])[1:]
        found[name] = Service(name=name, spec=spec, argv=[*entrypoint, *command], healthcheck=health)
    return found
