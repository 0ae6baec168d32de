"""Files that a project's build tools write, that git ignores, and that its code imports: those with its version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

#: Where build tools are told which file to write: setuptools-scm, hatch-vcs, pdm, and setuptools-scm before 8.
_SETTINGS = (
    "setuptools_scm.version_file",
    "setuptools_scm.write_to",
    "hatch.build.hooks.vcs.version-file",
    "hatch.build.hooks.version.path",
    "pdm.version.write_to",
)


def version_files(tool: Mapping[str, object]) -> tuple[str, ...]:
    """Return the files, relative to the top, to which the ``[tool]`` table says that a version is written.

    >>> version_files({"setuptools_scm": {"version_file": "src/shop/_version.py"}})
    ('src/shop/_version.py',)
    """
    found = [value for setting in _SETTINGS for value in _looked_up(tool, setting.split("."))]
    return tuple(dict.fromkeys(each for each in found if _is_inside(each)))


def _looked_up(table: object, keys: list[str]) -> Iterator[str]:
    for key in keys:
        table = table.get(key) if isinstance(table, Mapping) else None
    if isinstance(table, str):
        yield table.removeprefix("./")


def _is_inside(path: str) -> bool:
    """Whether a path is a Python file in the tree, and no glob."""
    is_plain = not set(path) & set("*?[\\!#")
    return path.endswith(".py") and not path.startswith("/") and ".." not in path.split("/") and is_plain
