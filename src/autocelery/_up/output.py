"""What the processes write, line by line, with their names before it; colours on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence

_COLORS = (36, 33, 35, 32, 34, 96, 93, 95, 92, 94)


class Output:
    """Writes lines to stdout.

    Args:
        names: of all processes, so that the lines stand below each other.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._width = max(len(each) for each in names)
        self._stream = sys.stdout.buffer
        has_colors = sys.stdout.isatty()
        self._colors = {
            name: _COLORS[place % len(_COLORS)] if has_colors else 0 for place, name in enumerate(names)
        }

    def write(self, name: str, line: bytes) -> None:
        """Write a line of a process, or of ``up`` itself; a terminal or a pipe that is gone is no reason to end."""
        prefix = f"{name:{self._width}} | "
        color = self._colors.get(name, 0)
        if color:
            prefix = f"\x1b[{color}m{prefix}\x1b[0m"
        try:
            self._stream.write(prefix.encode() + line.rstrip(b"\r\n") + b"\n")
            self._stream.flush()
        except (BrokenPipeError, OSError):
            return
