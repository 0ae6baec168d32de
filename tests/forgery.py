"""Snapshots made by hand, good ones and bad ones, and live calls of them."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celery.result import AsyncResult

from autocelery._blobs import open_store, pack, store_url_for
from autocelery._config import Home
from autocelery._signing import keys, statement
from autocelery._snapshot import tree
from autocelery._snapshot.canonical import canonical_json, digest_of
from tests.shops import Shop

CODE = """
import pathlib
pathlib.Path({mark!r}).write_text("imported")
from celery import Celery
from autocelery import Autocelery

app = Celery("forged")
auto = Autocelery(app)

@app.task(name="forged.run")
def run():
    pathlib.Path({mark!r}).write_text("ran")
    return {answer!r}
"""
YEAR = 365 * 86_400


@dataclass(frozen=True, slots=True)
class Forged:
    """A snapshot in the store: its id, its key's id, and the digests of what it is made of."""

    id: str
    key: str
    tree: str
    files: Mapping[str, str]


class Forge:
    """Makes snapshots with the key of a shop's callers. Owns a connection to the shop's store."""

    def __init__(self, shop: Shop, mark: Path) -> None:
        self._shop = shop
        self._mark = mark
        self.key = keys.own_key(Home(keys=shop.home / "keys", cache=shop.home / "cache"))
        self.store = open_store(store_url_for(shop.app))

    def close(self) -> None:
        self.store.close()

    def traces(self) -> str:
        """Return what the code of a snapshot has done since this was last asked."""
        text = self._mark.read_text() if self._mark.exists() else ""
        self._mark.unlink(missing_ok=True)
        return text

    def code(self, answer: object = "well", before: str = "", after: str = "") -> str:
        """Return the source of a module with an app and the task ``forged.run``."""
        return before + CODE.format(mark=str(self._mark), answer=answer) + after

    def make(
        self,
        code: str,
        key: keys.SigningKey | None = None,
        issued: float = -60,
        expires: float = YEAR,
        entries: list[list[object]] | None = None,
        **manifest: object,
    ) -> Forged:
        """Put a snapshot of the one module ``forged`` into the store.

        Args:
            code: of the module.
            key: that signs it.
            issued: seconds from now.
            expires: seconds from now.
            entries: more entries of the top folder, right or wrong.
            **manifest: fields that are not as they should be.
        """
        source = code.encode()
        entry = ["forged.py", tree.FILE, len(source), digest_of(source)]
        node = canonical_json(sorted([entry, *(entries or [])], key=lambda each: str(each[0])))
        described = {
            "v": 1,
            "roots": [["tree", digest_of(node)]],
            "paths": ["tree"],
            "cwd": "tree",
            "python": f"{sys.version_info.major}.{sys.version_info.minor}",
            "app": {"module": "forged", "attribute": "app", "main": "forged", "settings": {}},
            "packages": [],
            "lock": None,
            "values": None,
        }
        raw = canonical_json({**described, **manifest})
        key = key or self.key
        now = int(time.time())
        snapshot = digest_of(raw)
        said = statement.sign(key, snapshot, now + int(issued), now + int(expires), "/home/me/forged")
        blobs = {digest_of(each): pack(each) for each in (source, node, raw)}
        self.store.put({**blobs, f"{snapshot}.{key.id}.sig": said})
        return Forged(snapshot, key.id, digest_of(node), {"forged.py": digest_of(source)})

    def call(self, forged: Forged, task: str = "forged.run", **options: Any) -> Any:
        """Send a live call and return its result, or raise what it raised, as its caller would."""
        header = {"v": 1, "snapshot": forged.id, "key": forged.key, "task": task}
        return self.send(header, **options)

    def sent(self, forged: Forged, **options: Any) -> AsyncResult[Any]:
        """Send a live call and return its result to be."""
        header = {"v": 1, "snapshot": forged.id, "key": forged.key, "task": "forged.run"}
        return self._shop.app.send_task("autocelery.live", headers={"autocelery": header}, **options)

    def send(self, header: object, timeout: float = 20.0, **options: Any) -> Any:
        """Send a message to the live task with this header and return its result."""
        headers = {} if header is None else {"autocelery": header}
        sent = self._shop.app.send_task("autocelery.live", headers=headers, **options)
        return self._shop.result(sent.id, timeout)
