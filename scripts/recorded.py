"""How recorded figures are told and where they are written: what all the measuring scripts share."""

import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def short(number: float) -> str:
    """A number with three significant digits."""
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3g}"


def spread(values: Sequence[float]) -> str:
    """Median (lowest to highest)."""
    return f"{short(statistics.median(values))} ({short(min(values))} to {short(max(values))})"


def machine() -> str:
    """Processor and cores."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = models[0].split(":", 1)[1].strip() if models else platform.machine()
    return f"{model}, {os.cpu_count()} cores"


def write_between_markers(document: Path, name: str, text: str) -> None:
    """Replaces what stands between `<!-- name:start -->` and `<!-- name:end -->` of a document."""
    start, end = f"<!-- {name}:start -->", f"<!-- {name}:end -->"
    before, rest = document.read_text(encoding="utf-8").split(start)
    _, after = rest.split(end)
    document.write_text(f"{before}{start}\n{text}\n{end}{after}", encoding="utf-8")
