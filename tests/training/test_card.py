import re

from octoroute_py.neural.artifact import Card, Kind
from octoroute_py.training.card import render_card
from octoroute_py.training.report import BEATS, Report
from tests.fakes.evidence import calibrated

CARD = Card(
    kind=Kind.FASTGRNN,
    schema_version=7,
    tags=("ide", "support"),
    tiers={"fast": ("small-8b",), "balanced": (), "deep": ("large-405b", "other")},
    data_digest="ab12" * 16,
    rows=1_234,
    sources={"chat": 234, "maths": 1_000},
    seed=3,
    licence="MIT",
    description="Made for a test.",
)


def test_the_card_tells_what_it_learned_from_and_under_which_licence(report: Report) -> None:
    text = render_card(CARD, calibrated(), report, size_bytes=263_000)
    assert text.startswith("# a.safetensors\n")
    for told in (
        "263,000 bytes", "Made for a test.", "1,234 labelled outcomes (maths 1,000, chat 234)", "ide, support",
        "- **fast**: small-8b", "- **deep**: large-405b, other", "Licence: MIT", "ab12" * 16, "seed 3",
        "calibrated on 3,000 others",
    ):  # fmt: skip
        assert told in text, told
    assert "**balanced**" not in text


def test_its_figures_are_those_of_the_report(report: Report) -> None:
    text = render_card(CARD, calibrated(), report, size_bytes=1)
    assert f"| {report.all.apgr.value:.3f} ({report.all.apgr.low:.3f} to {report.all.apgr.high:.3f}) |" in text
    assert f"{100 * report.all.dials[1].risk:.1f} %" in text
    assert f"**Overall, at a tolerated loss of 5 %: {BEATS}.**" in text


def test_it_says_where_it_is_no_better_than_random(report: Report) -> None:
    text = render_card(CARD, calibrated(), report, size_bytes=1)
    beaten = [group.name for group in report.sources if group.dials[1].verdict == BEATS]
    assert ("Within every source it beats a random mix" in text) is (len(beaten) == len(report.sources))
    assert "What it does not know" in text


def test_every_table_is_well_formed(report: Report) -> None:
    text = render_card(CARD, calibrated(), report, size_bytes=1)
    for table in re.findall(r"(?:^\|.*\|\n?)+", text, re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1
