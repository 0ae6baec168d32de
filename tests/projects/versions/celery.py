"""The app. Its settings travel with the tree."""

from __future__ import annotations

import json
from pathlib import Path

from celery import Celery

from autocelery import Autocelery

app = Celery(__package__, include=[f"{__package__}.tasks"])
app.conf.update(json.loads(Path(__file__).with_name("settings.json").read_text())["celery"])
auto = Autocelery(app)
