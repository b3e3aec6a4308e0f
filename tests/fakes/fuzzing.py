"""Schemathesis against the API's own description: examples of every operation, and whether each answer is as told.

    found = fuzz(document, ask, examples=200)

`ask` sends a request and gives its answer. Before each operation the documents of SEEDS are there, so that part of the
examples names what exists.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

import httpx
import hypothesis
import msgspec
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

UPSTREAM: Final = "http://127.0.0.1:9/v1"
"""Where the seeds' models answer: nobody does."""
BASE: Final = "http://gateway"
CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
REFUSED_BY_DESIGN: Final = {502, 503, 504}
"""Statuses from 500 on that an operation may have: somebody else failed, or will be there again. No other is."""

Json = dict[str, Any]
Operation: TypeAlias = APIOperation[Any, Any, Any, Any]
Case: TypeAlias = schemathesis.Case[Operation]


class Asked(NamedTuple):
    """A request as it goes out."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


Ask = Callable[[Asked], httpx.Response]

MODELS: Final = ("fuzz-model", "fuzz-other")
_ARMS: Final = [{"name": "one", "tier": "fast"}, {"name": "two", "modelId": "fuzz-other"}]
SEEDS: Final[tuple[tuple[str, str, Json], ...]] = (
    *(
        (
            "POST",
            "/api/models",
            {"id": id_, "name": id_, "provider": "custom", "status": status}
            | {"endpoints": [{"id": f"{id_}-1", "url": UPSTREAM}]},
        )
        for id_, status in zip(MODELS, ("active", "canary"), strict=True)
    ),
    (
        "PATCH",
        "/api/models/batch/status",
        {"updates": [{"modelId": "fuzz-model", "status": "active"}, {"modelId": "fuzz-other", "status": "canary"}]},
    ),
    ("POST", "/api/routing/rules", {"id": "fuzz-rule", "name": "rule", "targets": [{"modelId": "fuzz-model"}]}),
    ("PUT", "/api/agents/fuzz-agent/preferences", {"preferredModels": ["fuzz-model"]}),
    (
        "POST",
        "/api/canary/deployments",
        {"id": "fuzz-canary", "name": "canary", "productionModelId": "fuzz-model", "canaryModelId": "fuzz-other"},
    ),
    ("POST", "/api/experiments", {"id": "fuzz-experiment", "name": "experiment", "arms": _ARMS}),
    ("POST", "/api/workspaces/fuzz-space/config", {"budgetLimits": {"daily": 5}}),
    (
        "POST",
        "/api/route",
        {
            "id": "fuzz-request",
            "agentType": "fuzz-agent",
            "workspaceId": "fuzz-space",
            "userId": "u",
            "prompt": "Hi",
            "parameters": {"model": "fast"},
            "metadata": {},
        },
    ),
    ("POST", "/api/feedback", {"requestId": "fuzz-request", "rating": 4}),
)
_ONE_CANARY: Final = "/api/canary/deployments/{id}"
CLEARED: Final = (
    ("POST", "/api/canary/deployments/fuzz-canary/rollback"),
    ("DELETE", "/api/canary/deployments/fuzz-canary"),
    ("POST", "/api/experiments/fuzz-experiment/stop"),
    ("DELETE", "/api/experiments/fuzz-experiment"),
    ("DELETE", "/api/models/fuzz-other"),
)
"""What is done before, so that nothing goes on from where the operation before left it."""
_IDS: Final[Mapping[str, tuple[str, ...]]] = {
    "/api/models/": ("fuzz-model", "fuzz-other", "fast-model"),
    "/api/routing/rules/": ("fuzz-rule",),
    "/api/agents/": ("fuzz-agent",),
    "/api/canary/": ("fuzz-canary",),
    "/api/experiments/": ("fuzz-experiment",),
    "/api/workspaces/": ("fuzz-space",),
    "/api/analytics/workspaces/": ("fuzz-space",),
    "/api/feedback/": ("fuzz-request",),
    "/api/decisions/": ("fuzz-request",),
}
_NAMED: Final[Mapping[str, tuple[str, ...]]] = {
    "modelId": (*MODELS, "fast"),
    "productionModelId": ("fuzz-model",),
    "canaryModelId": ("fuzz-other",),
    "preferredModels": MODELS,
    "fallbackModels": MODELS,
    "url": (UPSTREAM,),
    "healthCheckUrl": (UPSTREAM,),
    "requestId": ("fuzz-request",),
    "model": ("fast", "auto"),
    "prompt": ("Hi", "Why does this function fail?"),
}
"""Members of bodies that name something: most examples name what is there."""


class Tried(NamedTuple):
    """What came of one operation; `failures` has each kind of failure once."""

    operation: str
    cases: int
    statuses: Mapping[int, int]
    failures: tuple[str, ...]


def fuzz(document: Json, ask: Ask, *, examples: int, seed: int | None = None, only: str = "") -> Iterator[Tried]:
    """Every operation with so many examples; without a seed they are the same ones every time.

    But for those whose answer never ends: nobody here would hear of it.
    """
    keyless = {name: part for name, part in document.items() if name != "security"}  # whoever asks has a key
    schema = schemathesis.openapi.from_dict(keyless)
    results = list(schema.get_all_operations())
    operations = [result.ok() for result in results if isinstance(result, Ok)]
    assert len(operations) == len(results)
    operations.sort(key=lambda operation: operation.label)
    for number, operation in enumerate(operations):
        if only not in operation.label or operation.label in endless(document):
            continue
        yield _tried(operation, ask, examples=examples, seed=None if seed is None else seed + number)


def endless(document: Json) -> set[str]:
    """The operations that answer with a stream of events, as `GET /path`."""
    return {
        f"{method.upper()} {path}"
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if "text/event-stream" in operation["responses"].get("200", {}).get("content", {})
    }


def _tried(operation: Operation, ask: Ask, *, examples: int, seed: int | None) -> Tried:
    begun = operation.path.startswith(_ONE_CANARY) and not operation.path.endswith("/start")
    keys = plant(ask, begun=begun)
    statuses: Counter[int] = Counter()
    failures: dict[str, str] = {}

    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        derandomize=seed is None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(_cases(operation, keys))
    def one(case: Case) -> None:
        if statuses.total() % _AGAIN == _AGAIN - 1:
            plant(ask, begun=begun)
        sent = _prepared(case)
        answer = ask(sent)
        statuses[answer.status_code] += 1
        for kind, told in _wrong(case, answer):
            failures.setdefault(kind, f"{kind}: {told}\n  {sent.method} {sent.url} {sent.body[:2000]!r}")

    (one if seed is None else hypothesis.seed(seed)(one))()
    return Tried(operation.label, statuses.total(), dict(sorted(statuses.items())), tuple(failures.values()))


def _prepared(case: Case) -> Asked:
    request = requests.Request(**_kept(case.as_transport_kwargs(BASE))).prepare()
    body = request.body or b""
    assert isinstance(body, (bytes, str))
    headers = {
        name: value if isinstance(value, str) else value.decode("latin-1") for name, value in request.headers.items()
    }
    return Asked(request.method or "", request.url or "", headers, body if isinstance(body, bytes) else body.encode())


def _wrong(case: Case, answer: httpx.Response) -> Iterator[tuple[str, str]]:
    """What an answer has that it should not have, by kind."""
    checks = [
        check for check in CHECKS if check is not not_a_server_error or answer.status_code not in REFUSED_BY_DESIGN
    ]
    try:
        case.validate_response(answer, checks=checks)
    except FailureGroup as group:
        for failure in group.exceptions:
            yield f"{type(failure).__name__} {answer.status_code}", f"{failure} {answer.text[:1000]}"
    except Failure as failure:
        yield f"{type(failure).__name__} {answer.status_code}", f"{failure} {answer.text[:1000]}"


@st.composite
def _cases(draw: st.DrawFn, operation: Operation, keys: tuple[str, ...]) -> Case:
    """A good or a wrong call, mostly of what is there."""
    wrong = draw(st.integers(0, 7)) > _MOSTLY and (operation.body or operation.query or operation.headers)
    mode = GenerationMode.NEGATIVE if wrong else GenerationMode.POSITIVE
    case: Case = draw(operation.as_strategy(generation_mode=mode))
    if operation.path_parameters and draw(st.integers(0, 7)) <= _MOSTLY:
        case.path_parameters = {
            parameter.name: draw(st.sampled_from(_values(operation.path, parameter.name, keys)))
            for parameter in operation.path_parameters
        }
    if isinstance(case.body, (dict, list)) and not wrong:
        case.body = _known(draw, case.body)
    return case


def _known(draw: st.DrawFn, value: Any) -> Any:
    """The body with names of what is there in the place of most drawn ones, and whole numbers without a point."""
    if isinstance(value, list):
        return [_known(draw, each) for each in value]
    if isinstance(value, dict):
        return {name: _named(draw, name, each) for name, each in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT else value


def _named(draw: st.DrawFn, name: str, value: Any) -> Any:
    if name not in _NAMED or value is None or draw(st.integers(0, 7)) == _SELDOM:
        return _known(draw, value)
    names = st.sampled_from(_NAMED[name])
    return draw(st.lists(names, max_size=3)) if isinstance(value, list) else draw(names)


def _values(path: str, name: str, keys: tuple[str, ...]) -> tuple[str, ...]:
    if name == "endpoint":
        return tuple(f"{model}-1" for model in MODELS)
    if path.startswith("/api/keys/"):
        return keys
    return next(values for prefix, values in _IDS.items() if path.startswith(prefix))


def plant(ask: Ask, *, begun: bool) -> tuple[str, ...]:
    """Have the documents of SEEDS there as new ones, and keys; the ids of the keys. `begun`: the canary has a share."""
    for method, path in CLEARED:
        _send(ask, method, path, None)
    for method, path, body in SEEDS:
        _send(ask, method, path, body)
    if begun:
        _send(ask, "POST", "/api/canary/deployments/fuzz-canary/start", None)
    _send(ask, "POST", "/api/keys", {"name": f"fuzz-{next(_COUNT)}"})
    page = msgspec.json.decode(_send(ask, "GET", "/api/keys?limit=1000", None).content)
    return tuple(key["id"] for key in page["keys"][-5:])


_EXACT: Final = 2**53
_MOSTLY, _SELDOM = 5, 7  # of 0 to 7
_AGAIN: Final = 10
_COUNT: Final = itertools.count()


def _send(ask: Ask, method: str, path: str, body: Json | None) -> httpx.Response:
    content = b"" if body is None else msgspec.json.encode(body)
    answer = ask(Asked(method, f"{BASE}{path}", {"content-type": "application/json"}, content))
    assert answer.status_code not in (401, 403, 500), (method, path, answer.text)
    return answer


def _kept(arguments: Json) -> Json:
    """What a request has of what would be given to a session."""
    names = ("method", "url", "headers", "params", "data", "json", "cookies")
    return {name: arguments[name] for name in names if arguments.get(name) is not None}
