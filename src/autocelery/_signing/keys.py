"""This user's own Ed25519 key, and the public keys whose snapshots are run.

A public key travels as one word, ``autocelery-ed25519:<base64>:<comment>``,
so that it fits an environment variable, a chat message and a file of its
own. The private key is PKCS #8 in PEM, which other tools read too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from autocelery._config import Home
from autocelery._signing import files, words
from autocelery.errors import InvalidKey

#: The variable that names further trusted keys, separated by commas or white space.
TRUSTED_VARIABLE = "AUTOCELERY_TRUSTED_KEYS"
_SCHEME = "autocelery-ed25519"

#: What a signature is checked with.
PublicKey = Ed25519PublicKey


def key_id(public: PublicKey) -> str:
    """Return the first 16 hex digits of the SHA-256 of the public key's 32 bytes."""
    return hashlib.sha256(public.public_bytes_raw()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The key with which this user signs snapshots; its ``repr`` shows the id only."""

    private: Ed25519PrivateKey = field(repr=False)
    id: str

    @property
    def public(self) -> PublicKey:
        """The half that others check signatures with."""
        return self.private.public_key()

    def sign(self, message: bytes) -> bytes:
        """Return the 64 bytes of the signature over ``message``."""
        return self.private.sign(message)


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A public key and where it was found: ``own``, a file's path or ``AUTOCELERY_TRUSTED_KEYS``."""

    id: str
    public: PublicKey = field(repr=False)
    comment: str
    source: str

    @property
    def text(self) -> str:
        """The key as one word, to hand to others."""
        return _text(self.public, self.comment)


def own_key(home: Home, create: bool = True) -> SigningKey:
    """Return this user's key, made on first use.

    Args:
        home: the folders that hold it.
        create: make it when there is none.

    Raises:
        InvalidKey: the file is not an Ed25519 key, others can read it, or
            there is none and ``create`` is false.
        DiskFull: there is no room for a new one.
        ConfigurationError: the folder cannot be read or written.
    """
    path = _own_path(home)
    try:
        return _parse_private(files.read_private(path), path)
    except FileNotFoundError:
        if not create:
            raise InvalidKey(f"There is no key at {path}. Run: autocelery keys create") from None
    files.write_once(path, _new_private(), mode=0o600)
    # Another process may have been first: what counts is the file.
    return _parse_private(files.read_private(path), path)


def trusted_keys(home: Home) -> dict[str, PublicKey]:
    """Return the keys whose snapshots are run here, by their ids; it may be empty.

    Raises:
        InvalidKey: one of them is not a key, or others could have changed it.
        ConfigurationError: one of them cannot be read.
    """
    return {key.id: key.public for key in list_keys(home)}


def list_keys(home: Home) -> list[TrustedKey]:
    """Return the trusted keys with their sources: the own one first, each id once.

    Raises:
        InvalidKey: one of them is not a key, or others could have changed it.
        ConfigurationError: one of them cannot be read.
    """
    found: dict[str, TrustedKey] = {}
    for key in (*_own(home), *_trusted(home)):
        found.setdefault(key.id, key)
    return list(found.values())


def export_text(key: SigningKey, comment: str | None = None) -> str:
    """Return the public half as one word, to be trusted elsewhere.

    Args:
        key: whose public half.
        comment: whose key it is, for people; default: ``user@computer``.
    """
    return _text(key.public, comment if comment is not None else words.default_comment())


def trust_text(home: Home, text: str) -> TrustedKey:
    """Trust the key that ``text``, from ``autocelery keys export``, stands for.

    Trusting a key twice is no error.

    Raises:
        InvalidKey: the text is not a public key.
        DiskFull: there is no room.
        ConfigurationError: the folder cannot be written.
    """
    public, comment = parse_text(text, "the given text")
    path = _trusted_folder(home) / f"{key_id(public)}.pub"
    files.write_once(path, f"{_text(public, comment)}\n".encode(), mode=0o644)
    return TrustedKey(key_id(public), public, comment, str(path))


def parse_text(text: str, source: str) -> tuple[PublicKey, str]:
    """Return the public key and the comment that ``text`` stands for.

    Args:
        text: ``autocelery-ed25519:<base64>:<comment>``; the comment may be left out.
        source: where it came from, for the error.

    Raises:
        InvalidKey: it is not a public key.
    """
    try:
        raw, comment = words.parsed(_SCHEME, text)
        return Ed25519PublicKey.from_public_bytes(raw), comment
    except ValueError:
        pass
    # The text itself is not shown: it may be a private key that was pasted by mistake.
    raise InvalidKey(
        f"What {source} holds is not a public key, which looks like {_SCHEME}:<base64>:<comment>. "
        "It may have been cut short. Get it again with: autocelery keys export"
    )


def _own_path(home: Home) -> Path:
    return home.keys / "me.key"


def _trusted_folder(home: Home) -> Path:
    return home.keys / "trusted"


def _new_private() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _parse_private(content: bytes, path: Path) -> SigningKey:
    try:
        private = serialization.load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        private = None
    if not isinstance(private, Ed25519PrivateKey):
        raise InvalidKey(
            f"The key file {path} does not hold an Ed25519 private key; it may be damaged. Put it back from "
            "a backup, or move it away and run: autocelery keys create (workers on other machines then "
            "have to trust the new key)."
        )
    return SigningKey(private, key_id(private.public_key()))


def _own(home: Home) -> list[TrustedKey]:
    path = _own_path(home)
    try:
        key = _parse_private(files.read_private(path), path)
    except FileNotFoundError:
        return []
    return [TrustedKey(key.id, key.public, words.default_comment(), "own")]


def _trusted(home: Home) -> Iterator[TrustedKey]:
    for text, source in words.kept(_trusted_folder(home), TRUSTED_VARIABLE):
        public, comment = parse_text(text, source)
        yield TrustedKey(key_id(public), public, comment, source)


def _text(public: PublicKey, comment: str) -> str:
    return words.word(_SCHEME, public.public_bytes_raw(), comment)
