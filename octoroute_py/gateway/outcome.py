"""What a request's context comes to when it ends."""

from octoroute_py.gateway.context import RequestContext
from octoroute_py.ledger.outcome import Outcome


def outcome_of(
    ctx: RequestContext,
    now: float,
    *,
    workspace: str,
    started_ms: int,
    entry: int = 0,
    user_id: str | None = None,
    request_type: str | None = None,
) -> Outcome:
    """How the request ended; `now` is monotonic. Once its last attempt has, nothing in it changes any more.

    `started_ms` is when the journal believes that it began, `entry` what tells it from others with its id.
    """
    decision, hints = ctx.decision, ctx.hints
    duration_s = now - ctx.started_s
    return Outcome(
        request_id=ctx.request_id,
        entry=entry,
        surface=ctx.surface,
        principal=ctx.principal.name,
        workspace=workspace,
        key_id=ctx.principal.key_id,
        agent_type=hints.agent_type or "",
        user_id=user_id,
        request_type=request_type,
        tag=hints.tag,
        status=ctx.status,
        tier=None if decision is None else decision.tier,
        decided_tier=ctx.decided_tier,
        strategy=None if decision is None else decision.strategy,
        reason=None if decision is None else decision.reason,
        rule=None if decision is None else decision.rule,
        confidence=None if decision is None else decision.confidence,
        endpoint_id=ctx.endpoint_id,
        sends=ctx.sends,
        attempts=tuple(ctx.attempts),
        stream=ctx.stream,
        broken_stream=ctx.broken_stream,
        usage=ctx.usage,
        estimated=ctx.estimated,
        cost_uusd=ctx.cost_uusd,
        baseline_uusd=ctx.baseline_uusd,
        started_wall_s=ctx.wall() - duration_s,
        started_ms=started_ms,
        started_s=ctx.started_s,
        duration_s=duration_s,
        routing_s=ctx.routing_s,
        first_event_s=ctx.first_event_s,
        error_code=ctx.error_code,
    )
