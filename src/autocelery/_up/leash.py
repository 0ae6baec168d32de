"""Runs a command that does not outlive its supervisor: ``python leash.py PARENT NICENESS COMMAND...``.

The kernel sends the process SIGTERM when its parent is gone, however that ended (``prctl(2)``,
``PR_SET_PDEATHSIG``; it outlasts ``exec``). Where there is no such thing, it is only run.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Become the command."""
    parent, niceness, *command = arguments
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != int(parent):  # it was gone before the kernel was asked
            sys.exit(1)
    for number in (
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGTERM,
    ):  # a shell starts what is in the background without
        signal.signal(number, signal.SIG_DFL)
    if int(niceness):
        os.nice(int(niceness))
    try:
        os.execvp(command[0], command)
    except OSError as exc:
        sys.exit(f"{command[0]} cannot be run: {exc.strerror}. Is it installed, and on the PATH?")


if __name__ == "__main__":
    main(sys.argv[1:])
