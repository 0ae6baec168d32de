"""What a package may not bring into an environment: files beside it, and code that each Python process would run."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

from autocelery.errors import EnvironmentNotBuilt

#: What nobody needs in an environment: distutils is gone or the interpreter's, and namespaces need no file.
_NEEDLESS = re.compile(r"distutils-precedence\.pth|.+-nspkg\.pth")
#: uv's words: it leaves such files out, and says so in its log.
_OUTSIDE = re.compile(r"Skipping unsafe file name: (?P<file>[^\n]+)")
_WHOSE = re.compile(r"missing from the wheel archive for `(?P<package>[^`]+)`")


def refuse_startup_files(site: Path) -> None:
    """Refuse a ``.pth`` file, whose lines each Python process there would run; take away those that do nothing.

    Raises:
        EnvironmentNotBuilt: there is one.
    """
    for file in sorted(site.glob("*.pth")):
        if _NEEDLESS.fullmatch(file.name):
            file.unlink()
            continue
        owner = _owner_of(file.name, site)
        raise EnvironmentNotBuilt(
            f"{owner} brings {file.name}, which every Python process there would run when it starts; an environment "
            'holds no such file. Install it on the workers themselves and set environment = "worker" in '
            "[tool.autocelery], or do without it."
        )


def refuse_files_outside(said: str, wanted: str) -> None:
    """Refuse a wheel with files that lie outside of its folder; none of them was written.

    Args:
        said: uv's log.
        wanted: what was installed, for people.

    Raises:
        EnvironmentNotBuilt: there is one.
    """
    found = _OUTSIDE.search(said)
    if found is None:
        return
    whose = _WHOSE.search(said)
    raise EnvironmentNotBuilt(
        f"The wheel of {whose['package'] if whose else wanted} has a file outside of its folder, "
        f"{found['file']}: it was not written, and the package is not used. Whoever made it meant harm, or made a "
        "mistake: look at where it is from, and call with another version."
    )


def package_outside(said: str) -> str | None:
    """Return the name of the package whose wheel has files outside of its folder, where uv's log tells."""
    whose = _WHOSE.search(said) if _OUTSIDE.search(said) else None
    return whose["package"].partition("==")[0] if whose else None


def _owner_of(name: str, site: Path) -> str:
    for each in metadata.distributions(path=[str(site)]):
        if any(str(file) == name for file in each.files or ()):
            return f"{each.name} {each.version}"
    return "A package"
