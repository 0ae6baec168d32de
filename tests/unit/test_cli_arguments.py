"""What a shell's words become as arguments of a task."""

from __future__ import annotations

from typing import Any

import pytest

from autocelery._cli.call import parse


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("2", 2),
        ("-2.5", -2.5),
        ("true", True),
        ("null", None),
        ('{"a": [1]}', {"a": [1]}),
        ('"2"', "2"),
        ("two", "two"),
        ("NaN", "NaN"),
        ("Infinity", "Infinity"),
        ("2=3", "2=3"),
        ("http://x/?a=b", "http://x/?a=b"),
        ('"a=b"', "a=b"),
        ("", ""),
    ],
)
def test_a_word_is_json_where_it_parses_as_that_and_else_text(word: str, value: Any) -> None:
    assert parse((word,)) == ([value], {})


def test_name_and_value_make_a_keyword_argument() -> None:
    assert parse(("1", "by=3", "note=by hand", "query=a=b")) == (
        [1],
        {"by": 3, "note": "by hand", "query": "a=b"},
    )
