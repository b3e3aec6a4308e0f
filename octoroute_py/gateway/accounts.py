"""A request's account: what it may use before it is sent, what it came to, and the rows that keep both.

admit     the rates of everybody it counts for let it in, or none does        429
foresee   where a judge may be asked: some model is cheap enough for it       429
reserve   the most it may cost is set aside, and written down before sending  429, 503
end       what it came to takes the place of what was reserved
keep      its row is in the journal, before the answer's last byte
close     its slots are given back; a row that nobody waited for is queued
"""

from octoroute_py.admission.budget import BudgetBook, Hold, OverBudget, has_budget
from octoroute_py.admission.claims import Claim, Subject
from octoroute_py.admission.limits import Limited, Limiter
from octoroute_py.admission.throttle import network_of
from octoroute_py.config.schema import EndpointConfig
from octoroute_py.core.allowance import NO_BUDGETS, NO_RATES
from octoroute_py.core.clock import Wall
from octoroute_py.core.errors import BadRequest, Refused
from octoroute_py.core.words import Tier
from octoroute_py.gateway.context import RequestContext
from octoroute_py.gateway.plan import Plan
from octoroute_py.gateway.reserve import attempt_reserve_uusd
from octoroute_py.ledger.entry import entry_of
from octoroute_py.ledger.keeper import Keeper, Unkept
from octoroute_py.ledger.outcome import Outcome
from octoroute_py.storage.entries import Intent
from octoroute_py.telemetry.ledger_counts import LedgerCounts

STORAGE_RETRY_S = 5.0
REFUSALS_PER_SECOND = 100
"""Refusals beyond that are counted and not written down: nobody shall fill the disk by being refused."""


class Accounts:
    """Limits, budgets and the journal, as one request after the other meets them. For the event loop's thread.

    `wall` is the believed clock, which never goes back; periods and rows go by it.
    """

    __slots__ = ("_book", "_counts", "_keeper", "_limiter", "_refusals", "_second", "_wall")

    def __init__(
        self, *, limiter: Limiter, book: BudgetBook, keeper: Keeper | None, wall: Wall, counts: LedgerCounts
    ) -> None:
        self._limiter = limiter
        self._book = book
        self._keeper = keeper
        self._wall = wall
        self._counts = counts
        self._second = 0
        self._refusals = 0

    def open(self, ctx: RequestContext) -> None:
        """A request has come in."""
        ctx.started_ms = int(self._wall() * 1000.0)

    def admit(self, ctx: RequestContext) -> None:
        """Let a request in that was read and has entered. Raises Limited (429)."""
        if ctx.snapshot.unlimited and ctx.policy is None and ctx.principal.grant is None:
            return
        ctx.claims = claims = _claims(ctx)
        limited = [claim for claim in claims if claim.rates != NO_RATES]
        if not limited:
            return
        counts_tokens = any(claim.rates.tokens_per_minute is not None for claim in limited)
        tokens = ctx.prompt_tokens() + (ctx.envelope.token_limit or 0) * ctx.envelope.choices if counts_tokens else 0
        try:
            ctx.permit = self._limiter.admit(limited, tokens=tokens, now=ctx.monotonic())
        except Limited as refused:
            self._counts.limited(refused.subject.value, refused.measure.value)
            raise

    def foresee(self, ctx: RequestContext) -> None:
        """Ask no judge about a request whose budget pays for no model that it may use. Raises OverBudget (429)."""
        if ctx.snapshot.router.judge is None or not has_budget(ctx.claims):
            return
        able = ctx.snapshot.table.cheapest(None if ctx.scope is None else ctx.scope.allowed)
        least = min([attempt_reserve_uusd(ctx, (each,)) for each in able], default=0)
        self._set_aside(ctx, least).release()

    async def reserve(self, ctx: RequestContext, plan: Plan) -> None:
        """Set aside what the request may cost, and write down that it is about to be sent.

        Raises OverBudget (429), BadRequest, and Refused (503) when a budget applies and nothing can be written down.
        """
        keeper = self._keeper
        if not has_budget(ctx.claims):
            if keeper is not None:
                keeper.intend(_intent(ctx, plan.decision.tier, 0))
            return
        ctx.capped = True
        _refuse_uncounted(ctx)
        est_uusd = attempt_reserve_uusd(ctx, plan.pools[0].dearest)  # the first attempt goes there, unless all are out
        ctx.hold = self._set_aside(ctx, est_uusd)
        if keeper is None:
            return
        try:
            await keeper.reserve(_intent(ctx, plan.decision.tier, est_uusd))
        except Unkept:
            raise Refused(
                "The gateway cannot write down what this request may cost.",
                code="storage_unavailable",
                retry_after_s=STORAGE_RETRY_S,
            ) from None

    def _set_aside(self, ctx: RequestContext, uusd: int) -> Hold:
        try:
            return self._book.reserve(ctx.claims, est_uusd=uusd, at_s=ctx.started_ms / 1000.0)
        except OverBudget as refused:
            self._counts.limited(refused.subject.value, "budget")
            raise

    def end(self, ctx: RequestContext, outcome: Outcome) -> None:
        """What the request came to: the figures it was held to learn it."""
        if ctx.permit is not None:
            now = ctx.monotonic()
            if ctx.sends == 0 and not ctx.judged:
                ctx.permit.refund(now)
            else:
                used = [attempt.usage for attempt in outcome.attempts if attempt.usage is not None]
                ctx.permit.settle(sum(usage.prompt + usage.completion for usage in used), now)
        if ctx.hold is not None:
            ctx.hold.settle(outcome.cost_uusd)
        elif outcome.cost_uusd:
            self._book.spend(ctx.claims or _claims(ctx), cost_uusd=outcome.cost_uusd, at_s=outcome.started_ms / 1000.0)

    async def keep(self, outcome: Outcome) -> None:
        """Return when the journal, or what stands in for it, has the row."""
        if self._keeper is not None:
            await self._keeper.keep(entry_of(outcome))

    def keep_later(self, outcome: Outcome) -> None:
        """Have the row written without anybody waiting; refusals only as many as a second may bring."""
        keeper = self._keeper
        if keeper is None:
            return
        refused = outcome.sends == 0 and outcome.status >= 400
        if refused and not self._counts_refusal(outcome) and keeper.withdraw(outcome.request_id, outcome.entry):
            self._counts.journal_skipped()
            return
        keeper.keep_later(entry_of(outcome))  # what was set aside on disk stays there until a row settles it

    def close(self, ctx: RequestContext) -> None:
        """The request is over, however it ended."""
        if ctx.permit is not None:
            ctx.permit.release()

    def _counts_refusal(self, outcome: Outcome) -> bool:
        second = outcome.started_ms // 1000
        if second != self._second:
            self._second, self._refusals = second, 0
        self._refusals += 1
        return self._refusals <= REFUSALS_PER_SECOND


def affordable(ctx: RequestContext, endpoint: EndpointConfig) -> bool:
    """Whether an attempt there may be paid for beside what was spent; reserves more where the request needs more."""
    hold = ctx.hold
    if hold is None:
        return True
    missing = ctx.cost_uusd + attempt_reserve_uusd(ctx, (endpoint,)) - hold.reserved_uusd
    return missing <= 0 or hold.grow(missing)


def _claims(ctx: RequestContext) -> tuple[Claim, ...]:
    """Everybody with limits or budgets that this request counts for; once there is one, everybody it counts for."""
    limits, grant, policy = ctx.snapshot.config.limits, ctx.principal.grant, ctx.policy
    rates, budgets = limits.per_key, NO_BUDGETS
    if grant is not None:
        rates, budgets = rates if grant.rates == NO_RATES else grant.rates, grant.budgets
    claims = [Claim(Subject.KEY, ctx.principal.key_id, rates, budgets)]
    if policy is None:
        claims.append(Claim(Subject.WORKSPACE, ctx.workspace))
    else:
        claims.append(Claim(Subject.WORKSPACE, ctx.workspace, policy.rates, policy.budgets))
    agent_type = ctx.hints.agent_type
    if agent_type is not None:
        limited = ctx.snapshot.agent_types.get(agent_type)
        if limited is None:
            claims.append(Claim(Subject.AGENT_TYPE, agent_type))
        else:
            claims.append(Claim(Subject.AGENT_TYPE, agent_type, limited.rates, limited.budgets))
    if limits.per_ip != NO_RATES:
        claims.append(Claim(Subject.IP, network_of(ctx.source), limits.per_ip))
    return tuple(claims)


def _refuse_uncounted(ctx: RequestContext) -> None:
    """Refuse what is worked on after its answer: nobody would ever tell the budget what it came to."""
    for name in ("background", "deferred"):
        raw = ctx.envelope.fields.get(name)
        if raw is not None and bytes(raw) not in (b"false", b"null"):
            raise BadRequest(f"{name!r} cannot be asked for where a budget applies.", param=name)


def _intent(ctx: RequestContext, tier: Tier, reserved_uusd: int) -> Intent:
    return Intent(
        ctx.request_id,
        ctx.entry,
        ctx.started_ms,
        ctx.surface.value,
        ctx.workspace,
        ctx.principal.key_id,
        ctx.hints.agent_type or "",
        tier.value,
        reserved_uusd,
    )
