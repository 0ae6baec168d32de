"""Edits and unchanged calls through a proxy that counts, in the same client process."""

from __future__ import annotations

import os
from importlib import import_module

from benchmarks.drivers import arguments, reply, time_edits
from benchmarks.proxy import CountingProxy, Counts


def main() -> None:
    """Count the bytes of each edit with its call, and of each call with nothing changed."""
    asked = arguments()
    with CountingProxy(asked["url"]) as proxy:
        os.environ["BENCH_BROKER"] = os.environ["BENCH_BACKEND"] = proxy.url
        answer = import_module("proj.tasks").answer

        def call() -> int:
            return int(answer.live.delay().get(timeout=60))

        first = asked["first"]
        time_edits(call, count=1, first=first)
        whole = proxy.counts()
        time_edits(call, count=3, first=first + 1)
        edited, unchanged = [], []
        for number in range(first + 4, first + 4 + asked["count"]):
            before = proxy.counts()
            (edit,) = time_edits(call, count=1, first=number)
            after = proxy.counts()
            again = call()
            edited.append(_difference(after, before))
            unchanged.append(_difference(proxy.counts(), after))
            if edit["wanted"] != edit["got"] or again != edit["wanted"]:
                raise RuntimeError(f"a wrong answer: {edit}, then {again}")
        reply({"first": list(whole), "edited": edited, "unchanged": unchanged})


def _difference(after: Counts, before: Counts) -> list[int]:
    return [after.sent - before.sent, after.received - before.received]


if __name__ == "__main__":
    main()
