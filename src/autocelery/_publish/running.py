"""`autocelery run`: a local script, every task that it sends live."""

from __future__ import annotations

import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autocelery.errors import ConfigurationError

if TYPE_CHECKING:
    from autocelery._publish.facade import Autocelery


def run_script(auto: Autocelery | None, path: Path, argv: Sequence[str]) -> None:
    """Run ``path`` as Python would run it, as ``__main__``, with every task that it sends live.

    Args:
        auto: of the app given with ``-A``; ``None`` where the script makes its app itself.
        path: the script.
        argv: its arguments.

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
        with _everything_live(auto):
            exec(code, vars(main))
    finally:
        sys.modules["__main__"], sys.argv[:], sys.path[:] = before


def _everything_live(auto: Autocelery | None) -> Any:
    from autocelery._publish.facade import every_app_live

    return auto.live() if auto is not None else every_app_live()
