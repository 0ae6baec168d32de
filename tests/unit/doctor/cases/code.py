"""What tasks do while they run."""

from __future__ import annotations

from tests.unit.doctor.cases.case import fires, silent

_ADD = """
@app.task
def add(x, y):
    return x + y
"""
_LOGGED = """
import functools

def logged(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)
    return wrapper

@app.task(bind=True)
@logged
def both(self):
    return add.delay(1, 2).get()
"""

CASES = [
    fires(
        "AC040",
        "at-once",
        f"""{_ADD}
@app.task
def both():
    return add.delay(1, 2).get()
""",
        says="tasks.py:10",
    ),
    fires(
        "AC040",
        "by-a-variable",
        f"""{_ADD}
@app.task
def both():
    result = add.apply_async((1, 2))
    return result.get(timeout=3)
""",
    ),
    fires(
        "AC040",
        "in-a-helper",
        f"""{_ADD}
def helper():
    return add.delay(1, 2).get()

@app.task
def both():
    return helper()
""",
    ),
    fires(
        "AC040",
        "a-group",
        f"""{_ADD}
@app.task
def both():
    return group(add.s(1, 2))().get()
""",
    ),
    silent(
        "AC040",
        "pool-of-threads",
        """
from multiprocessing.pool import ThreadPool

@app.task
def both():
    with ThreadPool(2) as pool:
        return pool.apply_async(len, ("x",)).get()
""",
    ),
    silent("AC040", "outside-of-tasks", f"{_ADD}\ndef view():\n    return add.delay(1, 2).get()\n"),
    silent("AC040", "a-dictionary", "@app.task\ndef read(d):\n    return d.get('x'), dict(a=1).get('a')\n"),
    silent(
        "AC040",
        "allowed",
        f"""
from celery.result import allow_join_result
{_ADD}
@app.task
def both():
    with allow_join_result():
        return add.delay(1, 2).get()
""",
    ),
    fires("AC040", "bound-behind-a-decorator", f"{_ADD}{_LOGGED}", says="proj.tasks.both"),
    fires(
        "AC041",
        "pool",
        """
from multiprocessing import Pool

@app.task
def crunch():
    with Pool(2) as pool:
        pool.map(abs, [1])
""",
    ),
    fires(
        "AC041",
        "executor",
        """
import concurrent.futures

@app.task
def crunch():
    concurrent.futures.ProcessPoolExecutor()
""",
    ),
    silent(
        "AC041",
        "pool-of-threads",
        "from multiprocessing import Pool\n@app.task\ndef crunch():\n    Pool(2)\n",
        worker_pool="threads",
    ),
    silent(
        "AC041",
        "one-job",
        "@app.task\ndef crunch():\n    from joblib import Parallel\n    Parallel(n_jobs=1)\n",
    ),
    silent(
        "AC041",
        "subprocess-and-threads",
        """
import subprocess
from concurrent.futures import ThreadPoolExecutor

@app.task
def crunch():
    subprocess.run(['true'])
    ThreadPoolExecutor()
""",
    ),
    fires("AC042", "async", "@app.task\nasync def fetch():\n    pass\n", says="proj.tasks.fetch"),
    silent(
        "AC042",
        "run-by-a-decorator",
        """
import asyncio, functools

def awaited(function):
    @functools.wraps(function)
    def wrapper(*args):
        return asyncio.run(function(*args))
    return wrapper

@app.task
@awaited
async def fetch():
    pass
""",
    ),
    silent(
        "AC042",
        "asyncio-inside",
        """
import asyncio

async def inner():
    pass

@app.task
def fetch():
    asyncio.run(inner())
""",
    ),
]
