"""Tasks that tell which version they are, and what their process is like."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import sys
import threading
from pathlib import Path

from .celery import app

VERSION = 0
_kept = []


@app.task
def version(*seen):
    """Return the version as each of the three places has it."""
    from . import deep

    return [VERSION, deep.VERSION, int(Path(__file__).with_name("version.txt").read_text())]


@app.task
def version_of_another():
    """Return the version that a task sees which this one sends."""
    return version.delay().id


@app.task
def pollute(marker):
    """Leave traces of every kind in this process."""
    sys.modules[marker] = json
    json.marker = marker
    app.conf.marker = marker
    sys.path.insert(0, f"/{marker}")
    os.environ["MARKER"] = marker
    os.chdir("/")
    threading.Thread(target=threading.Event().wait, name=marker, daemon=True).start()
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    _kept.extend([listener, open(Path(marker_file(marker)), "w")])
    return os.getpid()


@app.task
def litter(name):
    """Leave files beside the code and where this process runs, and say what is there."""
    folders = [Path(__file__).parent, Path.cwd()]
    for folder in folders:
        (folder / name).write_text("left behind")
    return [sorted(path.name for path in folder.iterdir()) for folder in folders]


def marker_file(marker):
    return f"{app.conf.marker_folder}/{marker}"


@app.task
def described():
    """Return what of this process could have come from somewhere else."""
    return {
        "pid": os.getpid(),
        "modules": sorted(name for name in sys.modules if name.startswith(("marker", __package__))),
        "json": getattr(json, "marker", None),
        "conf": app.conf.get("marker"),
        "path": sys.path,
        "environ": dict(os.environ),
        "cwd": os.getcwd(),
        "threads": sorted(each.name for each in threading.enumerate()),
        "files": sorted(_target(each) for each in os.listdir("/proc/self/fd")),
    }


def _target(fd):
    try:
        return os.readlink(f"/proc/self/fd/{fd}").split(":")[0]
    except OSError:
        return "gone"


@app.task
def shipped():
    """Return what a file says that is no code."""
    return Path(__file__).with_name("version.txt").read_text()


@app.task
def spoil(how):
    """Do what no task should to the folder that it runs in."""
    folder, told = Path.cwd(), Path(__file__).with_name("version.txt")
    if how == "one file":
        told.unlink()
    elif how == "written to":
        with contextlib.suppress(PermissionError):  # as root it can
            told.write_text("spoiled")
    else:
        shutil.rmtree(folder)
        if how == "a link":
            folder.symlink_to("/tmp")
