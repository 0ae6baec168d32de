"""The top-level names that Python source imports, found without parsing it."""

from __future__ import annotations

import re

#: A statement is looked for at the start of a line and after ``;`` or ``:``. An import that is spelled
#: in a docstring counts too: who asks for a name that is no package just finds none.
_STATEMENT = re.compile(
    rb"(?:^|[;:])[ \t]*(?:import[ \t]+([^\r\n#;(]+)|from[ \t]+([A-Za-z_\x80-\xff][\w\x80-\xff]*)[\w.\x80-\xff]*[ \t]+import\b)",
    re.MULTILINE,
)
_NAME = re.compile(rb"[ \t\\]*([A-Za-z_\x80-\xff][\w\x80-\xff]*)")


def imported_names(source: bytes) -> frozenset[str]:
    """Return the top-level names that ``source`` imports absolutely.

    >>> sorted(imported_names(b"import os.path as p, numpy\\nfrom django.db import models\\nfrom . import x"))
    ['django', 'numpy', 'os']
    """
    if b"import" not in source:
        return frozenset()
    names: set[bytes] = set()
    for listed, origin in _STATEMENT.findall(source):
        if origin:
            names.add(origin)
            continue
        for part in listed.split(b","):
            found = _NAME.match(part)
            if found:
                names.add(found[1])
    return frozenset(name.decode(errors="ignore") for name in names)
