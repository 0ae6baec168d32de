"""The command line: one module a command, parsing and printing only."""

from __future__ import annotations


def main() -> None:
    """Run the ``autocelery`` command and exit with its code."""
    import sys

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that lacks a character is no reason to fail
            stream.reconfigure(errors="backslashreplace")
    if sys.argv[1:] == ["status", "--ready"]:  # asked each second, of a machine that may be busy
        sys.exit(_not_ready())
    try:
        from autocelery._cli.root import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # before, or after, a command could say so itself
        code = 130
    sys.exit(code)


def _not_ready() -> int:
    from pathlib import Path

    from autocelery._up.place import is_ready

    return 0 if is_ready(Path.cwd()) else 1


__all__ = ["main"]
