"""What a call's processes write is passed on as it comes, though a mark could always begin where it ends."""

from __future__ import annotations

import os

import pytest

from autocelery._blobs.output import Piece
from autocelery._hosting.relaying import Tap
from autocelery_host.output import new_mark


class Heard:
    """What was passed on, in place of what is sent to a caller."""

    def __init__(self) -> None:
        self.content = b""

    def add(self, piece: Piece) -> None:
        self.content += piece.content


@pytest.mark.parametrize("mark", [new_mark() for _ in range(20)], ids=range(20))
def test_text_is_passed_on_whole_whatever_it_ends_with(mark: bytes) -> None:
    reader, writer = os.pipe()
    log = os.open(os.devnull, os.O_WRONLY)
    heard = Heard()
    try:
        tap = Tap(reader, log, mark, heard)  # type: ignore[arg-type]
        for last in range(0xC0):  # what a text in UTF-8 can end with
            os.write(writer, bytes([last]))
            tap.feed()
            assert heard.content[-1:] == bytes([last])
    finally:
        for fd in (reader, writer, log):
            os.close(fd)
    assert len(heard.content) == 0xC0
