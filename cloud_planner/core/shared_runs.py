"""Who emits and who runs what for whom, as directives say it. PURE.

Queries that read the same input of one device by the same pipeline at the same rate are a group: the one with the
smallest id emits for all. Items of what runs for several wait for the latest deadline of the group; where an item goes
on for one query alone, its deadline is that query's again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from circinus.model.directive import NO_QUERY, Use, patience_ms
from circinus.model.pipeline import SOURCE, OperatorId, OperatorSpec, PipelineId, RegisteredPipeline
from circinus.model.plan import OperatorPlan
from circinus.model.query import Query, QueryId
from cloud_planner.core.shareable import stream_text
from cloud_planner.core.shares import Place, Shares


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedRuns:
    """``groups``: by query, all that read its items, in order of ids. ``served``: by run, all that it serves."""

    shares: Shares
    groups: Mapping[QueryId, tuple[Query, ...]]
    served: Mapping[Place, tuple[Query, ...]]

    @classmethod
    def of(
        cls, queries: Sequence[Query], pipelines: Mapping[PipelineId, RegisteredPipeline], shares: Shares
    ) -> SharedRuns:
        """What these queries, in order of their ids, share."""
        readers: dict[object, list[Query]] = defaultdict(list)
        for query in queries:
            stream = stream_text(query, pipelines[query.pipeline_id])
            readers[(query.source_device_id, query.rate_per_s, stream) if stream else query.id].append(query)
        served: dict[Place, list[Query]] = defaultdict(list)
        for query in queries:
            for operator in pipelines[query.pipeline_id].pipeline.operators:
                served[shares.runs(query.id, operator.id), operator.id].append(query)
        return cls(
            shares=shares,
            groups={query.id: tuple(group) for group in readers.values() for query in group},
            served={place: tuple(found) for place, found in served.items()},
        )

    def runs(self, query_id: QueryId, name: OperatorId) -> QueryId:
        """The query whose run of an operator, or whose source, gives a query its items."""
        return self.groups[query_id][0].id if name == SOURCE else self.shares.runs(query_id, name)

    def leader(self, query_id: QueryId) -> QueryId:
        """Who emits a query's items; NO_QUERY: itself."""
        first = self.runs(query_id, SOURCE)
        return NO_QUERY if first == query_id else first

    def given(self, query_id: QueryId, operator: OperatorSpec) -> dict[OperatorId, QueryId]:
        """The inputs of an operator that come from what runs for several queries, to the query whose run it is."""
        runs = {name: self.runs(query_id, name) for name in operator.inputs}
        return {name: run for name, run in runs.items() if self._serves_several(run, name)}

    def done_by_others(self, query_id: QueryId, operators: Sequence[OperatorSpec]) -> dict[OperatorId, QueryId]:
        """The operators of a query that another query's run does, to that query."""
        runs = {operator.id: self.runs(query_id, operator.id) for operator in operators}
        return {name: run for name, run in runs.items() if run != query_id}

    def earlier_ms(self, query_id: QueryId, operator_id: OperatorId) -> float:
        """How much earlier than its group's the deadlines of items at a query's run are."""
        if self._serves_several(query_id, operator_id):
            return 0.0
        own = next(query for query in self.groups[query_id] if query.id == query_id)
        return self._patience_ms(query_id) - _patience_ms(own)

    def use(self, query: Query, operator: OperatorSpec, placed: OperatorPlan) -> Use:
        """A query's run of an operator on one device, for all that it serves.

        An item is in vain only if it comes too late for each of them.
        """
        served = self.served[query.id, operator.id]
        after_ms = {one.id: self.shares.after_ms.get((one.id, operator.id), 0.0) for one in served}
        if len(served) == 1:
            deadline_ms, left_ms = query.slo.latency_ms or 0.0, after_ms[query.id]
        else:
            bounded = any(one.slo.latency_ms is not None for one in served)
            last_ms = self._patience_ms(query.id)
            deadline_ms = last_ms if bounded else 0.0
            left_ms = last_ms - max(_patience_ms(one) - after_ms[one.id] for one in served)
        return Use(
            query_id=query.id,
            operator_id=operator.id,
            inputs=operator.inputs,
            rate_per_s=query.rate_per_s * placed.share_ratio,
            weight=sum(one.weight for one in served),
            after_ms=left_ms,
            deadline_ms=deadline_ms,
        )

    def _serves_several(self, query_id: QueryId, name: OperatorId) -> bool:
        return len(self.groups[query_id] if name == SOURCE else self.served.get((query_id, name), ())) > 1

    def _patience_ms(self, query_id: QueryId) -> float:
        return max(_patience_ms(query) for query in self.groups[query_id])


def _patience_ms(query: Query) -> float:
    return patience_ms(query.slo.latency_ms or 0.0)


__all__ = ["SharedRuns"]
