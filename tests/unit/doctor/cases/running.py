"""How tasks are made, end, and are tried again."""

from __future__ import annotations

from tests.unit.doctor.cases.case import fires, silent

_SWALLOWED = """
@app.task(bind=True)
def pay(self):
    try:
        if not ready():
            raise self.retry(countdown=60)
    except {caught}:
        {handled}

def ready():
    return False
"""
_IN_HANDLER = """
@app.task(bind=True{options})
def pay(self):
    try:
        1 / 0
    except ZeroDivisionError as error:
        raise self.retry(exc=error{countdown})
"""
_KEEPING = """
import functools

def keeping(function):
    @functools.wraps(function)
    def wrapper(self):
        return function()
    return wrapper

@app.task(bind=True)
@keeping
def ping():
    pass
"""

CASES = [
    fires("AC043", "no-parameter", "@app.task(bind=True)\ndef ping():\n    pass\n"),
    fires("AC043", "no-bind", "@app.task\ndef ping(self, x):\n    pass\n"),
    silent("AC043", "bound", "@app.task(bind=True)\ndef ping(self):\n    pass\n"),
    silent("AC043", "a-decorator-keeps-it", _KEEPING),
    silent("AC043", "any", "@app.task(bind=True)\ndef ping(*args):\n    pass\n"),
    fires("AC044", "exception", _SWALLOWED.format(caught="Exception", handled="pass")),
    silent("AC044", "narrow", _SWALLOWED.format(caught="ValueError", handled="pass")),
    silent("AC044", "raised-again", _SWALLOWED.format(caught="Exception", handled="raise")),
    silent("AC044", "in-the-handler", _IN_HANDLER.format(options="", countdown="")),
    fires("AC045", "minutes", "import time\n@app.task\ndef nap():\n    time.sleep(10 * 60)\n", says="600"),
    silent("AC045", "seconds", "import time\n@app.task\ndef nap():\n    time.sleep(2)\n"),
    fires("AC046", "loop", "@app.task\ndef poll():\n    while True:\n        print(1)\n"),
    silent(
        "AC046", "break", "@app.task\ndef poll():\n    while True:\n        if input():\n            break\n"
    ),
    fires("AC047", "exit", "import sys\n@app.task\ndef end():\n    sys.exit(1)\n", says="sys.exit"),
    silent("AC047", "outside", "import sys\n@app.task\ndef end():\n    pass\ndef main():\n    sys.exit(1)\n"),
    fires("AC060", "autoretry", "@app.task(autoretry_for=(OSError,))\ndef call():\n    pass\n"),
    fires("AC060", "handler", _IN_HANDLER.format(options="", countdown="")),
    fires("AC060", "short", _IN_HANDLER.format(options="", countdown=", countdown=1")),
    silent(
        "AC060",
        "class",
        "from celery import Task\nclass Call(Task):\n    name = 'call'\n    autoretry_for = (OSError,)\n"
        "    default_retry_delay = 300\n    def run(self):\n        pass\napp.register_task(Call())\n",
    ),
    silent("AC060", "once", _IN_HANDLER.format(options=", max_retries=1", countdown="")),
    silent(
        "AC060", "backoff", "@app.task(autoretry_for=(OSError,), retry_backoff=True)\ndef call():\n    pass\n"
    ),
    silent(
        "AC060", "grows", _IN_HANDLER.format(options="", countdown=", countdown=2 ** self.request.retries")
    ),
    silent("AC060", "chosen", _IN_HANDLER.format(options=", default_retry_delay=600", countdown="")),
    silent(
        "AC060", "looks-again", "@app.task(bind=True)\ndef call(self):\n    raise self.retry(countdown=1)\n"
    ),
    fires("AC061", "for-ever", _IN_HANDLER.format(options=", max_retries=None", countdown="")),
    silent(
        "AC061",
        "where-it-retries",
        "@app.task(bind=True, max_retries=None)\ndef poll(self):\n    raise self.retry(countdown=60, max_retries=9)\n",
    ),
    silent(
        "AC061",
        "counted",
        "@app.task(bind=True, max_retries=None)\ndef poll(self):\n    if self.request.retries > 50:\n"
        "        raise TimeoutError\n    raise self.retry(countdown=60)\n",
    ),
    silent("AC061", "five", _IN_HANDLER.format(options=", max_retries=5", countdown="")),
    silent("AC061", "never", "@app.task(max_retries=None)\ndef call():\n    pass\n"),
]
