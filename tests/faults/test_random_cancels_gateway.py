"""However many clients leave wherever, the gateway goes on answering and keeps no socket and no request of theirs."""

import asyncio
import random
from pathlib import Path

import psutil
import pytest

from tests.fakes import turns
from tests.fakes.client import Client, ask, ask_many, chat, get, post
from tests.fakes.gateway import gateway, rule_config
from tests.fakes.script import Pause
from tests.fakes.upstream import FakeUpstream

CALLS = 2400
AT_ONCE = 40
NO_PROBES = "[health]\nenabled = false\n"


def descriptors(process: psutil.Process, folder: Path) -> int:
    """What a gateway holds open but for its database: how many read that at once does not depend on its clients."""
    kept = [each for each in process.open_files() if Path(each.path).is_relative_to(folder)]
    return process.num_fds() - len(kept)


@pytest.mark.parametrize("transport", ["auto", "httpx"])
async def test_after_thousands_of_clients_left_at_random_the_next_are_served_and_nothing_is_left_over(
    transport: str, tmp_path: Path
) -> None:
    chance = random.Random(24)
    async with FakeUpstream() as upstream:
        upstream.always(lambda request: (Pause(0.015), *turns.good_answer(request)))
        urls = [upstream.base_url]
        config = rule_config(urls, urls, urls, each=f'transport = "{transport}"', more=NO_PROBES)
        async with gateway(config, tmp_path) as running:
            process = psutil.Process(running.process.pid)
            await ask_many(running.port, post(chat()), count=AT_ONCE, at_once=AT_ONCE)
            await asyncio.sleep(0.2)
            before = descriptors(process, tmp_path) - upstream.open_connections
            left = CALLS

            async def leave() -> None:
                nonlocal left
                while left > 0:
                    left -= 1
                    async with await Client.connect(running.port) as client:
                        client.write(post(chat(stream=chance.random() < 0.3)))
                        await asyncio.sleep(chance.uniform(0, 0.03))
                        if chance.random() < 0.5:
                            client.reset()

            await asyncio.gather(*[leave() for _ in range(AT_ONCE)])
            answers = await ask_many(running.port, post(chat()), count=20, at_once=1)
            assert [answer.status for answer in answers] == [200] * 20
            await asyncio.sleep(0.5)
            detailed = (await ask(running.port, get("/health/detailed"))).json
            assert detailed["in_flight"] == 0
            assert {row["in_flight"] for row in detailed["endpoints"]} == {0}
            assert {row["breaker"] for row in detailed["endpoints"]} == {"closed"}
            metrics = (await ask(running.port, get("/metrics"))).body
            assert b"octoroute_in_flight_requests 0.0" in metrics
            assert upstream.open_connections <= AT_ONCE
            assert abs(descriptors(process, tmp_path) - upstream.open_connections - before) <= 5
