import pytest
from celery.result import AsyncResult
from shop.tasks import price, restock

from autocelery.testing import assert_sent


def test_an_order_is_priced_with_the_tax_of_the_app(client):
    ordered = client.post("/orders", json={"items": [["bread", 2.0], ["salt", 1.0]]})
    assert ordered.status_code == 202
    sent = assert_sent(price, [["bread", 2.0], ["salt", 1.0]])
    assert AsyncResult(sent.id).get(timeout=60) == 3.75
    assert client.get(f"/orders/{sent.id}").json == {"state": "SUCCESS", "price": 3.75}


def test_an_order_that_makes_no_sense(client):
    order_id = client.post("/orders", json={"items": [["bread", -1]]}).json["id"]
    with pytest.raises(ValueError, match="less than nothing"):
        AsyncResult(order_id).get(timeout=60)
    assert client.get(f"/orders/{order_id}").json["error"] == "nothing costs less than nothing"


def test_what_json_cannot_carry_is_refused():
    with pytest.raises(Exception, match="which json cannot carry"):
        price.delay({"bread"})


def test_restocking_is_tried_again(running):
    tries = 2 if running == "autocelery_eager" else 0  # with a worker a retry is a minute away
    assert restock.delay(tries).get(timeout=60) == "on the shelf"
