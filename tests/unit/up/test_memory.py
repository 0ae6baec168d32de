"""How much memory processes take."""

from __future__ import annotations

import subprocess
import sys

import pytest

from autocelery._up import memory

NAMED_STRANGELY = """
import ctypes, sys
ctypes.CDLL(None).prctl(15, b"\\xff) \\xfe", 0, 0, 0)
print("named", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is read")
def test_it_is_known_whatever_processes_are_called() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", NAMED_STRANGELY], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert memory.of_tree(process.pid) > 1 << 20
