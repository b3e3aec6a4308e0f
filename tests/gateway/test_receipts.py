"""What is kept of decisions: no word of them, only so many, and no configuration for ever."""

import gc
import sys
from typing import Any

import pytest

from octoroute_py.config.load import parse_config
from octoroute_py.features.facts import Facts
from octoroute_py.gateway.context import Snapshot
from octoroute_py.gateway.receipts import MOST_GENERATIONS, Receipts, tell
from octoroute_py.routing.default import Cascade
from octoroute_py.routing.neural import Weighed
from octoroute_py.routing.rulebook import Rulebook
from octoroute_py.tiers.endpoint import Endpoint
from octoroute_py.tiers.pool import Pool
from tests.fakes import bodies
from tests.fakes.application import Running, httpx_config, running, upstreams

SEED = "quetzalcoatlus"
RULES = """
[[routing.rules]]
name = "words"
tier = "deep"
when.pattern = "pterosaur"
[[routing.rules]]
name = "headed"
tier = "deep"
when.header = { x-team = "red" }
"""
CONFIG = httpx_config('default_tier = "balanced"', fast="context_window = 1000000") + RULES


async def ask(one: Running, *, id_: str = "r", content: str = "Hi", **headers: str) -> None:
    message = {"role": "user", "content": content}
    body: dict[str, Any] = {"model": "auto", "messages": [message], "metadata": {"note": content[:400]}}
    answer = await one.client.post("/v1/chat/completions", json=body, headers={"x-request-id": id_, **headers})
    assert answer.status_code == 200, answer.text


def reached(start: object) -> list[object]:
    """Everything that it keeps alive but what belongs to the configuration and outlives all requests of it."""
    seen: dict[int, object] = {}
    waiting = [start]
    while waiting:
        each = waiting.pop()
        if id(each) in seen or isinstance(each, (type, Snapshot, Cascade, Rulebook, Pool, Endpoint)):
            continue
        seen[id(each)] = each
        waiting += gc.get_referents(each)
        waiting += [getattr(each, name) for name in getattr(each, "__struct_fields__", ())]  # some are hidden from gc
    return list(seen.values())


@pytest.mark.parametrize("strategy", ["rule", "neural"])
async def test_no_word_of_a_request_is_kept(strategy: str) -> None:
    text = f"{SEED} " * 8_000
    with upstreams() as mock:
        mock.route().respond(content=bodies.chat_body("Hello."), headers={"content-type": "application/json"})
        async with running(CONFIG.replace('"rule"', f'"{strategy}"')) as one:
            await one.application.prepared()
            for number in range(5):
                await ask(one, id_=f"r{number}", content=text, **{"x-team": f"blue {SEED}", "x-other": SEED})
            kept = [each for number in range(5) for each in one.application.gateway.receipts.of(f"r{number}")]
            found = reached(kept)
    assert len(kept) == 5
    assert len([each for each in found if isinstance(each, Facts)]) >= 5
    assert any(isinstance(each, Weighed) for each in found) is (strategy == "neural")
    texts = [each for each in found if isinstance(each, (str, bytes))]
    assert [each[:80] for each in texts if SEED in (each if isinstance(each, str) else each.decode("latin-1"))] == []


async def test_only_the_last_are_kept_and_none_is_large() -> None:
    with upstreams() as mock:
        mock.route().respond(content=bodies.chat_body("Hello."), headers={"content-type": "application/json"})
        async with running(CONFIG) as one:
            one.application.gateway.receipts = kept = Receipts(most=50)
            for number in range(60):
                await ask(one, id_=f"r{number}", **{"x-team": "b" * 4_000})
            assert len(kept) == 50
            assert [list(kept.of(f"r{number}")) == [] for number in (0, 9, 10, 59)] == [True, True, False, False]
            size = sum(map(sys.getsizeof, reached(list(kept.of("r59")))))
    assert size < 8_192


async def test_old_configurations_are_let_go_and_what_came_of_requests_is_still_told() -> None:
    with upstreams() as mock:
        mock.route().respond(content=bodies.chat_body("Hello."), headers={"content-type": "application/json"})
        async with running(CONFIG) as one:
            for number in range(MOST_GENERATIONS + 2):
                await ask(one, id_=f"r{number}")
                await one.application.reload()
            kept = one.application.gateway.receipts
            told = [tell(next(kept.of(f"r{number}")), shows_key=False) for number in range(MOST_GENERATIONS + 2)]
    assert [each.complete for each in told] == [False, False, *[True] * MOST_GENERATIONS]
    assert {(each.tier, each.endpoint, each.answered_reason) for each in told} == {
        ("fast", "fast/fast-model#1", "rule_matched")
    }
    assert [each.request.generation for each in told] == list(range(1, MOST_GENERATIONS + 3))
    assert all(each.attempts[0].started_ms is not None for each in told)


async def test_a_receipt_tells_what_was_in_force_then() -> None:
    with upstreams() as mock:
        mock.route().respond(content=bodies.chat_body("Hello."), headers={"content-type": "application/json"})
        async with running(CONFIG) as one:
            await ask(one)
            kept = next(one.application.gateway.receipts.of("r"))
            before = tell(kept, shows_key=False)
            one.config = parse_config(CONFIG.replace("headed", "renamed").replace('"balanced"\n', '"deep"\n'))
            await one.application.reload()
            assert tell(kept, shows_key=False) == before
    assert [rule.name for rule in before.rules][:2] == ["words", "headed"]
    assert before.default_tier == "balanced"
