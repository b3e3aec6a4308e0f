"""The operator of a gateway under test: issues keys, revokes them, looks at figures, all over HTTP.

office = Office(running.port)
key = await office.issue("team", budgets={"daily": 0.01})
answer = await ask(running.port, post(chat(), headers=key.headers()))
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from tests.fakes.client import Answer, Client, ask, get, post

BOSS = "okr-exam-boss-0123456789abcdef"
ENV: Mapping[str, str] = MappingProxyType({"BOSS_KEY": BOSS})
"""What a gateway with `ledger.ledger_config` needs in its environment."""


class Issued(NamedTuple):
    """A key that was issued."""

    id: str
    key: str

    def headers(self, request_id: str | None = None) -> dict[str, str]:
        """The headers of a request with this key."""
        more = {} if request_id is None else {"x-request-id": request_id}
        return {"authorization": f"Bearer {self.key}", **more}


class Office:
    """An admin at the gateway on this port."""

    def __init__(self, port: int, *, key: str = BOSS) -> None:
        self.port = port
        self._headers = {"authorization": f"Bearer {key}"}

    async def issue(self, name: str, *, role: str = "inference", **fields: object) -> Issued:
        """A new key; `fields` are those of `POST /api/keys`."""
        answer = await self.post("/api/keys", {"name": name, "role": role, **fields})
        assert answer.status == 201, answer
        return Issued(answer.json["id"], answer.json["key"])

    async def revoke(self, key_id: str) -> None:
        """End a key."""
        async with await Client.connect(self.port) as client:
            head = "".join(f"{name}: {value}\r\n" for name, value in self._headers.items())
            answer = await client.ask(f"DELETE /api/keys/{key_id} HTTP/1.1\r\nhost: gateway\r\n{head}\r\n".encode())
        assert answer.status in (200, 204), answer

    async def post(self, path: str, body: object) -> Answer:
        """Any POST."""
        return await ask(self.port, post(msgspec.json.encode(body), path=path, headers=self._headers))

    async def look(self, path: str) -> Any:
        """The JSON of a GET that must go well."""
        answer = await ask(self.port, get(path, headers=self._headers))
        assert answer.status == 200, answer
        return answer.json

    async def storage(self) -> str:
        """How the keeping goes: ok, degraded, refused or off."""
        return str((await self.look("/health/detailed"))["storage"]["state"])
