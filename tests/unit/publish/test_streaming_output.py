"""Whoever streams a call, or follows it, hears its last run to its end."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from celery import Celery

from autocelery._blobs import output
from autocelery._blobs.output import Chunk, End, Piece
from autocelery._publish import streaming
from autocelery._publish.listening import Listener
from autocelery._publish.showing import Printer
from autocelery.testing import MemoryStore

CALL = "one"


class StoreOfARetriedCall(MemoryStore):
    """Has what the first run of a call printed, and only after it was asked a few times what the last one did."""

    def __init__(self) -> None:
        super().__init__()
        self._asked = 0
        self._print(1, b"first run\n", final=False)

    def get(self, names: Collection[str]) -> dict[str, bytes]:
        self._asked += output.end(CALL) in names
        if self._asked == 6:
            self._print(2, b"last run\n", final=True)
        return super().get(names)

    def _print(self, run: int, content: bytes, final: bool) -> None:
        chunk = Chunk(run, 0, 0, (Piece("stdout", content),))
        end = End(run, 1, len(content), final)
        self.put({output.slot(CALL, 0): chunk.encode(), output.end(CALL): end.encode()})


@pytest.fixture
def listener() -> Listener:
    store = StoreOfARetriedCall()
    return Listener(lambda: store)


def test_a_stream_has_the_last_run_of_a_call_whose_result_came_between_its_runs(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "LOOK_INTERVAL", 0.0)
    with Celery("stream", backend="cache+memory://", set_as_current=False) as app:
        listener.ask(CALL, "shop.again")
        app.backend.store_result(CALL, "done", "SUCCESS")
        heard = [each.text for each in streaming.streamed(listener, app.AsyncResult(CALL))]
    assert heard == ["first run\n", "last run\n"]


def test_a_follower_that_finishes_between_two_runs_waits_for_the_last(
    listener: Listener, capsys: pytest.CaptureFixture[str]
) -> None:
    follower = streaming.Follower(listener, Printer())
    follower.ask(CALL, "shop.again")
    follower.finish()
    assert capsys.readouterr().out == "first run\nlast run\n"
