from hypothesis import given
from hypothesis import strategies as st

from octoroute_py.tiers.recent import BUCKET_S, BUCKETS, FEWEST, Recent, Totals

SPAN_S = BUCKET_S * BUCKETS
NOW = 1000.0


def test_with_too_few_verdicts_nothing_is_said() -> None:
    recent = Recent()
    assert recent.success_rate(NOW) is None
    for _ in range(FEWEST - 1):
        recent.bad(NOW)
    assert recent.success_rate(NOW) is None
    recent.good(NOW)
    assert recent.success_rate(NOW) == 0.1


def test_the_rate_is_the_share_of_good_verdicts() -> None:
    recent = Recent()
    for at in range(20):
        if at % 4 == 0:
            recent.bad(NOW + at)
        else:
            recent.good(NOW + at)
    assert recent.success_rate(NOW + 20) == 0.75


def test_a_stream_that_breaks_off_is_one_bad_verdict_not_a_good_one_and_a_bad_one() -> None:
    recent = Recent()
    for _ in range(9):
        recent.good(NOW)
    recent.good(NOW)
    recent.bad(NOW + 70, was_good_at=NOW)
    assert recent.success_rate(NOW + 70) == 0.9


def test_a_good_verdict_that_is_forgotten_already_is_not_taken_back_from_another() -> None:
    recent = Recent()
    recent.good(NOW)
    later = NOW + SPAN_S  # the same place in the ring
    for _ in range(10):
        recent.good(later)
    recent.bad(later, was_good_at=NOW)
    assert recent.success_rate(later) == 10 / 11


def test_after_five_quiet_minutes_an_endpoint_is_unknown_again() -> None:
    recent = Recent()
    for _ in range(50):
        recent.bad(NOW)
        recent.good(NOW, first_event_s=9.0, answer_s=9.0)
    assert recent.success_rate(NOW + SPAN_S - 2 * BUCKET_S) == 0.5
    later = NOW + SPAN_S + BUCKET_S
    assert (recent.success_rate(later), recent.first_event_s(later), recent.answer_s(later)) == (None, None, None)


def test_first_events_and_whole_answers_are_averaged_apart() -> None:
    recent = Recent()
    for at in range(10):
        recent.good(NOW, first_event_s=0.1 * (at % 2 + 1))
        recent.good(NOW, answer_s=4.0 + at % 2)
        recent.good(NOW)
    assert recent.first_event_s(NOW) is not None
    assert abs((recent.first_event_s(NOW) or 0) - 0.15) < 1e-12
    assert recent.answer_s(NOW) == 4.5


def test_asking_changes_nothing() -> None:
    recent = Recent()
    for _ in range(10):
        recent.good(NOW)
    assert recent.success_rate(NOW + 10 * SPAN_S) is None
    assert recent.success_rate(NOW) == 1.0


verdicts = st.lists(st.tuples(st.floats(0, 40), st.booleans()), max_size=60)


@given(verdicts)
def test_it_agrees_with_a_log_that_forgets_whole_slices(told: list[tuple[float, bool]]) -> None:
    recent, now = Recent(), NOW
    log: list[tuple[float, bool]] = []
    for after_s, good in told:
        now += after_s
        log.append((now, good))
        if good:
            recent.good(now)
        else:
            recent.bad(now)
    oldest = (int(now / BUCKET_S) - BUCKETS + 1) * BUCKET_S
    known = [good for at, good in log if at >= oldest]
    assert recent.success_rate(now) == (sum(known) / len(known) if len(known) >= FEWEST else None)


def test_totals_hold_what_was_measured_however_little_and_forget_it_with_time() -> None:
    recent = Recent()
    recent.good(NOW, first_event_s=0.5)
    recent.good(NOW, answer_s=2.0)
    recent.bad(NOW)
    assert recent.totals(NOW) == Totals(2, 1, 1, 0.5, 1, 2.0)
    assert recent.totals(NOW) + Totals(bad=3) == Totals(2, 4, 1, 0.5, 1, 2.0)
    assert recent.totals(NOW + SPAN_S + BUCKET_S) == Totals()
