"""The commands that start Celery: in the project's deployment files, and among this machine's processes."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from celery import Celery

from autocelery._publish.roots import top_of

_NAMES = re.compile(
    r"(Procfile[\w.]*|(docker-)?compose[\w.-]*\.ya?ml|.*\.service|supervisord?[\w.-]*\.(conf|ini)|.*\.procfile)"
)
#: What is in the name of a file with which nobody deploys.
_FOR_DEVELOPMENT = re.compile(r"[.\-_](dev|development|local|test|override)\b")
_FOLDERS = ("", "deploy", "deployment", "docker", "etc", "systemd", "supervisor", "ops", "infra")
_LARGEST = 2**18
_CELERY = re.compile(r"(?:^|[\s\"'\[/,=:])(celery|autocelery)[\"',\s]")
_COPIES = re.compile(r"(?:replicas|numprocs|scale)\s*[:=]\s*(\d+)")
_VALUED = ("-A", "--app", "-b", "--broker", "--workdir", "--result-backend", "--config", "--loader")


@dataclass(frozen=True, slots=True)
class Command:
    """One ``celery`` command: ``worker`` or ``beat``; ``copies`` is how often its file says it runs."""

    name: str
    app: str
    arguments: tuple[str, ...]
    file: str = ""
    line: int = 0
    pid: int = 0
    copies: int = 1

    @property
    def is_beat(self) -> bool:
        """Whether it sends periodic tasks: ``celery beat``, or a worker with ``-B``."""
        return self.name == "beat" or self.is_embedded_beat

    @property
    def is_embedded_beat(self) -> bool:
        """Whether it is a worker with beat inside."""
        flags = [each for each in self.arguments if re.fullmatch(r"-[a-zA-Z]*B[a-zA-Z]*|--beat", each)]
        return self.name == "worker" and bool(flags)

    @property
    def is_safe_twice(self) -> bool:
        """Whether its scheduler agrees with others on who sends."""
        text = " ".join(self.arguments)
        return "autocelery" in text or "redbeat" in text.lower()


def commands_in(folder: Path) -> tuple[Command, ...]:
    """Return the commands in the deployment files of the project that ``folder`` belongs to."""
    tops = dict.fromkeys([folder, *([folder.parent] if _is_near(folder) else [])])
    paths = [
        path
        for top in tops
        for name in _FOLDERS
        if (top / name).is_dir()
        for path in sorted((top / name).iterdir())
        if path.is_file() and _NAMES.fullmatch(path.name) and not _FOR_DEVELOPMENT.search(path.name)
    ]
    return tuple(each for path in dict.fromkeys(paths) for each in _in_file(path))


def commands_running(app: Celery) -> tuple[Command, ...]:
    """Return the commands of this app that run on this machine and that this user may see."""
    proc = Path("/proc")
    if not proc.is_dir():
        return ()
    found = []
    for path in proc.iterdir():
        if path.name.isdecimal() and path.name != str(os.getpid()):
            command = _of_process(path)
            if command is not None and _is_of(command, app):
                found.append(command)
    return tuple(found)


def _is_near(folder: Path) -> bool:
    """Whether the folder above is of the same project, as for ``src``."""
    return top_of(folder) == folder.parent


def _in_file(path: Path) -> Iterator[Command]:
    try:
        text = path.read_text(errors="replace") if path.stat().st_size <= _LARGEST else ""
    except OSError:
        return
    shown = str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
    lines = text.splitlines()
    for position, line in enumerate(lines):
        if line.lstrip().startswith(("#", ";")) or not _CELERY.search(f" {line} "):
            continue
        command = _parsed(_words(line))
        if command is not None:
            around = "\n".join(_section(lines, position))
            copies = max([1, *(int(each) for each in _COPIES.findall(around))])
            yield Command(*command, file=shown, line=position + 1, copies=copies)


def _section(lines: Sequence[str], position: int) -> list[str]:
    """Return the lines that speak of the same service: those up to a line that is a heading, or less indented."""
    depth = len(lines[position]) - len(lines[position].lstrip())

    def ends(line: str) -> bool:
        return bool(line.strip()) and (line.startswith("[") or len(line) - len(line.lstrip()) < depth)

    first = position
    while first and not ends(lines[first - 1]):
        first -= 1
    last = position + 1
    while last < len(lines) and not ends(lines[last]):
        last += 1
    return list(lines[first:last])


def _words(line: str) -> list[str]:
    plain = re.sub(r"[\[\],\"']", " ", re.sub(r"^\s*[\w.-]+\s*[:=]\s*", "", line))
    try:
        return shlex.split(plain, comments=True)
    except ValueError:
        return plain.split()


def _of_process(path: Path) -> Command | None:
    try:
        words = (path / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return None
    parsed = _parsed([each for each in words if each])
    return Command(*parsed, pid=int(path.name)) if parsed else None


def _parsed(words: Sequence[str]) -> tuple[str, str, tuple[str, ...]] | None:
    """Return name, app and arguments of the Celery command among ``words``."""
    starts = [at for at, each in enumerate(words) if each.rpartition("/")[2] in ("celery", "autocelery")]
    if not starts:
        return None
    rest = list(words[starts[0] :])
    program, app = rest[0].rpartition("/")[2], ""
    for at, each in enumerate(rest):
        if each in ("-A", "--app") and at + 1 < len(rest):
            app = rest[at + 1]
        elif each.startswith("--app="):
            app = each.partition("=")[2]
    name = next((each for each in rest[1:] if each in ("worker", "beat")), "")
    if not name:
        return None
    return name, app, (program, *rest[1:])


def _is_of(command: Command, app: Celery) -> bool:
    """Whether a process is of this app: by the folder of its ``-A``, which is the app's name or its module."""
    named = command.app.partition(":")[0].partition(".")[0]
    module = str(getattr(app, "main", "") or "").partition(".")[0]
    if not named or named != module:
        return False
    try:
        return os.path.realpath(f"/proc/{command.pid}/cwd") == str(Path.cwd().resolve())
    except OSError:
        return False
