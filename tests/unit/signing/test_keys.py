"""What a user can rely on about keys."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from autocelery import _signing
from autocelery._config import Home
from autocelery.errors import AutoceleryError, ConfigurationError, DiskFull, InvalidKey

PRINT_OWN_KEY = """
import sys
from pathlib import Path
from autocelery import _signing
from autocelery._config import Home
sys.stdin.readline()
print(_signing.own_key(Home(Path(sys.argv[1]), Path(sys.argv[1]))).id)
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(keys=tmp_path / "keys", cache=tmp_path / "cache")


@pytest.fixture(autouse=True)
def no_keys_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUTOCELERY_TRUSTED_KEYS", raising=False)


def another_key(tmp_path: Path, name: str) -> _signing.SigningKey:
    return _signing.own_key(Home(keys=tmp_path / name, cache=tmp_path))


def test_the_own_key_is_made_on_first_use_and_kept(home: Home) -> None:
    assert _signing.own_key(home).id == _signing.own_key(home).id


def test_only_its_owner_can_read_the_own_key(home: Home) -> None:
    _signing.own_key(home)
    assert (home.keys / "me.key").stat().st_mode & 0o777 == 0o600
    assert home.keys.stat().st_mode & 0o777 == 0o700


def test_ten_processes_at_once_all_get_the_same_key(home: Home) -> None:
    command = [sys.executable, "-c", PRINT_OWN_KEY, str(home.keys)]
    racers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(10)
    ]
    for racer in racers:  # each waits for its line, so that none has a head start
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    answers = {racer.communicate(timeout=60)[0].strip() for racer in racers}
    assert answers == {_signing.own_key(home).id}
    assert sorted(path.name for path in home.keys.iterdir()) == ["me.key"]


def test_a_missing_key_is_not_made_when_that_is_not_asked_for(home: Home) -> None:
    with pytest.raises(InvalidKey, match="autocelery keys create"):
        _signing.own_key(home, create=False)
    assert not home.keys.exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_is_refused(home: Home, mode: int) -> None:
    _signing.own_key(home)
    (home.keys / "me.key").chmod(mode)
    with pytest.raises(InvalidKey, match="chmod 600"):
        _signing.own_key(home)
    with pytest.raises(InvalidKey, match="chmod 600"):
        _signing.trusted_keys(home)


def test_a_damaged_key_is_refused_with_the_mend(home: Home) -> None:
    _signing.own_key(home)
    (home.keys / "me.key").write_bytes(b"-----BEGIN PRIVATE KEY-----\nrubbish\n")
    with pytest.raises(InvalidKey, match="autocelery keys create"):
        _signing.own_key(home)


def test_a_key_of_another_kind_is_refused(home: Home) -> None:
    _signing.own_key(home)
    elliptic = generate_private_key(SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (home.keys / "me.key").write_bytes(elliptic)
    with pytest.raises(InvalidKey, match="Ed25519"):
        _signing.own_key(home)


def test_a_key_that_is_a_folder_is_a_configuration_error(home: Home) -> None:
    (home.keys / "me.key").mkdir(parents=True)
    with pytest.raises(ConfigurationError, match="AUTOCELERY_HOME"):
        _signing.own_key(home)


def test_a_home_below_a_file_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="AUTOCELERY_HOME"):
        _signing.own_key(Home(keys=tmp_path / "file" / "keys", cache=tmp_path))


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, DiskFull),
        (errno.EDQUOT, DiskFull),
        (errno.EROFS, ConfigurationError),
        (errno.EACCES, ConfigurationError),
    ],
)
@pytest.mark.parametrize("call", ["mkdir", "open", "fsync", "link"])
def test_what_the_disk_refuses_is_typed_and_leaves_no_file(
    home: Home, monkeypatch: pytest.MonkeyPatch, call: str, number: int, expected: type[AutoceleryError]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        with pytest.raises(expected, match="AUTOCELERY_HOME"):
            _signing.own_key(home)
    assert not home.keys.exists() or list(home.keys.iterdir()) == []


def test_a_folder_without_hard_links_is_a_configuration_error(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(ConfigurationError, match="hard links"):
        _signing.own_key(home)


@pytest.mark.skipif(not shutil.which("unshare"), reason="needs a mount of its own")
@pytest.mark.parametrize(("options", "expected"), [("size=4k", "DiskFull"), ("ro", "ConfigurationError")])
def test_a_full_and_a_read_only_disk_are_told_apart(tmp_path: Path, options: str, expected: str) -> None:
    """The same on a real file system, in a mount namespace that ends with the process."""
    script = """
import sys
from pathlib import Path
from autocelery import _signing
from autocelery._config import Home
top = Path(sys.argv[1])
try:
    (top / "filler").write_bytes(b"x" * 4096)
except OSError:
    pass
try:
    _signing.own_key(Home(top, top))
except Exception as error:
    print(type(error).__name__)
"""
    mount = f'mount -t tmpfs -o {options} tmpfs "$1" || exit 77; exec "$2" -c "$3" "$1"'
    ended = subprocess.run(
        ["unshare", "-rm", "sh", "-c", mount, "sh", str(tmp_path), sys.executable, script],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if ended.returncode == 77 or "unshare" in ended.stderr:
        pytest.skip("this user may not mount")
    assert ended.stdout.strip() == expected


def test_the_own_key_is_trusted_without_any_set_up(home: Home) -> None:
    assert _signing.trusted_keys(home) == {}
    own = _signing.own_key(home)
    assert list(_signing.trusted_keys(home)) == [own.id]


def test_an_exported_key_can_be_trusted_by_another_user(home: Home, tmp_path: Path) -> None:
    other = another_key(tmp_path, "other")
    trusted = _signing.trust_text(home, _signing.export_text(other, "ann@laptop"))
    assert (trusted.id, trusted.comment) == (other.id, "ann@laptop")
    assert list(_signing.trusted_keys(home)) == [other.id]


def test_trusting_a_key_twice_is_no_error(home: Home, tmp_path: Path) -> None:
    text = _signing.export_text(another_key(tmp_path, "other"))
    _signing.trust_text(home, text)
    _signing.trust_text(home, f"  {text}\n")
    assert len(_signing.list_keys(home)) == 1


@pytest.mark.parametrize("separator", [",", " ", "\n", ", ", "\t,\n"])
def test_the_environment_names_trusted_keys(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, separator: str
) -> None:
    keys = [another_key(tmp_path, name) for name in ("one", "two")]
    texts = separator.join(_signing.export_text(key) for key in keys)
    monkeypatch.setenv("AUTOCELERY_TRUSTED_KEYS", texts)
    assert set(_signing.trusted_keys(home)) == {key.id for key in keys}


def test_a_list_of_keys_says_where_each_was_found(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, friend, robot = _signing.own_key(home), another_key(tmp_path, "a"), another_key(tmp_path, "b")
    trusted = _signing.trust_text(home, _signing.export_text(friend))
    texts = f"{_signing.export_text(robot)} {_signing.export_text(own)}"
    monkeypatch.setenv("AUTOCELERY_TRUSTED_KEYS", texts)
    assert [(key.id, key.source) for key in _signing.list_keys(home)] == [
        (own.id, "own"),
        (friend.id, trusted.source),
        (robot.id, "AUTOCELERY_TRUSTED_KEYS"),
    ]


def test_an_exported_key_is_one_word_whatever_the_comment(home: Home) -> None:
    text = _signing.export_text(_signing.own_key(home), "ann, at\nthe: laptop")
    assert text.split() == [text]
    assert "," not in text
    assert _signing.parse_text(text, "here")[1] == "ann-at-the-laptop"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rubbish",
        "autocelery-ed25519:::",
        "autocelery-ed25519:AAAA:short",
        "autocelery-ed25519:!!!:no",
        "ssh-ed25519:AAAA:other",
    ],
)
def test_a_text_that_is_no_key_is_refused_without_repeating_it(home: Home, text: str) -> None:
    with pytest.raises(InvalidKey, match="autocelery keys export") as caught:
        _signing.trust_text(home, text)
    assert not text or text not in str(caught.value)
    assert not home.keys.exists()


def test_a_damaged_trusted_key_is_named(home: Home) -> None:
    folder = home.keys / "trusted"
    folder.mkdir(parents=True, mode=0o700)
    (folder / "ann.pub").write_text("# Ann\nautocelery-ed25519:AAAA\n")
    with pytest.raises(InvalidKey, match=r"ann\.pub"):
        _signing.trusted_keys(home)


def test_a_damaged_key_in_the_environment_is_named(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOCELERY_TRUSTED_KEYS", "rubbish")
    with pytest.raises(InvalidKey, match="AUTOCELERY_TRUSTED_KEYS"):
        _signing.trusted_keys(home)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")
@pytest.mark.parametrize("target", ["trusted", "trusted/ann.pub"])
def test_trusted_keys_that_others_can_change_are_refused(home: Home, tmp_path: Path, target: str) -> None:
    trusted = _signing.trust_text(home, _signing.export_text(another_key(tmp_path, "ann")))
    Path(trusted.source).rename(home.keys / "trusted" / "ann.pub")
    (home.keys / target).chmod(0o777)
    with pytest.raises(InvalidKey, match="chmod go-w"):
        _signing.trusted_keys(home)


def test_no_private_key_shows_in_a_repr(home: Home) -> None:
    key = _signing.own_key(home)
    assert repr(key) == f"SigningKey(id={key.id!r})"
