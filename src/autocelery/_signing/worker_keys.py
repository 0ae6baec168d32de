"""Workers' X25519 keys: the variables of a call are encrypted to them, and to nobody else.

The key belongs to a user's ``AUTOCELERY_HOME``, so that the workers of that
user on that machine share it, and a caller with the same home needs nothing
more. The public half travels as one word, ``autocelery-x25519:<base64>:<comment>``,
and never by way of the broker or the store: whoever can write there could put
a key of their own in its place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from autocelery._config import Home
from autocelery._signing import files, words
from autocelery.errors import InvalidKey

#: The variable that names further keys of workers, separated by commas or white space.
VARIABLE = "AUTOCELERY_WORKER_KEYS"
SCHEME = "autocelery-x25519"


@dataclass(frozen=True, slots=True)
class WorkerKey:
    """The key with which the workers of one home decrypt; its ``repr`` shows the id only."""

    private: X25519PrivateKey = field(repr=False)
    id: str

    @property
    def public(self) -> X25519PublicKey:
        """The half that callers encrypt to."""
        return self.private.public_key()


@dataclass(frozen=True, slots=True)
class Recipient:
    """A public key that variables are encrypted to, and where it was found: ``own``, a path, or the variable."""

    id: str
    public: X25519PublicKey = field(repr=False)
    comment: str
    source: str

    @property
    def text(self) -> str:
        """The key as one word."""
        return _text(self.public, self.comment)


def key_id(public: X25519PublicKey) -> str:
    """Return the first 16 hex digits of the SHA-256 of the public key's 32 bytes."""
    return hashlib.sha256(public.public_bytes_raw()).hexdigest()[:16]


def own_key(home: Home) -> WorkerKey:
    """Return the key of this home's workers, made on first use.

    Raises:
        InvalidKey: the file is not an X25519 key, or others can read it.
        DiskFull: there is no room for a new one.
        ConfigurationError: the folder cannot be read or written.
    """
    path = _own_path(home)
    try:
        return _parse_private(files.read_private(path), path)
    except FileNotFoundError:
        files.write_once(path, _new_private(), mode=0o600)
    # Another process may have been first: what counts is the file.
    return _parse_private(files.read_private(path), path)


def recipients(home: Home) -> list[Recipient]:
    """Return the keys that variables are encrypted to: those of this home's own workers first, each id once.

    Raises:
        InvalidKey: one of them is not a key, or others could have changed it.
        ConfigurationError: one of them cannot be read or written.
        DiskFull: there is no room for the own one.
    """
    own = own_key(home)
    found = {own.id: Recipient(own.id, own.public, words.default_comment(), "own")}
    for each in _trusted(home):
        found.setdefault(each.id, each)
    return list(found.values())


def export_text(key: WorkerKey, comment: str | None = None) -> str:
    """Return the public half as one word, to be trusted where calls are sent from.

    Args:
        key: whose public half.
        comment: whose key it is, for people; default: ``user@computer``.
    """
    return _text(key.public, comment if comment is not None else words.default_comment())


def is_text(text: str) -> bool:
    """Whether ``text`` means to be the key of a worker, and not of an author."""
    return text.strip().startswith(f"{SCHEME}:")


def trust_text(home: Home, text: str) -> Recipient:
    """Encrypt variables to the key that ``text``, from ``autocelery keys export --worker``, stands for.

    Raises:
        InvalidKey: the text is not a public key.
        DiskFull: there is no room.
        ConfigurationError: the folder cannot be written.
    """
    public, comment = parse_text(text, "the given text")
    path = _folder(home) / f"{key_id(public)}.pub"
    files.write_once(path, f"{_text(public, comment)}\n".encode(), mode=0o644)
    return Recipient(key_id(public), public, comment, str(path))


def parse_text(text: str, source: str) -> tuple[X25519PublicKey, str]:
    """Return the public key and the comment that ``text`` stands for.

    Args:
        text: ``autocelery-x25519:<base64>:<comment>``; the comment may be left out.
        source: where it came from, for the error.

    Raises:
        InvalidKey: it is not a public key.
    """
    try:
        raw, comment = words.parsed(SCHEME, text)
        return X25519PublicKey.from_public_bytes(raw), comment
    except ValueError:
        pass
    # The text itself is not shown: it may be a private key that was pasted by mistake.
    raise InvalidKey(
        f"What {source} holds is not the public key of a worker, which looks like {SCHEME}:<base64>:<comment>. "
        "It may have been cut short. Get it again, for the worker's user, with: autocelery keys export --worker"
    )


def _own_path(home: Home) -> Path:
    return home.keys / "worker.key"


def _folder(home: Home) -> Path:
    return home.keys / "workers"


def _new_private() -> bytes:
    return X25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _parse_private(content: bytes, path: Path) -> WorkerKey:
    try:
        private = serialization.load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        private = None
    if not isinstance(private, X25519PrivateKey):
        raise InvalidKey(
            f"The key file {path} does not hold an X25519 private key; it may be damaged. Put it back from a "
            "backup, or move it away: another is made, and callers on other machines then have to trust that one "
            "(autocelery keys export --worker)."
        )
    return WorkerKey(private, key_id(private.public_key()))


def _trusted(home: Home) -> Iterator[Recipient]:
    for text, source in words.kept(_folder(home), VARIABLE):
        public, comment = parse_text(text, source)
        yield Recipient(key_id(public), public, comment, source)


def _text(public: X25519PublicKey, comment: str) -> str:
    return words.word(SCHEME, public.public_bytes_raw(), comment)
