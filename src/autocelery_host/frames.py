"""Frames over a private Unix socket: four bytes of length, then the payload, and file descriptors beside it."""

from __future__ import annotations

import array
import socket
import struct

_LENGTH = struct.Struct("!I")
#: No call and no outcome is larger: Celery's brokers stop long before (Redis at 512 MB).
LARGEST_FRAME = 2**30


class FrameTooLarge(ValueError):
    """A frame is over LARGEST_FRAME, or its length is nonsense."""


def send(sock: socket.socket, payload: bytes, fds: tuple[int, ...] = ()) -> None:
    """Send one frame; ``fds`` travel with its first byte.

    Raises:
        FrameTooLarge: the payload is over LARGEST_FRAME.
        OSError: the peer is gone.
    """
    if len(payload) > LARGEST_FRAME:
        raise FrameTooLarge(f"{len(payload)} bytes do not fit in a frame")
    head = _LENGTH.pack(len(payload))
    if fds:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        sock.sendmsg([head], rights)
        sock.sendall(payload)
    elif len(payload) < 65_536:
        sock.sendall(head + payload)
    else:
        sock.sendall(head)
        sock.sendall(payload)


def receive(sock: socket.socket) -> bytes | None:
    """Return the next frame's payload, ``None`` where the peer closed before one began.

    Raises:
        ConnectionError: the peer closed in the middle of a frame.
        FrameTooLarge: the length is nonsense.
        TimeoutError: the socket has a timeout and it passed.
    """
    head = sock.recv(_LENGTH.size)
    if not head:
        return None
    if len(head) < _LENGTH.size:
        head += _exactly(sock, _LENGTH.size - len(head))
    return _body(sock, head)


def receive_with_fds(sock: socket.socket, most: int = 4) -> tuple[bytes | None, list[int]]:
    """Return the next frame's payload and the file descriptors that came with it."""
    head, fds, _, _ = socket.recv_fds(sock, _LENGTH.size, most)
    if not head:
        return None, []
    if len(head) < _LENGTH.size:
        head += _exactly(sock, _LENGTH.size - len(head))
    return _body(sock, head), list(fds)


def _body(sock: socket.socket, head: bytes) -> bytes:
    (length,) = _LENGTH.unpack(head)
    if length > LARGEST_FRAME:
        raise FrameTooLarge(f"a frame of {length} bytes was announced")
    return _exactly(sock, length)


def _exactly(sock: socket.socket, length: int) -> bytes:
    if length <= 65_536:
        first = sock.recv(length)
        if len(first) == length:
            return first
    else:
        first = b""
    buffer = bytearray(length)
    buffer[: len(first)] = first
    done, view = len(first), memoryview(buffer)
    while done < length:
        got = sock.recv_into(view[done:])
        if not got:
            raise ConnectionError("the peer closed in the middle of a frame")
        done += got
    return bytes(buffer)
