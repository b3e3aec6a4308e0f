"""The budget book against plain dicts, under any order of reservations, ends, clocks and restarts."""

from collections import Counter
from datetime import UTC, datetime

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from octoroute_py.admission.budget import BudgetBook, BudgetEvent, Hold, OverBudget
from octoroute_py.admission.claims import Claim, Subject
from octoroute_py.admission.periods import Period, day_of
from octoroute_py.core.allowance import Budgets

NOON = datetime(2026, 3, 30, 12, tzinfo=UTC)
"""A Monday; the month ends on the next day, the week in the next month."""
DAY = 86400.0
BUDGETS = {
    (Subject.KEY, "app"): Budgets(daily_uusd=100, weekly_uusd=250, monthly_uusd=300),
    (Subject.KEY, "web"): Budgets(per_request_uusd=40),
    (Subject.WORKSPACE, "team"): Budgets(weekly_uusd=200),
    (Subject.WORKSPACE, "free"): Budgets(),
    (Subject.AGENT_TYPE, "coder"): Budgets(daily_uusd=60),
}
Owner = tuple[Subject, str]
Cell = tuple[Owner, Period, tuple[int, ...]]


def cells(owner: Owner, at_s: float) -> list[Cell]:
    """The owner's periods that hold this moment, named by the calendar rather than by our own arithmetic."""
    date = datetime.fromtimestamp(at_s, UTC)
    return [
        (owner, Period.DAY, (date.year, date.month, date.day)),
        (owner, Period.WEEK, tuple(date.isocalendar()[:2])),
        (owner, Period.MONTH, (date.year, date.month)),
    ]


def limit_of(cell: Cell) -> int | None:
    budgets = BUDGETS[cell[0]]
    limits = {Period.DAY: budgets.daily_uusd, Period.WEEK: budgets.weekly_uusd, Period.MONTH: budgets.monthly_uusd}
    return limits[cell[1]]


class Held:
    def __init__(self, hold: Hold, owners: list[Owner], *, at_s: float, uusd: int) -> None:
        self.hold = hold
        self.owners = owners
        self.at_s = at_s
        self.uusd = uusd
        self.open = True

    def cells(self) -> list[Cell]:
        return [cell for owner in self.owners for cell in cells(owner, self.at_s)]


@st.composite
def owners_of_a_request(draw: st.DrawFn) -> list[Owner]:
    by_subject = {
        Subject.KEY: ["app", "web"],
        Subject.WORKSPACE: ["team", "free"],
        Subject.AGENT_TYPE: ["coder"],
    }
    subjects = draw(st.lists(st.sampled_from(list(by_subject)), unique=True, min_size=1, max_size=3))
    return [(subject, draw(st.sampled_from(by_subject[subject]))) for subject in subjects]


def claims_of(owners: list[Owner]) -> list[Claim]:
    return [Claim(subject, name, budgets=BUDGETS[(subject, name)]) for subject, name in owners]


class BudgetMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.at_s = NOON.timestamp()
        self.events: list[BudgetEvent] = []
        self.book = BudgetBook(on_event=self.events.append)
        self.spent: Counter[Cell] = Counter()
        self.reserved: Counter[Cell] = Counter()
        self.beyond: Counter[Cell] = Counter()
        # The journal's rows, and what of the spend no reservation had covered.
        self.rows: list[tuple[int, str, str, str, int]] = []
        self.holds: list[Held] = []
        # What was spent without anybody there to tell of it: the next request does.
        self.unseen: set[Cell] = set()

    def fits(self, touched: list[Cell], more: int) -> bool:
        return all(
            limit is None or self.spent[cell] + self.reserved[cell] + more <= limit
            for cell in touched
            for limit in [limit_of(cell)]
        )

    def whole_fits(self, owners: list[Owner], whole: int) -> bool:
        return all(most is None or whole <= most for owner in owners for most in [BUDGETS[owner].per_request_uusd])

    def journal(self, owners: list[Owner], at_s: float, cost: int) -> None:
        names = dict(owners)
        workspace, key_id = names.get(Subject.WORKSPACE, ""), names.get(Subject.KEY, "")
        self.rows.append((day_of(at_s), workspace, key_id, names.get(Subject.AGENT_TYPE, ""), cost))

    # What happens

    @rule(days=st.sampled_from([-40.0, -7.0, -1.0, -1 / 24, 1 / 24, 0.5, 1.0, 2.0, 7.0, 40.0]))
    def clock(self, days: float) -> None:
        self.at_s = max(self.at_s + days * DAY, NOON.timestamp() - 10 * DAY)

    @rule(owners=owners_of_a_request(), est=st.sampled_from([0, 1, 20, 30, 50, 101]))
    def reserve(self, owners: list[Owner], est: int) -> None:
        touched = [cell for owner in owners for cell in cells(owner, self.at_s)]
        expected = self.fits(touched, est) and self.whole_fits(owners, est)
        try:
            hold = self.book.reserve(claims_of(owners), est_uusd=est, at_s=self.at_s)
        except OverBudget as refused:
            self.check_refusal(refused, owners, est, expected=expected)
            return
        assert expected
        self.reserved.update(dict.fromkeys(touched, est))
        self.holds.append(Held(hold, owners, at_s=self.at_s, uusd=est))

    def check_refusal(self, refused: OverBudget, owners: list[Owner], est: int, *, expected: bool) -> None:
        assert not expected
        self.unseen.difference_update(cell for one in owners for cell in cells(one, self.at_s))
        (owner,) = (owner for owner in owners if owner[0] is refused.subject)
        if refused.period is None:
            assert not self.whole_fits([owner], est)
            return
        (cell,) = (cell for cell in cells(owner, self.at_s) if cell[1] is refused.period)
        assert not self.fits([cell], est)
        if refused.retry_after_s is not None:
            (later,) = (one for one in cells(owner, self.at_s + refused.retry_after_s) if one[1] is refused.period)
            (before,) = (one for one in cells(owner, self.at_s + refused.retry_after_s - 1) if one[1] is refused.period)
            assert later != cell == before

    @precondition(lambda self: self.holds)
    @rule(data=st.data(), more=st.sampled_from([0, 1, 15, 60]))
    def grow(self, data: st.DataObject, more: int) -> None:
        held = data.draw(st.sampled_from(self.holds))
        expected = held.open and self.fits(held.cells(), more) and self.whole_fits(held.owners, held.uusd + more)
        assert held.hold.grow(more) == expected
        if expected:
            held.uusd += more
            self.reserved.update(dict.fromkeys(held.cells(), more))

    @precondition(lambda self: self.holds)
    @rule(data=st.data(), share=st.sampled_from([0.0, 0.5, 1.0, 1.0, 1.5]))
    def settle(self, data: st.DataObject, share: float) -> None:
        held = data.draw(st.sampled_from(self.holds))
        cost = int(held.uusd * share)
        held.hold.settle(cost)
        if held.open:
            self.end(held)
            self.spent.update(dict.fromkeys(held.cells(), cost))
            self.beyond.update(dict.fromkeys(held.cells(), max(0, cost - held.uusd)))
            self.unseen.difference_update(held.cells())
            self.journal(held.owners, held.at_s, cost)

    @precondition(lambda self: self.holds)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        held = data.draw(st.sampled_from(self.holds))
        held.hold.release()
        if held.open:
            self.end(held)

    def end(self, held: Held) -> None:
        held.open = False
        self.reserved.subtract(dict.fromkeys(held.cells(), held.uusd))

    @rule(owners=owners_of_a_request(), cost=st.sampled_from([0, 3, 20]))
    def spend_without_a_reservation(self, owners: list[Owner], cost: int) -> None:
        self.book.spend(claims_of(owners), cost_uusd=cost, at_s=self.at_s)
        touched = [cell for owner in owners for cell in cells(owner, self.at_s)]
        self.spent.update(dict.fromkeys(touched, cost))
        self.beyond.update(dict.fromkeys(touched, cost))
        if cost:
            self.unseen.difference_update(touched)
        self.journal(owners, self.at_s, cost)

    @rule()
    def restart(self) -> None:
        """Reservations of the dead are settled as if they had cost all of it; the journal says the rest."""
        for held in self.holds:
            if held.open:
                self.end(held)
                self.spent.update(dict.fromkeys(held.cells(), held.uusd))
                self.unseen.update(held.cells())
                self.journal(held.owners, held.at_s, held.uusd)
        self.holds.clear()
        self.book = BudgetBook(on_event=self.events.append)
        self.book.load(self.rows)
        for event in self.events:
            self.book.remember(event)

    # What holds at any time

    @invariant()
    def it_says_what_the_dicts_say(self) -> None:
        for at_s in (self.at_s, self.at_s - DAY):
            for owner, budgets in BUDGETS.items():
                rows = self.book.status(*owner, budgets, at_s=at_s)
                for row, cell in zip(rows, cells(owner, at_s), strict=True):
                    assert (row.spent_uusd, row.reserved_uusd) == (self.spent[cell], self.reserved[cell])
                    assert row.spent_uusd >= 0 <= row.reserved_uusd
                    limit = limit_of(cell)
                    assert row.limit_uusd == limit
                    if limit is not None:
                        assert row.remaining_uusd == max(0, limit - row.spent_uusd - row.reserved_uusd)

    @invariant()
    def nobody_overspends_but_by_what_no_reservation_covered(self) -> None:
        for cell in set(self.spent) | set(self.reserved):
            limit = limit_of(cell)
            assert limit is None or self.spent[cell] + self.reserved[cell] <= limit + self.beyond[cell]

    @invariant()
    def each_level_is_told_once_and_only_when_it_is_reached(self) -> None:
        told = Counter((event_cell(event), event.level) for event in self.events)
        assert all(times == 1 for times in told.values())
        for event in self.events:
            assert event.limit_uusd == limit_of(event_cell(event))
            assert self.spent[event_cell(event)] >= event.spent_uusd >= event.limit_uusd * event.level / 100
        for cell, spent in self.spent.items():
            limit = limit_of(cell)
            if limit is not None and cell not in self.unseen:
                for level in (80, 100):
                    assert told[(cell, level)] == (spent * 100 >= limit * level)


def event_cell(event: BudgetEvent) -> Cell:
    (cell,) = (one for one in cells((event.subject, event.id), event.starts_s) if one[1] is event.period)
    return cell


TestBudgetMachine = BudgetMachine.TestCase
TestBudgetMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
