"""What `check --probe` says about endpoints, by what their transport delivers."""

import json

import pytest

from octoroute_py.cli.probe import ProbeResult, probe_all
from octoroute_py.config.schema import EndpointConfig
from octoroute_py.core.words import Tier
from octoroute_py.transport.base import (
    BadFraming,
    ConnectFailed,
    Headers,
    TimedOut,
    TransportError,
    UpstreamAnswer,
    UpstreamRequest,
)

ENDPOINT = EndpointConfig(id="fast/a#1", tier=Tier.FAST, name="a", model="m", base_url="http://127.0.0.1:1/v1")


class Answer:
    """A buffered answer; remembers that it was closed."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.headers: Headers = []
        self.body = body
        self.closed = False

    async def read(self, *, deadline: float, max_bytes: int = 0) -> bytes:
        return self.body

    async def chunk(self, *, deadline: float) -> bytes:
        return self.body

    def close(self) -> None:
        self.closed = True

    def finish(self) -> None:
        self.closed = True


class Scripted:
    """A transport that gives one answer or error, and remembers what it was asked."""

    def __init__(self, outcome: Answer | TransportError) -> None:
        self.outcome = outcome
        self.asked: list[UpstreamRequest] = []
        self.closed = False

    async def send(self, request: UpstreamRequest, *, deadline: float, connect_s: float) -> UpstreamAnswer:
        self.asked.append(request)
        if isinstance(self.outcome, TransportError):
            raise self.outcome
        return self.outcome

    async def aclose(self) -> None:
        self.closed = True


def listing(*names: str) -> bytes:
    return json.dumps({"data": [{"id": name} for name in names]}).encode()


async def probe(transport: Scripted) -> ProbeResult:
    (result,) = await probe_all([ENDPOINT], make_transport=lambda endpoint: transport)
    return result


@pytest.mark.parametrize(
    ("outcome", "ok", "said"),
    [
        (Answer(200, listing("m", "n")), True, "ok"),
        (Answer(200, listing("m:latest")), True, "ok"),
        (Answer(200, listing("n")), False, "answers, but it does not list the model m; it has n"),
        (
            Answer(200, listing("\x1b[2J", *"abcdef")),
            False,
            "answers, but it does not list the model m; it has a, b, c, d, e and 2 more",
        ),
        (Answer(200, listing("\n", "")), False, "answers, but it does not list the model m; it lists 2"),
        (Answer(200, b"hello"), True, "ok, though its list of models is not readable"),
        (Answer(401, b""), False, "status 401: it does not accept the credential"),
        (Answer(404, b""), True, "status 404: answers, but lists no models at /models; is base_url right?"),
        (Answer(500, b"secret text"), False, "status 500"),
        (ConnectFailed("x"), False, "cannot connect"),
        (TimedOut("x"), False, "connected, but gave no whole answer within 10 s"),
        (BadFraming("x"), False, "connected, but its answer is no clean HTTP"),
    ],
)
async def test_an_endpoint_is_told_in_a_few_words(outcome: Answer | TransportError, ok: bool, said: str) -> None:
    transport = Scripted(outcome)
    assert await probe(transport) == ProbeResult("fast/a#1", ok, said)
    assert [(request.method, request.path) for request in transport.asked] == [("GET", "/models")]
    assert transport.closed
    assert not isinstance(outcome, Answer) or outcome.closed


async def test_a_url_without_a_path_that_lists_nothing_gets_one_suggested() -> None:
    from msgspec.structs import replace

    endpoint = replace(ENDPOINT, base_url="http://127.0.0.1:1")
    (result,) = await probe_all([endpoint], make_transport=lambda _: Scripted(Answer(404, b"")))
    assert (result.ok, result.said) == (
        True,
        'status 404: answers, but lists no models at /models; is it base_url = "http://127.0.0.1:1/v1"?',
    )


async def test_results_keep_the_order_of_the_endpoints() -> None:
    from msgspec.structs import replace

    endpoints = [replace(ENDPOINT, id=str(number)) for number in range(40)]
    results = await probe_all(endpoints, make_transport=lambda endpoint: Scripted(Answer(200, listing("m"))))
    assert [result.endpoint_id for result in results] == [str(number) for number in range(40)]
