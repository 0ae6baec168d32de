"""What a row of the table is, and how the table is written."""

from __future__ import annotations

import json
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

MET = "met"
MISSED = "missed"
#: A figure that explains another one and has no bar of its own.
NOTED = "-"


@dataclass(frozen=True, slots=True)
class Figure:
    """One row: ``samples`` are the raw values, by name, that the words were made from."""

    what: str
    bar: str
    measured: str
    ratio: str = ""
    verdict: str = NOTED
    samples: dict[str, list[float]] = field(default_factory=dict)


def judge(is_met: bool) -> str:
    """Return the verdict's word."""
    return MET if is_met else MISSED


def not_measured(what: str, bar: str, why: str) -> Figure:
    """Return the row of something that was not measured, which never has a number."""
    return Figure(what, bar, f"not measured: {why}", verdict="not measured")


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least ``share`` (0 to 1) of the values do not exceed.

    >>> quantile([4, 1, 3, 2], 0.5)
    2
    """
    ordered = sorted(values)
    rank = -(-len(ordered) * round(share * 1000) // 1000)
    return ordered[max(rank, 1) - 1]


def p50(values: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def spread(seconds: Sequence[float], *, high: float = 0.95) -> str:
    """Return median, a high percentile, both ends and the number of values, in milliseconds."""
    name = f"p{high * 100:g}"
    return (
        f"p50 {_ms(p50(seconds))}, {name} {_ms(quantile(seconds, high))} ms "
        f"({_ms(min(seconds))} to {_ms(max(seconds))}, n={len(seconds)})"
    )


def _ms(seconds: float) -> str:
    value = seconds * 1000
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.0f}"


def markdown(figures: Sequence[Figure]) -> str:
    """Return the table."""
    lines = ["| what | bar | measured | ratio | verdict |", "|---|---|---|---|---|"]
    for figure in figures:
        cells = (figure.what, figure.bar, figure.measured, figure.ratio, figure.verdict)
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(lines)


def conditions(third_party: Sequence[str], load: float, cores: int) -> dict[str, str]:
    """Return what has to be known about the machine to read the table."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}, {cores} cores",
        "load before the run": f"{load:.2f}",
        "the project imports": ", ".join(third_party) or "the standard library only",
    }


def write_json(file: Path, figures: Sequence[Figure], about: dict[str, str]) -> None:
    """Write everything, raw samples too, for a program to read."""
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {"conditions": about, "figures": [asdict(figure) for figure in figures]}
    file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
