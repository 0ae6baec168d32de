"""Output on a screen or in a file: as it came, or line by line with whose it is where several calls print."""

from __future__ import annotations

import re
import sys
from typing import Any

from autocelery._publish.reading import Output

#: A line, or what a progress bar writes before it goes back to the line's beginning.
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\n|\r)")


class Printer:
    """Writes output to standard streams, looked up at each write: a progress bar may stand in for them.

    Args:
        out: the name in ``sys`` of where standard output of tasks goes.
        err: of where everything else goes.
    """

    def __init__(self, out: str = "stdout", err: str = "stderr") -> None:
        self._out = out
        self._err = err
        #: By the stream's name: whose line was begun there and not ended.
        self._begun: dict[str, tuple[str, str]] = {}
        self._waiting: dict[tuple[str, str], str] = {}

    def show(self, shown: Output, label: str = "") -> None:
        """Write what came; with a ``label`` before each line, once the line is there.

        Raises:
            OSError: nobody reads there any more.
        """
        if not label:
            self._write(shown, str(shown))
            return
        key = (shown.task_id, shown.stream)
        text = self._waiting.pop(key, "") + str(shown)
        done = 0
        for line in _LINE.finditer(text):
            done = line.end()
            self._write_line(shown, label, line.group())
        if text[done:]:
            self._waiting[key] = text[done:]

    def end(self, task_id: str, label: str = "") -> None:
        """Write what a call that has ended left of a line."""
        for key in [each for each in self._waiting if each[0] == task_id]:
            left = Output(task_id, "stdout" if key[1] == "stdout" else "stderr", self._waiting.pop(key))
            self._write_line(left, label, f"{left.text}\n")

    def close(self) -> None:
        """End the lines that were begun, so that what follows begins with one."""
        for name in list(self._begun):
            self._put(name, "\n")
            del self._begun[name]

    def _write_line(self, shown: Output, label: str, line: str) -> None:
        name = self._name(shown)
        if line.endswith("\r"):
            if len(line) > 1 and _is_terminal(getattr(sys, name)):
                self._write(shown, f"\r{label} {line[:-1]}")
            return
        self._write(shown, f"{label} {line}")

    def _write(self, shown: Output, text: str) -> None:
        name, key = self._name(shown), (shown.task_id, shown.stream)
        begun = self._begun.pop(name, key)
        if begun != key:
            text = f"\n{text}"
        if not text.endswith("\n"):
            self._begun[name] = key
        self._put(name, text)

    def _name(self, shown: Output) -> str:
        return self._out if shown.stream == "stdout" else self._err

    def _put(self, name: str, text: str) -> None:
        file = getattr(sys, name)
        file.write(text)
        file.flush()


def _is_terminal(file: Any) -> bool:
    return bool(file.isatty())
