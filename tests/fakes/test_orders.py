"""An order is answered as it says, and its sums are those of somebody who counts by hand."""

from tests.fakes.client import ask
from tests.fakes.ledger import PRICES, Prices
from tests.fakes.orders import Fault, Kitchen, Order
from tests.fakes.upstream import FakeUpstream


async def test_an_order_tells_the_upstream_what_to_count() -> None:
    kitchen = Kitchen()
    async with FakeUpstream() as upstream:
        upstream.always(kitchen.serve)
        answer = await ask(upstream.port, Order(id="a", prompt=50, completion=9).request())
        assert (answer.json["usage"]["prompt_tokens"], answer.json["usage"]["completion_tokens"]) == (50, 9)
        sent = upstream.requests[0].json
        assert len(sent["messages"][0]["content"]) == 4 * 50
        assert (sent["model"], sent["max_tokens"], upstream.requests[0].header("x-request-id")) == ("fast", 50, b"a")
        streamed = await ask(upstream.port, Order(id="b", stream=True, events=4, pause_s=0.001).request())
        assert len(streamed.events) == 1 + 4 + 1 + 1
        assert streamed.done
        assert kitchen.seen == {"a": 1, "b": 1}


async def test_a_fault_happens_once_or_always() -> None:
    kitchen = Kitchen()
    async with FakeUpstream() as upstream:
        upstream.always(kitchen.serve)
        refused = Order(id="once", fault=Fault.REFUSE_ONCE).request()
        assert [(await ask(upstream.port, refused)).status for _ in range(3)] == [503, 200, 200]
        never = Order(id="never", fault=Fault.REFUSE).request()
        assert [(await ask(upstream.port, never)).status for _ in range(2)] == [503, 503]
        cut = await ask(upstream.port, Order(id="cut", stream=True, fault=Fault.CUT).request())
        assert not cut.whole
        assert b"part 2" in cut.body


def test_sums_are_exact() -> None:
    assert PRICES["fast"].cost_uusd(prompt=40, completion=20) == 18
    assert PRICES["fast"].reserve_uusd(prompt=40, limit=50) == 36
    assert Prices("0.5", "0").cost_uusd(prompt=1, completion=0) == 1
    assert Prices("0.49", "0").cost_uusd(prompt=1, completion=0) == 0
    assert Prices("0.01", "0").reserve_uusd(prompt=1, limit=0) == 1
    assert Prices("0.1", "0.2").cost_uusd(prompt=5, completion=5) == 2
