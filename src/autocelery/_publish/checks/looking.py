"""Everything that the code and the files of a snapshot show, looked at together."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from celery import Celery

from autocelery._publish.checks import apps, files, imports, reached, trees
from autocelery._publish.checks.reached import Source
from autocelery._publish.checks.shipped import Shipped
from autocelery._publish.inspecting import WorkerReport
from autocelery._publish.problems import Problem

if TYPE_CHECKING:
    from autocelery._publish.collecting import Collected


@dataclass(frozen=True, slots=True)
class Looked:
    """What is shipped, the code that tasks reach, and the variables that it reads, with where it does."""

    app: Celery
    collected: Collected
    shipped: Shipped
    sources: tuple[Source, ...]
    variables: Mapping[str, str]

    def problems(self) -> Iterator[Problem]:
        """Yield what would fail on any worker."""
        yield from trees.problems_of(self.collected, self.shipped)
        yield from imports.problems_of(self.sources, self.shipped)
        yield from files.problems_of(self.sources, self.shipped)
        yield from apps.problems_of(self.app, self.sources, self.shipped)

    def of_fleet(self, workers: Collection[WorkerReport]) -> Iterator[Problem]:
        """Yield what would fail on these workers, taken together."""
        yield from apps.of_queues(self.app, workers)
        yield from apps.of_variables(self.variables, workers)


def look(app: Celery, collected: Collected, provided: Collection[str]) -> Looked:
    """Read the code that tasks reach, once the app's modules are imported.

    Args:
        app: whose tasks they are.
        collected: the tree as it was found.
        provided: names of the variables that calls take along.
    """
    shipped = Shipped.of(collected)
    sources = tuple(reached.sources(shipped))
    read = apps.variables_read(sources, shipped)
    return Looked(
        app, collected, shipped, sources, {name: read[name] for name in read.keys() - set(provided)}
    )
