"""The tables of a schedule as Django's models, so that ``migrate`` makes them and the admin reads them.

They say what `autocelery._beat.sql_tables` says, column by column, and nothing is written through them: what changes
the schedule goes through `autocelery._beat.editing`, which knows when an entry is due next.
"""

from __future__ import annotations

from django.db import models


class Lease(models.Model):
    """Who may send: one row."""

    name = models.CharField(max_length=32, primary_key=True)
    version = models.IntegerField()
    token = models.BigIntegerField()
    holder = models.CharField(max_length=200, null=True)
    renewals = models.BigIntegerField()
    expires = models.BigIntegerField()

    class Meta:
        """The table."""

        db_table = "autocelery_beat_lease"
        default_permissions = ()


class Entry(models.Model):
    """A row of the schedule; moments are microseconds since the epoch."""

    id = models.CharField(max_length=32, primary_key=True)
    key = models.TextField()
    definition = models.TextField()
    origin = models.CharField(max_length=16)
    settings = models.TextField(null=True)
    removed = models.BooleanField()
    anchor = models.BigIntegerField(null=True)
    next_tick = models.BigIntegerField(null=True)
    next_fire = models.BigIntegerField(null=True)
    last_tick = models.BigIntegerField(null=True)
    last_task_id = models.CharField(max_length=36, null=True)
    runs = models.BigIntegerField()
    problem = models.TextField(null=True)
    edited = models.BigIntegerField(null=True)

    class Meta:
        """The table."""

        db_table = "autocelery_beat_entries"
        verbose_name = "entry"
        verbose_name_plural = "entries"
        indexes = (models.Index(fields=["next_fire"], name="autocelery_beat_next_fire"),)

    def __str__(self) -> str:
        return str(self.key)


class Tick(models.Model):
    """A tick of an entry, which is there once.

    The table's primary key is entry and tick. Django before 5.2 has no such
    key; the id of the call, which derives from the two, does as well for it.
    """

    entry = models.CharField(max_length=32)
    tick = models.BigIntegerField()
    key = models.TextField()
    task_id = models.CharField(max_length=36, primary_key=True)
    state = models.CharField(max_length=16)
    token = models.BigIntegerField()
    call = models.TextField(null=True)
    error = models.TextField(null=True)
    recorded = models.BigIntegerField()

    class Meta:
        """The table."""

        db_table = "autocelery_beat_ticks"
        default_permissions = ()
        indexes = (models.Index(fields=["state", "tick"], name="autocelery_beat_state"),)
        constraints = (models.UniqueConstraint(fields=["entry", "tick"], name="autocelery_beat_once"),)
