"""Write docs/reference/commands.md from the help of each command; a test compares the two.

Run it with the project's own interpreter: .venv/bin/python scripts/command_reference.py
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from autocelery._cli.root import autocelery

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "commands.md"

_HEAD = """\
# Commands

<!-- Written by scripts/command_reference.py from the commands' own help. -->

`-A`, `-b` and `--workdir` mean what they mean to `celery`, and come before the command. Without `-A`
the app is looked for as Celery, Flask and Django would: in `FLASK_APP`, in the package of Django's
settings, in `app.py`, `tasks.py`, `wsgi.py`, `make_celery.py` or `main.py`, in a `celery.py` or
`celery_app.py` of a package in the current folder. Several apps are listed, and none is chosen.

Results go to standard output, everything else to standard error. The exit code is 0 when it is done, 1
when it failed and said why, 2 for wrong usage, 130 after Ctrl-C. A script under `run` has its own.
"""


def page() -> str:
    """Return the page as it should be."""
    sections = (f"## {name}\n\n```text\n{shown}\n```\n" for name, shown in helps(autocelery, "autocelery"))
    return "\n".join([_HEAD, *sections])


def helps(
    command: click.Command, name: str, parent: click.Context | None = None
) -> Iterator[tuple[str, str]]:
    """Yield the whole name and the help of a command and of those below it."""
    context = _context(command, name, parent)
    yield context.command_path, command.get_help(context).rstrip()
    if isinstance(command, click.Group):
        for each in command.list_commands(context):
            below = command.get_command(context, each)
            assert below is not None
            yield from helps(below, each, context)


def _context(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    width = {"terminal_width": 100, "max_content_width": 100}
    return click.Context(command, info_name=name, parent=parent, **{**width, **command.context_settings})


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"Wrote {PAGE}", file=sys.stderr)
