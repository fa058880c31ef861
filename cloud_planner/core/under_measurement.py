"""When a decision waits: what the last one rests on is being measured, and nothing else is new. PURE.

A plan is chosen by times that are believed, and then they are measured. After a quarter of the samples the mean is off
by enough to ask for a replica more or less, so planning at every few of them moves the plan back and forth. Only all of
them together are news.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from circinus.model.pipeline import configuration_key
from circinus.model.plan import Plan
from circinus.model.query import QueryId
from cloud_planner.core.needs import ProfileNeed, verification_needs
from cloud_planner.core.planning import Snapshot

#: A measurement that takes longer than this is no reason to wait any more.
LONGEST_S: Final = 60.0

_Offered = Mapping[QueryId, frozenset[tuple[str, bool]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnderMeasurement:
    """A decision, made at ``since_s``, and the queries whose times are still to be measured (``waiting``)."""

    basis: Snapshot
    offered: _Offered
    plans: tuple[Plan, ...]
    waiting: frozenset[QueryId]
    since_s: float

    def goes_on(self, snapshot: Snapshot, now_s: float) -> bool:
        """Whether the same queries still wait to be measured, and all that is new are such measurements."""
        if not self.waiting or now_s - self.since_s > LONGEST_S:
            return False
        if _bare(snapshot) != self.basis or _offered(snapshot) != self.offered:
            return False
        queries = {query.id: query for query in snapshot.queries}
        needs = verification_needs(snapshot.fleet, queries, self.plans, snapshot.circumstances)
        return _query_ids(needs) == self.waiting


def under_measurement(
    snapshot: Snapshot, plans: Sequence[Plan], needs: Sequence[ProfileNeed], now_s: float
) -> UnderMeasurement:
    """What is still to be measured (``needs``) of these plans, which were chosen from a snapshot."""
    return UnderMeasurement(
        basis=_bare(snapshot),
        offered=_offered(snapshot),
        plans=tuple(plans),
        waiting=_query_ids(needs),
        since_s=now_s,
    )


def _query_ids(needs: Sequence[ProfileNeed]) -> frozenset[QueryId]:
    return frozenset(need.query_id for need in needs if need.query_id is not None)


def _bare(snapshot: Snapshot) -> Snapshot:
    """All but what was measured and what runs."""
    return replace(snapshot, fleet=replace(snapshot.fleet, tables={}, choices={}), running=())


def _offered(snapshot: Snapshot) -> _Offered:
    """Which configurations may be planned with: in whatever order, however sure their accuracy is."""
    return {
        query_id: frozenset((configuration_key(one.configuration), one.certified) for one in choices)
        for query_id, choices in snapshot.fleet.choices.items()
    }
