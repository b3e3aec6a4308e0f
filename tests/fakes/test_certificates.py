"""Upstreams over TLS are trusted only with the right certificate."""

import ssl
from pathlib import Path

import httpx
import pytest

from tests.fakes.certificates import Authority
from tests.fakes.upstream import FakeUpstream


async def test_the_good_certificate_is_accepted_by_whoever_trusts_it(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with (
        FakeUpstream(tls=authority.server_context()) as up,
        httpx.AsyncClient(base_url=up.base_url, verify=authority.client_context(), trust_env=False) as client,
    ):
        assert up.base_url.startswith("https://127.0.0.1:")
        assert (await client.post("/chat/completions", json={"model": "m"})).status_code == 200


@pytest.mark.parametrize(
    ("address", "expired", "trusted", "complaint"),
    [
        ("127.0.0.1", False, False, "unable to get local issuer"),
        ("127.0.0.1", True, True, "expired"),
        ("elsewhere.example", False, True, "not valid for '127.0.0.1'"),
    ],
)
async def test_a_bad_certificate_is_refused_before_any_request(
    tmp_path: Path, address: str, expired: bool, trusted: bool, complaint: str
) -> None:
    authority = Authority(tmp_path)
    context = authority.client_context() if trusted else ssl.create_default_context()
    async with (
        FakeUpstream(tls=authority.server_context(address, expired=expired)) as up,
        httpx.AsyncClient(base_url=up.base_url, verify=context, trust_env=False) as client,
    ):
        with pytest.raises(httpx.ConnectError, match=complaint):
            await client.post("/chat/completions", json={"model": "m"})
        assert up.requests == []
