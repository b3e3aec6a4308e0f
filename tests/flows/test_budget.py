"""What a budget does not let pass, from a client's request on."""

import json

import pytest

from tests.fakes import bodies
from tests.fakes.application import httpx_config, running, upstreams

JSON = {"content-type": "application/json"}
BUDGETED = httpx_config(fast="output_cost_per_mtok = 1.0") + "[limits.agent_types.poor]\ndaily_usd = 1\n"
POOR = {"x-octoroute-agent-type": "poor"}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/responses", {"input": "Hi", "background": True}),
        ("/v1/responses", {"input": "Hi", "background": 1}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}], "deferred": True}),
    ],
)
async def test_what_is_worked_on_after_its_answer_is_refused_where_a_budget_applies(
    path: str, body: dict[str, object]
) -> None:
    async with running(BUDGETED) as one:
        with upstreams() as mock:
            sent = mock.post(f"http://fast.test{path}").respond(content=bodies.chat_body("Hello."), headers=JSON)
            refused = await one.client.post(path, json={"model": "fast", **body}, headers=POOR)
            assert (refused.status_code, sent.call_count) == (400, 0)
            (field,) = set(body) & {"background", "deferred"}
            assert refused.json()["error"]["param"] == field
            assert (await one.client.post(path, json={"model": "fast", **body})).status_code == 200
            assert json.loads(sent.calls.last.request.content)[field] == body[field]
            off = {**body, "model": "fast", field: False}
            assert (await one.client.post(path, json=off, headers=POOR)).status_code == 200
