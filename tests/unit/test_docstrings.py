"""The examples in docstrings are run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SOURCES = Path(__file__).parents[2] / "src"
WITH_EXAMPLES = [
    ".".join(path.relative_to(SOURCES).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted(SOURCES.rglob("*.py"))
    if ">>> " in path.read_text()
]
#: In a process of their own: some make an app the current one, or name Django's settings.
RUN = """
import doctest, importlib, sys
ended = {name: doctest.testmod(importlib.import_module(name)) for name in sys.argv[1:]}
sys.exit(", ".join(name for name, each in ended.items() if each.failed or not each.attempted) or None)
"""


def test_docstrings_show_what_is_so() -> None:
    assert WITH_EXAMPLES
    done = subprocess.run(
        [sys.executable, "-c", RUN, *WITH_EXAMPLES], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
