"""The tables as version 1 of `autocelery._beat.sql_tables` has them."""

from __future__ import annotations

from typing import Any

from django.db import migrations, models


class CreateTicks(migrations.CreateModel):
    """Makes the table of the ticks with its key of two columns, which Django before 5.2 cannot say."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Make the table, and its index."""
        model = to_state.apps.get_model(app_label, self.name)
        if not self.allow_migrate_model(schema_editor.connection.alias, model):
            return
        quoted, table = schema_editor.quote_name, model._meta  # noqa: SLF001 - Django's documented name
        columns = [
            f"{quoted(each.column)} {each.db_type(schema_editor.connection)} {'' if each.null else 'NOT '}NULL"
            for each in table.local_fields
        ]
        key = f"PRIMARY KEY ({quoted('entry')}, {quoted('tick')})"
        schema_editor.execute(f"CREATE TABLE {quoted(table.db_table)} ({', '.join([*columns, key])})")
        for index in table.indexes:
            schema_editor.add_index(model, index)


class Migration(migrations.Migration):
    """Makes the three tables."""

    initial = True
    dependencies = ()
    operations = (
        migrations.CreateModel(
            name="Lease",
            fields=[
                ("name", models.CharField(max_length=32, primary_key=True, serialize=False)),
                ("version", models.IntegerField()),
                ("token", models.BigIntegerField()),
                ("holder", models.CharField(max_length=200, null=True)),
                ("renewals", models.BigIntegerField()),
                ("expires", models.BigIntegerField()),
            ],
            options={"db_table": "autocelery_beat_lease", "default_permissions": ()},
        ),
        migrations.CreateModel(
            name="Entry",
            fields=[
                ("id", models.CharField(max_length=32, primary_key=True, serialize=False)),
                ("key", models.TextField()),
                ("definition", models.TextField()),
                ("origin", models.CharField(max_length=16)),
                ("settings", models.TextField(null=True)),
                ("removed", models.BooleanField()),
                ("anchor", models.BigIntegerField(null=True)),
                ("next_tick", models.BigIntegerField(null=True)),
                ("next_fire", models.BigIntegerField(null=True)),
                ("last_tick", models.BigIntegerField(null=True)),
                ("last_task_id", models.CharField(max_length=36, null=True)),
                ("runs", models.BigIntegerField()),
                ("problem", models.TextField(null=True)),
                ("edited", models.BigIntegerField(null=True)),
            ],
            options={
                "db_table": "autocelery_beat_entries",
                "verbose_name": "entry",
                "verbose_name_plural": "entries",
                "indexes": [models.Index(fields=["next_fire"], name="autocelery_beat_next_fire")],
            },
        ),
        CreateTicks(
            name="Tick",
            fields=[
                ("entry", models.CharField(max_length=32)),
                ("tick", models.BigIntegerField()),
                ("key", models.TextField()),
                ("task_id", models.CharField(max_length=36, primary_key=True, serialize=False)),
                ("state", models.CharField(max_length=16)),
                ("token", models.BigIntegerField()),
                ("call", models.TextField(null=True)),
                ("error", models.TextField(null=True)),
                ("recorded", models.BigIntegerField()),
            ],
            options={
                "db_table": "autocelery_beat_ticks",
                "default_permissions": (),
                "indexes": [models.Index(fields=["state", "tick"], name="autocelery_beat_state")],
                "constraints": [
                    models.UniqueConstraint(fields=["entry", "tick"], name="autocelery_beat_once")
                ],
            },
        ),
    )
