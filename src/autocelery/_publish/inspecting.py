"""What the workers are: asked before anything is sent."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError

from autocelery._celery.unreachable import broker_gone
from autocelery._env.comparing import Need

#: The inspect command that asks a worker what it can run.
REPORT = "autocelery"
_ENVIRONMENT = "autocelery_environment"
#: Seconds that workers have to ask their package index.
ENVIRONMENT_SECONDS = 15.0
#: Seconds that they have to answer at all, and between two rounds of asking.
_ROUND_SECONDS, _POLL_SECONDS = 2.0, 0.3
#: Seconds for a worker that is there and did not answer in time: the first report of one takes longest.
PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """One worker; ``autocelery`` is its version there, ``None`` where it has none.

    ``packages`` are those that are installed, by their canonical names;
    ``builds`` says with what it builds environments: ``uv``, ``no uv`` or
    ``never``; ``needs`` is what its Celery requires.
    ``worker_key`` is the id of the key that variables have to be encrypted to.
    ``lacks_variables`` are those that it was asked for and that its environment has not.
    ``refusal`` is why it runs no live calls though it has autocelery, and the mend.
    ``node`` is its machine's name, ``store`` the address of its blob store,
    or else ``store_problem`` why it has none.
    """

    hostname: str
    autocelery: str | None = None
    python: str = ""
    celery: str = ""
    pool: str = ""
    refusal: str = ""
    node: str = ""
    queues: tuple[str, ...] = ()
    packages: tuple[tuple[str, str], ...] = ()
    builds: str = "never"
    needs: tuple[Need, ...] = ()
    trusted_keys: tuple[str, ...] = ()
    worker_key: str = ""
    lacks_variables: tuple[str, ...] = ()
    store: str = ""
    store_problem: str = ""
    problem: str = ""

    @property
    def runs_live_calls(self) -> bool:
        """Whether it has autocelery, and does not refuse every live call."""
        return self.autocelery is not None and not self.refusal


def workers(app: Celery, timeout: float = 1.0, variables: Sequence[str] = ()) -> list[WorkerReport]:
    """Return every worker that answers within ``timeout`` seconds, with or without autocelery.

    Args:
        app: whose broker is asked.
        timeout: seconds that workers have to answer.
        variables: names of environment variables; each worker says which of them it lacks.

    Raises:
        BrokerUnavailable: the broker cannot be reached.
    """
    with ThreadPoolExecutor(2) as pool:
        pings = pool.submit(ask, app, "ping", timeout)
        asked = {"variables": list(variables)} if variables else {}
        reports = pool.submit(ask, app, REPORT, timeout, arguments=asked)
        try:
            alive, told = pings.result(), reports.result()
        except (OperationalError, OSError) as exc:
            raise broker_gone(app, exc, "no worker can be asked") from exc
        late = sorted(alive.keys() - told.keys())
        if late:  # one without autocelery says so; one that says nothing is busy
            told |= ask(app, REPORT, PATIENCE, arguments=asked, destination=late)
    return [report_of(name, told.get(name)) for name in sorted({*alive, *told})]


def environments(
    app: Celery, hostnames: list[str], lock: str, python: str, timeout: float = ENVIRONMENT_SECONDS
) -> dict[str, dict[str, Any]]:
    """Return, by the names of workers, which environment a snapshot gets there and what it takes to build it.

    A worker asks its package index for that, meanwhile it is asked again. Who has not found
    out within the time, or is of an older release, is not among them.

    Args:
        app: the workers'.
        hostnames: whom to ask.
        lock: the packages that the snapshot needs, as its blob has them.
        python: the minor version that it is made with.
        timeout: seconds for all of them.
    """
    known: dict[str, dict[str, Any]] = {}
    waiting, until = list(hostnames), time.monotonic() + timeout
    while waiting and time.monotonic() < until:
        began = time.monotonic()
        replies = app.control.broadcast(
            _ENVIRONMENT,
            arguments={"lock": lock, "python": python},
            destination=waiting,
            reply=True,
            timeout=min(_ROUND_SECONDS, until - began),
            limit=len(waiting),
        )
        answers = {name: told for reply in replies or () for name, told in reply.items()}
        known |= {name: told for name, told in answers.items() if told.get("state", "pending") != "pending"}
        waiting = [each for each in waiting if each not in known]
        if waiting:
            time.sleep(max(0.0, _POLL_SECONDS - (time.monotonic() - began)))
    return known


def report_of(hostname: str, told: dict[str, Any] | None) -> WorkerReport:
    """Return what a worker answered to `REPORT`; one without autocelery does not know the command."""
    if not told or "autocelery" not in told:
        return WorkerReport(hostname)
    return WorkerReport(
        hostname=hostname,
        autocelery=told["autocelery"],
        python=told["python"],
        celery=told["celery"],
        pool=told["pool"],
        refusal=told.get("refusal", ""),
        node=told.get("node", ""),
        queues=tuple(sorted(told.get("queues", ()))),
        packages=tuple(sorted(told["packages"].items())),
        builds=told.get("builds", "never"),
        needs=tuple(Need(*each) for each in told.get("needs", ())),
        trusted_keys=tuple(told["trusted_keys"]),
        worker_key=told.get("worker_key", ""),
        lacks_variables=tuple(told.get("lacks_variables", ())),
        store=told["store"],
        store_problem=told.get("store_problem", ""),
        problem=told["problem"],
    )


def ask(
    app: Celery,
    command: str,
    timeout: float,
    hear: Callable[[dict[str, Any]], None] | None = None,
    arguments: dict[str, Any] | None = None,
    destination: list[str] | None = None,
) -> dict[str, Any]:
    """Return what workers answer, by their names, until the time is up or all of ``destination`` have answered.

    Args:
        app: whose broker is asked.
        command: of remote control.
        timeout: seconds that workers have to answer.
        hear: gets each answer as it comes.
        arguments: of the command.
        destination: whom to ask; by default all.
    """
    answers: dict[str, Any] = {}

    def take(reply: dict[str, Any]) -> None:
        answers.update(reply)
        if hear is not None:
            hear(reply)

    app.control.broadcast(
        command,
        destination=destination,
        arguments=arguments,
        reply=True,
        timeout=timeout,
        limit=len(destination) if destination else None,
        callback=take,
    )
    return answers
