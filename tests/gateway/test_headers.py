from octoroute_py.core.decision import Decision
from octoroute_py.core.words import Reason, Strategy, Tier
from octoroute_py.gateway.context import RawHeaders, RequestContext
from octoroute_py.gateway.headers import answer_headers, header_text, route_headers
from tests.fakes.stage import GOOD, Stage


def routed(**changes: object) -> RequestContext:
    ctx = Stage({"fast/a#1": GOOD}).context()
    ctx.decision = Decision(Tier.DEEP, Strategy.NEURAL, Reason.TIER_FALLBACK, confidence=0.87654)
    ctx.endpoint_id = "deep/a#1"
    ctx.sends = 3
    for name, value in changes.items():
        setattr(ctx, name, value)
    return ctx


def test_a_routed_answer_tells_how_it_came_about() -> None:
    assert dict(route_headers(routed())) == {
        b"x-octoroute-tier": b"deep",
        b"x-octoroute-strategy": b"neural",
        b"x-octoroute-reason": b"tier_fallback",
        b"x-octoroute-endpoint": b"deep/a#1",
        b"x-octoroute-attempts": b"3",
        b"x-octoroute-confidence": b"0.8765",
    }


def test_without_a_confidence_or_a_warning_their_headers_are_left_out() -> None:
    names = dict(route_headers(routed(decision=Decision(Tier.FAST, Strategy.RULE, Reason.EXPLICIT_TIER))))
    assert b"x-octoroute-confidence" not in names
    assert b"x-octoroute-warning" not in names


def test_a_request_that_was_never_routed_has_no_route() -> None:
    assert route_headers(routed(decision=None)) == []


def test_ids_beyond_ascii_and_control_characters_stay_one_valid_header() -> None:
    assert header_text("fast/qwen-größe#1") == b"fast/qwen-gr??e#1"
    assert header_text("fast/a\r\nx-evil: 1") == b"fast/a??x-evil: 1"
    assert header_text("fast/模型#1") == b"fast/??#1"
    assert dict(route_headers(routed(endpoint_id="fast/é#1")))[b"x-octoroute-endpoint"] == b"fast/?#1"


def test_warnings_are_joined_and_cut_at_500_characters() -> None:
    header = dict(route_headers(routed(warnings=["max_tokens lowered from 9 to 4", "ü" * 600])))[b"x-octoroute-warning"]
    assert header.startswith(b"max_tokens lowered from 9 to 4; ???")
    assert len(header) == 500


def test_of_an_upstreams_headers_only_the_harmless_pass() -> None:
    upstream = [
        (b"content-type", b"application/json"),
        (b"set-cookie", b"a=b"),
        (b"server", b"x"),
        (b"x-request-id", b"u"),
    ]
    headers = answer_headers(routed(), upstream)
    assert (b"content-type", b"application/json") in headers
    assert [value for name, value in headers if name == b"x-request-id"] == [b"req-1"]
    assert b"set-cookie" not in dict(headers)


def costs(headers: RawHeaders) -> list[bytes]:
    return [value for name, value in headers if name == b"x-octoroute-cost"]


def test_a_whole_answer_tells_its_price_in_usd_with_six_decimals() -> None:
    assert costs(answer_headers(routed(priced=True, cost_uusd=1_234_567), [])) == [b"1.234567"]
    assert costs(answer_headers(routed(priced=True, cost_uusd=84), [])) == [b"0.000084"]
    assert costs(answer_headers(routed(priced=True), [])) == [b"0.000000"]


def test_neither_a_stream_nor_what_has_no_price_tells_one() -> None:
    assert costs(answer_headers(routed(cost_uusd=84), [])) == []
    assert costs(answer_headers(routed(priced=True, stream=True, cost_uusd=84), [])) == []


def test_only_we_say_what_an_answer_cost() -> None:
    assert costs(answer_headers(routed(), [(b"x-octoroute-cost", b"0")])) == []
