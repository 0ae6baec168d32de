"""Real projects: source distributions from PyPI, put in place as the recipes in ``tests/projects/real`` say."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import tomllib
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import platformdirs

from scripts.install import for_uv, pip_settings

RECIPES = Path(__file__).parent / "projects" / "real"
#: Where what was downloaded stays, for all checkouts of this machine and this user.
CACHE = Path(os.environ.get("TEST_PROJECTS_CACHE") or platformdirs.user_cache_dir("autocelery-tests"))

#: The app that a project gets which has none: the two lines that a user adds.
_APP = """\
from celery import Celery
from autocelery import Autocelery

app = Celery("real")
auto = Autocelery(app)
"""
#: What builds metadata and extension modules, so that not each download makes an environment of its own.
_TOOLS = (
    "flit-core",
    "hatch-fancy-pypi-readme",
    "hatch-vcs",
    "hatchling",
    "pip",
    "poetry-core",
    "setuptools",
)
_TOOLS += ("setuptools-scm", "wheel")
_PATIENCE = 300


class NoIndex(Exception):
    """What a recipe needs cannot be downloaded."""


@dataclass(frozen=True, slots=True)
class Sdist:
    """One source distribution; where it, or a ``part`` of it, goes: ``into`` the tree, ``outside`` of it, or both."""

    name: str
    version: str
    sha256: str
    into: str = ""
    part: str = ""
    only: tuple[str, ...] = ()
    outside: bool = False
    submodule: str = ""

    @property
    def requirement(self) -> str:
        """As pip's requirement files have it."""
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}"

    @property
    def archive(self) -> Path:
        """Where it is kept."""
        return CACHE / "sdists" / f"{self.sha256}.tar.gz"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a project is put in place, what is called, and what is edited then; see CONTRIBUTING.md."""

    name: str
    what: str
    sdist: tuple[Sdist, ...]
    call: dict[str, Any]
    edit: dict[str, Any]
    app: str = "celery_app:auto"
    folder: str = ""
    git: bool = True
    paths: tuple[str, ...] = ()
    editable: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    build: str = ""
    build_once: bool = False
    says: tuple[str, ...] = ()
    write: dict[str, str] = field(default_factory=dict)
    append: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)


def recipes() -> list[Recipe]:
    """Return all of them."""
    return [_read(path) for path in sorted(RECIPES.glob("*.toml"))]


def _read(path: Path) -> Recipe:
    told = tomllib.loads(path.read_text())
    told["sdist"] = tuple(Sdist(**{**each, "only": tuple(each.get("only", ()))}) for each in told["sdist"])
    for key in ("paths", "editable", "packages", "says"):
        told[key] = tuple(told.get(key, ()))
    return Recipe(path.stem, **told)


@dataclass(frozen=True, slots=True)
class Project:
    """A recipe that was followed in ``folder``, which is the caller's. ``python`` is the interpreter to call from."""

    recipe: Recipe
    folder: Path
    python: Path

    @property
    def top(self) -> Path:
        """The working tree."""
        return self.folder / "tree"

    @property
    def cwd(self) -> Path:
        """Where its user stands."""
        return self.top / self.recipe.folder

    def variables(self) -> dict[str, str]:
        """Return what its user has set."""
        entries = [str(self.top / path) for path in self.recipe.paths]
        entries += [str(_site(self.recipe.packages))] if self.recipe.packages else []
        return {"PYTHONPATH": os.pathsep.join(entries), "PYTHONDONTWRITEBYTECODE": "1"}

    def build(self) -> None:
        """Run what builds the project, with tools that are not its user's."""
        if self.recipe.build:
            command = [str(_tools()), *self.recipe.build.split()[1:]]
            _run(command, cwd=self.top, env={**os.environ, **self.variables()})


def fetch(wanted: Collection[Recipe]) -> None:
    """Download what ``wanted`` needs and is not kept yet.

    Raises:
        NoIndex: that does not succeed.
    """
    lacking = {each.sha256: each for recipe in wanted for each in recipe.sdist if not each.archive.exists()}
    try:
        if lacking:
            _tools()
            sdists = list(lacking.values())
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(_download, [sdists[0::2], sdists[1::2]]))
        for packages in {recipe.packages for recipe in wanted if recipe.packages}:
            _site(packages)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        print(f"{error}\n{error.stderr}", file=sys.stderr)
        raise NoIndex(str(error)) from error


def put_in_place(recipe: Recipe, folder: Path) -> Project:
    """Follow ``recipe`` in ``folder``, which is empty."""
    project = Project(recipe, folder, Path(sys.executable))
    project.top.mkdir()
    if recipe.git:
        _git(project.top, "init", "-q")
    for each in recipe.sdist:
        _unpack(each, project)
    for path, target in recipe.links.items():
        (project.top / path).parent.mkdir(parents=True, exist_ok=True)
        (project.top / path).symlink_to(target)
    if recipe.app.startswith("celery_app:"):
        (project.cwd / "celery_app.py").write_text(_APP)
    for path, text in recipe.write.items():
        (project.top / path).write_text(text)
    for path, text in recipe.append.items():
        with (project.top / path).open("a") as file:
            file.write(text)
    project.build()
    if recipe.editable:
        return Project(recipe, folder, _installed_in_place(project))
    return project


def edit(project: Project) -> None:
    """Change what the recipe says, as somebody with an editor does, and build what has to be."""
    change = project.recipe.edit
    path = project.top / change["file"]
    if "copy" in change:
        shutil.copyfile(project.top / change["copy"], path)
        return
    text = path.read_text()
    assert change["old"] in text, f"{path} does not hold {change['old']!r}"
    path.write_text(text.replace(change["old"], change["new"], 1))
    if not project.recipe.build_once:
        project.build()


def _unpack(sdist: Sdist, project: Project) -> None:
    base = project.folder / sdist.name if sdist.outside else project.top / sdist.into
    if sdist.submodule:
        base = project.folder / "remote"
    base.mkdir(parents=True, exist_ok=True)
    with tarfile.open(sdist.archive) as archive:
        for member in archive.getmembers():
            inside = member.name.partition("/")[2]
            if sdist.part:
                if not inside.startswith(f"{sdist.part}/"):
                    continue
                inside = inside.removeprefix(f"{sdist.part}/")
            if inside and (not sdist.only or inside in sdist.only):
                archive.extract(member.replace(name=inside, deep=False), base, filter="data")
    if sdist.submodule:
        _git(base, "init", "-q")
        _git(base, "add", "-A")
        _git(base, "commit", "-q", "-m", "all of it")
        _git(project.top, "submodule", "--quiet", "add", str(base), sdist.submodule)


def _installed_in_place(project: Project) -> Path:
    """Return the interpreter of an environment that has the tests' packages and the editable installs."""
    folder = project.folder / "venv"
    python = folder / "bin" / "python"
    _uv("venv", "--quiet", "--python", sys.executable, str(folder))
    paths = {key: str(folder) for key in ("base", "platbase")}
    site = Path(sysconfig.get_path("purelib", vars=paths))
    ours = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    (site / "tests.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in ours))
    editable = [part for path in project.recipe.editable for part in ("-e", str(project.top / path))]
    _uv("pip", "install", "--quiet", "--no-deps", "--python", str(python), *editable)
    return python


def _download(sdists: Sequence[Sdist]) -> None:
    """Download with pip; what its own tools cannot say the metadata of gets an environment of its own."""
    for isolation in (["--no-build-isolation"], []):
        sdists = [each for each in sdists if not each.archive.exists()]
        groups = [sdists] if isolation else [[each] for each in sdists]
        for group in groups:
            if group:
                _download_group(group, isolation, is_last=not isolation)


def _download_group(sdists: Sequence[Sdist], options: list[str], is_last: bool) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        wanted = Path(scratch, "requirements.txt")
        wanted.write_text("".join(f"{each.requirement}\n" for each in sdists))
        names = ",".join(each.name for each in sdists)
        command = [str(_tools()), "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", names]
        try:
            _run([*command, *options, "--require-hashes", "-r", str(wanted), "-d", f"{scratch}/found"])
        except subprocess.CalledProcessError:
            if is_last:
                raise
        for path in Path(scratch, "found").glob("*.tar.gz"):
            kept = CACHE / "sdists" / f"{hashlib.sha256(path.read_bytes()).hexdigest()}.tar.gz"
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(path, kept.with_suffix(f".{os.getpid()}"))
            kept.with_suffix(f".{os.getpid()}").replace(kept)


def _tools() -> Path:
    """Return the interpreter of the environment with what builds, made once."""
    return _made(f"tools-{_digest(sys.version, *_TOOLS)}", _make_tools) / "bin" / "python"


def _make_tools(folder: Path) -> None:
    _uv("venv", "--quiet", "--relocatable", "--python", sys.executable, str(folder))
    _uv("pip", "install", "--quiet", "--python", str(folder / "bin" / "python"), *_TOOLS)


def _site(packages: tuple[str, ...]) -> Path:
    """Return a folder in which ``packages`` are installed, made once."""
    name = f"site-{_digest(sys.version, *packages)}"
    return _made(
        name,
        lambda folder: _uv(
            "pip", "install", "--quiet", "--python", sys.executable, "--target", str(folder), *packages
        ),
    )


def _made(name: str, make: Any) -> Path:
    """Return a folder of the cache, which is complete or absent."""
    folder = CACHE / name
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=CACHE))
        try:
            make(scratch / "new")
            if not folder.exists():
                (scratch / "new").replace(folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return folder


def uv_settings() -> dict[str, str]:
    """Return the environment in which uv asks the index that is set for pip."""
    return for_uv(pip_settings(), os.environ)


def _digest(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def _uv(*words: str) -> None:
    _run([sys.executable, "-m", "uv", *words], env=uv_settings())


def _git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "protocol.file.allow=always"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    _run(["git", *identity, *words], cwd=folder, env=environment)


def _run(command: list[str], cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
    options: dict[str, Any] = {
        "capture_output": True,
        "text": True,
        "errors": "replace",
        "timeout": _PATIENCE,
    }
    try:
        subprocess.run(command, cwd=cwd, env=env, check=True, **options)
    except subprocess.CalledProcessError as error:
        error.add_note(error.stderr[-2000:])
        raise
