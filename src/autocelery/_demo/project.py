"""The small project that the demo writes, and edits."""

from __future__ import annotations

import pprint
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_APP = """\
from celery import Celery

from autocelery import Autocelery

app = Celery("shop", include=["shop.prices"])
app.config_from_object("celeryconfig")
auto = Autocelery(app)  # the only line that autocelery needs
"""

_PRICES = '''\
import os
import time
from pathlib import Path

from shop.celery import app

VAT = 10


class OutOfStock(Exception):
    pass


@app.task
def price(net):
    return net * (100 + VAT) // 100


@app.task
def order(item):
    return f"{item} is on its way"


@app.task
def meet(place, other):
    """Return only while a version with the other VAT runs at the same moment."""
    Path(place, str(VAT)).touch()
    deadline = time.monotonic() + 20
    while not Path(place, str(other)).exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"no version with VAT {other} came")
        time.sleep(0.01)
    return VAT, os.getpid()
'''


@dataclass(frozen=True, slots=True)
class Edit:
    """One line of a file, before and after."""

    path: Path
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Project:
    """A Celery project in a folder of its own."""

    folder: Path

    @property
    def prices(self) -> Path:
        """The file that is edited."""
        return self.folder / "shop" / "prices.py"

    def write(self, settings: Mapping[str, object]) -> None:
        """Write the project's files.

        Args:
            settings: Celery's, for its ``celeryconfig.py``.
        """
        (self.folder / "shop").mkdir(parents=True)
        (self.folder / "shop" / "__init__.py").touch()
        (self.folder / "shop" / "celery.py").write_text(_APP)
        self.prices.write_text(_PRICES)
        lines = (f"{name} = {pprint.pformat(value)}\n" for name, value in settings.items())
        (self.folder / "celeryconfig.py").write_text("".join(lines))

    def edit(self, before: str, after: str) -> Edit:
        """Replace one line of the prices' file, as an editor would."""
        text = self.prices.read_text()
        assert text.count(before) == 1
        self.prices.write_text(text.replace(before, after))
        return Edit(self.prices, before.strip(), after.strip())
