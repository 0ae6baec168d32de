r"""Environment variables of calls: encrypted to workers, and bound to one snapshot of one author until a time.

An envelope (`autocelery._signing.envelope`) whose claim holds the names, the
values encrypted with a key of its own (ChaCha20-Poly1305), and that key once
for each worker: X25519 between a key of this envelope and the worker's, then
HKDF-SHA256, then ChaCha20-Poly1305 again. What is encrypted is authenticated
together with snapshot, author, names and times: no part of an envelope is of
use in another, whoever signs that.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from autocelery import _config
from autocelery._signing import envelope
from autocelery._signing.keys import PublicKey, SigningKey
from autocelery._signing.statement import CLOCK_SKEW, date_of
from autocelery._signing.worker_keys import Recipient, WorkerKey
from autocelery.errors import (
    NoTrustedKeys,
    SnapshotRefused,
    UntrustedSnapshot,
    VariablesAltered,
    VariablesExpired,
    VariablesNotForWorker,
)

#: Bytes of the largest envelope: the values as JSON in base64, and the wrapped keys of some thousand workers.
LARGEST_ENVELOPE: Final = 4 * 2**20

_DOMAIN = "autocelery.variables.v1"
#: Each key encrypts one text in its life, so that the nonce need not differ.
_NONCE = bytes(12)
#: The length of the values shows no more than this.
_PADDING = 256


@dataclass(frozen=True, slots=True)
class Variables:
    """What an envelope held; its ``repr`` shows the names only. ``expires`` is in seconds since the epoch."""

    values: Mapping[str, str] = field(repr=False)
    names: tuple[str, ...]
    expires: int


def seal(
    key: SigningKey,
    snapshot: str,
    values: Mapping[str, str],
    workers: Collection[Recipient],
    issued: int,
    expires: int,
) -> bytes:
    """Return the envelope with ``values``, which only ``workers`` can open, and only for that snapshot.

    Args:
        key: the author's, who also signs the snapshot.
        snapshot: its id.
        values: the variables, by name.
        workers: whose workers may read them.
        issued: seconds since the epoch.
        expires: seconds since the epoch.
    """
    binding = _binding(key.public, snapshot, sorted(values), issued, expires)
    content_key = ChaCha20Poly1305.generate_key()
    plain = json.dumps(dict(values), sort_keys=True).encode()
    padded = plain + b" " * (-len(plain) % _PADDING)
    private = X25519PrivateKey.generate()
    claim = {
        "domain": _DOMAIN,
        "snapshot": snapshot,
        "key": key.id,
        "issued": issued,
        "expires": expires,
        "names": sorted(values),
        "sealed": _encoded(ChaCha20Poly1305(content_key).encrypt(_NONCE, padded, binding)),
        "ephemeral": _encoded(private.public_key().public_bytes_raw()),
        "workers": {
            each.id: _encoded(_wrapping(private, each.public).encrypt(_NONCE, content_key, binding))
            for each in workers
        },
    }
    return envelope.sealed(key, _DOMAIN, claim)


def unseal(
    sealed: bytes, snapshot: str, author: str, trusted: Mapping[str, PublicKey], worker: WorkerKey, now: float
) -> Variables:
    """Return the variables in an envelope, if the snapshot's own author sealed them for it and for this worker.

    Args:
        sealed: what `seal` returned.
        snapshot: the id of the snapshot that is to run with them.
        author: the id of the key whose statement over that snapshot was verified.
        trusted: the public keys that are agreed to, by their ids.
        worker: this worker's key.
        now: seconds since the epoch; `CLOCK_SKEW` is allowed for.

    Raises:
        VariablesAltered: they are malformed, or for another snapshot or author, or were changed on their way.
        VariablesExpired: they are past their expiry, or not valid yet.
        VariablesNotForWorker: they are not encrypted to this worker's key.
    """
    claim, issued, expires = _claim(sealed, snapshot, {author: trusted[author]} if author in trusted else {})
    names = _names(claim, snapshot)
    _check_times(snapshot, names, issued, expires, now)
    wrapped = _mapping(claim.get("workers"), snapshot).get(worker.id)
    if wrapped is None:
        raise _not_for(snapshot, names, worker)
    binding = _binding(trusted[author], snapshot, names, issued, expires)
    try:
        content_key = _unwrapping(worker, _decoded(claim["ephemeral"])).decrypt(
            _NONCE, _decoded(wrapped), binding
        )
        plain = ChaCha20Poly1305(content_key).decrypt(_NONCE, _decoded(claim["sealed"]), binding)
        values = _mapping(json.loads(plain), snapshot)
    except (InvalidTag, KeyError, TypeError, ValueError):  # ValueError: of a key that is none, too
        raise _altered(snapshot, "what is encrypted does not belong to it") from None
    if sorted(values) != names or not all(map(_is_value, values.values())):
        raise _altered(snapshot, "what is encrypted is not what it says")
    return Variables(values, tuple(names), expires)


def _is_value(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value


def _binding(author: PublicKey, snapshot: str, names: list[str], issued: int, expires: int) -> bytes:
    """Return what is authenticated with everything that is encrypted."""
    fields = {
        "domain": _DOMAIN,
        "author": author.public_bytes_raw().hex(),
        "snapshot": snapshot,
        "names": names,
        "issued": issued,
        "expires": expires,
    }
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()


def _wrapping(private: X25519PrivateKey, worker: X25519PublicKey) -> ChaCha20Poly1305:
    return _agreed(private.exchange(worker), private.public_key(), worker)


def _unwrapping(worker: WorkerKey, ephemeral: bytes) -> ChaCha20Poly1305:
    public = X25519PublicKey.from_public_bytes(ephemeral)
    return _agreed(worker.private.exchange(public), public, worker.public)


def _agreed(secret: bytes, ephemeral: X25519PublicKey, worker: X25519PublicKey) -> ChaCha20Poly1305:
    """Return the cipher that both sides derive (RFC 7748, section 6.1: from both public keys too)."""
    info = _DOMAIN.encode() + b"\0" + ephemeral.public_bytes_raw() + worker.public_bytes_raw()
    return ChaCha20Poly1305(HKDF(SHA256(), length=32, salt=None, info=info).derive(secret))


def _claim(
    sealed: bytes, snapshot: str, author: Mapping[str, PublicKey]
) -> tuple[Mapping[str, object], int, int]:
    """Return what the author has signed, and from when until when it holds."""
    try:
        claim = envelope.opened(sealed, _DOMAIN, snapshot, author, LARGEST_ENVELOPE)
        return claim, envelope.number(claim, "issued"), envelope.number(claim, "expires")
    except (NoTrustedKeys, UntrustedSnapshot):
        raise _altered(
            snapshot, "they are not signed with the key that the snapshot is signed with"
        ) from None
    except SnapshotRefused as exc:
        raise _altered(snapshot, exc.message) from None


def _names(claim: Mapping[str, object], snapshot: str) -> list[str]:
    names = claim.get("names")
    if (
        not isinstance(names, list)
        or not all(map(_config.is_variable_name, names))
        or names != sorted(set(names))
    ):
        raise _altered(snapshot, "the list of its names is malformed")
    return names


def _mapping(value: object, snapshot: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise _altered(snapshot, "a part of it is malformed")
    return value


def _check_times(snapshot: str, names: list[str], issued: int, expires: int, now: float) -> None:
    if now > expires + CLOCK_SKEW:
        raise VariablesExpired(
            f"The variables {', '.join(names)} of this call of snapshot {snapshot[:12]} were encrypted to hold until "
            f"{date_of(expires)}. Send the call again from where they are set."
        )
    if now < issued - CLOCK_SKEW:
        raise VariablesExpired(
            f"The variables {', '.join(names)} of this call of snapshot {snapshot[:12]} are not valid before "
            f"{date_of(issued)}, and here it is {date_of(now)}. Set the clocks of both machines."
        )


def _not_for(snapshot: str, names: list[str], worker: WorkerKey) -> VariablesNotForWorker:
    return VariablesNotForWorker(
        f"The variables {', '.join(names)} of this call of snapshot {snapshot[:12]} are not encrypted to this "
        f"worker's key {worker.id}. For the worker's user, run: autocelery keys export --worker; where the call is "
        "sent from, run: autocelery keys trust <that text>, and send it again."
    )


def _altered(snapshot: str, why: str) -> VariablesAltered:
    return VariablesAltered(
        f"The variables of this call of snapshot {snapshot[:12]} are not used: {why.rstrip('.')}. They were altered, "
        "or are another call's. Find out who can write to the broker and the blob store, then send the call again."
    )


def _encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _decoded(text: object) -> bytes:
    """Return what is base64; raise `ValueError` or `TypeError` where it is none."""
    return base64.b64decode(text, validate=True)  # type: ignore[arg-type]
