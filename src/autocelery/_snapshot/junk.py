"""What is never shipped, and what is not shipped unless git tracks it."""

from __future__ import annotations

#: Never part of a snapshot, tracked or not: bookkeeping and compiled code.
NEVER_FOLDERS = frozenset({".git", "__pycache__"})
NEVER_SUFFIXES = (".pyc", ".pyo")

#: Made by tools and made again by them.
_FOLDERS = frozenset(
    {
        ".bzr", ".eggs", ".hg", ".hypothesis", ".idea", ".ipynb_checkpoints", ".mypy_cache", ".nox",
        ".pixi", ".pytest_cache", ".pytype", ".ruff_cache", ".svn", ".tox", ".vscode", "node_modules",
    }
)  # fmt: skip
_FOLDER_SUFFIXES = (".egg-info", ".dist-info")
#: ``db.sqlite3`` is the database of a Django project that is not told otherwise.
_FILES = frozenset({".DS_Store", "Thumbs.db", ".coverage", "desktop.ini", "celerybeat.pid", "db.sqlite3"})
_FILE_SUFFIXES = (
    "~", ".swp", ".swo", ".swx",
    # What SQLite keeps beside a database while it is open (https://sqlite.org/tempfiles.html).
    *(f"{name}-{what}" for name in (".db", ".sqlite", ".sqlite3") for what in ("journal", "wal", "shm")),
)  # fmt: skip
#: Emacs's locks are links that lead nowhere, made while a file is being edited. The schedule of Celery's beat has
#: endings that depend on the machine's ``dbm``.
_FILE_PREFIXES = (".#", "celerybeat-schedule")
#: What a build leaves at the top of a project; deeper down these are ordinary names.
_TOP_FOLDERS = frozenset({"build", "dist"})
_BUILDS_FROM = frozenset({"pyproject.toml", "setup.py", "setup.cfg"})
#: The file that makes a folder a virtual environment.
_VENV = "pyvenv.cfg"


def is_never_folder(name: str) -> bool:
    """Tell whether no folder of this name is shipped."""
    return name in NEVER_FOLDERS


def is_never_file(name: str) -> bool:
    """Tell whether no file of this name is shipped."""
    return name in NEVER_FOLDERS or name.endswith(NEVER_SUFFIXES)


def is_junk_folder(name: str) -> bool:
    """Tell whether an untracked folder of this name is left out."""
    return name in _FOLDERS or name.endswith(_FOLDER_SUFFIXES)


def is_junk_file(name: str) -> bool:
    """Tell whether an untracked file of this name is left out."""
    return name in _FILES or name.endswith(_FILE_SUFFIXES) or name.startswith(_FILE_PREFIXES)


def is_virtual_environment(names: set[str]) -> bool:
    """Tell whether a folder that holds these names is a virtual environment."""
    return _VENV in names


def build_folders(names: set[str]) -> frozenset[str]:
    """Return the folders of build results at a project's top that holds these names."""
    return _TOP_FOLDERS if names & _BUILDS_FROM else frozenset()
