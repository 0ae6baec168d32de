"""One suite, run twice: `python manage.py test` runs the tasks in this process, and with a broker and PostgreSQL

    REDIS_URL=redis://... PGDATABASE=shop python manage.py test

on a worker that it starts.
"""

import json
import os
import signal
import subprocess
import sys
import time
from decimal import Decimal

from celery import chain, chord, group
from celery.result import AsyncResult
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import TestCase, TransactionTestCase
from django_celery_results.models import TaskResult

from autocelery.errors import ArgumentNotSerializable
from autocelery.presets.django.beat.models import Entry
from orders.models import Order
from orders.tasks import send_invoice, total, wait_for_payment

SECONDS = 60


class OnWorker(TransactionTestCase):
    """Has a worker on the test's own database, where a broker is configured."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if getattr(settings, "CELERY_BROKER_URL", None):
            command = [sys.executable, "-m", "celery", "-A", "shop", "worker", "-c", "1", "-l", "WARNING"]
            environment = {**os.environ, "PGDATABASE": connection.settings_dict["NAME"]}
            cls.worker = subprocess.Popen(command, env=environment)
            cls.addClassCleanup(cls.stop_worker)

    @classmethod
    def stop_worker(cls):
        cls.worker.send_signal(signal.SIGTERM)
        cls.worker.wait(SECONDS)

    def order(self, customer="Ada"):
        return Order.objects.create(customer=customer, amount=Decimal("9.90"))


class Tasks(OnWorker):
    def test_a_view_sends_its_task_after_the_commit_and_the_result_is_found_by_id(self):
        answer = self.client.post("/orders/", {"customer": "Ada", "amount": "9.90"}).json()
        result = AsyncResult(answer["task"])
        self.assertEqual(result.get(timeout=SECONDS), f"{answer['order']:05d} for Ada")
        self.assertIn("for Ada", Order.objects.get(pk=answer["order"]).invoice)

    def test_a_rollback_takes_the_task_along(self):
        order = self.order()
        with self.assertRaises(KeyError), transaction.atomic():
            result = send_invoice.delay(order.pk)
            raise KeyError
        send_invoice.delay(self.order().pk).get(timeout=SECONDS)
        self.assertEqual(result.state, "PENDING")

    def test_chains_groups_and_chords(self):
        invoices = group(send_invoice.s(self.order(name).pk) for name in ("Ada", "Grace"))()
        self.assertEqual([each[-3:] for each in invoices.get(timeout=SECONDS)], ["Ada", "ace"])
        both = chain(total.s([1, 2]), group(total.si([3]), total.si([4])))()
        self.assertEqual(both.get(timeout=SECONDS), [3, 4])
        self.assertEqual(chord([total.s([1]), total.s([2])], total.s())().get(timeout=SECONDS), 3)

    def test_a_retry_survives_the_rollback_that_it_causes(self):
        order = self.order()
        self.assertEqual(wait_for_payment.delay(order.pk).get(timeout=SECONDS), 2)
        order.refresh_from_db()
        self.assertEqual(order.customer, "Ada (paid)")

    def test_an_error_reaches_the_caller_as_it_was_raised(self):
        with self.assertRaises(Order.DoesNotExist):
            send_invoice.delay(0).get(timeout=SECONDS)

    def test_money_arrives_as_money(self):
        self.assertEqual(
            total.delay([Decimal("1.10"), Decimal("2.20")]).get(timeout=SECONDS), Decimal("3.30")
        )

    def test_an_order_is_no_argument(self):
        with self.assertRaisesMessage(ArgumentNotSerializable, "Pass its primary key, order.pk"):
            send_invoice.delay(self.order())

    def test_a_live_call_finds_the_same_database(self):
        order = self.order("Grace")
        self.assertEqual(send_invoice.live.delay(order.pk).get(timeout=SECONDS), f"{order.pk:05d} for Grace")

    def test_results_are_in_the_admin(self):
        result = total.delay([40, 2])
        result.get(timeout=SECONDS)
        self.client.force_login(User.objects.create_superuser("admin"))
        page = self.client.get("/admin/django_celery_results/taskresult/")
        self.assertContains(page, result.id)
        self.assertContains(page, "orders.tasks.total")


class Schedule(OnWorker):
    """Beat reads its schedule from the database, and the admin edits it."""

    ENTRIES = "/admin/autocelery_beat/entry/"

    def setUp(self):
        self.client.force_login(User.objects.create_superuser("admin"))
        self.order("Grace")

    def add(self, key, seconds):
        """Fill in the form as a person would, and return the new entry."""
        form = self.client.get(f"{self.ENTRIES}add/").context["adminform"].form
        values = {name: form[name].value() for name in form.fields}
        fields = {name: value for name, value in values.items() if value is not None}
        fields |= {"key": key, "task": "orders.tasks.remind", "kind": "interval", "seconds": seconds}
        self.assertRedirects(self.client.post(f"{self.ENTRIES}add/", fields), self.ENTRIES)
        return Entry.objects.get(key=key)

    def results(self):
        found = TaskResult.objects.filter(task_name="orders.tasks.remind", status="SUCCESS")
        return [json.loads(each.result) for each in found]

    def wait_for_results(self):
        end = time.monotonic() + SECONDS
        while not self.results() and time.monotonic() < end:
            time.sleep(0.1)
        return self.results()

    def test_run_now(self):
        entry = self.add("now and then", 3600)
        self.client.post(f"{self.ENTRIES}{entry.pk}/run/")
        self.assertEqual(self.wait_for_results(), [["Grace"]])

    def test_beat_sends_what_the_admin_was_told(self):
        if not getattr(settings, "CELERY_BROKER_URL", None):
            self.skipTest("beat is a process, and sends to a broker")
        command = [sys.executable, "-m", "celery", "-A", "shop", "beat", "-l", "WARNING", "--pidfile="]
        environment = {**os.environ, "PGDATABASE": connection.settings_dict["NAME"]}
        with subprocess.Popen(command, env=environment) as beat:
            try:
                self.add("each second", 1)
                self.assertIn(["Grace"], self.wait_for_results())
                self.assertContains(self.client.get(self.ENTRIES), "09:00 mon-fri")
            finally:
                beat.send_signal(signal.SIGTERM)


class InTheTransactionOfATest(TestCase):
    """``TestCase`` never commits: what it calls itself is sent at once, what the code calls with the commit."""

    def setUp(self):
        if getattr(settings, "CELERY_BROKER_URL", None):
            self.skipTest("a worker cannot see what a test does not commit")

    def test_a_call_runs_at_once(self):
        order = Order.objects.create(customer="Ada", amount=1)
        self.assertEqual(send_invoice.delay(order.pk).get(), f"{order.pk:05d} for Ada")

    def test_a_call_of_the_code_runs_with_its_commit(self):
        with self.captureOnCommitCallbacks(execute=True):
            answer = self.client.post("/orders/", {"customer": "Ada", "amount": 1}).json()
            self.assertEqual(Order.objects.get().invoice, "")
        self.assertEqual(AsyncResult(answer["task"]).get(), Order.objects.get().invoice)
