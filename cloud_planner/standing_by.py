"""Stand-bys beside a plan: found off the event loop, audited, and told of."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

from circinus import wire
from circinus.errors import CircinusError
from circinus.model.directive import Directive, StandBy
from circinus.model.plan import Plan, Selection
from circinus.model.query import Query, QueryId
from circinus.v1 import planner_pb2
from cloud_planner.core.audit_stand_bys import audit_stand_bys
from cloud_planner.core.decompose import Fleet
from cloud_planner.core.stand_by import StandByChoice, StandByMemo, stand_bys, with_stand_bys
from cloud_planner.store import GenerationRecord


class StandingBy:
    """Finds the stand-bys of one plan after the other; what did not change is not looked for again."""

    def __init__(self) -> None:
        self._memo = StandByMemo()

    async def add(
        self,
        fleet: Fleet,
        queries: Sequence[Query],
        selection: Selection,
        plans: Sequence[Plan],
        directives: Sequence[Directive],
        newest: GenerationRecord | None,
    ) -> tuple[tuple[Directive, ...], list[planner_pb2.StandByState]]:
        """The directives with stand-bys, and what is to be told of them.

        Raises:
            CircinusError: they do not pass their audit.
        """
        if not any(query.stand_by for query in queries):
            return tuple(directives), []
        before = _in_force(newest)
        found = await asyncio.to_thread(stand_bys, fleet, queries, plans, directives, before=before, memo=self._memo)
        whole = with_stand_bys(directives, found)
        devices = {device.id: device for device in fleet.devices}
        if wrong := audit_stand_bys(replace(selection, plans=tuple(plans)), whole, devices):
            said = "; ".join(f"{finding.subject}: {finding.message}" for finding in wrong[:3])
            raise CircinusError(f"the stand-bys do not pass their audit: {said}")
        return whole, [_state(choice) for choice in found]


def _in_force(newest: GenerationRecord | None) -> Mapping[QueryId, StandBy]:
    messages = [one for message in (newest.directives.values() if newest else ()) for one in message.stand_bys]
    return {QueryId(one.query_id): wire.stand_by_from_message(one) for one in messages}


def _state(choice: StandByChoice) -> planner_pb2.StandByState:
    state = planner_pb2.StandByState(query_id=choice.query_id, reason=choice.reason)
    if choice.stand_by is not None:
        state.stand_by.CopyFrom(wire.stand_by_to_message(choice.stand_by))
    return state
