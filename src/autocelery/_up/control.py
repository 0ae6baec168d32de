"""The socket of one ``up``: who may open it, and what is said on it.

A question and its answers are lines of JSON. The socket and its folder
belong to one user, who alone may open them; on Linux the kernel is asked
who is at the other end, too.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from autocelery._up.place import project_of, socket_of
from autocelery.errors import UpUnavailable

#: Seconds for an answer of a process that is there.
_PATIENCE = 5.0
_MOMENT = 0.1
_CREDENTIALS = struct.Struct("3i")


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Be the only ``up`` of the project in ``folder``, whoever else may start one.

    Raises:
        UpUnavailable: another one runs, or this user can have no socket.
    """
    place = socket_of(folder)
    note = place.with_suffix(".pid")
    with _folder_held(project_of(folder)) as is_held:
        if not is_held:
            raise UpUnavailable(_is_up_already(folder, note))
        try:
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            place.parent.chmod(0o700)
            note.write_text(str(os.getpid()))
        except OSError as exc:
            raise UpUnavailable(
                f"No socket can be made in {place.parent}: {exc.strerror}. Set AUTOCELERY_HOME to a folder of this "
                "user's that can be written to."
            ) from exc
        try:
            yield
        finally:
            note.unlink(missing_ok=True)


@contextlib.contextmanager
def _folder_held(folder: Path) -> Iterator[bool]:
    """Hold the lock on a folder; whether it could be had. It is the same for all users, and ends with its process.

    Where it cannot be known, it could.
    """
    with contextlib.ExitStack() as owned:
        is_held = True
        try:
            opened = os.open(folder, os.O_RDONLY)
            owned.callback(os.close, opened)
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # who only asks holds it too, for a moment
                time.sleep(_MOMENT)
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            is_held = False
        except OSError:  # a folder that cannot be read, or a file system without locks
            pass
        yield is_held


def _is_up_already(folder: Path, note: Path) -> str:
    if note.exists():
        return f"{folder} is up already, with pid {note.read_text()}. See: autocelery ctl status"
    return f"{folder} is up already; another user started it, who alone may ask it."


def _says_nothing(folder: Path, place: Path) -> str:
    if place.with_suffix(".pid").exists():
        return f"The up of {folder} is about to begin, or to end. Ask again in a second."
    return f"{folder} is up, and cannot be asked: another user started it, who alone may ask it."


def listen(folder: Path) -> socket.socket:
    """Return a socket that listens, for the owner of this process alone.

    Raises:
        UpUnavailable: it can be made nowhere.
    """
    place = socket_of(folder)
    place.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(str(place))
    except OSError as exc:
        listener.close()
        raise UpUnavailable(
            f"{place} cannot be a socket: {exc}. Set AUTOCELERY_HOME to a folder with a short path."
        ) from exc
    finally:
        os.umask(before)
    listener.listen(16)
    return listener


def is_ours(connection: Any) -> bool:
    """Whether who is at the other end is this process's user, or root; where the kernel cannot say, its files do."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return True
    _, user, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size))
    return user in (os.getuid(), 0)


def ask(
    folder: Path, question: dict[str, Any], patience: float | None = _PATIENCE
) -> Iterator[dict[str, Any]]:
    """Yield what the ``up`` of the project in ``folder`` answers, as it does.

    Args:
        folder: the project's.
        question: with its name in ``do``.
        patience: seconds for each answer; ``None``: as long as it takes.

    Raises:
        UpUnavailable: none runs there, it is another user's, or it does not answer.
    """
    place = socket_of(folder)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(patience)
        try:
            connection.connect(str(place))
        except PermissionError as exc:
            raise UpUnavailable(f"The up of {folder} is another user's: {place} may not be opened.") from exc
        except OSError as exc:
            with _folder_held(project_of(folder)) as is_free:
                told = (
                    f"{folder} is not up. Start it: autocelery up"
                    if is_free
                    else _says_nothing(folder, place)
                )
            raise UpUnavailable(told) from exc
        connection.sendall(json.dumps(question).encode() + b"\n")
        with connection.makefile("rb") as answers:
            yield from _lines(answers, folder)


def _lines(answers: BinaryIO, folder: Path) -> Iterator[dict[str, Any]]:
    try:
        for line in answers:
            told = json.loads(line)
            if "error" in told:
                raise UpUnavailable(str(told["error"]))
            yield told
    except (TimeoutError, ConnectionError) as exc:
        raise UpUnavailable(f"The up of {folder} does not answer: {exc}. See its log.") from exc
