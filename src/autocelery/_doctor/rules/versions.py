"""The rule on versions with known bugs; the table is in known_bugs.py."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from autocelery._doctor.evidence import Evidence
from autocelery._doctor.finding import Place, Sight
from autocelery._doctor.known_bugs import bugs_of
from autocelery._doctor.rule import rule


@rule(
    "AC110",
    "A version with a known bug",
    level="warning",
    since="see the issue that is named",
    why="The bug was found, reported and mended: a newer version does not have it. The table has a date and an issue "
    "for each.",
    fix="Install the version that is named, or a newer one.",
)
def known_bug(evidence: Evidence) -> Iterator[Sight]:
    """See versions here and on the workers that are older than a fix."""
    has = _used(evidence)
    for bug in bugs_of(evidence.versions, has):
        version = evidence.versions[bug.package]
        yield Sight(
            Place(f"{bug.package} {version}"),
            f"{_sentence(bug.what)} (https://github.com/{bug.issue.replace('#', '/issues/')}).",
            fix=f"pip install '{bug.package}>={bug.fixed}'",
        )
    known = {each.issue for each in bugs_of(evidence.versions, has)}
    for worker in evidence.fleet.workers:
        for bug in bugs_of(worker.versions, has):
            if bug.issue not in known:
                yield Sight(
                    Place(f"worker {worker.name}"),
                    f"{bug.package} {worker.versions[bug.package]}: {bug.what} ({bug.issue}).",
                    fix=f"There: pip install '{bug.package}>={bug.fixed}'",
                )


def _used(evidence: Evidence) -> frozenset[str]:
    """Return what of ``needs`` this app has."""
    found = {evidence.broker.kind}
    if evidence.broker.url.startswith("sentinel"):
        found.add("sentinel")
    if "django.conf" in sys.modules and evidence.settings.prefix:
        found.add("django")
    if evidence.settings.get("result_backend"):
        found.add("results")
    return frozenset(found)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
