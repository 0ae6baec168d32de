"""The whole look: every rule on one app, without what the project does not want to hear."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from celery import Celery

from autocelery._doctor.evidence import Evidence
from autocelery._doctor.finding import LEVELS, Finding, Level, is_at_least
from autocelery._doctor.rule import Rule
from autocelery._doctor.rules import TABLE
from autocelery._doctor.suppressing import Suppressions
from autocelery._publish import import_errors
from autocelery.errors import AppNotFound, ConfigurationError


@dataclass(frozen=True, slots=True)
class Report:
    """What was found, the worst first; ``ignored`` is how much of it the project did not want to hear."""

    findings: tuple[Finding, ...]
    ignored: int
    evidence: Evidence

    def count(self, level: Level) -> int:
        """How many there are of a level."""
        return Counter(each.level for each in self.findings)[level]

    def fails(self, level: Level) -> bool:
        """Whether one is as bad as ``level``, or worse."""
        return any(is_at_least(each.level, level) for each in self.findings)


def look(app: Celery, *, offline: bool = False, timeout: float = 1.0, watch: float = 0.0) -> Report:
    """Look at an app with every rule.

    Args:
        app: its modules are imported, as a worker does.
        offline: leave the broker, the workers and this machine's processes alone.
        timeout: seconds that workers have to answer.
        watch: seconds for which the workers' events are listened to.

    Raises:
        AppNotFound: one of its modules does not import, or its settings cannot be read.
        ConfigurationError: the suppressions in pyproject.toml make no sense.
    """
    try:
        app.loader.import_default_modules()
        app.finalize()
        app.conf.broker_url  # noqa: B018 - reading one has Celery read them all
    except (Exception, SystemExit) as error:
        raise AppNotFound(import_errors.told(f"the modules of {app.main}", error)) from error
    evidence = Evidence(app, offline=offline, timeout=timeout, watch=watch)
    hidden = Suppressions.of(evidence.source)
    found = [finding for each in TABLE.values() for finding in each.findings(evidence)]
    once = list({(each.code, each.where, each.message): each for each in found}.values())
    kept = sorted((each for each in once if not hidden.hides(each)), key=_order)
    return Report(tuple(kept), len(once) - len(kept), evidence)


def explained(code: str) -> Rule:
    """Return the rule of that code.

    Raises:
        ConfigurationError: there is none.
    """
    found = TABLE.get(code.upper())
    if found is None:
        first, last = min(TABLE), max(TABLE)
        raise ConfigurationError(
            f"There is no rule {code}. They go from {first} to {last}: autocelery doctor explain lists them."
        )
    return found


def all_rules() -> Sequence[Rule]:
    """Return every rule by its code."""
    return [TABLE[code] for code in sorted(TABLE)]


def _order(finding: Finding) -> tuple[int, str, str, int]:
    return (
        -LEVELS.index(finding.level),
        finding.code,
        finding.where.file or finding.where.name,
        finding.where.line,
    )
