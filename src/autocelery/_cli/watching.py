"""What somebody sees of a call that runs: its output, its progress on a terminal, a question at Ctrl-C."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import click

from autocelery._cli import printing
from autocelery.errors import AutoceleryError, HostLost

if TYPE_CHECKING:
    from autocelery import Autocelery
    from autocelery._publish.progress import Progress
    from autocelery._publish.streaming import Follower


class Watch:
    """Shows one call on standard error. Owns its follower and its bar, which end with the ``with`` block.

    Args:
        is_quiet: show nothing of it.
    """

    def __init__(self, is_quiet: bool) -> None:
        self._is_quiet = is_quiet
        self._follower: Follower | None = None
        self._bar = Bar()
        self._has_ended = False

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop()

    def sending(self, auto: Autocelery) -> AbstractContextManager[None]:
        """Have the call that is sent in this block shown."""
        if self._is_quiet:
            return nullcontext()
        from autocelery._publish.showing import Printer
        from autocelery._publish.streaming import Follower

        self._follower = Follower(auto.listener, Printer(out="stderr"))
        return self._follower.sending()

    def result(self, sent: Any, timeout: float | None) -> Any:
        """Wait for the result of ``sent`` and return it, or what it raised, after all of its output.

        Raises:
            celery.exceptions.TimeoutError: it did not come in ``timeout`` seconds.
        """
        from autocelery._publish.progress import result_with_progress

        if self._is_quiet or not sys.stderr.isatty():
            value = sent.get(timeout=timeout, propagate=False)
        else:
            value = result_with_progress(sent, timeout, self._bar.show)
        was_refused = isinstance(value, AutoceleryError) and not isinstance(value, HostLost)
        self._has_ended = not was_refused  # who was refused has no last words
        self._stop()
        return value

    def wants_it_revoked(self) -> bool:
        """Ask, after Ctrl-C on a terminal, what becomes of the call; a second Ctrl-C leaves it running."""
        self._stop()
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            return False
        try:
            answer = click.prompt(
                "Leave the call running, or revoke it?",
                type=click.Choice(["l", "r"]),
                default="l",
                err=True,
            )
        except (KeyboardInterrupt, click.Abort):
            printing.note("")
            return False
        return bool(answer == "r")

    def _stop(self) -> None:
        follower, self._follower = self._follower, None
        if follower is not None:
            follower.finish(lambda _: self._has_ended)
        self._bar.stop()


class Bar:
    """A progress bar on standard error, from the first progress that a task reports."""

    def __init__(self) -> None:
        self._drawn: Any = None

    def show(self, progress: Progress) -> None:
        """Draw what a task has reported."""
        if self._drawn is None:
            from rich.progress import Progress as Drawn

            self._drawn = Drawn(console=printing.console(stderr=True), transient=True)
            self._drawn.start()
            self._drawn.add_task("")
        self._drawn.update(0, completed=progress.done, total=progress.total, description=progress.text)

    def stop(self) -> None:
        """Remove it."""
        if self._drawn is not None:
            self._drawn.stop()
            self._drawn = None
