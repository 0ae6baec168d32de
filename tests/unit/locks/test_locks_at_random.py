"""Whatever a file holds, it is read, or refused with an error that names it."""

from __future__ import annotations

import contextlib
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autocelery.errors import LockInvalid
from tests.unit.locks.making import needs

_PROJECTS = Path(__file__).parents[2] / "projects" / "locks"
_UV = (
    'version = 1\nrevision = 3\n[[package]]\nname = "a"\nversion = "1"\nsource = { virtual = "." }\n'
    'dependencies = [{ name = "b", extra = ["x"], marker = "python_version > \'3\'" }]\n'
    '[[package]]\nname = "b"\nversion = "2"\nsource = { registry = "r" }\n'
    f'sdist = {{ url = "https://x/b-2.tar.gz", hash = "sha256:{"a" * 64}" }}\n'
    '[package.optional-dependencies]\nx = [{ name = "b", version = "2" }]\n'
)
_PYLOCK = (
    'lock-version = "1.0"\nextras = ["x"]\n[[packages]]\nname = "a"\nversion = "1"\nmarker = "\'x\' in extras"\n'
    f'wheels = [{{ name = "a-1-py3-none-any.whl", hashes = {{ sha256 = "{"a" * 64}" }} }}]\n'
    '[[packages]]\nname = "c"\nvcs = { url = "https://u:p@g/c" }\n'
)
_LINES = (
    "a==1 --hash=sha256:" + "a" * 64 + "\n-e ./x[y]\n-c c.txt\nb>=1; python_version>'3' \\\n  # c\n"
    "-r r.txt\nd @ https://u:p@h/d\ngit+ssh://g/e#egg=e\n"
)
_PYPROJECT = (
    '[project]\nname = "a"\ndependencies = ["b[x]>=1; python_version > \'3\'", "c"]\n'
    '[tool.uv.sources]\nc = { path = "c" }\n[tool.poetry.dependencies]\nd = "^1"\n'
)
_FILES = {
    "uv.lock": _UV,
    "pylock.toml": _PYLOCK,
    "poetry.lock": (_PROJECTS / "poetry-2.5.1" / "poetry.lock").read_text(),
    "requirements.txt": _LINES,
    "pyproject.toml": _PYPROJECT,
}
_VALUES = ["1", "-1.5", "true", '""', '"x"', "[]", "[[]]", "{}", '["x"]', "[1]", "[{}]", '{ a = "b" }', '"\\u0000"',
           '"https://[::"', '"../../.."', '"9999999999999999999999"', "1979-05-27"]  # fmt: skip


@st.composite
def changed(draw: st.DrawFn, text: str) -> str:
    """Return ``text`` with values put in the place of others, and pieces taken out, doubled or replaced."""
    for _ in range(draw(st.integers(1, 3))):
        places = [each.span(1) for each in re.finditer(r"= *((?:\"[^\"\n]*\")|\[[^\[\]\n]*\]|\d+)", text)]
        if places and draw(st.booleans()):
            start, end = draw(st.sampled_from(places))
            text = text[:start] + draw(st.sampled_from(_VALUES)) + text[end:]
        else:
            start = draw(st.integers(0, len(text)))
            end = min(len(text), start + draw(st.integers(0, 40)))
            text = (
                text[:start]
                + draw(st.sampled_from(["", text[start:end] * 2, "\x00", "é", "\\", '"']))
                + text[end:]
            )
    return text


@pytest.mark.parametrize("name", list(_FILES))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(random=st.data())
def test_a_file_is_read_or_refused_by_its_name(name: str, random: st.DataObject) -> None:
    text = random.draw(st.one_of(changed(_FILES[name]), st.text(max_size=60)))
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        for each in ("x", "c", "lib"):
            (project / each).mkdir()
        (project / "c.txt").write_text("a<9\n")
        (project / "r.txt").write_text("-r requirements.txt\n")
        (project / name).write_text(text, encoding="utf-8", errors="replace")
        with contextlib.suppress(LockInvalid):
            needs(project, "a", "b")
