"""Output on its way through a store: in order, bounded, with a word about what is missing, and gone in the end."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from autocelery._blobs import output
from autocelery._blobs.output import Chunk, End, Piece
from autocelery._hosting import outbox as outboxes
from autocelery._hosting.outbox import Outbox, Outgoing
from autocelery._publish import listening
from autocelery._publish.listening import Listener
from autocelery._publish.reading import Output, Reader, read_all
from autocelery.testing import MemoryStore
from tests.waiting import wait_for

CHANNEL = "ab" * 16


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    store.put({output.hear(CHANNEL): b"1"})
    return store


@pytest.fixture
def outbox(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outbox]:
    monkeypatch.setattr(outboxes, "INTERVAL", 0.005)
    monkeypatch.setattr(outboxes, "PATIENCE", 0.01)
    return Outbox(lambda: store)


def printed(text: str) -> Piece:
    return Piece("stdout", text.encode())


def read_to_the_end(store: MemoryStore, reader: Reader) -> list[Output]:
    shown: list[Output] = []

    def has_ended() -> bool:
        shown.extend(read_all(store, [reader]))
        return reader.has_ended

    wait_for(has_ended, what="the call has ended")
    return shown


def text_of(shown: list[Output]) -> str:
    return "".join(each.text for each in shown)


def test_what_is_printed_is_read_in_order_and_then_gone(store: MemoryStore, outbox: Outbox) -> None:
    call = outbox.opened("one", CHANNEL)
    call.add(printed("first\n"))
    call.add(Piece("log", b"careful\n", "WARNING", "shop.tasks"))
    call.add(Piece("stderr", b"last"))
    call.end(final=True)
    assert read_to_the_end(store, Reader("one")) == [
        Output("one", "stdout", "first\n"),
        Output("one", "log", "careful\n", "WARNING", "shop.tasks"),
        Output("one", "stderr", "last"),
    ]
    assert store.names(".out") == []


def test_a_burst_that_fits_arrives_whole_and_a_letter_is_not_torn(store: MemoryStore, outbox: Outbox) -> None:
    call, text = outbox.opened("one", CHANNEL), "".join(f"{number} äöü\n" for number in range(25_000))
    content = text.encode()
    for start in range(0, len(content), 4001):
        call.add(Piece("stdout", content[start : start + 4001]))
    call.end(final=True)
    assert text_of(read_to_the_end(store, Reader("one"))) == text


def test_what_nobody_reads_takes_a_ring_and_no_more_and_a_late_reader_is_told_what_is_missing(
    store: MemoryStore, outbox: Outbox
) -> None:
    call = outbox.opened("one", CHANNEL)
    for number in range(200):
        call.add(printed(f"{number}" + "x" * 65_000 + "\n"))
        wait_for(lambda: call._size < 400_000, what="there is room")
    call.end(final=True)
    wait_for(lambda: output.end("one") in store.get([output.end("one")]), what="all of it is put")
    assert sum(map(len, store.get(store.names(".out")).values())) < 17 * 66_000
    shown = read_to_the_end(store, Reader("one"))
    assert shown[0].stream == "note"
    assert "MB of output was dropped here" in shown[0].text
    assert shown[-1].text.endswith("x\n")
    assert [each.stream for each in shown].count("note") == 1


def test_a_flood_is_dropped_from_its_older_end_before_it_reaches_the_store() -> None:
    call = Outgoing("one", CHANNEL, lambda _: None)
    for number in range(1000):
        call.add(printed(f"{number:04}" + "x" * 65_000))
    assert call._size <= outboxes.PENDING_BYTES
    chunks = [output.decode_chunk(each) for each in call.ready().values()]
    kept = [len(piece.content) for each in chunks if each for piece in each.pieces]
    assert chunks[0] is not None
    assert chunks[0].at + sum(kept) + sum(len(each.content) for each in call._pending) == 65_004 * 1000


def test_what_is_printed_a_letter_at_a_time_takes_no_more_room() -> None:
    call = Outgoing("one", CHANNEL, lambda _: None)
    for _ in range(30_000):
        call.add(printed("o"))
        call.add(Piece("stderr", b"e"))
    assert all(len(each) < output.CHUNK_BYTES + 1024 for each in call.ready().values())
    assert len(call._pending) < outboxes.PENDING_BYTES / 40


def test_a_call_that_runs_again_is_read_to_its_last_run(store: MemoryStore, outbox: Outbox) -> None:
    reader = Reader("one")
    for number in range(3):
        call = outbox.opened("one", CHANNEL)
        call.add(printed(f"run {number}\n"))
        call.end(final=number == 2)
        wait_for(lambda call=call: not call.has_more(), what="it is put")
        shown = read_all(store, [reader]) + read_all(store, [reader])
        assert text_of(shown) == f"run {number}\n"
    assert reader.has_ended


def test_a_reader_that_is_lapped_goes_on_with_the_oldest_that_is_there(store: MemoryStore) -> None:
    reader = Reader("one")
    for number in range(40):
        chunk = Chunk(7, number, number * 10, (printed(f"chunk {number:03}\n"),))
        store.put({output.slot("one", number): chunk.encode()})
    store.put({output.end("one"): End(7, 40, 400, True).encode()})
    shown = read_to_the_end(store, reader)
    assert shown[0] == Output("one", "note", "[240 B of output was dropped here]\n")
    assert text_of(shown[1:]) == "".join(f"chunk {number:03}\n" for number in range(24, 40))


def test_a_store_that_is_gone_for_a_while_loses_nothing_that_still_fits(
    store: MemoryStore, outbox: Outbox
) -> None:
    call = outbox.opened("one", CHANNEL)
    call.add(printed("before\n"))
    wait_for(lambda: store.names(".out"), what="something is put")
    store.is_down = True
    call.add(printed("meanwhile\n"))
    call.end(final=True)
    wait_for(lambda: call._ready, what="it was tried")
    store.is_down = False
    assert text_of(read_to_the_end(store, Reader("one"))) == "before\nmeanwhile\n"


def test_of_a_caller_that_is_gone_nothing_is_kept(
    store: MemoryStore, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outboxes, "LOOK_INTERVAL", 0.01)
    monkeypatch.setattr(outboxes, "LAPSE", 0.1)
    call = outbox.opened("one", CHANNEL)
    call.add(printed("heard\n"))
    wait_for(lambda: store.names(".out"), what="it is put while the channel may be listened to")
    wait_for(lambda: not store.names(".out") + store.names(".hear"), what="nobody renewed the channel")
    call.add(printed("not heard\n"))
    store.put({output.hear(CHANNEL): b"2"})
    wait_for(lambda: store.names(".out"), what="the caller is back")


def test_a_caller_who_was_silent_for_long_is_heard_from_its_next_call_on(
    store: MemoryStore, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outboxes, "LOOK_INTERVAL", 0.0)
    monkeypatch.setattr(outboxes, "LAPSE", 0.05)
    monkeypatch.setattr(listening, "INTERVAL", 0.0)  # every pause is a long one
    monkeypatch.setattr(Listener, "_serve", lambda self: None)  # and gives no sign of life
    listener = Listener(lambda: store)
    for number in range(3):
        task_id = f"call {number}"
        channel = listener.ask(task_id, "shop.say")
        assert channel is not None
        call = outbox.opened(task_id, channel)
        call.add(printed("heard\n"))
        call.end(final=True)  # before anybody looks again who listens
        assert text_of(read_to_the_end(store, Reader(task_id))) == "heard\n"
        listener.close(task_id)
        wait_for(partial(store.missing, [output.hear(channel)]), what="the caller is taken for gone")


def test_where_nobody_has_listened_nothing_is_put(outbox: Outbox, store: MemoryStore) -> None:
    store.wipe()
    call = outbox.opened("one", CHANNEL)
    call.add(printed("to nobody\n"))
    call.end(final=True)
    wait_for(lambda: not outbox._calls, what="the call is forgotten")
    assert store.names("") == []


def test_of_many_calls_that_nobody_reads_the_oldest_are_removed(store: MemoryStore, outbox: Outbox) -> None:
    for number in range(outboxes.LINGERING + 10):
        call = outbox.opened(f"call {number}", CHANNEL)
        call.add(printed("unread\n"))
        call.end(final=True)
    wait_for(lambda: len(outbox._calls) == outboxes.LINGERING, what="the oldest are removed")
    assert len(store.names(".end.out")) == outboxes.LINGERING
    assert not store.get(output.everything("call 0"))


def test_a_run_that_follows_at_once_overwrites_nothing_that_is_unread(
    store: MemoryStore, outbox: Outbox
) -> None:
    for number in range(3):
        call = outbox.opened("one", CHANNEL)
        call.add(printed(f"run {number}\n"))
        call.end(final=number == 2)
    wait_for(lambda: output.end("one") in store.get([output.end("one")]), what="a run is put")
    assert text_of(read_to_the_end(store, Reader("one"))) == "run 0\nrun 1\nrun 2\n"
    wait_for(lambda: len(outbox._calls) == 1, what="the runs that were read are forgotten")


def test_a_run_waits_for_no_reader_who_does_not_come(
    store: MemoryStore, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outboxes, "HOLD", 0.05)
    for number in range(2):
        call = outbox.opened("one", CHANNEL)
        call.add(printed(f"run {number}\n"))
        call.end(final=number == 1)
    wait_for(lambda: not call.has_more(), what="the last run is put")
    assert text_of(read_to_the_end(store, Reader("one"))) == "run 1\n"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"v": 2, "run": 1, "number": 0, "at": 0, "pieces": []}\n',
        b"1" * 5_000_000,
    ],
)
def test_what_is_no_output_is_left_alone(store: MemoryStore, content: bytes) -> None:
    store.put({output.slot("one", 0): content, output.end("one"): content})
    assert read_all(store, [Reader("one")]) == []
