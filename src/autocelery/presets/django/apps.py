"""The Django app that brings the commands and the checks; it has no models."""

from __future__ import annotations

from django.apps import AppConfig


class PresetConfig(AppConfig):
    """``autocelery.presets.django`` in ``INSTALLED_APPS``."""

    name = "autocelery.presets.django"
    label = "autocelery"
    verbose_name = "autocelery"

    def ready(self) -> None:
        """Bring the settings into agreement, and register the checks."""
        from autocelery.presets.django import _checks, _settling

        _settling.settle()
        _checks.register()
