"""A lease: what it makes of a host that ends before, in or after a call."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from collections.abc import Iterator

import pytest

from autocelery._hosting.lease import Lease
from autocelery.errors import HostLost
from autocelery_host import frames


class Ends:
    """The far ends of a lease: the agent's, and the host's."""

    def __init__(self, pid: int) -> None:
        agent, self.agent = socket.socketpair()
        near, self.host = socket.socketpair()
        self.lease = Lease("5" * 64, None, pid, 2**40, agent, near)

    def served(self) -> None:
        """Have one call behind it."""
        frames.send(self.host, json.dumps({"result": "1"}).encode())
        assert self.lease.call(b"a call") == {"result": "1"}
        assert frames.receive(self.host) == b"a call"

    def close(self) -> None:
        for each in (self.agent, self.host):
            each.close()


@pytest.fixture
def ends() -> Iterator[Ends]:
    gone = subprocess.Popen(["true"], start_new_session=True)
    gone.wait()
    ends = Ends(gone.pid)
    yield ends
    ends.close()
    ends.lease.close()


def test_a_host_that_ended_before_the_call_has_not_begun_it(ends: Ends) -> None:
    ends.served()
    ends.close()
    assert ends.lease.call(b"the next") is None
    assert ends.lease.spent


@pytest.mark.parametrize("taken", [0, 2, 6])
def test_a_host_that_ends_before_it_has_taken_the_whole_call_has_not_begun_it(ends: Ends, taken: int) -> None:
    ends.served()

    def die_once_the_call_is_there() -> None:
        ends.host.recv(1, socket.MSG_PEEK)
        if taken:
            ends.host.recv(taken)
        ends.close()

    dying = threading.Thread(target=die_once_the_call_is_there)
    dying.start()
    assert ends.lease.call(b"the next") is None
    dying.join()
    assert ends.lease.spent


def test_a_host_that_ends_with_the_call_may_have_begun_it(ends: Ends) -> None:
    ends.served()
    ends.host.shutdown(socket.SHUT_WR)
    with pytest.raises(HostLost, match="died before it answered"):
        ends.lease.call(b"the next")
