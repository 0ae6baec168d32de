r"""Signatures over attachments: values that a message or a result refers to, and that are pickled.

A reference is a mapping of plain fields. Its signature covers
``<domain>\0<the other fields as canonical JSON>``. It is bound to what the
value is for: an argument to the snapshot that is called, a result to the
call whose result it is. Nobody unpickles a value before `check` has passed,
and its bytes were compared with the digest that is signed here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature

from autocelery._signing.keys import PublicKey, SigningKey
from autocelery.errors import AttachmentAltered, UntrustedAttachment

ARGUMENT: Final = "argument"
RESULT: Final = "result"
VERSION: Final = 1

_DOMAIN = b"autocelery.attachment.v1"
_FORMS = {
    "digest": re.compile(r"[0-9a-f]{64}"),
    "snapshot": re.compile(r"[0-9a-f]{64}"),
    "key": re.compile(r"[0-9a-f]{16}"),
    "purpose": re.compile(f"{ARGUMENT}|{RESULT}"),
    "type": re.compile(r"[^\x00-\x1f\x7f]{1,200}"),
    "call": re.compile(r"[^\x00-\x1f\x7f]{0,255}"),
}


@dataclass(frozen=True, slots=True)
class Attachment:
    """What a reference says.

    Args:
        digest: of the value's pickle.
        size: of it, in bytes.
        type: the value's class, for people.
        snapshot: the id of the snapshot that is called, or that gave the result.
        purpose: ``argument`` or ``result``.
        call: the id of the call whose result it is, ``""`` for an argument.
    """

    digest: str
    size: int
    type: str
    snapshot: str
    purpose: str
    call: str = ""

    def __str__(self) -> str:
        return f"{self.purpose} of type {self.type}, {self.size} bytes"


@dataclass(frozen=True, slots=True)
class Use:
    """What somebody is about to unpickle a value for.

    ``call`` is the id of the call whose result is read; ``None`` where an
    argument is, which may also be the result of another call.
    """

    snapshot: str
    call: str | None = None


def sign(key: SigningKey, attachment: Attachment) -> dict[str, object]:
    """Return the reference to ``attachment``, in plain values."""
    fields = {
        "v": VERSION,
        "type": attachment.type,
        "size": attachment.size,
        "digest": attachment.digest,
        "snapshot": attachment.snapshot,
        "purpose": attachment.purpose,
        "call": attachment.call,
        "key": key.id,
    }
    return {**fields, "signature": key.sign(_signed_bytes(fields)).hex()}


def check(told: object, use: Use, trusted: Mapping[str, PublicKey]) -> Attachment:
    """Return what the reference ``told`` says, if a trusted key signed it for this use.

    Args:
        told: the reference, from a message or a result backend.
        use: what the value is wanted for.
        trusted: the public keys that are agreed to, by their ids.

    Raises:
        UntrustedAttachment: the key is not trusted here.
        AttachmentAltered: the reference is malformed, was not signed with that key, or is for another use.
    """
    fields = _fields(told)
    found = Attachment(**{name: fields[name] for name in Attachment.__slots__})  # type: ignore[arg-type]
    key = str(fields["key"])
    if key not in trusted:
        raise UntrustedAttachment(
            f"The {found} is not unpickled: it is signed with key {key}, which is not trusted here. If it is the "
            "right one, run where the value comes from: autocelery keys export; and here: autocelery keys trust "
            "<that text>"
        )
    try:
        trusted[key].verify(bytes.fromhex(str(told["signature"])), _signed_bytes(fields))  # type: ignore[index]
    except InvalidSignature:
        raise _altered(f"the signature of key {key} does not hold for it") from None
    _check_use(found, use)
    return found


def _check_use(found: Attachment, use: Use) -> None:
    if use.call is not None and (found.purpose, found.call) != (RESULT, use.call):
        raise _altered(
            f"it was signed as the {found.purpose} of call {found.call or 'none'}, not of {use.call}"
        )
    if use.call is None and found.purpose == ARGUMENT and found.snapshot != use.snapshot:
        raise _altered(f"it was signed for snapshot {found.snapshot[:12]}, not for {use.snapshot[:12]}")


def _fields(told: object) -> dict[str, object]:
    """Return the signed fields of a reference, each in its one form."""
    if not isinstance(told, Mapping) or told.keys() != {*_FORMS, "v", "size", "signature"}:
        raise _altered("its reference has not the fields that it should have")
    size, signature = told["size"], told["signature"]
    if told["v"] != VERSION or type(size) is not int or size < 0:
        raise _altered("its reference is of no version that is known here")
    if not (isinstance(signature, str) and re.fullmatch("[0-9a-f]{128}", signature)):
        raise _altered("its signature is none")
    for name, form in _FORMS.items():
        if not (isinstance(told[name], str) and form.fullmatch(told[name])):
            raise _altered(f"the field {name!r} of its reference is malformed")
    return {name: told[name] for name in (*_FORMS, "v", "size")}


def _signed_bytes(fields: Mapping[str, object]) -> bytes:
    return _DOMAIN + b"\0" + json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()


def _altered(why: str) -> AttachmentAltered:
    return AttachmentAltered(
        f"A value is not unpickled: {why}. It was altered on its way, or another version of autocelery wrote it. "
        "Find out who can write to the broker, the result backend and the blob store, then send the call again."
    )
