"""The schedule in Django's database and its admin, as Django's own tests: a project of a test copies them and runs them.

Tasks run in the calling process. What needs a beat that runs is in tests/integration/presets/test_django_beat.py.
"""

import json
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import celery
import django
from celery import current_app
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import SimpleTestCase, TransactionTestCase
from django_celery_results.models import TaskResult
from sqlalchemy import BigInteger, Boolean, Integer, String, Text

from autocelery._beat import editing, syncing
from autocelery._beat.definition import decode, task_id_of
from autocelery._beat.from_settings import read
from autocelery._beat.opening import open_store
from autocelery._beat.sql_tables import METADATA
from autocelery._beat.store import FAILED, RECORDED, SENT, Decision, Tick
from autocelery.presets.django.beat.models import Entry, Lease
from autocelery.presets.django.beat.models import Tick as TickRow

PAGES = "/admin/autocelery_beat/entry/"
#: What the form sends for an entry that a person has not touched.
FIELDS = {
    "key": "report",
    "task": "shop.tasks.add",
    "kind": "crontab",
    "crontab": "30 2 * * mon-fri",
    "timezone": "Europe/Madrid",
    "enabled": "on",
    "args": "[1, 2]",
    "kwargs": "{}",
    "queue": "",
    "options": "{}",
    "missed": "once",
    "limit": "100",
    "grace": "60",
    "jitter": "0",
}


class Models(SimpleTestCase):
    def test_the_models_have_the_columns_of_the_tables_and_no_others(self):
        kinds = {"CharField": String, "TextField": Text, "BigIntegerField": BigInteger}
        kinds |= {"IntegerField": Integer, "BooleanField": Boolean}
        models = {each._meta.db_table: each._meta for each in (Lease, Entry, TickRow)}
        self.assertEqual(set(models), set(METADATA.tables))
        for name, table in METADATA.tables.items():
            fields = {each.column: each for each in models[name].local_fields}
            self.assertEqual(list(fields), [each.name for each in table.c])
            for column in table.c:
                field = fields[column.name]
                self.assertIs(type(column.type), kinds[field.get_internal_type()], column)
                self.assertEqual(getattr(column.type, "length", None), field.max_length, column)
                self.assertEqual(column.nullable, field.null, column)
            indexes = {each.name: [column.name for column in each.columns] for each in table.indexes}
            self.assertEqual(indexes, {each.name: list(each.fields) for each in models[name].indexes})


class OnSchedule(TransactionTestCase):
    def setUp(self):
        self.store = open_store(current_app._get_current_object())
        self.addCleanup(self.store.close)
        self.store.prepare()
        self.admin = User.objects.create_superuser("admin")
        self.client.force_login(self.admin)

    def entry(self, key="report", **changes):
        told = {"task": "shop.tasks.add", "schedule": "30 2 * * mon-fri", "args": [1, 2]}
        return editing.edit(self.store, key, {**told, "timezone": "Europe/Madrid", **changes}, "UTC")

    def stored(self, key="report"):
        return decode(self.store.entry(key).definition)

    def page(self, entry):
        return f"{PAGES}{entry.id}/change/"

    def said(self, answer):
        return [str(each) for each in answer.context["messages"]]


class Add(OnSchedule):
    def add(self, **fields):
        return self.client.post(f"{PAGES}add/", {**FIELDS, **fields}, follow=True)

    def refused(self, **fields):
        """Return the errors by field."""
        answer = self.add(**fields)
        self.assertIsNone(self.store.entry(FIELDS["key"]))
        return {name: list(told) for name, told in answer.context["adminform"].form.errors.items()}

    def test_a_form_makes_the_entry_that_the_command_line_makes(self):
        self.assertIn("was added successfully", self.said(self.add())[-1])
        made = self.store.entry("report")
        told = {"task": "shop.tasks.add", "schedule": "30 2 * * mon-fri", "args": [1, 2]}
        by_hand = editing.edit(self.store, "other", {**told, "timezone": "Europe/Madrid"}, "UTC")
        self.assertEqual(decode(made.definition), decode(by_hand.definition))
        self.assertEqual((made.next_tick, made.origin), (by_hand.next_tick, "database"))
        self.assertIsNotNone(made.edited)

    def test_each_kind_of_schedule(self):
        kinds = {
            "crontab": {"crontab": "*/5 * * * *"},
            "interval": {"seconds": "90"},
            "time of day": {"at": "02:30", "days": "mon-fri"},
            "once": {"moment": "2099-01-31T09:00"},
            "solar": {"event": "sunset", "lat": "40.4", "lon": "-3.7"},
        }
        for kind, fields in kinds.items():
            with self.subTest(kind):
                self.add(key=kind, kind=kind, **fields)
                self.assertEqual(self.stored(kind).schedule["kind"], kind)
                shown = self.client.get(self.page(self.store.entry(kind))).context["adminform"].form
                for name, value in fields.items():
                    self.assertEqual(str(shown[name].value()).removesuffix(".0"), value)

    def test_what_makes_no_sense_is_said_at_its_field(self):
        cases = [
            ("timezone", "did you mean Europe/Madrid", {"timezone": "Europe/Madird"}),
            ("crontab", "never", {"crontab": "0 0 31 2 *"}),
            ("crontab", "six fields", {"crontab": "* * * * * *"}),
            ("crontab", "cannot be read", {"crontab": "99 * * * *"}),
            ("crontab", "required", {"crontab": ""}),
            ("seconds", "due all the time", {"kind": "interval", "seconds": "0.1"}),
            ("seconds", "too large", {"kind": "interval", "seconds": "1e12"}),
            ("jitter", "too large", {"jitter": "1e15"}),
            ("starts", "too large", {"starts": "9999-12-31T23:59", "timezone": "America/Lima"}),
            ("at", "is no schedule", {"kind": "time of day", "at": "noon"}),
            ("at", "cannot be read", {"kind": "time of day", "at": "25:00"}),
            ("moment", "is no schedule", {"kind": "once", "moment": "soon"}),
            ("args", "not JSON", {"args": "[1, two]"}),
            ("args", "not a list", {"args": "{}"}),
            ("kwargs", "not JSON", {"kwargs": "x=1"}),
            ("kwargs", "not an object", {"kwargs": "[]"}),
            ("options", "task_id is beat's own", {"options": '{"task_id": "1"}'}),
            ("limit", "1 or more", {"limit": "0"}),
            ("grace", "0 or more", {"grace": "-1"}),
            ("jitter", "0 or more", {"jitter": "-1"}),
            ("max_runs", "1 or more", {"max_runs": "0"}),
            ("starts", "no moment in ISO 8601", {"starts": "tomorrow"}),
            ("ends", "before it starts", {"starts": "2099-01-02", "ends": "2099-01-01"}),
            ("task", "required", {"task": ""}),
            ("key", "required", {"key": ""}),
            ("kind", "not one of the available choices", {"kind": "class"}),
        ]
        for name, why, fields in cases:
            with self.subTest(fields):
                errors = self.refused(**fields)
                self.assertEqual(list(errors), [name], errors)
                self.assertIn(why, errors[name][0])

    def test_what_was_typed_is_still_there_beside_its_error(self):
        self.assertContains(self.add(args="[1, two]"), "[1, two]")

    def test_a_key_that_is_taken_is_refused(self):
        self.entry()
        answer = self.add(task="other")
        self.assertIn("key already", str(answer.context["adminform"].form.errors["key"]))
        self.assertEqual(self.stored().task, "shop.tasks.add")

    def test_a_task_that_nobody_knows_is_a_warning(self):
        said = self.said(self.add(task="shop.tasks.ad"))
        self.assertTrue(any("Did you mean shop.tasks.add?" in each for each in said), said)
        self.assertEqual(self.stored().task, "shop.tasks.ad")

    def test_dates_and_decimals_stay_what_they_are(self):
        told = '[{"__type__": "date", "__value__": "2026-01-31"}]'
        self.add(args=told)
        before = self.store.entry("report").definition
        self.assertIn("2026-01-31", str(self.stored().args[0]))
        self.client.post(self.page(self.store.entry("report")), {**FIELDS, "args": told, "jitter": "5"})
        self.assertEqual(self.stored().args, decode(before).args)


class Edit(OnSchedule):
    def edit(self, entry, **fields):
        return self.client.post(self.page(entry), {**FIELDS, **fields}, follow=True)

    def test_an_edit_changes_what_was_changed_and_nothing_else(self):
        entry = self.entry(options={"queue": "slow", "priority": 5}, missed="all", limit=7, overlap=False)
        shown = self.client.get(self.page(entry)).context["adminform"].form
        untouched = {name: shown[name].value() for name in shown.fields}
        untouched = {
            name: value for name, value in untouched.items() if value is not None and value is not False
        }
        answer = self.client.post(self.page(entry), untouched)
        self.assertEqual(answer.status_code, 302)
        self.assertEqual(self.store.entry("report"), entry)
        self.client.post(self.page(entry), {**untouched, "jitter": "30"})
        self.assertEqual(self.stored(), replace(decode(entry.definition), jitter=30.0))

    def test_it_is_an_edit_of_the_database_to_the_settings(self):
        settings = read(current_app._get_current_object())
        syncing.sync(self.store, settings, syncing.EDITS)
        [row] = Entry.objects.filter(key="from settings")
        self.client.post(self.page(row), {**FIELDS, "key": row.key, "kind": "interval", "seconds": "7"})
        syncing.sync(self.store, settings, syncing.EDITS)
        self.assertEqual(self.stored(row.key).schedule["seconds"], 7)
        [found] = [each for each in syncing.difference(self.store, settings) if each.key == row.key]
        self.assertEqual(found.why, "edited in the database")
        syncing.take(self.store, settings, "settings", [row.key])
        self.assertEqual(self.stored(row.key).schedule["seconds"], 3600)

    def test_the_key_stays(self):
        entry = self.entry()
        self.edit(entry, key="other", jitter="5")
        self.assertIsNone(self.store.entry("other"))
        self.assertEqual(self.stored().jitter, 5)

    def test_a_schedule_of_a_users_class_is_kept_and_can_only_be_replaced(self):
        spec = {"kind": "class", "path": "celery.schedules:schedule", "arguments": [60, True]}
        entry = self.entry(schedule=spec)
        self.edit(entry, kind="class", jitter="5", path="os:system", arguments='["true"]')
        self.assertEqual((self.stored().schedule, self.stored().jitter), (spec, 5))
        self.edit(entry, kind="crontab")
        self.assertEqual(self.stored().schedule["kind"], "crontab")

    def test_an_entry_that_cannot_be_read_can_be_mended(self):
        entry = self.entry()
        Entry.objects.filter(pk=entry.id).update(
            definition=entry.definition.replace("Europe/Madrid", "Mars/Base"), problem="no such zone"
        )
        self.assertContains(self.client.get(PAGES), "no such zone")
        self.assertContains(self.client.get(self.page(entry)), "Mars/Base")

    def test_enable_and_disable(self):
        self.entry()
        self.entry("other")
        ids = list(Entry.objects.values_list("pk", flat=True))
        for action, is_enabled in (("disable", False), ("enable", True)):
            answer = self.client.post(PAGES, {"action": action, "_selected_action": ids}, follow=True)
            self.assertEqual(self.said(answer), [f"{action.title()}d: other, report."])
            self.assertEqual([self.stored(key).enabled for key in ("report", "other")], [is_enabled] * 2)
            self.assertEqual(self.store.entry("report").next_tick is not None, is_enabled)

    def test_deleted_is_forgotten_and_one_of_the_settings_says_that_it_comes_back(self):
        syncing.sync(self.store, read(current_app._get_current_object()), syncing.EDITS)
        [row] = Entry.objects.filter(key="from settings")
        answer = self.client.post(f"{PAGES}{row.pk}/delete/", {"post": "yes"}, follow=True)
        self.assertTrue(any("comes back" in each for each in self.said(answer)))
        self.assertIsNone(self.store.entry("from settings"))
        entry = self.entry()
        answer = {"action": "delete_selected", "_selected_action": [entry.id], "post": "yes"}
        self.client.post(PAGES, answer)
        self.assertIsNone(self.store.entry("report"))

    def test_what_the_store_refuses_is_said_and_the_page_is_there_again(self):
        entry = self.entry()
        Lease.objects.update(version=99)
        answer = self.edit(entry, jitter="5")
        self.assertEqual(answer.status_code, 200)
        self.assertTrue(any("version 99" in each for each in self.said(answer)), self.said(answer))


class Look(OnSchedule):
    def test_the_list_says_what_when_and_in_which_zone(self):
        entry = self.entry()
        self.entry("off", enabled=False, schedule=90)
        page = self.client.get(PAGES)
        for said in ("report", "shop.tasks.add", "30 2 * * mon-fri", "every 90 s", "disabled"):
            self.assertContains(page, said)
        self.assertContains(page, f"{entry.next_tick.astimezone(decode(entry.definition).zone):%Y-%m-%d} 02:30:00")
        self.assertContains(page, "Europe/Madrid")
        self.assertContains(self.client.get(PAGES, {"q": "tasks.add"}), "2 entries")

    def test_the_page_has_the_next_five_firings_and_the_last_runs_with_their_results(self):
        entry = self.entry()
        self.run_of(entry, SENT, stored="SUCCESS")
        failed = self.run_of(entry, FAILED, error="no broker today")
        page = self.client.get(self.page(entry)).content.decode()
        zone = decode(entry.definition).zone
        for tick in editing.upcoming(self.store.entry("report"), 5):
            self.assertIn(f"{tick.astimezone(zone):%Y-%m-%d %H:%M:%S} Europe/Madrid", page)
        [result] = TaskResult.objects.all()
        self.assertIn(f'<a href="/admin/django_celery_results/taskresult/{result.pk}/change/">', page)
        for said in ("SUCCESS", failed.task_id, "no broker today"):
            self.assertIn(said, page)

    def test_who_may_look_sees_it_all_and_can_change_nothing(self):
        entry = self.entry()
        viewer = User.objects.create_user("viewer", is_staff=True)
        viewer.user_permissions.add(Permission.objects.get(codename="view_entry"))
        self.client.force_login(viewer)
        page = self.client.get(self.page(entry)).content.decode()
        self.assertIn("30 2 * * mon-fri", page)
        for missing in ('name="task"', "_save", "run-now"):
            self.assertNotIn(missing, page)
        listed = self.client.get(PAGES).content.decode()
        for missing in ('value="run_now"', 'value="enable"', 'value="delete_selected"', "add/"):
            self.assertNotIn(missing, listed)
        before = self.store.entry("report")
        self.assertEqual(self.client.post(self.page(entry), {**FIELDS, "jitter": "5"}).status_code, 403)
        self.assertEqual(self.client.post(f"{PAGES}{entry.id}/run/").status_code, 403)
        self.assertEqual(self.client.post(f"{PAGES}{entry.id}/delete/", {"post": "yes"}).status_code, 403)
        self.client.post(PAGES, {"action": "run_now", "_selected_action": [entry.id]})
        self.assertEqual(self.store.entry("report"), before)
        self.assertFalse(TaskResult.objects.exists())

    def test_who_may_not_look_sees_nothing(self):
        entry = self.entry()
        self.client.force_login(User.objects.create_user("other", is_staff=True))
        for page in (PAGES, self.page(entry)):
            self.assertEqual(self.client.get(page).status_code, 403)

    def run_of(self, entry, state, error=None, stored=None):
        """Have the entry's next tick recorded and come to an end, and return it."""
        now, _ = self.store.lease()
        tick = now - timedelta(hours=1) + timedelta(minutes=TickRow.objects.count())
        due = replace(self.store.entry(entry.key), next_fire=now - timedelta(seconds=1))
        self.store.edit([entry.id], lambda _found, _now: syncing.Edits([due]))
        made = Tick(entry.id, entry.key, tick, task_id_of(entry.id, tick), RECORDED, 0, "call")
        token = self.store.take(self.store.lease()[1], "me", 60)
        following = replace(due, next_fire=entry.next_fire)
        [made] = self.store.record(token, [entry.id], lambda _entry, _now: Decision(following, (made,)))
        self.store.settle([replace(made, state=state, error=error)])
        if stored:
            TaskResult.objects.create(task_id=made.task_id, status=stored)
        return made


class Run(OnSchedule):
    def test_the_button_sends_it_now_and_leads_to_the_result(self):
        entry = self.entry()
        self.assertContains(self.client.get(self.page(entry)), f'action="{PAGES}{entry.id}/run/"')
        answer = self.client.post(f"{PAGES}{entry.id}/run/", follow=True)
        [result] = TaskResult.objects.all()
        self.assertEqual((result.status, json.loads(result.result)), ("SUCCESS", 3))
        self.assertContains(answer, f"/admin/django_celery_results/taskresult/{result.pk}/change/")
        self.assertEqual(self.store.entry("report"), entry)
        self.assertEqual(self.client.get(f"{PAGES}{entry.id}/run/").status_code, 405)

    def test_the_action_sends_what_can_be_sent_and_says_what_cannot(self):
        entry, broken = self.entry(), self.entry("broken")
        Entry.objects.filter(pk=broken.id).update(definition="{}")
        ids = [entry.id, broken.id]
        said = self.said(self.client.post(PAGES, {"action": "run_now", "_selected_action": ids}, follow=True))
        self.assertEqual(len([each for each in said if each.startswith("Sent “report”")]), 1)
        self.assertTrue(any(each.startswith("Entry “broken”: what is stored of it cannot be read") for each in said))
        self.assertEqual(TaskResult.objects.count(), 1)


class Store(OnSchedule):
    def test_it_has_connections_of_its_own(self):
        with connection.cursor():
            before = connection.connection
        self.store.entries()
        self.assertIs(connection.connection, before)
        with self.store._engine.get().connect() as ours:
            self.assertIsNot(ours.connection.driver_connection, before)

    def test_after_a_flush_it_goes_on(self):
        before = self.store.take(self.store.lease()[1], "me", 60)
        Lease.objects.all().delete()
        with closing(open_store(current_app._get_current_object())) as store:
            store.prepare()
            self.assertGreaterEqual(store.take(store.lease()[1], "other", 60), before)

    def test_its_clock_is_now(self):
        self.assertLess(abs(self.store.lease()[0] - datetime.now(UTC)), timedelta(seconds=5))

    def test_versions(self):
        print(f"Django {django.__version__}, Celery {celery.__version__}, {connection.vendor}")
