"""Whose code a worker runs: keys, and the statements that they sign."""

from __future__ import annotations

from autocelery._signing.keys import (
    PublicKey,
    SigningKey,
    TrustedKey,
    export_text,
    key_id,
    list_keys,
    own_key,
    parse_text,
    trust_text,
    trusted_keys,
)
from autocelery._signing.statement import CLOCK_SKEW, check_revocation, revoke, sign, verify

__all__ = [
    "CLOCK_SKEW",
    "PublicKey",
    "SigningKey",
    "TrustedKey",
    "check_revocation",
    "export_text",
    "key_id",
    "list_keys",
    "own_key",
    "parse_text",
    "revoke",
    "sign",
    "trust_text",
    "trusted_keys",
    "verify",
]
