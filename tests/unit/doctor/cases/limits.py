"""Time and memory."""

from __future__ import annotations

from tests.unit.doctor.cases.case import fires, silent

_FETCH = """
import requests

@app.task
def fetch(url):
    return requests.get(url{timeout}).text
"""

CASES = [
    fires("AC020", "none", task_time_limit=None, says="task_time_limit = 3600"),
    silent("AC020", "setting"),
    silent("AC020", "task", "@app.task(time_limit=60)\ndef add():\n    pass\n", task_time_limit=None),
    fires("AC021", "requests", _FETCH.format(timeout=""), task_time_limit=None, says="requests.get",
          files={"requests.py": "def get(url, timeout=None):\n    pass\n"}),
    silent("AC021", "timeout", _FETCH.format(timeout=", timeout=5"), task_time_limit=None,
           files={"requests.py": "def get(url, timeout=None):\n    pass\n"}),
    silent("AC021", "limit", _FETCH.format(timeout=""), files={"requests.py": "def get(url):\n    pass\n"}),
    fires("AC022", "setting", task_soft_time_limit=300, says="task_soft_time_limit = 270"),
    fires("AC022", "task", "@app.task(soft_time_limit=9, time_limit=8)\ndef add():\n    pass\n"),
    silent("AC022", "below", task_soft_time_limit=240),
    fires("AC023", "threads", worker_pool="threads"),
    fires("AC023", "gevent", worker_pool="gevent", task_soft_time_limit=60, says="soft"),
    silent("AC023", "prefork", task_soft_time_limit=60),
    silent("AC023", "threads-without", worker_pool="threads", task_time_limit=None),
    fires("AC024", "soft", task_time_limit=None, task_soft_time_limit=60, says="task_time_limit = 120"),
    silent("AC024", "both", task_soft_time_limit=60),
    fires("AC025", "megabytes", worker_max_memory_per_child=200),
    silent("AC025", "kibibytes", worker_max_memory_per_child=200_000),
]  # fmt: skip
