"""Tasks that print, and callers that watch them: for the tests of a task's output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.shops import Caller, Shop

TASKS = """
import ctypes, logging, os, pathlib, subprocess, sys, threading, time
from celery.utils.log import get_task_logger
from shop.celery import app

logger = get_task_logger(__name__)

@app.task
def nothing():
    return 1

@app.task
def talk(gate):
    "Print in every way there is, wait for the gate, and print once more."
    print("printed", time.time())
    print("complained", time.time(), file=sys.stderr)
    subprocess.run(["sh", "-c", "echo child; echo child complained >&2"])
    print("after the child")
    ctypes.CDLL(None).puts(b"from C")
    logger.warning("to the task's %s", "logger")
    logging.getLogger("plain").error("to a plain one\\nin two lines")
    wait_for(gate)
    print("at last", end="")
    return 42

@app.task
def say(text, gate):
    print(text)
    wait_for(gate)
    print(text)
    return text

@app.task(bind=True, max_retries=2)
def again(self):
    print("try", self.request.retries)
    if self.request.retries < 2:
        raise self.retry(countdown=0.1)
    return "done"

@app.task
def shout(*words):
    print(words[-1])
    return words[-1]

@app.task
def fork():
    "Print in a process of our own kind, and as bytes."
    import multiprocessing
    process = multiprocessing.get_context("fork").Process(target=print, args=("from a fork",))
    process.start()
    process.join()
    if hasattr(sys.stdout, "buffer"):
        sys.stdout.buffer.write(b"bytes\\n")
        sys.stdout.buffer.flush()

@app.task
def fail():
    print("before it fails")
    raise LookupError("nothing here")

@app.task
def die():
    print("before it dies", flush=True)
    os.kill(os.getpid(), 9)

@app.task
def flood(megabytes, gate=None):
    "Print so much, half of it through Python and half of it through a subprocess; return the seconds that took."
    began = time.monotonic()
    print("the beginning")
    block = "x" * 999_999
    for _ in range(megabytes // 2):
        print(block)
    child = f"import sys; [sys.stdout.write('y' * 999_999 + chr(10)) for _ in range({megabytes - megabytes // 2})]"
    subprocess.run([sys.executable, "-c", child])
    print("the end")
    wait_for(gate)
    return time.monotonic() - began

@app.task
def steps(number):
    "Draw a bar as tqdm does, and report it."
    for done in range(number):
        sys.stderr.write(f"\\r{done}/{number}")
        threading.Event().wait(0.01)
    sys.stderr.write("\\n")

@app.task(bind=True)
def report(self, gate):
    self.update_state(state="PROGRESS", meta={"done": 3, "total": 12, "text": "scoring"})
    wait_for(gate)
    return "reported"

@app.task
def leave_behind(gate):
    "Leave a process and a thread that print when nobody is asked to listen any more."
    script = f"while [ ! -e {gate} ]; do sleep 0.02; done; echo too late from a child"
    subprocess.Popen(["sh", "-c", script])
    def late():
        wait_for(gate)
        print("too late from a thread")
    threading.Thread(target=late, daemon=True).start()
    print("in time")
    return os.getpid()

def wait_for(gate):
    while gate and not os.path.exists(gate):
        threading.Event().wait(0.02)

def watched(*calls):
    "Send the calls, open no gate, and return what they print with the moment at which it came, and their results."
    from shop.celery import auto
    results = [task.live.apply_async(args, output=True) for task, *args in calls]
    return [list(told) for told in _told(auto, results)], [each.get(timeout=60) for each in results]

def composed():
    "Return what the parts of a chain and of a chord print, and their results."
    from celery import chain, chord
    from shop.celery import auto
    with auto.live(output=True):
        last = chain(shout.s("one"), shout.s("two"), shout.s("three"))()
        body = chord([shout.s("head"), shout.s("other head")])(shout.s("body"))
    calls = [last, last.parent, last.parent.parent, body, *body.parent.results]
    return sorted(told[1] for told in _told(auto, calls)), [last.get(timeout=60), body.get(timeout=60)]

def seen(result, gate, *last):
    "Return what came until the gate was opened, which it is when the last of each stream is there, and what came then."
    from shop.celery import auto
    before, after = [], []
    for told in _told(auto, result):
        (after if os.path.exists(gate) else before).append(told)
        text = "".join(each[1] for each in sorted(before, key=lambda each: each[0]))
        if all(each in text for each in last):
            pathlib.Path(gate).touch()
    return before, after

def _told(auto, results):
    for each in auto.stream(results):
        yield each.stream, each.text, f"{each.level} {each.logger}".strip(), each.task_id, time.time()
"""


@dataclass(frozen=True, slots=True)
class Told:
    """One piece of output: ``of`` is a log record's level and logger; ``at`` is when it came, in seconds."""

    stream: str
    text: str
    of: str
    task_id: str
    at: float


def printing_shop(shop: Shop) -> Shop:
    """Return ``shop`` with tasks that print."""
    shop.tasks = TASKS
    shop.write("tasks.py", TASKS)
    return shop


def watched(caller: Caller, *calls: tuple[Any, ...]) -> tuple[list[Told], list[Any]]:
    """Return what the calls ``(task, *arguments)`` print, and their results."""
    written = ", ".join(f"(tasks.{task}, {', '.join(map(repr, args))})" for task, *args in calls)
    told, results = caller.do(f"tasks.watched({written})")
    return [Told(*each) for each in told], results


def text_of(told: list[Told], stream: str) -> str:
    """Return all that came on ``stream``."""
    return "".join(each.text for each in told if each.stream == stream)
