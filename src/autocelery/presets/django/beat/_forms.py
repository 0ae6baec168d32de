"""The form of an entry: what the command line takes, checked by the same code, with errors at the field."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from celery import Celery, current_app
from celery.app import app_or_default
from django import forms

from autocelery._beat import encoding
from autocelery._beat.definition import DEFAULT_GRACE, DEFAULT_LIMIT, MISSED, Definition, id_of
from autocelery._beat.editing import drafted, schedule_from
from autocelery._beat.store import Entry as StoredEntry
from autocelery._beat.wording import CRON
from autocelery.errors import EntryInvalid
from autocelery.presets.django.beat import _reading
from autocelery.presets.django.beat._fields import CarriedField, Suggesting
from autocelery.presets.django.beat.models import Entry
from autocelery_host.header import BUILT_IN

#: Kinds of schedules, and the fields that each has.
KINDS: Mapping[str, tuple[str, ...]] = {
    "crontab": ("crontab",),
    "interval": ("seconds",),
    "time of day": ("at", "days"),
    "once": ("moment",),
    "solar": ("event", "lat", "lon"),
}
#: Of the sun, through the day, as Celery names them.
EVENTS = (
    "dawn_astronomical",
    "dawn_nautical",
    "dawn_civil",
    "sunrise",
    "solar_noon",
    "sunset",
    "dusk_civil",
    "dusk_nautical",
    "dusk_astronomical",
)
#: A schedule of a user's class is kept as it is: whoever may name a class may run anything.
OF_CLASS = "class"
#: A definition in which one value at a time is tried.
_SOUND = Definition("task", {"kind": "interval", "seconds": 3600.0})
_PLAIN = ("task", "timezone", "enabled", "missed", "limit", "grace", "jitter", "starts", "ends", "max_runs")
_JSON = ("args", "kwargs", "options")
#: Where an error of one of `Definition`'s values is shown, if not at the field of that name.
_SHOWN_AT = {"overlap": "no_overlap", "schedule": "kind"}


def project_app() -> Celery:
    """Return the project's Celery app, with its tasks."""
    app: Celery = app_or_default()
    app.loader.import_default_modules()
    return app


def _tasks() -> Iterable[str]:
    return sorted(name for name in project_app().tasks if not name.startswith(BUILT_IN))


def _zones() -> Iterable[str]:
    return sorted(zoneinfo.available_timezones())


class EntryForm(forms.ModelForm):
    """What an entry says; `changes` is what was changed of it."""

    key = forms.CharField(
        max_length=1000, strip=False, help_text="What it is called; settings know it by this."
    )
    task = forms.CharField(widget=Suggesting(_tasks), help_text="The task's name.")
    kind = forms.ChoiceField(choices=[(each, each) for each in KINDS], label="Schedule")
    crontab = forms.CharField(
        required=False,
        help_text="Minute, hour, day of the month, month, day of the week: <code>*/15 8-18 * * mon-fri</code>",
    )
    seconds = forms.FloatField(required=False, label="Every", help_text="seconds, 1 or more")
    at = forms.CharField(required=False, label="Time", help_text="<code>02:30</code>")
    days = forms.CharField(required=False, help_text="<code>mon-fri</code>; nothing for every day")
    moment = forms.CharField(
        required=False, help_text="<code>2027-01-31T09:00</code>, in the time zone below"
    )
    event = forms.ChoiceField(required=False, choices=[(each, each) for each in EVENTS])
    lat = forms.FloatField(required=False, label="Latitude")
    lon = forms.FloatField(required=False, label="Longitude")
    timezone = forms.CharField(
        widget=Suggesting(_zones), label="Time zone", help_text="An IANA name, such as Europe/Madrid"
    )
    enabled = forms.BooleanField(required=False)
    args = CarriedField(list, label="Arguments", help_text="A list: <code>[1, 2]</code>")
    kwargs = CarriedField(dict, label="Keyword arguments", help_text='An object: <code>{"name": 1}</code>')
    queue = forms.CharField(required=False)
    options = CarriedField(
        dict, label="Other options", help_text='Of <code>apply_async</code>: <code>{"priority": 5}</code>'
    )
    missed = forms.ChoiceField(
        choices=[(each, each) for each in MISSED],
        label="Missed ticks",
        help_text="What is sent of those that came while nobody ran: none, the last one, or all",
    )
    limit = forms.IntegerField(help_text="So many missed ticks are made up for at most, under “all”")
    grace = forms.FloatField(help_text="Seconds after which a tick counts as missed")
    jitter = forms.FloatField(help_text="Seconds by which a tick is delayed at most")
    starts = forms.CharField(required=False, help_text="No tick before it: <code>2027-01-31T09:00</code>")
    ends = forms.CharField(required=False, help_text="No tick after it")
    max_runs = forms.IntegerField(required=False, help_text="How often it is sent at most")
    no_overlap = forms.BooleanField(
        required=False, help_text="A tick is left out while the last run is still going"
    )

    class Meta:
        """Nothing is written through the model."""

        model = Entry
        fields = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.before: StoredEntry | None = _reading.stored(self.instance) if self.instance.pk else None
        self._said = dict(_reading.told(self.instance)) if self.before else {}
        self.initial: dict[str, Any] = {**_initial(self._said), **(kwargs.get("initial") or {})}
        self.initial["key"] = self.instance.key or self.initial.get("key")
        if self.before is not None:
            self.fields["key"].disabled = True
        if self.initial["kind"] == OF_CLASS:
            path = self._said.get("schedule", {}).get("path", "")
            self.fields["kind"].choices = [(OF_CLASS, f"{path}, as it is"), *self.fields["kind"].choices]

    def clean_key(self) -> str:
        """See that a new entry has a key of its own."""
        key = str(self.cleaned_data["key"])
        if self.before is None and Entry.objects.filter(pk=id_of(key)).exists():
            raise forms.ValidationError("There is an entry with this key already.", code="unique")
        return key

    def clean(self) -> dict[str, Any]:
        """Try what was changed: each value alone, and then all of them."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        schedule = self._schedule(cleaned)
        if self.errors:
            return cleaned
        values = _values(cleaned, schedule)
        self.changes = {name: value for name, value in values.items() if self._differs(name, value)}
        zone = {"timezone": values["timezone"]}
        if not self._try(zone, "timezone"):
            zone = {}
        for name, value in self.changes.items():
            if name != "timezone":
                self._try({name: value, **zone}, self._shown_at(name, cleaned))
        if not self.errors:
            self._try_all(cleaned)
        return cleaned

    def _schedule(self, cleaned: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the schedule of the fields that its kind has."""
        kind = cleaned.get("kind", "")
        if kind == OF_CLASS:
            return dict(self._said.get("schedule", {}))
        told = {name: cleaned.get(name) for name in KINDS.get(kind, ())}
        for name, value in told.items():
            if value in (None, "") and name != "days" and name not in self.errors:
                self.add_error(name, forms.ValidationError("This field is required.", code="required"))
        if self.errors:
            return {}
        try:
            return _spec(kind, told)
        except EntryInvalid as error:
            self.add_error(KINDS[kind][0], error.message)
            return {}

    def _differs(self, name: str, value: Any) -> bool:
        if self.before is None:
            return True
        if name in _JSON:  # where 1, 1.0 and true are three things
            return encoding.dumps(self._said.get(name)) != encoding.dumps(value)
        return bool(self._said.get(name) != value)

    def _shown_at(self, name: str, cleaned: Mapping[str, Any]) -> str:
        if name == "schedule" and cleaned.get("kind") in KINDS:
            return KINDS[cleaned["kind"]][0]
        return _SHOWN_AT.get(name, name)

    def _try(self, changes: Mapping[str, Any], shown_at: str | None) -> bool:
        """Whether an entry that is sound stays so with ``changes``; if not, say why at a field."""
        try:
            _drafted(None, {"task": _SOUND.task, "schedule": _SOUND.schedule, **changes})
        except EntryInvalid as error:
            self.add_error(shown_at, _sentence(error.message))
            return False
        return True

    def _try_all(self, cleaned: Mapping[str, Any]) -> None:
        """See that the values agree with each other; the field is the one without which they do."""
        try:
            _drafted(self.before, self.changes)
        except EntryInvalid as error:
            culprit = next((name for name in reversed(self.changes) if self._is_sound_without(name)), None)
            shown_at = self._shown_at(culprit, cleaned) if culprit else None
            self.add_error(shown_at, _sentence(error.message))

    def _is_sound_without(self, name: str) -> bool:
        try:
            _drafted(self.before, {each: value for each, value in self.changes.items() if each != name})
        except EntryInvalid:
            return False
        return True


def _drafted(before: StoredEntry | None, changes: Mapping[str, Any]) -> StoredEntry:
    return drafted(before, before.key if before else "key", changes, _SOUND.timezone, datetime.now(UTC))


def _sentence(message: str) -> str:
    return f"{message[:1].upper()}{message[1:]}."


def _spec(kind: str, told: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a schedule as it is stored.

    Raises:
        EntryInvalid: a text is no schedule of that kind.
    """
    texts = {
        "crontab": "{crontab}",
        "time of day": "{at} {days}" if told.get("days") else "{at}",
        "once": "{moment}",
    }
    if kind not in texts:
        return {"kind": kind, **told}
    spec = schedule_from(texts[kind].format_map(told))
    if spec["kind"] != kind:
        raise EntryInvalid(f"this is no {kind}, but what is called {spec['kind']} here")
    return spec


def _values(cleaned: Mapping[str, Any], schedule: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the form by the names of `Definition`."""
    options = {**cleaned["options"], **({"queue": cleaned["queue"]} if cleaned["queue"] else {})}
    plain = {name: cleaned[name] for name in _PLAIN}
    for name in ("starts", "ends"):
        plain[name] = plain[name] or None
    return {
        **plain,
        "schedule": schedule,
        "args": cleaned["args"],
        "kwargs": cleaned["kwargs"],
        "options": options,
        "overlap": not cleaned["no_overlap"],
    }


def _initial(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the fields show of what an entry says; of a new one, the defaults."""
    zone = str(current_app.conf.timezone or "UTC")
    rules = {"enabled": True, "missed": "once", "limit": DEFAULT_LIMIT, "grace": DEFAULT_GRACE, "jitter": 0.0}
    values = {"timezone": zone, **rules, **{name: said[name] for name in (*_PLAIN, *_JSON) if name in said}}
    options = dict(values.get("options") or {})
    spec = dict(said.get("schedule") or {"kind": "crontab"})
    of_schedule = {
        **spec,
        "moment": spec.get("at"),
        "crontab": " ".join(str(spec.get(each, "*")) for each in CRON),
    }
    fields = KINDS.get(str(spec.get("kind")), ())
    shown = {name: of_schedule.get(name) for name in fields} if said else {}
    return {
        **values,
        **shown,
        "kind": spec.get("kind"),
        "queue": options.pop("queue", None),
        "options": options,
        "no_overlap": not said.get("overlap", True),
    }
