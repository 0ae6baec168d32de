"""`autocelery run`: a local script, every task that it sends live."""

from __future__ import annotations

import contextlib
import sys
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celery import Celery
from celery.result import AsyncResult

from autocelery._publish.showing import Printer
from autocelery._publish.streaming import Follower, has_result
from autocelery.errors import ConfigurationError
from autocelery_host import aims

if TYPE_CHECKING:
    from autocelery._publish.facade import Autocelery


def run_script(
    auto: Autocelery | None, path: Path, argv: Sequence[str], printer: Printer | None = None
) -> None:
    """Run ``path`` as Python would run it, as ``__main__``, with every task that it sends live.

    Args:
        auto: of the app given with ``-A``; ``None`` where the script makes its app itself.
        path: the script.
        argv: its arguments.
        printer: shows what the tasks print; without one nobody asks them.

    Raises:
        ConfigurationError: there is no such script.
        SyntaxError: it is no Python; nothing was sent.
        Exception: what the script itself raises.
    """
    try:
        source = path.read_bytes()
    except OSError as exc:
        raise ConfigurationError(f"The script {path} cannot be read: {exc.strerror}.") from exc
    code = compile(source, str(path), "exec")
    main = types.ModuleType("__main__")
    main.__file__ = str(path)
    before = (sys.modules["__main__"], sys.argv[:], sys.path[:])
    sys.modules["__main__"], sys.argv[:] = main, [str(path), *argv]
    sys.path.insert(0, str(path.absolute().parent))
    try:
        with _everything_live(auto), _everything_followed(printer):
            exec(code, vars(main))
    finally:
        sys.modules["__main__"], sys.argv[:], sys.path[:] = before


@contextlib.contextmanager
def _everything_followed(printer: Printer | None) -> Iterator[None]:
    """Print the output of the calls that are sent in this block; of those that go on after it, no more."""
    if printer is None:
        yield
        return
    followers: dict[Celery, Follower] = {}

    def ask(app: Celery, task_id: str, name: str) -> str | None:
        if app not in followers:
            followers[app] = Follower(app.autocelery.listener, printer)
        return followers[app].ask(task_id, name)

    try:
        with aims.asking(ask):
            yield
    finally:
        for app, follower in followers.items():
            ended = {each for each in follower.following() if has_result(AsyncResult(each, app=app))}
            follower.finish(ended.__contains__)


def _everything_live(auto: Autocelery | None) -> Any:
    from autocelery._publish.facade import every_app_live

    return auto.live() if auto is not None else every_app_live()
