"""Whoever reads the log learns that an endpoint went out, why, and that it is back."""

import re
from pathlib import Path

from tests.fakes import turns
from tests.fakes.client import ask, chat, post
from tests.fakes.gateway import gateway, rule_config
from tests.fakes.upstream import FakeUpstream
from tests.fakes.waiting import until

LOOKS_EVERY_S = 1.0


async def test_the_log_tells_who_is_out_and_why_and_who_is_back(tmp_path: Path) -> None:
    async with FakeUpstream() as fast, FakeUpstream() as other:
        config = rule_config([fast.base_url], [other.base_url], [other.base_url], more="[health]\nenabled = false\n")
        async with gateway(config, tmp_path) as running:

            async def told(*lines: str) -> None:
                async def all_there() -> bool:
                    return all(re.search(f"{line}$", running.log, re.MULTILINE) for line in lines)

                await until(all_there, 2 * (LOOKS_EVERY_S + 3))

            fast.enqueue(turns.rate_limited("3"))
            assert (await ask(running.port, post(chat(model="fast")))).status == 200
            await told(
                r"warning endpoint out endpoint=fast/fast-0#1 tier=fast because=cooldown for_s=[0-3]\.\d",
                r"warning tier out tier=fast",
                r"info    request status=200 .* attempts=2 failed=rate_limited .*",
            )
            await told("info    endpoint back endpoint=fast/fast-0#1", "info    tier back tier=fast")
        assert running.log.count("endpoint out") == running.log.count("tier out") == 1
        assert "balanced" not in "".join(line for line in running.log.splitlines() if " out " in line)
