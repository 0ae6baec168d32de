"""The app. Its settings travel with the tree, so that deployed and live code have the same ones."""

from __future__ import annotations

import json
from pathlib import Path

from celery import Celery

from autocelery import Autocelery

SETTINGS = json.loads(Path(__file__).with_name("settings.json").read_text())
MODULES = ("plain", "failing", "retrying", "hooked", "composed", "delivered", "limited")

app = Celery(__package__, include=[f"{__package__}.{name}" for name in MODULES])
app.conf.update(SETTINGS["celery"])
auto = Autocelery(app)

from . import recording  # noqa: E402  (its receivers have to be there before a task runs)

recording.connect()
