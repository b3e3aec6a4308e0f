"""Who may use which route: the matrix of contract §7 over the route table as it is."""

import hashlib
import random
from collections.abc import Iterator
from typing import NoReturn

import httpx
import pytest
from starlette.routing import Route

from octoroute_py.config.schema import KeyConfig
from octoroute_py.core.words import Role
from octoroute_py.edge.admin.breakers import BreakerRoutes
from octoroute_py.edge.admin.config import ConfigRoutes
from octoroute_py.edge.admin.drain import DrainRoutes
from octoroute_py.edge.admin.reload import Reload
from octoroute_py.edge.api.route import RouteCalls
from octoroute_py.edge.asgi import BOTH, DIRECT_PATHS, MANAGEMENT_PREFIXES, routes
from octoroute_py.edge.guard import Guarded
from octoroute_py.edge.ops import Operations
from octoroute_py.edge.wire_io import PLAIN_ERRORS
from octoroute_py.gateway.idempotency import Idempotency
from octoroute_py.tiers.endpoint import Endpoint
from octoroute_py.tiers.health import HealthProber
from tests.fakes.application import Running, httpx_config, running

KEYS = {role: f"okr-{role.value}-0123456789abcdef" for role in Role}
KNOWN = {
    ("POST", "/v1/chat/completions"): Role.INFERENCE,
    ("POST", "/v1/completions"): Role.INFERENCE,
    ("POST", "/v1/embeddings"): Role.INFERENCE,
    ("POST", "/v1/responses"): Role.INFERENCE,
    ("POST", "/v1/routing/explain"): Role.INFERENCE,
    ("GET", "/v1/models"): Role.INFERENCE,
    ("GET", "/v1/models/{id:path}"): Role.INFERENCE,
    ("POST", "/chat"): Role.INFERENCE,
    ("GET", "/models"): Role.INFERENCE,
    ("GET", "/health"): None,
    ("GET", "/health/live"): None,
    ("GET", "/health/ready"): None,
    ("GET", "/health/detailed"): Role.VIEWER,
    ("GET", "/metrics"): None,
    ("GET", "/info"): None,
    ("POST", "/admin/reload"): Role.ADMIN,
    ("GET", "/admin/circuit-breaker"): Role.ADMIN,
    ("POST", "/admin/circuit-breaker/reset"): Role.ADMIN,
    ("GET", "/admin/drain"): Role.ADMIN,
    ("POST", "/admin/drain"): Role.ADMIN,
    ("POST", "/admin/undrain"): Role.ADMIN,
    ("GET", "/admin/config"): Role.ADMIN,
    ("PUT", "/admin/config"): Role.ADMIN,
    ("POST", "/api/neural/route"): Role.OPERATOR,
    ("GET", "/openapi.json"): Role.VIEWER,
    ("POST", "/api/route"): Role.INFERENCE,
}
"""The policy as the contract has it. A new route is added here with its role, or the first test fails."""

HERE, ELSEWHERE = 'host = "127.0.0.1"', 'host = "0.0.0.0"'
REFUSED = {401, 403}


def key_tables(*roles: Role) -> str:
    return "".join(
        f'[[auth.keys]]\nname = "{role.value}"\nrole = "{role.value}"\n'
        f'sha256 = "{hashlib.sha256(KEYS[role].encode()).hexdigest()}"\n'
        for role in roles
    )


def table_of(one: Running) -> list[Route]:
    """The routes as the application makes them."""
    gateway = one.application.gateway
    prober = HealthProber(
        lambda: gateway.snapshot.table,
        config_getter=lambda: gateway.config.health,
        probe=never_asked,
        clock=gateway.monotonic,
        rng=random.Random(1),
        on_failure=lambda failure: None,
    )
    memory = Idempotency(gateway.monotonic)
    resources = (
        RouteCalls(gateway, memory, answered=None),
        BreakerRoutes(gateway),
        ConfigRoutes(never_shown, nobody_changes),
        DrainRoutes(gateway),
    )
    reload = Reload(one.application.reload)
    return routes(gateway, Operations(gateway, prober), reload, nobody_asks, resources, memory=memory)


async def nobody_asks(body: bytes) -> NoReturn:
    raise AssertionError(body)


def never_shown() -> NoReturn:
    raise AssertionError


async def nobody_changes(values: object, *, persist: bool, by: object) -> NoReturn:
    raise AssertionError(values)


async def never_asked(endpoint: Endpoint, limit_s: float) -> int:
    raise AssertionError(endpoint.id)


def address(path: str) -> str:
    return path.replace("{id:path}", "auto")


def presented(key: str) -> Iterator[dict[str, str]]:
    """Every way to show one key."""
    yield {"authorization": f"Bearer {key}"}
    yield {"x-api-key": key}
    yield {"authorization": f"Bearer {key}", "x-api-key": key}


async def asked(one: Running, method: str, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
    return await one.client.request(method, address(path), headers=headers, content=b"{}" if method == "POST" else None)


async def status_of_a_wrong_key(one: Running, method: str, path: str, headers: dict[str, str]) -> int:
    """From an address of its own for each path: whoever guesses on and on is told to wait."""
    async with one.client_at("http://gateway", source=f"source of {path}") as client:
        return (await client.request(method, address(path), headers=headers)).status_code


async def test_every_route_is_guarded_by_a_role_that_the_contract_knows() -> None:
    async with running(httpx_config()) as one:
        found = {}
        for route in table_of(one):
            assert isinstance(route.app, Guarded), route.path
            assert route.methods is not None
            for method in route.methods - {"HEAD"}:
                found[method, route.path] = route.app.role
    assert found == KNOWN


async def test_the_short_way_to_a_model_call_is_guarded_too() -> None:
    async with running(httpx_config(ELSEWHERE_CONFIG)) as one:
        for path in DIRECT_PATHS:
            assert (await asked(one, "POST", path)).status_code == 401


ELSEWHERE_CONFIG = f"[server]\n{ELSEWHERE}\n"
ALL_KEYS = key_tables(*Role)


@pytest.mark.parametrize("host", [HERE, ELSEWHERE], ids=["loopback", "elsewhere"])
async def test_with_keys_every_route_asks_for_its_role_in_either_header_wherever_it_listens(host: str) -> None:
    async with running(httpx_config(f"[server]\n{host}\n{ALL_KEYS}")) as one:
        for (method, path), needed in KNOWN.items():
            where = f"{method} {path}"
            strangers = {(await asked(one, method, path)).status_code}
            strangers |= {await status_of_a_wrong_key(one, method, path, each) for each in presented("wrong")}
            assert strangers == {401} if needed is not None else not strangers & REFUSED, where
            for role in Role:
                for headers in presented(KEYS[role]):
                    status = (await asked(one, method, path, headers)).status_code
                    if needed is not None and not role.includes(needed):
                        assert status == 403, (where, role)
                    else:
                        assert status not in REFUSED, (where, role)


async def test_two_different_keys_are_a_bad_request_on_every_route() -> None:
    async with running(httpx_config(ALL_KEYS)) as one:
        for method, path in KNOWN:
            both = {"authorization": f"Bearer {KEYS[Role.ADMIN]}", "x-api-key": KEYS[Role.VIEWER]}
            assert (await asked(one, method, path, both)).status_code == 400, path


@pytest.mark.parametrize(
    ("config", "strangers_may"),
    [
        (f"[server]\n{HERE}\n", {*Role}),
        (f"[server]\n{HERE}\n{key_tables(Role.ADMIN)}", {Role.INFERENCE}),
        (f"[server]\n{HERE}\n{key_tables(Role.ADMIN, Role.INFERENCE)}", set()),
        (f"[server]\n{ELSEWHERE}\n{key_tables(Role.ADMIN)}", set()),
        (f'[server]\n{ELSEWHERE}\n[auth]\nmode = "none"\n', {*Role}),
    ],
    ids=["loopback", "loopback with an admin key", "loopback with keys", "elsewhere", "mode none"],
)
async def test_what_is_open_without_a_key(config: str, strangers_may: set[Role]) -> None:
    async with running(httpx_config(config)) as one:
        for (method, path), needed in KNOWN.items():
            status = (await asked(one, method, path)).status_code
            assert (status not in REFUSED) == (needed is None or needed in strangers_may), (path, status)


async def test_a_first_start_elsewhere_opens_everything_to_the_key_it_made_and_nothing_to_others() -> None:
    made = KeyConfig(name="admin", role=Role.ADMIN, sha256=hashlib.sha256(b"okr-made").hexdigest())
    async with running(httpx_config(ELSEWHERE_CONFIG), generated=made) as one:
        for (method, path), needed in KNOWN.items():
            stranger = await asked(one, method, path)
            assert (stranger.status_code == 401) == (needed is not None), path
            holder = await asked(one, method, path, {"x-api-key": "okr-made"})
            assert holder.status_code not in REFUSED, path


async def test_metrics_can_be_closed_to_strangers() -> None:
    async with running(httpx_config(f"[observability]\nmetrics_auth = true\n{ALL_KEYS}")) as one:
        assert (await asked(one, "GET", "/metrics")).status_code == 401
        assert (await asked(one, "GET", "/metrics", {"x-api-key": KEYS[Role.INFERENCE]})).status_code == 403
        assert (await asked(one, "GET", "/metrics", {"x-api-key": KEYS[Role.VIEWER]})).status_code == 200


async def test_a_refusal_is_an_envelope_with_a_challenge_and_no_hint_at_the_key() -> None:
    async with running(httpx_config(ALL_KEYS)) as one:
        answer = await asked(one, "GET", "/v1/models", {"x-api-key": "okr-guess"})
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["error"]["code"] == "invalid_api_key"
        assert "okr-guess" not in answer.text
        forbidden = await asked(one, "POST", "/admin/reload", {"x-api-key": KEYS[Role.OPERATOR]})
        assert (set(forbidden.json()), forbidden.json()["code"]) == ({"error", "code"}, "permission_denied")


async def test_with_a_second_listener_management_answers_there_and_nothing_else_does() -> None:
    async with (
        running(httpx_config('[admin]\nhost = "127.0.0.1"\nport = 9111\n')) as one,
        one.client_at("http://gateway:9111") as management,
    ):
        for method, path in KNOWN:
            public = await asked(one, method, path)
            inside = await management.request(method, address(path), content=b"{}" if method == "POST" else None)
            if path in BOTH:
                assert (public.status_code, inside.status_code) == (200, 200), path
            elif path.startswith(MANAGEMENT_PREFIXES):
                assert public.status_code == 404 != inside.status_code, path
            else:
                assert public.status_code != 404 == inside.status_code, path


@pytest.mark.parametrize("path", ["/", "/nothing", "/v1", "/v1/chat", "/admin", "/api", "/dashboards", "/Health"])
async def test_an_unknown_path_is_404_in_the_envelope(path: str) -> None:
    async with running(httpx_config()) as one:
        answer = await one.client.get(path)
        assert answer.status_code == 404
        assert answer.json()["error"] == {
            "message": "There is nothing at this path.",
            "type": "invalid_request_error",
            "param": None,
            "code": "not_found",
        }
        assert answer.headers["x-request-id"]


async def test_an_unknown_path_under_api_is_404_in_the_shape_of_the_api() -> None:
    async with running(httpx_config()) as one:
        answer = await one.client.get("/api/nothing")
    assert (answer.status_code, answer.json()) == (
        404,
        {"error": "There is nothing at this path.", "code": "not_found"},
    )


async def test_a_refusal_under_api_is_in_the_shape_of_the_api() -> None:
    async with running(httpx_config(ALL_KEYS)) as one:
        answer = await asked(one, "POST", "/api/neural/route")
    assert answer.status_code == 401
    assert set(answer.json()) == {"error", "code"}
    assert answer.json()["code"] == "invalid_api_key"


async def test_a_known_path_with_another_method_is_405_in_the_envelope() -> None:
    async with running(httpx_config()) as one:
        for method, path in KNOWN:
            answer = await one.client.request("DELETE", address(path))
            error = answer.json() if path.startswith(PLAIN_ERRORS) else answer.json()["error"]
            assert (answer.status_code, error["code"]) == (405, "method_not_allowed"), path
            # of a path with several methods the router names those it has with the first
            known = {each for each, where in KNOWN if where == path}
            assert known & {*answer.headers["allow"].split(", ")}, (method, path)


@pytest.mark.parametrize("path", ["/v1//models", "/v1/%2fmodels", "/health/%2e%2e/info"])
async def test_odd_spellings_of_a_path_are_refused(path: str) -> None:
    async with running(httpx_config()) as one:
        request = one.client.build_request("GET", "/")
        request.url = request.url.copy_with(raw_path=path.encode())
        assert (await one.client.send(request)).status_code == 400


async def test_cors_is_off_unless_an_origin_is_configured() -> None:
    preflight = {"origin": "http://app.test", "access-control-request-method": "POST"}
    async with running(httpx_config()) as one:
        answer = await one.client.options("/v1/chat/completions", headers=preflight)
        assert "access-control-allow-origin" not in answer.headers
    async with running(httpx_config('[cors]\norigins = ["http://app.test"]\n')) as one:
        answer = await one.client.options("/v1/chat/completions", headers=preflight)
        assert answer.headers["access-control-allow-origin"] == "http://app.test"
        other = await one.client.get("/health", headers={"origin": "http://evil.test"})
        assert "access-control-allow-origin" not in other.headers
