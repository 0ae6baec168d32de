"""Which files look like secrets, by their names and, for keys, by what they hold."""

from __future__ import annotations

import re

#: Why a file is withheld whose name says enough.
NAME = "its name"

_NAMES = frozenset(
    {
        ".env", ".envrc", ".git-credentials", ".htpasswd", ".netrc", "_netrc", ".pgpass", ".my.cnf",
        ".pypirc", ".npmrc", ".dockercfg", ".s3cfg", ".boto", "credentials.json", "credentials.ini",
        "kubeconfig", "id_dsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk", "id_rsa",
        "secrets.json", "secrets.yaml", "secrets.yml", "secrets.toml", ".secrets.toml", "terraform.tfstate",
    }
)  # fmt: skip
_SUFFIXES = (".p12", ".pfx", ".jks", ".keystore", ".kdbx", ".ppk", ".tfvars")
_PATTERN = re.compile(r"\.env\..+|client_secrets?.*\.json|service[-_]?account.*\.json|.+\.env")
#: Templates hold names, not values; they are written to be shared.
_TEMPLATE = re.compile(r".*\.(example|sample|template|dist|tmpl|defaults?)$")
_FOLDERS = frozenset({".ssh", ".aws", ".gnupg", ".kube", ".azure"})
#: Files of these kinds are often public; only their contents tell.
_KEY_SUFFIXES = (".pem", ".key", ".asc", ".der")
_PRIVATE = re.compile(rb"PRIVATE KEY")


def is_secret_name(path: str) -> bool:
    """Tell whether the file at ``path`` (relative, with slashes) looks like a secret by its name.

    >>> is_secret_name("deploy/.env.production"), is_secret_name(".env.example")
    (True, False)
    """
    *folders, name = path.lower().split("/")
    if _TEMPLATE.fullmatch(name):
        return False
    if name in _NAMES or name.endswith(_SUFFIXES) or _PATTERN.fullmatch(name):
        return True
    return any(folder in _FOLDERS for folder in folders)


def may_hold_key(name: str) -> bool:
    """Tell whether the contents of a file of this name decide."""
    return name.lower().endswith(_KEY_SUFFIXES)


def holds_private_key(raw: bytes) -> bool:
    """Tell whether ``raw`` holds a private key as text."""
    return _PRIVATE.search(raw) is not None
