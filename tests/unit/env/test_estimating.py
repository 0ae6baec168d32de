"""What a build would take is found out without building: size, place, and why it cannot be."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from autocelery._env import estimating
from autocelery._env.building import Overlays
from autocelery._env.estimating import estimate
from autocelery._model import Pin
from autocelery.errors import EnvironmentNotBuilt
from tests.wheels import make_sdist, make_wheel


@pytest.fixture
def refusing(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[str]:
    """An index that answers everything with one status; its address has a password in it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(request.param)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://me:hunter2@127.0.0.1:{server.server_port}/simple")
        monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
        monkeypatch.setenv("UV_HTTP_RETRIES", "0")
        yield f"http://127.0.0.1:{server.server_port}/simple"
        server.shutdown()


def test_size_and_place_are_those_of_the_files_that_would_be_installed(index: Path) -> None:
    beta = make_wheel(index, "beta", "2.0", {"beta.py": "#" * 5000})
    found = estimate([Pin("alpha", "1.0"), Pin("beta", "2.0")])
    assert found.size == (index / "alpha-1.0-py3-none-any.whl").stat().st_size + beta.stat().st_size
    assert (found.source, found.why) == (str(index), "")


@pytest.mark.parametrize("pin", [Pin("alpha", "9.9"), Pin("nowhere", "1.0")])
def test_what_the_index_has_not_is_named(index: Path, pin: Pin) -> None:
    found = estimate([pin])
    assert pin.name in found.why
    assert "UV_INDEX" in found.mend


def test_native_code_of_another_platform_is_named(index: Path) -> None:
    wheel = make_wheel(index, "natty", "1.0", {"natty.py": ""})
    wheel.rename(index / "natty-1.0-py3-none-macosx_11_0_arm64.whl")
    found = estimate([Pin("alpha", "1.0"), Pin("natty", "1.0")])
    assert "natty==1.0" in found.why
    assert "platform" in found.why


def test_what_has_no_wheel_is_told_apart_and_none_of_its_code_runs(index: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    make_sdist(index, "gamma", "1.0", f"import pathlib; pathlib.Path({str(mark)!r}).touch()\n")
    found = estimate([Pin("alpha", "1.0"), Pin("gamma", "1.0")])
    assert (found.unbuilt, found.why) == (("gamma==1.0",), "")
    assert not mark.exists()


def test_whether_there_is_a_compiler_is_told(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimating, "_COMPILERS", ("no-such-compiler",))
    monkeypatch.delenv("CC", raising=False)
    assert not estimate([Pin("alpha", "1.0")]).has_compiler
    monkeypatch.setenv("CC", "sh -c")
    assert estimate([Pin("alpha", "1.0")]).has_compiler


@pytest.mark.parametrize("refusing", [401, 403], indirect=True)
def test_an_index_that_wants_credentials_is_named_without_any(refusing: str, tmp_path: Path) -> None:
    found = estimate([Pin("alpha", "1.0")])
    assert refusing in found.why
    assert "UV_INDEX_NAME_PASSWORD" in found.mend
    with pytest.raises(EnvironmentNotBuilt, match="UV_INDEX_NAME_PASSWORD") as raised:
        Overlays(tmp_path / "environments", 2**30).get([Pin("alpha", "1.0")])
    assert refusing in raised.value.message
    assert "hunter2" not in raised.value.message + found.why


def test_an_index_that_hangs_is_given_up(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        monkeypatch.delenv("UV_NO_INDEX")
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://127.0.0.1:{silent.getsockname()[1]}/simple")
        monkeypatch.setattr(estimating, "UV_SECONDS", 2.0)
        assert "does not answer" in estimate([Pin("slow", "1.0")]).why
