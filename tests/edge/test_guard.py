import re

import pytest
from starlette.types import Receive, Scope, Send

from octoroute_py.admission.auth import Access
from octoroute_py.config.schema import AuthConfig, KeyConfig
from octoroute_py.core.words import Role
from octoroute_py.edge.guard import PRINCIPAL, Guarded, source_of
from octoroute_py.telemetry.metrics import Metrics

KEY = KeyConfig(name="bob", role=Role.VIEWER, sha256="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")


class Door:
    """A gateway whose access rules can be replaced, as a reload does."""

    def __init__(self, *keys: KeyConfig) -> None:
        self.access = Access(AuthConfig(keys=keys), loopback=False, generated=None)
        self.metrics = Metrics()

    def refused(self) -> dict[str, float]:
        """How many were turned away, by reason; reasons without any left out."""
        page = self.metrics.render().decode()
        counted = re.findall(r'octoroute_refused_requests_total{reason="(\w+)"} (\S+)', page)
        return {reason: float(number) for reason, number in counted if float(number)}


class Inside:
    """An application that notes who came in; it has not read the body before that."""

    def __init__(self) -> None:
        self.names: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.names.append(scope[PRINCIPAL].name)


async def nothing_to_read() -> dict[str, object]:
    raise AssertionError("the body is read before the key is known")


async def statuses(guarded: Guarded, *headers: tuple[bytes, bytes]) -> list[int]:
    sent: list[dict[str, int]] = []

    async def send(message: dict[str, int]) -> None:
        sent.append(message)

    scope = {"type": "http", "path": "/v1/models", "headers": list(headers), "client": ("10.0.0.7", 1)}
    await guarded(scope, nothing_to_read, send)  # type: ignore[arg-type]
    return [message["status"] for message in sent if "status" in message]


async def test_only_a_principal_with_the_role_comes_in_and_the_body_is_left_alone() -> None:
    inside, door = Inside(), Door(KEY)
    viewers = Guarded(inside, role=Role.VIEWER, door=door, monotonic=lambda: 0.0)
    admins = Guarded(inside, role=Role.ADMIN, door=door, monotonic=lambda: 0.0)
    assert await statuses(viewers) == [401]
    assert await statuses(viewers, (b"x-api-key", b"nope")) == [401]
    assert await statuses(admins, (b"x-api-key", b"test")) == [403]
    assert await statuses(viewers, (b"x-api-key", b"test")) == []
    assert inside.names == ["bob"]


async def test_an_open_route_lets_everybody_in_and_knows_whom_it_can() -> None:
    inside = Inside()
    guarded = Guarded(inside, role=None, door=Door(KEY), monotonic=lambda: 0.0)
    await statuses(guarded)
    await statuses(guarded, (b"authorization", b"Bearer test"))
    assert inside.names == ["anonymous", "bob"]


async def test_new_access_rules_hold_for_the_next_request() -> None:
    door = Door(KEY)
    guarded = Guarded(Inside(), role=Role.VIEWER, door=door, monotonic=lambda: 0.0)
    assert await statuses(guarded, (b"x-api-key", b"test")) == []
    door.access = Door().access
    assert await statuses(guarded, (b"x-api-key", b"test")) == [401]


async def test_who_is_turned_away_is_counted_by_the_reason() -> None:
    door = Door(KEY)
    viewers = Guarded(Inside(), role=Role.VIEWER, door=door, monotonic=lambda: 0.0)
    admins = Guarded(Inside(), role=Role.ADMIN, door=door, monotonic=lambda: 0.0)
    assert await statuses(viewers, (b"x-api-key", b"test")) == []
    assert await statuses(viewers, (b"x-api-key", b"test"), (b"authorization", b"Bearer other")) == [400]
    assert door.refused() == {}
    assert await statuses(viewers) == [401]
    assert await statuses(admins, (b"x-api-key", b"test")) == [403]
    answered: list[int] = []
    while 429 not in answered:
        answered += await statuses(viewers, (b"x-api-key", b"wrong"))
    assert door.refused() == {
        "invalid_api_key": 1 + answered.count(401),
        "permission_denied": 1,
        "rate_limit_exceeded": 1,
    }


@pytest.mark.parametrize(
    ("client", "source"), [(("10.0.0.7", 4711), "10.0.0.7"), (None, "unknown")], ids=["a socket", "no address"]
)
def test_the_source_is_the_peer_of_the_socket_whatever_headers_say(client: tuple[str, int] | None, source: str) -> None:
    assert source_of({"client": client, "headers": [(b"x-forwarded-for", b"127.0.0.1")]}) == source
