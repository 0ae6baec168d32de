"""A rule is one function and its declaration; all of them are in one table."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from autocelery._doctor.evidence import Evidence
from autocelery._doctor.finding import Finding, Level, Sight

Look = Callable[[Evidence], Iterable[Sight]]

#: Every rule by its code, in the order in which their modules are imported.
TABLE: dict[str, Rule] = {}

_CODE = re.compile(r"AC\d{3}")


@dataclass(frozen=True, slots=True)
class Rule:
    """What is looked for, and what is to be known of it.

    Args:
        code: ``AC012``; never given to another rule.
        title: a few words.
        level: ``error`` for what fails or loses something, ``warning`` for what will in ordinary
            circumstances, ``info`` for a choice to make before production.
        since: the version from which it is so, or in which what mends it came.
        why: what happens, in two or three sentences.
        fix: what to write or do.
        look: yields what it sees in the evidence; does no input or output of its own.
        issues: where upstream speaks of it, as ``celery/celery#4537``.
    """

    code: str
    title: str
    level: Level
    since: str
    why: str
    fix: str
    look: Look
    issues: tuple[str, ...] = ()

    def findings(self, evidence: Evidence) -> Iterable[Finding]:
        """Yield what is seen, as it is reported."""
        for sight in self.look(evidence):
            yield Finding(
                self.code,
                self.title,
                sight.level or self.level,
                sight.where,
                sight.message,
                self.why,
                self.since,
                sight.fix or self.fix,
                sight.change,
            )


def rule(
    code: str, title: str, *, level: Level, since: str, why: str, fix: str, issues: tuple[str, ...] = ()
) -> Callable[[Look], Look]:
    """Put the function below into the table; the arguments are those of `Rule`."""
    assert _CODE.fullmatch(code), code
    assert code not in TABLE, f"{code} is taken"

    def declare(look: Look) -> Look:
        TABLE[code] = Rule(code, title, level, since, why, fix, look, issues)
        return look

    return declare
