"""What a worker does with a message that was sent for another signature than its code has.

The policy is the task's: ``@app.task(signature="strict" | "tolerant" | "park")``. What can be settled is
settled before Celery's tracer, in the process that runs the task; parking is in ``parking``.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from celery import Celery
from celery.app.task import Task

from autocelery._celery import settling
from autocelery.errors import ConfigurationError, SignatureMismatch
from autocelery_host.header import BUILT_IN
from autocelery_host.shapes import SIGNATURE, Shape, read
from autocelery_host.stamping import shape_of_task

logger = logging.getLogger(__name__)

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
Upgrade = Callable[[tuple[Any, ...], dict[str, Any]], Any]

STRICT, TOLERANT, PARK = POLICIES = ("strict", "tolerant", "park")
_PARKING: Final = "autocelery._celery.parking:strategy"
#: How many kinds of settled calls a process remembers having told of.
_MOST_TOLD: Final = 1024

_told: set[tuple[str, str]] = set()


def install(app: Celery) -> None:
    """Give the tasks of ``app`` a policy for messages that were sent for another signature."""
    make, register = app._task_from_fun, app.register_task

    @functools.wraps(make)
    def declared(fun: Any, name: str | None = None, *args: Any, **options: Any) -> Task:
        return adopt(make(fun, name, *args, **_as_celery_has_them(options)))

    @functools.wraps(register)
    def registered(task: Any, **options: Any) -> Task:
        return adopt(register(task, **options))

    app._task_from_fun, app.register_task = declared, registered
    adopt_all(app)
    if not app.finalized:
        app.on_after_finalize.connect(lambda **_: adopt_all(app), weak=False)


def adopt_all(app: Celery) -> None:
    """Adopt the tasks that are there: declared before ``Autocelery(app)``, or put into the registry by hand."""
    for task in list(app._tasks.values()):
        adopt(task)


def adopt(task: Task) -> Task:
    """Settle what ``task`` is called with; a second time changes nothing. Celery's own tasks stay as they are.

    Raises:
        ConfigurationError: there is no such policy, or the upgrades are not numbered from 1.
    """
    kind = type(task)
    if task.name.startswith(BUILT_IN):
        return task
    # Celery made an option an attribute, over its own method; or a class has it so.
    if isinstance(vars(kind).get("signature"), str):
        kind.signature_policy = kind.signature
        del kind.signature
    _refuse_nonsense(task)
    # Of the task, not of its class: what inherits from that may have another policy.
    if policy_of(task) == TOLERANT:
        task.typing = False  # else a chain could not send it the result that it has no parameter for
    if policy_of(task) == PARK and task.Strategy == Task.Strategy:
        task.Strategy = _PARKING
    if not isinstance(vars(kind).get("__trace__"), property):
        tracer = task.__trace__
        kind.__trace__ = property(_tracer, _set_tracer)
        if tracer is not None:
            task.__trace__ = tracer
    return task


def _tracer(task: Task) -> Callable[..., Any] | None:
    """Return a task's tracer, which Celery reads for each call."""
    found: Callable[..., Any] | None = task.__dict__.get("_autocelery_tracer")
    return found


def _set_tracer(task: Task, tracer: Callable[..., Any] | None) -> None:
    """Take the tracer that Celery's worker assigns in each process."""
    task.__dict__["_autocelery_tracer"] = None if tracer is None else _settling(task, tracer)


def policy_of(task: Task) -> str:
    """Return a task's policy."""
    return str(getattr(task, "signature_policy", STRICT))


def fitting(task: Task, sent: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Arguments, str]:
    """Return the arguments of a message, upgraded if they are old, and why they do not fit; nothing if they do.

    Args:
        task: as this process has it.
        sent: the header with the shape that the message was sent for, or ``None``.
        args: the message's.
        kwargs: the message's.

    Raises:
        SignatureMismatch: an upgrade raises, or gives no arguments.
    """
    shape = shape_of_task(task)
    if shape is None:
        return (args, kwargs), ""
    known = read(sent)
    upgrades: Mapping[int, Upgrade] = getattr(task, "upgrade", None) or {}
    wrong = shape.misfit(args, kwargs)
    version = known.version if known is not None else 1
    if version < shape.version and (known is not None or wrong):
        for number in range(version, shape.version):
            args, kwargs = _upgraded(task, number, upgrades[number], args, kwargs)
        wrong = shape.misfit(args, kwargs)
    return (args, kwargs), wrong


def mismatch(task: Task, sent: object, wrong: str) -> SignatureMismatch:
    """Return the error that shows both signatures."""
    known, shape = read(sent), shape_of_task(task)
    was = f"It was sent for {known}" if known is not None else "It does not say what it was sent for"
    return SignatureMismatch(
        f"{task.name} cannot take this message: {wrong}. {was}; this worker has {shape}. Messages outlive code: "
        f'give a new parameter a default, or declare the task with signature="{TOLERANT}" or "{PARK}", or with '
        "upgrade={...} for old messages. `autocelery check` says so before the change is deployed."
    )


def _as_celery_has_them(options: dict[str, Any]) -> dict[str, Any]:
    """Return a task's options without ``signature``, which is the name of a method of Celery's."""
    if "signature" not in options:
        return options  # its base may say it
    kept = {name: value for name, value in options.items() if name != "signature"}
    return {**kept, "signature_policy": options["signature"]}


def _refuse_nonsense(task: Task) -> None:
    policy = getattr(task, "signature_policy", STRICT)
    if policy not in POLICIES:
        raise ConfigurationError(
            f"The task {task.name} has signature={policy!r}, which is no policy. "
            f"It is one of {', '.join(POLICIES)}."
        )
    upgrades = getattr(task, "upgrade", None) or {}
    if not isinstance(upgrades, Mapping) or sorted(upgrades) != list(range(1, len(upgrades) + 1)):
        raise ConfigurationError(
            f"The task {task.name} has upgrade={upgrades!r}. It maps the versions 1, 2, and so on, without a gap, to "
            "functions of args and kwargs that return both as the next version takes them."
        )


def _settling(task: Task, tracer: Callable[..., Any]) -> Callable[..., Any]:
    """Return Celery's ``tracer`` of a task behind what settles the arguments of messages.

    Here, and not around the task's function: no frame of ours is in what the task raises, and the
    request is made of what was settled, so that a retry sends that.
    """
    shape = shape_of_task(task)
    if shape is None:
        return tracer
    own, is_tolerant = str(shape), policy_of(task) == TOLERANT

    def trace(uuid: str, args: Any, kwargs: Any, request: dict[str, Any] | None = None) -> Any:
        if request is not None and (is_tolerant or request.get(SIGNATURE) != own):
            try:
                args, kwargs, request = _taken(task, shape, args, kwargs, request)
            except SignatureMismatch as exc:
                return _refusing(task, exc)(uuid, args, kwargs, request)
        return tracer(uuid, args, kwargs, request)

    return trace


def _taken(
    task: Task, shape: Shape, args: Any, kwargs: Any, request: dict[str, Any]
) -> tuple[Any, Any, dict[str, Any]]:
    sent, policy = request.get(SIGNATURE), policy_of(task)
    if sent is None and policy == STRICT and shape.version == 1:
        return args, kwargs, request  # of a stock producer, for a stock task: as Celery would
    (new_args, new_kwargs), wrong = fitting(task, sent, tuple(args), dict(kwargs))
    if wrong and policy == TOLERANT:
        new_args, new_kwargs, changes = settling.settled(shape.signature, new_args, new_kwargs)
        _tell_once(task, shape, sent, changes)
    elif wrong:
        raise mismatch(task, sent, wrong)
    return list(new_args), new_kwargs, {**request, SIGNATURE: str(shape)}


def _refusing(task: Task, error: SignatureMismatch) -> Callable[..., Any]:
    """Return a tracer in which the task raises ``error`` where it would run: its state, handlers and callbacks hold."""
    from celery.app.trace import build_tracer  # a producer never needs what it brings along

    def run(*_args: Any, **_kwargs: Any) -> Any:
        raise error

    kind = type(task)
    refusing = type(kind.__name__, (kind,), {"run": staticmethod(run), "__module__": kind.__module__})()
    tracer: Callable[..., Any] = build_tracer(task.name, refusing, task.app.loader, app=task.app)
    return tracer


def _upgraded(
    task: Task, number: int, upgrade: Upgrade, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Arguments:
    try:
        new_args, new_kwargs = upgrade(args, kwargs)
        return tuple(new_args), dict(new_kwargs)
    except Exception as exc:
        raise SignatureMismatch(
            f"The upgrade of {task.name} from version {number} of its signature failed on a message: "
            f"{type(exc).__name__}: {exc}. It takes args and kwargs, and returns both."
        ) from exc


def _tell_once(task: Task, shape: Shape, sent: object, changes: list[str]) -> None:
    told = (task.name, "; ".join(changes))
    if told in _told or len(_told) >= _MOST_TOLD:
        return
    _told.add(told)
    logger.warning(
        "%s was called as %s, and is %s here: %s. This is said once.",
        task.name,
        read(sent) or "another version of it",
        shape,
        told[1],
    )
