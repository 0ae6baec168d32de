"""What becomes of files that look like secrets: withheld, said so, and never in place of code that is needed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from autocelery._snapshot.encoding import is_for_development
from autocelery._snapshot.secrecy import NAME
from autocelery.errors import SecretInCode

if TYPE_CHECKING:
    from autocelery._publish.collecting import Collected

logger = logging.getLogger(__name__)

#: How a withheld file is shipped all the same.
MEND = "If a task needs it, name it in [tool.autocelery] include in pyproject.toml."


def withheld(collected: Collected) -> Iterator[tuple[str, str]]:
    """Yield the path of each file that is withheld, relative to its root, and why."""
    for tree in collected.trees:
        for path in tree.withheld:
            yield path, tree.reasons.get(path, NAME)


def is_needed(path: str, reason: str) -> bool:
    """Tell whether tasks may import the file, so that they would fail without it."""
    folder, _, name = path.rpartition("/")
    return path.endswith(".py") and reason != NAME and not is_for_development(folder, name)


def mend_for(path: str) -> str:
    """Return what to do about a secret in code."""
    return (
        "Read the value with os.environ and name the variable in [tool.autocelery] env; or, if it is no secret, "
        f'name the file in pyproject.toml: [tool.autocelery] include = ["{path}"].'
    )


def check(collected: Collected, told: set[tuple[str, str]]) -> None:
    """Refuse a tree whose code holds a secret, and log once what else is withheld for what it holds.

    Args:
        collected: the tree.
        told: what was logged before, which this adds to.

    Raises:
        SecretInCode: a module that tasks may import seems to hold a secret.
    """
    for path, reason in withheld(collected):
        if is_needed(path, reason):
            raise SecretInCode(
                f"{path} seems to hold {reason}, so it is not shipped, and tasks may need its code; nothing was sent. "
                f"{mend_for(path)}"
            )
        if reason != NAME and (path, reason) not in told:
            told.add((path, reason))
            logger.warning("%s is not shipped, for it looks like a secret: %s. %s", path, reason, MEND)
