"""Keys from their issue to their end: what is kept, what is refused, and that the audit knows."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from octoroute_py.core.allowance import Budgets, Grant, Rates
from octoroute_py.core.errors import BadRequest, GatewayError, NotFound, Refused
from octoroute_py.core.words import Role, Tier
from octoroute_py.manage.audit import Audit
from octoroute_py.manage.key_order import KeyOrder, Known, granted
from octoroute_py.manage.key_view import BudgetsView, LimitsView
from octoroute_py.manage.keys import MOST_SECRETS, Keys
from octoroute_py.manage.store import Store
from octoroute_py.storage.audit import AuditRow
from tests.fakes.keeping import KNOWN, NOON_S, Office

DAY_S = 86_400.0


@pytest_asyncio.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    one = Office(tmp_path)
    yield one
    one.close()


async def audited(office: Office) -> list[AuditRow]:
    return await Audit(Store(office.database)).newest(100)


def everything_in(folder: Path) -> bytes:
    """The database as it lies on the disk, what is not yet in its main file included."""
    assert {file.name for file in folder.iterdir()} >= {"office.db", "office.db-wal"}
    return b"".join(file.read_bytes() for file in folder.iterdir())


def works(office: Office, clear: str) -> bool:
    """Whether a key that is presented now would be known."""
    holder = office.directories.current.holders.get(hashlib.sha256(clear.encode()).digest())
    return holder is not None and office.wall_s < holder.ends_s


async def test_a_key_that_was_issued_works_at_once_and_only_its_hash_and_end_are_kept(office: Office) -> None:
    made = await office.issue(role=Role.VIEWER)
    assert made.clear.startswith("okr-")
    assert works(office, made.clear)
    (secret,) = made.row.secrets
    assert secret.sha256 == hashlib.sha256(made.clear.encode()).digest()
    assert secret.last4 == made.clear[-4:]
    assert await office.keys.get(made.row.id) == made.row
    assert made.row.created_by == "ops"


async def test_everything_that_an_order_says_is_granted(office: Office) -> None:
    made = await office.issue(
        workspaces=("a", "b"),
        tiers=(Tier.FAST,),
        endpoints=("small",),
        networks=("10.0.0.0/8", "::ffff:192.0.2.7", "2001:db8::/32"),
        expires_at=datetime.fromtimestamp(NOON_S + DAY_S, UTC),
        limits=LimitsView(requests_per_minute=60, max_concurrent=2),
        budgets=BudgetsView(daily=1.5, per_request=0.000001),
    )
    assert (await office.keys.get(made.row.id)).grant == Grant(
        workspaces=("a", "b"),
        tiers=(Tier.FAST,),
        endpoints=("small",),
        networks=("10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"),
        expires_at_s=NOON_S + DAY_S,
        rates=Rates(requests_per_window=60, max_concurrent=2),
        budgets=Budgets(daily_uusd=1_500_000, per_request_uusd=1),
    )


WRONG: dict[str, tuple[dict[str, object], str]] = {
    "no name": ({"name": ""}, "name"),
    "a long name": ({"name": "x" * 101}, "name"),
    "a name of two lines": ({"name": "a\nlevel=info"}, "name"),
    "a name that colours the terminal": ({"name": "\x1b[31mred"}, "name"),
    "a name that turns the text around": ({"name": "a\u202eb"}, "name"),
    "blanks around a name": ({"name": " a"}, "name"),
    "a name of the configuration": ({"name": "from the file"}, "name"),
    "the name of strangers": ({"name": "anonymous"}, "name"),
    "an admin in a workspace": ({"role": Role.ADMIN, "workspaces": ("a",)}, "workspaces"),
    "no workspace": ({"workspaces": ()}, "workspaces"),
    "a workspace twice": ({"workspaces": ("a", "a")}, "workspaces"),
    "a workspace with a blank": ({"workspaces": ("a b",)}, "workspaces"),
    "too many workspaces": ({"workspaces": tuple(map(str, range(101)))}, "workspaces"),
    "no tier": ({"tiers": ()}, "tiers"),
    "an endpoint that is not there": ({"endpoints": ("small", "large")}, "endpoints"),
    "no network": ({"networks": ("ten",)}, "networks"),
    "a network with bits beyond its prefix": ({"networks": ("10.0.0.1/8",)}, "networks"),
    "an end in the past": ({"expires_at": datetime.fromtimestamp(NOON_S, UTC)}, "expiresAt"),
    "an end that never comes": ({"expires_at": datetime.max.replace(tzinfo=UTC)}, "expiresAt"),
    "a budget that is no number": ({"budgets": BudgetsView(daily=float("nan"))}, "budgets"),
}


@pytest.mark.parametrize("name", WRONG)
async def test_an_order_that_makes_no_sense_is_refused_by_its_field(office: Office, name: str) -> None:
    fields, blamed = WRONG[name]
    with pytest.raises(BadRequest) as caught:
        await office.issue(**{"name": "bob", **fields})  # type: ignore[arg-type]
    assert caught.value.param == blamed
    assert (await office.keys.page(limit=1, offset=0)).total == 0
    assert await audited(office) == []


@settings(max_examples=200)
@given(st.text(max_size=110))
def test_a_name_is_one_line_of_what_can_be_read_or_it_is_refused(name: str) -> None:
    fit = 1 <= len(name) <= 100 and name.isprintable() and not name.startswith(" ") and not name.endswith(" ")
    with contextlib.nullcontext() if fit else pytest.raises(BadRequest, match="printable"):
        granted(KeyOrder(name=name), Known(frozenset(), frozenset()), wall_s=0.0)


@pytest.mark.parametrize("name", ["'; DROP TABLE keys; --", "%_%%", "{{7*7}}", '"""\\n[admin]', "<img src=x>", "Zoë ★"])
async def test_names_are_words_and_nothing_else(office: Office, name: str) -> None:
    made = await office.issue(name)
    await office.issue("other")
    with pytest.raises(BadRequest, match="Another key"):
        await office.issue(name)
    page = await office.keys.page(limit=10, offset=0)
    assert {row.name for row in page.rows} == {name, "other"}
    assert (await office.keys.get(made.row.id)).name == name
    assert (await audited(office))[-1].subject == made.row.id


@pytest.mark.parametrize("id", ["", "%", "key_%", "' OR 1=1--", "x" * 10_000, "\x00", "key_\n"])
async def test_an_id_that_nobody_has_is_not_found_whatever_it_holds(office: Office, id: str) -> None:
    await office.issue()
    for asked in (
        office.keys.get(id),
        office.keys.revoke(id, actor="ops"),
        office.keys.rotate(id, overlap_s=0, actor="ops"),
    ):
        with pytest.raises(NotFound):
            await asked
    assert [row.action for row in await audited(office)] == ["key.create"]


async def test_a_name_is_free_again_once_its_key_is_revoked(office: Office) -> None:
    made = await office.issue("bob")
    with pytest.raises(BadRequest) as caught:
        await office.issue("bob")
    assert (caught.value.status, caught.value.code) == (409, "name_taken")
    await office.keys.revoke(made.row.id, actor="ops")
    again = await office.issue("bob")
    assert again.row.id != made.row.id


async def test_pages_are_newest_first_and_tell_how_many_there_are(office: Office) -> None:
    for number in range(5):
        office.wall_s += 1
        await office.issue(str(number))
    page = await office.keys.page(limit=2, offset=1)
    assert ([row.name for row in page.rows], page.total) == (["3", "2"], 5)
    assert (await office.keys.page(limit=2, offset=5)).rows == []


async def test_a_rotated_key_works_beside_the_new_one_until_the_overlap_ends(office: Office) -> None:
    made = await office.issue()
    turned = await office.keys.rotate(made.row.id, overlap_s=60, actor="ops")
    assert turned.row.id == made.row.id
    assert turned.clear != made.clear
    assert (works(office, made.clear), works(office, turned.clear)) == (True, True)
    office.wall_s += 60
    assert (works(office, made.clear), works(office, turned.clear)) == (False, True)


async def test_without_overlap_the_old_key_ends_now_and_a_clock_set_back_does_not_revive_it(office: Office) -> None:
    made = await office.issue()
    turned = await office.keys.rotate(made.row.id, overlap_s=0, actor="ops")
    office.wall_s -= 3600
    assert (works(office, made.clear), works(office, turned.clear)) == (False, True)
    assert len(turned.row.secrets) == 1


async def test_a_second_rotation_does_not_prolong_what_the_first_one_ends(office: Office) -> None:
    made = await office.issue()
    second = await office.keys.rotate(made.row.id, overlap_s=60, actor="ops")
    third = await office.keys.rotate(made.row.id, overlap_s=600, actor="ops")
    office.wall_s += 60
    assert [works(office, each.clear) for each in (made, second, third)] == [False, True, True]
    last = await office.keys.rotate(made.row.id, overlap_s=0, actor="ops")
    assert [works(office, each.clear) for each in (made, second, third, last)] == [False, False, False, True]


async def test_rotations_at_the_same_time_all_give_a_key_that_works(office: Office) -> None:
    made = await office.issue()
    turned = await asyncio.gather(
        *(office.keys.rotate(made.row.id, overlap_s=60, actor=str(number)) for number in range(8))
    )
    assert len({each.clear for each in turned}) == 8
    assert all(works(office, each.clear) for each in (made, *turned))
    office.wall_s += 60
    assert sum(works(office, each.clear) for each in (made, *turned)) == 1
    assert len(await audited(office)) == 9


async def test_keys_that_overlap_are_few(office: Office) -> None:
    made = await office.issue()
    for _ in range(MOST_SECRETS - 1):
        await office.keys.rotate(made.row.id, overlap_s=60, actor="ops")
    with pytest.raises(BadRequest) as caught:
        await office.keys.rotate(made.row.id, overlap_s=60, actor="ops")
    assert caught.value.status == 409
    assert works(office, made.clear)
    await office.keys.rotate(made.row.id, overlap_s=0, actor="ops")


@pytest.mark.parametrize("overlap_s", [-1, 30 * DAY_S + 1, float("nan")])
async def test_an_overlap_is_up_to_thirty_days(office: Office, overlap_s: float) -> None:
    made = await office.issue()
    with pytest.raises(BadRequest) as caught:
        await office.keys.rotate(made.row.id, overlap_s=overlap_s, actor="ops")
    assert caught.value.param == "overlapSeconds"
    await office.keys.rotate(made.row.id, overlap_s=30 * DAY_S, actor="ops")


async def test_a_revoked_key_ends_with_all_it_is_known_by_and_stays_listed(office: Office) -> None:
    made = await office.issue()
    turned = await office.keys.rotate(made.row.id, overlap_s=60, actor="ops")
    office.wall_s += 1
    row = await office.keys.revoke(made.row.id, actor="ops")
    assert row.revoked_ms == round(office.wall_s * 1000)
    assert (works(office, made.clear), works(office, turned.clear)) == (False, False)
    assert office.directories.current.roles == {Role.INFERENCE}
    assert (await office.keys.page(limit=10, offset=0)).rows == [row]
    office.wall_s += 1
    assert await office.keys.revoke(made.row.id, actor="again") == row
    assert [each.action for each in await audited(office)] == ["key.revoke", "key.rotate", "key.create"]


async def test_keys_that_have_ended_are_not_rotated(office: Office) -> None:
    revoked = await office.issue("a")
    await office.keys.revoke(revoked.row.id, actor="ops")
    expired = await office.issue("b", expires_at=datetime.fromtimestamp(NOON_S + 5, UTC))
    office.wall_s += 5
    for made in (revoked, expired):
        with pytest.raises(BadRequest) as caught:
            await office.keys.rotate(made.row.id, overlap_s=60, actor="ops")
        assert caught.value.status == 409


async def test_the_audit_tells_who_did_what_to_which_key_and_never_a_key(office: Office) -> None:
    made = await office.issue("bob", tiers=(Tier.FAST,))
    turned = await office.keys.rotate(made.row.id, overlap_s=60, actor="eve (key_1)")
    await office.keys.revoke(made.row.id, actor="cli")
    rows = await audited(office)
    assert [(row.actor, row.action, row.subject) for row in rows] == [
        ("cli", "key.revoke", made.row.id),
        ("eve (key_1)", "key.rotate", made.row.id),
        ("ops", "key.create", made.row.id),
    ]
    created = msgspec.json.decode(rows[-1].details)
    assert (created["name"], created["role"], created["grant"]["tiers"]) == ("bob", "inference", ["fast"])
    told = "".join(row.details for row in rows)
    for clear in (made.clear, turned.clear):
        assert not any(clear[at : at + 12] in told for at in range(len(clear) - 11))
        assert hashlib.sha256(clear.encode()).hexdigest() not in told


async def test_no_key_in_clear_is_in_the_database_its_journal_or_the_log(
    office: Office, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    made = await office.issue()
    turned = await office.keys.rotate(made.row.id, overlap_s=60, actor="ops")
    said = capsys.readouterr()
    kept = everything_in(tmp_path) + (said.out + said.err).encode()
    assert made.row.id.encode() in kept
    for clear in (made.clear, turned.clear):
        assert not any(clear[at : at + 12].encode() in kept for at in range(len(clear) - 11))


async def test_every_change_is_seen_by_whoever_holds_a_directory(office: Office, tmp_path: Path) -> None:
    made = await office.issue()
    await office.keys.rotate(made.row.id, overlap_s=0, actor="ops")
    await office.keys.revoke(made.row.id, actor="ops")
    assert [each.directory.version for each in office.seen] == [1, 2, 3]


async def test_without_a_database_it_says_what_to_configure() -> None:
    async def nothing_changes() -> None:
        raise AssertionError

    keys = Keys(Store(None), known=lambda: KNOWN, wall=lambda: NOON_S, changed=nothing_changes)
    for asked in (keys.create(KeyOrder(name="a"), actor="ops"), keys.page(limit=1, offset=0), keys.get("a")):
        with pytest.raises(Refused, match=r"\[storage\]") as caught:
            await asked
        assert (caught.value.status, caught.value.code) == (503, "storage_off")


async def test_a_database_that_fails_is_told_without_its_path_and_nothing_changes(office: Office) -> None:
    made = await office.issue()
    office.database.close()
    with pytest.raises(GatewayError) as caught:
        await office.keys.revoke(made.row.id, actor="ops")
    assert (caught.value.status, caught.value.code) == (503, "storage_unavailable")
    assert str(office.file) not in caught.value.client_message
    assert works(office, made.clear)
