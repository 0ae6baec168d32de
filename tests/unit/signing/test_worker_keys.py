"""What a user can rely on about workers' keys."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from autocelery import _config, _signing
from autocelery._cli.root import autocelery
from autocelery._config import Home
from autocelery._signing import worker_keys
from autocelery.errors import InvalidKey

PRINT_OWN_KEY = """
import sys
from pathlib import Path
from autocelery._config import Home
from autocelery._signing import worker_keys
sys.stdin.readline()
print(worker_keys.own_key(Home(Path(sys.argv[1]), Path(sys.argv[1]))).id)
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(keys=tmp_path / "keys", cache=tmp_path / "cache")


def text_of_another(tmp_path: Path, name: str) -> str:
    return worker_keys.export_text(worker_keys.own_key(Home(tmp_path / name, tmp_path)), name)


def test_it_is_made_on_first_use_kept_and_readable_by_its_owner_only(home: Home) -> None:
    assert worker_keys.own_key(home).id == worker_keys.own_key(home).id
    assert (home.keys / "worker.key").stat().st_mode & 0o777 == 0o600
    (home.keys / "worker.key").chmod(0o640)
    with pytest.raises(InvalidKey, match="chmod 600"):
        worker_keys.own_key(home)


def test_five_processes_at_once_all_get_the_same_key(home: Home) -> None:
    command = [sys.executable, "-c", PRINT_OWN_KEY, str(home.keys)]
    racers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(5)
    ]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("\n")
        racer.stdin.flush()
    told = [racer.communicate()[0].strip() for racer in racers]
    assert set(told) == {worker_keys.own_key(home).id}


def test_recipients_are_the_own_key_and_those_that_were_trusted_by_hand_and_no_others(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = worker_keys.own_key(home).id
    assert [each.id for each in worker_keys.recipients(home)] == [own]
    trusted = worker_keys.trust_text(home, text_of_another(tmp_path, "trusted"))
    named, again = text_of_another(tmp_path, "named"), text_of_another(tmp_path, "trusted")
    monkeypatch.setenv("AUTOCELERY_WORKER_KEYS", f"{named},{again}")
    found = worker_keys.recipients(home)
    assert [each.source for each in found] == ["own", trusted.source, "AUTOCELERY_WORKER_KEYS"]
    assert [each.comment for each in found[1:]] == ["trusted", "named"]


def test_a_key_that_others_could_have_changed_is_refused(home: Home, tmp_path: Path) -> None:
    path = Path(worker_keys.trust_text(home, text_of_another(tmp_path, "there")).source)
    path.chmod(0o666)
    with pytest.raises(InvalidKey, match="others can change it"):
        worker_keys.recipients(home)
    path.chmod(0o644)
    path.parent.chmod(0o777)
    with pytest.raises(InvalidKey, match="others can put keys into it"):
        worker_keys.recipients(home)


def test_a_text_that_is_no_key_of_a_worker_is_refused_without_repeating_it(
    home: Home, tmp_path: Path
) -> None:
    author = _signing.export_text(_signing.own_key(Home(tmp_path / "author", tmp_path)))
    for text in (author, "autocelery-x25519:AAAA:short", "autocelery-x25519:s3cr3t!", ""):
        with pytest.raises(InvalidKey, match="export --worker") as caught:
            worker_keys.trust_text(home, text)
        assert "s3cr3t" not in caught.value.message
    (home.keys / "worker.key").parent.mkdir(parents=True, exist_ok=True)
    (home.keys / "worker.key").touch(mode=0o600)
    with pytest.raises(InvalidKey, match="X25519"):
        worker_keys.own_key(home)


def test_the_command_keeps_authors_and_workers_apart(autocelery_home: Path, tmp_path: Path) -> None:
    def said(*arguments: str) -> str:
        return CliRunner().invoke(autocelery, arguments, catch_exceptions=False).output

    exported = said("keys", "export", "--worker", "--comment", "here").strip()
    assert exported.startswith("autocelery-x25519:")
    assert worker_keys.own_key(_config.home()).id in said("keys", "list", "--worker")
    there = worker_keys.own_key(Home(tmp_path / "there", tmp_path))
    assert there.id in said("keys", "trust", worker_keys.export_text(there, "there"))
    assert there.id in said("keys", "list", "--worker")
    assert there.id not in said("keys", "list")
    assert not _signing.trusted_keys(_config.home()).keys() & {there.id}
