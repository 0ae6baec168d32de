"""The demo: the main job, shown and checked on a stock worker that lives as long as the demo."""

from __future__ import annotations

from autocelery._demo.interrupts import Interrupts
from autocelery._demo.staging import Stage
from autocelery._demo.story import Chapter, Shown, story

__all__ = ["Chapter", "Interrupts", "Shown", "Stage", "story"]
