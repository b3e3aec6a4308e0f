"""The model card: what an artifact knows, what it does not, and how that was measured, as Markdown beside the file."""

from octoroute_py.core.words import TIERS
from octoroute_py.neural.artifact import Card
from octoroute_py.neural.calibration import Calibration
from octoroute_py.neural.conformal import COVERAGE, FALSE_ALARMS
from octoroute_py.training.report import BEATS, Report
from octoroute_py.training.tables import (
    DIAL_HEAD,
    dial_rows,
    groups_by_figure,
    interval,
    markdown,
)


def render_card(card: Card, calibration: Calibration, report: Report, *, size_bytes: int) -> str:
    """The card of the artifact that `report` was measured on."""
    sections = (
        _head(card, report, size_bytes),
        _knows(card, calibration),
        _does_not_know(report),
        _figures(report),
        _origin(card),
    )
    return "\n\n".join(sections) + "\n"


def _head(card: Card, report: Report, size_bytes: int) -> str:
    described = f"\n\n{card.description}" if card.description else ""
    return (
        f"# {report.artifact}\n\n"
        f"A `{card.kind}` scorer of {size_bytes:,} bytes: it reads a prompt and says how likely a fast, a balanced and "
        f"a deep model are to answer it well, and how much deep would add. Feature schema {card.schema_version}."
        f"{described}"
    )


def _knows(card: Card, calibration: Calibration) -> str:
    sources = ", ".join(f"{name} {rows:,}" for name, rows in sorted(card.sources.items(), key=lambda item: -item[1]))
    tiers = "\n".join(f"- **{tier}**: {', '.join(names)}" for tier in TIERS if (names := card.tiers.get(tier)))
    tags = f"\n\nTags it learned: {', '.join(card.tags)}." if card.tags else ""
    own = f" Dials of their own: {', '.join(sorted(calibration.tags))}." if calibration.tags else ""
    return (
        f"## What it knows\n\nIt learned from {card.rows:,} labelled outcomes ({sources or 'one source'}) and was "
        f"calibrated on {calibration.gain.rows:,} others.{tags}{own}\n\n"
        f"Models whose answers stand behind the tiers:\n\n{tiers or '- not told'}"
    )


def _does_not_know(report: Report) -> str:
    return (
        "## What it does not know\n\n"
        "- It never sees an answer: it knows which kinds of prompts a tier tends to fail on, hardly which single one.\n"
        f"- {_by_source(report)}\n"
        "- Of models other than those above, and of prompts unlike those it learned from, it knows nothing. Retrain it "
        "on outcomes of your own before you trust its figures for your traffic.\n"
        f"- Its guard turns away about {100 * FALSE_ALARMS:.0f} % of familiar prompts at most, and catches strange "
        "ones only as far as their words and shape differ; a familiar-looking prompt can still be of another kind.\n"
        "- Every promise of the dial is an average over many requests of the same kind, never one for a single "
        "request.\n"
        "- Where no outcome of the balanced tier was known, balanced is taken to be no better than fast."
    )


def _by_source(report: Report) -> str:
    chance = [group.name for group in report.sources if group.dials[len(group.dials) // 2].verdict != BEATS]
    if not chance:
        return "Within every source it beats a random mix at a tolerated loss of 5 %."
    which = "any single source" if len(chance) == len(report.sources) else f"{', '.join(chance)} alone"
    return (
        f"Within {which} it is no better than a random mix at a tolerated loss of 5 %, as far as these rows can show."
    )


def _figures(report: Report) -> str:
    return (
        f"## Figures\n\nMeasured on {report.rows:,} rows it never saw ({report.data}); intervals hold the true value "
        "in 98 of 100 cases. APGR: the share of the quality gap between fast and deep won back over all shares of "
        "calls (a random mix: 0.5); CPT50 and CPT80: percent of calls to deep for half and 80 % of the gap (random: "
        "50, 80). Three numbers in a cell are fast / balanced / deep.\n\n"
        f"{markdown(*groups_by_figure(report))}\n\n"
        f"**Overall, at a tolerated loss of 5 %: {report.verdict}.** Prices: "
        f"{' : '.join(f'{price:g}' for price in report.prices)}.\n\n"
        f"{markdown(DIAL_HEAD, dial_rows(report))}\n\n"
        f"The set of tiers it names holds the smallest one that succeeds for {100 * COVERAGE:.0f} % of requests. "
        f"APGR over all rows: {interval(report.all.apgr)}."
    )


def _origin(card: Card) -> str:
    seed = f", seed {card.seed}"
    return (
        "## Origin\n\n"
        f"- Licence: {card.licence or 'not told'}\n"
        f"- Training data: SHA-256 `{card.data_digest or 'not told'}`{seed}"
    )
