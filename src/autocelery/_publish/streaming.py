"""`auto.stream`, and the follower that prints while something else waits for the results."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager

from celery.result import AsyncResult

from autocelery._blobs import output
from autocelery._publish.listening import Listener
from autocelery._publish.reading import Output, Reader, read_all
from autocelery._publish.showing import Printer
from autocelery.errors import AutoceleryError, WrongCall
from autocelery_host import aims

logger = logging.getLogger(__name__)

#: Seconds between two looks for output, and for what is the last of it.
INTERVAL = 0.1
SHORT_INTERVAL = 0.02
#: Seconds between two looks whether a call has ended that did not say so, and for which its last words are waited
#: for. They are counted in looks for them: while a machine stands still nothing comes.
LOOK_INTERVAL = 1.0
GRACE = 2.0
#: How many calls a follower follows at once.
MOST = 256


def streamed(listener: Listener, results: AsyncResult | Iterable[AsyncResult]) -> Iterator[Output]:
    """Return what the calls print, as it comes; see `Autocelery.stream`."""
    asked = [results] if isinstance(results, AsyncResult) else list(results)
    for each in asked:
        if listener.name_of(each.id) is None:
            raise WrongCall(
                f"Nobody asked the call {each.id} for its output when it was sent, or it was read already. Send it "
                "with task.live.apply_async(args, output=True), or auto.live(task, output=True).delay(...)."
            )
        # The Django preset's backends know of calls that wait for the commit of the transaction that runs here.
        see_that_it_is_sent = getattr(each.backend, "see_that_it_is_sent", None)
        if see_that_it_is_sent is not None:
            see_that_it_is_sent(each)
    return _streamed(listener, asked)


def _streamed(listener: Listener, results: Sequence[AsyncResult]) -> Iterator[Output]:
    readers = {each.id: Reader(each.id) for each in results}
    over = _Over(results)
    try:
        while readers:
            shown = _read(listener, list(readers.values()))
            yield from shown
            for task_id in [each for each, reader in readers.items() if over.is_over(reader)]:
                listener.close(task_id)
                if not readers.pop(task_id).has_ended:
                    _forget(listener, task_id)
            if not shown and readers:
                over.look(readers)
                time.sleep(INTERVAL)
                for task_id in readers:
                    listener.keep(task_id)
    finally:
        for task_id in readers:
            listener.close(task_id)


def _read(listener: Listener, readers: Sequence[Reader]) -> list[Output]:
    try:
        return read_all(listener.store, readers)
    except AutoceleryError as exc:  # it may come back; the calls' results do not hang on it
        logger.debug("Output cannot be read: %s", exc)
        return []


def _forget(listener: Listener, task_id: str) -> None:
    """Remove what is left of a call that ended without a word."""
    with contextlib.suppress(AutoceleryError):
        listener.store.discard(output.everything(task_id))


class _Over:
    """Which calls have ended without a word: refused, revoked, or with their worker."""

    def __init__(self, results: Sequence[AsyncResult]) -> None:
        self._results = {each.id: each for each in results}
        self._waited: dict[str, int] = {}
        self._looked = time.monotonic()

    def is_over(self, reader: Reader) -> bool:
        """Whether a call has said that it ended, or its last words were looked for often enough since it did.

        A result may be there before a word of the run that it is of.
        """
        return reader.has_ended or self._waited.get(reader.task_id, 0) * INTERVAL > GRACE

    def look(self, task_ids: Collection[str]) -> None:
        """Note that nothing came of these calls; ask the result backend, where that is due, whether they have ended."""
        for task_id in task_ids:
            if task_id in self._waited:
                self._waited[task_id] += 1
        if time.monotonic() - self._looked < LOOK_INTERVAL:
            return
        self._looked = time.monotonic()
        for task_id in task_ids:
            if task_id not in self._waited and has_result(self._results[task_id]):
                self._waited[task_id] = 0


def has_result(result: AsyncResult) -> bool:
    """Whether the result is there; where none is kept, or the backend does not answer, it is not."""
    try:
        return bool(result.ready())
    except Exception as exc:  # noqa: BLE001 - a backend raises what it likes, and who waits for the result meets it
        logger.debug("Whether a call has ended cannot be read: %r", exc)
        return False


class Follower:
    """Prints the output of the calls that are sent in `sending`, until `finish`. Owns one thread.

    Args:
        listener: the app's.
        printer: where it goes.
        label_several: whether lines say whose they are while several calls are under way.
    """

    def __init__(self, listener: Listener, printer: Printer, label_several: bool = True) -> None:
        self._listener = listener
        self._printer = printer
        self._label_several = label_several
        self._lock = threading.Lock()
        self._readers: dict[str, Reader] = {}
        self._labels: dict[str, str] = {}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def sending(self) -> AbstractContextManager[None]:
        """Have the calls that this thread or task sends in a ``with`` block followed."""
        return aims.asking(lambda app, task_id, name: self.ask(task_id, name))

    def following(self) -> list[str]:
        """Return the ids of the calls that have not said that they ended."""
        with self._lock:
            return list(self._readers)

    def finish(self, has_ended: Callable[[str], bool] = lambda task_id: True) -> None:
        """Print the last words of the calls that have ended, wait for them for two seconds at most, and stop.

        Args:
            has_ended: tells by a call's id whether it has.
        """
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(GRACE)
        looks = 0
        with contextlib.suppress(OSError, ValueError):  # nobody reads what is printed any more
            while any(has_ended(each) for each in self.following()) and looks * SHORT_INTERVAL < GRACE:
                if not self._step():
                    looks += 1
                    time.sleep(SHORT_INTERVAL)
            self._printer.close()
        for task_id in self.following():
            self._listener.close(task_id)
            if has_ended(task_id):
                _forget(self._listener, task_id)

    def ask(self, task_id: str, name: str) -> str | None:
        """Follow a call that is about to be sent, and return the channel for its header.

        ``None`` where its output is not to be had, or `MOST` calls are followed already.
        """
        if len(self._readers) >= MOST and task_id not in self._readers:
            return None  # a script that sends thousands: nobody reads what all of them print
        channel = self._listener.ask(task_id, name)
        if channel is not None:
            with self._lock:
                self._readers.setdefault(task_id, Reader(task_id))
                self._labels[task_id] = f"[{name.rpartition('.')[2]} {task_id[:8]}]"
                if self._thread is None:
                    self._thread = threading.Thread(target=self._serve, name="follower", daemon=True)
                    self._thread.start()
        return channel

    def _serve(self) -> None:
        while not self._stopping.is_set():
            try:
                had_some = self._step()
            except (OSError, ValueError) as exc:  # nobody reads what is printed any more
                logger.debug("Output is not shown any more: %s", exc)
                return
            if not had_some:
                self._stopping.wait(INTERVAL)

    def _step(self) -> bool:
        with self._lock:
            readers = dict(self._readers)
        shown = _read(self._listener, list(readers.values()))
        several = self._label_several and len(readers) > 1
        for each in shown:
            self._printer.show(each, self._labels[each.task_id] if several else "")
        for task_id in readers:
            self._listener.keep(task_id)
        for task_id in [each for each, reader in readers.items() if reader.has_ended]:
            with self._lock:
                del self._readers[task_id]
                label = self._labels.pop(task_id)
            self._printer.end(task_id, label)
            self._listener.close(task_id)
        return bool(shown)
