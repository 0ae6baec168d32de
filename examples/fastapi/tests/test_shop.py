import json

from shop.celery import celery
from shop.tasks import price

from autocelery.testing import assert_sent


def states(response):
    """Return what a stream of events told."""
    lines = [line for line in response.text.splitlines() if line.startswith("data: ")]
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def test_an_order_is_priced(client):
    ordered = client.post("/orders", json={"items": [["bread", 2], ["salt", 1]]})
    assert ordered.status_code == 202
    order_id = ordered.json()["id"]
    assert_sent(price, [("bread", 2.0), ("salt", 1.0)])
    assert celery.AsyncResult(order_id).get(timeout=60) == 3
    assert client.get(f"/orders/{order_id}/price").json() == {"price": 3}
    told = client.get(f"/tasks/{order_id}").json()
    assert (told["state"], told["ready"], told["result"], told["error"]) == ("SUCCESS", True, 3, None)


def test_an_order_that_makes_no_sense(client):
    order_id = client.post("/orders", json={"items": [["bread", -1]]}).json()["id"]
    told = states(client.get(f"/tasks/{order_id}/events"))[-1]
    assert (told["state"], told["result"]) == ("FAILURE", None)
    assert told["error"] == {"type": "ValueError", "message": "nothing costs less than nothing"}


def test_the_stream_ends_with_the_result_and_tells_what_happened_before(client, running):
    order_id = client.post("/bread/3").json()["id"]
    response = client.get(f"/tasks/{order_id}/events")
    assert response.headers["content-type"].startswith("text/event-stream")
    told = states(response)
    assert (told[-1]["state"], told[-1]["result"]) == ("SUCCESS", 3)
    if running != "autocelery_eager":  # there it had ended before anybody could ask
        assert {"done": 3, "of": 3} in [each["progress"] for each in told]


def test_an_id_that_is_none(client):
    assert client.get("/tasks/..%20").status_code == 422
