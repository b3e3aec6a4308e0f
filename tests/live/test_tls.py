"""https at the door: how old a TLS may be, who may connect, who a client is by its certificate, and renewing ours."""

import asyncio
import contextlib
import signal
import socket
import ssl
import warnings
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.fakes.certificates import Authority
from tests.fakes.gateway import RunningGateway, gateway, rule_config
from tests.fakes.upstream import FakeUpstream
from tests.fakes.waiting import until

KEY = "okr-admin-0123456789abcdef"
CHAT = {"model": "fast", "messages": [{"role": "user", "content": "Hi"}]}
CLIENTS = """
[[auth.clients]]
subject = "ci.example"
role = "inference"
[[auth.clients]]
subject = "spiffe://example/ops"
role = "admin"
"""
REFUSED = (httpx.TransportError, ssl.SSLError)


def config_of(upstream: FakeUpstream, more: str = "") -> str:
    urls = [upstream.base_url]
    tls = '[server.tls]\ncert_file = "server.pem"\nkey_file = "server.pem"\n'
    return rule_config(urls, urls, urls, more=f"[health]\nenabled = false\n{tls}{more}")


@contextlib.asynccontextmanager
async def client_of(running: RunningGateway, context: ssl.SSLContext) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=running.url, verify=context, trust_env=False) as client:
        yield client


def handshake(port: int, context: ssl.SSLContext) -> tuple[str | None, bytes]:
    """The protocol of a connection, and the server's certificate."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as wrapped,
    ):
        return wrapped.version(), wrapped.getpeercert(binary_form=True) or b""


def only(authority: Authority, version: ssl.TLSVersion) -> ssl.SSLContext:
    context = authority.client_context()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    if version < ssl.TLSVersion.TLSv1_2:
        context.set_ciphers("ALL:@SECLEVEL=0")  # or our own side would not even offer it
    return context


async def test_tls_below_1_2_is_refused_and_a_renewed_certificate_is_taken_at_a_reload(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.issue("server", common="127.0.0.1", names=("127.0.0.1",))
    async with FakeUpstream() as upstream, gateway(config_of(upstream), tmp_path) as running:
        assert running.url.startswith("https://")
        for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
            with pytest.raises(ssl.SSLError, match=r"EOF occurred|protocol version"):
                await asyncio.to_thread(handshake, running.port, only(authority, version))
        for version, name in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
            told, _ = await asyncio.to_thread(handshake, running.port, only(authority, version))
            assert told == name
        async with client_of(running, authority.client_context()) as kept:
            assert (await kept.post("/v1/chat/completions", json=CHAT)).status_code == 200
            _, old = await asyncio.to_thread(handshake, running.port, authority.client_context())
            good = authority.issue("server", common="127.0.0.1", names=("127.0.0.1",)).read_bytes()
            running.signal(signal.SIGHUP)
            await until(lambda: reloads(running, 1))
            _, new = await asyncio.to_thread(handshake, running.port, authority.client_context())
            assert new != old
            (tmp_path / "server.pem").write_bytes(good[: len(good) // 3])
            running.signal(signal.SIGHUP)
            await until(lambda: refusals(running, 1))
            _, still = await asyncio.to_thread(handshake, running.port, authority.client_context())
            assert still == new
            # The connection from before all this goes on.
            assert (await kept.post("/v1/chat/completions", json=CHAT)).status_code == 200


async def reloads(running: RunningGateway, times: int) -> bool:
    return running.log.count("configuration reloaded") == times


async def requests(running: RunningGateway, times: int) -> bool:
    return sum(" request " in line for line in running.log.splitlines()) == times


async def refusals(running: RunningGateway, times: int) -> bool:
    return running.log.count("not reloaded") == times


async def test_nobody_connects_without_a_good_certificate_and_it_says_who_they_are(tmp_path: Path) -> None:
    authority, foreign = Authority(tmp_path), Authority(tmp_path, "another authority")
    authority.issue("server", common="127.0.0.1", names=("127.0.0.1",))
    more = (
        f'client_ca_file = "{authority.ca_file.name}"\n{CLIENTS}[[auth.keys]]\nname = "a"\nrole = "admin"\nenv = "K"\n'
    )
    cards = {
        "nothing": None,
        "foreign": foreign.issue("foreign", common="ci.example"),
        "expired": authority.issue("expired", common="ci.example", expired=True),
        "unknown": authority.issue("unknown", common="somebody.example"),
        "ci": authority.issue("ci", common="Builds", names=("ci.example",)),
        "ops": authority.issue("ops", common="Operations", names=("spiffe://example/ops",)),
    }
    async with (
        FakeUpstream() as upstream,
        gateway(config_of(upstream, more), tmp_path, env={"K": KEY}) as running,
    ):
        for name in ("nothing", "foreign", "expired"):
            async with client_of(running, authority.client_context(cards[name])) as client:
                with pytest.raises(REFUSED):
                    await client.get("/health")
        statuses = {}
        for name in ("unknown", "ci", "ops"):
            async with client_of(running, authority.client_context(cards[name])) as client:
                chat = await client.post("/v1/chat/completions", json=CHAT)
                # OpenAI's clients always send some key.
                odd = await client.post("/v1/chat/completions", json=CHAT, headers={"authorization": "Bearer unused"})
                breakers = await client.get("/admin/circuit-breaker")
                keyed = await client.get("/admin/circuit-breaker", headers={"authorization": f"Bearer {KEY}"})
                you = (await client.get("/info")).json()["you"]
                page = await client.post("/v1/chat/completions", json=CHAT, headers={"origin": "https://evil.example"})
                statuses[name] = [each.status_code for each in (chat, odd, breakers, keyed, page)], you["name"]
        assert statuses == {
            "unknown": ([401, 401, 401, 200, 401], "anonymous"),
            "ci": ([200, 200, 403, 200, 403], "ci.example"),
            "ops": ([200, 200, 200, 200, 403], "spiffe://example/ops"),
        }
        assert len(upstream.requests) == 4
        await until(lambda: requests(running, 4))
        lines = [line for line in running.log.splitlines() if " request " in line]
        assert {field for line in lines for field in line.split() if field.startswith("key=")} == {
            "key=ci.example",
            "key=spiffe://example/ops",
        }
