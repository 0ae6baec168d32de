"""Fields of the form of an entry: JSON as kombu writes it, and text with suggestions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminTextareaWidget, AdminTextInputWidget
from django.utils.html import format_html, format_html_join

from autocelery._beat import encoding


class Suggesting(AdminTextInputWidget):
    """A text with suggestions, made when it is shown."""

    def __init__(self, suggestions: Callable[[], Iterable[str]]) -> None:
        super().__init__()
        self._suggestions = suggestions

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> str:
        """Return the field and its list."""
        known = f"{name}-suggestions"
        shown = super().render(name, value, {**(attrs or {}), "list": known}, renderer)
        options = format_html_join("", '<option value="{}">', ((each,) for each in self._suggestions()))
        return str(format_html('{}<datalist id="{}">{}</datalist>', shown, known, options))


class CarriedField(forms.CharField):
    """JSON that messages carry: a list or an object. Dates, decimals and UUIDs stay what they are.

    Args:
        kind: ``list`` or ``dict``.
    """

    def __init__(self, kind: type[list[Any]] | type[dict[str, Any]], **options: Any) -> None:
        self._kind = kind
        super().__init__(required=False, widget=AdminTextareaWidget(attrs={"rows": 2}), **options)

    def to_python(self, value: Any) -> Any:
        """Return the value.

        Raises:
            forms.ValidationError: it is no JSON, or not of its kind.
        """
        text = super().to_python(value)
        if not text:
            return self._kind()
        try:
            found = encoding.loads(text)
        except (TypeError, ValueError, KeyError) as error:
            raise forms.ValidationError(f"This is not JSON: {error}.", code="invalid") from None
        if not isinstance(found, self._kind):
            wanted = "a list: [1, 2]" if self._kind is list else 'an object: {"name": 1}'
            raise forms.ValidationError(f"This is not {wanted}.", code="invalid")
        return found

    def prepare_value(self, value: Any) -> Any:
        """Return what is shown: what was typed, or the value as JSON."""
        return value if isinstance(value, str) else encoding.dumps(value or self._kind())

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Whether another value was typed."""
        try:
            return encoding.dumps(self.to_python(data)) != encoding.dumps(initial or self._kind())
        except forms.ValidationError:
            return True
