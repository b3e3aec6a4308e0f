"""What a gateway leaves behind at level debug: no credential, and no word of a prompt unless content is captured.

Then what is captured holds nothing that masking finds.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from octoroute_py.cli.demo import demo_config
from octoroute_py.simulator.fleet import serve_fleet
from tests.fakes.gateway import gateway
from tests.fakes.waiting import until

CLIENT = "okr-client-5d41402abc4b2a76b9719d911017c592"
UPSTREAM = "upstream-7d793037a0760186574b0282f2f435e7"
ADMIN = "admin-token-9e107d9d372bb6826bd81d3542a419d6"
WRONG = "wrong-key-e4d909c290d0fb1ca068ffaddf22cbd0"
WORDS = "the lighthouse keeper of Skagerrak hides turquoise marbles"
PRIVATE = (
    "anna.lee@example.com",
    "+49 30 90182000",
    "4111 1111 1111 1111",
    "DE89 3704 0044 0532 0130 00",
    "203.0.113.77",
    "sk-live-0123456789abcdef",
    "536-90-4399",
)
PROMPT = f"{WORDS}: {', '.join(PRIVATE)}. What are the eigenvalues of [[2,1],[1,2]] and why?"
LONGEST_SHARED = 12


def windows(text: str) -> set[bytes]:
    """Every part of it that would be too much to leave behind."""
    data = text.encode()
    return {data[at : at + LONGEST_SHARED] for at in range(max(1, len(data) - LONGEST_SHARED + 1))}


def left_behind(folder: Path) -> dict[str, bytes]:
    """All that it wrote, by file; the configuration is ours."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "config.toml"]
    return {path.name: path.read_bytes() for path in files}


def config(base_urls: Any, *, capture: bool) -> str:
    digest = hashlib.sha256(CLIENT.encode()).hexdigest()
    text = demo_config(base_urls).replace("max_tokens = 4096\n", 'max_tokens = 4096\napi_key_env = "UPSTREAM_KEY"\n')
    return (
        f'{text}\n[[auth.keys]]\nname = "app"\nrole = "inference"\nsha256 = "{digest}"\n'
        '[[auth.keys]]\nname = "boss"\nrole = "admin"\nenv = "BOSS_KEY"\n'
        f'[observability]\nlog_level = "debug"\nlog_format = "json"\ncapture_content = {str(capture).lower()}\n'
        '[[models.deep]]\nname = "gone"\nbase_url = "http://127.0.0.1:9/v1"\npriority = 0\n'
    )


async def use(url: str) -> list[str]:
    """Requests of all kinds, good and bad; the keys that were made on the way."""
    app, boss = {"authorization": f"Bearer {CLIENT}"}, {"authorization": f"Bearer {ADMIN}"}
    messages = [{"role": "user", "content": PROMPT}]
    async with httpx.AsyncClient(base_url=url, timeout=30.0) as client:

        async def ready() -> bool:
            return (await client.get("/health/ready")).status_code == 200

        await until(ready, 30.0)

        async def chat(model: str = "auto", headers: dict[str, str] = app, **more: Any) -> int:
            body = {"model": model, "messages": messages, "max_tokens": 30, **more}
            return (await client.post("/v1/chat/completions", json=body, headers=headers)).status_code

        assert [await chat(), await chat(stream=True), await chat("fast")] == [200, 200, 200]
        assert await chat("gone") >= 500
        assert await chat(PROMPT) == 404
        assert await chat(n=PROMPT) == 400
        assert await chat(headers={"authorization": f"Bearer {WRONG}"}) == 401
        assert await chat(headers={"x-api-key": CLIENT, "user-agent": PROMPT}) == 200
        body = {"model": "fast", "input": PROMPT, "instructions": WORDS}
        await client.post("/v1/responses", json=body, headers=app)
        await client.post("/v1/chat/completions", content=PROMPT.encode(), headers=app)
        await client.post("/chat", json={"message": PROMPT}, headers=app)
        await client.get("/v1/models", params={"key": WRONG, "q": WORDS}, headers=app)
        made = await client.post("/api/keys", json={"name": "bob", "role": "inference"}, headers=boss)
        assert made.status_code == 201, made.text
        assert (await client.post("/admin/reload", headers=boss)).status_code == 200
        return [made.json()["key"]]


@pytest.mark.parametrize("capture", [False, True], ids=["off", "on"])
async def test_nothing_secret_is_left_behind(tmp_path: Path, capture: bool) -> None:
    async with await serve_fleet(speed=50.0) as fleet:
        text = config({tier: each.base_url for tier, each in fleet.simulators.items()}, capture=capture)
        env = {"UPSTREAM_KEY": UPSTREAM, "BOSS_KEY": ADMIN}
        async with gateway(text, tmp_path, env=env) as running:
            made = await use(running.url)
    found = left_behind(tmp_path)
    assert {"stderr.log", "octoroute.db"} <= set(found)
    for secret in (CLIENT, UPSTREAM, ADMIN, WRONG, *made):
        for name, data in found.items():
            assert [part for part in windows(secret) if part in data] == [], name
    lines = [json.loads(line) for line in found["stderr.log"].splitlines()]
    assert sum(line["event"] == "request" for line in lines) >= 10
    content = [line for line in lines if line["event"] == "content"]
    assert any("capture_content" in line["event"] for line in lines) is capture
    if not capture:
        assert content == []
    for private in PRIVATE:
        for name, data in found.items():
            assert [part for part in windows(private) if part in data] == [], (private, name)
    rest = [data for name, data in found.items() if name != "stderr.log"]
    rest += [json.dumps(line).encode() for line in lines if line["event"] != "content"]
    assert [part for part in windows(WORDS) if any(part in data for data in rest)] == []
    if capture:
        prompts = [line for line in content if line["side"] == "prompt"]
        assert len(prompts) >= 6
        assert all(WORDS in line["text"] for line in prompts)
        assert prompts[0]["masked"] == dict.fromkeys(("email", "phone", "card", "iban", "ip", "ssn"), 1)
        assert "[iban], [ip], ***, [ssn]. What are" in prompts[0]["text"]  # keys are scrubbed first, as everywhere
        answered = {line["request_id"] for line in content if line["side"] == "answer" and line["text"]}
        assert len(answered) >= 5
        assert answered <= {line["request_id"] for line in prompts}
        assert not any("You are" in line["text"] or "router" in line["text"] for line in prompts)
