"""What the doctor says: where something is, what it is, and what mends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Level = Literal["error", "warning", "info"]
#: From the least to the most that one should worry.
LEVELS: tuple[Level, ...] = ("info", "warning", "error")


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was seen: ``name`` is a setting, a task, a queue or a worker; ``file`` and ``line`` if known."""

    name: str = ""
    file: str = ""
    line: int = 0

    @property
    def text(self) -> str:
        """As people read it: ``proj/tasks.py:12``, ``broker_url (proj/celery.py:4)``, ``queue mail``."""
        position = f"{self.file}:{self.line}" if self.file else ""
        return f"{self.name} ({position})" if self.name and position else self.name or position


@dataclass(frozen=True, slots=True)
class Change:
    """A setting and the value that mends it, by Celery's name; ``adds`` has keys for a setting that may hold more."""

    setting: str
    value: Any
    adds: bool = False

    def told(self, spelled: str) -> str:
        """Return it as people are told to write it."""
        if self.adds:
            return f"add {self.value!r} to {spelled}, and keep what else it has"
        return f"{spelled} = {self.value!r}"


@dataclass(frozen=True, slots=True)
class Sight:
    """What a rule has seen. What is left empty is the rule's own: its fix, its level."""

    where: Place
    message: str
    fix: str = ""
    level: Level | None = None
    change: Change | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """A `Sight` with what the rule knows of it."""

    code: str
    title: str
    level: Level
    where: Place
    message: str
    why: str
    since: str
    fix: str
    change: Change | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it as ``--json`` prints it."""
        return {
            "code": self.code,
            "level": self.level,
            "where": self.where.text,
            "message": self.message,
            "fix": self.fix,
            "title": self.title,
            "why": self.why,
            "since": self.since,
            "file": self.where.file or None,
            "line": self.where.line or None,
            "setting": self.change.setting if self.change else None,
            "fixable": self.change is not None,
        }


def is_at_least(level: Level, other: Level) -> bool:
    """Whether ``level`` is ``other``, or worse."""
    return LEVELS.index(level) >= LEVELS.index(other)
