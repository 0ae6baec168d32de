from celery import chain, group
from celery.exceptions import Ignore, Reject

from bakery.celery import app
from bakery.refusals import OvenCold


@app.task
def add(a, b=1):
    return a + b


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def kind(value):
    return f"{type(value).__module__}.{type(value).__qualname__}"


@app.task
def echo(*args, **kwargs):
    return [args, kwargs]


@app.task
def bake(degrees):
    if degrees < 180:
        raise OvenCold(degrees)
    return "bread"


@app.task
def gives_a_set():
    return {1, 2}


@app.task(bind=True, max_retries=5, default_retry_delay=0.05)
def rises(self, tries):
    if self.request.retries < tries:
        raise self.retry()
    return self.request.retries


@app.task(bind=True, max_retries=2, default_retry_delay=0.05)
def never_rises(self):
    raise self.retry(exc=OvenCold(20))


@app.task(bind=True, autoretry_for=(OvenCold,), retry_backoff=False, default_retry_delay=0.05, max_retries=3)
def warms_up(self):
    if self.request.retries < 2:
        raise OvenCold(self.request.retries)
    return "warm"


@app.task(bind=True)
def asked(self):
    request = self.request
    return {
        "called_directly": request.called_directly,
        "is_eager": request.is_eager,
        "is_own_root": request.root_id == request.id,
        "parent": request.parent_id,
        "retries": request.retries,
        "task": request.task,
        "group": request.group,
        "headers": (request.headers or {}).get("flour"),
        "origin": bool(request.origin),
        "will_block": _will_block(),
    }


def _will_block():
    try:
        add.delay(1, 1).get(timeout=1)
    except RuntimeError as exc:
        return str(exc).splitlines()[0]
    return None


@app.task(bind=True)
def hands_over(self, number):
    raise self.replace(chain(add.s(number, 1), add.s(10)))


@app.task(bind=True)
def hands_over_to_several(self, numbers):
    raise self.replace(group(add.s(each, 1) for each in numbers) | total.s())


@app.task
def orders(number):
    return add.delay(number, number).id


@app.task(bind=True)
def says_how_far(self):
    self.update_state(state="PROGRESS", meta={"done": 3})
    raise Ignore()


@app.task
def rejects():
    raise Reject("no flour", requeue=False)


@app.task(ignore_result=True)
def tells_nobody():
    return 1


@app.task
def old_errback(task_id):
    app.backend.set(f"errback-{task_id}", b"old")
