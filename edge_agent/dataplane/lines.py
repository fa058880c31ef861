"""The queues of one replica set, and who of its uses may have an item in service.

Uses that have cores of their own have a queue each, and so many items in service as the plan gave them replicas,
whoever else lives in the process. The process does one item after the other, as fast as it can; what comes out is held
until it has taken the time that it would have taken on the use's own cores. So each use is served as if it were alone:
what is planned of it holds, and one that exceeds its rate keeps nobody else waiting for more than an item. Cores
add up to what a process has, so its time is enough for all.

All other uses have one queue together (waiting.py), which is fair among them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from circinus.clock import Clock
from circinus.model.directive import Generation, Use
from circinus.model.pipeline import OperatorId
from circinus.model.query import QueryId
from edge_agent.dataplane.item import Work
from edge_agent.dataplane.queues import WorkQueue
from edge_agent.dataplane.waiting import Dropped

_Place = tuple[QueryId, OperatorId]


@dataclass(slots=True, kw_only=True, eq=False)
class Line:
    """One queue. ``cores`` 0: of all uses that have none of their own. ``turns``: items of it in one process at a time.

    ``over``: nothing comes any more; done when it is empty.
    """

    queue: WorkQueue
    cores: float
    turns: int
    over: asyncio.Future[None]


class Lines:
    """The queues of one replica set of so many processes. ``on_dropped`` gets each item that is let go of."""

    def __init__(
        self,
        uses: Sequence[Use],
        *,
        clock: Clock,
        processes: int,
        batch: int,
        on_dropped: Callable[[Dropped], None],
    ) -> None:
        self._clock = clock
        self._processes = max(1, processes)
        self._batch = batch
        self._on_dropped = on_dropped
        self._own: dict[_Place, tuple[Use, Line]] = {}
        self._common: Line | None = None
        self._leaving: list[Line] = []
        self._changed: set[asyncio.Event] = set()
        self.update(uses, batch=batch)

    def __len__(self) -> int:
        return sum(len(line.queue) for line in self.all)

    @property
    def all(self) -> list[Line]:
        """Every line, those that are left among them."""
        common = [self._common] if self._common is not None else []
        return [*common, *(line for _, line in self._own.values()), *self._leaving]

    @property
    def alone(self) -> bool:
        """Whether there is one use only, so that a process may take its time for it."""
        return len(self.all) == 1

    def update(self, uses: Sequence[Use], *, batch: int) -> None:
        """The uses from now on; what waits for others is still served."""
        self._batch = batch
        own = {(use.query_id, use.operator_id): use for use in uses if use.cores > 0.0}
        for place, (known, line) in tuple(self._own.items()):
            wanted = own.get(place)
            if wanted is None or (wanted.cores, wanted.replicas) != (known.cores, known.replicas):
                del self._own[place]
                self._leaving.append(line)
        self.let_go()
        for place, use in own.items():
            if place in self._own:
                line = self._own[place][1]
                line.queue.update((use,), batch=batch)
            else:
                line = self._made((use,), use.cores, -(-use.replicas // self._processes))
            self._own[place] = (use, line)
        others = [use for use in uses if use.cores <= 0.0]
        if self._common is not None:
            self._common.queue.update(others, batch=batch)
        elif others or not self._own:
            self._common = self._made(others, 0.0, 1)
        for event in self._changed:
            event.set()

    def let_go(self) -> None:
        """Lines that were left and are empty are over."""
        self._leaving = [line for line in self._leaving if not self._left(line)]

    def put(self, work: Work) -> None:
        """Takes an item; it may be let go of at once, or others for it."""
        self._line_of(work).queue.put(work)

    def clear(self) -> list[Work]:
        """Takes everything out."""
        return [work for line in self.all for work in line.queue.clear()]

    def count_older(self, than: Generation) -> int:
        """How many items of an older generation wait."""
        return sum(line.queue.count_older(than) for line in self.all)

    def watch(self) -> asyncio.Event:
        """An event that is set whenever lines came or went; ``unwatch`` it."""
        event = asyncio.Event()
        self._changed.add(event)
        return event

    def unwatch(self, event: asyncio.Event) -> None:
        """Nobody looks at it any more."""
        self._changed.discard(event)

    def _line_of(self, work: Work) -> Line:
        found = self._own.get((work.query_id, work.operator_id))
        if found is not None:
            return found[1]
        # Of nobody that is known, such as a caller's of this operator alone.
        return self._common if self._common is not None else next(iter(self._own.values()))[1]

    def _left(self, line: Line) -> bool:
        """Whether a line that is left is empty, too; whoever serves it is told."""
        if len(line.queue) > 0:
            return False
        if not line.over.done():
            line.over.set_result(None)
        return True

    def _made(self, uses: Sequence[Use], cores: float, turns: int) -> Line:
        queue = WorkQueue(
            uses,
            clock=self._clock,
            replicas=turns * self._processes,
            batch=self._batch,
            on_dropped=self._on_dropped,
        )
        return Line(queue=queue, cores=cores, turns=turns, over=asyncio.get_running_loop().create_future())
