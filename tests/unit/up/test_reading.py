"""The tables of processes and queues: what they mean, and what is said of those that make no sense."""

from __future__ import annotations

from pathlib import Path

import pytest

from autocelery._up.reading import find, plan_of, queues_of
from autocelery.errors import UpInvalid

QUEUES = """
[queues]
hello = { tasks = ["proj.tasks.say_hello"], workers = 2 }
reports = { tasks = ["proj.reports.*"], workers = 1, priority = 3 }
"""


def written(folder: Path, text: str, name: str = "autocelery.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_line_of_queues_is_a_worker_and_another_takes_the_rest(tmp_path: Path) -> None:
    plan = plan_of(written(tmp_path, f'{QUEUES}\n[up]\napp = "proj"\nbeat = true\n'))
    by_name = {each.name: each for each in plan.processes}
    assert list(by_name) == ["worker_hello", "worker_reports", "worker_default", "beat"]
    assert by_name["worker_hello"].command[-6:] == ("-Q", "hello", "-c", "2", "-l", "INFO")
    assert by_name["worker_default"].command[-4:-2] == ("-X", "hello,reports")
    assert [by_name[name].niceness for name in ("worker_reports", "worker_hello")] == [0, 3]


def test_a_line_of_the_default_queue_is_the_worker_that_takes_the_rest(tmp_path: Path) -> None:
    queues = f"{QUEUES}celery = {{ workers = 3 }}\n"
    plan = plan_of(written(tmp_path, f'{queues}\n[up]\napp = "proj"\n'))
    assert [each.name for each in plan.processes] == ["worker_hello", "worker_reports", "worker_celery"]
    nobodys = queues.replace("workers = 3", "workers = 0")
    plan = plan_of(written(tmp_path, f'{nobodys}\n[up]\napp = "proj"\n'))
    assert [each.name for each in plan.processes][-1] == "worker_default"
    assert plan.processes[-1].command[-4:-2] == ("-X", "hello,reports")


def test_a_worker_that_lists_a_queue_is_the_one_that_listens_to_it(tmp_path: Path) -> None:
    text = f"""{QUEUES}
    [up]
    app = "proj"
    [up.workers.big]
    queues = ["hello", "celery"]
    autoscale = [2, 8]
    memory_limit = "512m"
    options = ["--max-tasks-per-child=100"]
    """
    plan = plan_of(written(tmp_path, text))
    assert [each.name for each in plan.processes] == ["worker_big", "worker_reports", "worker_default"]
    big = plan.processes[0]
    assert big.memory_limit == 512 << 20
    assert big.command[-5:] == ("-Q", "hello,celery", "--autoscale", "8,2", "--max-tasks-per-child=100")


def test_a_worker_that_lists_none_takes_the_rest_and_what_no_other_listens_to(tmp_path: Path) -> None:
    queues = QUEUES + "nobodys = { tasks = ['proj.other'], workers = 0 }\n"
    plan = plan_of(written(tmp_path, f'{queues}\n[up]\napp = "proj"\n[up.workers.main]\nconcurrency = 3\n'))
    by_name = {each.name: each for each in plan.processes}
    assert list(by_name) == ["worker_main", "worker_hello", "worker_reports"]
    assert by_name["worker_main"].command[-4:] == ("-X", "hello,reports", "-c", "3")


def test_processes_start_after_those_that_they_need(tmp_path: Path) -> None:
    text = """
    [up.processes]
    web = { command = "gunicorn 'a b'", after = ["cache"], environment = { PORT = "80" } }
    cache = { command = ["redis-server", "-"] }
    """
    plan = plan_of(written(tmp_path, text))
    assert [each.name for each in plan.processes] == ["cache", "web"]
    assert plan.processes[1].command == ("gunicorn", "a b")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[up]\napp = ", r"autocelery\.toml is no TOML: .*\(at line 2, column \d+\)"),
        ("[up]\nbeat = true", "up.app is missing"),
        ("[up]\nap = 'proj'", "up.ap is not known here, did you mean 'app'"),
        ("[up.workers.x]\nqueue = 1", "up.workers.x.queue is not known here, did you mean 'queues'"),
        ("[up]\napp='p'\n[up.workers.x]\nconcurrency = 0", "concurrency is 0, and no number from 1"),
        (
            "[up]\napp='p'\n[up.workers.x]\nautoscale = [8, 2]",
            "autoscale is .8, 2., and not the least and the most",
        ),
        ("[up]\napp='p'\n[up.workers.x]\nmemory_limit = 'lots'", "memory_limit is 'lots', and no size"),
        ("[up.processes.a]\ncommand=''", "up.processes.a.command is missing"),
        ('[up.processes.a]\ncommand="\'x"', "up.processes.a.command is no command: no closing quotation"),
        ("[up.processes.a]\ncommand='x'\npriority=1", "up.processes.a.priority is not known here"),
        ("[up.processes]\na = 1", "processes.a is 1, and no table"),
        ("[up.processes.a]\ncommand='x'\nafter=['b']", "a.after names 'b'"),
        (
            "[up.processes.a]\ncommand='x'\nafter=['b']\n[up.processes.b]\ncommand='x'\nafter=['a']",
            "goes in a circle: [ab] after [ab]",
        ),
        ("[up]\nhttp = 'nowhere'", "up.http is 'nowhere', and not like 127.0.0.1:8001"),
        ("[queues]\nq = { workers = -1 }", "queues.q.workers is -1"),
        ("[queues]\nq = { tasks = 'proj.x' }", "queues.q.tasks is 'proj.x', and no list of texts"),
        ("[up]\nstop_seconds = 'soon'", "up.stop_seconds is 'soon'"),
    ],
)
def test_what_makes_no_sense_is_named_with_file_and_key(tmp_path: Path, text: str, said: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UpInvalid, match=said) as raised:
        plan_of(path)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize(
    ("line", "says_ready"),
    [
        ("", True),
        ("loglevel = 'debug'", True),
        ("loglevel = 'WARNING'", False),
        ("options = ['-fw.log']", False),
    ],
)
def test_a_worker_whose_log_does_not_say_so_is_ready_as_others_are(
    tmp_path: Path, line: str, says_ready: bool
) -> None:
    plan = plan_of(written(tmp_path, f"[up]\napp = 'proj'\n[up.workers.x]\n{line}\n"))
    assert [each.says_ready for each in plan.processes] == [says_ready]


def test_the_tables_may_stand_in_pyproject(tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    written(tmp_path, '[tool.autocelery.queues]\nhello = { tasks = ["a"] }\n', "pyproject.toml")
    written(folder, "[project]\nname = 'x'\n", "pyproject.toml")
    assert [each.name for each in queues_of(find(folder))] == ["hello"]
    written(tmp_path, "[tool.autocelery.up]\nap = 1\n", "pyproject.toml")
    with pytest.raises(UpInvalid, match=r"tool\.autocelery\.up\.ap is not known"):
        plan_of(find(folder))


def test_without_a_table_it_says_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(UpInvalid, match=r"The least is one line: \[tool.autocelery.up\]"):
        find(tmp_path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[qeues]\n", r"autocelery\.toml: qeues is not known here, did you mean 'queues'"),
        ("env = ['HOME']\n", r"env is not known here.* below \[tool\.autocelery\] in pyproject\.toml"),
        ("[doctor]\nignore = ['AC110']\n", r"doctor is not known here.* pyproject\.toml"),
    ],
)
def test_what_a_file_of_its_own_does_not_hold_is_said_and_not_passed_over(
    tmp_path: Path, text: str, says: str
) -> None:
    with pytest.raises(UpInvalid, match=says):
        queues_of(written(tmp_path, text))


def test_tables_in_both_files_are_refused_unless_they_say_the_same(tmp_path: Path) -> None:
    path = written(tmp_path, QUEUES)
    same = QUEUES.replace("[queues]", "[tool.autocelery.queues]")
    for text in ("[tool.autocelery]\nenv = ['HOME']\n", same):
        written(tmp_path, text, "pyproject.toml")
        assert len(queues_of(path)) == 2
    written(tmp_path, same.replace("reports", "mails"), "pyproject.toml")
    with pytest.raises(UpInvalid, match=r"autocelery\.toml is read, and .* pyproject\.toml beside it"):
        queues_of(path)
