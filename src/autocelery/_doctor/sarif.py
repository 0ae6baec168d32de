"""The findings as SARIF 2.1.0, which code hosts and editors read."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

from autocelery._doctor.finding import Finding
from autocelery._doctor.rule import Rule

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {"error": "error", "warning": "warning", "info": "note"}


def as_sarif(findings: Sequence[Finding], rules: Sequence[Rule], app_file: str) -> dict[str, Any]:
    """Return a log with one run.

    Args:
        findings: its results.
        rules: all that there are.
        app_file: where what has no file is reported: GitHub refuses the whole log for one result without.
    """
    codes = [each.code for each in rules]
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "autocelery doctor",
                        "version": metadata.version("autocelery"),
                        "rules": [_rule(each) for each in rules],
                    }
                },
                "results": [_result(each, codes.index(each.code), app_file) for each in findings],
            }
        ],
    }


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.code,
        "name": rule.look.__name__,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.why},
        "help": {"text": rule.fix},
        "defaultConfiguration": {"level": _LEVELS[rule.level]},
    }


def _result(finding: Finding, index: int, app_file: str) -> dict[str, Any]:
    place = finding.where
    location: dict[str, Any] = {
        "physicalLocation": {
            "artifactLocation": {"uri": _uri(Path(place.file or app_file))},
            "region": {"startLine": max(1, place.line)},
        }
    }
    if place.name:
        location["logicalLocations"] = [{"fullyQualifiedName": place.name}]
    return {
        "ruleId": finding.code,
        "ruleIndex": index,
        "level": _LEVELS[finding.level],
        "message": {"text": f"{finding.message} {finding.fix}"},
        "locations": [location],
    }


def _uri(path: Path) -> str:
    return path.as_uri() if path.is_absolute() else quote(path.as_posix())
