"""What a worker can rely on about signatures."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocelery import _signing
from autocelery._config import Home
from autocelery._model import Statement
from autocelery.errors import (
    NoTrustedKeys,
    SnapshotExpired,
    SnapshotInvalid,
    SnapshotRefused,
    SnapshotRevoked,
    UntrustedSnapshot,
)

SNAPSHOT = "ab" * 32
OTHER_SNAPSHOT = "cd" * 32
ISSUED = 1_700_000_000
EXPIRES = ISSUED + 86_400
DURING = ISSUED + 10
SKEW = 300

Trusted = dict[str, _signing.PublicKey]


@pytest.fixture(scope="module")
def author(tmp_path_factory: pytest.TempPathFactory) -> _signing.SigningKey:
    return key_in(tmp_path_factory.mktemp("author"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> _signing.SigningKey:
    return key_in(tmp_path_factory.mktemp("stranger"))


@pytest.fixture(scope="module")
def trusted(author: _signing.SigningKey) -> Trusted:
    return {author.id: author.public}


@pytest.fixture(scope="module")
def envelope(author: _signing.SigningKey) -> bytes:
    return _signing.sign(author, SNAPSHOT, ISSUED, EXPIRES, "/home/ann/proj")


def key_in(folder: Path) -> _signing.SigningKey:
    return _signing.own_key(Home(keys=folder, cache=folder))


def test_a_statement_says_who_signed_what_and_until_when(
    author: _signing.SigningKey, envelope: bytes, trusted: Trusted
) -> None:
    statement = _signing.verify(envelope, SNAPSHOT, trusted, DURING)
    assert statement == Statement(SNAPSHOT, author.id, ISSUED, EXPIRES, "/home/ann/proj")


def test_a_local_root_that_is_not_utf8_can_be_signed(author: _signing.SigningKey, trusted: Trusted) -> None:
    envelope = _signing.sign(author, SNAPSHOT, ISSUED, EXPIRES, "/home/\udcff")
    assert _signing.verify(envelope, SNAPSHOT, trusted, DURING).local_root == "/home/?"


def test_a_worker_that_trusts_no_key_says_which_command_to_run(envelope: bytes) -> None:
    with pytest.raises(NoTrustedKeys, match="autocelery keys trust"):
        _signing.verify(envelope, SNAPSHOT, {}, DURING)


def test_an_unknown_key_is_named_in_the_refusal(
    stranger: _signing.SigningKey, author: _signing.SigningKey, envelope: bytes
) -> None:
    with pytest.raises(UntrustedSnapshot, match=author.id):
        _signing.verify(envelope, SNAPSHOT, {stranger.id: stranger.public}, DURING)


def test_a_signature_under_another_key_s_name_is_refused(
    stranger: _signing.SigningKey, author: _signing.SigningKey, trusted: Trusted
) -> None:
    forged = _signing.sign(stranger, SNAPSHOT, ISSUED, EXPIRES, "/").replace(
        stranger.id.encode(), author.id.encode()
    )
    with pytest.raises(UntrustedSnapshot, match="altered"):
        _signing.verify(forged, SNAPSHOT, trusted, DURING)


@pytest.mark.parametrize("now", [ISSUED - SKEW, ISSUED, EXPIRES, EXPIRES + SKEW])
def test_clocks_may_be_five_minutes_apart(envelope: bytes, trusted: Trusted, now: int) -> None:
    assert _signing.verify(envelope, SNAPSHOT, trusted, now).snapshot == SNAPSHOT


def test_an_expired_statement_is_refused(envelope: bytes, trusted: Trusted) -> None:
    with pytest.raises(SnapshotExpired, match="expired on"):
        _signing.verify(envelope, SNAPSHOT, trusted, EXPIRES + SKEW + 1)


def test_a_statement_from_the_future_is_refused(envelope: bytes, trusted: Trusted) -> None:
    with pytest.raises(SnapshotExpired, match="not valid before"):
        _signing.verify(envelope, SNAPSHOT, trusted, ISSUED - SKEW - 1)


def test_a_time_beyond_the_calendar_is_refused_too(author: _signing.SigningKey, trusted: Trusted) -> None:
    envelope = _signing.sign(author, SNAPSHOT, 10**30, 10**31, "/")
    with pytest.raises(SnapshotExpired):
        _signing.verify(envelope, SNAPSHOT, trusted, DURING)


def test_a_statement_over_another_snapshot_is_refused(envelope: bytes, trusted: Trusted) -> None:
    with pytest.raises(SnapshotInvalid, match="another snapshot"):
        _signing.verify(envelope, OTHER_SNAPSHOT, trusted, DURING)


def test_a_revocation_does_not_pass_for_a_statement(author: _signing.SigningKey, trusted: Trusted) -> None:
    with pytest.raises(SnapshotInvalid, match="revocation"):
        _signing.verify(_signing.revoke(author, SNAPSHOT, ISSUED), SNAPSHOT, trusted, DURING)


def test_a_revocation_with_a_statement_s_header_is_refused(
    author: _signing.SigningKey, trusted: Trusted
) -> None:
    revocation = _signing.revoke(author, SNAPSHOT, ISSUED)
    with pytest.raises(UntrustedSnapshot, match="altered"):
        _signing.verify(revocation.replace(b"revocation", b"statement"), SNAPSHOT, trusted, DURING)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (str(EXPIRES).encode(), str(EXPIRES * 2).encode()),
        (SNAPSHOT.encode(), OTHER_SNAPSHOT.encode()),
        (b"/home/ann", b"/home/eve"),
    ],
)
def test_an_altered_claim_is_refused(envelope: bytes, trusted: Trusted, old: bytes, new: bytes) -> None:
    assert old in envelope
    with pytest.raises(UntrustedSnapshot, match="altered"):
        _signing.verify(envelope.replace(old, new), SNAPSHOT, trusted, DURING)


@pytest.mark.parametrize("damaged", [b"", b"\n", b"rubbish", b"\xff" * 100, b"a b c\n{}", b"x" * 100_000])
def test_what_is_no_envelope_is_refused(trusted: Trusted, damaged: bytes) -> None:
    with pytest.raises(SnapshotInvalid, match="malformed"):
        _signing.verify(damaged, SNAPSHOT, trusted, DURING)


@given(cut=st.integers(min_value=0), flip=st.integers(min_value=1, max_value=255))
def test_no_altered_byte_goes_unnoticed(
    author: _signing.SigningKey, trusted: Trusted, envelope: bytes, cut: int, flip: int
) -> None:
    altered = bytearray(envelope)
    altered[cut % len(altered)] ^= flip
    with pytest.raises(SnapshotRefused):
        _signing.verify(bytes(altered), SNAPSHOT, trusted, DURING)


@pytest.mark.parametrize(
    "claim",
    [
        b"[]",
        b"{",
        b"[" * 20_000,
        b'{"domain":"autocelery.statement.v1"}',
        b'{"domain":"autocelery.statement.v1","key":"KEY","snapshot":"SNAPSHOT","expires":"1","issued":1}',
        b'{"domain":"autocelery.statement.v1","key":"KEY","snapshot":"SNAPSHOT","expires":true,"issued":1}',
        b'{"domain":"autocelery.statement.v1","key":"KEY","snapshot":"SNAPSHOT","expires":2,"issued":1}',
    ],
)
def test_a_signed_claim_of_another_shape_is_refused(
    author: _signing.SigningKey, trusted: Trusted, claim: bytes
) -> None:
    body = claim.replace(b"KEY", author.id.encode()).replace(b"SNAPSHOT", SNAPSHOT.encode())
    signature = author.sign(b"autocelery.statement.v1\0" + body).hex()
    envelope = f"autocelery.statement.v1 {author.id} {signature}\n".encode() + body
    with pytest.raises(SnapshotInvalid, match="malformed"):
        _signing.verify(envelope, SNAPSHOT, trusted, 1)


def test_a_trusted_key_can_revoke_a_snapshot(author: _signing.SigningKey, trusted: Trusted) -> None:
    with pytest.raises(SnapshotRevoked, match=author.id):
        _signing.check_revocation(_signing.revoke(author, SNAPSHOT, ISSUED), SNAPSHOT, trusted)


def test_a_stranger_s_revocation_has_no_effect_and_is_logged(
    stranger: _signing.SigningKey, trusted: Trusted, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        _signing.check_revocation(_signing.revoke(stranger, SNAPSHOT, ISSUED), SNAPSHOT, trusted)
    assert "no effect" in caplog.text


def test_a_revocation_of_another_snapshot_has_no_effect(
    author: _signing.SigningKey, trusted: Trusted
) -> None:
    _signing.check_revocation(_signing.revoke(author, OTHER_SNAPSHOT, ISSUED), SNAPSHOT, trusted)


def test_a_statement_does_not_pass_for_a_revocation(envelope: bytes, trusted: Trusted) -> None:
    _signing.check_revocation(envelope, SNAPSHOT, trusted)
