"""What a host passes off as its worker is enough for those who ask."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from celery import Celery
from celery.fixups.django import DjangoWorkerFixup

from autocelery_host.application import HostWorker


@pytest.mark.skipif(not hasattr(DjangoWorkerFixup, "_is_prefork"), reason="this Celery does not ask")
def test_djangos_fixup_takes_a_host_for_a_prefork_child_and_closes_its_connections() -> None:
    fixup = SimpleNamespace(worker=HostWorker(Celery("shop", set_as_current=False), "w@host"))
    assert DjangoWorkerFixup._is_prefork(fixup)
