"""Plain frozen data that crosses the borders between autocelery's rooms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

#: Length of a digest: SHA-256 in lower-case hex.
DIGEST_LENGTH = 64


@dataclass(frozen=True, slots=True)
class Package:
    """A third-party package that the tree imports.

    ``distribution`` and ``version`` are those installed where the snapshot
    was made; ``module`` is the top-level name that is imported.
    """

    module: str
    distribution: str
    version: str


@dataclass(frozen=True, slots=True)
class Pin:
    """A distribution, by its canonical name (PEP 503), at one version.

    ``hashes`` are those of its files that will do, ``sha256:`` and hex digits; none: any file of that version will.
    """

    name: str
    version: str
    hashes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lock:
    """The packages a snapshot needs, sorted by name, each once.

    ``source`` says where the versions are from: ``"uv.lock"``, or ``"installed"``: what its author ran a moment ago.
    ``is_alone`` asks for an environment without anything of the worker's own packages.
    ``runtime`` is the Celery of its author, with all that it and autocelery need there: what an environment
    that stands alone holds besides, and any other has from the worker.
    ``asked`` are the names of pins that a call asked for: those have to be there in that very version.
    """

    pins: tuple[Pin, ...] = ()
    source: str = "installed"
    is_alone: bool = False
    runtime: tuple[Pin, ...] = ()
    asked: tuple[str, ...] = ()

    @property
    def complete(self) -> tuple[Pin, ...]:
        """All that an environment holds which stands alone; what the code needs goes before the runtime's own."""
        by_name = {pin.name: pin for pin in (*self.runtime, *self.pins)}
        return tuple(by_name[name] for name in sorted(by_name))


@dataclass(frozen=True, slots=True)
class Root:
    """One shipped folder: ``name`` is its folder in the layout, ``tree`` its Merkle digest."""

    name: str
    tree: str


@dataclass(frozen=True, slots=True)
class AppSource:
    """Where a host gets the Celery app from.

    Either ``module`` and ``attribute``, or, for an app that lives in no
    module of the tree, the ``settings`` to make one with and its ``main``.
    """

    module: str | None = None
    attribute: str | None = None
    main: str | None = None
    settings: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Manifest:
    """The root of a snapshot: everything but the files' bytes.

    ``paths`` are the ``sys.path`` entries, in order, relative to the layout
    (``"tree"``, ``"tree/src"``); ``cwd`` likewise. ``python`` is
    ``"major.minor"``. ``values`` is the digest of the blob with the functions
    that are in no module, or ``None``. ``lock`` is the digest of the
    blob with the packages that the code needs, or ``None`` where the worker's own have to do.
    """

    roots: tuple[Root, ...]
    paths: tuple[str, ...]
    cwd: str
    python: str
    app: AppSource
    packages: tuple[Package, ...] = ()
    values: str | None = None
    lock: str | None = None


@dataclass(frozen=True, slots=True)
class Statement:
    """What an author signs: this snapshot is mine, from then until then.

    Times are seconds since the epoch. ``local_root`` is the author's own
    path of the first root, which tracebacks show. ``key`` is the id of the
    public key: the first 16 hex digits of its SHA-256.
    """

    snapshot: str
    key: str
    issued: int
    expires: int
    local_root: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A pinned version of the working tree, to be given to ``task.using()``.

    ``id`` is the SHA-256 of the canonical manifest; ``key`` names the key
    whose statement over it is in the store.
    """

    id: str
    key: str

    @property
    def short(self) -> str:
        """The first 12 hex digits, which is what people see."""
        return self.id[:12]

    def __str__(self) -> str:
        return self.short

    def __repr__(self) -> str:
        return f"<Snapshot {self.short}>"
