"""The Django app with the tables of the schedule and its admin."""

from __future__ import annotations

from django.apps import AppConfig


class BeatConfig(AppConfig):
    """``autocelery.presets.django.beat`` in ``INSTALLED_APPS``."""

    name = "autocelery.presets.django.beat"
    label = "autocelery_beat"
    verbose_name = "Periodic tasks"
