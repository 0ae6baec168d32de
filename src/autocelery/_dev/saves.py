"""Watches the working tree: each save becomes a snapshot, and its name goes where the worker looks."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import watchfiles
from celery.app.utils import find_app

from autocelery._celery import newest
from autocelery._publish.facade import Autocelery, for_app
from autocelery._publish.targeting import target
from autocelery.errors import AutoceleryError
from autocelery_host.header import Target

#: Milliseconds of quiet that end a save: editors write a file in several steps, and git many files.
_QUIET, _LONGEST = 50, 400
#: Milliseconds without a change after which it is known that changes are seen.
_FIRST_LOOK = 500


class Saved(watchfiles.DefaultFilter):
    """Lets through what somebody saves, and not what programs write while they run: each would be a version."""

    ignore_entity_patterns = (
        *watchfiles.DefaultFilter.ignore_entity_patterns,
        r"\.(db|sqlite|sqlite3)(-journal|-wal|-shm)?$",
        r"\.(log|pid|lock|sock)$",
        r"^celerybeat-schedule",
    )


class Saves:
    """Makes a version of each save that is whole.

    Args:
        auto: of the app.
        place: the file that names the newest version.
        folder: the project that ``dev`` runs for: it is watched where the tree cannot be read.
    """

    def __init__(self, auto: Autocelery, place: Path, folder: Path) -> None:
        self._auto = auto
        self._place = place
        self._folder = folder
        self._newest: Target | None = None
        self._broken: set[Path] = set()

    def follow(self) -> None:
        """Make a version of the tree as it is, and of each save after that."""
        self.take([])
        was_looked_at = False
        for changes in watchfiles.watch(
            *self._tops(),
            watch_filter=Saved(),
            debounce=_LONGEST,
            step=_QUIET,
            rust_timeout=_FIRST_LOOK,
            yield_on_timeout=True,
            raise_interrupt=False,
        ):
            if changes or not was_looked_at:  # what was saved before anybody watched
                self.take(sorted(Path(path) for _, path in changes))
            was_looked_at = True

    def take(self, changed: Iterable[Path]) -> None:
        """Make a version of the tree, unless a file in it is no Python: that is said, and the last one goes on."""
        changed = list(changed)
        try:
            shipped = {path for tree in self._auto.shipper.collect().trees for path in tree.sources.values()}
            self._broken = {
                each for each in shipped.intersection({*self._broken, *changed}) if _is_broken(each)
            }
            if self._broken:
                return
            made = target(self._auto, None, self._auto.source)
        except AutoceleryError as error:
            _say(f"{error.message}\nThe last version goes on.")
            return
        if made == self._newest:
            return
        newest.name_newest(self._place, made)
        what = f" after {_names(changed, self._auto.shipper.top)}" if changed else ""
        _say(f"version {made.snapshot[:12]}{what}")
        self._newest = made

    def _tops(self) -> list[Path]:
        try:
            return [each.top for each in self._auto.shipper.collect().roots.roots]
        except AutoceleryError:  # which was said
            return [self._folder]


def _is_broken(path: Path) -> bool:
    if path.suffix != ".py":
        return False
    try:
        compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        where = f"{path}:{error.lineno}" if isinstance(error, SyntaxError) else str(path)
        _say(f"{where}: {error.args[0]}. The last version goes on.")
        return True
    except OSError:  # it is gone again
        return False
    return False


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _names(changed: list[Path], top: Path) -> str:
    there = [
        each for each in changed if each.exists()
    ] or changed  # editors write to another file first, and rename it
    names = [
        str(each.relative_to(top)) if each.is_relative_to(top) else str(each) for each in dict.fromkeys(there)
    ]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def main(name: str, place: str, folder: str) -> None:
    """Watch until told to stop.

    Args:
        name: of the app, as for ``celery -A``.
        place: the file that names the newest version.
        folder: the project that ``dev`` runs for.
    """
    app = find_app(name)
    Saves(for_app(app), Path(place), Path(folder)).follow()


if __name__ == "__main__":
    main(*sys.argv[1:])
