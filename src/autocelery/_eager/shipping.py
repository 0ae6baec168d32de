"""What stands in for shipping where calls run in the calling process: no key, no store, no snapshot of the tree."""

from __future__ import annotations

import base64
import hashlib
import io
import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NoReturn

from celery import Celery

from autocelery._model import Snapshot
from autocelery.errors import StoreNotConfigured
from autocelery_host import carrying, values
from autocelery_host.attachments import Value
from autocelery_host.header import Target

#: The id that stands for the code of this process; the digest of no tree.
OWN_CODE: Final = hashlib.sha256(b"the code of this process").hexdigest()
KEY: Final = "eager"
#: How many functions by value are remembered: each call of a lambda brings its own.
REMEMBERED: Final = 1000


class EagerShipper:
    """Gives live calls what they need to be messages; see `autocelery._publish.shipping.Shipper`."""

    runs_here = True

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._values: OrderedDict[str, bytes] = OrderedDict()
        self._registering = threading.Lock()
        self.sealer = NothingSealed()
        self.carrier = PickleInMessage(app)

    @property
    def store(self) -> NoReturn:
        """There is none.

        Raises:
            StoreNotConfigured: always.
        """
        raise _nothing_shipped()

    @property
    def top(self) -> NoReturn:
        """Nothing is shipped, from wherever; raises what `store` does."""
        raise _nothing_shipped()

    def collect(self) -> NoReturn:
        """Collect nothing; raises what `store` does."""
        raise _nothing_shipped()

    def key_id(self) -> str:
        """Return what stands for a key."""
        return KEY

    def env(self, snapshot: Snapshot | None = None) -> tuple[str, ...]:
        """Variables are those of this process: none has to travel."""
        return ()

    def ship(self, packed: bytes | None = None, asked: tuple[str, ...] = ()) -> Snapshot:
        """Return a snapshot that stands for the code of this process, and for functions by value.

        The packages ``asked`` for have to be here, as all that code needs which runs here.
        """
        if packed is None:
            return Snapshot(OWN_CODE, KEY)
        digest = hashlib.sha256(packed).hexdigest()
        self._values[digest] = packed
        if len(self._values) > REMEMBERED:
            self._values.popitem(last=False)
        return Snapshot(digest, KEY)

    def has(self, target: Target) -> bool:
        """Whether ``target`` is code of this process."""
        return target.key == KEY and (target.snapshot == OWN_CODE or target.snapshot in self._values)

    def function(self, snapshot: str, name: str) -> Any:
        """Return a task of the function that came by value, as a worker would unpickle it; ``None``: there is none."""
        packed = self._values.get(snapshot)
        if packed is None:
            return None
        with self._registering:
            return self._registered_for_now(packed).get(name)

    def _registered_for_now(self, packed: bytes) -> dict[str, Any]:
        """Return the app's tasks and those in ``packed``; in this process a name may be that of a task of its own."""
        tasks = self._app._tasks
        before = dict(tasks)
        try:
            values.register(self._app, packed)
            return dict(tasks)
        finally:
            for each in set(tasks) - set(before):
                del tasks[each]
            tasks.update(before)


def _nothing_shipped() -> StoreNotConfigured:
    return StoreNotConfigured(
        "Tasks of this app run in the calling process: there is no snapshot to keep or to look for, and no blob "
        "store. Set CELERY_BROKER_URL and start a worker."
    )


class NothingSealed:
    """Variables that a call names are set in this process: they were looked up when it was sent, and stay here."""

    def seal(self, snapshot: Snapshot, named: Mapping[str, str]) -> None:
        """Seal nothing."""

    def names_in(self, digest: str | None) -> Collection[str]:
        """Return no names."""
        return ()


class PickleInMessage:
    """Keeps values that the serializer does not carry in their references; see `autocelery_host.attachments`."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def keep(self, values: Sequence[Value], snapshot: str, call: str | None) -> list[dict[str, Any]]:
        """Return references that hold ``values`` themselves.

        Raises:
            ValueNotPicklable: one of them cannot be pickled.
        """
        return [self._kept(each, call) for each in values]

    def open(self, reference: Any, snapshot: str, call: str | None) -> Any:
        """Return the value in ``reference``, which this process wrote.

        Raises:
            AttachmentUnreadable: its class refuses.
        """
        return carrying.read(self._app, io.BytesIO(base64.b64decode(reference["pickle"])), reference)

    def _kept(self, value: Value, call: str | None) -> dict[str, Any]:
        file = io.BytesIO()
        carrying.write(self._app, value, file)
        return {
            "type": carrying.type_of(value.value),
            "purpose": "argument" if call is None else "result",
            "pickle": base64.b64encode(file.getvalue()).decode(),
        }
