from datetime import UTC, datetime, timedelta

import pytest

from octoroute_py.admission.budget import (
    LOOK_BACK_DAYS,
    BudgetBook,
    BudgetEvent,
    BudgetStatus,
    OverBudget,
    has_budget,
)
from octoroute_py.admission.claims import Claim, Subject
from octoroute_py.admission.periods import BelievedClock, Period, day_of
from octoroute_py.core.allowance import Budgets, Rates
from octoroute_py.core.errors import Refused

DAY = 86400.0
AT = datetime(2026, 3, 11, 18, tzinfo=UTC).timestamp()
"""A Wednesday."""
FREE = Claim(Subject.WORKSPACE, "team")


def key(budgets: Budgets, name: str = "app") -> Claim:
    return Claim(Subject.KEY, name, budgets=budgets)


def refusal(book: BudgetBook, *claims: Claim, est: int, at_s: float = AT) -> OverBudget:
    with pytest.raises(OverBudget) as caught:
        book.reserve(claims, est_uusd=est, at_s=at_s)
    return caught.value


def spent(book: BudgetBook, subject: Subject, name: str, *, at_s: float = AT) -> list[int]:
    return [row.spent_uusd for row in book.status(subject, name, Budgets(), at_s=at_s)]


def reserved(book: BudgetBook, subject: Subject, name: str) -> list[int]:
    return [row.reserved_uusd for row in book.status(subject, name, Budgets(), at_s=AT)]


# Reserving


@pytest.mark.parametrize(
    "budgets", [Budgets(daily_uusd=1000), Budgets(weekly_uusd=1000), Budgets(monthly_uusd=1000)], ids=list(Period)
)
def test_of_two_hundred_requests_for_a_budget_of_ten_exactly_ten_get_through(budgets: Budgets) -> None:
    book = BudgetBook()
    claims = (key(budgets), FREE)
    holds = []
    for _ in range(200):
        try:
            holds.append(book.reserve(claims, est_uusd=100, at_s=AT))
        except OverBudget:
            continue
    assert len(holds) == 10
    for hold in holds:
        hold.settle(60)
    assert spent(book, Subject.KEY, "app") == [600, 600, 600]
    assert spent(book, Subject.WORKSPACE, "team") == [600, 600, 600]
    assert reserved(book, Subject.KEY, "app") == [0, 0, 0]


def test_every_budget_of_every_claim_has_to_allow_it_and_a_refusal_reserves_nothing() -> None:
    book = BudgetBook()
    wide, narrow = key(Budgets(daily_uusd=1000)), Claim(Subject.AGENT_TYPE, "coder", budgets=Budgets(weekly_uusd=50))
    for claims in ((wide, narrow), (narrow, wide)):
        refused = refusal(book, *claims, est=51)
        assert (refused.subject, refused.period) == (Subject.AGENT_TYPE, Period.WEEK)
    assert reserved(book, Subject.KEY, "app") == reserved(book, Subject.AGENT_TYPE, "coder") == [0, 0, 0]
    book.reserve((wide, narrow), est_uusd=50, at_s=AT)
    assert reserved(book, Subject.KEY, "app") == reserved(book, Subject.AGENT_TYPE, "coder") == [50, 50, 50]


@pytest.mark.parametrize(
    ("budgets", "period", "ends"),
    [
        (Budgets(daily_uusd=100), Period.DAY, datetime(2026, 3, 12)),
        (Budgets(weekly_uusd=100, daily_uusd=100), Period.WEEK, datetime(2026, 3, 16)),
        (Budgets(monthly_uusd=100, daily_uusd=100, weekly_uusd=100), Period.MONTH, datetime(2026, 4, 1)),
    ],
)
def test_a_refusal_names_the_budget_that_is_full_for_longest_and_when_the_next_begins(
    budgets: Budgets, period: Period, ends: datetime
) -> None:
    book = BudgetBook()
    book.spend((key(budgets),), cost_uusd=90, at_s=AT)
    refused = refusal(book, key(budgets), est=11)
    assert isinstance(refused, Refused)
    assert (refused.status, refused.code, refused.error_type) == (429, "insufficient_quota", "insufficient_quota")
    assert (refused.subject, refused.period, refused.final) == (Subject.KEY, period, True)
    ends_s = ends.replace(tzinfo=UTC).timestamp()
    assert refused.retry_after_s == ends_s - AT
    assert refused.client_message == (
        f"This request may cost 0.000011 USD, more than is left of the budget of this key for this {period.value}; "
        f"a lower max_tokens makes it less. The next {period.value} begins at {ends:%Y-%m-%dT%H:%M:%SZ}."
    )
    book.reserve((key(budgets),), est_uusd=11, at_s=ends_s)


def test_a_request_too_large_for_any_period_is_not_told_to_come_back() -> None:
    book = BudgetBook()
    refused = refusal(book, key(Budgets(per_request_uusd=10, daily_uusd=1000)), est=11)
    assert (refused.period, refused.retry_after_s, refused.final) == (None, None, True)
    told = "This request may cost 0.000011 USD, more than the whole budget of this key for a {}; {}."
    assert refused.client_message == told.format("request", "a lower max_tokens makes it less")
    refused = refusal(book, key(Budgets(monthly_uusd=10)), est=11)
    assert (refused.period, refused.retry_after_s) == (Period.MONTH, None)
    assert refused.client_message == told.format("month", "a lower max_tokens makes it less")


def test_a_budget_of_nothing_lets_only_what_is_free_through() -> None:
    told: list[BudgetEvent] = []
    book = BudgetBook(on_event=told.append)
    claim = key(Budgets(daily_uusd=0, per_request_uusd=0))
    book.reserve((claim,), est_uusd=0, at_s=AT).settle(0)
    refusal(book, claim, est=1)
    assert told == []


def test_only_claims_with_budgets_need_a_reservation() -> None:
    assert not has_budget((FREE, key(Budgets()), Claim(Subject.IP, "192.0.2.1", Rates(requests_per_window=1))))
    assert has_budget((FREE, key(Budgets(per_request_uusd=5))))


# Holds


def test_a_hold_ends_once() -> None:
    book = BudgetBook()
    claim = key(Budgets(daily_uusd=1000))
    first, second = (book.reserve((claim,), est_uusd=100, at_s=AT) for _ in range(2))
    first.settle(70)
    first.settle(70)
    first.release()
    second.release()
    second.release()
    second.settle(100)
    assert not first.grow(0)
    assert not second.grow(1)
    assert spent(book, Subject.KEY, "app") == [70, 70, 70]
    assert reserved(book, Subject.KEY, "app") == [0, 0, 0]


def test_another_attempt_needs_room_for_what_it_may_cost() -> None:
    book = BudgetBook()
    claim = key(Budgets(daily_uusd=250, per_request_uusd=220))
    hold = book.reserve((claim, FREE), est_uusd=100, at_s=AT)
    assert hold.grow(100)
    assert hold.reserved_uusd == 200
    assert not hold.grow(21)
    other = book.reserve((claim,), est_uusd=50, at_s=AT)
    assert not hold.grow(1)
    other.release()
    assert hold.grow(20)
    assert reserved(book, Subject.WORKSPACE, "team") == [220, 220, 220]
    hold.settle(150)
    assert reserved(book, Subject.KEY, "app") == [0, 0, 0]
    assert spent(book, Subject.KEY, "app") == [150, 150, 150]


def test_what_cost_more_than_was_reserved_is_told_as_it_is_and_stops_the_next() -> None:
    book = BudgetBook()
    budgets = Budgets(daily_uusd=100)
    book.reserve((key(budgets),), est_uusd=100, at_s=AT).settle(130)
    day = book.status(Subject.KEY, "app", budgets, at_s=AT)[0]
    assert (day.spent_uusd, day.remaining_uusd) == (130, 0)
    refusal(book, key(budgets), est=1)


def test_a_request_over_midnight_is_paid_by_the_day_it_began_in() -> None:
    book = BudgetBook()
    claim = key(Budgets(daily_uusd=100))
    late = datetime(2026, 3, 31, 23, 59, 59, tzinfo=UTC).timestamp()
    hold = book.reserve((claim,), est_uusd=60, at_s=late)
    book.reserve((claim,), est_uusd=100, at_s=late + 1.0).settle(100)
    assert hold.grow(40)
    hold.settle(90)
    assert spent(book, Subject.KEY, "app", at_s=late) == [90, 190, 90]
    assert spent(book, Subject.KEY, "app", at_s=late + 1.0) == [100, 190, 100]


# What is known without a budget, and from before


def test_a_budget_that_is_set_later_counts_what_was_spent_before() -> None:
    book = BudgetBook()
    book.spend((key(Budgets()), FREE), cost_uusd=80, at_s=AT)
    refusal(book, key(Budgets(daily_uusd=100)), est=21)
    book.reserve((key(Budgets(daily_uusd=100)),), est_uusd=20, at_s=AT)


def test_a_reservation_counts_in_accounts_that_get_a_budget_while_it_runs() -> None:
    book = BudgetBook()
    hold = book.reserve((key(Budgets(daily_uusd=100)), FREE), est_uusd=100, at_s=AT)
    team = Claim(Subject.WORKSPACE, "team", budgets=Budgets(daily_uusd=150))
    refusal(book, team, est=51)
    hold.release()
    book.reserve((team,), est_uusd=51, at_s=AT)


def test_sums_of_the_journal_become_what_was_spent_by_each() -> None:
    book = BudgetBook()
    today = day_of(AT)
    book.load(
        [
            (today, "team", "app", "coder", 5),
            (today, "team", "web", "", 7),
            (today - 2, "team", "app", "", 100),
            (today - 3, "team", "app", "", 1000),
            (today - 11, "other", "app", "", 10_000),
        ]
    )
    assert spent(book, Subject.WORKSPACE, "team") == [12, 112, 1112]
    assert spent(book, Subject.KEY, "app") == [5, 105, 1105]
    assert spent(book, Subject.KEY, "web") == [7, 7, 7]
    assert spent(book, Subject.AGENT_TYPE, "coder") == [5, 5, 5]
    assert spent(book, Subject.KEY, "app", at_s=AT - 11 * DAY) == [10_000, 10_000, 10_000]
    assert len(book) == 5


def test_asking_how_a_budget_stands_changes_nothing() -> None:
    book = BudgetBook()
    assert book.status(Subject.KEY, "nobody", Budgets(daily_uusd=5), at_s=AT) == (
        BudgetStatus(Period.DAY, 5, 0, 0, 5, datetime(2026, 3, 12, tzinfo=UTC).timestamp()),
        BudgetStatus(Period.WEEK, None, 0, 0, None, datetime(2026, 3, 16, tzinfo=UTC).timestamp()),
        BudgetStatus(Period.MONTH, None, 0, 0, None, datetime(2026, 4, 1, tzinfo=UTC).timestamp()),
    )
    assert len(book) == 0


def test_a_wrong_date_that_is_mended_refunds_nothing() -> None:
    wall, elapsed = [AT], [0.0]
    clock = BelievedClock(lambda: wall[0], lambda: elapsed[0])
    book = BudgetBook()
    claim = key(Budgets(daily_uusd=100, monthly_uusd=100))

    def later(seconds: float, *, jump: float = 0.0) -> None:
        wall[0] += seconds + jump
        elapsed[0] += seconds

    book.reserve((claim,), est_uusd=100, at_s=clock.read()).settle(100)
    later(10.0, jump=-3600.0)
    refusal(book, claim, est=1, at_s=clock.read())
    later(10.0, jump=3600.0 + 40 * DAY)
    refusal(book, claim, est=1, at_s=clock.read())
    later(60.0)
    book.reserve((claim,), est_uusd=100, at_s=clock.read()).settle(100)
    later(10.0, jump=-40 * DAY)
    refusal(book, claim, est=1, at_s=clock.read())
    later(60.0)
    assert clock.read() == AT + 150.0
    refusal(book, claim, est=1, at_s=clock.read())
    assert spent(book, Subject.KEY, "app") == [100, 100, 100]


def test_a_flood_of_ids_is_bounded_and_loses_nothing_of_those_with_a_budget() -> None:
    book = BudgetBook(max_unbudgeted=100)
    book.load([(day_of(AT), f"team-{number}", "app", "", 9) for number in range(120)])
    assert len(book) == 121
    for number in range(500):
        book.spend((Claim(Subject.WORKSPACE, f"random-{number}"),), cost_uusd=5, at_s=AT)
    assert len(book) == 121
    assert book.uncounted == 500
    budgeted = Claim(Subject.WORKSPACE, "random-3", budgets=Budgets(daily_uusd=100))
    book.reserve((budgeted,), est_uusd=50, at_s=AT)
    refusal(book, budgeted, est=51)
    assert spent(book, Subject.WORKSPACE, "team-7") == [9, 9, 9]


def test_an_id_that_was_not_counted_is_made_up_from_the_journal() -> None:
    book = BudgetBook()
    book.spend((FREE,), cost_uusd=30, at_s=AT)
    today = day_of(AT)
    book.make_up(Subject.WORKSPACE, "team", [(today - 1, 50), (today, 20)])
    assert spent(book, Subject.WORKSPACE, "team") == [30, 70, 70]
    book.make_up(Subject.WORKSPACE, "team", [(today - 1, 50), (today, 20)])
    assert spent(book, Subject.WORKSPACE, "team") == [30, 70, 70]


def test_whoever_gets_a_budget_after_ids_were_left_uncounted_is_told_of_once() -> None:
    gaps: list[tuple[Subject, str]] = []
    book = BudgetBook(on_gap=lambda subject, name: gaps.append((subject, name)), max_unbudgeted=2)
    budgets = Budgets(daily_uusd=100)
    book.spend((Claim(Subject.WORKSPACE, "first", budgets=budgets),), cost_uusd=1, at_s=AT)
    assert gaps == []  # nobody was left out so far
    for name in ("second", "third"):
        book.spend((Claim(Subject.WORKSPACE, name),), cost_uusd=1, at_s=AT)
    assert book.uncounted == 1
    for _ in range(2):
        book.reserve((Claim(Subject.WORKSPACE, "third", budgets=budgets),), est_uusd=1, at_s=AT)
        book.spend((Claim(Subject.WORKSPACE, "first", budgets=budgets),), cost_uusd=1, at_s=AT)
    assert gaps == [(Subject.WORKSPACE, "third")]


def test_ids_without_a_budget_make_room_when_they_were_long_unused_and_the_others_never() -> None:
    book = BudgetBook(max_unbudgeted=10)
    limited = key(Budgets(monthly_uusd=100), "limited")
    book.spend((limited,), cost_uusd=1, at_s=AT)
    for number in range(8):
        book.spend((key(Budgets(), f"old-{number}"),), cost_uusd=5, at_s=AT)
    running = book.reserve((key(Budgets(), "running"),), est_uusd=5, at_s=AT)
    assert len(book) == 10
    later = AT + (LOOK_BACK_DAYS + 1) * DAY
    for number in range(50):
        book.spend((key(Budgets(), f"new-{number}"),), cost_uusd=5, at_s=later)
    assert len(book) == 10
    assert spent(book, Subject.KEY, "limited") == [1, 1, 1]
    assert spent(book, Subject.KEY, "old-3") == [0, 0, 0]
    assert spent(book, Subject.KEY, "new-3", at_s=later) == [5, 5, 5]
    running.settle(5)
    assert spent(book, Subject.KEY, "running") == [5, 5, 5]


# Events


def test_a_budget_is_told_of_at_eighty_and_at_a_hundred_percent_once_a_period() -> None:
    told: list[BudgetEvent] = []
    book = BudgetBook(on_event=told.append)
    claim = key(Budgets(daily_uusd=100))
    for _ in range(10):
        book.reserve((claim, FREE), est_uusd=10, at_s=AT).settle(10)
    midnight = datetime(2026, 3, 11, tzinfo=UTC)
    assert told == [
        BudgetEvent(Subject.KEY, "app", Period.DAY, midnight.timestamp(), 80, 100, 80),
        BudgetEvent(Subject.KEY, "app", Period.DAY, midnight.timestamp(), 100, 100, 100),
    ]
    told.clear()
    book.spend((claim,), cost_uusd=120, at_s=AT + DAY)
    assert [(event.level, event.starts_s, event.spent_uusd) for event in told] == [
        (80, (midnight + timedelta(days=1)).timestamp(), 120),
        (100, (midnight + timedelta(days=1)).timestamp(), 120),
    ]


def test_reservations_are_not_spent_and_tell_nothing() -> None:
    told: list[BudgetEvent] = []
    book = BudgetBook(on_event=told.append)
    hold = book.reserve((key(Budgets(daily_uusd=100)),), est_uusd=100, at_s=AT)
    hold.release()
    assert told == []


def test_what_was_told_before_a_restart_is_not_told_again() -> None:
    told: list[BudgetEvent] = []
    budgets = Budgets(daily_uusd=100, monthly_uusd=100)
    first = BudgetBook(on_event=told.append)
    first.spend((key(budgets),), cost_uusd=85, at_s=AT)
    assert [event.period for event in told] == [Period.DAY, Period.MONTH]
    again: list[BudgetEvent] = []
    second = BudgetBook(on_event=again.append)
    second.load([(day_of(AT), "team", "app", "", 85)])
    for event in told:
        second.remember(event)
    second.spend((key(budgets),), cost_uusd=1, at_s=AT)
    assert again == []
    second.spend((key(budgets),), cost_uusd=14, at_s=AT)
    assert [(event.period, event.level) for event in again] == [(Period.DAY, 100), (Period.MONTH, 100)]


def test_a_budget_that_is_lowered_below_what_was_spent_is_told_of_with_the_first_refusal() -> None:
    told: list[BudgetEvent] = []
    book = BudgetBook(on_event=told.append)
    book.spend((key(Budgets(daily_uusd=1000)),), cost_uusd=200, at_s=AT)
    for _ in range(3):
        refusal(book, key(Budgets(daily_uusd=100)), est=1)
    assert [(event.level, event.limit_uusd, event.spent_uusd) for event in told] == [(80, 100, 200), (100, 100, 200)]
