"""Rules on how tasks are sent, and with what."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from autocelery._doctor.evidence import Evidence
from autocelery._doctor.finding import Place, Sight
from autocelery._doctor.rule import rule
from autocelery._doctor.source.models import is_object, model_names
from autocelery._doctor.source.module import Module, dotted, keyword
from autocelery._doctor.source.sends import SENDING, Send, as_send, known_tasks, message_option, sends_in
from autocelery_host.shapes import misfit

_ON_COMMIT = frozenset({"delay_on_commit", "apply_async_on_commit"})
#: How Python and the frameworks show an object: `<Order: Order object (1)>`, `<User 7>`.
_SHOWN_OBJECT = re.compile(
    r"<(?:[\w.]+: [^<>]*|[A-Z]\w* object(?: \(\w+\))?|[\w.]+ object at 0x[0-9a-f]+|QuerySet \[)"
)
#: What a pickle of a model holds.
_PICKLED_MODEL = (b"django.db.models.base", b"model_unpickle", b"sqlalchemy.orm.state", b"_sa_instance_state")
_SECRET = re.compile(
    r"(^|_)(password|passwd|secret|api_?key|private_key|access_token|credit_card)$", re.IGNORECASE
)
_LOCAL_NOW = frozenset({"datetime.datetime.now", "datetime.now", "datetime.datetime.today", "datetime.today"})
_BULK = frozenset({"read", "read_bytes", "read_text", "getvalue"})
#: Bytes from which a message is a large one.
_LARGE = 256 * 1024

_WHY_NO_OBJECTS = (
    "By the time the task runs the row may have changed: it works on what was true when it was sent, and writes that "
    "back. JSON refuses such objects; pickle carries the whole row, and anything it refers to."
)


@rule(
    "AC050",
    "An object of the database as an argument",
    level="error",
    since="every version",
    why=_WHY_NO_OBJECTS,
    fix="Send the primary key, task.delay(order.pk), and read the row in the task.",
)
def objects_sent(evidence: Evidence) -> Iterator[Sight]:
    """See models and queries among the arguments."""
    models = frozenset(name for module in evidence.source.modules for name in model_names(module))
    for send in sends_in(evidence.source, evidence.tasks):
        for argument in send.arguments():
            if is_object(send.module, argument, models):
                shown = ast.unparse(argument)
                yield Sight(
                    send.place, f"{shown} is an object of the database, and is sent to {_named(send)}."
                )


def _named(send: Send) -> str:
    return send.task.name if send.task else dotted(send.call.func).rpartition(".")[0] or "a task"


@rule(
    "AC051",
    "An object of the database in a queue",
    level="error",
    since="every version",
    why=_WHY_NO_OBJECTS,
    fix="Send the primary key instead; messages that are queued already run as they are.",
)
def objects_queued(evidence: Evidence) -> Iterator[Sight]:
    """See objects in the messages that wait; they are looked at, not taken."""
    view = evidence.broker_view
    seen = set()
    for message in view.messages if view is not None else ():
        shown = _SHOWN_OBJECT.search(message.arguments_shown)
        if (shown or any(part in message.body for part in _PICKLED_MODEL)) and message.task not in seen:
            seen.add(message.task)
            what = shown.group() if shown else "a pickled model"
            yield Sight(Place(f"queue {message.queue}"), f"A message for {message.task} carries {what}.")


@rule(
    "AC052",
    "Sent before the transaction is committed",
    level="warning",
    since="every version; delay_on_commit came with Celery 5.4",
    why="The worker may start before the commit: the row that it was sent for is not there yet, or is the old one. If "
    "the transaction is rolled back, the task runs all the same.",
    fix="task.delay_on_commit(...), or transaction.on_commit(lambda: task.delay(...)).",
)
def inside_transaction(evidence: Evidence) -> Iterator[Sight]:
    """See sends inside ``with transaction.atomic()`` that are not put off."""
    if evidence.settings.get("task_delay_on_commit"):
        return
    for send in sends_in(evidence.source, evidence.tasks):
        if send.task is None or send.method not in SENDING - _ON_COMMIT:
            continue
        function = send.module.function_around(send.call)
        for around in send.module.around(send.call):
            if isinstance(around, ast.Lambda) or (around is function and not _is_atomic(send, around)):
                break
            if _is_atomic(send, around):
                yield Sight(send.place, f"{send.task.name} is sent before the transaction is committed.")
                break


def _is_atomic(send: Send, node: ast.AST) -> bool:
    if isinstance(node, ast.With):
        made = [item.context_expr for item in node.items]
    elif isinstance(node, ast.FunctionDef):
        made = node.decorator_list
    else:
        return False
    named = [send.module.meaning(each.func if isinstance(each, ast.Call) else each) for each in made]
    return any(name in ("django.db.transaction.atomic", "transaction.atomic") for name in named)


@rule(
    "AC053",
    "A local time as the ETA",
    level="warning",
    since="every version",
    why="A time without a zone is taken for one of the app's time zone, which is UTC unless set. datetime.now() is the "
    "machine's own clock: the task is due hours too early or too late.",
    fix="countdown=..., or datetime.now(timezone.utc) + timedelta(...).",
)
def naive_eta(evidence: Evidence) -> Iterator[Sight]:
    """See ``eta=datetime.now() + ...``."""
    if evidence.django_zone and evidence.django_zone == evidence.settings.get("timezone"):
        return  # Django makes its zone that of its processes
    for module, call in evidence.source.calls():
        eta = message_option(call, "eta")
        if eta is not None and _is_local_time(module, eta):
            place = Place("", module.shown, eta.lineno)
            yield Sight(place, f"eta={ast.unparse(eta)} has no time zone.")


def _is_local_time(module: Module, node: ast.expr) -> bool:
    """Whether an expression is ``datetime.now()``, or that with something added or replaced, but for its zone."""
    if isinstance(node, ast.BinOp):
        return _is_local_time(module, node.left) or _is_local_time(module, node.right)
    if not isinstance(node, ast.Call):
        return False
    if isinstance(node.func, ast.Attribute) and node.func.attr == "replace":
        return keyword(node, "tzinfo") is None and _is_local_time(module, node.func.value)
    return module.meaning(node.func) in _LOCAL_NOW and not node.args and not node.keywords


@rule(
    "AC054",
    "A chain whose task cannot take what its parent returns",
    level="error",
    since="every version",
    why="In a chain each task gets the result of the one before as its first argument, before its own. A task that has "
    "no place for it fails with TypeError when its turn comes.",
    fix="Use .si(...) for a task that does not want the result, or give it a first parameter for it.",
)
def chain_does_not_fit(evidence: Evidence) -> Iterator[Sight]:
    """See ``chain(a.s(), b.s(...))`` and ``a.s() | b.s(...)`` where b takes too few arguments."""
    known = known_tasks(evidence.tasks)
    for module in evidence.source.modules:
        for node in ast.walk(module.tree):
            for following in _followers(
                module.meaning(node.func) if isinstance(node, ast.Call) else "", node
            ):
                send = as_send(module, following, known)
                if send is None or send.method == "si" or send.task is None or _is_immutable(send):
                    continue
                problem = _misfit(send, extra=1)
                if problem:
                    yield Sight(send.place, f"{send.task.name} cannot take its parent's result: {problem}.")


def _followers(name: str, node: ast.AST) -> list[ast.expr]:
    """Return what comes second and later in a chain."""
    if isinstance(node, ast.Call) and name in ("celery.chain", "celery.canvas.chain"):
        given: list[ast.expr] = list(node.args)
        if len(given) == 1 and isinstance(given[0], ast.List | ast.Tuple):
            given = list(given[0].elts)
        return given[1:]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return [node.right]
    return []


def _is_immutable(send: Send) -> bool:
    said = send.option("immutable")
    return isinstance(said, ast.Constant) and bool(said.value)


def _misfit(send: Send, extra: int = 0) -> str:
    """Return why a task cannot be called as it is sent; empty where it can, or nobody can tell."""
    positional, named = send.positional, send.named
    signature = send.task.signature if send.task and not send.task.is_tolerant else None
    if positional is None or named is None or signature is None:
        return ""
    return misfit(signature, [None] * (extra + len(positional)), dict.fromkeys(named))


@rule(
    "AC055",
    "Arguments that the task does not take",
    level="error",
    since="every version; checked where it is sent since Celery 4.0",
    why="The call fails with TypeError: where it is sent, or, with typing=False and by name, on the worker.",
    fix="Give the task what it takes.",
)
def wrong_arguments(evidence: Evidence) -> Iterator[Sight]:
    """See sends with too many, too few or unknown arguments."""
    for send in sends_in(evidence.source, evidence.tasks):
        if send.task is not None and send.method in SENDING:
            problem = _misfit(send)
            if problem:
                yield Sight(
                    send.place, f"{send.task.name} is sent with other arguments than it takes: {problem}."
                )


@rule(
    "AC056",
    "An argument that JSON does not carry",
    level="error",
    since="Celery 4.0, where JSON became the serializer",
    why="Sets, functions, generators and open files are not JSON: the call fails with EncodeError where it is sent.",
    fix="Send a list, a path or a key.",
)
def not_json(evidence: Evidence) -> Iterator[Sight]:
    """See literals among the arguments that are no JSON."""
    kinds = {
        ast.Set: "a set",
        ast.SetComp: "a set",
        ast.Lambda: "a function",
        ast.GeneratorExp: "a generator",
    }
    for send in sends_in(evidence.source, evidence.tasks):
        if send.task is None or send.option("serializer") is not None or send.task.task.serializer != "json":
            continue
        for argument in send.arguments():
            kind = kinds.get(type(argument), "")
            if isinstance(argument, ast.Call) and dotted(argument.func) in (
                "set",
                "frozenset",
                "open",
                "map",
                "filter",
            ):
                kind = f"what {dotted(argument.func)}() returns"
            if kind:
                yield Sight(send.place, f"{send.task.name} is sent {kind}, which is no JSON.")


@rule(
    "AC057",
    "A secret as an argument",
    level="warning",
    since="every version",
    why="Arguments are in the broker, in the result backend with result_extended, in events, and with that in every "
    "monitor and many logs.",
    fix="Send a reference and read the secret in the task; argsrepr= and kwargsrepr= hide it from events and logs.",
)
def secrets_sent(evidence: Evidence) -> Iterator[Sight]:
    """See arguments that are called password, secret and the like."""
    for send in sends_in(evidence.source, evidence.tasks):
        if send.task is None or send.option("kwargsrepr") is not None:
            continue
        for name, value in (send.named or {}).items():
            is_none = isinstance(value, ast.Constant) and not isinstance(value.value, str)  # a flag, for one
            if _SECRET.search(name) and not is_none:
                yield Sight(send.place, f"{send.task.name} is sent {name}.")


@rule(
    "AC058",
    "A whole file as an argument",
    level="warning",
    since="every version",
    why="A message goes through the memory of the sender, the broker and the worker, and waits in the broker's. A few "
    "hundred large ones fill it.",
    fix="Store the file where both sides reach it, and send its path or key.",
)
def files_sent(evidence: Evidence) -> Iterator[Sight]:
    """See what a file was read into among the arguments."""
    for send in sends_in(evidence.source, evidence.tasks):
        for argument in send.arguments():
            if _is_whole(argument) and send.task is not None:
                yield Sight(send.place, f"{send.task.name} is sent what {ast.unparse(argument)} returns.")


def _is_whole(node: ast.expr) -> bool:
    """Whether an expression is what ``read()`` and its like return, without a size."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    return node.func.attr in _BULK and not (node.func.attr == "read" and node.args)


@rule(
    "AC059",
    "Large messages in a queue",
    level="warning",
    since="every version",
    why="Messages wait in the broker's memory, and each is copied to a worker and into its process. A few thousand "
    "large ones fill the broker.",
    fix="Store the content elsewhere and send its key; task_compression = 'zstd' or 'gzip' helps with text.",
)
def large_messages(evidence: Evidence) -> Iterator[Sight]:
    """See waiting messages above 256 KB."""
    view = evidence.broker_view
    seen = set()
    for message in view.messages if view is not None else ():
        if len(message.body) > _LARGE and message.task not in seen:
            seen.add(message.task)
            size = len(message.body) // 1024
            yield Sight(Place(f"queue {message.queue}"), f"A message for {message.task} has {size:,} KB.")
