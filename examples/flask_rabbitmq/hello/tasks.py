"""What workers do."""

import time

from celery import shared_task
from celery.utils.log import get_task_logger
from flask import current_app

logger = get_task_logger(__name__)


def work(seconds):
    """Stand for something that takes long."""
    time.sleep(seconds)


@shared_task(bind=True)
def say_hello(self, name):
    """Say hello after long work; ``bind=True`` gives the task itself as the first argument."""
    work(current_app.config["SECONDS"])
    logger.info("hello %s, from %s", name, self.request.hostname)
    return f"hello {name}"


@shared_task
def report(number):
    """Count for a while: its worker goes before others on a busy machine."""
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        number += 1
    return "done"


# Both took a name only; messages of that time may still be queued.


@shared_task
def greet(name, language):
    return {"en": "hello", "es": "hola"}[language] + f" {name}"


@shared_task(signature="tolerant")
def greet_anyone(name="you", language="en"):
    return {"en": "hello", "es": "hola"}[language] + f" {name}"
