"""The stored form of blobs, and what is done about bombs."""

from __future__ import annotations

import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocelery._blobs import pack, unpack
from autocelery.errors import SnapshotInvalid

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LIMIT = 10 * 2**20


@given(st.binary(max_size=3000).flatmap(lambda raw: st.sampled_from([raw, raw * 50])))
def test_what_was_packed_is_unpacked(raw: bytes) -> None:
    stored = pack(raw)
    assert unpack(stored, len(raw), LIMIT) == raw
    assert unpack(stored, None, LIMIT) == raw
    assert len(stored) <= len(raw) + 1


def test_source_code_gets_smaller_and_noise_does_not_get_larger() -> None:
    assert len(pack(b"def f(x):\n    return x\n" * 100)) < 200
    noise = os.urandom(1000)
    assert pack(noise) == b"\0" + noise


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = b"\1" + zstd.compress(b"\0" * 50 * 2**20)
    with pytest.raises(SnapshotInvalid):
        unpack(bomb, None, 2**20)
    with pytest.raises(SnapshotInvalid):
        unpack(bomb, 100, LIMIT)


@pytest.mark.parametrize("size", [0, 999, 1001])
def test_another_size_than_the_tree_gives_is_refused(size: int) -> None:
    for stored in (pack(b"x" * 1000), b"\0" + b"x" * 1000):
        with pytest.raises(SnapshotInvalid):
            unpack(stored, size, LIMIT)


@given(st.binary(max_size=200))
def test_anything_else_is_refused_or_is_what_it_says(stored: bytes) -> None:
    try:
        raw = unpack(stored, None, LIMIT)
    except SnapshotInvalid:
        return
    assert stored[:1] in (b"\0", b"\1")
    assert len(raw) <= LIMIT


def test_a_blob_that_is_cut_short_or_has_a_tail_is_refused() -> None:
    stored = pack(b"def f(x):\n    return x\n" * 100)
    for damaged in (stored[:-1], stored[:5], stored + b"x", b"", b"\2abc"):
        with pytest.raises(SnapshotInvalid):
            unpack(damaged, None, LIMIT)
