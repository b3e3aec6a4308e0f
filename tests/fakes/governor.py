"""A running application over a database, and an operator who sets models, rules and preferences over its API."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx

from tests.fakes import bodies
from tests.fakes.application import Running, httpx_config, running, upstreams

JSON = {"content-type": "application/json"}
HELLO = bodies.chat_body("Hello.")


class Governor:
    """Asks the API, and the gateway itself; every upstream answers well."""

    def __init__(self, one: Running, calls: Any) -> None:
        self.one = one
        self.client = one.client
        self._calls = calls

    @property
    def sent(self) -> int:
        """How many requests reached an upstream."""
        return len(self._calls)

    async def set(self, method: str, path: str, body: object) -> Any:
        """A change that must go well."""
        answer = await self.client.request(method, path, json=body)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    async def rule(self, id_: str, *targets: str | dict[str, Any], **fields: Any) -> Any:
        """Make a rule that sends to these."""
        found = [{"modelId": each} if isinstance(each, str) else each for each in targets]
        return await self.set("POST", "/api/routing/rules", {"id": id_, "name": id_, "targets": found, **fields})

    async def tried(self, body: object = None, **fields: Any) -> httpx.Response:
        """A dry run."""
        sent = {"prompt": "Hi", **fields} if body is None else body
        return await self.client.post("/api/routing/test", json=sent)

    async def told(self, **fields: Any) -> dict[str, Any]:
        """What a dry run of a prompt tells."""
        answer = await self.tried(**fields)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def routed(self, **fields: Any) -> httpx.Response:
        """The same request for real."""
        sent = {
            "id": "req-1",
            "agentType": "nobody",
            "workspaceId": "default",
            "userId": "u",
            "prompt": "Hi",
            "parameters": {},
            "metadata": {},
            **fields,
        }
        return await self.client.post("/api/route", json=sent)


@contextlib.asynccontextmanager
async def governor(
    folder: Path, more: str = "", *, strategy: str = "rule", says: bytes = HELLO, **tiers: str
) -> AsyncIterator[Governor]:
    """A gateway with one endpoint a tier, which forgets nothing that is set as long as `folder` is there."""
    storage = f'[storage]\nurl = "sqlite:///{folder}/governed.db"\n'
    config = httpx_config(more, **tiers).replace('strategy = "rule"', f'strategy = "{strategy}"')
    with upstreams() as mock:
        mock.route().respond(content=says, headers=JSON)
        async with running(config + storage) as one:
            yield Governor(one, mock.calls)
