"""What a user can rely on about variables on their way: who can read them, with what, and until when."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocelery import _config, _signing
from autocelery._config import Home
from autocelery._signing import envelope, variables, worker_keys
from autocelery._signing.worker_keys import Recipient, WorkerKey
from autocelery.errors import VariablesAltered, VariablesError, VariablesExpired, VariablesNotForWorker

SNAPSHOT, OTHER_SNAPSHOT = "ab" * 32, "cd" * 32
ISSUED = 1_700_000_000
EXPIRES = ISSUED + 86_400
VALUES = {"API_KEY": "s3cr3t-value-of-the-key", "EMPTY": ""}
DOMAIN = "autocelery.variables.v1"

Trusted = dict[str, _signing.PublicKey]


class Parties:
    """Two authors, whom the worker both trusts, two workers' keys, and one envelope of the first author."""

    def __init__(self, folder: Path) -> None:
        self.author = _signing.own_key(Home(folder / "author", folder))
        self.other_author = _signing.own_key(Home(folder / "other", folder))
        self.worker = worker_keys.own_key(Home(folder / "worker", folder))
        self.other_worker = worker_keys.own_key(Home(folder / "other-worker", folder))
        self.trusted: Trusted = {each.id: each.public for each in (self.author, self.other_author)}
        self.sealed = self.seal()

    def seal(self, *workers: WorkerKey, **changed: Any) -> bytes:
        recipients = [Recipient(each.id, each.public, "", "") for each in workers or (self.worker,)]
        told = {"key": self.author, "snapshot": SNAPSHOT, "values": VALUES, "issued": ISSUED} | changed
        return variables.seal(workers=recipients, expires=EXPIRES, **told)

    def unseal(self, sealed: bytes, **changed: Any) -> variables.Variables:
        told = {"snapshot": SNAPSHOT, "author": self.author.id, "worker": self.worker, "now": ISSUED + 10.0}
        return variables.unseal(sealed, trusted=self.trusted, **(told | changed))


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Parties:
    return Parties(tmp_path_factory.mktemp("parties"))


def claim_of(sealed: bytes) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(sealed.partition(b"\n")[2])
    return told


@given(
    st.dictionaries(
        st.text(min_size=1).filter(_config.is_variable_name), st.text().filter(lambda v: "\0" not in v)
    )
)
def test_each_worker_that_is_named_reads_what_was_sealed(parties: Parties, values: dict[str, str]) -> None:
    sealed = parties.seal(parties.worker, parties.other_worker, values=values)
    for worker in (parties.worker, parties.other_worker):
        opened = parties.unseal(sealed, worker=worker)
        assert dict(opened.values) == values
        assert (opened.names, opened.expires) == (tuple(sorted(values)), EXPIRES)


def test_a_value_that_is_no_unicode_arrives_as_it_was(parties: Parties) -> None:
    values = {"RAW": b"\xff\xfe".decode("utf-8", "surrogateescape")}
    assert parties.unseal(parties.seal(values=values)).values == values


def test_an_envelope_shows_neither_the_values_nor_their_length_nor_twice_the_same(parties: Parties) -> None:
    short, long = parties.seal(values={"API_KEY": "x"}), parties.seal(values={"API_KEY": "x" * 100})
    assert len(short) == len(long)
    assert parties.seal() != parties.seal()
    for value in (
        b"s3cr3t-value",
        base64.b64encode(b"s3cr3t-value-of-the-key"),
        b"s3cr3t-value".hex().encode(),
    ):
        assert value not in parties.sealed


def test_nothing_that_holds_variables_or_a_key_shows_them(parties: Parties) -> None:
    assert "s3cr3t" not in repr(parties.unseal(parties.sealed))
    assert repr(parties.worker) == f"WorkerKey(id={parties.worker.id!r})"


def test_another_worker_is_told_how_it_would_be_let_read_them(parties: Parties) -> None:
    with pytest.raises(VariablesNotForWorker, match=r"keys export --worker.*keys trust") as caught:
        parties.unseal(parties.sealed, worker=parties.other_worker)
    assert "API_KEY" in caught.value.message
    assert parties.other_worker.id in caught.value.message


def test_they_hold_until_they_expire_with_some_patience_for_clocks(parties: Parties) -> None:
    for moment in (ISSUED - 290, ISSUED, EXPIRES, EXPIRES + 290):
        assert parties.unseal(parties.sealed, now=float(moment)).values == VALUES
    for moment, mend in ((EXPIRES + 310, "Send the call again"), (ISSUED - 310, "Set the clocks")):
        with pytest.raises(VariablesExpired, match=mend):
            parties.unseal(parties.sealed, now=float(moment))


def test_they_are_not_opened_for_another_snapshot(parties: Parties) -> None:
    with pytest.raises(VariablesAltered, match="another snapshot"):
        parties.unseal(parties.sealed, snapshot=OTHER_SNAPSHOT)


def test_they_are_not_opened_for_a_snapshot_that_another_trusted_author_signed(parties: Parties) -> None:
    with pytest.raises(VariablesAltered):
        parties.unseal(parties.sealed, author=parties.other_author.id)


def test_no_author_can_make_an_envelope_of_their_own_out_of_anothers(parties: Parties) -> None:
    thief, claim = parties.other_author, claim_of(parties.sealed)
    stolen = [
        {**claim, "key": thief.id},
        {**claim, "key": thief.id, "snapshot": OTHER_SNAPSHOT},
        {**claim, "key": thief.id, "snapshot": OTHER_SNAPSHOT, "expires": EXPIRES + 86_400},
    ]
    for each in stolen:
        sealed = envelope.sealed(thief, DOMAIN, each)
        with pytest.raises(VariablesAltered, match="does not belong to it"):
            parties.unseal(sealed, author=thief.id, snapshot=each["snapshot"])


def test_the_author_cannot_be_had_to_prolong_or_rename_them_by_parts(parties: Parties) -> None:
    claim = claim_of(parties.sealed)
    other = claim_of(parties.seal(values={"API_KEY": "another"}))
    for changed in (
        {**claim, "expires": EXPIRES + 1},
        {**claim, "issued": ISSUED + 1},
        {**claim, "names": ["API_KEY", "LD_PRELOAD"]},
        {**claim, "snapshot": OTHER_SNAPSHOT},
        {**claim, "sealed": other["sealed"]},
        {**claim, "ephemeral": other["ephemeral"]},
        {**claim, "workers": other["workers"]},
    ):
        with pytest.raises(VariablesAltered):
            parties.unseal(envelope.sealed(parties.author, DOMAIN, changed), snapshot=changed["snapshot"])


@given(st.data())
def test_no_change_of_any_byte_goes_unnoticed(parties: Parties, data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(parties.sealed) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda each: each != parties.sealed[position]))
    with pytest.raises(VariablesError):
        parties.unseal(parties.sealed[:position] + bytes([byte]) + parties.sealed[position + 1 :])


@given(st.binary(max_size=300))
def test_what_is_no_envelope_is_refused_with_a_typed_error(parties: Parties, junk: bytes) -> None:
    with pytest.raises(VariablesAltered):
        parties.unseal(junk)


@pytest.mark.parametrize(
    "changed",
    [
        {"names": "API_KEY"},
        {"names": ["API_KEY", "API_KEY"]},
        {"names": ["A=B"]},
        {"workers": None},
        {"workers": []},
        {"sealed": 7},
        {"sealed": "not base64!"},
        {"ephemeral": ""},
        {"ephemeral": base64.b64encode(bytes(32)).decode()},
        {"issued": "today"},
        {"expires": None},
    ],
)
def test_a_malformed_claim_is_refused_though_its_author_signed_it(
    parties: Parties, changed: dict[str, Any]
) -> None:
    claim = {**claim_of(parties.sealed), **changed}
    with pytest.raises(VariablesAltered):
        parties.unseal(envelope.sealed(parties.author, DOMAIN, claim))
    lacking = {name: value for name, value in claim.items() if name not in changed}
    with pytest.raises(VariablesError):
        parties.unseal(envelope.sealed(parties.author, DOMAIN, lacking))


def test_a_statement_does_not_pass_for_variables_nor_they_for_one(parties: Parties) -> None:
    statement = _signing.sign(parties.author, SNAPSHOT, ISSUED, EXPIRES, "/home/ann")
    with pytest.raises(VariablesAltered):
        parties.unseal(statement)
    with pytest.raises(_signing.statement.SnapshotRefused):
        _signing.verify(parties.sealed, SNAPSHOT, parties.trusted, ISSUED + 10)
