"""What pages work with: the planner's parts, templates, and what was worked out lately."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from datetime import datetime
from typing import Any, TypeVar, cast

from cloud_planner.dashboard.attainment import Attainment, SeenLines
from cloud_planner.dashboard.templating import Templates
from cloud_planner.dashboard.try_outs import TryOuts
from cloud_planner.overview import Overview
from cloud_planner.services.planner import PlannerService
from cloud_planner.services.states import Decided

T = TypeVar("T")
_REMEMBERED = 256


class Desk:
    """A planner as pages see it. ``overview`` is for reading: what changes something goes by ``Visit.ask``."""

    def __init__(self, overview: Overview, service: PlannerService, templates: Templates) -> None:
        self.overview = overview
        self.service = service
        self.templates = templates
        self.attainment, self.seen_lines = Attainment(), SeenLines()
        self.try_outs = TryOuts(overview.trials, overview.clock)
        self._known: OrderedDict[Hashable, tuple[Hashable, float, object]] = OrderedDict()
        self._making: dict[Hashable, asyncio.Lock] = {}
        self._behind: set[asyncio.Task[Any]] = set()

    @property
    def now(self) -> datetime:
        """The planner's clock."""
        return self.overview.clock.now()

    def decided(self) -> Decided:
        """The last decision by query; made once for each decision and generation."""
        decision, newest = self.overview.loop.decision, self.overview.rollout.newest
        version = (id(decision), newest.generation if newest is not None else None, newest and newest.phase)
        known = self._known.get("decided")
        if known is None or known[0] != version:
            # Kept beside it: an id is one decision's only as long as that is there.
            made = (decision, Decided.of(decision, newest))
            known = self._known["decided"] = (version, 0.0, made)
        return cast("tuple[object, Decided]", known[2])[1]

    async def remembered(
        self,
        key: Hashable,
        make: Callable[[], Awaitable[T]],
        *,
        for_s: float = 1.0,
        version: Hashable = None,
        stale_s: float = 0.0,
    ) -> T:
        """What ``make`` gives, or gave less than ``for_s`` ago for the same key and version; made once at a time.

        ``stale_s``: one that is older, but not by more than this, is good enough, too: pages that are live are put
        right by their live parts.
        """
        if (found := self._fresh(key, version, for_s + stale_s)) is not None:
            return cast("T", found[0])
        async with self._making.setdefault(key, asyncio.Lock()):
            if (found := self._fresh(key, version, for_s)) is not None:
                return cast("T", found[0])
            try:
                made = await make()
            finally:
                self._making.pop(key, None)
            self._known[key] = (version, self.overview.clock.monotonic_s(), made)
            self._known.move_to_end(key)
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
            return made

    def known(self, key: Hashable, *, for_s: float = 1.0) -> Any | None:
        """What is ``remembered`` under a key, made less than ``for_s`` ago; None: nothing is."""
        found = self._fresh(key, None, for_s)
        return found[0] if found is not None else None

    async def within(self, making: Coroutine[Any, Any, T], limit_s: float) -> T | None:
        """What is made, if it is within so long; else None, and it is made to its end.

        Worth it for what is ``remembered``: who asks later finds it.
        """
        if limit_s <= 0.0:
            making.close()
            return None
        task = asyncio.get_running_loop().create_task(making, name="dashboard behind a page")
        self._behind.add(task)
        task.add_done_callback(self._behind.discard)
        done, _ = await asyncio.wait((task,), timeout=limit_s)
        return task.result() if done else None

    async def close(self) -> None:
        """Ends what is made behind pages."""
        for task in self._behind:
            task.cancel()
        await asyncio.gather(*self._behind, return_exceptions=True)
        await self.try_outs.close()

    def forget(self, key: Hashable) -> None:
        """What is remembered under a key is made anew the next time."""
        self._known.pop(key, None)

    def _fresh(self, key: Hashable, version: Hashable, for_s: float) -> tuple[object] | None:
        known = self._known.get(key)
        if known is None or known[0] != version:
            return None
        return (known[2],) if self.overview.clock.monotonic_s() - known[1] < for_s else None

    async def fragment(self, template: str, block: str, **context: Any) -> str:
        """One block of a template, made off the event loop: it gets nothing but what is given here."""
        return await asyncio.to_thread(self.templates.block, template, block, context)


__all__ = ["Desk"]
