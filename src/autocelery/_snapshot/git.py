"""Ask git what the working tree is. Every question is one short-lived process."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

#: Git answers in milliseconds; a repository on a dead network mount would hang for ever.
_TIMEOUT = 60
_LINK_TO_REPOSITORY = "160000"


@dataclass(frozen=True, slots=True)
class Repository:
    """Where git keeps what decides about a folder: absolute paths, of which not all need exist."""

    worktree: str
    rule_files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GitFiles:
    """What git lists below a folder, relative to it; ``nested`` are repositories in it."""

    tracked: tuple[str, ...]
    untracked: tuple[str, ...]
    nested: tuple[str, ...]


def find_repository(folder: str) -> Repository | None:
    """Return the repository that ``folder`` is in; ``None`` without one, without git, or if git refuses."""
    answer = _git(folder, ["rev-parse", "--show-toplevel", "--git-path", "index",
                           "--git-path", "info/exclude", "--git-path", "config"])  # fmt: skip
    lines = os.fsdecode(answer or b"").splitlines()
    if len(lines) != 4:
        return None
    worktree, *paths = lines
    files = [os.path.join(folder, path) for path in paths]
    excludes = _git(folder, ["config", "--type=path", "--get", "core.excludesFile"])
    if excludes:
        files.append(os.path.join(folder, os.fsdecode(excludes).rstrip("\n")))
    return Repository(worktree, (*files, *_user_files(), *_ignore_files_above(folder, worktree)))


def list_files(folder: str) -> GitFiles | None:
    """Return the tracked files below ``folder`` and those that are neither tracked nor ignored."""
    answer = _git(folder, ["ls-files", "-z", "-t", "-s", "--cached", "--others", "--exclude-standard"])
    if answer is None:
        return None
    tracked: list[str] = []
    untracked: list[str] = []
    nested: list[str] = []
    for record in os.fsdecode(answer).split("\0"):
        tag, _, rest = record.partition(" ")
        if not rest:
            continue
        if tag == "?":
            (nested if rest.endswith("/") else untracked).append(rest.rstrip("/"))
            continue
        stage, _, path = rest.partition("\t")
        (nested if stage.startswith(_LINK_TO_REPOSITORY) else tracked).append(path)
    return GitFiles(tuple(dict.fromkeys(tracked)), tuple(untracked), tuple(dict.fromkeys(nested)))


def ignored(folder: str, paths: Iterable[str]) -> frozenset[str]:
    """Return those of ``paths``, relative to ``folder``, that git ignores."""
    text = b"\0".join(os.fsencode(path) for path in paths)
    if not text:
        return frozenset()
    answer = _git(folder, ["check-ignore", "--no-index", "-z", "--stdin"], text) or b""
    return frozenset(os.fsdecode(answer).split("\0")) - {""}


def commit_of(folder: str, revision: str) -> str | None:
    """Return the id of the commit that ``revision`` names; ``None`` where git knows none, or there is no git."""
    answer = _git(folder, ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"])
    return os.fsdecode(answer).strip() if answer else None


def files_at(folder: str, commit: str, suffix: str) -> dict[str, bytes]:
    """Return the files of a commit whose names end in ``suffix``, by their paths below ``folder``.

    Raises:
        OSError: git does not give them.
    """
    listed = _git(folder, ["ls-tree", "-r", "-z", commit])
    if listed is None:
        raise OSError(f"git does not list the files of {commit}")
    paths = {}
    for record in os.fsdecode(listed).split("\0"):
        about, _, path = record.partition("\t")
        if path.endswith(suffix) and about.split(" ")[1] == "blob":
            paths[path] = about.split(" ")[2]
    told = _git(folder, ["cat-file", "--batch"], "".join(f"{each}\n" for each in paths.values()).encode())
    if told is None:
        raise OSError(f"git does not give the files of {commit}")
    contents, at = {}, 0
    for path in paths:
        end = told.index(b"\n", at)
        size = int(told[at:end].split(b" ")[2])
        contents[path] = told[end + 1 : end + 1 + size]
        at = end + 2 + size
    return contents


def _git(folder: str, arguments: list[str], text: bytes = b"") -> bytes | None:
    # A hook of git runs with variables that point at that repository, whatever the folder.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment |= {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            input=text,
            env=environment,
            capture_output=True,
            check=False,
            timeout=_TIMEOUT,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _user_files() -> tuple[str, ...]:
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return (f"{config}/git/ignore", f"{config}/git/config", os.path.expanduser("~/.gitconfig"))


def _ignore_files_above(folder: str, worktree: str) -> list[str]:
    files = []
    while folder.startswith(worktree + "/"):
        folder = os.path.dirname(folder)
        files.append(f"{folder}/.gitignore")
    return files
