"""Which files are taken for secrets by what they hold, and which are not: real tokens' forms, and real code."""

from __future__ import annotations

import logging
import os
import random
import string
import sysconfig
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocelery._publish import problems, withholding
from autocelery._publish.collecting import Collected
from autocelery._snapshot import StatMemory, tokens
from autocelery.errors import SecretInCode
from tests.unit.publish.making import collected
from tests.unit.snapshot import making

ROOT = Path(__file__).parents[3]
_LETTERS = string.ascii_letters + string.digits


def made(size: int, alphabet: str = _LETTERS, seed: int = 7) -> str:
    """Return what a token generator might have made; put together here, so that this file holds none."""
    return "".join(random.Random(seed).choices(alphabet, k=size))


TOKENS = {
    "a GitHub token": "ghp_" + made(36),
    "a GitHub token ": "github_pat_" + made(82),
    "a GitLab token": "glpat-" + made(20),
    "a Slack token": "xoxb-" + made(12, string.digits) + "-" + made(24),
    "a Stripe key": "sk_live_" + made(24),
    "a Google API key": "AIza" + made(35),
    "an OpenAI or Anthropic key": "sk-" + made(48),
    "an OpenAI or Anthropic key ": "sk-ant-api03-" + made(95),
    "an OpenAI or Anthropic key  ": "sk-proj-" + made(120),
    "a PyPI token": "pypi-AgEIcHlwaS5vcmc" + made(100),
    "an npm token": "npm_" + made(36),
    "an AWS secret key": "AWS_SECRET_ACCESS_KEY = '" + made(40, _LETTERS + "+/") + "'",
    "an AWS key": "AKIA" + made(16, string.ascii_uppercase + "234567") + "', '" + made(40, _LETTERS + "+/"),
    "a private key": "-----BEGIN RSA PRIVATE KEY-----\n" + made(64) + "\n" + made(64),
}
SETTINGS = {
    "a signed token": "eyJ" + made(30) + ".eyJ" + made(40) + "." + made(43, _LETTERS + "-_"),
    "a password in an address": "postgresql://shop:" + made(20) + "@db.shop.net/orders",
    "a random value as api_key": "api_key: " + made(32),
    "a random value as SECRET_KEY": "SECRET_KEY = '" + made(50) + "'",
    "a random value as password": '"password": "' + made(20) + '"',
    "a random value as token": "token=" + made(40, "0123456789abcdef"),
}
HARMLESS = [
    "AWS_SECRET_ACCESS_KEY = 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY'",
    "AKIAIOSFODNN7EXAMPLE",
    "AKIA" + made(16, string.ascii_uppercase + "234567"),
    "ghp_" + "x" * 36,
    "token = 'ghp_' + rest",
    "-----BEGIN PRIVATE KEY-----",
    'if b"-----BEGIN RSA PRIVATE KEY-----" in raw:\n    raise ValueError("that is a private key")\n',
    "desk-" + made(48),
    "commit = '" + made(40, "0123456789abcdef") + "'",
    "url = 'redis://:password@localhost:6379/0'",
]
HARMLESS_SETTINGS = [
    "password: ${DB_PASSWORD}",
    "api_key: <your key here>",
    "secret_name: shop-database-password-v2",
    "token_url: https://login.shop.net/oauth2/v2.0/token",
    'secretKeyRef: {name: "shop-secrets", key: "password"}',
    "password = changeme",
    "broker = amqp://guest:guest@localhost//",
    "postgresql://user:password@host/db",
    "auth_token_path: /run/secrets/token",
    "integrity = sha512-" + made(86),
    "token_class: shop.auth.tokens.Token2",
]


@pytest.mark.parametrize("what", TOKENS)
@pytest.mark.parametrize("name", ["shop/tasks.py", "notes.md", "deploy.yaml", "run.ipynb"])
def test_a_well_known_token_is_found_in_any_file_and_its_line_is_said(name: str, what: str) -> None:
    raw = f"import os\n\nVALUE = '{TOKENS[what]}'\n".encode()
    assert tokens.secret_in(name, raw) == f"{what.rstrip()} in line 3"


@pytest.mark.parametrize("what", SETTINGS)
def test_in_settings_names_and_addresses_tell_too(what: str) -> None:
    raw = f"[shop]\n\n{SETTINGS[what]}\n".encode()
    assert tokens.secret_in("shop.toml", raw) == f"{what} in line 3"
    assert tokens.secret_in("shop/settings.py", raw) is None


@pytest.mark.parametrize("text", [*HARMLESS, *HARMLESS_SETTINGS])
def test_examples_references_and_words_are_no_secrets(text: str) -> None:
    for name in ("tasks.py", "readme.md", *(["conf.yaml"] if text in HARMLESS_SETTINGS else [])):
        assert tokens.secret_in(name, f"a = 1\n{text}\n".encode()) is None


def test_what_is_binary_or_large_is_not_looked_into() -> None:
    token = TOKENS["a GitHub token"].encode()
    assert tokens.secret_in("a.bin", b"\0" + token) is None
    assert tokens.secret_in("a.csv", token + b" " * tokens.SCANNED_MAX) is None


@given(st.binary(max_size=200), st.sampled_from(["a.py", "a.json", "a.txt"]))
def test_any_bytes_can_be_looked_into(raw: bytes, name: str) -> None:
    for each in (raw, b"password: " + raw, b"-----BEGIN PRIVATE KEY-----" + raw, b"AKIA" + raw):
        assert isinstance(tokens.secret_in(name, each), str | None)
        assert isinstance(tokens.assigned_in(each), list)


def test_source_code_of_real_projects_causes_no_false_alarm() -> None:
    """A source file that is taken for a secret would break the code: in thousands of real ones, none is."""
    looked, found = 0, []
    for top in (Path(sysconfig.get_path("purelib")), ROOT / "src", ROOT / "tests", ROOT / "examples"):
        for folder, _, names in os.walk(top):
            for name in names:
                if name.endswith(".py"):
                    raw = Path(folder, name).read_bytes()
                    looked += 1
                    found += (
                        [f"{folder}/{name}"] if tokens.secret_in(name, raw) or tokens.assigned_in(raw) else []
                    )
    assert looked > 5_000
    assert found == []


def with_files(top: Path, **files: str) -> Collected:
    for name, text in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text)
    return collected(top)


TOKEN = f"TOKEN = '{TOKENS['a GitHub token']}'\n"


def test_a_file_that_holds_a_token_is_withheld_and_why_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = with_files(
        tmp_path, **{"a.py": "x = 1", "tests/test_a.py": TOKEN, "deploy.md": TOKEN, ".env": "A=1"}
    )
    told: set[tuple[str, str]] = set()
    with caplog.at_level(logging.WARNING):
        withholding.check(found, told)
        withholding.check(found, told)
    reason = "a GitHub token in line 1"
    assert sorted(withholding.withheld(found)) == [
        (".env", "its name"), ("deploy.md", reason), ("tests/test_a.py", reason),
    ]  # fmt: skip
    assert len(caplog.records) == 2
    assert "deploy.md is not shipped" in caplog.text
    assert "include" in caplog.text
    texts = [each.what for each in problems.of_tree(found, tmp_path)]
    assert "deploy.md looks like a secret (a GitHub token in line 1) and is not shipped." in texts
    assert TOKENS["a GitHub token"] not in caplog.text + str(texts)


def test_code_that_holds_a_token_is_neither_shipped_nor_left_out_without_a_word(tmp_path: Path) -> None:
    found = with_files(tmp_path, **{"a.py": "x = 1", "shop/pay.py": f"\n{TOKEN}"})
    with pytest.raises(SecretInCode, match=r"shop/pay\.py .* a GitHub token in line 2") as caught:
        withholding.check(found, set())
    assert 'include = ["shop/pay.py"]' in caught.value.message
    assert "[tool.autocelery] env" in caught.value.message
    [problem] = problems.of_tree(found, tmp_path)
    assert (problem.level, "shop/pay.py" in problem.what) == ("error", True)
    named = '[tool.autocelery]\ninclude = ["shop/pay.py"]\n'
    again = with_files(tmp_path, **{"pyproject.toml": named})
    withholding.check(again, set())
    assert list(withholding.withheld(again)) == []
    assert again.trees[0].files == 3


def test_a_value_in_code_that_only_its_name_tells_is_shipped_and_planned_with_a_warning(
    tmp_path: Path,
) -> None:
    django = "SECRET_KEY = 'django-insecure-" + made(50) + "'\n"
    found = with_files(
        tmp_path, **{"a.py": f"x = 1\nPAYMENT_API_KEY = '{made(40)}'\n", "settings.py": django}
    )
    withholding.check(found, set())
    [problem] = problems.of_tree(found, tmp_path)
    assert (problem.level, problem.what) == (
        "warning", "a.py:2 is shipped, and the value of PAYMENT_API_KEY looks like a secret.",
    )  # fmt: skip


def test_a_token_that_is_written_into_a_known_file_is_noticed_and_so_is_that_it_went(tmp_path: Path) -> None:
    memory = StatMemory()

    def withheld() -> tuple[str, ...]:
        return making.collected(tmp_path, memory).withheld

    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "notes.md").write_text("nothing\n")
    assert withheld() == ()
    (tmp_path / "notes.md").write_text(TOKEN)
    assert withheld() == ("notes.md",)
    (tmp_path / "notes.md").write_text("nothing\n")
    assert withheld() == ()
