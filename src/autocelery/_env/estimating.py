"""What building an environment would take, asked of uv and the index; no code of a package runs for that."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
import urllib.request
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit

from autocelery._env.complaints import why_not
from autocelery._env.installing import uv_here
from autocelery._env.interpreters import Interpreter, own_interpreter
from autocelery._model import Pin

#: Seconds that uv has for one look at the index, and a server to tell the size of a file.
UV_SECONDS = 30.0
SIZE_SECONDS = 3.0
#: How many packages without a wheel are told apart; each is another look.
_MOST_WITHOUT = 8
#: uv's words.
_NO_WHEEL = re.compile(r"Because (?P<name>[^\s=]+)(?:==\S+)? has no usable wheels")
_COMPILERS = ("cc", "gcc", "clang")


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a build would take.

    ``size`` is what is downloaded, in bytes, ``None`` where nobody tells; ``source`` where it is from. ``unbuilt``
    are the packages, with their versions, that have no wheel for this platform and are built from source;
    ``has_compiler`` whether there is a C compiler for that. ``why`` says why it cannot be built, and
    ``mend`` what to do; both are empty where it can.
    """

    size: int | None = None
    source: str = ""
    unbuilt: tuple[str, ...] = ()
    has_compiler: bool = True
    why: str = ""
    mend: str = ""


def estimate(pins: Collection[Pin], interpreter: Interpreter | None = None) -> Estimate:
    """Return what building an environment with ``pins`` would take; it asks the index, for seconds.

    Args:
        pins: what it would hold.
        interpreter: whose it would be; the own one if not given.
    """
    program = uv_here()
    if program is None:
        return Estimate(why="uv is not there", mend="Install it there: pip install 'autocelery[env]'")
    waiting = {pin.name: pin for pin in pins}
    unbuilt: list[str] = []
    for _ in range(_MOST_WITHOUT):
        done = _look(program, waiting.values(), interpreter or own_interpreter())
        if done is None:
            return Estimate(
                why=f"its package index does not answer within {UV_SECONDS:.0f} s",
                mend="Is it reached from the worker? UV_DEFAULT_INDEX there names another.",
            )
        if done.returncode == 0:
            size, source = _told(done.stdout)
            return Estimate(None if unbuilt else size, source, tuple(unbuilt), _has_compiler())
        said = " ".join(done.stderr.split())
        found = _NO_WHEEL.search(said)
        if found is None or found["name"] not in waiting:
            return _impossible(said)
        pin = waiting.pop(found["name"])
        unbuilt.append(f"{pin.name}=={pin.version}")
    return Estimate(unbuilt=tuple(unbuilt), has_compiler=_has_compiler())


def _look(
    program: str, pins: Collection[Pin], interpreter: Interpreter
) -> subprocess.CompletedProcess[str] | None:
    """Let uv find the files; it does not build any, since that would run what nobody has signed yet."""
    command = [
        program,
        "pip",
        "compile",
        "-",
        "--quiet",
        "--no-config",
        "--no-header",
        "--no-deps",
        "--no-build",
    ]
    command += ["--format", "pylock.toml", "--python", interpreter.path, "--no-python-downloads"]
    text = "\n".join(f"{pin.name}=={pin.version}" for pin in pins)
    try:
        return subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=UV_SECONDS, cwd="/", check=False
        )
    except subprocess.TimeoutExpired:
        return None


def _told(text: str) -> tuple[int | None, str]:
    """Return size and place of the files that a ``pylock.toml`` (PEP 751) names."""
    files = [
        wheel for each in tomllib.loads(text).get("packages", ()) for wheel in each.get("wheels", ())[:1]
    ]
    urls = [str(each.get("url") or each.get("path") or "") for each in files]
    with ThreadPoolExecutor(8) as threads:
        sizes = list(threads.map(_size_of, files, urls))
    places = sorted({urlsplit(url).hostname or str(Path(unquote(urlsplit(url).path)).parent) for url in urls})
    known = [each for each in sizes if each is not None]
    return (sum(known) if len(known) == len(sizes) else None), ", ".join(places)


def _size_of(file: Mapping[str, object], url: str) -> int | None:
    """Return a file's size: as the index says, else as the disk or the server does."""
    if isinstance(file.get("size"), int):
        return int(str(file["size"]))
    place = urlsplit(url)
    try:
        if place.scheme in ("", "file"):
            return os.stat(unquote(place.path)).st_size
        if place.scheme not in ("http", "https"):
            return None
        asked = urllib.request.Request(url, method="HEAD")
        with urllib.request.urlopen(asked, timeout=SIZE_SECONDS) as answer:
            return int(answer.headers["Content-Length"])
    except HTTPError as refused:
        refused.close()
    except (OSError, ValueError, TypeError):
        pass
    return None


def _has_compiler() -> bool:
    return any(shutil.which(each) for each in _named_compilers())


def _named_compilers() -> Iterator[str]:
    yield from os.environ.get("CC", "").split()[:1]
    yield from _COMPILERS


def _impossible(said: str) -> Estimate:
    why, mend = why_not(said) or (
        f"uv says: {said[-600:]}",
        "Install what is missing there, or other versions here.",
    )
    return Estimate(why=why, mend=mend)
