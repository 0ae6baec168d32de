"""Tasks that send others."""

from __future__ import annotations

from celery import chain, chord, group
from celery.result import allow_join_result

from .celery import app
from .failing import fails
from .recording import SECONDS_TO_WAIT
from .plain import add, multiply, total


@app.task
def sends_another(x):
    add.delay(x, 1)
    return "sent"


@app.task
def sends_by_name(x):
    app.send_task(add.name, (x, 1))
    return "sent by name"


@app.task
def sends_a_tree(depth):
    if depth:
        for _ in range(2):
            sends_a_tree.delay(depth - 1)
    return depth


@app.task
def sends_a_chord(numbers):
    chord([add.s(n, 1) for n in numbers])(total.s())
    return len(numbers)


@app.task
def sends_a_chain(x):
    chain(add.s(x, 1), multiply.s(2)).apply_async()
    return x


@app.task
def joins(x):
    with allow_join_result():
        return add.delay(x, 1).get(timeout=SECONDS_TO_WAIT)


@app.task
def joins_without_asking(x):
    return add.delay(x, 1).get(timeout=SECONDS_TO_WAIT)


@app.task
def calls_directly(x):
    return [add(x, 1), add.apply((x, 2)).result, add.s(x, 3)()]


@app.task(bind=True)
def becomes_a_task(self, x):
    raise self.replace(add.s(x, 10))


@app.task(bind=True)
def becomes_a_chain(self, x):
    raise self.replace(chain(add.s(x, 10), multiply.s(2)))


@app.task(bind=True)
def becomes_a_group(self, numbers):
    raise self.replace(group(add.s(n, 10) for n in numbers))


@app.task(bind=True)
def becomes_a_chord(self, numbers):
    raise self.replace(chord([add.s(n, 10) for n in numbers], total.s()))


@app.task(bind=True)
def becomes_a_failure(self):
    raise self.replace(fails.s("replaced"))


@app.task(bind=True)
def becomes_itself(self, n):
    if n:
        raise self.replace(becomes_itself.s(n - 1))
    return self.request.replaced_task_nesting


@app.task(bind=True)
def adds_to_its_chord(self, x):
    self.add_to_chord(add.s(x, 100))
    return x
