"""The schedule in the admin: list it, edit it, enable and disable, run now, and see when it fires and fired.

What is changed goes through `autocelery._beat.editing`, as from the command line, on a connection of its own: an edit
has to be alone with the schedule, which a transaction that Django has open for a request would keep it from. So the
pages that edit are in no such transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from autocelery._beat import editing
from autocelery._beat.definition import Definition, decode, id_of
from autocelery._beat.sql_store import SqlBeatStore
from autocelery._beat.syncing import SETTINGS
from autocelery._beat.wording import doubts, spoken, state_of
from autocelery.errors import AutoceleryError, EntryInvalid
from autocelery.presets.django.beat import _reading
from autocelery.presets.django.beat._forms import KINDS, EntryForm, project_app
from autocelery.presets.django.beat._opening import open_store
from autocelery.presets.django.beat.models import Entry

#: How many firings are shown.
NEXT = 5
_SHOWN = ("upcoming", "last_runs", "state")
_RULES = ("missed", "limit", "grace", "jitter", "starts", "ends", "max_runs", "no_overlap")
_FIELDSETS = (
    (None, {"fields": ("key", "task", "enabled", "state")}),
    (
        "When",
        {"fields": ("kind", *(name for names in KINDS.values() for name in names), "timezone", "upcoming")},
    ),
    ("What", {"fields": ("args", "kwargs", "queue", "options")}),
    ("Rules", {"fields": _RULES}),
    ("Runs", {"fields": ("last_runs",)}),
)
_TO_READ = ("key", "task", "shown_schedule", "upcoming", "last_runs", "state")


@admin.register(Entry)
class EntryAdmin(admin.ModelAdmin):
    """The pages of the schedule."""

    form = EntryForm
    list_display = ("key", "task", "shown_schedule", "is_enabled", "next_firing", "last_run", "state")
    search_fields = ("key", "definition")
    ordering = ("key",)
    actions = ("enable", "disable", "run_now")
    change_form_template = "admin/autocelery_beat/entry/change_form.html"

    class Media:
        """Shows the fields that a kind of schedule has, and no others."""

        css: ClassVar = {"all": ("autocelery_beat/admin.css",)}
        js = ("autocelery_beat/kinds.js",)

    @admin.display(description="task")
    def task(self, row: Entry) -> str:
        """The task's name."""
        return str(_reading.told(row).get("task", ""))

    @admin.display(description="schedule")
    def shown_schedule(self, row: Entry) -> str:
        """The schedule in words."""
        said = _reading.told(row)
        return spoken(said["schedule"]) if "schedule" in said else ""

    @admin.display(description="enabled", boolean=True)
    def is_enabled(self, row: Entry) -> bool:
        """Whether it is sent."""
        return bool(_reading.told(row).get("enabled")) and not row.removed

    @admin.display(description="next firing", ordering="next_fire")
    def next_firing(self, row: Entry) -> str:
        """When it is due next, on the clock of its zone."""
        return _reading.in_zone(_reading.stored(row).next_tick, _reading.told(row))

    @admin.display(description="last run", ordering="last_tick")
    def last_run(self, row: Entry) -> str:
        """When it was last due and sent."""
        return _reading.in_zone(_reading.stored(row).last_tick, _reading.told(row))

    @admin.display(description="state")
    def state(self, row: Entry) -> str:
        """What is to be said of it."""
        return state_of(_reading.stored(row), bool(_reading.told(row).get("enabled"))) if row.pk else ""

    @admin.display(description="next firings")
    def upcoming(self, row: Entry) -> str | SafeString:
        """The next five times that it is due."""
        try:
            ticks = editing.upcoming(_reading.stored(row), NEXT)
        except EntryInvalid as error:
            return error.message
        shown = ((_reading.in_zone(each, _reading.told(row)),) for each in ticks)
        return format_html_join(SafeString("<br>"), "{}", shown) or "none"

    @admin.display(description="last runs")
    def last_runs(self, row: Entry) -> str | SafeString:
        """What became of the last ticks, with a link to the result of each."""
        rows = list(_reading.runs(row, self.admin_site.name))
        return format_html_join(SafeString("<br>"), "{} {} {} {}", (_cells(each) for each in rows)) or "none"

    def get_fieldsets(self, request: HttpRequest, obj: Entry | None = None) -> Any:
        """Return the form for those who may edit, and else what the entry says."""
        if not self._may_edit(request, obj):
            return ((None, {"fields": _TO_READ}),)
        if obj is not None:
            return _FIELDSETS
        return tuple(
            (name, {"fields": tuple(each for each in told["fields"] if each not in _SHOWN)})
            for name, told in _FIELDSETS[:-1]
        )

    def get_form(
        self, request: HttpRequest, obj: Entry | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """Return the form of the entry; none for those who may look only."""
        if not self._may_edit(request, obj):
            kwargs["form"] = forms.ModelForm
        return super().get_form(request, obj, change, **kwargs)

    def get_readonly_fields(self, request: HttpRequest, obj: Entry | None = None) -> tuple[str, ...]:
        """Return what nobody can edit."""
        return _SHOWN if self._may_edit(request, obj) else _TO_READ

    def get_urls(self) -> list[Any]:
        """Return the addresses of the pages, that of the button among them."""
        run = self.admin_site.admin_view(self.run_view)
        return [path("<path:object_id>/run/", run, name="autocelery_beat_entry_run"), *super().get_urls()]

    def _may_edit(self, request: HttpRequest, obj: Entry | None) -> bool:
        return bool(
            self.has_change_permission(request, obj) if obj is not None else self.has_add_permission(request)
        )

    @method_decorator(transaction.non_atomic_requests)
    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: Any = None,
    ) -> HttpResponse:
        """Show and save an entry."""
        return self._told(request, lambda: self._changeform_view(request, object_id, form_url, extra_context))

    @method_decorator(transaction.non_atomic_requests)
    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """Ask, and forget an entry."""
        return self._told(request, lambda: self._delete_view(request, object_id, extra_context))

    @method_decorator(transaction.non_atomic_requests)
    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """List the entries, and do what was chosen with some of them."""
        return self._told(request, lambda: super(EntryAdmin, self).changelist_view(request, extra_context))

    @method_decorator([require_POST, transaction.non_atomic_requests])
    def run_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Send the task of an entry now, as the button says."""
        row = self.get_object(request, object_id)
        if row is None or not self.has_change_permission(request, row):
            raise PermissionDenied
        self._run(request, [row])
        return HttpResponseRedirect(
            reverse(f"{self.admin_site.name}:autocelery_beat_entry_change", args=[row.pk])
        )

    def save_model(self, request: HttpRequest, obj: Entry, form: Any, change: bool) -> None:
        """Change the schedule by what was changed in the form."""
        if form.changes:
            with _schedule() as store:
                timezone = str(project_app().conf.timezone or "UTC")
                editing.edit(store, form.cleaned_data["key"], form.changes, timezone)
        _refresh(obj, form.cleaned_data["key"])
        for doubt in _doubts(obj):
            self.message_user(request, f"Entry “{obj.key}”: {doubt}", messages.WARNING)

    def delete_model(self, request: HttpRequest, obj: Entry) -> None:
        """Forget an entry."""
        self.delete_queryset(request, [obj])

    def delete_queryset(self, request: HttpRequest, queryset: Iterable[Entry]) -> None:
        """Forget entries, and say which come back."""
        with _schedule() as store:
            for row in queryset:
                editing.remove(store, row.key)
                if row.origin == SETTINGS and not row.removed:
                    said = f"“{row.key}” is in the settings: it comes back with the next start of beat. Disable it."
                    self.message_user(request, said, messages.WARNING)

    @admin.action(description="Enable selected entries", permissions=["change"])
    def enable(self, request: HttpRequest, queryset: Any) -> None:
        """Have them sent from now on."""
        self._switch(request, queryset, True)

    @admin.action(description="Disable selected entries", permissions=["change"])
    def disable(self, request: HttpRequest, queryset: Any) -> None:
        """Have them not sent."""
        self._switch(request, queryset, False)

    @admin.action(description="Run selected entries now", permissions=["change"])
    def run_now(self, request: HttpRequest, queryset: Any) -> None:
        """Send them once, beside their schedules."""
        self._run(request, queryset)

    def _switch(self, request: HttpRequest, rows: Iterable[Entry], enabled: bool) -> None:
        word = "Enabled" if enabled else "Disabled"

        def switch(row: Entry) -> None:
            with _schedule() as store:
                editing.edit(store, row.key, {"enabled": enabled}, "UTC")
            self.log_change(request, row, f"{word}.")

        self._each(request, rows, switch, f"{word}: {{}}.")

    def _run(self, request: HttpRequest, rows: Iterable[Entry]) -> None:
        def run(row: Entry) -> None:
            task_id = editing.send_now(project_app(), _reading.stored(row))
            self.log_change(request, row, f"Sent as {task_id}.")
            address = _reading.address_of(task_id, self.admin_site.name)
            link = format_html('<a href="{}">{}</a>', address, task_id) if address else task_id
            self.message_user(request, format_html("Sent “{}”: {}", row.key, link), messages.SUCCESS)

        self._each(request, rows, run)

    def _each(
        self, request: HttpRequest, rows: Iterable[Entry], action: Callable[[Entry], None], said: str = ""
    ) -> None:
        """Do something with each entry; one with which it fails does not keep it from the others."""
        done = []
        for row in rows:
            try:
                action(row)
            except AutoceleryError as error:
                self.message_user(request, f"Entry “{row.key}”: {error.message}", messages.ERROR)
            else:
                done.append(row.key)
        if done and said:
            self.message_user(request, said.format(", ".join(done)), messages.SUCCESS)

    def _told(self, request: HttpRequest, page: Callable[[], HttpResponse]) -> HttpResponse:
        """Return a page; of what cannot be done, tell, and show it again."""
        try:
            return page()
        except AutoceleryError as error:
            if request.method != "POST":
                raise
            self.message_user(request, error.message, messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())


@contextmanager
def _schedule() -> Iterator[SqlBeatStore]:
    """Lend the store, with connections that are closed afterwards."""
    with closing(open_store()) as store:
        store.prepare()
        yield store


def _refresh(row: Entry, key: str) -> None:
    """Make ``row`` what is stored."""
    row.pk = id_of(key)
    row.refresh_from_db()


def _doubts(row: Entry) -> Iterator[str]:
    try:
        definition: Definition = decode(row.definition)
    except EntryInvalid:
        return
    yield from doubts(project_app(), definition)
    if row.next_tick is None and definition.enabled:
        yield "by what it says it is not due any more."


def _cells(run: _reading.Run) -> tuple[Any, ...]:
    shown = format_html('<a href="{}">{}</a>', run.address, run.task_id) if run.address else run.task_id
    return run.tick, run.state, shown, run.result or run.error
