"""A gigabyte that a task prints leaves the store, the agent and the neighbours as they were."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from autocelery._blobs import open_store
from tests.printers import printing_shop
from tests.shops import Shop, family_of
from tests.waiting import wait_for

pytestmark = [pytest.mark.stress, pytest.mark.timeout(1800)]

RING = 16 * (65_536 + 4096)


def test_a_gigabyte_leaves_a_bounded_store_a_small_agent_and_no_process(
    redis_url: str, redis_prefix: str, tmp_path: Path
) -> None:
    with ExitStack() as owned:
        store_url = f"{redis_url}?autocelery_prefix={redis_prefix}blobs:"
        shop = printing_shop(Shop(tmp_path, redis_url, redis_url, AUTOCELERY_STORE=store_url))
        owned.callback(shop.close)
        options = {"global_keyprefix": redis_prefix}
        shop.configure(broker_transport_options=options, result_backend_transport_options=options)
        shop.configure(task_default_queue=redis_prefix.strip(":"))
        worker, caller = shop.worker("flood", "-c", "2"), shop.caller()
        assert caller.do("tasks.nothing.live.delay().get(timeout=30)") == 1
        store = open_store(store_url)
        owned.callback(store.close)
        [agent] = family_of(worker.pid).agents
        before, sizes = (agent.memory_info().rss, agent.num_fds()), []
        caller.do("kept.update(flood=tasks.flood.live.apply_async((1024,), output=True))")

        def is_over() -> bool:
            sizes.append(sum(map(len, store.get(store.names(".out")).values())))
            assert caller.do("tasks.nothing.live.delay().get(timeout=30)") == 1
            return bool(caller.do("kept['flood'].ready()"))

        wait_for(is_over, 900, "a gigabyte is printed")
        assert max(sizes) <= RING
        said = caller.do("[[p.stream, p.text[-100:]] for p in auto.stream(kept['flood'])]")
        assert any("of output was dropped here" in text for stream, text in said if stream == "note")
        assert said[-1][1].endswith("the end\n")
        assert agent.memory_info().rss - before[0] < 64 * 2**20
        wait_for(lambda: agent.num_fds() <= before[1] + 2, 20, "its pipes are closed")
        assert psutil.pid_exists(agent.pid)
        assert store.names(".out") == []
