"""Where keys and caches live."""

from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest

from autocelery import _config


@pytest.mark.parametrize("told", [None, "", " ", "/elsewhere"])
def test_they_are_where_platformdirs_says(told: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUTOCELERY_HOME")
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
        if told is not None:
            monkeypatch.setenv(name, told)
    home = _config.home()
    assert home.keys == Path(platformdirs.user_data_dir("autocelery")) / "keys"
    assert home.cache == Path(platformdirs.user_cache_dir("autocelery"))


def test_the_variable_goes_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOCELERY_HOME", str(tmp_path))
    assert _config.home() == _config.Home(tmp_path / "keys", tmp_path / "cache")
