"""A judge's parts without models: what it says is scripted, and time passes only when a test lets it."""

import random
from collections.abc import Callable

import msgspec

from octoroute_py.config.schema import BreakerConfig
from octoroute_py.core.words import Importance, TaskType
from octoroute_py.features.conversation import Conversation
from octoroute_py.features.facts import Facts
from octoroute_py.routing.judge import Judge, Question, Verdicts
from octoroute_py.routing.judge_prompt import spoken_forms
from octoroute_py.routing.verdict import JudgeFailure
from octoroute_py.tiers.breaker import Breaker
from tests.fakes.bodies import chat_body
from tests.fakes.scripted_transport import Clock

Said = bytes | Exception
"""A chat completion, or what is raised instead."""


def facts(text: str = "Why is the sky blue?", *, task_type: TaskType = TaskType.QUESTION_ANSWER) -> Facts:
    """The facts of a request with this one user message."""
    return Facts(
        tokens=len(text) // 4,
        importance=Importance.NORMAL,
        task_type=task_type,
        last_user_text=text,
        conversation=Conversation(text=text),
    )


def completion(content: object, **message: object) -> bytes:
    """A chat completion whose message has this content, and more."""
    said = {"role": "assistant", "content": content, **message}
    return msgspec.json.encode({"choices": [{"index": 0, "message": said, "finish_reason": "stop"}]})


class ScriptedAsk:
    """An `Ask`: each question takes the next turn, the last one again and again; `questions` are those it got."""

    def __init__(self, *turns: Said) -> None:
        self._turns = list(turns) or [chat_body("BALANCED")]
        self.questions: list[Question] = []

    async def __call__(self, question: Question) -> bytes:
        self.questions.append(question)
        turn = self._turns.pop(0) if len(self._turns) > 1 else self._turns[0]
        if isinstance(turn, Exception):
            raise turn
        return turn


class Failures:
    """A `Report` that keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[JudgeFailure] = []
        self.defects: list[Exception] = []

    def __call__(self, failure: JudgeFailure, error: Exception | None) -> None:
        self.told.append(failure)
        if error is not None:
            self.defects.append(error)


def judge(
    ask: Callable[[Question], object],
    *,
    clock: Clock | None = None,
    report: Failures | None = None,
    limit_s: float = 10.0,
    policy: BreakerConfig | None = None,
    verdicts: Verdicts | None = None,
) -> Judge:
    """A judge that asks in this way."""
    return Judge(
        ask,  # type: ignore[arg-type]  # tests also give asks that never end
        forms=spoken_forms,
        limit_s=limit_s,
        breaker=Breaker(policy or BreakerConfig(), rng=random.Random(1)),
        now=clock or Clock(),
        report=report or Failures(),
        verdicts=verdicts,
    )
