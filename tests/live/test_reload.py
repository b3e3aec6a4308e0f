"""Changing a gateway that serves: no stream is cut, none sees two configurations, and what is bad changes nothing."""

import asyncio
import hashlib
import json
import re
import signal
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from octoroute_py.neural.shipped import shipped_path
from tests.fakes import turns
from tests.fakes.client import Answer, Client, ask, chat, get, post
from tests.fakes.gateway import RunningGateway, gateway
from tests.fakes.ledger import Journal
from tests.fakes.office import BOSS, ENV, Issued
from tests.fakes.orders import Order
from tests.fakes.script import Recorded, Step
from tests.fakes.upstream import FakeUpstream
from tests.fakes.waiting import until

STREAMS = 200
GROUPS = 10
EVENTS = 12
USAGE = (60, 20)
TEAM = Issued("team", "okr-team-0123456789abcdef")
OTHERS = hashlib.sha256(b"okr-others-0123456789abcdef").hexdigest()
"""A key that is always there: with an admin's alone, this address is open to all."""
_PART = re.compile(rb"part (\d+) ")


class Edition(NamedTuple):
    """One of the configurations that take turns: where it sends everything, and what that costs per token."""

    name: str
    tier: str
    strategy: str
    uusd: int

    @property
    def endpoint(self) -> str:
        """The id of the endpoint that only this one has."""
        return f"{self.tier}/{self.name}"

    def toml(self, url: str, broken: str, *, team: bool = True, more: str = "") -> str:
        """The whole file; `broken` is the URL of the deep endpoint, which is the same in all."""
        own = (
            f'[[models.{self.tier}]]\nname = "own"\nid = "{self.endpoint}"\nbase_url = "{url}"\n'
            f"input_cost_per_mtok = {self.uusd}\noutput_cost_per_mtok = {self.uusd}\n"
        )
        other = "balanced" if self.tier == "fast" else "fast"
        return (
            f'{own}[[models.{other}]]\nname = "other"\nbase_url = "{url}"\n'
            f'[[models.deep]]\nname = "broken"\nbase_url = "{broken}"\n'
            f'[routing]\nstrategy = "{self.strategy}"\ntier_fallback = "none"\n'
            f'[[routing.rules]]\nname = "all"\ntier = "{self.tier}"\n'
            '[routing.neural]\nartifact = "linear"\n'
            "[breaker]\nfailure_threshold = 2\nopen_seconds = 200\n[retry]\nmax_attempts = 1\n"
            '[health]\nenabled = false\n[storage]\nurl = "sqlite:///octoroute.db"\n'
            '[[auth.keys]]\nname = "boss"\nrole = "admin"\nenv = "BOSS_KEY"\n'
            f'[[auth.keys]]\nname = "others"\nrole = "inference"\nsha256 = "{OTHERS}"\n'
            + ('[[auth.keys]]\nname = "team"\nrole = "inference"\nenv = "TEAM_KEY"\n' if team else "")
            + more
        )


A, B = Edition("a", "fast", "rule", 1), Edition("b", "balanced", "hybrid", 3)


class Halfway:
    """Serves streams that stop in the middle until the gate is opened."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self._served = 0

    def serve(self, request: Recorded) -> Iterable[Step]:
        """The turn of one request."""
        self._served += 1
        parts: list[str | Step] = [f"part {number} " for number in range(EVENTS)]
        parts.insert(EVENTS // 2, turns.Gate(self.gate))
        return turns.stream_answer(*parts, usage=USAGE)(request)

    async def served(self, count: int) -> None:
        """Wait for so many requests."""

        async def so() -> bool:
            return self._served >= count

        await until(so, 20)


class Seen(NamedTuple):
    """What a client saw of one stream."""

    id: str
    answer: Answer
    in_order: bool


async def stream(port: int, number: int) -> Seen:
    order = Order(id=f"stream-{number}", model="auto", stream=True, prompt=60)
    body = b""
    async with await Client.connect(port) as client:
        client.write(order.request(TEAM))
        answer = await client.head()
        while piece := await client.piece():
            body += piece
    answer.body = body
    return Seen(order.id, answer, [int(each) for each in _PART.findall(body)] == list(range(EVENTS)))


class Desk:
    """The operator of a running gateway."""

    def __init__(self, running: RunningGateway, upstream: str, broken: str) -> None:
        self.running = running
        self._urls = upstream, broken
        self._headers = {"authorization": f"Bearer {BOSS}"}

    def text(self, edition: Edition, *, team: bool = True, more: str = "") -> str:
        """The file of an edition."""
        return edition.toml(*self._urls, team=team, more=more)

    def write(self, text: str) -> None:
        """Put this into the file."""
        (self.running.folder / "config.toml").write_text(text, encoding="utf-8")

    async def reload(self, what: str | None = None) -> Answer:
        path = "/admin/reload" + (f"?what={what}" if what else "")
        return await ask(self.running.port, post(b"", path=path, headers=self._headers))

    async def put(self, **values: object) -> Answer:
        body = msgspec.json.encode(values)
        return await ask(
            self.running.port, post(body, path="/admin/config", headers=self._headers).replace(b"POST", b"PUT", 1)
        )

    async def look(self, path: str) -> Any:
        answer = await ask(self.running.port, get(path, headers=self._headers))
        assert answer.status == 200, answer
        return answer.json

    async def tier_of(self, text: str) -> str:
        """Where a request goes now."""
        answer = await ask(self.running.port, post(chat(text, model="auto"), headers=self._headers))
        assert answer.status == 200, answer
        return answer.headers["x-octoroute-tier"]


@asynccontextmanager
async def desk(folder: Path, edition: Edition, halfway: Halfway | None = None) -> AsyncIterator[Desk]:
    """A gateway with this edition, in front of an upstream that answers and of one that always fails."""
    async with FakeUpstream() as upstream, FakeUpstream() as broken:
        if halfway is not None:
            upstream.always(halfway.serve)
        broken.always(turns.status(500))
        urls = upstream.base_url, broken.base_url
        async with gateway(edition.toml(*urls), folder, env={**ENV, "TEAM_KEY": TEAM.key}) as running:
            yield Desk(running, *urls)


async def test_under_200_streams_reloads_cut_none_mix_none_and_forget_no_breaker(tmp_path: Path) -> None:
    halfway = Halfway()
    async with desk(tmp_path, A, halfway) as one:
        port, tasks = one.running.port, []
        for _ in range(2):
            assert (await ask(port, post(chat(model="broken"), headers=TEAM.headers()))).status == 502
        before = await one.look("/api/resilience/status")
        for group in range(GROUPS):
            one.write(one.text((A, B)[group % 2]))
            assert (await one.reload()).json["generation"] == group + 2
            numbers = range(group * STREAMS // GROUPS, (group + 1) * STREAMS // GROUPS)
            tasks += [asyncio.create_task(stream(port, number)) for number in numbers]
            await halfway.served((group + 1) * STREAMS // GROUPS)
        assert (await one.look("/health/detailed"))["in_flight"] == STREAMS
        for number in range(4):
            one.write(one.text((A, B)[number % 2], team=number < 3))
            assert (await one.reload()).status == 200
        assert (await stream(port, STREAMS)).answer.status == 401
        halfway.gate.set()
        seen = await asyncio.gather(*tasks)
        after = await one.look("/api/resilience/status")
    assert [each.id for each in seen if not (each.in_order and each.answer.done and each.answer.whole)] == []
    journal = Journal(tmp_path / "octoroute.db").by_id()
    for number, each in enumerate(seen):
        head, (row,) = each.answer.headers, journal[each.id]
        edition = (A, B)[number // (STREAMS // GROUPS) % 2]
        assert (head["x-octoroute-tier"], head["x-octoroute-endpoint"]) == (edition.tier, edition.endpoint)
        assert (row.tier, row.endpoint) == (edition.tier, edition.endpoint)
        assert (row.prompt_tokens, row.completion_tokens, row.cost_uusd) == (*USAGE, edition.uusd * sum(USAGE))
    assert [breaker_of(each, "deep/broken#1") for each in (before, after)] == [("open", 1)] * 2


def breaker_of(status: Any, endpoint: str) -> tuple[str, int]:
    (found,) = [each for each in status["circuitBreakers"] if each["id"] == endpoint]
    return found["state"], found["trips"]


async def test_a_key_that_the_file_no_longer_has_is_refused_within_a_second_of_the_signal(tmp_path: Path) -> None:
    async with desk(tmp_path, A) as one:
        request = get("/v1/models", headers=TEAM.headers())

        async def answered(status: int) -> float:
            """How long it takes until the key is answered so, from the signal on."""
            began = time.monotonic()
            one.running.signal(signal.SIGHUP)

            async def so() -> bool:
                return (await ask(one.running.port, request)).status == status

            await until(so)
            return time.monotonic() - began

        took = []
        for _ in range(3):
            one.write(one.text(A, team=False))
            took.append(await answered(401))
            one.write(one.text(A))
            await answered(200)
        assert min(took) < 1.0  # a busy machine may be late once


async def test_a_bad_file_is_refused_whole_with_the_place_to_mend_and_no_secret(tmp_path: Path) -> None:
    async with desk(tmp_path, A) as one:
        good = one.text(A)
        again = good[: good.index("[[models.balanced]]")]
        bad = {
            "syntax": (good.replace('name = "all"', 'name = "all'), r"config\.toml:\d+: not valid TOML"),
            "field": (good.replace("tier_fallback", "teir_fallback"), r'config\.toml:\d+: .*did you mean "tier_fall'),
            "id": (again + good, r"config\.toml:\d+: .*id"),
            "price": (good.replace("input_cost_per_mtok = 1", "input_cost_per_mtok = -1"), r"config\.toml:5: .*input_"),
            "secret": (good.replace('"TEAM_KEY"', '"NOT_SET"'), r"config\.toml:\d+: .*NOT_SET"),
            "artifact": (good.replace('"rule"', '"neural"').replace('"linear"', '"no.file"'), "no.file: no such file"),
        }
        for text, expected in bad.values():
            one.write(text)
            told = await one.reload()
            assert (told.status, told.json["success"]) == (400, False), expected
            assert re.search(expected, told.json["message"]), told.json
            assert TEAM.key not in told.json["message"]
            assert BOSS not in told.json["message"]
            assert await one.tier_of("hello") == A.tier
        assert (await one.look("/admin/config"))["generation"] == 1
        one.write(good)
        assert (await one.reload()).json["generation"] == 2
    assert one.running.log.count("not reloaded") == len(bad)
    assert BOSS not in one.running.log


def without_numbers(data: bytes) -> bytes:
    """The artifact with one weight that is no number."""
    size = int.from_bytes(data[:8], "little")
    at = 8 + size + json.loads(data[8 : 8 + size])["head.bias"]["data_offsets"][0]
    return data[:at] + b"\x00\x00\xc0\x7f" + data[at + 4 :]


def of_another_shape(data: bytes) -> bytes:
    """The artifact with its bias as a column; its text keeps its length."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["head.bias"]["shape"] = [5, 1]
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


QUESTION = "What is the capital of France?"


async def test_artifacts_and_thresholds_change_while_it_serves_and_a_bad_artifact_changes_nothing(
    tmp_path: Path,
) -> None:
    good = shipped_path("linear").read_bytes()
    own = tmp_path / "own.safetensors"
    own.write_bytes(good)
    async with desk(tmp_path, A) as one:
        text = one.text(A).replace('"rule"', '"neural"').replace('"linear"', '"own.safetensors"')
        text = text[: text.index("[[routing.rules]]")] + text[text.index("[routing.neural]") :]
        one.write(text)
        assert (await one.reload()).json["artifact"]["changed"] is True
        assert await one.tier_of(QUESTION) == "balanced"

        for bad, expected in (
            (good[:-100], "no safetensors file, or a damaged one"),
            (of_another_shape(good), "head.bias is missing or of a wrong type"),
            (without_numbers(good), "head.bias holds numbers that are not finite"),
            (None, "is a symbolic link"),
        ):
            own.unlink()
            own.symlink_to(shipped_path("linear")) if bad is None else own.write_bytes(bad)
            told = await one.reload("artifact")
            assert (told.status, expected in told.json["message"]) == (400, True), told.json
            assert "own.safetensors" in told.json["message"]
            assert await one.tier_of(QUESTION) == "balanced"
        own.unlink()
        own.write_bytes(good)
        told = await one.reload("artifact")
        assert (told.status, told.json["artifact"]["changed"], told.json["config"]["changed"]) == (200, False, [])

        assert (await one.put(max_quality_loss=0.5)).json["updated_fields"] == ["max_quality_loss"]
        assert await one.tier_of(QUESTION) == "fast"
        assert (await one.put(max_quality_loss=None)).status == 200
        assert await one.tier_of(QUESTION) == "balanced"
        one.write(text.replace("artifact =", "max_quality_loss = 0.5\nartifact ="))
        assert (await one.reload()).json["config"]["changed"] == ["routing.neural.max_quality_loss"]
        assert await one.tier_of(QUESTION) == "fast"


async def test_a_watched_file_is_put_in_force_and_a_bad_one_is_told_once(tmp_path: Path) -> None:
    async with FakeUpstream() as upstream:
        watched = A.toml(upstream.base_url, upstream.base_url, more="[server]\nwatch_config = true\n")
        async with gateway(watched, tmp_path, env={**ENV, "TEAM_KEY": TEAM.key}) as running:
            one = Desk(running, upstream.base_url, upstream.base_url)
            one.write(watched.replace("input_cost_per_mtok = 1", "input_cost_per_mtok = -1"))

            async def told() -> bool:
                return "not reloaded" in running.log

            await until(told)
            one.write(watched.replace('tier = "fast"', 'tier = "balanced"'))

            async def in_force() -> bool:
                return await one.tier_of("hello") == "balanced"

            await until(in_force)
            await asyncio.sleep(2.5)
            assert (await one.look("/admin/config"))["generation"] == 2
        assert running.log.count("not reloaded") == 1
