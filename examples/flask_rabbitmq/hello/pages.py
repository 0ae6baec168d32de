"""The pages, and what they ask for."""

from celery import current_app as celery
from flask import Blueprint, current_app, redirect, render_template, request, url_for

from hello import gotchas, tasks

pages = Blueprint("pages", __name__)

QUEUES = ("hello_queue", "reports")
#: What a message said that it was sent for when the tasks took a name only.
OLD = "(name)"


@pages.get("/")
def index():
    management = current_app.config.get("MANAGEMENT")
    return render_template("index.html", said=request.args.get("said"), management=management)


@pages.post("/frozen")
def frozen():
    """The long work in the request: whoever clicked waits for it."""
    tasks.work(current_app.config["SECONDS"])
    return redirect(url_for(".index", said="hello, at last"))


@pages.post("/hello")
def hello():
    """The same on a worker: the page is there at once."""
    return {"id": tasks.say_hello.delay(request.form["name"]).id}, 202


@pages.post("/reports")
def reports():
    return {"ids": [tasks.report.delay(number).id for number in range(20)]}, 202


@pages.get("/queues")
def queues():
    """How many messages wait in each queue."""
    with celery.connection_for_read() as connection:
        return {name: _length(connection, name) for name in QUEUES}


@pages.get("/results/<task_id>")
def result(task_id):
    found = celery.AsyncResult(task_id)
    return {"state": found.state, "result": str(found.result) if found.ready() else None}


@pages.post("/old/<name>")
def old(name):
    """Send what a producer of last week sends: it knows the task's old signature."""
    headers = {"autocelery_signature": f"{name}/1{OLD}"}
    sent = celery.send_task(f"hello.tasks.{name}", [request.form["name"]], headers=headers)
    return _outcome(lambda: sent.get(timeout=30))


@pages.get("/gotchas")
def show_gotchas():
    return render_template("gotchas.html")


@pages.post("/gotchas/<int:number>/<way>")
def gotcha(number, way):
    return _outcome(lambda: gotchas.run(number, works=way == "works"))


def _outcome(run):
    try:
        return {"ok": True, "text": str(run())}
    except Exception as error:  # noqa: BLE001 - whatever the task raised is what is shown
        return {"ok": False, "text": f"{type(error).__name__}: {error}"}


def _length(connection, name):
    try:
        with connection.channel() as channel:
            return channel.queue_declare(name, passive=True).message_count
    except connection.channel_errors:  # Redis knows no empty queue
        return 0
