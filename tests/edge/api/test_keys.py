"""/api/keys over the whole application: who may, what is answered, and what becomes of the keys."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from octoroute_py.core.words import Role
from octoroute_py.manage.keys import LONGEST_OVERLAP_S
from tests.fakes import bodies
from tests.fakes.application import Running, httpx_config, running, upstreams
from tests.fakes.keeping import Office

LONG_AGO_S = 1_600_000_000.0
ISO = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
ELSEWHERE = '[server]\nhost = "0.0.0.0"\n'


def config(folder: Path, more: str = "") -> str:
    return httpx_config(f'[storage]\nurl = "sqlite:///{folder / "office.db"}"\n{more}')


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    one = Office(tmp_path)
    one.wall_s = LONG_AGO_S
    yield one
    one.close()


class Desk:
    """An application and the key of its admin."""

    def __init__(self, one: Running, admin: str) -> None:
        self.one = one
        self.admin = {"authorization": f"Bearer {admin}"}

    async def ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """Asks as the admin."""
        return await self.one.client.request(method, path, json=body, headers=self.admin)

    async def issue(self, **fields: Any) -> dict[str, Any]:
        """Issues a key; the answer."""
        answer = await self.ask("POST", "/api/keys", {"name": "bob", **fields})
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def status(self, key: str, path: str = "/v1/models") -> int:
        """What somebody with this key gets."""
        return (await self.one.client.get(path, headers={"x-api-key": key})).status_code


@pytest_asyncio.fixture
async def desk(tmp_path: Path, office: Office) -> AsyncIterator[Desk]:
    admin = await office.issue("root", role=Role.ADMIN)
    async with running(config(tmp_path, ELSEWHERE)) as one:
        yield Desk(one, admin.clear)


async def test_a_key_is_shown_once_and_works_at_once(desk: Desk) -> None:
    answer = await desk.ask("POST", "/api/keys", {"name": "bob"})
    made = answer.json()
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-request-id"]
    clear = made.pop("key")
    assert await desk.status(clear) == 200
    assert ISO.fullmatch(made["createdAt"])
    assert made["createdBy"].startswith("root (key_")
    assert made["secrets"] == [{"last4": clear[-4:], "createdAt": made["createdAt"], "expiresAt": None}]
    for shown in (await desk.ask("GET", f"/api/keys/{made['id']}"), await desk.ask("GET", "/api/keys")):
        assert shown.status_code == 200
        assert clear not in shown.text
    alone = (await desk.ask("GET", f"/api/keys/{made['id']}")).json()
    assert {name: alone[name] for name in made} == made
    assert alone.keys() - made.keys() == {"standing"}


async def test_a_key_tells_what_it_has_spent_and_what_is_left(tmp_path: Path, office: Office) -> None:
    root = {"x-api-key": (await office.issue("root", role=Role.ADMIN)).clear}
    storage = f'[storage]\nurl = "sqlite:///{tmp_path / "office.db"}"\n'
    priced = httpx_config(storage, fast="input_cost_per_mtok = 0\noutput_cost_per_mtok = 1")
    with upstreams() as mock:
        upstream = mock.post("http://fast.test/v1/chat/completions")
        upstream.respond(content=bodies.chat_body("Hi."), headers={"content-type": "application/json"})
        async with running(priced) as one:
            order = {"name": "bob", "budgets": {"daily": 0.001}}
            made = (await one.client.post("/api/keys", json=order, headers=root)).json()
            for _ in range(3):
                sent = await one.chat("fast", headers={"x-api-key": made["key"]}, max_tokens=20)
                assert sent.headers["x-octoroute-cost"] == "0.000005"
            told = (await one.client.get(f"/api/keys/{made['id']}", headers=root)).json()["standing"]
    assert {name: told["daily"][name] for name in ("limit", "spent", "reserved", "remaining")} == {
        "limit": 0.001,
        "spent": 0.000015,
        "reserved": 0,
        "remaining": 0.000985,
    }
    assert told["daily"]["endsAt"].endswith("T00:00:00.000Z")
    assert (told["weekly"]["limit"], told["monthly"]["spent"]) == (None, 0.000015)


async def test_everything_that_was_asked_for_is_told_back(desk: Desk) -> None:
    asked = {
        "name": "bob",
        "role": "operator",
        "workspaces": ["a", "b"],
        "tiers": ["fast", "deep"],
        "endpoints": ["fast-model"],
        "networks": ["10.0.0.0/8"],
        "expiresAt": "2100-01-31T12:00:00.000Z",
        "limits": {"requestsPerMinute": 60, "tokensPerMinute": None, "maxConcurrent": 2},
        "budgets": {"daily": 1.5, "weekly": None, "monthly": 0.000001, "perRequest": 0},
    }
    made = await desk.issue(**asked)
    assert {name: made[name] for name in asked} == asked
    assert (made["status"], made["revokedAt"]) == ("active", None)


WRONG: dict[str, tuple[Any, str | None]] = {
    "no object": ([], None),
    "no name": ({}, "name"),
    "an unknown field": ({"name": "a", "sha256": "00"}, "sha256"),
    "an unknown role": ({"name": "a", "role": "root"}, "role"),
    "an unknown tier": ({"name": "a", "tiers": ["huge"]}, "tiers[0]"),
    "an unknown endpoint": ({"name": "a", "endpoints": ["nothing"]}, "endpoints"),
    "a time without a zone": ({"name": "a", "expiresAt": "2100-01-31T12:00:00"}, "expiresAt"),
    "a time that is over": ({"name": "a", "expiresAt": "2020-01-31T12:00:00Z"}, "expiresAt"),
    "no requests": ({"name": "a", "limits": {"requestsPerMinute": 0}}, "limits.requestsPerMinute"),
    "half a request": ({"name": "a", "limits": {"requestsPerMinute": 0.5}}, "limits.requestsPerMinute"),
    "an unknown limit": ({"name": "a", "limits": {"requestsPerHour": 5}}, "limits.requestsPerHour"),
    "a negative budget": ({"name": "a", "budgets": {"daily": -1}}, "budgets.daily"),
    "an infinite budget": (b'{"name": "a", "budgets": {"daily": 1e999}}', "budgets.daily"),
    "a name of two lines": ({"name": "a\nb"}, "name"),
    "an admin in a workspace": ({"name": "a", "role": "admin", "workspaces": ["w"]}, "workspaces"),
}


@pytest.mark.parametrize("name", WRONG)
async def test_a_wrong_order_is_refused_with_its_field(desk: Desk, name: str) -> None:
    body, field = WRONG[name]
    content = {"content": body} if isinstance(body, bytes) else {"json": body}
    answer = await desk.one.client.post("/api/keys", headers=desk.admin, **content)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request_error"), answer.text
    assert answer.json().get("details", {}).get("field") == field, answer.text
    assert (await desk.ask("GET", "/api/keys")).json()["count"] == 1


async def test_keys_are_listed_page_by_page(desk: Desk) -> None:
    for name in "abc":
        await desk.issue(name=name)
    page = (await desk.ask("GET", "/api/keys?limit=2&offset=1")).json()
    assert (len(page["keys"]), page["count"]) == (2, 4)
    everything = (await desk.ask("GET", "/api/keys")).json()["keys"]
    assert page["keys"] == everything[1:3]
    for query in ("limit=0", "limit=1001", "offset=-1", "name=a", "limit=1&limit=2"):
        assert (await desk.ask("GET", f"/api/keys?{query}")).status_code == 400, query


async def test_a_rotated_key_overlaps_as_long_as_it_is_told(desk: Desk) -> None:
    made = await desk.issue()
    answer = await desk.ask("POST", f"/api/keys/{made['id']}/rotate", {"overlapSeconds": 3600})
    turned = answer.json()
    assert answer.headers["cache-control"] == "no-store"
    assert [each["last4"] for each in turned["secrets"]] == [made["key"][-4:], turned["key"][-4:]]
    ends = datetime.fromisoformat(turned["secrets"][0]["expiresAt"]).timestamp()
    assert ends - datetime.now(UTC).timestamp() == pytest.approx(3600, abs=60)
    assert [await desk.status(each["key"]) for each in (made, turned)] == [200, 200]
    last = (await desk.ask("POST", f"/api/keys/{made['id']}/rotate", {"overlapSeconds": 0})).json()
    assert [await desk.status(each["key"]) for each in (made, turned, last)] == [401, 401, 200]


async def test_without_a_body_the_overlap_is_a_day(desk: Desk) -> None:
    made = await desk.issue()
    answer = await desk.one.client.post(f"/api/keys/{made['id']}/rotate", headers=desk.admin)
    ends = datetime.fromisoformat(answer.json()["secrets"][0]["expiresAt"]).timestamp()
    assert ends - datetime.now(UTC).timestamp() == pytest.approx(86_400, abs=60)


@pytest.mark.parametrize("body", [{"overlapSeconds": -1}, {"overlapSeconds": LONGEST_OVERLAP_S + 1}, {"overlap": 5}])
async def test_a_wrong_overlap_changes_nothing(desk: Desk, body: dict[str, float]) -> None:
    made = await desk.issue()
    assert (await desk.ask("POST", f"/api/keys/{made['id']}/rotate", body)).status_code == 400
    assert len((await desk.ask("GET", f"/api/keys/{made['id']}")).json()["secrets"]) == 1


@pytest.mark.parametrize(("method", "end"), [("DELETE", ""), ("POST", "/revoke")])
async def test_a_revoked_key_is_refused_from_then_on(desk: Desk, method: str, end: str) -> None:
    made = await desk.issue()
    answer = await desk.ask(method, f"/api/keys/{made['id']}{end}")
    assert (answer.status_code, answer.json()["status"]) == (200, "revoked")
    assert await desk.status(made["key"]) == 401
    assert (await desk.ask(method, f"/api/keys/{made['id']}{end}")).json() == answer.json()
    assert (await desk.ask("POST", f"/api/keys/{made['id']}/rotate")).status_code == 409


@pytest.mark.parametrize(("method", "end"), [("GET", ""), ("DELETE", ""), ("POST", "/revoke"), ("POST", "/rotate")])
@pytest.mark.parametrize("id", ["key_0", "%25", "'%20OR%201=1--", "key_%0A", "x" * 4000])
async def test_an_unknown_id_is_not_found(desk: Desk, method: str, end: str, id: str) -> None:
    answer = await desk.ask(method, f"/api/keys/{id}{end}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_rotations_at_the_same_time_all_give_a_key_that_works(desk: Desk) -> None:
    made = await desk.issue()
    answers = await asyncio.gather(
        *(desk.ask("POST", f"/api/keys/{made['id']}/rotate", {"overlapSeconds": 60}) for _ in range(6))
    )
    assert [await desk.status(answer.json()["key"]) for answer in answers] == [200] * 6


async def test_without_storage_it_says_what_to_configure() -> None:
    async with running(httpx_config()) as one:
        for method, path in (("POST", "/api/keys"), ("GET", "/api/keys"), ("GET", "/api/audit")):
            answer = await one.client.request(method, path, json={"name": "a"} if method == "POST" else None)
            assert (answer.status_code, answer.json()["code"]) == (503, "storage_off")
            assert "[storage]" in answer.json()["error"]


async def test_the_audit_is_read_page_by_page_and_holds_no_key(desk: Desk) -> None:
    made = await desk.issue()
    turned = (await desk.ask("POST", f"/api/keys/{made['id']}/rotate", {"overlapSeconds": 5})).json()
    await desk.ask("DELETE", f"/api/keys/{made['id']}")
    first = await desk.ask("GET", "/api/audit?limit=2")
    second = await desk.ask("GET", f"/api/audit?limit=2&before={first.json()['next']}")
    assert second.json()["next"] is None
    entries = first.json()["entries"] + second.json()["entries"]
    assert [each["action"] for each in entries] == ["key.revoke", "key.rotate", "key.create", "key.create"]
    assert entries[1]["details"] == {"overlapSeconds": 5.0, "last4": turned["key"][-4:]}
    assert all(ISO.fullmatch(each["at"]) for each in entries)
    assert {each["actor"].split(" ")[0] for each in entries} == {"root", "ops"}
    for clear in (made["key"], turned["key"]):
        assert clear[4:16] not in first.text + second.text


# who may: the contract's matrix

FORMS: dict[str, Callable[[str], dict[str, str]]] = {
    "bearer": lambda key: {"authorization": f"Bearer {key}"},
    "x-api-key": lambda key: {"x-api-key": key},
    "both": lambda key: {"authorization": f"Bearer {key}", "x-api-key": key},
    "two different": lambda key: {"authorization": f"Bearer {key}", "x-api-key": "okr-another"},
}


async def every_kind(office: Office) -> dict[str, str]:
    """A key in clear of every kind that does not get in, and one that does."""
    expires_at = datetime.fromtimestamp(LONG_AGO_S + 1, UTC)
    revoked = await office.issue("revoked", role=Role.ADMIN)
    await office.keys.revoke(revoked.row.id, actor="ops")
    rotated = await office.issue("rotated", role=Role.ADMIN)
    await office.keys.rotate(rotated.row.id, overlap_s=1, actor="ops")
    ended = await office.issue("ended", role=Role.ADMIN)
    await office.keys.rotate(ended.row.id, overlap_s=0, actor="ops")
    return {
        "bad": "okr-nobody-has-this-key",
        "an injection": "'OR1=1--",
        "expired": (await office.issue("expired", role=Role.ADMIN, expires_at=expires_at)).clear,
        "revoked": revoked.clear,
        "rotated out": rotated.clear,
        "ended by rotation": ended.clear,
        "other role": (await office.issue("viewer", role=Role.VIEWER)).clear,
        "other network": (await office.issue("far", role=Role.ADMIN, networks=("192.0.2.0/24", "2001:db8::/32"))).clear,
        "good": (await office.issue("good", role=Role.ADMIN, networks=("127.0.0.1", "10.0.0.0/8"))).clear,
    }


EXPECTED = {"other role": 403, "other network": 403, "good": 200}


@pytest.mark.parametrize("form", FORMS)
async def test_every_key_that_does_not_count_gets_the_same_answer_in_every_form(
    office: Office, tmp_path: Path, form: str
) -> None:
    clear = await every_kind(office)
    refusals = set()
    async with running(config(tmp_path, ELSEWHERE)) as one:
        for path in ("/api/keys", "/api/audit"):
            assert (await one.client.get(path)).status_code == 401
            for kind, key in clear.items():
                answer = await one.client.get(path, headers=FORMS[form](key))
                wanted = 400 if form == "two different" else EXPECTED.get(kind, 401)
                assert answer.status_code == wanted, (kind, path, answer.text)
                if answer.status_code == 401:
                    answer.headers.pop("x-request-id")
                    refusals.add((answer.text, tuple(answer.headers.items())))
    assert len(refusals) == (0 if form == "two different" else 1)


@pytest.mark.parametrize(
    ("source", "status"),
    [("10.9.8.7", 200), ("::ffff:10.9.8.7", 200), ("11.0.0.1", 403), ("::1", 403), ("fe80::1%eth0", 403), ("?", 403)],
)
async def test_a_key_works_from_its_networks_only(office: Office, tmp_path: Path, source: str, status: int) -> None:
    key = (await every_kind(office))["good"]
    async with running(config(tmp_path, ELSEWHERE)) as one, one.client_at("http://gateway", source=source) as client:
        answer = await client.get("/api/keys", headers={"x-api-key": key})
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["code"] == "permission_denied"


async def test_a_key_that_is_bound_to_workspaces_sees_no_keys_no_audit_and_no_configuration(
    office: Office, tmp_path: Path
) -> None:
    bound = await office.issue("bound", role=Role.OPERATOR, workspaces=("a",))
    free = await office.issue("free", role=Role.OPERATOR)
    async with running(config(tmp_path, ELSEWHERE)) as one:
        for path in ("/api/keys", "/api/audit", "/health/detailed"):
            assert (await one.client.get(path, headers={"x-api-key": bound.clear})).status_code == 403, path
        info = [(await one.client.get("/info", headers={"x-api-key": each.clear})).json() for each in (bound, free)]
    assert ["config" in each for each in info] == [False, True]


async def test_on_loopback_a_table_of_ended_keys_leaves_nothing_open(office: Office, tmp_path: Path) -> None:
    async with running(config(tmp_path)) as one:
        assert (await one.client.get("/api/keys")).status_code == 200
        made = (await one.client.post("/api/keys", json={"name": "first"})).json()
        assert made["createdBy"] == "anonymous"
        assert (await one.client.get("/v1/models")).status_code == 401
        assert (await one.client.get("/api/keys")).status_code == 401
    await office.directories.refresh()
    await office.keys.revoke(made["id"], actor="ops")
    async with running(config(tmp_path)) as one:
        for path in ("/v1/models", "/api/keys", "/health/detailed"):
            assert (await one.client.get(path)).status_code == 401, path


async def test_on_loopback_an_admin_key_alone_leaves_inference_open(office: Office, tmp_path: Path) -> None:
    made = await office.issue("root", role=Role.ADMIN)
    async with running(config(tmp_path)) as one:
        assert (await one.client.get("/v1/models")).status_code == 200
        assert (await one.client.get("/api/keys")).status_code == 401
        assert (await one.client.get("/api/keys", headers={"x-api-key": made.clear})).status_code == 200
