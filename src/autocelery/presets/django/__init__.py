"""Celery in a Django project: two lines in ``settings.py``, two in ``celery.py``.

from autocelery.presets.django import configure
configure(globals())                 # at the end of settings.py

from autocelery.presets.django import celery_app
app = celery_app("proj")             # proj/celery.py

Neither imports a model.
"""

from __future__ import annotations

from autocelery.presets.django._application import celery_app
from autocelery.presets.django._configuring import CeleryPreset, configure

__all__ = ["CeleryPreset", "celery_app", "configure"]
