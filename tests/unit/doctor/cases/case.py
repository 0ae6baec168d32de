"""One project, and the rule that has something to say of it, or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.patients import Patient


@dataclass(frozen=True)
class Case:
    """A healthy project with other ``settings``, ``tasks`` or ``files``; ``says`` is part of what has to be said."""

    code: str
    name: str
    fires: bool
    settings: Mapping[str, Any] = field(default_factory=dict)
    tasks: str = ""
    says: str = ""
    files: Mapping[str, str] = field(default_factory=dict)

    def put_into(self, patient: Patient) -> Patient:
        """Write it."""
        patient.settings(**self.settings)
        patient.tasks(self.tasks)
        for name, text in self.files.items():
            patient.write(name, text)
        return patient


def fires(
    code: str,
    what: str,
    tasks: str = "",
    *,
    says: str = "",
    files: Mapping[str, str] | None = None,
    **settings: Any,
) -> Case:
    """Return a case in which a rule fires."""
    return Case(code, f"{code}-{what}", True, settings, tasks, says, files or {})


def silent(
    code: str, what: str, tasks: str = "", *, files: Mapping[str, str] | None = None, **settings: Any
) -> Case:
    """Return a case in which it does not."""
    return Case(code, f"{code}-{what}", False, settings, tasks, "", files or {})
