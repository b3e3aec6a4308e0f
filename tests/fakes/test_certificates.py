"""Upstreams over TLS are trusted only with the right certificate."""

import ssl
from pathlib import Path

import httpx
import pytest

from tests.fakes.certificates import make_certificate
from tests.fakes.upstream import FakeUpstream


async def test_the_good_certificate_is_accepted_by_whoever_trusts_it(tmp_path: Path) -> None:
    made = make_certificate(tmp_path)
    trusting = ssl.create_default_context(cafile=str(made.file))
    async with (
        FakeUpstream(tls=made.server) as up,
        httpx.AsyncClient(base_url=up.base_url, verify=trusting, trust_env=False) as client,
    ):
        assert up.base_url.startswith("https://127.0.0.1:")
        assert (await client.post("/chat/completions", json={"model": "m"})).status_code == 200


@pytest.mark.parametrize(
    ("address", "expired", "trusted", "complaint"),
    [
        ("127.0.0.1", False, False, "self-signed"),
        ("127.0.0.1", True, True, "expired"),
        ("elsewhere.example", False, True, "not valid for '127.0.0.1'"),
    ],
)
async def test_a_bad_certificate_is_refused_before_any_request(
    tmp_path: Path, address: str, expired: bool, trusted: bool, complaint: str
) -> None:
    made = make_certificate(tmp_path, address=address, expired=expired)
    context = ssl.create_default_context(cafile=str(made.file) if trusted else None)
    async with (
        FakeUpstream(tls=made.server) as up,
        httpx.AsyncClient(base_url=up.base_url, verify=context, trust_env=False) as client,
    ):
        with pytest.raises(httpx.ConnectError, match=complaint):
            await client.post("/chat/completions", json={"model": "m"})
        assert up.requests == []
