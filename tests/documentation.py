"""The documentation as tests read it: the code blocks that an HTML comment marks, and what to do with them.

``<!-- file: PATH -->`` writes the block to a file, ``<!-- edit: PATH -->``
replaces its ``-`` lines by its ``+`` lines, ``<!-- run -->`` runs a console
or a Python session and compares its output, ``<!-- background: TEXT -->``
starts a command and waits until it has written TEXT, ``<!-- script: MODULE -->``
runs the block as a script that has the names of a module. In outputs, ``...``
stands for anything. Blocks without a mark are only shown.
"""

from __future__ import annotations

import doctest
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests import since
from tests.waiting import PATIENCE, wait_for

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
README = DOCS.parent / "README.md"

_BLOCK = re.compile(
    r"^(?:<!-- (?P<do>[a-z]+)(?:: (?P<what>.+?))? -->\n)?"
    r"(?P<indent> *)```(?P<kind>[^\n]*)\n(?P<text>.*?)^(?P=indent)```$",
    re.M | re.S,
)
_OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

#: Runs Python sessions in one interpreter, one JSON line a session: its text in, what was not as shown out.
_PYTHON_SESSION = f"""{since.SCRIPT_HEAD}
import doctest, json, sys
names, runner = {{"__name__": "__main__"}}, doctest.DocTestRunner(optionflags={_OPTIONS})
answers, sys.stdout = sys.stdout, sys.stderr
for line in sys.stdin:
    told = []
    test = doctest.DocTestParser().get_doctest(json.loads(line), names, "documentation", None, 0)
    runner.run(test, out=told.append, clear_globs=False)
    names = test.globs
    print(json.dumps("".join(told)), file=answers, flush=True)
"""


@dataclass(frozen=True)
class Block:
    """One code block: what to do with it, nothing if it is only shown, and where it stands."""

    do: str
    what: str
    kind: str
    text: str
    place: str


def every_block_of(page: Path) -> list[Block]:
    """Return the code blocks of a page, in order."""
    text = page.read_text()
    return [
        Block(
            found["do"] or "",
            found["what"] or "",
            found["kind"].strip(),
            textwrap.dedent(found["text"]),
            f"{page.relative_to(DOCS.parent)}:{text.count(chr(10), 0, found.start('text')) + 1}",
        )
        for found in _BLOCK.finditer(text)
    ]


def blocks_of(page: Path) -> list[Block]:
    """Return the marked blocks of a page, in order."""
    return [block for block in every_block_of(page) if block.do]


class Reader:
    """Somebody who does what a page says, in a folder. Owns a Python session and the background processes."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self._log = folder.parent / f"{folder.name}.log"
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._environment = {**os.environ, "PATH": path, "COLUMNS": "120", **environment}
        self._python: subprocess.Popen[str] | None = None
        self._background: list[subprocess.Popen[bytes]] = []

    def follow(self, block: Block) -> None:
        """Do what ``block`` says; an output that is not as shown fails the test."""
        if block.do == "file":
            self.write(block.what, block.text)
        elif block.do == "edit":
            self._edit(block)
        elif block.do == "background":
            self.start(next(commands_in(block.text))[0], block.what)
        elif block.do == "script":
            self.write("script.py", f"from {block.what} import *\n{block.text}")
            self._run_console("$ python script.py", block.place)
        elif block.kind == "pycon":
            self._run_python(block)
        else:
            self._run_console(block.text, block.place)

    def write(self, path: str, text: str) -> None:
        """Write a file of the project."""
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(text)

    def start(self, command: str, until: str) -> None:
        """Start ``command`` and wait until it has written ``until``."""
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"], cwd=self.folder, env=self._environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        self._background.append(process)
        wait_for(lambda: process.poll() is not None or until in self.log(), what=command)
        assert process.poll() is None, self.log()

    def log(self) -> str:
        """Return what the background processes have written."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def stop(self) -> None:
        """End everything that was started."""
        if self._python is not None:
            self._python.communicate(timeout=PATIENCE)
        for process in self._background:
            process.send_signal(signal.SIGTERM)
        for process in self._background:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)

    def _edit(self, block: Block) -> None:
        lines = block.text.splitlines()
        before = "\n".join(line[1:] for line in lines if line.startswith("-"))
        after = "\n".join(line[1:] for line in lines if line.startswith("+"))
        text = (self.folder / block.what).read_text()
        assert text.count(before) == 1, f"{block.place}: {before!r} is not in {block.what} exactly once"
        (self.folder / block.what).write_text(text.replace(before, after))

    def _run_python(self, block: Block) -> None:
        if self._python is None:
            self._python = subprocess.Popen(
                [sys.executable, "-c", _PYTHON_SESSION], cwd=self.folder, env=self._environment,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None, text=True,
            )  # fmt: skip
        assert self._python.stdin is not None
        assert self._python.stdout is not None
        self._python.stdin.write(json.dumps(block.text) + "\n")
        self._python.stdin.flush()
        answer = self._python.stdout.readline()
        assert answer, f"{block.place}: the Python session ended\n{self.log()[-3000:]}"
        different = json.loads(answer)
        assert not different, f"{block.place}\n{different}\n{self.log()[-3000:]}"

    def _run_console(self, session: str, place: str) -> None:
        checker = doctest.OutputChecker()
        for command, shown in commands_in(session):
            ended = subprocess.run(
                ["bash", "-c", command], cwd=self.folder, env=self._environment, check=False,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
            )  # fmt: skip
            right = checker.check_output(shown, ended.stdout, _OPTIONS)
            assert right, (
                f"{place}: $ {command}\n{ended.stdout}\nis not as shown:\n{shown}\n{self.log()[-3000:]}"
            )


def commands_in(text: str) -> Iterator[tuple[str, str]]:
    """Yield each command of a console session, and the output that is shown for it."""
    for part in re.split(r"^\$ ", text, flags=re.M)[1:]:
        lines = part.splitlines(keepends=True)
        command = [lines.pop(0)]
        while command[-1].endswith("\\\n"):
            command.append(lines.pop(0).removeprefix("> "))
        yield "".join(command).strip(), "".join(lines)


def copy_of(example: str, folder: Path) -> Path:
    """Return a copy of a project in examples/."""
    place = folder / example
    shutil.copytree(DOCS.parent / "examples" / example, place, ignore=shutil.ignore_patterns("__pycache__"))
    return place
