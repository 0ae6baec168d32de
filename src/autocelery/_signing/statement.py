"""Statements over snapshots: who says so, from when until when, and what was revoked."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime

from autocelery._model import Statement
from autocelery._signing.envelope import number, opened, sealed, text
from autocelery._signing.keys import PublicKey, SigningKey
from autocelery.errors import SnapshotExpired, SnapshotRefused, SnapshotRevoked

#: How far, in seconds, the clocks of author and worker may be apart.
CLOCK_SKEW = 5 * 60

_STATEMENT = "autocelery.statement.v1"
_REVOCATION = "autocelery.revocation.v1"

_log = logging.getLogger(__name__)


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
    return sealed(key, _STATEMENT, claim)


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
    statement = _parse_statement(opened(envelope, _STATEMENT, snapshot, trusted), snapshot)
    if now > statement.expires + CLOCK_SKEW:
        raise SnapshotExpired(
            f"The signature over snapshot {snapshot[:12]} by key {statement.key} expired on "
            f"{date_of(statement.expires)}. Send the call again: that signs the code anew."
        )
    if now < statement.issued - CLOCK_SKEW:
        raise SnapshotExpired(
            f"The signature over snapshot {snapshot[:12]} by key {statement.key} is not valid before "
            f"{date_of(statement.issued)}, and here it is {date_of(now)}. Set the clocks of both machines."
        )
    return statement


def revoke(key: SigningKey, snapshot: str, now: float) -> bytes:
    """Return the envelope that says: do not run this snapshot any more."""
    claim = {"domain": _REVOCATION, "issued": int(now), "key": key.id, "snapshot": snapshot}
    return sealed(key, _REVOCATION, claim)


def check_revocation(envelope: bytes, snapshot: str, trusted: Mapping[str, PublicKey]) -> None:
    """Refuse ``snapshot`` if ``envelope`` is a revocation of it by a trusted key.

    A snapshot's author is trusted wherever its statement passed `verify`. A
    revocation by anybody else is logged and has no effect: whoever can only
    write to the store cannot stop a snapshot with it.

    Raises:
        SnapshotRevoked: the revocation holds.
    """
    try:
        claim = opened(envelope, _REVOCATION, snapshot, trusted)
        key, issued = text(claim, "key"), number(claim, "issued")
    except SnapshotRefused as error:
        _log.warning("A revocation of snapshot %s has no effect: %s", snapshot[:12], type(error).__name__)
        return
    raise SnapshotRevoked(
        f"Snapshot {snapshot[:12]} was revoked by key {key} on {date_of(issued)}. "
        "Send the call from a tree that differs from it, or ask who revoked it."
    )


def _parse_statement(claim: Mapping[str, object], snapshot: str) -> Statement:
    return Statement(
        snapshot=snapshot,
        key=text(claim, "key"),
        issued=number(claim, "issued"),
        expires=number(claim, "expires"),
        local_root=text(claim, "local_root"),
    )


def date_of(seconds: float) -> str:
    """Return the moment for people; any number gets one, however absurd."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, ValueError, OSError):
        return f"second {seconds:.0f}"
