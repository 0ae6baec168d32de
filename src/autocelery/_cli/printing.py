"""How commands speak: results to stdout, everything else to stderr, colours on a terminal only."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click


def result(text: str) -> None:
    """Print a result to stdout."""
    click.echo(text)


def as_json(value: object) -> None:
    """Print a result that a program reads, to stdout; what JSON lacks is written as text."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def note(text: str) -> None:
    """Print what is not the result to stderr."""
    click.echo(text, err=True)


def error(text: str) -> None:
    """Print why the command failed to stderr."""
    click.echo(f"{click.style('Error:', fg='red', bold=True)} {text}", err=True)


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print aligned columns to stdout; in a pipe, unwrapped and without the headings' style."""
    from rich.table import Table

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        drawn.add_column(heading, overflow="fold")
    for row in rows:
        drawn.add_row(*(_plain(cell) for cell in row))
    console().print(drawn)


def console(stderr: bool = False) -> Any:
    """Return rich's console for stdout, or stderr; in a pipe it neither colours nor wraps."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, highlight=False, width=None if stream.isatty() else 1000)


def size(count: float) -> str:
    """Return bytes as people read them: ``812 B``, ``4.3 KB``, ``1.2 GB``."""
    if count < 1024:
        return f"{count:.0f} B"
    for unit in ("KB", "MB", "GB"):
        count /= 1024
        if count < 1024 or unit == "GB":
            break
    return f"{count:.1f} {unit}"


def counted(number: int, noun: str) -> str:
    """Return ``1 file``, ``2 files``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def moment(seconds: float) -> str:
    """Return a time since the epoch in local time, to the minute."""
    from datetime import datetime

    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")


def _plain(cell: object) -> Any:
    from rich.text import Text

    return cell if isinstance(cell, Text) else Text(str(cell))
