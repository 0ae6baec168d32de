"""Which files hold secrets: by the forms of well-known tokens and, in settings, by values that look random.

A rule that takes a source file for a secret would break the code, so that
rules for all files match what its issuer makes and little else. Of settings
(TOML, YAML, JSON and their kin) the names tell too: ``api_key = ...`` with a
value of high entropy. The forms are those that the issuers publish.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from functools import cache
from typing import NamedTuple


class Rule(NamedTuple):
    """What a form finds, a regular expression; its ``value`` has to look random.

    A form begins with plain characters, which is what makes it fast: a search for them skips the rest of a file.
    """

    what: str
    form: str


@cache
def _compiled(form: str) -> re.Pattern[bytes]:
    """Return the form compiled: all of them take 5 ms, which who reads no file need not pay."""
    return re.compile(form.encode(), re.DOTALL)


_SETTINGS = (
    ".ini", ".cfg", ".conf", ".config", ".toml", ".yaml", ".yml", ".json", ".properties", ".tf", ".hcl", ".sh",
)  # fmt: skip
#: A dozen for source files, of which there are many: each costs a cold start 5 ms in 2,000 files of 8 MB.
_IN_CODE = (
    Rule("a GitHub token", r"gh[opusr]_(?P<value>[A-Za-z0-9]{36,251})\b"),
    Rule("a GitHub token", r"github_pat_(?P<value>[A-Za-z0-9_]{50,255})\b"),
    Rule("a GitLab token", r"glpat-(?P<value>[A-Za-z0-9_-]{20,100})"),
    Rule("a Slack token", r"xox[abeprs]-(?P<value>[0-9]{6,}-[A-Za-z0-9-]{15,250})"),
    Rule("a Stripe key", r"k_live_(?P<value>[A-Za-z0-9]{20,250})\b"),
    Rule("a Google API key", r"AIza(?P<value>[A-Za-z0-9_-]{35})(?![A-Za-z0-9_-])"),
    Rule(
        "an OpenAI or Anthropic key",
        r"sk-(?P<value>(?:proj|svcacct|admin|ant)-[A-Za-z0-9_-]{40,250}|[A-Za-z0-9]{48}(?![A-Za-z0-9]))",
    ),
    Rule("a PyPI token", r"pypi-(?P<value>AgE[A-Za-z0-9_-]{50,1000})"),
    Rule("an npm token", r"npm_(?P<value>[A-Za-z0-9]{36})\b"),
    Rule(
        "an AWS secret key",
        r"SECRET_ACCESS_KEY[\"']?\]?\s{0,5}[:=]\s{0,5}[\"']?(?P<value>[A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])",
    ),
    Rule("a private key", r"PRIVATE KEY(?: BLOCK)?-----.{1,400}?(?P<value>[A-Za-z0-9+/=]{40})"),
)
_ELSEWHERE = (
    *_IN_CODE,
    Rule("a Slack webhook", r"hooks\.slack\.com/services/(?P<value>T\w{8,}/B\w{8,}/\w{20,})"),
    Rule("a Hugging Face token", r"hf_(?P<value>[A-Za-z]{34})\b"),
    Rule("a SendGrid key", r"SG\.(?P<value>[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43})\b"),
    Rule("a DigitalOcean token", r"dop_v1_(?P<value>[a-f0-9]{64})\b"),
    Rule("an Azure storage key", r"AccountKey=(?P<value>[A-Za-z0-9+/]{86})=="),
    Rule("an age key", r"AGE-SECRET-KEY-1(?P<value>[0-9A-Z]{58})"),
)
_IN_SETTINGS = (
    *_ELSEWHERE,
    Rule("a signed token", r"eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.(?P<value>[\w-]{20,})"),
    Rule(
        "a password in an address",
        r"://[^\s:/@\"'<>{}$]{0,64}:(?P<value>[^\s:/@\"'<>{}$]{8,200})@(?!localhost|127\.|example\.)[\w.-]+",
    ),
)
#: An AWS key's id is no secret by itself; beside what may be its secret it is.
_AWS_ID = r"IA[A-Z2-7]{16}\b"
_AWS_SECRET = r"(?<![A-Za-z0-9/+=])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])"
_NAMES = (
    r"secret|token|passw(?:or)?d|pwd|pass|api[_-]?key|access[_-]?key|secret[_-]?key|private[_-]?key|"
    r"auth[_-]?key|signing[_-]?key|encryption[_-]?key|credentials?"
)
_NAMED = (
    rf"(?i)(?:{_NAMES})[\"']?[ \t]{{0,20}}(?:=>|[:=])[ \t]{{0,20}}[\"']?"
    r"(?P<value>[^\s\"'`,;<>{}()\[\]]{16,512})"
)
_IN_PYTHON = (
    rf"(?im)^[ \t]*(?P<name>\w*(?:{_NAMES}))[ \t]*(?::[^=\n]{{1,40}})?=[ \t]*"
    r"[\"'](?P<value>[^\s\"']{20,512})[\"']"
)
_PLACEHOLDER = (
    r"(?i)example|sample|dummy|fake|placeholder|change.?me|replace|redacted|insecure|your[_-]|my[_-]|(.)\1{4}"
)
#: Bits for each character: what is typed has less, and what a generator makes more.
_ENTROPY = 3.0
_ENTROPY_OF_NAMED = 3.4
#: Files are scanned up to this size, in bytes: nobody writes a secret into a larger one by hand.
SCANNED_MAX = 2**20


def secret_in(path: str, raw: bytes) -> str | None:
    """Return what secret the file at ``path`` seems to hold, and in which line; ``None`` for none.

    Args:
        path: relative to the top.
        raw: the file's bytes.

    >>> secret_in("deploy.md", b"password: swordfish") is None
    True
    """
    if len(raw) > SCANNED_MAX or b"\0" in raw[:1024]:
        return None
    name = path.lower()
    is_settings = name.endswith(_SETTINGS)
    rules = _IN_CODE if name.endswith(".py") else _IN_SETTINGS if is_settings else _ELSEWHERE
    for rule in rules:
        if _compiled(rule.form).search(raw) is not None and (place := _place_of(rule, raw)) is not None:
            return f"{rule.what} in line {_line(raw, place)}"
    return _aws_pair(raw) or (_named_value(raw) if is_settings else None)


def assigned_in(raw: bytes) -> list[tuple[int, str]]:
    """Return the (line, name) of assignments in Python source of what looks like a secret, known by no rule."""
    return [
        (_line(raw, found.start("name")), found["name"].decode())
        for found in _compiled(_IN_PYTHON).finditer(raw)
        if _is_named_secret(found["value"])
    ]


def is_random(value: bytes, entropy: float) -> bool:
    """Tell whether ``value`` looks as if it was generated, by the Shannon entropy of its characters, in bits.

    >>> is_random(b"aaaaaaaaaaaaaaaaaaaa", 3.0), is_random(b"kX9vQ2mZr8Lw4TpB7nYc", 3.0)
    (False, True)
    """
    if _compiled(_PLACEHOLDER).search(value):
        return False
    counts, size = Counter(value), len(value)
    return -sum(n / size * math.log2(n / size) for n in counts.values()) >= entropy


def _place_of(rule: Rule, raw: bytes) -> int | None:
    """Return where the first value begins that is one: random, and no part of a longer word."""
    for found in _compiled(rule.form).finditer(raw):
        start = found.start()
        before = raw[start - 1 : start] if start else b""
        joined = before.isalnum() and not (before in b"rs" and found[0].startswith(b"k_live_"))
        if is_random(found["value"], _ENTROPY) and (not joined or found[0].startswith(b"://")):
            return start
    return None


def _aws_pair(raw: bytes) -> str | None:
    """Return an AWS key that stands with its secret: the id by itself is none."""
    places = [found.start() for found in _compiled(_AWS_ID).finditer(raw)]
    place = next((each for each in places if raw[max(0, each - 2) : each] in (b"AK", b"AS")), None)
    if place is None:
        return None
    if not any(_is_mixed(each) and is_random(each, 4.2) for each in _compiled(_AWS_SECRET).findall(raw)):
        return None
    return f"an AWS key in line {_line(raw, place)}"


def _named_value(raw: bytes) -> str | None:
    for found in _compiled(_NAMED).finditer(raw):
        if _is_named_secret(found["value"]):
            name = re.split(rb"[\"'\s:=]", found[0])[0].decode()
            return f"a random value as {name} in line {_line(raw, found.start())}"
    return None


def _is_named_secret(value: bytes) -> bool:
    """Tell whether a value that is called a secret is one, and no reference, no path, no words."""
    if value.startswith((b"$", b"%", b"/", b"./", b"@")) or b"://" in value:
        return False
    parts = re.split(rb"[-_.:/+=]", value)
    mixed = sum(len(part) for part in parts if _is_mixed(part))
    return mixed * 2 >= len(value) and is_random(value, _ENTROPY_OF_NAMED)


def _is_mixed(part: bytes) -> bool:
    return len(part) > 3 and any(48 <= each <= 57 for each in part) and any(each > 57 for each in part)


def _line(raw: bytes, position: int) -> int:
    return raw.count(b"\n", 0, position) + 1
