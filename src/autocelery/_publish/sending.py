"""The blobs of a snapshot as they are sent: read from their files, packed, and never all of them in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from autocelery._blobs import pack
from autocelery._blobs.protocol import BATCH_BYTES
from autocelery._publish.collecting import Collected


class FileChanged(Exception):
    """A file, which it names, is not what it was when it was collected."""


def in_batches(
    collected: Collected, names: Iterable[str], kept: Callable[[str], bytes | None] | None = None
) -> Iterator[tuple[dict[str, bytes], int]]:
    """Yield packed blobs by their names, some 8 MB at a time, and how many bytes were read until then.

    Args:
        collected: whose blobs they are.
        names: of the blobs, in the order in which they go.
        kept: gives a blob, packed, whose file has changed since; what is ``None`` there too is
            left out. Without it that is an error.

    Raises:
        FileChanged: a file has changed since.
    """
    batch: dict[str, bytes] = {}
    size = done = 0
    for name in names:
        raw = collected.read(name)
        packed = pack(raw) if raw is not None else kept(name) if kept is not None else None
        if packed is None:
            if kept is None:
                raise FileChanged(collected.path_of(name))
            continue
        done += len(raw or packed)
        if batch and size + len(packed) > BATCH_BYTES:
            yield batch, done
            batch, size = {}, 0
        batch[name] = packed
        size += len(packed)
    if batch:
        yield batch, done
