r"""Statements over snapshots: who says so, from when until when, and what was revoked.

An envelope is two lines: ``<domain> <key id> <signature in hex>`` and the
claim as canonical JSON. The signature covers ``<domain>\0<claim>``, byte for
byte as received, and nothing of the claim is parsed before it was checked.
The domain keeps a statement from passing for a revocation, or for anything
else that the same key signs.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.exceptions import InvalidSignature

from autocelery._model import Statement
from autocelery._signing.keys import PublicKey, SigningKey
from autocelery.errors import (
    NoTrustedKeys,
    SnapshotExpired,
    SnapshotInvalid,
    SnapshotRefused,
    SnapshotRevoked,
    UntrustedSnapshot,
)

#: How far, in seconds, the clocks of author and worker may be apart.
CLOCK_SKEW = 5 * 60

_STATEMENT = "autocelery.statement.v1"
_REVOCATION = "autocelery.revocation.v1"
_HEADER = re.compile(rb"([a-z0-9.]{1,64}) ([0-9a-f]{16}) ([0-9a-f]{128})")
#: An envelope holds one path, besides a few numbers; what is larger is none.
_LARGEST_ENVELOPE = 64 * 2**10

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Envelope:
    domain: str
    key: str
    signature: bytes
    claim: bytes


def sign(key: SigningKey, snapshot: str, issued: int, expires: int, local_root: str) -> bytes:
    """Return the envelope that says: this snapshot is mine, from then until then.

    Args:
        key: the author's.
        snapshot: the id, 64 hex digits.
        issued: seconds since the epoch.
        expires: seconds since the epoch.
        local_root: the author's own path of the first root, which tracebacks show.
    """
    shown_root = local_root.encode(errors="replace").decode()
    claim = {
        "domain": _STATEMENT,
        "expires": expires,
        "issued": issued,
        "key": key.id,
        "local_root": shown_root,
        "snapshot": snapshot,
    }
    return _seal(key, _STATEMENT, claim)


def verify(envelope: bytes, snapshot: str, trusted: Mapping[str, PublicKey], now: float) -> Statement:
    """Return the statement in ``envelope`` if a trusted key made it over ``snapshot`` and it holds now.

    Args:
        envelope: what `sign` returned.
        snapshot: the id of the snapshot that is to run.
        trusted: the public keys that are agreed to, by their ids.
        now: seconds since the epoch; `CLOCK_SKEW` is allowed for.

    Raises:
        NoTrustedKeys: ``trusted`` is empty.
        UntrustedSnapshot: the key is not trusted, or did not sign these bytes.
        SnapshotExpired: the statement is past its expiry, or not valid yet.
        SnapshotInvalid: it is malformed, no statement, or over another snapshot.
    """
    statement = _parse_statement(_open(envelope, _STATEMENT, snapshot, trusted), snapshot)
    if now > statement.expires + CLOCK_SKEW:
        raise SnapshotExpired(
            f"The signature over snapshot {snapshot[:12]} by key {statement.key} expired on "
            f"{_date(statement.expires)}. Send the call again: that signs the code anew."
        )
    if now < statement.issued - CLOCK_SKEW:
        raise SnapshotExpired(
            f"The signature over snapshot {snapshot[:12]} by key {statement.key} is not valid before "
            f"{_date(statement.issued)}, and here it is {_date(now)}. Set the clocks of both machines."
        )
    return statement


def revoke(key: SigningKey, snapshot: str, now: float) -> bytes:
    """Return the envelope that says: do not run this snapshot any more."""
    claim = {"domain": _REVOCATION, "issued": int(now), "key": key.id, "snapshot": snapshot}
    return _seal(key, _REVOCATION, claim)


def check_revocation(envelope: bytes, snapshot: str, trusted: Mapping[str, PublicKey]) -> None:
    """Refuse ``snapshot`` if ``envelope`` is a revocation of it by a trusted key.

    A snapshot's author is trusted wherever its statement passed `verify`. A
    revocation by anybody else is logged and has no effect: whoever can only
    write to the store cannot stop a snapshot with it.

    Raises:
        SnapshotRevoked: the revocation holds.
    """
    try:
        claim = _open(envelope, _REVOCATION, snapshot, trusted)
        key, issued = _text(claim, "key"), _number(claim, "issued")
    except SnapshotRefused as error:
        _log.warning("A revocation of snapshot %s has no effect: %s", snapshot[:12], type(error).__name__)
        return
    raise SnapshotRevoked(
        f"Snapshot {snapshot[:12]} was revoked by key {key} on {_date(issued)}. "
        "Send the call from a tree that differs from it, or ask who revoked it."
    )


def _seal(key: SigningKey, domain: str, claim: Mapping[str, object]) -> bytes:
    body = json.dumps(claim, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    signature = key.sign(_signed_bytes(domain, body))
    return f"{domain} {key.id} {signature.hex()}\n".encode() + body


def _signed_bytes(domain: str, claim: bytes) -> bytes:
    return domain.encode() + b"\0" + claim


def _open(
    envelope: bytes, domain: str, snapshot: str, trusted: Mapping[str, PublicKey]
) -> Mapping[str, object]:
    """Return the claim, checked: form, domain, key, signature, and what it is about."""
    if not trusted:
        raise NoTrustedKeys(
            f"Snapshot {snapshot[:12]} is not run: this worker trusts no key. Where the call is sent from, "
            "run: autocelery keys export; for the worker's user, run: autocelery keys trust <that text>, "
            "or set AUTOCELERY_TRUSTED_KEYS to it and restart the worker."
        )
    sealed = _split(envelope, snapshot)
    if sealed.domain != domain:
        raise _malformed(snapshot, f"it is a {sealed.domain!r}, not a {domain!r}")
    _check_signature(sealed, snapshot, trusted)
    claim = _parse(sealed.claim, snapshot)
    if (claim.get("domain"), claim.get("key")) != (domain, sealed.key):
        raise _malformed(snapshot, "its claim contradicts its header")
    if claim.get("snapshot") != snapshot:
        raise _malformed(snapshot, "it is about another snapshot")
    return claim


def _split(envelope: bytes, snapshot: str) -> _Envelope:
    if len(envelope) > _LARGEST_ENVELOPE:
        raise _malformed(snapshot, f"it has {len(envelope)} bytes")
    header, _, claim = envelope.partition(b"\n")
    match = _HEADER.fullmatch(header)
    if match is None:
        raise _malformed(snapshot, "it has no header")
    domain, key, signature = (part.decode() for part in match.groups())
    return _Envelope(domain, key, bytes.fromhex(signature), claim)


def _check_signature(sealed: _Envelope, snapshot: str, trusted: Mapping[str, PublicKey]) -> None:
    public = trusted.get(sealed.key)
    if public is None:
        raise UntrustedSnapshot(
            f"Snapshot {snapshot[:12]} is signed with key {sealed.key}, which this worker does not trust "
            f"(it trusts {', '.join(sorted(trusted))}). Where the call is sent from, run: autocelery keys "
            "export; for the worker's user, run: autocelery keys trust <that text>"
        )
    try:
        public.verify(sealed.signature, _signed_bytes(sealed.domain, sealed.claim))
    except InvalidSignature:
        raise UntrustedSnapshot(
            f"The signature over snapshot {snapshot[:12]} was not made with key {sealed.key}, though it says "
            "so: it was altered. Find out who can write to the blob store, then send the call anew."
        ) from None


def _parse(claim: bytes, snapshot: str) -> Mapping[str, object]:
    try:
        parsed = json.loads(claim)
    except (ValueError, RecursionError):
        raise _malformed(snapshot, "its claim is not JSON") from None
    if not isinstance(parsed, dict):
        raise _malformed(snapshot, "its claim is not an object")
    return parsed


def _parse_statement(claim: Mapping[str, object], snapshot: str) -> Statement:
    return Statement(
        snapshot=snapshot,
        key=_text(claim, "key"),
        issued=_number(claim, "issued"),
        expires=_number(claim, "expires"),
        local_root=_text(claim, "local_root"),
    )


def _text(claim: Mapping[str, object], name: str) -> str:
    value = claim.get(name)
    if not isinstance(value, str):
        raise _malformed(str(claim.get("snapshot")), f"{name!r} is not a text")
    return value


def _number(claim: Mapping[str, object], name: str) -> int:
    value = claim.get(name)
    if type(value) is not int:
        raise _malformed(str(claim.get("snapshot")), f"{name!r} is not a whole number")
    return value


def _malformed(snapshot: str, why: str) -> SnapshotInvalid:
    return SnapshotInvalid(
        f"The signature over snapshot {snapshot[:12]} is malformed: {why}. It was damaged, or another "
        "version of autocelery wrote it. Use one version on both sides and send the call again."
    )


def _date(seconds: float) -> str:
    """Return the moment for people; any number gets one, however absurd."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, ValueError, OSError):
        return f"second {seconds:.0f}"
