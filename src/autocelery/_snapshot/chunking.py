"""Cut a large file where its content says so: an edit moves the cuts around it and leaves all others.

A cut lies where a hash of the last bytes has a certain value, so that it moves
with them when something is inserted before it. Two hashes are asked. The first,
of 32 bytes, is computed for some thousand positions at once, in whole numbers
of some thousand bytes; it leaves one position in 256. The second, a CRC of 64
bytes, decides. All of it is C in the standard library: some 200 MB/s, where a
loop over bytes makes 5. See docs/decisions/data-files.md.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator
from itertools import count

#: Files of up to so many bytes are one blob; larger ones are cut into chunks.
WHOLE_MAX = 2 * 2**20
#: Sizes of a chunk, in bytes; only the last one of a file may be smaller.
CHUNK_MIN = 128 * 2**10
CHUNK_MAX = 2**20

#: The first hash looks at so many bytes, the second at so many.
_FIRST = 32
_SECOND = 64
#: Of the positions that are left, one in so many is a cut: some 300 KB beyond the smallest size.
_ONE_IN = 1024
#: Positions nearer to the last one than this are not looked at, should a pattern leave more than usual.
_APART = 64
#: How many positions are hashed at once: more than fit a processor's nearest cache are slower.
_AT_ONCE = 8 * 2**10
_READ = 4 * 2**20


def chunks_in(read: Callable[[int], bytes]) -> Iterator[memoryview]:
    """Yield the chunks of a file, in order; each is to be used before the next is asked for.

    Args:
        read: gives the next bytes, at most as many as it is asked for, and none at the end.
    """
    buffer, at, has_ended = b"", 0, False
    while True:
        if len(buffer) - at < CHUNK_MAX and not has_ended:
            more = read(_READ)
            has_ended = not more
            buffer, at = buffer[at:] + more, 0
            continue
        if at == len(buffer):
            return
        chunk = memoryview(buffer)[at : at + CHUNK_MAX]
        size = cut(chunk)
        yield chunk[:size]
        at += size


def cut(raw: memoryview) -> int:
    """Return how many bytes of ``raw`` are its first chunk.

    >>> cut(memoryview(bytes(3 * CHUNK_MAX))) == CHUNK_MAX
    True
    """
    end = min(len(raw), CHUNK_MAX)
    for start in range(CHUNK_MIN, end, _AT_ONCE):
        stop = min(start + _AT_ONCE, end)
        before = start - _FIRST + 1
        hashes = _hashes(bytes(raw[before:stop]))
        at = hashes.find(0, _FIRST - 1, stop - before)
        while at >= 0:
            here = before + at + 1
            if zlib.crc32(raw[here - _SECOND : here]) % _ONE_IN == 0:
                return here
            at = hashes.find(0, at + _APART, stop - before)
    return end


def _hashes(raw: bytes) -> bytes:
    """Return a byte for each byte of ``raw``: the hash of the 32 that end there.

    It begins with a number for each byte. Each step takes the exclusive or of a
    position and one further back, whose bits are shifted, to the left and to the
    right in turns: that way all bits depend on many bytes, also where only some
    bits of the file differ. What a shift carries into the next byte is masked
    away. A step makes 0 of 0 only: no run of a single byte has the hash 0.
    """
    hashes = int.from_bytes(raw.translate(_NUMBERS), "little")
    for shift, mask in _STEPS:
        hashes ^= (hashes << shift) & mask
    return hashes.to_bytes(len(raw) + _FIRST, "little")


def _number(byte: int) -> int:
    """Return the number of a byte, which is the same on every machine and never 0."""
    numbers = (
        hashlib.sha256(b"autocelery.chunks.v1" + bytes([byte, again])).digest()[0] for again in count()
    )
    return next(number for number in numbers if number)


_NUMBERS = bytes(map(_number, range(256)))
_STEPS = tuple(
    (8 * back + bits, int.from_bytes(bytes([mask]) * (_AT_ONCE + 2 * _FIRST), "little"))
    for back, bits, mask in ((1, 3, 0xF8), (2, -2, 0x3F), (4, 1, 0xFE), (8, -4, 0x0F), (16, 3, 0xF8))
)
