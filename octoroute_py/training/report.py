"""What an evaluation found, as values: printed for people, written as JSON, drawn as plots, kept in the model card."""

from typing import Final

import msgspec

BEATS: Final = "better than a random mix of the same tiers at the same cost"
NO_BETTER: Final = "no better than a random mix of the same tiers at the same cost"


class Range(msgspec.Struct, frozen=True):
    """A value with its 98 % bootstrap interval over rows."""

    value: float
    low: float
    high: float


class PerTier(msgspec.Struct, frozen=True):
    """One number for each tier; None where no row has a label of it."""

    fast: float | None
    balanced: float | None
    deep: float | None


class DialResult(msgspec.Struct, frozen=True, kw_only=True):
    """What the dial at one tolerated loss did to rows it was not calibrated on.

    `risk` is the realised loss: the share sent to a smaller tier that failed where deep succeeds. `shares` say where
    the rows went, `abstained` how many of them the policy would leave to the next step; they count as the dial would
    have sent them. `cost` is the mean price in
    units of fast, `quality` the share of right answers, beside `quality_deep` of always asking deep. `lead` is how much
    better that is than a random mix of the same tiers at the same cost, and `verdict` says it in words.
    """

    alpha: float
    risk: float
    shares: PerTier
    abstained: float
    cost: float
    quality: float
    quality_deep: float
    lead: Range
    verdict: str


def verdict_of(lead: Range) -> str:
    """In words: whether a choice beats a random one of the same cost, as far as the rows can show."""
    return BEATS if lead.low > 0 else NO_BETTER


class Bin(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of which the artifact said about the same: what it said, what was so."""

    stated: float
    real: float
    rows: int


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one group of rows.

    `apgr` ranks by the gain score, `apgr_failure` by 1 - p_fast, `apgr_length` by the length of the prompt and
    `apgr_linear` by the linear baseline. `auc_right` is that of p for each tier; `auc_gain` that of the gain score for
    "deep is right and fast is wrong". `covered` is the share of rows whose set holds the smallest tier that succeeds
    (deep where none does), `certain` the share whose set is a single tier. `curve` is the mean quality by mean cost as
    the dial turns.
    """

    name: str
    rows: int
    right: PerTier
    apgr: Range
    cpt50: float
    cpt80: float
    apgr_failure: float
    apgr_length: float
    apgr_linear: float | None
    auc_right: PerTier
    auc_gain: float
    ece: PerTier
    in_distribution: float
    covered: float
    certain: float
    dials: tuple[DialResult, ...]
    curve: tuple[tuple[float, float], ...]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything `octoroute evaluate` says of an artifact on one data set.

    `all` is over every row, `groups` over the rows with labels of all three tiers and those with labels of two (a row
    answered by both sets of models counts in either), `sources` over each source. `bins` tell for each tier how stated
    and real success rates lie together. `verdict` is that over all rows at the middle dial.
    """

    artifact: str
    data: str
    rows: int
    prices: tuple[float, float, float]
    calibrated_on: int
    all: Group
    groups: tuple[Group, ...]
    sources: tuple[Group, ...]
    bins: dict[str, tuple[Bin, ...]]
    verdict: str


def as_json(report: Report) -> str:
    """The report as JSON; figures that cannot be computed are null."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode()
