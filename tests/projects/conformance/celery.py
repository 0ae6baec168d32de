"""The app. Its settings travel with the tree, so that deployed and live code have the same ones."""

from __future__ import annotations

import json
from pathlib import Path

from celery import Celery
from celery.events import EventDispatcher

from autocelery import Autocelery

SETTINGS = json.loads(Path(__file__).with_name("settings.json").read_text())
MODULES = ("plain", "failing", "retrying", "hooked", "composed", "delivered", "limited")

app = Celery(__package__, include=[f"{__package__}.{name}" for name in MODULES])
app.conf.update(SETTINGS["celery"])
auto = Autocelery(app)


class Unbuffered(EventDispatcher):
    """Sends each event at once: an older Celery loses some of those that it gathers from several threads."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **{**kwargs, "buffer_group": None})


if SETTINGS.get("unbuffered_events"):
    app.events.dispatcher_cls = Unbuffered

from . import recording  # noqa: E402  (its receivers have to be there before a task runs)

recording.connect()
