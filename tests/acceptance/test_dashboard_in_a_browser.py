"""The dashboard as a person sees it in a browser, while ``autocelery dev`` runs.

``SCREENSHOTS=docs/how-to/images`` has the picture of the documentation written there.
"""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError

import pytest
from playwright.sync_api import Page, expect

from tests.browsers import page_at
from tests.developing import TASKS, Dev
from tests.waiting import PATIENCE

pytestmark = pytest.mark.slow

_PATIENCE = PATIENCE * 1000
ORDERS = """
from proj.tasks import app

@app.task(name="shop.invoice")
def invoice(order):
    return {"order": order, "total": 129.5}

@app.task(name="shop.charge")
def charge(card, amount):
    raise ValueError(f"the card {card} was declined")

@app.task(name="shop.remind")
def remind(text):
    return text
"""


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[Dev]:
    made = Dev(tmp_path / "project", tmp_path / "home")
    made.write(
        "proj/celery.py",
        'from celery import Celery\n\napp = Celery("proj", include=["proj.tasks", "proj.orders"])\n',
    )
    made.write("proj/tasks.py", TASKS)
    made.write("proj/orders.py", ORDERS)
    made.start()
    yield made
    made.end()


@pytest.fixture
def page(dev: Dev) -> Iterator[Page]:
    with page_at(f"http://127.0.0.1:{dev.port}") as page:
        page.set_default_timeout(_PATIENCE)
        expect.set_options(timeout=_PATIENCE)
        page.goto("/")
        expect(page.locator("#status")).to_have_text("live")
        expect(page.locator("#workers tbody tr").filter(has_text="dev@")).to_contain_text("celery")
        expect(page.locator("#workers")).not_to_contain_text("sends no events")
        yield page


def test_tasks_are_seen_as_they_come_with_their_traceback(dev: Dev, page: Page, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    dev.call(("proj.tasks.waits", [str(gate)]), leave=True)
    rows = page.locator("#tasks tbody tr")
    expect(rows.filter(has_text="proj.tasks.waits")).to_contain_text("STARTED")
    expect(page.locator("#workers tbody tr td").nth(2)).to_have_text("1")
    dev.call(("shop.invoice", [4711]), ("shop.remind", ['<b onclick="alert(1)">not markup</b>']))
    dev.call(("shop.charge", ["ending in 42", 129.5]), leave=True)
    failed = rows.filter(has_text="shop.charge")
    expect(failed).to_contain_text("FAILURE")
    failed.locator("summary").click()
    expect(failed.locator("pre")).to_contain_text("proj/orders.py")
    expect(rows.filter(has_text="shop.remind").locator("code").first).to_contain_text("<b onclick=")
    expect(page.locator("#tasks b")).to_have_count(0)
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / "dashboard.png", full_page=True)
    gate.touch()
    expect(rows.filter(has_text="proj.tasks.waits")).to_contain_text("SUCCESS")
    expect(failed.locator("pre")).to_be_visible()  # what was opened stays open
    page.fill("#search", "4711")
    expect(rows).to_have_count(1)
    page.fill("#search", "")
    page.select_option("#state", "FAILURE")
    expect(rows).to_have_count(1)
    expect(page.locator("#count")).to_have_text("1 of 4 tasks")


def test_messages_pile_up_while_nobody_listens_and_go_when_somebody_does(dev: Dev, page: Page) -> None:
    dev.ctl("stop", "worker")
    dev.call(*[("proj.tasks.price", [number]) for number in range(7)], leave=True)
    queue = page.locator("[data-queue=celery]")
    expect(queue.locator("td").nth(1)).to_have_text("7")
    expect(queue).to_contain_text("nobody")
    expect(page.locator("#workers")).to_contain_text("(gone)")
    dev.ctl("start", "worker")
    expect(queue.locator("td").nth(1)).to_have_text("0")
    expect(queue).to_contain_text("dev@")
    expect(page.locator("#tasks tbody tr").filter(has_text="SUCCESS")).to_have_count(7)


def test_a_dashboard_that_is_gone_says_so(dev: Dev, page: Page) -> None:
    dev.ctl("stop", "dashboard")
    expect(page.locator("#status")).to_contain_text("does not answer")
    dev.ctl("start", "dashboard")
    expect(page.locator("#status")).to_have_text("live")


def test_it_answers_to_this_machines_name_alone_and_runs_nothing_from_elsewhere(dev: Dev) -> None:
    def asked(host: str) -> tuple[int, str]:
        request = urllib.request.Request(f"http://127.0.0.1:{dev.port}/", headers={"Host": host})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.headers["Content-Security-Policy"]
        except HTTPError as error:
            with error:
                return error.code, ""

    assert asked(f"localhost:{dev.port}")[1].startswith("default-src 'self'")
    assert asked(f"evil.example:{dev.port}")[0] == 400
