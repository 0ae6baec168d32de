"""Make the virtual environments of the benchmarks: ``python -m benchmarks.venvs [NAME ...]``.

``own`` holds autocelery as a wheel would install it, ``ray`` and ``dask`` the
peers, all with the third-party packages that the measured project imports;
``schedulers`` holds the peers of beat.
Each is built once and kept until its list of requirements changes; ``own`` is
brought up to date on each run, because the code in front of it changes.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent

#: What the measured project imports, the same in every environment.
PROJECT_PACKAGES = ("numpy==2.4.6", "pandas==3.1.1")

REQUIREMENTS = {
    "own": ("psutil>=5.9", "celery[redis]", "psycopg[binary]>=3.1", *PROJECT_PACKAGES),
    "schedulers": (
        "celery[redis]",
        "celery-redbeat==2.4.2",
        "django-celery-beat==2.9.0",
        "psycopg[binary]>=3.1",
    ),
    "ray": ("ray[default]==2.60.0", *PROJECT_PACKAGES),
    "dask": ("dask==2026.8.0", "distributed==2026.8.0", *PROJECT_PACKAGES),
}


def folder(name: str) -> Path:
    """Return where the environment ``name`` lives, whether it exists or not."""
    return REPOSITORY / f".venv-bench-{name}"


def python(name: str) -> Path | None:
    """Return the interpreter of the environment ``name``, or ``None`` when it was not built."""
    made = folder(name) / "bin" / "python"
    return made if _stamp(name).exists() and made.exists() else None


def why_not(name: str) -> str:
    """Return, in one line, why the environment ``name`` is not there."""
    note = _failure(name)
    if note.exists():
        return note.read_text(encoding="utf-8").strip()
    return f"its environment is not built; run `python -m benchmarks.venvs {name}`"


def build(name: str) -> str:
    """Build or renew the environment ``name`` and return what was done, in one line.

    Raises:
        subprocess.CalledProcessError: the installer refused; ``stderr`` says why.
    """
    wanted = "\n".join((sys.version, *REQUIREMENTS[name]))
    stamp = _stamp(name)
    done = "up to date"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        shutil.rmtree(folder(name), ignore_errors=True)
        _install(folder(name), *REQUIREMENTS[name])
        stamp.write_text(wanted, encoding="utf-8")
        done = "built"
    if name == "own":
        _install(folder(name), f"{REPOSITORY}[redis,beat]")
        _install(folder(name), "--force-reinstall", "--no-deps", str(REPOSITORY))
        done = "holds the code of this checkout"
    return f"{folder(name).name}: {done}"


def _stamp(name: str) -> Path:
    return folder(name) / "benchmarks-requirements.txt"


def _failure(name: str) -> Path:
    return folder(name) / "failed.txt"


def _install(where: Path, *what: str) -> None:
    """Install into the venv ``where``, made if it is not there; in the words of ``uv pip install``."""
    subprocess.run(
        [str(REPOSITORY / "scripts" / "make-venv"), str(where), sys.executable, *what],
        check=True,
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
    )


def _try(name: str) -> bool:
    note = _failure(name)
    note.unlink(missing_ok=True)
    try:
        print(build(name), file=sys.stderr, flush=True)
    except subprocess.CalledProcessError as failure:
        reason = (str(failure.stderr).strip().splitlines() or ["no reason given"])[-1]
        note.parent.mkdir(exist_ok=True)
        note.write_text(f"its environment could not be built: {reason}", encoding="utf-8")
        print(f"{folder(name).name}: not built: {reason}", file=sys.stderr, flush=True)
        return False
    return True


def main(arguments: list[str]) -> int:
    """Build the named environments, all of them without a name; a peer that fails is only reported."""
    unknown = sorted(set(arguments) - set(REQUIREMENTS))
    if unknown:
        print(
            f"no such environment: {', '.join(unknown)}; there are {', '.join(REQUIREMENTS)}", file=sys.stderr
        )
        return 2
    built = {name: _try(name) for name in arguments or REQUIREMENTS}
    return 0 if built.get("own", True) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
