"""The memory of answers: one request a key runs, its whole answer is given again, and it never grows beyond bounds."""

import asyncio

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from octoroute_py.core.errors import BadRequest, GatewayError, Refused
from octoroute_py.gateway.idempotency import ENTRY_BYTES, Answer, Claim, Idempotency, Key, replayable

HEADERS = ((b"content-type", b"application/json"), (b"x-request-id", b"r-1"))
ASKED, OTHER = b"a" * 32, b"b" * 32


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def key(text: str = "k", *, principal: str = "p", workspace: str = "w", surface: str = "chat") -> Key:
    return Key(principal, workspace, surface, text)


def begin(memory: Idempotency, text: str = "k", *, digest: bytes = ASKED) -> Claim:
    claim = memory.claim(key(text), digest, named="Idempotency-Key")
    assert isinstance(claim, Claim)
    return claim


def done(memory: Idempotency, text: str = "k", *, body: bytes = b"answer") -> None:
    claim = begin(memory, text)
    claim.add(body)
    claim.finish(200, HEADERS)


def again(memory: Idempotency, text: str = "k", *, digest: bytes = ASKED) -> Answer | Claim | str:
    """The answer, a claim, or the code of the error."""
    try:
        return memory.claim(key(text), digest, named="Idempotency-Key")
    except GatewayError as error:
        return error.code


def test_a_whole_answer_is_given_again_as_it_was() -> None:
    memory = Idempotency(Clock())
    claim = begin(memory)
    claim.add(b"one ")
    claim.add(b"two")
    claim.finish(200, HEADERS)
    for _ in range(3):
        assert again(memory) == Answer(200, HEADERS, b"one two")


def test_while_it_runs_the_same_request_has_to_wait() -> None:
    memory = Idempotency(Clock())
    begin(memory)
    with pytest.raises(Refused) as caught:
        memory.claim(key(), ASKED, named="id")
    error = caught.value
    assert (error.status, error.code, error.retry_after_s, error.final) == (409, "idempotency_in_progress", 1.0, False)


def test_a_released_request_is_done_afresh() -> None:
    memory = Idempotency(Clock())
    claim = begin(memory)
    claim.add(b"half an ans")
    claim.release()
    assert (memory.size_bytes, memory.keys) == (0, 0)
    assert isinstance(again(memory, digest=OTHER), Claim)


def test_a_release_after_the_end_changes_nothing_and_neither_does_an_end_after_a_release() -> None:
    memory = Idempotency(Clock())
    claim = begin(memory)
    claim.finish(200, HEADERS)
    claim.release()
    assert isinstance(again(memory), Answer)
    late = begin(memory, "late")
    late.release()
    late.finish(200, HEADERS)
    assert isinstance(again(memory, "late"), Claim)


def test_a_late_end_does_not_touch_whoever_runs_now() -> None:
    memory = Idempotency(Clock())
    first = begin(memory)
    first.release()
    begin(memory)
    first.release()
    first.finish(200, HEADERS)
    assert again(memory) == "idempotency_in_progress"


@pytest.mark.parametrize("ended", [False, True])
def test_another_request_with_the_key_is_a_mismatch(ended: bool) -> None:
    memory = Idempotency(Clock())
    claim = begin(memory)
    if ended:
        claim.finish(200, HEADERS)
    with pytest.raises(BadRequest) as caught:
        memory.claim(key(), OTHER, named="Idempotency-Key")
    error = caught.value
    assert (error.status, error.code, error.param) == (422, "idempotency_mismatch", "Idempotency-Key")


@pytest.mark.parametrize(
    "other",
    [key(principal="q"), key(workspace="v"), key(surface="responses"), key("l")],
    ids=["principal", "workspace", "surface", "text"],
)
def test_every_part_of_a_key_keeps_requests_apart(other: Key) -> None:
    memory = Idempotency(Clock())
    done(memory)
    assert isinstance(memory.claim(other, OTHER, named="id"), Claim)


def test_an_answer_is_forgotten_after_its_time_however_often_it_was_asked_for() -> None:
    clock = Clock()
    memory = Idempotency(clock, kept_s=60.0)
    done(memory)
    clock.now = 59.9
    assert isinstance(again(memory), Answer)
    clock.now = 60.0
    memory.sweep()
    assert (memory.size_bytes, memory.keys) == (0, 0)


async def test_old_answers_go_while_nobody_asks_for_anything() -> None:
    clock = Clock()
    memory = Idempotency(clock, kept_s=60.0)
    done(memory)
    sweeping = asyncio.create_task(memory.run(every_s=0.0))
    clock.now = 60.0
    async with asyncio.timeout(5.0):
        while memory.keys:  # noqa: ASYNC110 - the sweep tells nobody that it went by
            await asyncio.sleep(0)
    sweeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sweeping


def test_what_runs_is_never_forgotten() -> None:
    clock = Clock()
    memory = Idempotency(clock, kept_s=60.0, max_keys=2, max_bytes=10_000, max_answer_bytes=10_000)
    begin(memory, "long")
    for text in "abcdef":
        done(memory, text)
    clock.now = 1e6
    assert again(memory, "long") == "idempotency_in_progress"


def test_the_least_recently_used_goes_first_when_there_are_too_many() -> None:
    memory = Idempotency(Clock(), max_keys=2)
    done(memory, "a")
    done(memory, "b")
    assert isinstance(again(memory, "a"), Answer)
    done(memory, "c")
    assert isinstance(again(memory, "a"), Answer)
    assert isinstance(again(memory, "b"), Claim)


def test_the_least_recently_used_goes_first_when_there_is_too_much() -> None:
    memory = Idempotency(Clock(), max_bytes=4 * (ENTRY_BYTES + 1000), max_answer_bytes=1000)
    for text in "abcdefgh":
        done(memory, text, body=b"x" * 900)
    known = [text for text in "abcdefgh" if isinstance(again(memory, text), Answer)]
    assert known == ["f", "g", "h"]


def test_a_too_large_answer_is_remembered_without_its_text() -> None:
    memory = Idempotency(Clock(), max_answer_bytes=10)
    claim = begin(memory)
    for _ in range(5):
        claim.add(b"xxx")
    claim.finish(200, HEADERS)
    assert memory.size_bytes < ENTRY_BYTES + 100
    with pytest.raises(Refused) as caught:
        memory.claim(key(), ASKED, named="id")
    error = caught.value
    assert (error.status, error.code, error.final, error.retry_after_s) == (409, "idempotency_not_kept", True, None)
    assert "too large" in error.client_message
    assert again(memory, digest=OTHER) == "idempotency_mismatch"


def test_answers_on_their_way_count_and_make_others_go() -> None:
    memory = Idempotency(Clock(), max_bytes=5_000, max_answer_bytes=4_000)
    done(memory, "old", body=b"x" * 1000)
    one, two = begin(memory, "one"), begin(memory, "two")
    one.add(b"x" * 4_000)
    assert isinstance(again(memory, "old"), Claim)
    two.add(b"x" * 2_000)
    assert memory.size_bytes == 4_000
    two.finish(200, HEADERS)
    assert again(memory, "two") == "idempotency_not_kept"


def test_what_is_left_of_a_limit_is_no_part_of_an_answer_given_later() -> None:
    limits = [(b"ratelimit-remaining", b"3"), (b"x-ratelimit-reset", b"1"), (b"retry-after", b"2")]
    assert replayable([*HEADERS, *limits]) == HEADERS


TEXTS = st.sampled_from("abcde")
DIGESTS = st.sampled_from([ASKED, OTHER])


class Memory(RuleBasedStateMachine):
    """Against a model that forgets nothing: what the memory still knows it knows rightly, and its bounds hold."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.memory = Idempotency(self.clock, kept_s=10.0, max_bytes=6_000, max_answer_bytes=2_000, max_keys=3)
        self.running: dict[str, tuple[Claim, bytes, bytes]] = {}
        self.done: dict[str, tuple[bytes, bytes, float]] = {}

    @rule(text=TEXTS, digest=DIGESTS)
    def ask(self, text: str, digest: bytes) -> None:
        told = again(self.memory, text, digest=digest)
        if text in self.running:
            same = self.running[text][1] == digest
            assert told == ("idempotency_in_progress" if same else "idempotency_mismatch")
        elif isinstance(told, Claim):
            self.running[text] = (told, digest, b"")
        else:
            asked, body, until = self.done[text]
            assert self.clock.now < until
            if asked != digest:
                assert told == "idempotency_mismatch"
            else:
                assert told == (Answer(200, HEADERS, body) if isinstance(told, Answer) else "idempotency_not_kept")

    @precondition(lambda self: self.running)
    @rule(data=st.data(), size=st.integers(0, 1_200))
    def add(self, data: st.DataObject, size: int) -> None:
        text = data.draw(st.sampled_from(sorted(self.running)))
        claim, digest, body = self.running[text]
        claim.add(b"x" * size)
        self.running[text] = (claim, digest, body + b"x" * size)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), good=st.booleans())
    def end(self, data: st.DataObject, good: bool) -> None:
        text = data.draw(st.sampled_from(sorted(self.running)))
        claim, digest, body = self.running.pop(text)
        if good:
            claim.finish(200, HEADERS)
            self.done[text] = (digest, body, self.clock.now + 10.0)
        else:
            claim.release()
            self.done.pop(text, None)

    @rule(passed_s=st.floats(0.0, 6.0))
    def wait(self, passed_s: float) -> None:
        self.clock.now += passed_s

    @invariant()
    def bounds_hold(self) -> None:
        assert self.memory.keys <= 3 + len(self.running)
        assert 0 <= self.memory.size_bytes <= 6_000 + 3 * (ENTRY_BYTES + 20)
        if not self.running:
            self.memory.sweep()
            assert self.memory.size_bytes <= 6_000


Memory.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestMemory = Memory.TestCase
