"""Set-up honours what the user configured for pip."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def install() -> ModuleType:
    path = Path(__file__).parents[2] / "scripts" / "install.py"
    spec = importlib.util.spec_from_file_location("install", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pip_s_index_and_certificate_are_handed_to_uv(install: ModuleType) -> None:
    settings = {"index-url": "https://index.example/simple", "cert": "ca.pem", "find-links": "a\nb"}
    environment = install.for_uv(settings, {})
    assert environment["UV_DEFAULT_INDEX"] == "https://index.example/simple"
    assert environment["UV_FIND_LINKS"] == "a,b"
    assert environment["SSL_CERT_FILE"] == "ca.pem"
    assert environment["UV_SYSTEM_CERTS"] == "true"


def test_further_indexes_are_searched_as_pip_would(install: ModuleType) -> None:
    environment = install.for_uv({"extra-index-url": "https://one.example\nhttps://two.example"}, {})
    assert environment["UV_INDEX"] == "https://one.example https://two.example"
    assert environment["UV_INDEX_STRATEGY"] == "unsafe-best-match"


def test_what_is_set_for_uv_wins(install: ModuleType) -> None:
    environment = install.for_uv(
        {"index-url": "https://pip.example"}, {"UV_DEFAULT_INDEX": "https://uv.example"}
    )
    assert environment == {"UV_DEFAULT_INDEX": "https://uv.example"}


def test_without_any_setting_nothing_is_changed(install: ModuleType) -> None:
    assert install.for_uv({}, {"PATH": "/bin"}) == {"PATH": "/bin"}
