"""The tasks of another revision of the code, out of git, beside those that are here.

Old code is read and never imported, and reading cannot see all that importing does. So the code that is here is
read in the same way: where that does not say what was imported, what it says of the revision counts for nothing.
"""

from __future__ import annotations

import logging
import os
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from celery import Celery

from autocelery._check import comparing
from autocelery._check.comparing import Compared, Declared, Verdict
from autocelery._check.source import Reading, readings_of
from autocelery._publish.roots import top_of
from autocelery._snapshot import git
from autocelery._snapshot.encoding import is_for_development
from autocelery.errors import RevisionNotFound

logger = logging.getLogger(__name__)

_UNSEEN = (
    "It is declared in a way that cannot be read: in a loop, in a package, or by code of the project's own."
)
_DISAGREES = "What its text says is not what is imported here, so that no older text can be relied on."
_TWICE = "It is defined in more than one way, and which of them counted then cannot be told."
_WRAPPED = "Its other decorators changed, and with them perhaps what it takes."
_NOT_IMPORTED = (
    "Its text is here too, but the app does not import it: it is another app's, or no longer included."
)
_LOST = "It is gone, and perhaps was a task."
_UNREAD = "Where it is defined, the revision has what cannot be read."


def compare_revision(
    app: Celery, revision: str, now: Mapping[str, Declared], top: Path | None = None
) -> Iterator[Compared]:
    """Yield each task of a revision and of the code here, by name.

    Args:
        app: as it is here; where its modules lie says what the files of the revision are imported as.
        revision: as git names it: a branch, a tag, a commit, ``HEAD~3``.
        now: the tasks as they are imported here.
        top: the working tree; by default the one that the current folder is in.

    Raises:
        RevisionNotFound: there is no such revision, or no git repository.
    """
    folder = top or top_of(Path.cwd())
    commit = git.commit_of(str(folder), revision)
    if commit is None:
        raise RevisionNotFound(
            f"{folder} has no revision {revision}: it is no git repository, git is not installed, or the revision "
            "was not fetched. A shallow clone in CI has the last commit alone: fetch-depth: 0, or git fetch."
        )
    tree = _Tree.of(app, folder)
    then, here = tree.own(git.files_at(str(folder), commit, ".py")), tree.own(_files_here(folder))
    if then == here:
        yield from (Compared(name, Verdict.SAFE, place=each.place) for name, each in sorted(now.items()))
        return
    old, new = tree.read(then), tree.read(here)
    for path, problem in old.unread.items():
        logger.warning("%s of %s was not read: %s", path, revision, problem)
    for name in sorted({*old.tasks, *now}):
        found = _with(name, old, new, now[name]) if name in now else _without(name, old, new, tree)
        if found is not None:
            yield found


@dataclass(frozen=True, slots=True)
class _Read:
    """What all files of a tree say: readings by the name of the task, and why files were not read."""

    tasks: Mapping[str, Sequence[Reading]]
    unread: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Tree:
    """What the files of a working tree are imported as.

    Args:
        roots: the folders that modules are imported from, the deepest first.
        used: the files that the app has tasks in.
        reached: the folders that this process imports modules from.
    """

    roots: tuple[str, ...]
    used: frozenset[str]
    reached: frozenset[str]

    @classmethod
    def of(cls, app: Celery, folder: Path) -> _Tree:
        top = folder.resolve()
        modules = {type(task).__module__ for task in app.tasks.values()}
        files = {name: getattr(sys.modules.get(name), "__file__", None) for name in modules}
        used = {
            Path(file).resolve().relative_to(top): name
            for name, file in files.items()
            if file is not None and Path(file).resolve().is_relative_to(top)
        }
        seen = {_root(path, name) for path, name in used.items()}
        paths = [Path(each).resolve() for each in sys.path]
        searched = {_text(each.relative_to(top)) for each in paths if each.is_relative_to(top)}
        roots = sorted({"", "src", *(seen or searched)}, key=len, reverse=True)
        return cls(tuple(roots), frozenset(each.as_posix() for each in used), frozenset(seen | searched))

    def own(self, files: Mapping[str, bytes]) -> dict[str, bytes]:
        """Return the files that an app can have tasks in: no tests, unless it has some there."""
        return {
            path: raw
            for path, raw in files.items()
            if path in self.used or not is_for_development(*os.path.split(self._inside(path)))
        }

    def read(self, files: Mapping[str, bytes]) -> _Read:
        tasks: dict[str, list[Reading]] = defaultdict(list)
        unread = {}
        for path, raw in sorted(files.items()):
            module = self._inside(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            try:
                for each in _readings(raw, module, path):
                    tasks[each.name].append(each)
            except (SyntaxError, ValueError, RecursionError) as exc:
                unread[path] = str(exc)
        return _Read(tasks, unread)

    def reaches(self, path: str) -> bool:
        """Whether a file is where this process imports from; else it may be another app's, and no task is gone."""
        return any(_is_below(path, each) for each in self.reached)

    def _inside(self, path: str) -> str:
        root = next(each for each in self.roots if _is_below(path, each))
        return path[len(root) :].strip("/")


def _root(path: Path, module: str) -> str:
    """Return the folder that a module in the file ``path`` is imported from."""
    depth = module.count(".") + (path.name == "__init__.py")
    return _text(path.parents[min(depth, len(path.parents) - 1)])  # the tree itself may be in a package


def _text(path: Path) -> str:
    return "" if path == Path() else path.as_posix()


def _is_below(path: str, folder: str) -> bool:
    return not folder or path.startswith(f"{folder}/")


@cache
def _readings(raw: bytes, module: str, path: str) -> list[Reading]:
    """Read a file once, where both trees have it alike."""
    return readings_of(raw.decode(errors="replace"), module, path)


def _files_here(folder: Path) -> dict[str, bytes]:
    """Return the Python files of the working tree that git would take; of a link, what it leads to, as git does."""
    listed = git.list_files(str(folder))
    found = {}
    for path in {*listed.tracked, *listed.untracked} if listed is not None else ():
        full = folder / path
        if path.endswith(".py") and full.is_symlink():
            found[path] = os.fsencode(full.readlink())
        elif path.endswith(".py") and full.is_file():
            found[path] = full.read_bytes()
    return found


def _with(name: str, old: _Read, new: _Read, now: Declared) -> Compared:
    """Return what becomes of a task that is imported here."""
    before, here = old.tasks.get(name, ()), new.tasks.get(name, ())
    if not before and here:
        paths = {each.path for each in here}
        return (
            comparing.unknown(name, _UNREAD, now.place)
            if paths & _hidden(old, new)
            else comparing.added(name, now)
        )
    doubt = _doubt(before, here, now)
    if doubt:
        return comparing.unknown(name, doubt, now.place)
    verdicts = {each.verdict: each for each in (comparing.changed(name, one.declared, now) for one in before)}
    if len(verdicts) > 1:
        return comparing.unknown(name, _TWICE, now.place)
    [found] = verdicts.values()
    is_told = any(one.declared.policy == now.policy and one.declared.shape == now.shape for one in here)
    return (
        found if is_told or found.verdict is Verdict.SAFE else comparing.unknown(name, _DISAGREES, now.place)
    )


def _doubt(before: Sequence[Reading], here: Sequence[Reading], now: Declared) -> str:
    """Return why what was read of a task cannot be relied on; nothing where it can."""
    if not before or not here:
        return _UNSEEN
    doubts = [now.doubt, *(each.declared.doubt for each in (*before, *here))]
    if any(doubts):
        return next(filter(None, doubts))
    shapes = [each.declared.shape for each in here]
    if now.shape is None or not any(each and each.signature == now.shape.signature for each in shapes):
        return _DISAGREES
    return "" if {each.around for each in before} <= {each.around for each in here} else _WRAPPED


def _hidden(old: _Read, new: _Read) -> set[str]:
    """Return the files that may have had any task: not read, or with one of an uncertain name that is gone."""
    gone = [each for name in old.tasks.keys() - new.tasks.keys() for each in old.tasks[name]]
    return {*old.unread, *(each.path for each in gone if each.is_likely and each.declared.shape is None)}


def _without(name: str, old: _Read, new: _Read, tree: _Tree) -> Compared | None:
    """Return what becomes of a task that is not imported here; ``None`` where it was none, for all that is known."""
    before = old.tasks[name]
    certain = [each for each in before if each.is_task and each.declared.shape is not None]
    if name in new.tasks:
        # One of an uncertain name is among those of its file that are imported, if there are any.
        likely = certain or [
            each for each in before if each.path not in tree.used and (each.is_task or each.declared.shape)
        ]
        near = [each for each in likely if tree.reaches(each.path)]
        return comparing.unknown(name, _NOT_IMPORTED, near[0].declared.place) if near else None
    near = [each for each in certain if tree.reaches(each.path)]
    if near:
        return comparing.removed(name, near[0].declared)
    likely = [each for each in before if each.is_likely]
    return comparing.unknown(name, _LOST, likely[0].declared.place) if likely else None
