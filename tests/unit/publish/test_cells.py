"""Cells: the names that they read and assign, and what keeps its name as long as it is the same."""

from __future__ import annotations

import linecache
import sys
import types
from typing import Any

import pytest

from autocelery._publish.cell_names import check_names, parsed
from autocelery.errors import NameGone, WrongCall
from autocelery_host import cells


@pytest.mark.parametrize(
    ("source", "reads", "assigns"),
    [
        ("total = sum(xs)", ("sum", "xs"), ("total",)),
        ("import numpy as np\nnp.ones(n)", ("n", "np"), ("np",)),
        ("[x for x in xs]", ("xs",), ()),
        ("def f(a):\n    global seen\n    seen = a + b", ("b",), ("f", "seen")),
        ("class C(Base):\n    size = width", ("Base", "width"), ("C",)),
        ("for each in rows:\n    last = each", ("each", "rows"), ("each", "last")),
        ("with open(path) as file:\n    text = file.read()", ("file", "open", "path"), ("file", "text")),
    ],
)
def test_a_cell_s_names_are_known_before_it_runs(
    source: str, reads: tuple[str, ...], assigns: tuple[str, ...]
) -> None:
    cell = parsed(source)
    assert (cell.reads, cell.assigns) == (reads, assigns)


def test_a_cell_with_a_magic_or_with_wrong_syntax_is_refused() -> None:
    with pytest.raises(WrongCall, match="plain Python"):
        parsed("get_ipython().run_line_magic('timeit', '1')")
    with pytest.raises(SyntaxError):
        parsed("total =")


def typed_in(source: str, number: int, **names: Any) -> dict[str, Any]:
    """Run ``source`` as IPython runs a cell."""
    name = f"<ipython-input-{number}-c0ffee>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    names = {"__name__": "__main__", **names}
    exec(compile(source, name, "exec"), names)
    return names


def test_a_file_of_a_cell_is_named_by_its_text() -> None:
    for number, text in ((1, "x = 1\n"), (2, "x = 1\n"), (3, "x = 2\n")):
        typed_in(text, number)
    first, again, other = (cells.file_name(f"<ipython-input-{number}-c0ffee>") for number in (1, 2, 3))
    assert first == again != other
    assert cells.file_name(__file__) == __file__


def test_a_class_that_is_defined_again_as_it_was_has_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    source = "class Point:\n    def far(self):\n        return super().__hash__() + {}\n"
    kinds = [typed_in(source.format(n), number)["Point"] for number, n in enumerate((1, 1, 2))]
    for kind in kinds:
        cells.name_class(kind)
    first, again, other = (cells._by_class[kind] for kind in kinds)
    assert first == again != other


def test_a_function_that_was_typed_in_has_all_its_names_or_one_is_named() -> None:
    source = "def outer(x):\n    return [inner(each) for each in x]\n"
    names = typed_in(source, 9, inner=len)
    check_names(names["outer"])
    del names["inner"]
    with pytest.raises(NameGone, match="outer refers to 'inner'"):
        check_names(names["outer"])


def test_a_name_that_a_function_gives_itself_is_not_missed() -> None:
    source = "def outer():\n    global made\n    made = 1\n    class Inner:\n        size = made\n    return Inner\n"
    check_names(typed_in(source, 10)["outer"])


def test_only_what_was_typed_in_is_a_cell() -> None:
    here: types.CodeType = typed_in.__code__
    assert not cells.is_cell(here.co_filename)
    assert all(
        cells.is_cell(each) for each in ("<stdin>", "<python-input-3>", "/tmp/ipykernel_17/3141592653.py")
    ), sys.version
