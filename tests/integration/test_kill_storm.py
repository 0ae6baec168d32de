"""A short storm of kills: what is late is never lost, what is early ends typed, and nothing is ever wrong."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.shops import Shop
from tests.storms import Storm, is_redis, stormy_shop

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SEED = 20260731


@pytest.fixture(scope="module", params=["rabbitmq", "redis"])
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    request.getfixturevalue(f"{request.param}_url")
    with stormy_shop(tmp_path_factory.mktemp("storm"), request.param) as shop:
        yield shop


def test_late_calls_survive_a_storm_that_deployed_calls_survive(shop: Shop) -> None:
    stock = ["pool"] * 2 + ["worker"]
    ours = ["host"] * 3 + ["zygote", "agent"]
    live = Storm(shop, "live", "late", stock + ours, SEED).run()
    deployed = Storm(shop, "deployed", "late", stock, SEED).run()
    print(f"\nlive:     {live}\ndeployed: {deployed}")
    assert live.wrong == 0
    assert live.cost <= deployed.cost
    assert live.unseen <= (live.kills["worker"] if is_redis(shop) else 0)


def test_early_calls_end_right_or_say_what_died(shop: Shop) -> None:
    toll = Storm(shop, "live", "early", ["host"] * 3 + ["zygote", "agent"], SEED).run()
    print(f"\nlive, early: {toll}")
    assert toll.wrong == 0
    assert toll.lost == 0
    assert set(toll.failed) <= {"HostLost"}
