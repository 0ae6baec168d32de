"""Starts ``examples/flask_rabbitmq``: on the RabbitMQ of this machine where one answers, else on a broker of its own.

``RABBITMQ_URL`` names another one. What follows are arguments of ``autocelery up``.
"""

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from kombu import Connection
from kombu.exceptions import OperationalError

from autocelery._broker import LocalBroker

PROJECT = Path(__file__).parent.parent / "examples" / "flask_rabbitmq"
RABBITMQ = os.environ.get("RABBITMQ_URL") or "amqp://guest:guest@127.0.0.1:5672//"
MANAGEMENT = "http://localhost:15672/"


def answers(url):
    with Connection(url, connect_timeout=2) as connection:
        try:
            connection.ensure_connection(max_retries=1, interval_start=0)
        except (OSError, OperationalError):
            return False
    return True


def main():
    with ExitStack() as owned:
        folder = Path(owned.enter_context(tempfile.TemporaryDirectory(prefix="hello-")))
        told = {"CELERY_RESULT_BACKEND": f"file://{folder}", "AUTOCELERY_STORE": str(folder / "blobs")}
        told |= {"AUTOCELERY_ROOT": str(PROJECT)}  # not all of this repository
        if answers(RABBITMQ):
            told |= {"CELERY_BROKER_URL": RABBITMQ, "HELLO_MANAGEMENT": MANAGEMENT}
            print("RabbitMQ answers: its own page is", MANAGEMENT)
        else:
            broker = owned.enter_context(LocalBroker())
            told |= {"CELERY_BROKER_URL": broker.broker_url}
            print("No RabbitMQ answers: a broker of its own runs.")
        print("The page: http://127.0.0.1:5001/    Ctrl-C ends all of it.")
        command = [sys.executable, "-m", "autocelery", "up", *sys.argv[1:]]
        up = subprocess.Popen(command, cwd=PROJECT, env={**os.environ, **told})
        signal.signal(signal.SIGTERM, lambda number, _: up.send_signal(number))
        while True:
            try:
                return up.wait()
            except KeyboardInterrupt:  # `up` has it too, and ends all that it started
                continue


if __name__ == "__main__":
    sys.exit(main())
