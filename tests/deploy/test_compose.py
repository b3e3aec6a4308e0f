"""docker-compose.yml, the Dockerfile and what they name fit together, and each of our services runs as they say."""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import jsonschema
import pytest
import yaml

from tests.fakes.deployment import Dockerfile, Service, read_dockerfile, read_services, with_defaults
from tests.fakes.repository import ROOT

STATE = "/var/lib/octoroute"


@pytest.fixture(scope="module")
def compose_text() -> str:
    return (ROOT / "docker-compose.yml").read_text()


@pytest.fixture(scope="module")
def compose(compose_text: str) -> dict[str, Any]:
    resolved: dict[str, Any] = yaml.safe_load(with_defaults(compose_text))
    return resolved


@pytest.fixture(scope="module")
def dockerfile() -> Dockerfile:
    return read_dockerfile()


@pytest.fixture(scope="module")
def services(compose: dict[str, Any], dockerfile: Dockerfile) -> dict[str, Service]:
    return read_services(compose, dockerfile=dockerfile)


def bind_mounts(service: Service) -> dict[str, str]:
    """Host path to container path of every bind mount."""
    mounts = [entry.split(":") for entry in service.spec.get("volumes", [])]
    return {parts[0]: parts[1] for parts in mounts if parts[0].startswith((".", "/"))}


def needed_env_files(service: Service) -> list[str]:
    """Every `env_file` without which the service does not start."""
    return [entry["path"] for entry in service.spec.get("env_file", []) if entry.get("required", True)]


def named_volumes(service: Service) -> dict[str, str]:
    """Volume name to container path of every named volume."""
    mounts = [entry.split(":") for entry in service.spec.get("volumes", [])]
    return {parts[0]: parts[1] for parts in mounts if not parts[0].startswith((".", "/"))}


def simulators(services: dict[str, Service]) -> dict[str, Service]:
    return {name: service for name, service in services.items() if "demo" in service.spec.get("profiles", [])}


def test_the_compose_file_fits_the_compose_specification(compose: dict[str, Any]) -> None:
    schema = json.loads((ROOT / "tests/deploy/compose_spec/compose-spec.json").read_text())
    errors = jsonschema.Draft202012Validator(schema).iter_errors(compose)
    assert [f"{error.json_path}: {error.message}" for error in errors] == []


def test_every_file_named_exists(services: dict[str, Service], dockerfile: Dockerfile) -> None:
    named = [host for service in services.values() for host in (*bind_mounts(service), *needed_env_files(service))]
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile.text, re.MULTILINE)
    named += [path for line in copies for path in line.split()]
    assert len(named) > 5
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_build_context_holds_every_file_that_is_copied(dockerfile: Dockerfile) -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile.text, re.MULTILINE)
    assert {path for line in copies for path in line.split()} == kept


def test_variables_used_and_variables_documented_are_the_same(compose_text: str, compose: dict[str, Any]) -> None:
    used = set(re.findall(r"\$\{?(\w+)", compose_text))
    for service in compose["services"].values():
        used |= {name for name, value in service.get("environment", {}).items() if value is None}
    documented = re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert used == set(documented)


def test_every_variable_of_the_compose_file_has_a_default(compose_text: str) -> None:
    assert set(re.findall(r"\$\{?(\w+)", compose_text)) == set(re.findall(r"\$\{(\w+):-[^}]+\}", compose_text))


def test_documented_defaults_are_the_real_ones(compose_text: str) -> None:
    real = dict(re.findall(r"\$\{(\w+):-([^}]+)\}", compose_text))
    documented = dict(re.findall(r"^#(\w+)=(.+)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert documented == real


def test_published_ports_are_the_ones_listened_on(services: dict[str, Service], dockerfile: Dockerfile) -> None:
    gateway = services["gateway"]
    assert gateway.port == dockerfile.exposed == 3000
    assert gateway.spec["ports"] == ["127.0.0.1:3000:3000"]
    assert services["prometheus"].spec["ports"] == ["127.0.0.1:9090:9090"]


def test_the_config_names_the_simulators_where_they_listen(services: dict[str, Service]) -> None:
    config = tomllib.loads((ROOT / "deploy/compose.toml").read_text())
    named = {}
    for tier, endpoints in config["models"].items():
        assert [endpoint["location"] for endpoint in endpoints] == ["local"]
        named[tier] = endpoints[0]["base_url"]
    listening = {}
    for name, service in simulators(services).items():
        tier = service.argv[service.argv.index("--tier") + 1]
        listening[tier] = f"http://{name}:{service.port}/v1"
    assert named == listening
    assert list(named) == ["fast", "balanced", "deep"]
    assert config["routing"] == {"strategy": "rule", "default_tier": "balanced"}


def test_prometheus_scrapes_services_where_they_listen(services: dict[str, Service]) -> None:
    config = yaml.safe_load((ROOT / "deploy/prometheus.yml").read_text())
    assert set(config) == {"global", "rule_files", "scrape_configs"}
    assert all(re.fullmatch(r"\d+(ms|s|m)", value) for value in config["global"].values())
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    assert len(jobs) == len(config["scrape_configs"])
    assert all(set(job) <= {"job_name", "metrics_path", "static_configs"} for job in jobs.values())
    assert jobs["octoroute"]["static_configs"] == [{"targets": [f"gateway:{services['gateway'].port}"]}]
    assert jobs["octoroute"]["metrics_path"] == "/metrics"
    prometheus = services["prometheus"]
    [rules] = config["rule_files"]
    told = Path(bind_mounts(prometheus)["./deploy/prometheus.yml"])
    assert bind_mounts(prometheus)[f"./deploy/{rules}"] == str(told.with_name(rules))
    assert f"--config.file={bind_mounts(prometheus)['./deploy/prometheus.yml']}" in prometheus.argv
    beside = str(Path(bind_mounts(prometheus)["./deploy/prometheus.yml"]).parent)
    mounted = {f"{beside}/{name}" for name in config["rule_files"]}
    assert mounted <= set(bind_mounts(prometheus).values())
    assert f"--storage.tsdb.path={named_volumes(prometheus)['prometheus-data']}" in prometheus.argv
    assert re.fullmatch(r"prom/prometheus:v\d+\.\d+\.\d+", prometheus.spec["image"])


def test_every_container_is_confined(services: dict[str, Service], dockerfile: Dockerfile) -> None:
    for service in services.values():
        spec = service.spec
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", spec["user"]), service.name
        assert not service.ours or spec["user"] == dockerfile.user
        assert spec["read_only"] is True
        assert spec["tmpfs"] == ["/tmp"]
        assert spec["cap_drop"] == ["ALL"]
        assert spec["security_opt"] == ["no-new-privileges:true"]
        assert spec["restart"] == "unless-stopped"


def test_the_gateway_keeps_its_state_and_may_not_change_its_config(services: dict[str, Service]) -> None:
    gateway = services["gateway"]
    assert gateway.argv[gateway.argv.index("-c") + 1] == f"{STATE}/config.toml"
    assert named_volumes(gateway) == {"octoroute-state": STATE}
    assert f"./deploy/compose.toml:{STATE}/config.toml:ro" in gateway.spec["volumes"]


def test_upstream_credentials_have_a_file_that_is_never_committed(services: dict[str, Service]) -> None:
    assert services["gateway"].spec["env_file"] == [{"path": "./gateway.env", "required": False}]
    assert "gateway.env" in (ROOT / ".gitignore").read_text().splitlines()


def test_the_gateway_reaches_model_servers_on_the_docker_host(services: dict[str, Service]) -> None:
    assert services["gateway"].spec["extra_hosts"] == ["host.docker.internal:host-gateway"]


def test_the_gateway_may_drain_before_it_is_killed(services: dict[str, Service]) -> None:
    assert services["gateway"].spec["stop_grace_period"] == "75s"


def test_image_and_compose_check_health_alike(services: dict[str, Service], dockerfile: Dockerfile) -> None:
    assert services["gateway"].healthcheck == dockerfile.healthcheck
    assert "/health/live" in dockerfile.healthcheck[-1]


def outside(argv: list[str], *, folder: Path) -> list[str]:
    """A container's command line for this machine: our interpreter, a folder of ours, any free port."""
    programs = {"octoroute": [sys.executable, "-m", "octoroute_py"], "python": [sys.executable]}
    words = [word.replace(STATE, str(folder)) for word in argv[1:]]
    if "--port" in words:
        words[words.index("--port") + 1] = "0"
    return [*programs[argv[0]], *words]


@contextmanager
def running(service: Service, *, folder: Path) -> Iterator[tuple[int, str]]:
    """The service outside a container: its port and what it printed until it was ready; stopped by SIGTERM."""
    process = subprocess.Popen(
        outside(service.argv, folder=folder), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    try:
        printed = ""
        for line in process.stdout:
            printed += line
            if found := re.search(r"http://[^\s/]+:(\d+)", line):
                yield int(found[1]), printed
                break
        else:
            raise AssertionError(f"{service.name} ended before it listened:\n{printed}")
    finally:
        process.terminate()
        process.communicate(timeout=20)
    assert process.returncode == 0, service.name


def ask(port: int, *, key: str) -> str:
    """What the gateway answers to a chat request."""
    response = httpx.post(
        f"http://127.0.0.1:{port}/v1/chat/completions",
        json={"model": "auto", "messages": [{"role": "user", "content": "hello"}]},
        headers={"authorization": f"Bearer {key}"},
        trust_env=False,
    )
    assert response.status_code == 200, response.text
    content: str = response.json()["choices"][0]["message"]["content"]
    return content


def test_our_services_run_as_named_and_answer_a_chat(services: dict[str, Service], tmp_path: Path) -> None:
    config = (ROOT / "deploy/compose.toml").read_text()
    with ExitStack() as stack:
        ports = {}
        for name, service in simulators(services).items():
            ports[name], _ = stack.enter_context(running(service, folder=tmp_path))
            config = config.replace(f"http://{name}:{service.port}/", f"http://127.0.0.1:{ports[name]}/")
        assert not any(urlsplit(url).hostname in ports for url in re.findall(r'"(http\S+)"', config))
        (tmp_path / "config.toml").write_text(config)
        gateway = services["gateway"]
        ports["gateway"], printed = stack.enter_context(running(gateway, folder=tmp_path))

        key = re.search(r"admin key: (okr-\S+)", printed)
        assert key, f"off loopback the first start shows an admin key; it printed:\n{printed}"
        assert ask(ports["gateway"], key=key[1])

        for name, port in ports.items():
            check = [word.replace(f":{services[name].port}/", f":{port}/") for word in services[name].healthcheck]
            result = subprocess.run(outside(check, folder=tmp_path), capture_output=True, text=True, timeout=20)
            assert result.returncode == 0, f"{name}: {result.stderr}"
