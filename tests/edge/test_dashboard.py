"""The page's door: its files and no other, told never to run anything from elsewhere, and asked for again cheaply."""

import gzip
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from octoroute_py.web.assets import INDEX, read_assets
from tests.edge.test_routes import ALL_KEYS
from tests.fakes.application import Running, httpx_config, running

ASSETS = read_assets()
SCRIPT = "/dashboard/static/js/main.js"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def one() -> AsyncIterator[Running]:
    async with running(httpx_config(ALL_KEYS)) as started:
        yield started


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def plain(one: Running, path: str, **headers: str) -> httpx.Response:
    return await one.client.get(
        path,
        headers={"accept-encoding": "identity", **{name.replace("_", "-"): each for name, each in headers.items()}},
    )


@pytest.mark.parametrize("path", ["/dashboard", "/dashboard/"])
async def test_the_page_needs_no_key_even_where_all_else_does(one: Running, path: str) -> None:
    answer = await plain(one, path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.content == ASSETS[INDEX].body


async def test_every_file_is_served_in_both_forms(one: Running) -> None:
    for name, asset in ASSETS.items():
        path = f"/dashboard/static/{name}"
        whole = await plain(one, path)
        packed = await one.client.get(path, headers={"accept-encoding": "br, gzip;q=0.5"})
        assert whole.content == packed.content == asset.body, name
        assert "content-encoding" not in whole.headers, name
        assert (packed.headers.get("content-encoding") == "gzip") == (asset.gzipped is not None), name
        assert (whole.headers["etag"] == packed.headers["etag"]) == (asset.gzipped is None), name
        assert {whole.headers["vary"], packed.headers["vary"]} == {"accept-encoding"}


@pytest.mark.parametrize("asked", ["identity", "br", "gzip;q=0", "gzip; q=0.000", ""])
async def test_who_cannot_unpack_gets_the_plain_form(one: Running, asked: str) -> None:
    answer = await one.client.get(SCRIPT, headers={"accept-encoding": asked})
    assert "content-encoding" not in answer.headers
    assert answer.content == ASSETS["js/main.js"].body


async def test_who_has_the_same_bytes_is_told_so_and_gets_none(one: Running) -> None:
    first = await plain(one, SCRIPT)
    for known in (first.headers["etag"], f'"x", W/{first.headers["etag"]}', "*"):
        again = await plain(one, SCRIPT, if_none_match=known)
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
        assert "content-security-policy" in again.headers
    assert (await plain(one, SCRIPT, if_none_match='"other"')).status_code == 200
    packed = await one.client.get(SCRIPT, headers={"accept-encoding": "gzip", "if-none-match": first.headers["etag"]})
    assert packed.status_code == 200
    assert gzip.decompress(ASSETS["js/main.js"].gzipped or b"") == packed.content


async def test_a_list_of_versions_without_end_is_refused(one: Running) -> None:
    answer = await plain(one, SCRIPT, if_none_match=", ".join(f'"{n}"' for n in range(100)))
    assert answer.status_code == 400


@pytest.mark.parametrize("path", ["/dashboard", SCRIPT, "/dashboard/static/no-such.js"])
async def test_every_answer_forbids_what_the_page_does_not_need(one: Running, path: str) -> None:
    headers = (await plain(one, path)).headers
    policy = dict(each.split(" ", 1) for each in headers["content-security-policy"].split("; "))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "font-src": "'self'",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-frame-options"] == "DENY"
    assert headers["cross-origin-opener-policy"] == headers["cross-origin-resource-policy"] == "same-origin"
    assert "camera=()" in headers["permissions-policy"]
    assert "set-cookie" not in headers


@pytest.mark.parametrize(
    "path",
    [
        "../assets.py",
        "..%2fassets.py",
        "/etc/passwd",
        "main.js/",
        "",
        "main.js%00",
        "__init__.py",
    ],
)
async def test_no_other_file_is_served(one: Running, path: str) -> None:
    request = one.client.build_request("GET", "/")
    request.url = request.url.copy_with(raw_path=f"/dashboard/static/{path}".encode())
    answer = await one.client.send(request)
    assert answer.status_code in (400, 404)
    assert answer.headers["content-type"] == "application/json"


async def test_asking_for_the_head_alone_sends_the_same_head(one: Running) -> None:
    whole = await plain(one, "/dashboard")
    head = await one.client.head("/dashboard", headers={"accept-encoding": "identity"})
    ours = {name: each for name, each in whole.headers.items() if name != "x-request-id"}
    assert {name: each for name, each in head.headers.items() if name != "x-request-id"} == ours
