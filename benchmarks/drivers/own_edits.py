"""autocelery: edit, call, get, in one client process, while the stock worker stays as it is."""

from __future__ import annotations

from importlib import import_module

from benchmarks.drivers import arguments, reply, time_edits


def main() -> None:
    """Edit and call ``warm`` times on a worker that has just started, then ``count`` times."""
    asked = arguments()
    answer = import_module("proj.tasks").answer

    def call() -> int:
        return int(answer.live.delay().get(timeout=60))

    warm = asked["warm"]
    first = time_edits(call, count=warm, first=asked["first"])
    reply({"first": first, "edits": time_edits(call, count=asked["count"], first=asked["first"] + warm)})


if __name__ == "__main__":
    main()
