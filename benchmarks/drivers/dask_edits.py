"""Dask: ``upload_file`` with a zip of the project to a running cluster, then one task, for each edit.

The zip is written uncompressed, which is the fastest on one machine.
"""

from __future__ import annotations

import tempfile
import zipfile
from importlib import import_module
from pathlib import Path

from benchmarks.drivers import arguments, reply, time_edits


def main() -> None:
    """Connect, then edit, upload and call as often as asked."""
    asked = arguments()
    connect = import_module("distributed").Client
    version = import_module("proj.scoring").version
    with tempfile.TemporaryDirectory(prefix="bench-dask-") as folder, connect(asked["address"]) as client:
        client.wait_for_workers(2)

        def upload_and_call() -> int:
            client.upload_file(_pack(Path(folder) / "proj.zip"))
            return int(client.submit(version, pure=False).result(timeout=120))

        reply(time_edits(upload_and_call, count=asked["count"], first=asked["first"]))


def _pack(target: Path) -> str:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for file in Path("proj").rglob("*.py"):
            archive.write(file)
    return str(target)


if __name__ == "__main__":
    main()
