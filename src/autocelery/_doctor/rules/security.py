"""Rules on who can run what, and on settings that do not do what they say."""

from __future__ import annotations

import ast
import difflib
import re
import ssl
from collections.abc import Iterator, Mapping

from celery.app.defaults import DEFAULTS

from autocelery._doctor.evidence import Evidence
from autocelery._doctor.finding import Change, Place, Sight
from autocelery._doctor.rule import rule
from autocelery._doctor.services.broker import host_of, is_this_machine

#: Formats that run code when they are read.
_PICKLE = frozenset({"pickle", "application/x-python-serialize", "application/x-python"})
_URL = re.compile(r"(redis|rediss|amqp|amqps|sentinel|mongodb|db\+\w+(\+\w+)?)://[^\s/:@]*:([^\s@]+)@")
_PLACEHOLDER = re.compile(r"[{$<*]|%[s(]")
#: Passwords that are none.
_KNOWN = frozenset({"guest", "password", "***", "postgres", "test"})
#: What kombu's Redis transport reads; other names are passed over.
_ADDRESSES = ("broker_url", "broker_write_url", "broker_read_url", "result_backend")


@rule(
    "AC090",
    "Pickle is accepted",
    level="error",
    since="Celery 4.0, where it is off unless asked for",
    why="Reading a pickle runs what its author wants. With pickle in accept_content whoever can write to the broker "
    "runs code on every worker, as the worker's user.",
    fix="accept_content = ['json']",
)
def pickle_accepted(evidence: Evidence) -> Iterator[Sight]:
    """See pickle among the formats of tasks or results."""
    for name in ("accept_content", "result_accept_content"):
        accepted = evidence.settings.names(name)
        if _PICKLE & set(accepted):
            rest = [each for each in accepted if each not in _PICKLE] or ["json"]
            yield Sight(
                evidence.settings.place(name),
                f"{name} has {', '.join(sorted(_PICKLE & set(accepted)))}.",
                fix=f"{evidence.settings.spelled(name)} = {rest!r}",
                change=Change(name, rest),
            )


@rule(
    "AC091",
    "A format that workers refuse",
    level="error",
    since="Celery 3.1",
    why="What is sent in a format that accept_content does not have is refused by every worker, and dropped.",
    fix="Add it to accept_content, or send JSON.",
)
def refused_format(evidence: Evidence) -> Iterator[Sight]:
    """See serializers that are not accepted."""
    accepted = set(evidence.settings.names("accept_content"))
    of_results = set(evidence.settings.names("result_accept_content")) or accepted
    pairs = [("task_serializer", accepted), ("result_serializer", of_results)]
    for name, formats in pairs:
        used = str(evidence.settings.get(name))
        if formats and used not in formats and not any(each.endswith(used) for each in formats):
            yield Sight(
                evidence.settings.place(name),
                f"{name} is {used}, and accepted are {', '.join(sorted(formats))}.",
            )
    for task in evidence.tasks:
        own = getattr(task.task, "serializer", None)
        if own and own != evidence.settings.get("task_serializer") and accepted and own not in accepted:
            yield Sight(
                task.place, f"{task.name} is sent as {own}, and accepted are {', '.join(sorted(accepted))}."
            )


@rule(
    "AC092",
    "A password in the code",
    level="warning",
    since="every version",
    why="Whoever can read the repository, a build or a backup of it can write to the broker, and with that run tasks.",
    fix="broker_url = os.environ['CELERY_BROKER_URL']; then change the password.",
)
def password_in_code(evidence: Evidence) -> Iterator[Sight]:
    """See addresses with a password among the constants."""
    for module in evidence.source.modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and "://" in node.value:
                match = _URL.match(node.value)
                if match and not _is_known(match.group(3)) and not _is_local(node.value):
                    yield Sight(
                        Place("", module.shown, node.lineno),
                        f"An address of {host_of(node.value)} with its password.",
                    )


def _is_known(password: str) -> bool:
    """Whether a password is none: one that everybody has, or a place for one, ``${PASSWORD}``."""
    return password in _KNOWN or _PLACEHOLDER.search(password) is not None


def _is_local(url: str) -> bool:
    """Whether an address is this machine's, an example's or, with one word as its name, a container's."""
    host = host_of(url)
    return is_this_machine(host) or "." not in host or re.search(r"(^|\.)example\.", host) is not None


@rule(
    "AC093",
    "TLS that checks nothing",
    level="warning",
    since="every version",
    why="Without a check of the certificate whoever is in between can answer as the broker: read what is sent, and "
    "send tasks.",
    fix="ssl_cert_reqs=CERT_REQUIRED, with ssl_ca_certs where the authority is your own.",
)
def tls_unchecked(evidence: Evidence) -> Iterator[Sight]:
    """See CERT_NONE in addresses and settings."""
    for name in _ADDRESSES:
        if re.search(
            r"ssl_cert_reqs=(CERT_NONE|none|optional|CERT_OPTIONAL)", str(evidence.settings.get(name) or "")
        ):
            yield Sight(evidence.settings.place(name), f"{name} says that certificates are not checked.")
    for name in ("broker_use_ssl", "redis_backend_use_ssl"):
        options = evidence.settings.get(name)
        said = (
            options.get("ssl_cert_reqs", options.get("cert_reqs")) if isinstance(options, Mapping) else None
        )
        if said in (ssl.CERT_NONE, "none", "CERT_NONE"):  # where it says nothing, they are checked
            yield Sight(evidence.settings.place(name), f"{name} says that certificates are not checked.")


@rule(
    "AC094",
    "Tasks run where they are sent",
    level="error",
    since="every version",
    why="With task_always_eager nothing is sent: a request waits until its tasks have ended, and no worker ever has "
    "anything to do. It also hides what a broker would refuse.",
    fix="Set task_always_eager in the tests alone.",
)
def always_eager(evidence: Evidence) -> Iterator[Sight]:
    """See the setting."""
    if evidence.settings.get("task_always_eager") is True and not evidence.is_eager:
        yield Sight(
            evidence.settings.place("task_always_eager"),
            "Nothing is sent: tasks run in the calling process.",
            fix=f"{evidence.settings.spelled('task_always_eager')} = False",
            change=Change("task_always_eager", False),
        )


@rule(
    "AC095",
    "A setting that Celery does not know",
    level="warning",
    since="every version",
    why="Celery passes over names that it does not know, without a word: what was meant is not set.",
    fix="Correct the name.",
)
def unknown_setting(evidence: Evidence) -> Iterator[Sight]:
    """See names that are almost one of Celery's."""
    for name, place in evidence.settings.unknown().items():
        near = difflib.get_close_matches(name, list(DEFAULTS), 1, 0.88)
        if near:
            right = evidence.settings.spelled(near[0])
            yield Sight(
                place, f"Celery has no {place.name}; it has {right}.", fix=f"{right} instead of {place.name}"
            )


@rule(
    "AC096",
    "Options that the transport does not read",
    level="warning",
    since="every version",
    why="Names with redis_ are settings of the result backend. Inside broker_transport_options they do nothing, and "
    "the connection has no timeout after all.",
    fix="The same names without redis_: socket_timeout, socket_connect_timeout, socket_keepalive, retry_on_timeout.",
)
def unread_options(evidence: Evidence) -> Iterator[Sight]:
    """See ``redis_*`` keys in broker_transport_options."""
    options = evidence.settings.options("broker_transport_options")
    wrong = sorted(str(name) for name in options if str(name).startswith("redis_"))
    if wrong and evidence.broker.kind == "redis":
        right = {str(name).removeprefix("redis_"): value for name, value in options.items()}
        yield Sight(
            evidence.settings.place("broker_transport_options"),
            f"{', '.join(wrong)} {'are' if len(wrong) > 1 else 'is'} not read there.",
            fix=f"{evidence.settings.spelled('broker_transport_options')} = {right!r}",
            change=Change("broker_transport_options", right),
        )


@rule(
    "AC097",
    "A connection for each message",
    level="warning",
    since="every version",
    why="Without a pool each call opens a connection, with TLS and a login, and closes it again. A busy web process "
    "runs out of ports, and the broker of connections.",
    fix="Leave broker_pool_limit at 10, or set it to the number of threads that send.",
)
def no_pool(evidence: Evidence) -> Iterator[Sight]:
    """See broker_pool_limit of 0 or None."""
    if evidence.settings.is_set("broker_pool_limit") and not evidence.settings.get("broker_pool_limit"):
        place = evidence.settings.place("broker_pool_limit")
        yield Sight(place, "There is no pool of connections.", change=Change("broker_pool_limit", 10))


@rule(
    "AC098",
    "The first hiccup of the broker is an error",
    level="warning",
    since="every version",
    why="Without task_publish_retry a call fails while the broker restarts, without broker_connection_retry a worker "
    "ends.",
    fix="Leave both on.",
)
def no_retry(evidence: Evidence) -> Iterator[Sight]:
    """See retries of connections switched off."""
    for name in ("task_publish_retry", "broker_connection_retry"):
        if evidence.settings.get(name) is False:
            yield Sight(evidence.settings.place(name), f"{name} is off.", change=Change(name, True))


@rule(
    "AC099",
    "Sending may hang",
    level="info",
    since="every version with Redis",
    why="A Redis that accepts connections and answers nothing, or a firewall that drops what is sent, holds whoever "
    "sends: a web request, for one, for minutes.",
    fix="broker_transport_options = {'socket_timeout': 30, 'socket_connect_timeout': 5}",
    issues=("celery/celery#6911", "celery/kombu#1463"),
)
def sending_hangs(evidence: Evidence) -> Iterator[Sight]:
    """See a Redis on another machine without timeouts."""
    options = evidence.settings.options("broker_transport_options")
    is_far = evidence.broker.kind == "redis" and not is_this_machine(evidence.broker.host)
    if is_far and not options.get("socket_timeout") and not evidence.is_eager:
        told = {**options, "socket_timeout": 30, "socket_connect_timeout": 5}
        yield Sight(
            evidence.settings.place("broker_transport_options"),
            f"Connections to {evidence.broker.host} have no timeout.",
            fix=f"{evidence.settings.spelled('broker_transport_options')} = {told!r}",
            change=Change("broker_transport_options", told),
        )
