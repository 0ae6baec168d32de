"""Which hashes of a package's files a worker may need."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable

from autocelery._env.locks.model import Malformed

_STRONG = re.compile(r"sha(?:256:[0-9a-f]{64}|384:[0-9a-f]{96}|512:[0-9a-f]{128})")
_PYTHON = re.compile(r"(cp|py)(\d)(\d*)")


def hashes_of(files: Iterable[tuple[str, str]], package: str) -> tuple[str, ...]:
    """Return the hashes of those files that this minor version of Python can use, on any platform, sorted.

    A lock names every wheel that there is: those for other interpreters would make most of what is sent.

    Args:
        files: names and hashes, ``sha256:...``; an empty hash where the file has none.
        package: whose they are, as people read it.

    Raises:
        Malformed: some files have hashes, and one that may be needed has not a strong one.
    """
    usable = [(name, told) for name, told in files if is_usable(name)]
    strong = {told.lower() for _, told in usable if _STRONG.fullmatch(told.lower())}
    weak = [name for name, told in usable if not _STRONG.fullmatch(told.lower())]
    if weak and strong:
        raise Malformed(f"has hashes for some files of {package}, and none of SHA-2 for {weak[0]!r:.120}.")
    if any(told for _, told in usable) and not strong:
        raise Malformed(f"has hashes of {package} that are none of SHA-2: {usable[0][1]!r:.80}.")
    return tuple(sorted(strong))


def is_usable(name: str) -> bool:
    """Tell whether a file is a source distribution, or a wheel that this minor version of Python may use.

    Its name says for which interpreters, ABIs and platforms it is (PEP 427).
    """
    if not name.endswith(".whl"):
        return True
    parts = name.removesuffix(".whl").split("-")
    if len(parts) < 5:
        return True
    pythons, abis, platforms = (part.split(".") for part in parts[-3:])
    if all(each.startswith("win") for each in platforms):
        return False  # there are no Windows workers
    return any(_does(python, "abi3" in abis) for python in pythons)


def _does(tag: str, is_stable_abi: bool) -> bool:
    found = _PYTHON.fullmatch(tag)
    if found is None:
        return False
    kind, major, minor = found[1], int(found[2]), found[3]
    if major != sys.version_info.major:
        return False
    if not minor:
        return True
    if kind == "py" or is_stable_abi:
        return int(minor) <= sys.version_info.minor
    return int(minor) == sys.version_info.minor
