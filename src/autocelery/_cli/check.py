"""``autocelery check``: would queued messages fail on this code, or this code's messages elsewhere?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from autocelery._cli import printing
from autocelery._cli.shell import Shell

if TYPE_CHECKING:
    from autocelery._check.comparing import Compared

_BREAKS, _UNKNOWN, _SAFE = "breaks", "cannot tell", "safe"
#: What may pass, by --fail-on.
_PASSES = {
    "breaks": frozenset({_SAFE, _UNKNOWN, "safe if workers go first", "safe if producers go first"}),
    "order": frozenset({_SAFE, _UNKNOWN}),
    "unknown": frozenset({_SAFE}),
}


@click.command(epilog="Example: autocelery -A proj check --against origin/main")
@click.option(
    "--against", metavar="REV", help="Compare with this revision in git; its code is read, not run."
)
@click.option(
    "--queued", is_flag=True, help="Compare with messages that wait; they are looked at, not consumed."
)
@click.option("--workers", is_flag=True, help="Compare with the workers that run.")
@click.option(
    "-Q", "--queue", "queues", multiple=True, help="With --queued: this queue; may be given several times."
)
@click.option(
    "--sample", type=click.IntRange(1), default=1000, help="With --queued: messages of each queue; 1000."
)
@click.option(
    "-t", "--timeout", type=float, default=1.0, help="With --workers: seconds they have to answer; 1."
)
@click.option("--all", "show_all", is_flag=True, help="Show the tasks that are safe, too.")
@click.option(
    "--fail-on",
    type=click.Choice(list(_PASSES)),
    default="breaks",
    help="Exit with 1 where a task breaks, already where an order of deployment matters, or already where nothing "
    "can be told; default: breaks.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--github", is_flag=True, help="Print annotations for GitHub Actions.")
@click.pass_obj
def check(
    shell: Shell,
    against: str | None,
    queued: bool,
    workers: bool,
    queues: tuple[str, ...],
    sample: int,
    timeout: float,
    show_all: bool,
    fail_on: str,
    as_json: bool,
    github: bool,
) -> int:
    """Say whether signatures changed so that messages fail, and who has to be deployed first.

    For each task: safe, safe if workers go first, safe if producers go
    first, breaks, with the way to do it in two steps, or cannot tell.
    Without an option it compares with the last commit.
    """
    from autocelery._check import comparing, here, messages, revisions

    app = shell.auto().app
    now = here.tasks_here(app)
    found: list[tuple[str, Compared]] = []
    if against or not (queued or workers):
        revision = against or "HEAD"
        found += [(revision, each) for each in revisions.compare_revision(app, revision, now)]
    if queued:
        found += [("queued", each) for each in messages.compare_queued(app, queues, sample)]
    if workers:
        for name, running in here.tasks_of_workers(app, timeout).items():
            found += [(name, each) for each in comparing.compare(running, now, "the running")]
    shown = [(source, each) for source, each in found if show_all or each.verdict != _SAFE]
    if as_json:
        printing.as_json([{"against": source, **asdict(each)} for source, each in shown])
    elif github:
        _annotate(shown)
    else:
        _print(shown, len(found))
    return 0 if all(each.verdict in _PASSES[fail_on] for _, each in found) else 1


def _print(shown: Sequence[tuple[str, Compared]], looked_at: int) -> None:
    for source, each in shown:
        printing.result(
            f"{each.task}  {each.verdict}  (against {source}){f'  {each.place}' if each.place else ''}"
        )
        for line in each.why:
            printing.result(f"  {line}")
        for number, step in enumerate(each.steps, 1):
            printing.result(f"  {number}. {step}")
    safe = looked_at - len(shown)
    if not looked_at:
        printing.result("There is nothing to compare: no task, or no message.")
    elif not shown:
        printing.result(f"{printing.counted(looked_at, 'task')} compared: all are safe, in any order.")
    elif safe:
        printing.note(f"{printing.counted(safe, 'other task')}: safe.")


def _annotate(shown: Sequence[tuple[str, Compared]]) -> None:
    """Print what GitHub shows beside the lines of a change."""
    for source, each in shown:
        level = (
            "error"
            if each.verdict == _BREAKS
            else "warning"
            if each.why and each.verdict != _UNKNOWN
            else "notice"
        )
        path, _, line = each.place.rpartition(":")
        where = f"file={path},line={line}," if path else ""
        text = " ".join([f"{each.verdict} (against {source}).", *each.why, *each.steps])
        printing.result(f"::{level} {where}title={each.task}::{_escaped(text)}")


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
