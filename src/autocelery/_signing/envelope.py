r"""Envelopes: two lines, of which the first says who signed the second, and as what.

``<domain> <key id> <signature in hex>``, and the claim as canonical JSON. The
signature covers ``<domain>\0<claim>``, byte for byte as received, and nothing
of the claim is parsed before it was checked. The domain keeps a statement
from passing for a revocation, or for anything else that the same key signs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature

from autocelery._signing.keys import PublicKey, SigningKey
from autocelery.errors import NoTrustedKeys, SnapshotInvalid, UntrustedSnapshot

_HEADER = re.compile(rb"([a-z0-9.]{1,64}) ([0-9a-f]{16}) ([0-9a-f]{128})")
#: An envelope of one path and a few numbers; what is larger is none.
LARGEST = 64 * 2**10


@dataclass(frozen=True, slots=True)
class _Envelope:
    domain: str
    key: str
    signature: bytes
    claim: bytes


def sealed(key: SigningKey, domain: str, claim: Mapping[str, object]) -> bytes:
    """Return the envelope of ``claim``, signed with ``key``."""
    body = json.dumps(claim, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    signature = key.sign(_signed_bytes(domain, body))
    return f"{domain} {key.id} {signature.hex()}\n".encode() + body


def _signed_bytes(domain: str, claim: bytes) -> bytes:
    return domain.encode() + b"\0" + claim


def opened(
    envelope: bytes, domain: str, snapshot: str, trusted: Mapping[str, PublicKey], largest: int = LARGEST
) -> Mapping[str, object]:
    """Return the claim, checked: form, domain, key, signature, and what it is about.

    Args:
        envelope: what `sealed` returned.
        domain: as what it must be signed.
        snapshot: the id of the snapshot that it must be about.
        trusted: the public keys that are agreed to, by their ids.
        largest: how many bytes it may have.

    Raises:
        NoTrustedKeys: ``trusted`` is empty.
        UntrustedSnapshot: the key is not trusted, or did not sign these bytes.
        SnapshotInvalid: it is malformed, of another domain, or about another snapshot.
    """
    if not trusted:
        raise NoTrustedKeys(
            f"Snapshot {snapshot[:12]} is not run: this worker trusts no key. Where the call is sent from, "
            "run: autocelery keys export; for the worker's user, run: autocelery keys trust <that text>, "
            "or set AUTOCELERY_TRUSTED_KEYS to it and restart the worker."
        )
    found = _split(envelope, snapshot, largest)
    if found.domain != domain:
        raise malformed(snapshot, f"it is a {found.domain!r}, not a {domain!r}")
    _check_signature(found, snapshot, trusted)
    claim = _parse(found.claim, snapshot)
    if (claim.get("domain"), claim.get("key")) != (domain, found.key):
        raise malformed(snapshot, "its claim contradicts its header")
    if claim.get("snapshot") != snapshot:
        raise malformed(snapshot, "it is about another snapshot")
    return claim


def _split(envelope: bytes, snapshot: str, largest: int) -> _Envelope:
    if len(envelope) > largest:
        raise malformed(snapshot, f"it has {len(envelope)} bytes")
    header, _, claim = envelope.partition(b"\n")
    match = _HEADER.fullmatch(header)
    if match is None:
        raise malformed(snapshot, "it has no header")
    domain, key, signature = (part.decode() for part in match.groups())
    return _Envelope(domain, key, bytes.fromhex(signature), claim)


def _check_signature(found: _Envelope, snapshot: str, trusted: Mapping[str, PublicKey]) -> None:
    public = trusted.get(found.key)
    if public is None:
        raise UntrustedSnapshot(
            f"Snapshot {snapshot[:12]} is signed with key {found.key}, which this worker does not trust "
            f"(it trusts {', '.join(sorted(trusted))}). Where the call is sent from, run: autocelery keys "
            "export; for the worker's user, run: autocelery keys trust <that text>"
        )
    try:
        public.verify(found.signature, _signed_bytes(found.domain, found.claim))
    except InvalidSignature:
        raise UntrustedSnapshot(
            f"The signature over snapshot {snapshot[:12]} was not made with key {found.key}, though it says "
            "so: it was altered. Find out who can write to the blob store, then send the call anew."
        ) from None


def _parse(claim: bytes, snapshot: str) -> Mapping[str, object]:
    try:
        parsed = json.loads(claim)
    except (ValueError, RecursionError):
        raise malformed(snapshot, "its claim is not JSON") from None
    if not isinstance(parsed, dict):
        raise malformed(snapshot, "its claim is not an object")
    return parsed


def text(claim: Mapping[str, object], name: str) -> str:
    """Return a field that is a text, else raise `malformed`."""
    value = claim.get(name)
    if not isinstance(value, str):
        raise malformed(str(claim.get("snapshot")), f"{name!r} is not a text")
    return value


def number(claim: Mapping[str, object], name: str) -> int:
    """Return a field that is a whole number, else raise `malformed`."""
    value = claim.get(name)
    if type(value) is not int:
        raise malformed(str(claim.get("snapshot")), f"{name!r} is not a whole number")
    return value


def malformed(snapshot: str, why: str) -> SnapshotInvalid:
    """Return the error for an envelope that is none."""
    return SnapshotInvalid(
        f"The signature over snapshot {snapshot[:12]} is malformed: {why}. It was damaged, or another "
        "version of autocelery wrote it. Use one version on both sides and send the call again."
    )
