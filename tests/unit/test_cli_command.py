"""The command line as a whole: help, exit codes, and what goes to stdout and to stderr."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

from autocelery._cli import root
from autocelery._cli.root import autocelery


def commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    """Every command below ``group`` with the words that call it."""
    found: list[tuple[tuple[str, ...], click.Command]] = []
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        found.append(((*path, name), command))
        if isinstance(command, click.Group):
            found += commands(command, (*path, name))
    return found


@pytest.mark.parametrize(
    "words", [pytest.param(words, id=" ".join(words)) for words, _ in commands(autocelery)]
)
def test_the_help_of_every_command_has_an_example(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert root.run([*words, "--help"]) == root.DONE
    shown = capsys.readouterr().out
    assert "Example: autocelery" in shown
    assert " ".join(words) in shown


def test_the_help_imports_no_command() -> None:
    script = (
        "import sys\nfrom autocelery._cli.root import run\nrun(['--help'])\n"
        "print([n for n in sys.modules if n.startswith(('rich', 'autocelery._cli.keys'))])"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert shown.stdout.rstrip().endswith("[]")


def test_wrong_usage_exits_with_2_and_says_where_the_global_options_belong(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert root.run(["keys", "list", "-A", "proj"]) == root.WRONG_USAGE
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "-A comes before the command" in shown.err
    assert root.run(["no-such-command"]) == root.WRONG_USAGE


def test_a_failure_exits_with_1_and_one_readable_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], autocelery_home: Path
) -> None:
    assert root.run(["keys", "trust", "nonsense"]) == root.FAILED
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("Error: ")
    assert "Traceback" not in shown.err
    assert root.run(["--debug", "keys", "trust", "nonsense"]) == root.FAILED
    assert "Traceback" in capsys.readouterr().err


def test_a_key_made_here_can_be_exported_and_trusted_there(
    capsys: pytest.CaptureFixture[str], autocelery_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert root.run(["keys", "create"]) == root.DONE
    made = capsys.readouterr().out.strip()
    assert root.run(["keys", "create", "--json"]) == root.DONE
    assert json.loads(capsys.readouterr().out)["created"] is False
    assert root.run(["keys", "export", "--comment", "anna"]) == root.DONE
    text = capsys.readouterr().out.strip()

    monkeypatch.setenv("AUTOCELERY_HOME", str(tmp_path / "there"))
    assert root.run(["keys", "trust", text]) == root.DONE
    assert capsys.readouterr().out.strip() == made
    assert root.run(["keys", "list", "--json"]) == root.DONE
    listed = json.loads(capsys.readouterr().out)
    assert [(key["id"], key["comment"], key["key"]) for key in listed] == [(made, "anna", text)]
    assert root.run(["keys", "list"]) == root.DONE
    assert made in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["keys"], ["snapshots"]], ids=" ".join)
def test_a_group_without_a_command_shows_its_help_and_no_error(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert root.run([*words, "--help"]) == root.DONE
    help_text = capsys.readouterr().out
    root.run(words)  # its exit code is click's: 2, or 0 before 8.2
    shown = capsys.readouterr()
    assert (shown.out + shown.err).rstrip() == help_text.rstrip()


def test_debug_counts_before_the_command_and_is_an_argument_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert root.run(["-A", "nowhere", "call", "tasks.add", "--debug"]) == root.FAILED
    assert capsys.readouterr().err.startswith("Error: There is no module nowhere")
    assert root.run(["--debug", "-A", "nowhere", "call", "tasks.add"]) == root.FAILED
    assert "Traceback" in capsys.readouterr().err


def test_call_runs_the_task_here_where_there_is_no_broker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "bakery.py").write_text(
        "from autocelery.presets.fastapi import celery_app\n\napp = celery_app('bakery', debug=True)\n\n\n"
        "@app.task\ndef add(a, b):\n    return a + b\n"
    )
    command = [sys.executable, "-m", "autocelery", "-A", "bakery", "call", "bakery.add", "2", "3"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "5\n"), done.stderr
