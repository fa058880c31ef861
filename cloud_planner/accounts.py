"""The ledger at work: opens an account for each promise, adds what is seen to it, and says what corrects estimates."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from circinus.clock import Clock
from circinus.errors import CircinusError
from circinus.events import event, warning
from circinus.model.device import DeviceId
from circinus.model.directive import Generation
from circinus.model.plan import Plan
from circinus.model.query import Query
from circinus.v1 import planner_pb2, types_pb2
from cloud_planner.ageing import Ageing
from cloud_planner.core.calibration import Account, Belief, Corrections, belief, calibration, corrections, residuals
from cloud_planner.core.problem import Problem
from cloud_planner.core.promises import promise_of
from cloud_planner.core.revisions import ServicePlace
from cloud_planner.core.seeing import see_operator, see_query
from cloud_planner.disturbances import Disturbances
from cloud_planner.store import AccountRecord, Store

#: Accounts that estimates are corrected by: the newest.
MOST_WEIGHED = 400
#: Accounts that one generation opens at most (all of them are among the newest), that are kept at most, for how long.
MOST_AT_ONCE = 200
MOST_KEPT = 10_000
KEPT = timedelta(days=30)
#: How often windows are added, and how long after it was opened an account may still get some.
_PERIOD_S = 5.0
_OPEN_FOR = timedelta(days=1)
_PRUNE_S = 600.0
_MOST_WINDOWS = 2_000
#: A correction is handed on when it moved by so much: plans must not change for noise.
_MOVED_LOG = math.log(1.08)
_LEAST_ITEMS = 120
_LEAST_ACCOUNTS = 2


class Accounts:
    """The ledger's accounts. ``load`` first."""

    def __init__(self, store: Store, clock: Clock, disturbances: Disturbances | None = None) -> None:
        self._store = store
        self._clock = clock
        self._disturbances = disturbances
        self._recent: tuple[AccountRecord, ...] = ()
        self._given: dict[ServicePlace, float] = {}
        self._lock = asyncio.Lock()
        self._ageing = Ageing(clock)

    async def load(self) -> None:
        """Takes up what is known."""
        self._recent = await self._store.accounts(MOST_WEIGHED)
        await self._correct()

    @property
    def service_ratio(self) -> Mapping[ServicePlace, float]:
        """Factors on profiled service times; a new mapping whenever one moved by more than noise does."""
        return self._given

    async def open(
        self,
        generation: Generation,
        queries: Sequence[Query],
        plans: Sequence[Plan],
        problem: Problem,
        service_ratio: Mapping[ServicePlace, float],
    ) -> None:
        """Books what a new generation promises. ``service_ratio``: the corrections that the problem has in it."""
        await self.refresh()
        by_id = {query.id: query for query in queries}
        mine = [plan for plan in plans if plan.query_id in by_id]
        if len(mine) > MOST_AT_ONCE:
            event("accounts_left_out", queries=len(mine) - MOST_AT_ONCE)
        now, recent = self._clock.now(), self._recent
        pipelines = {by_id[plan.query_id].pipeline_id for plan in mine}

        def promised() -> list[AccountRecord]:
            known = residuals(_oldest_first(recent))
            beliefs: dict[str, Belief] = {name: belief(known, name, service_ratio) for name in sorted(pipelines)}
            return [
                AccountRecord(
                    generation=generation,
                    query_id=plan.query_id,
                    created_at=now,
                    promise=promise_of(
                        by_id[plan.query_id],
                        plan,
                        problem,
                        beliefs[by_id[plan.query_id].pipeline_id],
                        service_ratio,
                    ),
                    seen=planner_pb2.Seen(),
                )
                for plan in mine[:MOST_AT_ONCE]
            ]

        try:
            records = await asyncio.to_thread(promised)
        except Exception as error:  # a fault of the ledger must not end planning
            warning("ledger_failed", reason=f"{type(error).__name__}: {error}")
            return
        await self._store.put_accounts(records)
        async with self._lock:
            self._recent = await self._store.accounts(MOST_WEIGHED)

    async def refresh(self) -> None:
        """Adds the windows that came since the last time."""
        async with self._lock:
            since = self._clock.now() - _OPEN_FOR
            changed: dict[tuple[Generation, str], AccountRecord] = {}
            for record in self._recent:
                if record.created_at >= since and (found := await self._more(record)) is not None:
                    changed[record.generation, record.query_id] = found
            if not changed:
                return
            await self._store.put_seen(list(changed.values()))
            self._recent = tuple(changed.get((record.generation, record.query_id), record) for record in self._recent)
        await self._correct()

    async def _more(self, record: AccountRecord) -> AccountRecord | None:
        windows = await self._store.unseen_windows(record, _MOST_WINDOWS)
        if not windows:
            return None
        seen = planner_pb2.Seen()
        seen.CopyFrom(record.seen)
        promised = {(one.operator_id, one.device_id) for one in record.promise.operators}
        try:
            devices = {DeviceId(one.device_id) for one in record.promise.operators}
            for one in windows:
                if self._disturbances is not None and self._disturbances.in_window(devices, one.window):
                    continue
                if isinstance(one.window, types_pb2.QueryWindow):
                    see_query(seen, one.window, record.promise.rate_per_s)
                elif (one.window.operator_id, one.device_id) in promised:
                    see_operator(seen, one.device_id, one.window)
        except (ValueError, CircinusError) as error:
            # Counts that add up to what no message holds: these windows must not be in the way of the next ones.
            warning("windows_not_seen", query=record.query_id, reason=error)
            return replace(record, window_id=windows[-1].id)
        return replace(record, seen=seen, window_id=windows[-1].id)

    async def _correct(self) -> None:
        known = _oldest_first(self._recent)
        found: Corrections = await asyncio.to_thread(corrections, known)
        given = dict(self._given)
        for place, ratio in found.service_ratio.items():
            moved = abs(math.log(ratio / given.get(place, 1.0)))
            enough = found.items[place] >= _LEAST_ITEMS and found.accounts[place] >= _LEAST_ACCOUNTS
            if enough and moved >= _MOVED_LOG:
                given[place] = ratio
        if given != self._given:
            self._given = given

    async def list(self, limit: int, query_id: str = "") -> tuple[tuple[AccountRecord, ...], planner_pb2.Calibration]:
        """The newest accounts, newest first, and how good their promises were."""
        await self.refresh()
        records = await self._store.accounts(limit if not query_id else MOST_KEPT)
        records = tuple(record for record in records if not query_id or record.query_id == query_id)[:limit]
        return records, await asyncio.to_thread(calibration, _oldest_first(records))

    async def run(self) -> None:
        """Adds windows every few seconds and forgets what is old, for ever."""
        pruned_s = -math.inf
        while True:
            await self._clock.sleep(_PERIOD_S)
            try:
                await self.refresh()
                if self._clock.monotonic_s() - pruned_s >= _PRUNE_S:
                    pruned_s = self._clock.monotonic_s()
                    if self._ageing.believed():
                        await self._store.prune_accounts(self._clock.now() - KEPT, MOST_KEPT)
            except Exception as error:  # a fault of the ledger must not end planning
                warning("ledger_failed", reason=f"{type(error).__name__}: {error}")


def _oldest_first(records: Sequence[AccountRecord]) -> list[Account]:
    return [Account(promise=record.promise, seen=record.seen) for record in reversed(records)]
