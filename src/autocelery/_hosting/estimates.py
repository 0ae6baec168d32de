"""What environments would take that are not built yet: asked of the index by threads, told to who asks again."""

from __future__ import annotations

import threading
import time
from typing import Any

from autocelery._env.comparing import environment_id
from autocelery._env.estimating import Estimate, estimate
from autocelery._hosting.environments import Chosen, Environments
from autocelery._model import Lock
from autocelery.errors import EnvironmentMismatch

#: Seconds after which the index is asked again: it may have the package now, or the credentials may be right.
REMEMBERED = 60.0
#: How many are found out at once; what is asked beyond that is asked again.
_MOST_AT_ONCE = 4


class Estimates:
    """Answers at once, whoever asks: a worker's heartbeats wait for it. Owns a thread for each question to the index.

    Args:
        environments: the worker's.
    """

    def __init__(self, environments: Environments) -> None:
        self._environments = environments
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, Estimate]] = {}
        self._asking: set[str] = set()

    def told(self, lock: Lock, python: str, snapshot: str = "") -> dict[str, Any]:
        """Return, as JSON has it, which environment a snapshot gets.

        ``state`` is ``satisfied``, ``built``, ``to be built``, ``impossible``, or ``pending``: then ask again.

        Args:
            lock: what it needs.
            python: the minor version that it is made with.
            snapshot: its id, to be named.
        """
        try:
            self._environments.check_python(snapshot, python, has_lock=True)
            chosen = self._environments.choose(lock, python)
        except EnvironmentMismatch as exc:
            why, _, mend = exc.message.partition(". ")
            return {"state": "impossible", "why": why, "mend": mend or "See the worker's log."}
        if not chosen.pins:
            return {"state": "satisfied"}
        about = {
            "packages": [[pin.name, pin.version] for pin in chosen.pins],
            "alone": chosen.interpreter is not None,
        }
        if self._environments.has(chosen):
            return {**about, "state": "built"}
        found = self._estimated(chosen)
        if found is None:
            return {**about, "state": "pending"}
        return {
            **about,
            "state": "impossible" if found.why else "to be built",
            "size": found.size,
            "source": found.source,
            "unbuilt": list(found.unbuilt),
            "compiler": found.has_compiler,
            "why": found.why,
            "mend": found.mend,
        }

    def _estimated(self, chosen: Chosen) -> Estimate | None:
        name = environment_id(chosen.pins, chosen.interpreter)
        with self._lock:
            asked, known = self._known.get(name, (0.0, None))
            if known is not None and time.monotonic() - asked < REMEMBERED:
                return known
            if name not in self._asking and len(self._asking) < _MOST_AT_ONCE:
                self._asking.add(name)
                threading.Thread(target=self._ask, args=(name, chosen), name="estimate", daemon=True).start()
        return None

    def _ask(self, name: str, chosen: Chosen) -> None:
        try:
            found = estimate(chosen.pins, chosen.interpreter)
        except (OSError, ValueError) as exc:
            found = Estimate(
                why=f"its index could not be asked: {exc}", mend="The worker's log may tell more."
            )
        with self._lock:
            now = time.monotonic()
            self._known = {key: told for key, told in self._known.items() if now - told[0] < REMEMBERED}
            self._known[name] = (now, found)
            self._asking.discard(name)
