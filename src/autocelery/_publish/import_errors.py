"""What to say where the user's own code does not import: its file, its line, and nobody else's frames."""

from __future__ import annotations

import os
import traceback
from functools import cache
from pathlib import Path

import celery
import kombu

import autocelery_host


def told(what: str, error: BaseException) -> str:
    """Return the sentence that importing ``what`` failed, with the frames of the user's own files."""
    shown = "".join(traceback.format_list(own_frames(error)) + traceback.format_exception_only(error))
    return f"Importing {what} failed:\n{shown.rstrip()}"


def own_frames(error: BaseException) -> list[traceback.FrameSummary]:
    """Return the frames of ``error`` that are neither the import system's, nor Celery's, nor ours."""
    frames = traceback.extract_tb(error.__traceback__)
    return [each for each in frames if "importlib" not in each.filename and not _is_ours(each.filename)]


def _is_ours(filename: str) -> bool:
    return filename.startswith(_folders())


@cache
def _folders() -> tuple[str, ...]:
    """Return the folders of the packages that import the user's code."""
    packages = [Path(str(package.__file__)).parent for package in (celery, kombu, autocelery_host)]
    return tuple(f"{folder}{os.sep}" for folder in [*packages, Path(__file__).parents[1]])
