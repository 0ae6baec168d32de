"""The command line: one module a command, parsing and printing only."""

from __future__ import annotations


def main() -> None:
    """Run the ``autocelery`` command and exit with its code."""
    import sys

    from autocelery._cli.root import run

    sys.exit(run(sys.argv[1:]))


__all__ = ["main"]
