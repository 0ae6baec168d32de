"""Nothing is forked while an agent is started: it would keep open what its start waits for."""

from __future__ import annotations

import os
import threading

from autocelery._hosting import starting


def is_free() -> bool:
    """Whether another thread could start an agent, or fork."""
    answers: list[bool] = []

    def try_it() -> None:
        if taken := starting.no_fork.acquire(blocking=False):
            starting.no_fork.release()
        answers.append(taken)

    thread = threading.Thread(target=try_it)
    thread.start()
    thread.join()
    return answers[0]


def fork() -> bool:
    """Fork, and return whether the lock was free in the child."""
    child = os.fork()
    if child == 0:
        os._exit(int(not is_free()))
    return os.waitpid(child, 0)[1] == 0


def test_a_fork_waits_until_the_agent_is_started() -> None:
    forked = threading.Event()
    was_free: list[bool] = []

    def fork_and_tell() -> None:
        was_free.append(fork())
        forked.set()

    thread = threading.Thread(target=fork_and_tell)
    with starting.no_fork:
        thread.start()
        assert not forked.wait(0.3)
    thread.join(10)
    assert was_free == [True]
    assert is_free()


def test_what_starts_the_agent_may_itself_fork() -> None:
    """As the `Popen` of gevent does."""
    forked = threading.Event()

    def start() -> None:
        with starting.no_fork:
            fork()
        forked.set()

    threading.Thread(target=start, daemon=True).start()
    assert forked.wait(10)
    assert is_free()
