"""Writing the settings that mend: into the file where the app's settings are, or as words where that is not safe."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from autocelery._doctor.evidence import Evidence
from autocelery._doctor.finding import Change, Finding
from autocelery._doctor.settings import Settings
from autocelery._doctor.source.module import Module, constant, dotted


@dataclass(frozen=True, slots=True)
class Edit:
    """A file as it is and as it would be."""

    path: Path
    shown: str
    before: bytes
    after: bytes

    @property
    def diff(self) -> str:
        """What changes, as ``diff -u`` shows it."""
        old, new = self.before.decode().splitlines(True), self.after.decode().splitlines(True)
        return "".join(difflib.unified_diff(old, new, self.shown, self.shown, n=1))

    def write(self) -> None:
        """Write the file as it would be."""
        self.path.write_bytes(self.after)


@dataclass(frozen=True, slots=True)
class Mends:
    """The edits, and in words what nobody but its author can write."""

    edits: tuple[Edit, ...]
    told: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Splice:
    """Bytes from ``start`` to ``end`` of a module that become ``text``."""

    module: Module
    start: int
    end: int
    text: str


def plan(findings: Sequence[Finding], evidence: Evidence) -> Mends:
    """Return what would be written for the findings that one setting mends; writes nothing."""
    changes: dict[str, Change] = {}
    for each in findings:
        if each.change is not None:
            changes.setdefault(each.change.setting, each.change)  # the worst comes first
    splices: dict[Path, list[_Splice]] = {}
    told = []
    for change in changes.values():
        splice = _splice(change, evidence)
        if splice is None:
            told.append(_in_words(change, evidence))
        else:
            splices.setdefault(splice.module.path, []).append(splice)
    edits = []
    for parts in splices.values():
        edit = _edited(parts)
        if edit is None:
            told += [f"{part.module.shown}: write {part.text.strip()}" for part in parts]
        else:
            edits.append(edit)
    return Mends(tuple(edits), tuple(told))


def _splice(change: Change, evidence: Evidence) -> _Splice | None:
    before = evidence.settings.options(change.setting) if change.adds else {}
    if evidence.settings.written(change.setting) is None:
        return None if before else _insertion(change, evidence)  # what nobody wrote may differ elsewhere
    fitting = evidence.settings.fitting(change.setting)
    if len(fitting) != 1:
        return None  # it is worked out when it runs, or something else sets it
    (written,) = fitting
    start = _offset(written.module, written.value.lineno, written.value.col_offset)
    end = _offset(written.module, written.value.end_lineno or 0, written.value.end_col_offset or 0)
    value = {**before, **change.value} if change.adds else change.value
    return _Splice(written.module, start, end, repr(value))


def _insertion(change: Change, evidence: Evidence) -> _Splice | None:
    """Return a line of its own: below the settings in the module that Celery reads, else below the app."""
    settings = evidence.settings
    found = _below_settings(settings) or _below_app(settings)
    if found is None:
        return None
    module, statement, before_name = found
    line = f"{before_name}{settings.spelled(change.setting)} = {change.value!r}"
    end = _offset(module, statement.end_lineno or statement.lineno, statement.end_col_offset or 0)
    raw = module.path.read_bytes()
    stop = raw.find(b"\n", end)
    stop = len(raw) if stop < 0 else stop
    newline = "\r\n" if raw[:stop].endswith(b"\r") else "\n"
    stop -= newline == "\r\n"
    return _Splice(module, stop, stop, f"{newline}{line}")


def _below_settings(settings: Settings) -> tuple[Module, ast.stmt, str] | None:
    """Return the last statement that sets something by its name alone."""
    for module in settings.configuration.modules:
        own = [each for each in module.tree.body if any(map(settings.is_one, _targets(each)))]
        if own:
            return module, own[-1], ""
    return None


def _below_app(settings: Settings) -> tuple[Module, ast.stmt, str] | None:
    """Return the statement that makes the app, or the last below it on its settings."""
    module, statement = settings.configuration.home, settings.configuration.statement
    if module is None or statement is None or settings.prefix:
        return None
    name = dotted(statement.targets[0])
    return module, _last_on_settings(module, name) or statement, f"{name}.conf."


def _last_on_settings(module: Module, app: str) -> ast.stmt | None:
    """Return the last statement at the top that reads or sets the app's settings."""
    found = [
        statement
        for statement in module.tree.body
        if not isinstance(statement, ast.FunctionDef | ast.ClassDef | ast.If | ast.AsyncFunctionDef)
        and any(
            dotted(node).startswith((f"{app}.conf", f"{app}.config_from")) for node in ast.walk(statement)
        )
    ]
    return found[-1] if found else None


def _targets(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.Assign):
        yield from (each.id for each in statement.targets if isinstance(each, ast.Name))
    elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        yield statement.target.id


def _edited(splices: Sequence[_Splice]) -> Edit | None:
    """Return the file with all its changes; ``None`` where it would be no Python any more."""
    module = splices[0].module
    before = after = module.path.read_bytes()
    for each in sorted(splices, key=lambda part: part.start, reverse=True):
        after = after[: each.start] + each.text.encode() + after[each.end :]
    try:
        ast.parse(after)
    except (SyntaxError, ValueError):
        return None
    return Edit(module.path, module.shown, before, after)


def _in_words(change: Change, evidence: Evidence) -> str:
    name = evidence.settings.spelled(change.setting)
    written = evidence.settings.written(change.setting)
    line = change.told(name)
    modules = evidence.settings.configuration.modules
    home = f"In {modules[0].shown}" if modules else "Where the app is set up"
    if change.adds:
        place = f"{written.module.shown}:{written.line}" if written is not None else home
        return f"{place}: {line}"
    if written is not None and constant(written.value) is None:
        return f"{written.module.shown}:{written.line} works it out when it runs. Have it say: {line}"
    if written is not None:
        return f"{written.module.shown}:{written.line} is not what counts. {home}, write: {line}"
    return f"{home}, write: {line}"


def _offset(module: Module, line: int, column: int) -> int:
    """Return where a line and a column, both of UTF-8 as `ast` counts, are in the file's bytes."""
    lines = module.path.read_bytes().splitlines(keepends=True)
    return sum(map(len, lines[: line - 1])) + column
