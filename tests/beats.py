"""Instances of beat in processes of a test's own, and what they put into their broker's queue."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kombu
import psutil
import redis

from autocelery._beat.sql_store import SqlBeatStore
from tests.waiting import PATIENCE, wait_for

PROJECT = Path(__file__).parent / "projects" / "beat"
ENTRY = {"task": "add", "args": [1, 2], "missed": "all", "limit": 10_000, "grace": 3600}


@dataclass(frozen=True)
class Message:
    """A message in the queue: its task's id, and which tick it is."""

    id: str
    entry: str
    tick: str
    repeat: bool
    arguments: Any = None


@dataclass
class Instance:
    """One process. Owns it; its log is a file beside those of the others."""

    process: subprocess.Popen[bytes]
    log: Path

    def text(self) -> str:
        """What it logged."""
        return self.log.read_text()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        if self.process.poll() is None:
            self.process.send_signal(number)

    def is_stopped(self) -> bool:
        """Whether it is frozen."""
        return Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    def end(self) -> None:
        """End it for certain, and what it started."""
        if self.process.poll() is None:
            for child in psutil.Process(self.process.pid).children(recursive=True):
                child.kill()
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait()


@dataclass
class Fleet:
    """Instances of one schedule. Owns them."""

    folder: Path
    environment: dict[str, str]
    messages: Callable[[], list[Message]]
    instances: list[Instance] = field(default_factory=list)

    def start(self, *command: str, **environment: str) -> Instance:
        """Start an instance; by default ``celery beat`` with a short lease."""
        log = self.folder / f"beat-{len(self.instances)}.log"
        words = command or ("celery", "-A", "ticking", "beat", "-S", "ticking:Quick", "-l", "INFO")
        pidfile = () if command else ("--pidfile=",)
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", *words, *pidfile],
                cwd=PROJECT,
                env={**os.environ, **self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.instances.append(Instance(process, log))
        return self.instances[-1]

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run ``autocelery beat`` with arguments until it ends."""
        return subprocess.run(
            [sys.executable, "-m", "autocelery", "-A", "ticking", "beat", *arguments],
            cwd=PROJECT,
            env={**os.environ, **self.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    def sent(self, entry: str) -> list[Message]:
        """Return the messages of an entry, the earliest tick first."""
        return sorted((each for each in self.messages() if each.entry == entry), key=lambda each: each.tick)

    def wait_for(self, count: int, entry: str, deadline: float = PATIENCE) -> list[Message]:
        """Wait until so many messages of an entry were sent, and return them."""
        try:
            return wait_for(lambda: found if len(found := self.sent(entry)) >= count else None, deadline)
        except AssertionError:
            raise AssertionError(f"No {count} messages of {entry}:\n{self.logs()}") from None

    def wait_until_settled(self) -> None:
        """Wait until the last instance sends, and what another has recorded is in the outbox no more."""
        newest = self.instances[-1]

        def is_settled() -> bool:
            if "sends now" not in newest.text():
                return False
            store = SqlBeatStore(self.environment["BEAT_DATABASE"])
            try:
                token = store.lease()[1].token
                return all(each.token == token for each in store.outbox())
            finally:
                store.close()

        wait_for(is_settled, what="what was recorded before is sent")

    def logs(self) -> str:
        """Return the end of each instance's log."""
        return "\n".join(f"--- {each.log.name}\n{each.text()[-3000:]}" for each in self.instances)


@contextmanager
def fleet(folder: Path, database: str, entries: dict[str, Any], broker: Any) -> Iterator[Fleet]:
    """Lend a fleet that is ended afterwards; ``broker`` is of `on_redis` or `on_rabbitmq`."""
    environment, messages = broker
    told = {
        "BEAT_DATABASE": database,
        "BEAT_ENTRIES": json.dumps(entries),
        "BEAT_HARMED": str(folder / "harmed"),
        **environment,
    }
    made = Fleet(folder, told, messages)
    with ExitStack() as stack:
        stack.callback(lambda: [each.end() for each in made.instances])
        yield made


def on_redis(url: str, prefix: str) -> tuple[dict[str, str], Callable[[], list[Message]]]:
    """Return the environment of instances on a Redis, and what reads their queue and leaves it as it is."""
    client = redis.Redis.from_url(url)
    read: list[Message] = []

    def messages() -> list[Message]:
        new = client.llen(f"{prefix}celery") - len(read)  # each is put at the front, and nobody takes it out
        if new > 0:
            read.extend(
                _read(json.loads(each))
                for each in client.lrange(f"{prefix}celery", -len(read) - new, -len(read) - 1)
            )
        return read

    return {"BEAT_BROKER": url, "BEAT_TRANSPORT": json.dumps({"global_keyprefix": prefix})}, messages


def on_rabbitmq(url: str, queue: str) -> tuple[dict[str, str], Callable[[], list[Message]]]:
    """Return the environment of instances on a RabbitMQ, and what takes from their queue and remembers it."""
    taken: list[Message] = []

    def messages() -> list[Message]:
        with kombu.Connection(url) as connection:
            asked = connection.SimpleQueue(queue)
            while True:
                try:
                    message = asked.get_nowait()
                except asked.Empty:
                    break
                taken.append(_message(message.headers, message.decode()))
                message.ack()
            asked.close()
        return list(taken)

    return {"BEAT_BROKER": url, "BEAT_QUEUE": queue}, messages


def _read(raw: dict[str, Any]) -> Message:
    return _message(raw["headers"], json.loads(base64.b64decode(raw["body"])))


def _message(headers: dict[str, Any], body: Any) -> Message:
    mark = headers["autocelery_beat"]
    return Message(headers["id"], mark["entry"], mark["tick"], mark["repeat"], body[0])
