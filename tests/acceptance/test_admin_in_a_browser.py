"""The schedule in the admin, as a person sees it in a browser: the example, with a worker and a beat.

``SCREENSHOTS=docs/how-to/images`` has the pictures of the documentation written there.
"""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest
from playwright.sync_api import Page, expect

from tests import services
from tests.browsers import page_at
from tests.django_projects import without_what_the_desk_says
from tests.documentation import copy_of
from tests.waiting import PATIENCE, wait_for

#: Milliseconds, as Playwright counts: for what has to come.
_PATIENCE = PATIENCE * 1000


@pytest.fixture
def address(tmp_path: Path, redis_url: str) -> Iterator[str]:
    """Where the example is served, with a superuser ``admin`` and a worker with a beat inside."""
    folder, prefix = copy_of("django", tmp_path), f"ac-{secrets.token_hex(6)}"
    told = {"REDIS_URL": redis_url, "ENVIRONMENT": prefix, "DJANGO_SUPERUSER_PASSWORD": "secret"}
    told["DJANGO_SETTINGS_MODULE"] = "shop.settings"
    environment = {**without_what_the_desk_says(os.environ), **told}
    port = services.free_port()

    def run(*arguments: str) -> None:
        subprocess.run([sys.executable, "manage.py", *arguments], cwd=folder, env=environment, check=True)

    run("migrate", "-v0")
    run("createsuperuser", "--no-input", "--username", "admin", "--email", "admin@example.org")
    with ExitStack() as stack:
        stack.callback(services.remove_redis_keys, f"{prefix}:")
        worker = ("celery", "-A", "shop", "worker", "-B", "-c", "1", "-s", str(tmp_path / "beat"))
        for command in (("django", "runserver", "--noreload", str(port)), worker):
            stack.enter_context(_running(command, folder, environment))
        wait_for(lambda: _answers(f"http://127.0.0.1:{port}/admin/login/"))
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _running(command: tuple[str, ...], folder: Path, environment: dict[str, str]) -> Iterator[None]:
    log = (folder / f"{command[0]}.log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
    )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()
            process.wait()
            log.close()


def _answers(address: str) -> bool:
    try:
        with urlopen(address, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def picture(page: Page, name: str) -> None:
    """Keep a picture for the documentation, if it was asked for."""
    if folder := os.environ.get("SCREENSHOTS"):
        if page.locator(".main.shifted").count():
            page.click("#toggle-nav-sidebar")
        page.screenshot(path=Path(folder) / f"{name}.png", animations="disabled")


def test_a_person_adds_an_entry_sees_it_run_runs_it_now_and_disables_it(address: str) -> None:
    with page_at(address) as page:
        page.set_default_timeout(_PATIENCE)
        expect.set_options(timeout=_PATIENCE)
        page.goto("/admin/autocelery_beat/entry/add/")
        page.fill("#id_username", "admin")
        page.fill("#id_password", "secret")
        page.click("input[type=submit]")

        page.fill("#id_key", "count")
        page.fill("#id_task", "orders.tasks.total")
        page.select_option("#id_kind", "interval")
        expect(page.locator("#id_crontab")).to_be_hidden()
        page.fill("#id_seconds", "5")
        page.fill("#id_timezone", "Europe/Madird")
        page.fill("#id_args", "[[1, 2]]")
        page.click("input[name=_save]")
        expect(page.locator(".field-timezone .errorlist")).to_contain_text("did you mean Europe/Madrid")
        expect(page.locator("#id_seconds")).to_be_visible()
        page.fill("#id_timezone", "Europe/Madrid")
        page.click("input[name=_save]")
        expect(page.locator("ul.messagelist")).to_contain_text("was added successfully")
        expect(page.locator("#result_list")).to_contain_text("remind")

        page.click("#result_list >> text=count")
        entry = page.url
        wait_for(lambda: page.goto(entry) and page.locator(".field-last_runs a").count() > 1)
        expect(page.locator(".field-upcoming")).to_contain_text(re.compile(r"\d\d:\d\d:\d\d Europe/Madrid"))
        expect(page.locator(".field-last_runs")).to_contain_text("sent")
        page.click("text=Run now")
        expect(page.locator("ul.messagelist")).to_contain_text("Sent “count”")
        picture(page, "beat-entry")
        page.locator(".field-last_runs a").last.click()
        expect(page.locator(".field-task_name")).to_contain_text("orders.tasks.total")
        expect(page.locator(".field-result")).to_contain_text("3")

        page.goto("/admin/autocelery_beat/entry/")
        picture(page, "beat-list")
        page.check("tr:has-text('count') input.action-select")
        page.select_option("select[name=action]", "disable")
        page.click("button[name=index]")
        expect(page.locator("ul.messagelist")).to_contain_text("Disabled: count.")
        expect(page.locator("tr:has-text('count') .field-state")).to_have_text("disabled")
