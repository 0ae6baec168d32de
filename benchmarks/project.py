"""The project that is measured: 2,000 files, 8 MB, in git, with one line that is edited."""

from __future__ import annotations

import random
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: Files and bytes of the generated tree.
FILES = 2_000
SIZE = 8_000_000
#: How many of the project's own modules the edited one imports, as a real module would.
IMPORTED = 25
#: Python modules in one package of the project.
MODULES_PER_PACKAGE = 40

_VERSION = re.compile(r"^VERSION = \d+$", re.MULTILINE)
_FIRST_VERSION = 1_000_000
_WORDS = re.findall(
    r"\w+",
    """
account address amount basket batch branch budget carrier channel city client colour contract cost
country coupon currency customer delivery deposit discount entry event folder grade group holder
invoice item journal label ledger limit line margin market member merchant month notice offer order
owner parcel partner payment period plan policy price product profile quantity quota rate reason
receipt refund region report request reserve refusal review route sale schedule segment share shelf
shipment site source stage stock store supplier
""",
)

_CELERY = '''"""The Celery app of a project that its benchmark starts on stock workers."""

import os

from celery import Celery
from celery.signals import worker_ready

namespace = {"global_keyprefix": os.environ["BENCH_NAMESPACE"]}
app = Celery("proj", broker=os.environ["BENCH_BROKER"], backend=os.environ["BENCH_BACKEND"], include=["proj.tasks"])
app.conf.update(
    broker_transport_options=namespace,
    result_backend_transport_options=namespace,
    broker_connection_retry_on_startup=True,
)


@worker_ready.connect
def say_so(**_):
    print("the worker is ready.", flush=True)


if os.environ.get("BENCH_AUTOCELERY", "1") == "1":
    from autocelery import Autocelery

    auto = Autocelery(app)
'''

_TASKS = '''"""The tasks that are called."""

from proj import extras, scoring
from proj.celery import app


@app.task
def answer():
    """Return the number of the edit whose code this is."""
    return scoring.version()


@app.task
def versions():
    """Return the versions of packages that only the caller has."""
    return extras.versions()


@app.task
def nothing():
    """Cost the call and nothing else."""
'''

_EXTRAS = '''"""What needs packages that are installed where calls are sent from, and on no worker."""


def versions():
    """Return the version of each, by its name."""
    from importlib import metadata

    import humanize, idna, markdown, tabulate, toolz

    return {each.__name__: metadata.version(each.__name__) for each in (humanize, idna, markdown, tabulate, toolz)}
'''

_SCORING = '''"""The module that is edited; it needs no Celery, so that Ray and Dask can run it too."""

{imports}

VERSION = {version}


def version():
    """Return the number of the edit whose code this is."""
    return VERSION
'''


@dataclass(frozen=True, slots=True)
class Project:
    """A generated project; ``top`` is the folder that git knows."""

    top: Path

    def edit(self, number: int) -> int:
        """Change one line of one file in place and return what the tasks have to answer from now on.

        Every edit leaves the file's size as it was: what looks at sizes only is found out.
        """
        file = self.top / "proj" / "scoring.py"
        wanted = _FIRST_VERSION + number
        file.write_text(_VERSION.sub(f"VERSION = {wanted}", file.read_text("utf-8"), count=1), "utf-8")
        return wanted


def generate(top: Path, *, third_party: tuple[str, ...] = ()) -> Project:
    """Write the project into the new folder ``top`` and commit it to git.

    Args:
        top: a folder that does not exist yet.
        third_party: modules that the edited module imports, ``("numpy", "pandas")``.
    """
    dice = random.Random(20_003)
    names = list(_module_names())
    imports = [f"import {name}" for name in third_party]
    imports += [
        f"import proj.{name.removesuffix('.py').replace('/', '.')}"
        for name in names[:: len(names) // IMPORTED]
    ]
    files = {
        ".gitignore": "__pycache__/\n*.pyc\n",
        "README.md": "# proj\n",
        "pyproject.toml": '[project]\nname = "proj"\nversion = "1.0"\n',
        "proj/__init__.py": "",
        "proj/celery.py": _CELERY,
        "proj/tasks.py": _TASKS,
        "proj/extras.py": _EXTRAS,
        "proj/scoring.py": _SCORING.format(imports="\n".join(imports), version=_FIRST_VERSION),
    }
    files |= {f"proj/{name.split('/')[0]}/__init__.py": "" for name in names}
    names = names[: FILES - len(files)]
    files |= {f"proj/{name}": _module(dice, SIZE // len(names) - 200) for name in names}
    for name, text in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text, "utf-8")
    _commit(top)
    return Project(top)


def _module_names() -> Iterator[str]:
    for number in range(FILES):
        package = f"{_WORDS[number // MODULES_PER_PACKAGE]}s"
        yield f"{package}/{_WORDS[number % MODULES_PER_PACKAGE + 20]}_{number:04d}.py"


def _module(dice: random.Random, mean: int) -> str:
    """Return a module of about ``mean`` bytes on average: constants, functions and a class, all importable."""
    size = dice.randint(mean // 4, mean * 7 // 4)
    parts = [
        f'"""{dice.choice(_WORDS).title()} and {dice.choice(_WORDS)}."""\n\nfrom __future__ import annotations\n'
    ]
    length = len(parts[0])
    while length < size:
        parts.append(_function(dice))
        length += len(parts[-1])
    return "\n".join(parts)


def _function(dice: random.Random) -> str:
    first, second, third = dice.sample(_WORDS, 3)
    return (
        f"\ndef {first}_{second}_{dice.randrange(10**6)}({first}, {second}, {third}={dice.randrange(1000)}):\n"
        f'    """Return the {third} of a {first} that belongs to a {second}."""\n'
        f"    {third} = {third} * {dice.random():.6f} + len(str({second}))\n"
        f"    if {first} in {{{dice.randrange(99)}, {dice.randrange(99)}, {third!r}}}:\n"
        f"        return {{{first!r}: {first}, {second!r}: {second}, {third!r}: {third}}}\n"
        f"    return [{third} - {dice.randrange(99)} for _ in range({dice.randrange(2, 50)})]\n"
    )


def _commit(top: Path) -> None:
    git = (
        "git",
        "-c",
        "user.name=bench",
        "-c",
        "user.email=bench@localhost",
        "-c",
        "core.hooksPath=/dev/null",
    )
    for arguments in (
        ("init", "--quiet"),
        ("add", "."),
        ("commit", "--quiet", "-m", "The project as it was"),
    ):
        subprocess.run([*git, *arguments], cwd=top, check=True, stdin=subprocess.DEVNULL)
