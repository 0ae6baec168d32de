"""References to pickled values: which are agreed to, and which are not, whatever is altered."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocelery._config import Home
from autocelery._signing import attachments, keys
from autocelery._signing.attachments import Attachment, Use
from autocelery.errors import AttachmentAltered, AttachmentError, UntrustedAttachment

SNAPSHOT, OTHER = "5" * 64, "6" * 64
ARGUMENT = Attachment("a" * 64, 100, "numpy.ndarray", SNAPSHOT, "argument")
RESULT = replace(ARGUMENT, purpose="result", call="call-1")


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> keys.SigningKey:
    folder = tmp_path_factory.mktemp("keys")
    return keys.own_key(Home(keys=folder, cache=folder))


@pytest.fixture
def stranger(tmp_path: Path) -> keys.SigningKey:
    return keys.own_key(Home(keys=tmp_path, cache=tmp_path))


@pytest.mark.parametrize(
    ("said", "use"),
    [
        (ARGUMENT, Use(SNAPSHOT)),
        (RESULT, Use(OTHER, "call-1")),
        (RESULT, Use(OTHER)),  # the result of one call as the argument of the next
    ],
)
def test_what_a_trusted_key_signed_is_agreed_to_for_what_it_was_signed(
    key: keys.SigningKey, said: Attachment, use: Use
) -> None:
    sent = json.loads(json.dumps(attachments.sign(key, said)))
    assert attachments.check(sent, use, {key.id: key.public}) == said


@pytest.mark.parametrize(
    ("said", "use"),
    [
        (ARGUMENT, Use(OTHER)),
        (ARGUMENT, Use(SNAPSHOT, "call-1")),
        (RESULT, Use(SNAPSHOT, "call-2")),
    ],
)
def test_a_value_is_not_taken_for_another_use(key: keys.SigningKey, said: Attachment, use: Use) -> None:
    with pytest.raises(AttachmentAltered, match="it was signed"):
        attachments.check(attachments.sign(key, said), use, {key.id: key.public})


def test_a_stranger_s_value_is_refused_with_the_commands_that_would_trust_it(
    key: keys.SigningKey, stranger: keys.SigningKey
) -> None:
    sent = attachments.sign(stranger, ARGUMENT)
    with pytest.raises(UntrustedAttachment, match=f"{stranger.id}.*autocelery keys trust"):
        attachments.check(sent, Use(SNAPSHOT), {key.id: key.public})
    with pytest.raises(AttachmentAltered, match="signature"):
        attachments.check({**sent, "key": key.id}, Use(SNAPSHOT), {key.id: key.public})


@pytest.mark.parametrize("field", ["v", *Attachment.__slots__, "key", "signature"])
def test_no_field_can_be_altered_or_left_out(key: keys.SigningKey, field: str) -> None:
    sent = attachments.sign(key, RESULT)
    value = sent[field]
    altered = (
        value + 1 if isinstance(value, int) else str(value)[:-1] + ("1" if str(value)[-1] != "1" else "2")
    )
    for changed in (
        {**sent, field: altered},
        {**sent, field: None},
        {name: each for name, each in sent.items() if name != field},
    ):
        with pytest.raises(AttachmentError):
            attachments.check(changed, Use(SNAPSHOT, "call-1"), {key.id: key.public})


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(Attachment.__slots__), inner),
)


@given(told=_JSON)
def test_anything_at_all_is_refused_typed(key: keys.SigningKey, told: object) -> None:
    with pytest.raises(AttachmentAltered):
        attachments.check(told, Use(SNAPSHOT), {key.id: key.public})


@given(field=st.sampled_from(["type", "call", "signature", "key"]), value=_JSON)
def test_a_field_with_anything_at_all_in_it_is_refused_typed(
    key: keys.SigningKey, field: str, value: object
) -> None:
    sent = attachments.sign(key, RESULT)
    if value != sent[field]:
        with pytest.raises(AttachmentError):
            attachments.check({**sent, field: value}, Use(SNAPSHOT), {key.id: key.public})
