"""Strategies `llm` and `tool`: a judge names the tier; when it cannot, the default tier answers."""

from octoroute_py.core.decision import Decision
from octoroute_py.core.words import TIERS, Reason, Strategy, Tier
from octoroute_py.routing.judge import Judge
from octoroute_py.routing.judge_prompt import Case, case_of
from octoroute_py.routing.router import Inquiry
from octoroute_py.routing.verdict import JudgeFailed
from octoroute_py.tiers.breaker import Breaker


class JudgeRouter:
    """Always decides: by the judge's word, else for the tier `otherwise` with the reason `judge_failed`.

    `strategy` is the label of its verdicts, `llm` or `tool`.
    """

    __slots__ = ("_judge", "_judged", "strategy", "unjudged")

    def __init__(self, judge: Judge, *, strategy: Strategy, otherwise: Tier) -> None:
        self._judge = judge
        self._judged = {tier: Decision(tier, strategy, Reason.LLM_JUDGED) for tier in TIERS}
        self.strategy = strategy
        self.unjudged = Decision(otherwise, Strategy.RULE, Reason.JUDGE_FAILED)

    async def route(self, inquiry: Inquiry) -> Decision:
        """The tier that the judge names."""
        try:
            trace = None if inquiry.trail is None else inquiry.trail.trace
            tier = await self._judge.judge(_case(inquiry), by_s=inquiry.by_s, notes=inquiry.notes, trace=trace)
            return self._judged[tier]
        except JudgeFailed:
            return self.unjudged

    @property
    def breaker(self) -> Breaker:
        """The judge's own."""
        return self._judge.breaker

    def known(self, inquiry: Inquiry) -> Decision | None:
        """What the judge said about the same words lately; it is not asked."""
        tier = self._judge.known(_case(inquiry))
        return None if tier is None else self._judged[tier]

    async def settled(self) -> None:
        """Wait for the questions under way."""
        await self._judge.settled()


def _case(inquiry: Inquiry) -> Case:
    return case_of(inquiry.facts, local_only=inquiry.hints.local_only, compliance=inquiry.compliance)
