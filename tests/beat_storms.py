"""Storms over instances of beat: killed, frozen, cut off, their database's clock put forward and back by an hour."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise

from sqlalchemy import create_engine, text

from autocelery._beat.sql_store import SqlBeatStore
from tests import beats
from tests.beats import Fleet, Instance, Message
from tests.waiting import PATIENCE, wait_for

HOUR = 3600
EVERY, CRON, ONCE = "every", "cron", "once"
#: Each second and each minute, where every missed tick is made up for; and each second, where one of them is.
ENTRIES = {
    EVERY: {**beats.ENTRY, "schedule": 1},
    CRON: {**beats.ENTRY, "schedule": {"crontab": "* * * * *"}},
    ONCE: {**beats.ENTRY, "schedule": 1, "missed": "once", "grace": 5},
}
#: Seconds between two entries' ticks.
STEPS = {EVERY: 1.0, CRON: 60.0}
INSTANCES = 3
_LONGEST_CALM = 1.5
_SHARE_OF_HOLDERS = 0.6
#: Seconds after which an instance that has not started never will.
_LONGEST_START = 300.0


@dataclass(slots=True)
class Toll:
    """What a storm did, and for how long the longest wait for a tick was, in seconds."""

    harms: Counter[str] = field(default_factory=Counter)
    ticks: Counter[str] = field(default_factory=Counter)
    longest_wait: float = 0.0
    seconds: float = 0.0

    def __str__(self) -> str:
        harms, ticks = (
            ", ".join(f"{name} {count}" for name, count in sorted(each.items()))
            for each in (self.harms, self.ticks)
        )
        waited = f"longest wait for a tick {self.longest_wait:.1f} s"
        return f"harms: {harms}; ticks: {ticks}; {waited}; {self.seconds:.0f} s"


class Storm:
    """One storm over three instances on PostgreSQL and Redis.

    Args:
        fleet: without instances yet.
        seed: of victims, moments and their order.
        harms: what is done, in any order: ``kill``, ``freeze``, ``cut``, and ``hour``, which is an hour forward;
            and ``back``, an hour back and, after another harm, forward again.
    """

    def __init__(self, fleet: Fleet, seed: int, harms: list[str]) -> None:
        self._fleet = fleet
        self._dice = random.Random(seed)
        self._harms = self._dice.sample(harms, len(harms))
        self._database = fleet.environment["BEAT_DATABASE"]
        self._clock = fleet.folder / "clock"
        self._running: list[Instance] = []
        self._off = 0
        self.toll = Toll()

    def run(self) -> Toll:
        """Let it rage, and see that each tick was sent once, and none was lost beyond its rule."""
        began = time.monotonic()
        self._set_clock(0)
        self._running = [self._start() for _ in range(INSTANCES)]
        self._wait_for_more(1)
        for harm in self._harms:
            self._pause()
            self._do(harm)
            self.toll.harms[harm] += 1
        self._wait_for_more(3)
        self._check()
        self.toll.seconds = time.monotonic() - began
        return self.toll

    def _do(self, harm: str) -> None:
        if harm == "kill":
            self._kill()
            self._wait_for_more(1)
        elif harm == "freeze":
            victim = self._victim()
            victim.send(signal.SIGSTOP)
            self._wait_for_more(2)
            victim.send(signal.SIGCONT)
            self._wait_for_more(1)
        elif harm == "cut":
            self._cut()
            self._wait_for_more(1)
        elif harm == "hour":
            self._set_clock(self._off + HOUR)
            self._wait_for_more(HOUR)
        else:
            self._set_clock(self._off - HOUR)
            self._pause()
            self._kill()
            self._pause()
            self._set_clock(self._off + HOUR)
            self._wait_for_more(1)

    def _kill(self) -> None:
        victim = self._victim()
        victim.send(signal.SIGKILL)
        victim.process.wait()
        self._running.remove(victim)
        self._running.append(self._start())

    def _victim(self) -> Instance:
        """Return who sends, more often than not."""
        with closing(SqlBeatStore(self._database)) as store:
            holder = store.lease()[1].holder
        pid = int(holder.split(":")[1]) if holder else 0
        holders = [each for each in self._running if each.process.pid == pid]
        return (
            holders[0]
            if holders and self._dice.random() < _SHARE_OF_HOLDERS
            else self._dice.choice(self._running)
        )

    def _cut(self) -> None:
        """Have PostgreSQL end every connection, as an administrator or a failover does."""
        engine = create_engine(self._database)
        with engine.connect() as connection:
            others = "datname = current_database() AND pid <> pg_backend_pid()"
            connection.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"))
        engine.dispose()

    def _start(self) -> Instance:
        return self._fleet.start(BEAT_CLOCK=str(self._clock))

    def _set_clock(self, off: int) -> None:
        """Put the clock in one step: an instance that read half of a file would see a jump of its own."""
        self._off = off
        written = self._clock.with_suffix(".new")
        written.write_text(str(off))
        os.replace(written, self._clock)

    def _pause(self) -> None:
        moment = time.monotonic() + self._dice.uniform(0, _LONGEST_CALM)
        wait_for(lambda: time.monotonic() >= moment)

    def _wait_for_more(self, count: int) -> None:
        """Wait for ticks, as long as some come: how fast an hour of them is sent is not what is tested.

        Nor is how long Python takes to start: on a busy machine the two that were killed last are still about it when
        the third is killed, and then there is nobody to send.
        """
        wanted = len(self._fleet.sent(EVERY)) + count
        last, since, began = 0, time.monotonic(), time.monotonic()
        while (found := len(self._fleet.sent(EVERY))) < wanted:
            if found > last:
                last, since, began = found, time.monotonic(), time.monotonic()
            if not self._is_anyone_up() and time.monotonic() - began < _LONGEST_START:
                since = time.monotonic()
            self.toll.longest_wait = max(self.toll.longest_wait, time.monotonic() - since)
            if time.monotonic() - since > PATIENCE:
                done = self.toll.harms.total()
                raise AssertionError(f"No tick in {PATIENCE} s after {done} harms:\n{self._fleet.logs()}")
            moment = time.monotonic() + 0.1
            wait_for(lambda moment=moment: time.monotonic() >= moment)

    def _is_anyone_up(self) -> bool:
        """Whether an instance has come so far that it can send."""
        return any("beat: Starting" in each.text() and not each.is_stopped() for each in self._running)

    def _check(self) -> None:
        """Compare what came with what the database has; meanwhile they go on, for the last is not sent yet."""
        recorded = self._ticks()
        wait_for(lambda: not self._in_outbox() & recorded.keys(), what="what was recorded is sent")
        found = {entry: self._fleet.sent(entry) for entry in ENTRIES}
        everything = self._ticks()
        for entry, messages in found.items():
            self.toll.ticks[entry] = len(messages)
            check_each_once(messages, STEPS.get(entry))
            ids = {each.id for each in messages}
            assert {task_id for task_id, key in recorded.items() if key == entry} <= ids, (
                f"{entry}: some are lost"
            )
            assert ids <= {task_id for task_id, key in everything.items() if key == entry}, (
                f"{entry}: from nowhere"
            )

    def _ticks(self, where: str = "TRUE") -> dict[str, str]:
        """Return the entries of all ticks that the database has, by their task ids."""
        engine = create_engine(self._database)
        with engine.connect() as connection:
            rows = connection.execute(
                text(f"SELECT task_id, key FROM autocelery_beat_ticks WHERE {where}")
            ).all()
        engine.dispose()
        return {row.task_id: row.key for row in rows}

    def _in_outbox(self) -> set[str]:
        return set(self._ticks("state = 'recorded'"))


def check_each_once(found: list[Message], step: float | None = 1.0) -> None:
    """See that no tick is doubled; and none missing, where they are ``step`` seconds apart."""
    doubled = {tick: count for tick, count in Counter(each.tick for each in found).items() if count > 1}
    assert not doubled
    assert len({each.id for each in found}) == len(found)
    moments = [datetime.fromisoformat(each.tick) for each in found]
    if step is not None:
        apart = {(after - before).total_seconds() for before, after in pairwise(moments)}
        assert apart <= {step}, apart
