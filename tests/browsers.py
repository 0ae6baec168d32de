"""A real browser for tests: Chromium as this machine has it, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Page, sync_playwright

from tests import services

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
#: As root in a container, and without looking for updates elsewhere.
_OPTIONS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")


class NoBrowser(Exception):
    """There is none."""


def program() -> str:
    """Return the path of Chromium.

    Raises:
        NoBrowser: this machine has none.
    """
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        raise NoBrowser("scripts/install-browser installs one")
    return found


@contextmanager
def page_at(address: str) -> Iterator[Page]:
    """Lend a page of a browser that is ended afterwards; skip the test, or fail in CI, where there is no browser."""
    services.need("Chromium", "PATH (scripts/install-browser)", program, (NoBrowser,))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program(), args=list(_OPTIONS))
        try:
            yield browser.new_page(base_url=address, viewport={"width": 1200, "height": 800})
        finally:
            browser.close()
