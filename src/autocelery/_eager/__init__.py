"""Celery without a broker: tasks run in the calling process, at once, by way of real messages."""

from autocelery._eager.application import Eager, make_eager, make_eager_without_broker

__all__ = ["Eager", "make_eager", "make_eager_without_broker"]
