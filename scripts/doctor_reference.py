"""Write docs/reference/doctor from the rules' own texts; a test compares the two.

Run it with the project's own interpreter: .venv/bin/python scripts/doctor_reference.py
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from autocelery._doctor.looking import all_rules
from autocelery._doctor.rule import Rule

FOLDER = Path(__file__).parent.parent / "docs" / "reference" / "doctor"

_HEAD = """\
# What the doctor finds

<!-- Written by scripts/doctor_reference.py from the rules' own texts. -->

An *error* fails or loses something as things are. A *warning* will, in ordinary circumstances. An *info* is a
choice to make before production. `autocelery doctor explain CODE` prints one of these pages;
[how to use it](../../how-to/doctor.md).
"""
#: What the first digits of a code speak of.
_SECTIONS = {
    "00": "The broker",
    "01": "Acknowledgement and prefetch",
    "02": "Limits",
    "03": "Results",
    "04": "What tasks do",
    "05": "What is sent",
    "06": "Retries",
    "07": "Names and queues",
    "08": "Beat",
    "09": "Security and settings",
    "10": "What runs",
    "11": "Versions",
}


def pages() -> dict[str, str]:
    """Return every page by its name."""
    return {"index.md": "\n".join(_index()), **{f"{each.code}.md": _page(each) for each in all_rules()}}


def _index() -> Iterator[str]:
    yield _HEAD
    for digits, rules in groupby(all_rules(), key=lambda rule: rule.code[2:4]):
        yield f"## {_SECTIONS[digits]}\n"
        yield "| code | level | what |\n|---|---|---|"
        yield from (f"| [{each.code}]({each.code}.md) | {each.level} | {each.title} |" for each in rules)
        yield ""
    yield "```{toctree}\n:hidden:\n"
    yield from (each.code for each in all_rules())
    yield "```\n"


def _page(rule: Rule) -> str:
    issues = ", ".join(
        f"[{each}](https://github.com/{each.replace('#', '/issues/')})" for each in rule.issues
    )
    upstream = f"\nUpstream: {issues}.\n" if issues else ""
    return (
        f"# {rule.code}: {rule.title}\n\n"
        "<!-- Written by scripts/doctor_reference.py from the rule's own text. -->\n\n"
        f"**{rule.level.capitalize()}.** {_seen(rule)}\n\n"
        f"## Why\n\n{_plain(rule.why)}\n\n"
        f"## Mend\n\n{_plain(rule.fix)}\n\n"
        f"## Since\n\n{rule.since}.\n{upstream}\n"
        f"## Ignore\n\n```python\n...  # autocelery: ignore[{rule.code}] the reason\n```\n"
    )


def _plain(text: str) -> str:
    """Return text in which Markdown sees no stars."""
    return text.replace("*", r"\*")


def _seen(rule: Rule) -> str:
    """Return what the rule looks for, from its docstring: `See the setting.` becomes `Looks for the setting.`"""
    first = (rule.look.__doc__ or "").partition("\n")[0]
    return f"Looks for {first.removeprefix('See ')}"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    written = pages()
    for path in FOLDER.glob("*.md"):
        if path.name not in written:
            path.unlink()
    for name, text in written.items():
        (FOLDER / name).write_text(text)
    print(f"Wrote {len(written)} pages to {FOLDER}", file=sys.stderr)
