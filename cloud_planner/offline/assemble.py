"""A case into a planning problem: configurations with their accuracy, options by machine. PURE.

Every configuration whose accuracy is known (any, where a pipeline has no accuracies at all) and each of whose
operators can run somewhere becomes a candidate of each query of its pipeline and content.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from math import prod

from circinus.model.device import DeviceId
from circinus.model.pipeline import (
    SOURCE,
    Configuration,
    KnobValue,
    OperatorId,
    PipelineId,
)
from circinus.model.plan import Interval
from circinus.model.query import QueryId
from cloud_planner.core.meant import Narrowing
from cloud_planner.core.problem import Candidate, Problem, QueryProblem, Sharing, Step
from cloud_planner.core.shareable import share_key
from cloud_planner.offline.case import (
    AT_SOURCE,
    AccuracyRow,
    AccuracyScale,
    Case,
    Compose,
    OperatorEntry,
    OutputRow,
    PipelineEntry,
    QueryEntry,
)
from cloud_planner.offline.documents import Faults
from cloud_planner.offline.matching import RowIndex, say_most
from cloud_planner.offline.options import OptionTable

MAX_CONFIGURATIONS = 20_000
#: Stands for the accuracy of a pipeline that has none; nothing is held against it and nothing is shown of it.
_NO_ACCURACY = Interval(value=0.0, low=0.0, high=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembly:
    """The problem, and what the answer must know of the files.

    ``has_accuracy`` and ``is_ratio`` by query: whether its pipeline has accuracies, and whether they are shares
    of items that are right.
    """

    problem: Problem
    has_accuracy: Mapping[QueryId, bool]
    is_ratio: Mapping[QueryId, bool]
    candidates: int
    unused_rows: tuple[str, ...]


def assemble(case: Case) -> Assembly:
    """The problem that a case poses.

    Raises:
        InvalidInput: rows contradict each other, or a pipeline has too many configurations.
    """
    faults = Faults()
    options = OptionTable(case, faults)
    builders = {name: _Builder(case, pipeline, options, faults) for name, pipeline in case.pipelines.items()}
    for builder in builders.values():
        builder.check_size()
    faults.raise_if_any()
    narrowing = Narrowing(entry.machine for entry in case.machines)
    queries, has_accuracy, is_ratio = [], {}, {}
    for query in case.queries:
        builder = builders[query.pipeline]
        candidates = builder.candidates(query)
        has_accuracy[query.id] = builder.has_accuracy
        is_ratio[query.id] = builder.is_ratio(candidates)
        if query.slo.accuracy_ratio is not None and not builder.has_accuracy:
            message = f"query {query.id}: bounds accuracy, but pipeline {query.pipeline} has no accuracies"
            faults.add(query.place, message)
        at_source = frozenset(op.id for op in case.pipelines[query.pipeline].operators if op.pinned == AT_SOURCE)
        why_none = builder.why_none(query) if not candidates else ""
        queries.append(narrowing.of(_query_problem(query, candidates, why_none, at_source)))
    faults.raise_if_any()
    settings = case.settings
    problem = Problem(
        machines=tuple(entry.machine for entry in case.machines),
        wires=case.wires,
        queries=tuple(queries),
        objective=settings.objective,
        waiting=settings.waiting,
        replica_utilization_cap=settings.replica_utilization_cap,
        link_utilization_cap=settings.link_utilization_cap,
        slo_probability_ratio=settings.slo_probability_ratio,
        served_ratio=settings.served_ratio,
        uplinks=case.uplinks,
        budget_per_h=settings.budget_per_h,
        sharing=settings.sharing,
    )
    return Assembly(
        problem=problem,
        has_accuracy=has_accuracy,
        is_ratio=is_ratio,
        candidates=sum(len(query.candidates) for query in queries),
        unused_rows=tuple(str(row.place) for row in case.service if row.place not in options.used),
    )


def _query_problem(
    query: QueryEntry, candidates: tuple[Candidate, ...], impossible: str, at_source: frozenset[OperatorId]
) -> QueryProblem:
    return QueryProblem(
        id=query.id,
        rate_per_s=query.rate_per_s,
        weight=query.weight,
        slo=query.slo,
        source=query.source,
        candidates=candidates,
        answer_to_source=query.answer_to_source,
        arrival_cv2=query.arrival_cv2,
        splittable=query.splittable,
        apart_from=query.apart_from,
        stream=query.stream,
        selector=query.selector,
        at_source=at_source if query.selector else frozenset(),
        impossible=impossible,
    )


class _Builder:
    """Candidates of one pipeline. Steps and candidates are shared by the queries that have them in common."""

    def __init__(self, case: Case, pipeline: PipelineEntry, options: OptionTable, faults: Faults) -> None:
        self._pipeline = pipeline
        self._options = options
        self._faults = faults
        rows = [row for row in case.accuracy if row.pipeline == pipeline.id]
        self._whole = RowIndex([row for row in rows if not row.operator])
        self._whole_rows = [row for row in rows if not row.operator]
        self._by_operator = {
            operator.id: RowIndex([row for row in rows if row.operator == operator.id])
            for operator in pipeline.operators
            if any(row.operator == operator.id for row in rows)
        }
        outputs = [row for row in case.outputs if row.pipeline == pipeline.id]
        names: list[OperatorId] = [SOURCE, *(operator.id for operator in pipeline.operators)]
        self._outputs = {name: RowIndex([row for row in outputs if row.operator == name]) for name in names}
        self.has_accuracy = bool(rows)
        self._shares = case.settings.sharing is not Sharing.NONE
        self._cache: dict[tuple[str, DeviceId | None], tuple[Candidate, ...]] = {}
        self._steps: dict[tuple[object, ...], Step | None] = {}

    def check_size(self) -> None:
        """Notes a fault if there are more configurations than can be listed."""
        if self._listed() is not None:
            return
        count = prod(len(values) for values in self._pipeline.domains.values())
        if count > MAX_CONFIGURATIONS:
            message = f"pipeline {self._pipeline.id}: {count} configurations, at most {MAX_CONFIGURATIONS}; "
            self._faults.add(self._pipeline.place, message + "name the ones that matter in the accuracy table")

    def _listed(self) -> list[AccuracyRow] | None:
        """The accuracy rows, if each names every knob: then these are all the configurations there are."""
        names = set(self._pipeline.domains)
        if self._whole_rows and all(set(row.knobs) == names for row in self._whole_rows):
            return self._whole_rows
        return None

    def _configurations(self) -> list[dict[str, KnobValue]]:
        domains = self._pipeline.domains
        listed = self._listed()
        if listed is None:
            return [dict(zip(domains, values, strict=True)) for values in product(*domains.values())]
        found = {tuple(row.knobs[name] for name in domains): None for row in listed}
        place = {name: {value: i for i, value in enumerate(values)} for name, values in domains.items()}
        ordered = sorted(found, key=lambda values: [place[name][v] for name, v in zip(domains, values, strict=True)])
        return [dict(zip(domains, values, strict=True)) for values in ordered]

    def candidates(self, query: QueryEntry) -> tuple[Candidate, ...]:
        """What a query could be served with."""
        pinned = any(operator.pinned == AT_SOURCE for operator in self._pipeline.operators)
        key = (query.content, query.source if pinned else None)
        if key not in self._cache:
            found = (self._candidate(configuration, *key) for configuration in self._configurations())
            self._cache[key] = tuple(candidate for candidate in found if candidate is not None)
        return self._cache[key]

    def is_ratio(self, candidates: tuple[Candidate, ...]) -> bool:
        """Whether accuracies are shares of items that are right."""
        if self._pipeline.accuracy_scale is not AccuracyScale.AUTO:
            return self._pipeline.accuracy_scale is AccuracyScale.RATIO
        return self.has_accuracy and all(c.accuracy.low >= 0 and c.accuracy.high <= 1 for c in candidates)

    def _candidate(self, configuration: Configuration, content: str, source: DeviceId | None) -> Candidate | None:
        accuracy = self._accuracy(configuration, content)
        if accuracy is None:
            return None
        steps = [self._step(op.id, configuration, content, source) for op in self._pipeline.operators]
        ready = tuple(step for step in steps if step is not None)
        if len(ready) < len(steps):
            return None
        source_bytes = self._output_row(SOURCE, configuration, content)
        return Candidate(
            configuration=configuration,
            accuracy=accuracy,
            steps=ready,
            source_bytes=self._pipeline.source_bytes if source_bytes is None else source_bytes.output_bytes,
            outputs=self._pipeline.outputs,
        )

    def _accuracy(self, configuration: Configuration, content: str) -> Interval | None:
        if not self.has_accuracy:
            return _NO_ACCURACY
        if self._pipeline.compose is None:
            row = say_most(self._whole.matching(content, configuration), "accuracy of this configuration", self._faults)
            return None if row is None else row.accuracy
        parts = []
        for operator_id, index in self._by_operator.items():
            row = say_most(index.matching(content, configuration), f"accuracy of operator {operator_id}", self._faults)
            if row is None:
                return None
            parts.append(row.accuracy)
        compose = self._pipeline.compose
        return Interval(
            value=_composed(compose, [part.value for part in parts]),
            low=_composed(compose, [part.low for part in parts]),
            high=_composed(compose, [part.high for part in parts]),
        )

    def _output_row(self, name: OperatorId, configuration: Configuration, content: str) -> OutputRow | None:
        return say_most(self._outputs[name].matching(content, configuration), f"output of {name}", self._faults)

    def _step(
        self, operator_id: OperatorId, configuration: Configuration, content: str, source: DeviceId | None
    ) -> Step | None:
        names = {*self._options.knob_names(self._pipeline.id, operator_id), *self._outputs[operator_id].knob_names}
        if self._shares:
            names.update(name for op in self._pipeline.operators if op.id == operator_id for name in op.knob_names)
        values = tuple(configuration[name] for name in sorted(names))
        # Only what is pinned to the source depends on it: all else is the same step for every source.
        if next(op.pinned for op in self._pipeline.operators if op.id == operator_id) != AT_SOURCE:
            source = None
        # True == 1 == 1.0: the type keeps knob values of different kinds apart.
        key = (operator_id, content, source, values, tuple(type(value) for value in values))
        if key not in self._steps:
            self._steps[key] = self._made_step(operator_id, configuration, content, source)
        return self._steps[key]

    def _made_step(
        self, operator_id: OperatorId, configuration: Configuration, content: str, source: DeviceId | None
    ) -> Step | None:
        operator = next(entry for entry in self._pipeline.operators if entry.id == operator_id)
        options, service_bytes = self._options.options(self._pipeline.id, operator, configuration, content, source)
        if not options:
            return None
        row = self._output_row(operator_id, configuration, content)
        default = operator.output_bytes if service_bytes is None else service_bytes
        return Step(
            operator_id=operator_id,
            inputs=operator.inputs,
            output_bytes=default if row is None else row.output_bytes,
            options=options,
            items_per_item=operator.items_per_item,
            single=operator.single,
            site_inputs=operator.site_inputs,
            share_key=self._share_key(operator, configuration),
        )

    def _share_key(self, operator: OperatorEntry, configuration: Configuration) -> str:
        """The same for the same code with the same own knobs; "" where nothing is shared."""
        if not self._shares:
            return ""
        return share_key(self._pipeline.id, operator.id, configuration)

    def why_none(self, query: QueryEntry) -> str:
        """Why a query has no candidate."""
        configurations = self._configurations()
        known = [c for c in configurations if self._accuracy(c, query.content) is not None]
        if not known:
            content = f" for content {query.content!r}" if query.content else ""
            return f"no configuration of pipeline {self._pipeline.id} has a known accuracy{content}"
        for operator in self._pipeline.operators:
            if all(self._step(operator.id, c, query.content, query.source) is None for c in known):
                return (
                    f"no machine can run operator {operator.id}: no service row holds that fits into one it may run on"
                )
        return "no configuration has machines that can run each of its operators"


def _composed(compose: Compose, parts: list[float]) -> float:
    if compose is Compose.PRODUCT:
        return prod(parts)
    if compose is Compose.SUM:
        return sum(parts)
    if compose is Compose.MEAN:
        return sum(parts) / len(parts)
    return min(parts)


__all__ = ["MAX_CONFIGURATIONS", "Assembly", "PipelineId", "assemble"]
