"""Three things that surprise people: each as it fails on a stock worker, and as it works."""

import multiprocessing
import time

from celery import chain, shared_task

# 1. A task that starts processes: the children of a prefork pool may have none.


#: Seconds that the long task of the third takes.
LONG = 4.0


def square(number):
    return number * number


@shared_task
def squares(numbers):
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.map(square, numbers)


# 2. Arguments along a chain: each task gets the result of the one before it, wanted or not.


@shared_task
def fetch(order):
    return {"order": order, "total": 129.5}


@shared_task
def announce():
    return "the order is there"


@shared_task(signature="tolerant")
def announce_anyway():
    return "the order is there"


# 3. Tasks that stay queued while workers are free: one worker takes four messages, and is busy with the first.


@shared_task
def wait_stock(seconds):
    time.sleep(seconds)
    return time.time()


@shared_task(acks_late=True)
def wait_fair(seconds):
    time.sleep(seconds)
    return time.time()


def run(number, works):
    """Run one of the three; return what it gives, or raise what it raises.

    Args:
        number: of the gotcha.
        works: whether to run it the way that works; else as on a stock worker.
    """
    if number == 1:  # a live call runs in a process of its own, which may have children
        return (squares.live if works else squares).delay([1, 2, 3]).get(timeout=30)
    if number == 2:  # a tolerant task leaves out what it has no parameter for
        return chain(fetch.s(4711), (announce_anyway if works else announce).s())().get(timeout=30)
    task = wait_fair if works else wait_stock
    begin = time.time()
    task.delay(LONG)
    last = max(each.get(timeout=30) for each in [task.delay(0.05) for _ in range(6)])
    return f"Two workers: one has {LONG:g} s of work, the last of six short tasks was done after {last - begin:.1f} s."
