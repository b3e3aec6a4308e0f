"""Two listeners, and odd ways to write a path: a management route is where it belongs and asks for its key (P42)."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.client import Answer, Client, chat, get, post
from tests.fakes.gateway import RunningGateway, gateway, rule_config
from tests.fakes.upstream import FakeUpstream
from tests.fakes.waiting import until

KEY = "okr-admin-0123456789abcdef"
BEARER = {"authorization": f"Bearer {KEY}"}
TARGET = "/admin/drain"
"""A route whose answer cannot be mistaken for another's."""
MANAGEMENT = (
    "/admin/drain",
    "/admin/circuit-breaker",
    "/api/resilience/status",
    "/metrics",
    "/openapi.json",
    "/dashboard",
)
MODELS = ("/v1/models", "/models")
SPELLINGS = (
    "/admin/drain",
    "//admin/drain",
    "/admin//drain",
    "/admin%2fdrain",
    "/admin%2Fdrain",
    "/admin%5cdrain",
    "/admin\\drain",
    "/v1/../admin/drain",
    "/v1/%2e%2e/admin/drain",
    "/health/../admin/drain",
    "/health/..;/admin/drain",
    "/./admin/drain",
    "/ADMIN/drain",
    "/Admin/Drain",
    "/admin;/drain",
    "/admin/drain;x=1",
    "/admin/drain/",
    "/admin/drain%00",
    "/admin/drain%20",
    "/%61dmin/drain",
    "/admin/drain?x=/health",
    "/health#/admin/drain",
    "/v1/models/..%2f..%2fadmin%2fdrain",
    "http://gateway/admin/drain",
    "http://x/health/../admin/drain",
)
HOSTS = ("x/health?", "x#", "x/health/..", "x:80/", "user@x", "x, y", "")
OVERRIDES = {
    "x-http-method-override": "POST",
    "x-method-override": "POST",
    "x-original-url": TARGET,
    "x-rewrite-url": TARGET,
    "x-forwarded-prefix": "/admin",
    "x-forwarded-host": "127.0.0.1",
    "x-forwarded-for": "127.0.0.1",
    "forwarded": "for=127.0.0.1;host=localhost",
}
APART = re.compile(r"listen apart.*:([0-9]+)")
TOLD = b'"process"'
"""What only the target says."""


def raw(target: str, *, host: str = "gateway", headers: dict[str, str] | None = None) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    return f"GET {target} HTTP/1.1\r\nhost: {host}\r\n{lines}\r\n".encode("latin-1")


async def said(port: int, request: bytes) -> Answer:
    async with await Client.connect(port) as client:
        return await client.ask(request)


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[tuple[RunningGateway, int]]:
    """A gateway with both listeners, and the port of the second."""
    more = '[health]\nenabled = false\n[admin]\nport = 0\n[[auth.keys]]\nname = "a"\nrole = "admin"\nenv = "K"\n'
    async with FakeUpstream() as upstream:
        urls = [upstream.base_url]
        async with gateway(rule_config(urls, urls, urls, more=more), tmp_path, env={"K": KEY}) as running:

            async def told() -> bool:
                return APART.search(running.log) is not None

            await until(told)
            yield running, int(APART.findall(running.log)[0])


async def test_each_listener_has_its_own_routes_however_they_are_spelled(two: tuple[RunningGateway, int]) -> None:
    running, inside = two
    for path in MANAGEMENT:
        assert (await said(running.port, get(path, headers=BEARER))).status == 404, path
        assert (await said(inside, get(path, headers=BEARER))).status == 200, path
    for path in MODELS:
        assert (await said(running.port, get(path, headers=BEARER))).status == 200, path
        assert (await said(inside, get(path, headers=BEARER))).status == 404, path
    assert (await said(running.port, post(chat(), headers=BEARER))).status == 200
    assert (await said(inside, post(chat(), headers=BEARER))).status == 404
    for path in ("/health", "/health/live", "/health/ready", "/info"):
        for port in (running.port, inside):
            assert (await said(port, get(path))).status == 200, path
    # With the very key that may, no spelling reaches management from the public side.
    for target in SPELLINGS:
        answer = await said(running.port, raw(target, headers=BEARER))
        assert answer.status in (400, 404), target
        assert TOLD not in answer.body
    for host in HOSTS:
        assert (await said(running.port, raw(TARGET, host=host, headers=BEARER))).status in (400, 404), host
        assert (await said(inside, raw("/v1/models", host=host, headers=BEARER))).status in (400, 404), host
    # And none reaches it without a key on its own side.
    for target in SPELLINGS:
        answer = await said(inside, raw(target))
        assert answer.status in (400, 401, 404), target
        assert TOLD not in answer.body
    for host in HOSTS:
        assert (await said(inside, raw(TARGET, host=host))).status in (400, 401), host
    for name, value in OVERRIDES.items():
        assert (await said(inside, raw(TARGET, headers={name: value}))).status == 401, name
        for port in (running.port, inside):
            harmless = await said(port, raw("/health", headers={name: value, **BEARER}))
            assert harmless.status == 200, name
            assert harmless.json["service"] == "octoroute"
            assert TOLD not in harmless.body
    assert (await said(inside, raw(TARGET, headers=BEARER))).json["process"]["drained"] is False
