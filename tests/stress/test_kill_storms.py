"""Long storms of kills, live and deployed beside each other; each seed is a storm of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.shops import Shop
from tests.storms import Storm, is_redis, stormy_shop

pytestmark = [pytest.mark.stress, pytest.mark.timeout(1800)]

STOCK = ["pool"] * 12 + ["worker"] * 3
OURS = ["host"] * 16 + ["zygote"] * 6 + ["agent"] * 5


@pytest.fixture(scope="module", params=["rabbitmq", "redis"])
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    request.getfixturevalue(f"{request.param}_url")
    with stormy_shop(tmp_path_factory.mktemp("storms"), request.param) as shop:
        yield shop


@pytest.mark.parametrize("seed", range(1, 5))
def test_late_calls_survive_storms_as_deployed_calls_do(shop: Shop, seed: int) -> None:
    live = Storm(shop, "live", "late", STOCK + OURS, seed).run()
    deployed = Storm(shop, "deployed", "late", STOCK, seed).run()
    print(f"\nseed {seed} live:     {live}\nseed {seed} deployed: {deployed}")
    assert live.wrong == 0
    assert live.cost <= deployed.cost
    assert live.unseen <= (live.kills["worker"] if is_redis(shop) else 0)


@pytest.mark.parametrize("seed", range(11, 14))
def test_late_calls_lose_nothing_to_the_death_of_what_autocelery_adds(shop: Shop, seed: int) -> None:
    live = Storm(shop, "live", "late", OURS, seed).run()
    print(f"\nseed {seed} live, ours only: {live}")
    assert live.right == live.sent


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_late_calls_survive_storms_under_the_other_pools(shop: Shop, pool: str) -> None:
    live = Storm(shop, "live", "late", OURS + ["worker"] * 3, 31, pool).run()
    deployed = Storm(shop, "deployed", "late", ["worker"] * 3, 31, pool).run()
    print(f"\n{pool} live:     {live}\n{pool} deployed: {deployed}")
    assert live.wrong == 0
    assert live.cost <= deployed.cost
    assert live.unseen <= (live.kills["worker"] if is_redis(shop) else 0)


@pytest.mark.parametrize("seed", range(21, 24))
def test_early_calls_end_right_or_say_what_died(shop: Shop, seed: int) -> None:
    live = Storm(shop, "live", "early", OURS, seed).run()
    print(f"\nseed {seed} live, early: {live}")
    assert live.wrong == live.lost == 0
    assert set(live.failed) <= {"HostLost"}
