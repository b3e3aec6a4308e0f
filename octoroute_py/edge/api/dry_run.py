"""POST /api/routing/test: where a request would go, and why, by the very code that decides about live requests.

Nothing is sent, counted or charged, unless a judge may be asked: that costs as much as for a request, so that the
limits of requests hold then, and it counts as one.
"""

import asyncio
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType
from starlette.types import Receive, Scope, Send

from octoroute_py.core.errors import BadRequest, Denied, GatewayError
from octoroute_py.core.words import Reason, Role, Strategy, Surface, Tier
from octoroute_py.edge.api.agents import PreferencesView, shown_preferences
from octoroute_py.edge.api.reasons import RuleConsidered, considered, reasoning
from octoroute_py.edge.api.route import check_size, check_words, field_of, take
from octoroute_py.edge.api.route_shape import Metadata
from octoroute_py.edge.api.wire import decode, principal_of, query
from octoroute_py.edge.asgi import Table
from octoroute_py.edge.guard import source_of
from octoroute_py.edge.model_call import Exchange
from octoroute_py.edge.operation import Operation
from octoroute_py.edge.wire_io import ClientGone, RawHeaders, read_body, request_id_of, send_error, send_json
from octoroute_py.gateway.context import RequestContext
from octoroute_py.gateway.explaining import explain
from octoroute_py.gateway.pipeline import Gateway
from octoroute_py.routing.explain import Decider, Explanation
from octoroute_py.transport.openai import parse_body

PATH: Final = "/api/routing/test"
_NO_HEADERS: Final[dict[str, str]] = {}
_NO_PARAMETERS: Final[dict[str, msgspec.Raw]] = {}
_NO_METADATA: Final = Metadata()

HeaderText = Annotated[str, Meta(max_length=8192)]
Headers = Annotated[dict[str, HeaderText], Meta(max_length=100)]


class Tried(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What is tried: `prompt` and what else `/api/route` takes, or an OpenAI body as `request`.

    `headers` are those of the request in question; without them it has those of this call. `surface` says which
    operation an OpenAI body is for. With `askJudge` a judge is asked where the decision is its own.
    """

    prompt: str = ""
    id: str | None = None
    agent_type: str | None = None
    workspace_id: str | None = None
    user_id: str | None = None
    parameters: dict[str, msgspec.Raw] = _NO_PARAMETERS
    metadata: Metadata = _NO_METADATA
    request: dict[str, msgspec.Raw] | None = None
    surface: Surface = Surface.CHAT
    headers: Headers | None = None
    ask_judge: bool = False


class DryRun(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Where the request would go. `selectedModel` is null where the judge would have to be asked, where nobody can take
    it now, and where several models of `selectedFrom` share what comes: then one is drawn when it is sent.
    """

    request_id: str
    applicable_rules: list[RuleConsidered]
    selected_model: str | None
    selected_from: list[str]
    selected_tier: Tier
    strategy: Strategy
    reason: Reason
    decided_by: Decider
    rule: str | None
    rule_id: str | None
    confidence: float | UnsetType = UNSET
    next_step: str | UnsetType = UNSET
    available_models: list[str]
    rules_considered: list[RuleConsidered]
    preferences: PreferencesView | UnsetType = UNSET
    arms: list[str] | UnsetType = UNSET
    reasoning: list[str]


class DryRuns:
    """The route."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def add_to(self, table: Table) -> None:
        """POST /api/routing/test, for whoever may look; it tells all rules, and thus belongs to everybody."""
        table.add("POST", PATH, self._answer, role=Role.VIEWER, operation=TEST)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """200 with the decision, or the error that the request itself would get."""
        gateway = self._gateway
        ctx = RequestContext(
            request_id=request_id_of(scope),
            surface=Surface.CHAT,
            snapshot=gateway.snapshot,
            principal=principal_of(scope),
            raw_headers=scope["headers"],
            monotonic=gateway.monotonic,
            wall=gateway.wall,
            source=source_of(scope),
        )
        exchange = Exchange(gateway, ctx, scope, receive, send)
        try:
            query(scope)
            body = await read_body(scope, receive, ctx.snapshot.config.limits.max_request_bytes)
            exchange.watch()
            ask_judge = _read(ctx, body)
            ctx.enter(gateway.policies)
            if ask_judge:
                gateway.admit(ctx)
            await send_json(scope, send, _told(ctx, await explain(ctx, ask_judge=ask_judge)))
        except ClientGone:
            return
        except GatewayError as error:
            await send_error(scope, send, error)
        except asyncio.CancelledError:  # whoever leaves does not keep the judge at work
            if not await exchange.told_to_end():
                raise
        finally:
            gateway.leave(ctx)
            exchange.close()


def _read(ctx: RequestContext, body: bytes) -> bool:
    """Take the request that is tried into `ctx`; whether a judge may be asked. Raises GatewayError."""
    check_size(body)
    tried = decode(body, Tried)
    if tried.ask_judge and not ctx.principal.may(Role.INFERENCE):
        raise Denied("A judge may be asked by who may ask models.", code="permission_denied", status=403)
    if tried.headers is not None:
        ctx.raw_headers = _raw(tried.headers)
    if tried.request is None:
        check_words(tried)
        openai, field = take(ctx, tried, body), field_of
    else:
        openai, field = _openai(ctx, tried), _of_request
    try:
        ctx.read(parse_body(openai, ctx.surface))
    except GatewayError as error:
        if error.param is not None:
            error.param = field(error.param)
        raise
    return tried.ask_judge


def _openai(ctx: RequestContext, tried: Tried) -> bytes:
    """The OpenAI body as it is; beside it nothing else can be said."""
    beside = (tried.prompt, tried.agent_type, tried.workspace_id, tried.user_id, tried.parameters)
    if any(beside) or tried.metadata != _NO_METADATA:
        raise BadRequest(
            "A request says everything itself: give it, or a prompt and the fields beside it.", param="request"
        )
    check_words(msgspec.structs.replace(tried, prompt="-"))
    if tried.id is not None:
        ctx.request_id = tried.id
    ctx.surface = tried.surface
    return msgspec.json.encode(tried.request)


def _raw(headers: dict[str, str]) -> RawHeaders:
    """Headers as a server gives them. Raises BadRequest for what no request can have."""
    found = []
    for name, value in headers.items():
        if not name.isascii() or not name.isprintable() or not name or " " in name or ":" in name:
            raise BadRequest("'headers' has a name that no header has.", param="headers")
        if not (value.isprintable() or not value):
            raise BadRequest("A header is one line of text.", param=f"headers.{name[:64]}")
        found.append((name.lower().encode(), value.encode()))
    return found


def _of_request(param: str) -> str:
    return param if param.startswith("X-") else f"request.{param}"


def _told(ctx: RequestContext, found: Explanation) -> DryRun:
    preferences = ctx.preferences
    rules = considered(found)
    one = found.first[0] if len(found.first) == 1 and found.next_step is None else None
    return DryRun(
        request_id=ctx.request_id,
        applicable_rules=[rule for rule in rules if rule.matched],
        selected_model=one,
        selected_from=list(found.first),
        selected_tier=found.tier,
        strategy=found.strategy,
        reason=found.reason,
        decided_by=found.decided_by,
        rule=found.rule,
        rule_id=found.rule_id,
        confidence=UNSET if found.confidence is None else found.confidence,
        next_step=found.next_step or UNSET,
        available_models=list(found.models),
        rules_considered=rules,
        preferences=UNSET if preferences is None else shown_preferences(preferences),
        arms=list(found.arms) or UNSET,
        reasoning=reasoning(found, model=ctx.envelope.model, agent_type=ctx.hints.agent_type),
    )


TEST: Final = Operation(
    summary="Where a request would go, and why; nothing is sent",
    body=Tried,
    answer=DryRun,
    errors=(404,),
)
