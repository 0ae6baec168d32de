"""Ctrl-C in the demo: never lost, never a traceback."""

from __future__ import annotations

import signal

import pytest

from autocelery._demo.interrupts import Interrupts


class Interrupted:
    """Is interrupted while it is finalised, where Python drops what is raised."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def test_an_interrupt_in_a_finaliser_is_neither_lost_nor_shown() -> None:
    with Interrupts() as interrupts:
        Interrupted()
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()
