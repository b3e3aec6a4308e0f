"""The built-in rule table: that of octoroute 1.0.0 (contract §4), written as the same values a config file gives."""

from typing import Final

from octoroute_py.config.schema import RuleConfig, RuleWhen
from octoroute_py.core.clock import Wall
from octoroute_py.core.decision import Decision
from octoroute_py.core.words import Importance, TaskType, Tier
from octoroute_py.routing.router import Inquiry
from octoroute_py.routing.rulebook import compile_table

BUILT_IN: Final[tuple[RuleConfig, ...]] = (
    RuleConfig(
        name="casual_chat",
        tier=Tier.FAST,
        when=RuleWhen(
            task_type=(TaskType.CASUAL_CHAT,), max_tokens=255, importance=(Importance.LOW, Importance.NORMAL)
        ),
    ),
    RuleConfig(
        name="high_importance",
        tier=Tier.DEEP,
        when=RuleWhen(
            importance=(Importance.HIGH,),
            task_type=tuple(task_type for task_type in TaskType if task_type is not TaskType.CASUAL_CHAT),
        ),
    ),
    RuleConfig(
        name="analysis_or_creative",
        tier=Tier.DEEP,
        when=RuleWhen(task_type=(TaskType.DEEP_ANALYSIS, TaskType.CREATIVE_WRITING)),
    ),
    RuleConfig(name="code_long", tier=Tier.DEEP, when=RuleWhen(task_type=(TaskType.CODE,), min_tokens=1025)),
    RuleConfig(name="code", tier=Tier.BALANCED, when=RuleWhen(task_type=(TaskType.CODE,))),
    RuleConfig(
        name="mid_length_qa",
        tier=Tier.BALANCED,
        when=RuleWhen(task_type=(TaskType.QUESTION_ANSWER, TaskType.DOCUMENT_SUMMARY), min_tokens=200, max_tokens=2047),
    ),
)


class RuleRouter:
    """Decides by the built-in table and abstains when none of its rules matches; `book` is the table."""

    __slots__ = ("_wall", "book")

    def __init__(self, *, wall: Wall) -> None:
        self.book = compile_table(BUILT_IN)
        self._wall = wall

    async def route(self, inquiry: Inquiry) -> Decision | None:
        """The tier of the first rule that matches."""
        for rule in self.book.matching(inquiry.facts, self._wall()):
            return rule.decision
        return None
