"""What a project's own file says, ``autocelery.toml`` or ``pyproject.toml``: its processes, and its queues."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from autocelery import _config

#: Looked for in this order; in the second the tables are below ``tool.autocelery``.
FILES = ("autocelery.toml", "pyproject.toml")
#: What it may have.
TABLES = ("queues", "up")
_QUEUE = {"tasks", "workers", "priority", "type"}
#: What RabbitMQ has; nothing stands for what the app's other queues are.
_TYPES = ("", "classic", "quorum")
#: What niceness can express.
MOST_PRIORITY = 19


class QueuePlan(NamedTuple):
    """One line of the table of queues.

    Args:
        name: of the queue.
        tasks: names of tasks, with ``*`` for any part.
        workers: pool processes that listen to it; 0: whoever lists it.
        priority: more gets more of a busy machine.
        type: of queue, as RabbitMQ calls it; nothing: as the app's others.
    """

    name: str
    tasks: tuple[str, ...] = ()
    workers: int = 1
    priority: int = 0
    type: str = ""


def table_file(folder: Path) -> Path | None:
    """Return the file with the tables, in ``folder`` or the nearest one above; one that is no TOML counts too."""
    for each in (folder, *folder.parents):
        for name in FILES:
            path = each / name
            if path.is_file() and (name == FILES[0] or _has_tables(path)):
                return path
    return None


class Tables:
    """The tables of a file, read with what they have to be.

    Args:
        path: of the file.

    Raises:
        UpInvalid: it cannot be read, or is no TOML; also each method, where a value is none of its kind.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = _tables(path)
        if path.name == FILES[0]:
            self._see_that_it_counts()

    def queues(self) -> tuple[QueuePlan, ...]:
        """Return the table of queues."""
        found = []
        for name, told in self.table(self.root, "queues").items():
            key = f"queues.{name}"
            self.known(told, key, _QUEUE)
            kind = self.text(told, "type", key, "")
            if kind not in _TYPES:
                raise self.wrong(f"{key}.type", f"is {kind!r}, and neither classic nor quorum")
            found.append(
                QueuePlan(
                    name,
                    self.texts(told, "tasks", key),
                    self.number(told, "workers", key, 1),
                    self.number(told, "priority", key, 0, most=MOST_PRIORITY),
                    kind,
                )
            )
        return tuple(found)

    def table(self, table: Mapping[str, Any], name: str, above: str = "") -> Mapping[str, Any]:
        """Return a table of tables, or an empty one."""
        found = table.get(name, {})
        if not isinstance(found, Mapping):
            raise self.wrong(f"{above}.{name}".strip("."), f"is {found!r}, and no table")
        if name in ("queues", "workers", "processes"):
            for each, told in found.items():
                if not isinstance(told, Mapping):
                    raise self.wrong(f"{name}.{each}", f"is {told!r}, and no table")
        return found

    def known(self, table: Mapping[str, Any], key: str, known: set[str]) -> None:
        """See that a table has no other keys."""
        for each in table:
            if each not in known:
                raise self.wrong(f"{key}.{each}", f"is not known here, {instead(each, known)}")

    def text(self, table: Mapping[str, Any], name: str, key: str, default: str) -> str:
        """Return a text."""
        value = table.get(name, default)
        if not isinstance(value, str):
            raise self.wrong(f"{key}.{name}", f"is {value!r}, and no text")
        return value

    def texts(self, table: Mapping[str, Any], name: str, key: str) -> tuple[str, ...]:
        """Return a list of texts."""
        value = table.get(name, [])
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise self.wrong(f"{key}.{name}", f"is {value!r}, and no list of texts")
        return tuple(value)

    def number(
        self, table: Mapping[str, Any], name: str, key: str, default: int, least: int = 0, most: int = 10_000
    ) -> int:
        """Return a whole number."""
        value = table.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self.wrong(f"{key}.{name}", f"is {value!r}, and no number from {least} to {most}")
        return value

    def seconds(self, table: Mapping[str, Any], key: str, default: float) -> float:
        """Return the seconds that a process has to end."""
        value = table.get("stop_seconds", default)
        if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
            raise self.wrong(f"{key}.stop_seconds", f"is {value!r}, and no number of seconds")
        return float(value)

    def bytes(self, table: Mapping[str, Any], key: str) -> int | None:
        """Return the size in bytes that is its limit of memory."""
        value = table.get("memory_limit")
        if value is None:
            return None
        size = _config.size_of(value) if isinstance(value, str) else value
        if not isinstance(size, int) or isinstance(size, bool) or size <= 0:
            raise self.wrong(f"{key}.memory_limit", f'is {value!r}, and no size like "512m" or "2g"')
        return size

    def _see_that_it_counts(self) -> None:
        """See that all of a file of its own is read, and that nothing beside it waits to be read in vain."""
        for each in self.root:
            if each not in TABLES:
                where = (
                    "What is shipped, and the doctor's table, stand below [tool.autocelery] in pyproject.toml"
                )
                raise self.wrong(each, f"is not known here, {instead(each, TABLES)}. {where}")
        other = self.path.with_name(FILES[1])
        if _text_with_us(other) and _tables(other) not in ({}, self.root):
            raise _invalid(
                f"{self.path} is read, and the tables of queues and up in {other.name} beside it would not be: move "
                "them into one of the two."
            )

    def wrong(self, key: str, what: str) -> Exception:
        """Return the error that says what is wrong with a key."""
        prefix = "" if self.path.name == FILES[0] else "tool.autocelery."
        return _invalid(f"{self.path}: {prefix}{key} {what}.")


def _tables(path: Path) -> Mapping[str, Any]:
    """Return what stands below ``tool.autocelery``, or in a file of its own."""
    import tomllib  # only where there is a table: an app's start has no time for it

    text = ""
    try:
        text = path.read_text()
        told = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        lines = text.split("\n")
        end = f"at line {len(lines)}, column {len(lines[-1]) + 1}"
        raise _invalid(f"{path} is no TOML: {str(exc).replace('at end of document', end)}.") from exc
    except (OSError, UnicodeDecodeError) as exc:
        raise _invalid(f"{path} cannot be read: {exc}.") from exc
    return _tables_in(told, path.name)


def _tables_in(told: Mapping[str, Any], file: str) -> Mapping[str, Any]:
    if file == FILES[0]:
        return told
    tool = told.get("tool")
    own = tool.get("autocelery") if isinstance(tool, Mapping) else None
    return {name: own[name] for name in TABLES if name in own} if isinstance(own, Mapping) else {}


def _has_tables(path: Path) -> bool:
    text = _text_with_us(path)
    if not text:  # most that there are, and a parser is slow
        return False
    import tomllib

    try:
        return bool(_tables_in(tomllib.loads(text), path.name))
    except tomllib.TOMLDecodeError:
        return True  # whoever reads it says what is wrong


def _text_with_us(path: Path) -> str:
    """Return the text of a file that names autocelery; of another one, or of one that cannot be read, nothing."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
    return text if "autocelery" in text else ""


def _invalid(message: str) -> Exception:
    from autocelery.errors import UpInvalid  # which brings Celery along: a probe has no time for that

    return UpInvalid(message)


def instead(name: str, known: Iterable[str]) -> str:
    """Return what was perhaps meant by ``name``, or all that there is."""
    import difflib

    names = sorted(known)
    near = difflib.get_close_matches(name, names, 1)
    return f"did you mean {near[0]!r}" if near else f"only {', '.join(names)}"
