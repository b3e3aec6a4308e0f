"""How much money somebody may spend: reserved before sending, for all budgets of a request in one step.

A request is held to `spent + reserved + estimate <= limit` in every period of every budget it counts for, and its cost
stays with the periods it began in, as its journal row does. Spend is counted for everybody, whether or not there is a
budget, because one may be set in the middle of a month. Periods that are over keep their counts, so that a clock that
returns finds what was spent.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TypeAlias

import msgspec

from octoroute_py.admission.claims import OWNERS, Claim, Subject
from octoroute_py.admission.periods import Period, day_of, period_end_s, period_start_s
from octoroute_py.admission.tallies import Account, Codes, Tallies, codes_at
from octoroute_py.core.allowance import NO_BUDGETS, Budgets
from octoroute_py.core.errors import Refused

LOOK_BACK_DAYS = 75
"""Load the journal from so many days before now: a clock that was 40 days wrong then returns to a month it knows."""
MAX_UNBUDGETED = 20_000
"""How many ids of one subject there may be before those that nothing limits are no longer counted."""
_LOOK_AT = 2
_DAY_S = 86400.0
_CHEAPER = "a lower max_tokens makes it less"

DaySpend: TypeAlias = tuple[int, str, str, str, int]
"""A sum of the journal: day since 1970 of `started_ms`, workspace, key_id, agent_type, cost in micro-USD."""


class BudgetEvent(msgspec.Struct, frozen=True):
    """A budget was used to `level` percent, in the period that began at `starts_s` (Unix seconds)."""

    subject: Subject
    id: str
    period: Period
    starts_s: float
    level: int
    limit_uusd: int
    spent_uusd: int


class BudgetStatus(msgspec.Struct, frozen=True):
    """How one period stands, which ends at `ends_s`; limit and what remains of it are None without a budget."""

    period: Period
    limit_uusd: int | None
    spent_uusd: int
    reserved_uusd: int
    remaining_uusd: int | None
    ends_s: float


class OverBudget(Refused):
    """A budget does not allow the request (429 `insufficient_quota`); says whose it is, and for which period.

    `period` is None for the budget of a single request. `retry_after_s` is when the period ends; None when the request
    costs more than the whole budget, so that no period will do.
    """

    def __init__(self, message: str, *, subject: Subject, period: Period | None, retry_after_s: float | None) -> None:
        super().__init__(
            message,
            code="insufficient_quota",
            status=429,
            retry_after_s=retry_after_s,
            error_type="insufficient_quota",
            final=True,
        )
        self.subject = subject
        self.period = period


class _Entry(msgspec.Struct, frozen=True, gc=False):
    """What a request counts for: a claim, its account, and the tallies of the periods the request began in."""

    claim: Claim
    account: Account
    tallies: Tallies


def _limits(budgets: Budgets) -> tuple[int | None, int | None, int | None]:
    """In the order of Period, and of tallies."""
    return budgets.daily_uusd, budgets.weekly_uusd, budgets.monthly_uusd


def has_budget(claims: Iterable[Claim]) -> bool:
    """Whether a request with these claims has to reserve before it is sent."""
    return any(claim.budgets is not NO_BUDGETS and claim.budgets != NO_BUDGETS for claim in claims)


class Hold:
    """Money reserved for a request until `settle` or `release`: the first of them counts, others do nothing."""

    __slots__ = ("_at_s", "_book", "_entries", "_open", "reserved_uusd")

    def __init__(self, book: "BudgetBook", entries: Sequence[_Entry], *, uusd: int, at_s: float) -> None:
        self._book = book
        self._entries = entries
        self._at_s = at_s
        self._open = True
        self.reserved_uusd = 0
        for entry in entries:
            entry.account.holds += 1
        self._reserve(uusd)

    def grow(self, more_uusd: int) -> bool:
        """Reserve more for another attempt, in the same periods; False where it does not fit, and nothing changed."""
        if not self._open:
            return False
        whole = self.reserved_uusd + more_uusd
        if any(not _fits(entry, more_uusd, whole=whole) for entry in self._entries):
            return False
        self._reserve(more_uusd)
        return True

    def settle(self, cost_uusd: int) -> None:
        """The request came to this cost, be it more than was reserved: that is spent, and nothing reserved any more."""
        if self._open:
            self.release()
            self._book.enter(self._entries, cost_uusd, at_s=self._at_s)

    def release(self) -> None:
        """Nothing was spent."""
        if self._open:
            self._open = False
            self._reserve(-self.reserved_uusd)
            for entry in self._entries:
                entry.account.holds -= 1

    def _reserve(self, uusd: int) -> None:
        self.reserved_uusd += uusd
        for entry in self._entries:
            for tally in entry.tallies:
                tally.reserved += uusd


class BudgetBook:
    """What everybody has spent and reserved. `at_s` is always the request's start: its row's `started_ms` / 1000.

    `on_event` hears of budgets that reach 80 and 100 percent, once for each period, limit and level. `uncounted` says
    how often an id without a budget was not counted because there are too many; from then on `on_gap` hears of every
    id that gets a budget, for the journal to `make_up` what is missing.
    """

    __slots__ = ("_accounts", "_codes", "_day", "_max_unbudgeted", "_on_event", "_on_gap", "uncounted")

    def __init__(
        self,
        *,
        on_event: Callable[[BudgetEvent], None] | None = None,
        on_gap: Callable[[Subject, str], None] | None = None,
        max_unbudgeted: int = MAX_UNBUDGETED,
    ) -> None:
        self._on_event = on_event
        self._on_gap = on_gap
        self._max_unbudgeted = max_unbudgeted
        self._accounts: dict[Subject, OrderedDict[str, Account]] = {
            subject: OrderedDict() for subject in Subject if subject is not Subject.IP
        }
        self._day = 0
        self._codes = codes_at(0.0)
        self.uncounted = 0

    def __len__(self) -> int:
        """Ids in memory, of all subjects."""
        return sum(map(len, self._accounts.values()))

    # What was before

    def load(self, rows: Iterable[DaySpend]) -> None:
        """Add the sums of the journal's last `LOOK_BACK_DAYS`, before the first request."""
        for day, workspace, key_id, agent_type, cost_uusd in rows:
            codes = self._codes_at(day * _DAY_S)
            for subject, name in (
                (Subject.WORKSPACE, workspace),
                (Subject.KEY, key_id),
                (Subject.AGENT_TYPE, agent_type),
            ):
                if name:
                    _spend(self._accounts[subject].setdefault(name, Account()).at(codes), cost_uusd)

    def make_up(self, subject: Subject, name: str, days: Iterable[tuple[int, int]]) -> None:
        """Raise what an id has spent to what the journal says at least, in (day since 1970, micro-USD) sums.

        For an id that gets a budget after some ids were left uncounted.
        """
        account = self._accounts[subject].setdefault(name, Account())
        known = Account()
        for day, cost_uusd in days:
            codes = self._codes_at(day * _DAY_S)
            _spend(known.at(codes), cost_uusd)
            for tally, least in zip(account.at(codes), known.at(codes), strict=True):
                tally.spent = max(tally.spent, least.spent)

    def remember(self, event: BudgetEvent) -> None:
        """This event was told before the start, so it is not told again."""
        account = self._accounts[event.subject].setdefault(event.id, Account())
        tallies = account.at(self._codes_at(event.starts_s))
        dict(zip(Period, tallies, strict=True))[event.period].told(event.limit_uusd, event.level)

    # Requests

    def reserve(self, claims: Sequence[Claim], *, est_uusd: int, at_s: float) -> Hold:
        """Reserve the most that a request may cost in all its budgets, or in none and raise OverBudget."""
        entries = self._entries(claims, at_s)
        for entry in entries:
            if not _fits(entry, est_uusd, whole=est_uusd):
                self._announce(entries, at_s)  # a limit that was lowered, or spend of before a restart
                raise _refusal(entries, est_uusd, at_s)
        return Hold(self, entries, uusd=est_uusd, at_s=at_s)

    def spend(self, claims: Sequence[Claim], *, cost_uusd: int, at_s: float) -> None:
        """Count what a request cost that reserved nothing."""
        if cost_uusd > 0:
            self.enter(self._entries(claims, at_s), cost_uusd, at_s=at_s)

    def enter(self, entries: Sequence[_Entry], cost_uusd: int, *, at_s: float) -> None:
        """Book a cost; a Hold does this when it is settled."""
        for entry in entries:
            _spend(entry.tallies, cost_uusd)
        self._announce(entries, at_s)

    def status(self, subject: Subject, name: str, budgets: Budgets, *, at_s: float) -> tuple[BudgetStatus, ...]:
        """How the day, the week and the month of an id stand; asking changes nothing."""
        account = self._accounts[subject].get(name)
        tallies = (None, None, None) if account is None else account.look(codes_at(at_s))
        rows = []
        for period, limit, tally in zip(Period, _limits(budgets), tallies, strict=True):
            spent, reserved = (0, 0) if tally is None else (tally.spent, tally.reserved)
            remaining = None if limit is None else max(0, limit - spent - reserved)
            rows.append(BudgetStatus(period, limit, spent, reserved, remaining, period_end_s(period, at_s)))
        return tuple(rows)

    def _codes_at(self, at_s: float) -> Codes:
        day = day_of(at_s)
        if day != self._day:
            self._day, self._codes = day, codes_at(at_s)
        return self._codes

    def _entries(self, claims: Sequence[Claim], at_s: float) -> list[_Entry]:
        codes = self._codes_at(at_s)
        entries = []
        for claim in claims:
            accounts = self._accounts.get(claim.subject)
            if accounts is None:
                continue
            account = accounts.get(claim.id)
            budgeted = claim.budgets is not NO_BUDGETS and claim.budgets != NO_BUDGETS
            if account is None:
                account = Account() if budgeted else self._newcomer(accounts)
                if account is None:
                    self.uncounted += 1
                    continue
                accounts[claim.id] = account
            if budgeted and not account.budgeted and self.uncounted and self._on_gap is not None:
                self._on_gap(claim.subject, claim.id)
            account.budgeted = budgeted
            entries.append(_Entry(claim, account, account.at(codes)))
        return entries

    def _newcomer(self, accounts: OrderedDict[str, Account]) -> Account | None:
        """An account for an id without a budget, unless there are too many; those long unused make room."""
        for _ in range(min(len(accounts), _LOOK_AT)):
            name, oldest = accounts.popitem(last=False)
            if oldest.budgeted or oldest.holds or oldest.last_day >= self._day - LOOK_BACK_DAYS:
                accounts[name] = oldest
        return Account() if len(accounts) < self._max_unbudgeted else None

    def _announce(self, entries: Sequence[_Entry], at_s: float) -> None:
        """Tell the levels that are reached and were not told yet."""
        if self._on_event is None:
            return
        for entry in entries:
            if entry.claim.budgets is not NO_BUDGETS:
                for event in _events(entry, at_s):
                    self._on_event(event)


def _events(entry: _Entry, at_s: float) -> list[BudgetEvent]:
    """What has to be told of a claim's budgets; it counts as told from now on."""
    claim, events = entry.claim, []
    for period, limit, tally in zip(Period, _limits(claim.budgets), entry.tallies, strict=True):
        if limit is None:
            continue
        for level in tally.to_tell(limit):
            tally.told(limit, level)
            starts_s = period_start_s(period, at_s)
            events.append(BudgetEvent(claim.subject, claim.id, period, starts_s, level, limit, tally.spent))
    return events


def _spend(tallies: Tallies, cost_uusd: int) -> None:
    for tally in tallies:
        tally.spent += cost_uusd


def _fits(entry: _Entry, more: int, *, whole: int) -> bool:
    """Whether `more` may be reserved; `whole` is what the request then has reserved in all."""
    budgets = entry.claim.budgets
    if budgets is NO_BUDGETS:
        return True
    day, week, month = entry.tallies
    return (
        (budgets.per_request_uusd is None or whole <= budgets.per_request_uusd)
        and (budgets.daily_uusd is None or day.spent + day.reserved + more <= budgets.daily_uusd)
        and (budgets.weekly_uusd is None or week.spent + week.reserved + more <= budgets.weekly_uusd)
        and (budgets.monthly_uusd is None or month.spent + month.reserved + more <= budgets.monthly_uusd)
    )


def _refusal(entries: Sequence[_Entry], est: int, at_s: float) -> OverBudget:
    """What to tell: a budget that no time will mend, else of those in the way the one whose period ends last."""
    never: list[tuple[Claim, Period | None]] = []
    later: list[tuple[float, Claim, Period]] = []
    for entry in entries:
        budgets = entry.claim.budgets
        if budgets.per_request_uusd is not None and est > budgets.per_request_uusd:
            never.append((entry.claim, None))
        for period, limit, tally in zip(Period, _limits(budgets), entry.tallies, strict=True):
            if limit is not None and est > limit:
                never.append((entry.claim, period))
            elif limit is not None and tally.spent + tally.reserved + est > limit:
                later.append((period_end_s(period, at_s), entry.claim, period))
    may_cost = f"This request may cost {est / 1e6:.6f} USD"
    if never:
        claim, too_small = never[0]
        what = "request" if too_small is None else too_small.value
        message = f"{may_cost}, more than the whole budget of {OWNERS[claim.subject]} for a {what}; {_CHEAPER}."
        return OverBudget(message, subject=claim.subject, period=too_small, retry_after_s=None)
    ends_s, claim, period = max(later, key=lambda row: row[0])
    when = datetime.fromtimestamp(ends_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    left = f"more than is left of the budget of {OWNERS[claim.subject]} for this {period.value}"
    message = f"{may_cost}, {left}; {_CHEAPER}. The next {period.value} begins at {when}."
    return OverBudget(message, subject=claim.subject, period=period, retry_after_s=ends_s - at_s)
