"""``autocelery shell``: IPython where it is installed, else Python's own REPL, with every call live."""

from __future__ import annotations

import code
import importlib.util
import linecache
import sys
import types
from typing import Any

import celery

from autocelery._publish import interactive, naming
from autocelery._publish.facade import Autocelery
from autocelery_host.header import BUILT_IN

_CANVAS = ("chain", "chord", "chunks", "group", "signature", "xmap", "xstarmap")


def run(auto: Autocelery, plain: bool) -> None:
    """Run a shell until its user leaves it.

    Args:
        auto: of the app; every call that is sent in the shell is live.
        plain: take Python's own REPL even where IPython is installed.

    Raises:
        CodeNotImportable: a module with tasks raises while it is imported.
    """
    naming.import_tasks(auto.app)
    interactive.let_tasks_be_redefined(auto.app)
    names = names_for(auto)
    with auto.live():
        if plain or importlib.util.find_spec("IPython") is None:
            _run_plain(names, banner_for(auto))
        else:
            _run_ipython(names, banner_for(auto))


def names_for(auto: Autocelery) -> dict[str, Any]:
    """Return what the shell knows from the start: as ``celery shell``, and ``auto``."""
    app = auto.app
    tasks = {task.__name__: task for name, task in app.tasks.items() if not name.startswith(BUILT_IN)}
    canvas = {name: getattr(celery, name) for name in _CANVAS}
    return {**tasks, **canvas, "app": app, "celery": app, "auto": auto}


def banner_for(auto: Autocelery) -> str:
    """Return what the shell says first."""
    return (
        f"Every call of {auto.app.main or 'the app'} that you send from here is live: it runs the code as it is now.\n"
        "Names: app, auto, its tasks, and chain, group, chord. Functions: auto.live(f).delay(x), auto.map(f, xs)."
    )


def _run_ipython(names: dict[str, Any], banner: str) -> None:
    from IPython import start_ipython
    from traitlets.config import Config

    config = Config()
    config.TerminalInteractiveShell.banner1 = f"{banner}\nCells on a worker: %%live, %live expression.\n"
    config.InteractiveShellApp.extensions = ["autocelery"]
    start_ipython(argv=[], user_ns=names, config=config)


def _run_plain(names: dict[str, Any], banner: str) -> None:
    main = types.ModuleType("__main__")
    vars(main).update(names)
    before, sys.modules["__main__"] = sys.modules["__main__"], main
    try:
        _Console(vars(main)).interact(banner=banner, exitmsg="")
    finally:
        sys.modules["__main__"] = before


class _Console(code.InteractiveConsole):
    """Python's REPL; each input has a file name and a text of its own, which travel with its functions."""

    _number = 0

    def runsource(self, source: str, filename: str = "<input>", symbol: str = "single") -> bool:  # noqa: ARG002
        """Run the input, or say that it is not whole yet."""
        self._number += 1
        name = f"<python-input-{self._number}>"
        lines = [f"{line}\n" for line in source.splitlines()]
        linecache.cache[name] = (len(source), None, lines, name)
        return super().runsource(source, name, symbol)
