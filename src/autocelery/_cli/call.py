"""``autocelery call``: ship the working tree, run one task, print its result."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from autocelery._cli import printing
from autocelery._cli.shell import Shell, env_option, patience_with, taking_along
from autocelery._cli.watching import Watch
from autocelery.errors import AutoceleryError

if TYPE_CHECKING:
    from autocelery._publish.problems import Problem
    from autocelery._publish.requiring import RollCall


@click.command(
    epilog='Example: autocelery -A proj call proj.tasks.add 2 2 note="by hand"',
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option("--timeout", type=float, help="Seconds to wait for the result; default: as long as it takes.")
@click.option("--using", metavar="SNAPSHOT", help="Run this snapshot's code, not the working tree's.")
@click.option("--queue", help="Send it to this queue.")
@click.option("--detach", is_flag=True, help="Do not wait: print the call's id.")
@env_option
@click.option("--quiet", is_flag=True, help="Do not show what the task prints and logs.")
@click.option("--no-check", is_flag=True, help="Send it without asking first whether a worker would take it.")
@click.option("--json", "as_json", is_flag=True, help="Print id, snapshot, state and result as JSON.")
@click.argument("task")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def call(shell: Shell, /, task: str, arguments: tuple[str, ...], **options: Any) -> int:
    """Run TASK with ARGUMENTS on a worker, with the code in front of you, and print its result.

    An argument is JSON where it parses as that, else text; name=value is a keyword argument.
    The options come before TASK. What the task prints and logs goes to standard error, while it runs.
    """
    asked = Options(**options)
    with Watch(is_quiet=asked.quiet or asked.detach) as watch, taking_along(asked.env):
        sent, snapshot = _send(shell, task, arguments, asked, watch)
        if asked.detach:
            told = {"id": sent.id, "snapshot": snapshot}
            printing.as_json(told) if asked.as_json else printing.result(sent.id)
            return 0
        began = time.monotonic()
        value = _waited(sent, task, asked.timeout, watch)
    if asked.as_json:
        _print_json(sent, snapshot, value, time.monotonic() - began)
    elif sent.successful():
        printing.result(_written(value))
    return 0 if sent.successful() else _failed(sent, task, value)


@dataclass(frozen=True, slots=True)
class Options:
    """The options of ``call``."""

    timeout: float | None
    using: str | None
    queue: str | None
    env: tuple[str, ...]
    detach: bool
    quiet: bool
    no_check: bool
    as_json: bool


def _send(
    shell: Shell, task: str, arguments: tuple[str, ...], asked: Options, watch: Watch
) -> tuple[Any, str]:
    """Send the call, once it is known that it can run; return its result to be, and its snapshot."""
    from autocelery._publish import naming, problems, stores, variables

    auto = shell.auto()
    found = naming.task_named(auto.app, task)
    if not asked.detach:
        naming.require_backend(auto.app)
    positional, named = parse(arguments)
    _check(found, positional, named)
    is_unchecked = asked.no_check or auto.shipper.runs_here
    called = None if is_unchecked else _called(found, positional, named, asked)
    if called is not None:
        _warn(problems.of_new_folder(stores.address(auto.shipper.store.url)))
    if not asked.using:
        variables.values_of(auto.shipper.env())  # before anything is sent
    snapshot = auto.found(asked.using) if asked.using else auto.source(found)
    if called is not None:  # now: while the tree was shipped, all workers had time to answer
        _warn(problems.of_live_task(each) for each in called.failing())
    options = {"queue": asked.queue} if asked.queue else {}
    with watch.sending(auto):
        return found.using(snapshot).apply_async(positional, named, **options), snapshot.id


def _called(task: Any, positional: list[Any], named: dict[str, Any], asked: Options) -> RollCall:
    """Ask the workers for one that would take the call."""
    from autocelery._publish import naming, requiring

    queue = naming.queue_of(task, positional, named, asked.queue)
    return requiring.require_worker(task.app, patience_with(task.app), queue)


def _warn(found: Iterable[Problem]) -> None:
    for problem in found:
        printing.note(f"Warning: {problem.what} {problem.mend}")


def _check(task: Any, positional: list[Any], named: dict[str, Any]) -> None:
    """Refuse arguments that the task does not take, before anything is shipped."""
    header = getattr(task, "__header__", None)  # a class that was registered has none
    if not task.typing or header is None:
        return
    try:
        header(*positional, **named)
    except TypeError as error:
        raise AutoceleryError(
            f"{error}. Nothing was sent. Each word is one argument, name=value a named one; "
            "options of this command come before the task."
        ) from None


def parse(arguments: tuple[str, ...]) -> tuple[list[Any], dict[str, Any]]:
    """Return the positional and the keyword arguments that a shell's words stand for.

    >>> parse(("2", "two", "[1]", "by=3"))
    ([2, 'two', [1]], {'by': 3})
    """
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for word in arguments:
        name, equals, text = word.partition("=")
        if equals and name.isidentifier():
            named[name] = _value(text)
        else:
            positional.append(_value(word))
    return positional, named


def _value(word: str) -> Any:
    try:
        return json.loads(word, parse_constant=_refuse)
    except ValueError:
        return word


def _refuse(constant: str) -> Any:
    """NaN and Infinity are words, not JSON."""
    raise ValueError(constant)


def _waited(sent: Any, task: str, timeout: float | None, watch: Watch) -> Any:
    from celery.exceptions import TimeoutError as ResultTimeout

    from autocelery._publish.naming import options_of

    try:
        return watch.result(sent, timeout)
    except ResultTimeout:
        raise AutoceleryError(
            f"{task} has given no result in {timeout:g} s. It may be waiting for a free worker, or still run, as "
            f"{sent.id}. Get its result later with: celery {options_of(sent.app)} result {sent.id}"
        ) from None
    except KeyboardInterrupt:
        if watch.wants_it_revoked():
            sent.revoke(terminate=True)
            printing.note(f"The call {sent.id} is revoked.")
        else:
            ending = f"celery {options_of(sent.app)} control terminate TERM {sent.id}"
            printing.note(f"The call goes on as {sent.id}. To end it: {ending}")
        raise


def _failed(sent: Any, task: str, error: object) -> int:
    if isinstance(error, AutoceleryError):
        raise error
    if sent.traceback:
        printing.note(str(sent.traceback).rstrip())
    printing.error(f"{task} ended as {sent.state}: {type(error).__name__}: {error}")
    return 1


def _written(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        return str(value)


def _print_json(sent: Any, snapshot: str, value: object, seconds: float) -> None:
    outcome = {"result": value} if sent.successful() else {"error": f"{type(value).__name__}: {value}"}
    told = {"id": sent.id, "snapshot": snapshot, "state": sent.state, "seconds": round(seconds, 3)}
    printing.as_json({**told, **outcome})
