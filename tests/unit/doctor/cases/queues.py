"""Names and queues."""

from __future__ import annotations

from celery import VERSION

from tests.unit.doctor.cases.case import fires, silent

_ADD = "@app.task\ndef add(x, y):\n    return x + y\n"
_AMQP = "amqp://guest:guest@localhost//"
_PRIORITY = f"{_ADD}def send():\n    add.apply_async((1, 2), priority=5)\n"
_DEAD = """
from kombu import Queue
app.conf.task_queues = [Queue("celery", queue_arguments={"x-dead-letter-exchange": "dead"})]
"""
_TWICE = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("tasks_again", __file__)
if __name__ == "proj.tasks":
    again = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(again)
"""

CASES = [
    fires("AC070", "two-paths", f"{_ADD}{_TWICE}", says="tasks_again.add"),
    silent("AC070", "once", _ADD),
    silent("AC070", "factory",
          "def make(n):\n    @app.task(name=n)\n    def run():\n        pass\nmake('a.x')\nmake('a.y')\n"),
    silent("AC070", "inherited", "from celery import Task\nclass Base(Task):\n    def run(self):\n        pass\n"
           "for n in ('a.x', 'a.y'):\n    app.register_task(type(n, (Base,), {'name': n})())\n"),
    silent("AC070", "two-of-one", "def run():\n    pass\n"
           "x, y = app.task(run, name='a.x'), app.task(run, name='a.y')\n"),
    fires("AC071", "same-name", "@app.task(name='x')\ndef a():\n    pass\n", files={
        "proj/other.py": "from proj.celery import app\n@app.task(name='x')\ndef b():\n    pass\n"}, says="proj/"),
    silent("AC071", "of-another-app", "@app.task(name='x')\ndef a():\n    pass\n", files={
        "other/app.py": "from celery import Celery\napp = Celery()\n@app.task(name='x')\ndef b():\n    pass\n"}),
    silent("AC071", "own-names", "@app.task(name='x')\ndef a():\n    pass\n@app.task(name='y')\ndef b():\n    pass\n"),
    fires("AC072", "main", "@app.task(name='__main__.add')\ndef add():\n    pass\n"),
    silent("AC072", "module", _ADD),
    fires("AC073", "typo", _ADD, task_routes={"proj.task.add": {"queue": "x"}}, says="proj.tasks.add"),
    silent("AC073", "right", _ADD, task_routes={"proj.tasks.add": {"queue": "x"}, "other.thing": "y"}),
    silent("AC073", "glob", _ADD, task_routes={"proj.task*": {"queue": "x"}}),
    fires("AC074", "missing", _ADD, task_create_missing_queues=False, task_routes={"proj.tasks.add": {"queue": "x"}}),
    silent("AC074", "created", _ADD, task_routes={"proj.tasks.add": {"queue": "x"}}),
    fires("AC075", "none", _ADD, broker_url=_AMQP),
    fires("AC075", "reject", "from celery.exceptions import Reject\n@app.task\ndef check():\n    raise Reject('no')\n",
          broker_url=_AMQP, says="tasks.py:6"),
    fires("AC075", "rejected-in-the-end", "from celery.exceptions import Reject\n@app.task\ndef check(again):\n"
          "    raise Reject('no', requeue=again)\n", broker_url=_AMQP, says="task_queues"),
    silent("AC075", "dead-letters", _DEAD + _ADD, broker_url=_AMQP),
    silent("AC075", "redis", _ADD),
    silent("AC076", "redis", _PRIORITY),
    silent("AC076", "quorum", _PRIORITY, broker_url=_AMQP, task_default_queue_type="quorum"),
    fires("AC076", "rabbitmq", _PRIORITY, broker_url=_AMQP, says="task_queue_max_priority"),
    silent("AC076", "told-rabbitmq", _PRIORITY, broker_url=_AMQP, task_queue_max_priority=10),
    silent("AC076", "none", f"{_ADD}def send():\n    add.apply_async((1, 2), priority=None)\n", broker_url=_AMQP),
    fires("AC076", "by-name", f"{_ADD}def send():\n    app.send_task('add', priority=5)\n", broker_url=_AMQP),
    silent("AC076", "unused", _ADD, broker_url=_AMQP),
    fires("AC077", "undetected", broker_url=_AMQP, task_default_queue_type="quorum", worker_detect_quorum_queues=False),
    silent("AC077", "classic", broker_url=_AMQP),
    *([silent("AC077", "detected", broker_url=_AMQP, task_default_queue_type="quorum")] if VERSION >= (5, 5) else
      [fires("AC077", "too-old", broker_url=_AMQP, task_default_queue_type="quorum", says="cannot consume")]),
    fires("AC078", "limits",
          "@app.task(time_limit=3600)\ndef report():\n    pass\n@app.task(time_limit=5)\ndef mail():\n"
          "    pass\n", says="proj.tasks.report"),
    silent("AC078", "own-queue", "@app.task(time_limit=3600)\ndef report():\n    pass\n"
           "@app.task(time_limit=5)\ndef mail():\n    pass\n", task_routes={"proj.tasks.report": "long"}),
    silent("AC078", "alike", "@app.task(time_limit=60)\ndef report():\n    pass\n@app.task(time_limit=5)\ndef mail():\n"
           "    pass\n"),
]  # fmt: skip
