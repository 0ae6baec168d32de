"""``%load_ext autocelery``: ``%%live`` runs a cell on a worker, ``%live`` an expression."""

from __future__ import annotations

import sys
from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, cell_magic, line_magic, magics_class
from IPython.core.magic_arguments import argument, magic_arguments, parse_argstring

from autocelery._notebook.choosing import chosen
from autocelery._publish import interactive
from autocelery._publish.cell_names import parsed


def load(shell: Any) -> None:
    """Register the magics with IPython's ``shell``, and let tasks of the notebook be defined again."""
    shell.register_magics(LiveMagics)
    shell.events.register("pre_run_cell", lambda *_: _follow(shell.user_ns))
    _follow(shell.user_ns)


def _follow(names: dict[str, Any]) -> None:
    from autocelery._publish.facade import Autocelery

    for each in list(names.values()):
        if isinstance(each, Autocelery):
            interactive.let_tasks_be_redefined(each.app)


@magics_class
class LiveMagics(Magics):
    """The magics; each runs plain Python on a worker and brings back what came of it."""

    @magic_arguments()
    @argument(
        "-A", "--app", help="The notebook's name of the app or its Autocelery, or a module, as for celery -A."
    )
    @argument("--timeout", type=float, help="Seconds to wait for the result; default: as long as it takes.")
    @argument("--queue", help="Send it to this queue.")
    @argument("--env", action="append", default=[], help="An environment variable to take along.")
    @cell_magic
    def live(self, line: str, cell: str) -> Any:
        """Run the cell on a worker; the value of its last expression and the names that it assigns come back."""
        asked = parse_argstring(self.live, line)
        auto = chosen(self.shell.user_ns, asked.app)
        options = {"queue": asked.queue} if asked.queue else {}
        with auto.live(env=asked.env):
            return self._run(auto, cell, asked.timeout, options)

    @line_magic("live")
    def live_expression(self, line: str) -> Any:
        """Evaluate an expression on a worker: ``%live score(rows)``."""
        if not line.strip():
            raise UsageError(
                "Write an expression: %live score(rows). For a whole cell, begin it with %%live."
            )
        return self._run(chosen(self.shell.user_ns, None), line.strip(), None, {})

    def _run(self, auto: Any, source: str, timeout: float | None, options: dict[str, Any]) -> Any:
        cell = parsed(self.shell.transform_cell(source))
        value, outcome = interactive.run(auto, cell, self.shell.user_ns, timeout, **options)
        sys.stdout.write(outcome.output)
        for name, reason in outcome.left.items():
            sys.stderr.write(f"{name} stayed on the worker: {reason}\n")
        return value
