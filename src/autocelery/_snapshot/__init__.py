"""Snapshots as files and digests: collect, encode, cache, lay out. No Celery in here."""

from autocelery._snapshot.cache import BlobCache
from autocelery._snapshot.collect import collect
from autocelery._snapshot.collected import CollectedTree
from autocelery._snapshot.layout import lay_out
from autocelery._snapshot.rules import ShipRules
from autocelery._snapshot.stat_memory import StatMemory

__all__ = ["BlobCache", "CollectedTree", "ShipRules", "StatMemory", "collect", "lay_out"]
