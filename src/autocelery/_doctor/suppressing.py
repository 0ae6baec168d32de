"""What a project does not want to hear: comments in the code, and ``[tool.autocelery.doctor]``."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from autocelery._doctor.finding import Finding
from autocelery._doctor.source.index import Source
from autocelery.errors import ConfigurationError

_COMMENT = re.compile(r"#\s*autocelery:\s*ignore\[([^\]]*)\]")
_CODE = re.compile(r"AC\d{3}")


@dataclass(frozen=True, slots=True)
class Suppressions:
    """``codes`` are ignored everywhere, ``files`` by glob, ``lines`` by file and line."""

    codes: frozenset[str]
    files: tuple[tuple[str, frozenset[str]], ...]
    lines: Mapping[tuple[str, int], frozenset[str]]

    @classmethod
    def of(cls, source: Source) -> Suppressions:
        """Read those of a project.

        Raises:
            ConfigurationError: the table in pyproject.toml makes no sense.
        """
        codes, files = _of_table(source.folder)
        return cls(codes, files, _of_comments(source))

    def hides(self, finding: Finding) -> bool:
        """Whether the project said that it does not want to hear of this."""
        if finding.code in self.codes:
            return True
        place = finding.where
        if place.file and any(
            finding.code in codes and fnmatchcase(place.file, pattern) for pattern, codes in self.files
        ):
            return True
        return finding.code in self.lines.get((place.file, place.line), ())


def _of_comments(source: Source) -> dict[tuple[str, int], frozenset[str]]:
    """Return the comments; one on a line of its own is for the line below, and on a decorator for its function."""
    found: dict[tuple[str, int], frozenset[str]] = {}
    for module in source.modules:
        if "autocelery:" not in module.text:
            continue
        lines = module.text.splitlines()
        spans = {
            line: range(min(each.lineno for each in function.decorator_list), function.lineno + 1)
            for function in module.functions
            if function.decorator_list
            for line in range(min(each.lineno for each in function.decorator_list), function.lineno + 1)
        }
        for at, line in enumerate(lines, 1):
            match = _COMMENT.search(line)
            if match is None:
                continue
            codes = frozenset(_CODE.findall(match.group(1)))
            target = at + 1 if line.lstrip().startswith("#") else at
            for each in spans.get(target, (target,)):
                key = (module.shown, each)
                found[key] = found.get(key, frozenset()) | codes
    return found


def _of_table(folder: Path) -> tuple[frozenset[str], tuple[tuple[str, frozenset[str]], ...]]:
    path = next(
        (
            each / "pyproject.toml"
            for each in (Path.cwd(), folder, *folder.parents[:2])
            if (each / "pyproject.toml").is_file()
        ),
        None,
    )
    if path is None:
        return frozenset(), ()
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}. Correct it.") from error
    table = told
    for name in ("tool", "autocelery", "doctor"):
        table = table.get(name, {})
        if not isinstance(table, dict):
            raise ConfigurationError(f"{path}: {name} of [tool.autocelery.doctor] is no table. {_EXAMPLE}")
    for name in table:
        if name not in ("ignore", "per-file-ignores"):
            raise ConfigurationError(
                f"{path}: [tool.autocelery.doctor] has no {name!r}. It takes ignore and per-file-ignores."
            )
    files = table.get("per-file-ignores", {})
    if not isinstance(files, dict):
        raise ConfigurationError(f"{path}: per-file-ignores is no table of globs. {_EXAMPLE}")
    return _codes(path, table.get("ignore", [])), tuple(
        (str(glob), _codes(path, codes)) for glob, codes in files.items()
    )


_EXAMPLE = 'Write, below [tool.autocelery.doctor], per-file-ignores = { "proj/legacy/*" = ["AC012"] }.'


def _codes(path: Path, given: Any) -> frozenset[str]:
    if not isinstance(given, list) or not all(
        isinstance(each, str) and _CODE.fullmatch(each) for each in given
    ):
        raise ConfigurationError(
            f'{path}: [tool.autocelery.doctor] has {given!r} where a list of codes should be, such as ["AC012"].'
        )
    return frozenset(given)
