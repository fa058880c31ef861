"""What directives say that queries share, held against the plans and the problem. PURE.

Whoever is told that another query's run gives it something must have the very same plan up to there, read the very same
items, and that other query must really run it. Processes of several queries have the cores of all of them, and no more
memory than the largest.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil, isclose

from circinus.model.device import DeviceId
from circinus.model.directive import Directive, ReplicaSet, SourceSpec, patience_ms
from circinus.model.pipeline import SOURCE, OperatorId, knobs_of
from circinus.model.plan import OperatorPlan, Plan, Selection
from circinus.model.query import QueryId
from cloud_planner.core.audit_sharing import merged_steps
from cloud_planner.core.audited import Audit, Finding, placed_plans
from cloud_planner.core.network import Network
from cloud_planner.core.problem import Problem

_TOLERANCE = 1e-6


@dataclass(slots=True, kw_only=True)
class SharedWiring:
    """Who gives what to whom, as the sources say. ``inputs``: what operators read, as routes and replica sets say."""

    plans: Mapping[QueryId, Plan]
    sources: Mapping[QueryId, tuple[DeviceId, SourceSpec]]
    inputs: Mapping[tuple[QueryId, OperatorId], tuple[OperatorId, ...]]
    findings: list[Finding] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        plans: Mapping[QueryId, Plan],
        directives: Sequence[Directive],
        inputs: Mapping[tuple[QueryId, OperatorId], tuple[OperatorId, ...]],
    ) -> SharedWiring:
        """What these directives say."""
        sources = {one.query_id: (told.device_id, one) for told in directives for one in told.sources}
        return cls(plans=plans, sources=sources, inputs=inputs)

    def say(self, subject: str, message: str) -> None:
        """Notes a finding."""
        self.findings.append(Finding(subject=subject, message=message))

    def runs(self, query_id: QueryId, name: OperatorId) -> QueryId:
        """The query whose run of an operator, or whose source, a query depends on."""
        known = self.sources.get(query_id)
        if known is None:
            return query_id
        if name == SOURCE:
            return known[1].leader_query_id or query_id
        return known[1].given_by.get(name, query_id)

    def reads(self, query_id: QueryId, operator_id: OperatorId) -> tuple[OperatorId, ...]:
        """An operator's inputs; those of whoever runs it, where the query itself does not."""
        runner = self.runs(query_id, operator_id)
        return self.inputs.get((query_id, operator_id)) or self.inputs.get((runner, operator_id), ())

    def serves(self, query_id: QueryId, name: OperatorId) -> list[QueryId]:
        """The queries that depend on a query's run, or source; itself among them."""
        return [
            other
            for other, plan in self.plans.items()
            if self.runs(other, name) == query_id and (name == SOURCE or _part(plan, name) is not None)
        ]

    def given(self, query_id: QueryId, inputs: Iterable[OperatorId]) -> dict[OperatorId, QueryId]:
        """The inputs that come from what runs for several, to the query whose run it is."""
        runs = {name: self.runs(query_id, name) for name in inputs}
        return {name: run for name, run in runs.items() if len(self.serves(run, name)) > 1}

    def earlier_ms(self, query_id: QueryId, operator_id: OperatorId) -> float:
        """How much earlier than those of all who read the same the deadlines of one query's items are."""
        if len(self.serves(query_id, operator_id)) > 1:
            return 0.0
        together = self.serves(self.runs(query_id, SOURCE), SOURCE)
        bounds = {one: patience_ms(self.sources[one][1].deadline_ms) for one in together if one in self.sources}
        return max(bounds.values()) - bounds[query_id] if query_id in bounds else 0.0


def check_leaders(wiring: SharedWiring) -> None:
    """Followers have a leader that is none itself, reads the very same and runs the very same."""
    for query_id, (device_id, source) in wiring.sources.items():
        leader_id = source.leader_query_id
        if leader_id:
            found = wiring.sources.get(leader_id)
            if found is None or leader_id not in wiring.plans:
                wiring.say(query_id, f"reads the items of {leader_id}, which has no source")
            elif found[1].leader_query_id or leader_id == query_id:
                wiring.say(query_id, f"reads the items of {leader_id}, which does not emit any")
            elif found[0] != device_id or not source.input or _items(found[1]) != _items(source):
                wiring.say(query_id, f"reads the items of {leader_id}, whose source is another one")
        for name in source.given_by:
            _check_given(wiring, query_id, name)


def _check_given(wiring: SharedWiring, query_id: QueryId, name: OperatorId) -> None:
    runner = wiring.runs(query_id, name)
    plan, other = wiring.plans.get(query_id), wiring.plans.get(runner)
    mine = _part(plan, name) if plan is not None else None
    theirs = _part(other, name) if other is not None else None
    if plan is None or other is None or mine is None or runner == query_id:
        wiring.say(query_id, f"is given {name} by {runner}, where one of them has no such operator")
        return
    if theirs != mine or _knobs(plan, name) != _knobs(other, name):
        wiring.say(query_id, f"is given {name} by {runner}, which runs it otherwise")
    if wiring.runs(runner, name) != runner:
        wiring.say(query_id, f"is given {name} by {runner}, which does not run it")
    for before in wiring.reads(query_id, name):
        if wiring.runs(query_id, before) != wiring.runs(runner, before):
            wiring.say(query_id, f"is given {name} by {runner}, which reads another {before}")


def check_planned(wiring: SharedWiring, problem: Problem, selection: Selection) -> None:
    """What runs once is what the selection counts once."""
    plans = tuple(sorted(selection.plans, key=lambda plan: plan.query_id))
    work = Audit(problem=problem, selection=replace(selection, plans=plans), network=Network.of(problem))
    planned = merged_steps(work, placed_plans(work))
    for query_id, (_, source) in wiring.sources.items():
        for name in sorted(planned.get(query_id, set()) - set(source.given_by)):
            wiring.say(query_id, f"runs {name} by itself, which is planned to run once for several queries")
        for name in sorted(set(source.given_by) - planned.get(query_id, set())):
            wiring.say(query_id, f"is given {name}, which is planned to run for it alone")


def check_processes(wiring: SharedWiring, directives: Sequence[Directive]) -> None:
    """Replica sets have what the plans of all that they serve say."""
    for directive in directives:
        for one in directive.replica_sets:
            parts = [
                part
                for use in one.served
                if use.query_id in wiring.plans
                for part in wiring.plans[use.query_id].operators
                if part.operator_id == use.operator_id and part.device_id == directive.device_id
            ]
            if len(one.served) == 1:
                right = any(_shape(part) == _shape(one) for part in parts) or not parts
            else:
                right = _holds_all(one, parts)
            own = {(part.cores, part.replicas) for part in parts}
            right &= all(not use.cores or (use.cores, use.replicas) in own for use in one.served)
            if not right:
                wiring.say(one.query_id, f"{one.operator_id} has other replicas on {directive.device_id} than planned")
            if not any((use.query_id, use.operator_id) == (one.query_id, one.operator_id) for use in one.served):
                wiring.say(one.query_id, f"{one.operator_id} has replicas on {directive.device_id} and no use of them")


def _holds_all(one: ReplicaSet, parts: Sequence[OperatorPlan]) -> bool:
    """Replicas below a core each: as many processes as their cores fill."""
    cores = sum(part.cores * part.replicas for part in parts)
    slots = sum(part.accelerator_slots * part.replicas for part in parts)
    return (
        bool(parts)
        and all(part.cores < 1.0 and part.batch == one.batch for part in parts)
        and isclose(one.cores * one.replicas, cores, rel_tol=_TOLERANCE)
        and one.replicas == max(1, ceil(cores - _TOLERANCE))
        and one.cores >= max(part.cores for part in parts) - _TOLERANCE
        and slots <= one.accelerator_slots * one.replicas < slots + one.replicas
        and one.memory_bytes == max(part.memory_bytes for part in parts)
        and one.accelerator_memory_bytes == max(part.accelerator_memory_bytes for part in parts)
    )


def _shape(part: OperatorPlan | ReplicaSet) -> tuple[Hashable, ...]:
    return (
        part.replicas,
        part.cores,
        part.accelerator_slots,
        part.accelerator_memory_bytes,
        part.memory_bytes,
        part.batch,
    )


def _items(source: SourceSpec) -> tuple[Hashable, ...]:
    """What makes a source's items what they are."""
    return (
        source.key,
        source.input,
        source.pipeline_id,
        source.bundle_digest,
        source.environment_digest,
        source.entry_point,
        source.content,
        source.seed,
        source.rate_per_s,
        source.clip,
    )


def _part(plan: Plan, operator_id: OperatorId) -> OperatorPlan | None:
    return next((part for part in plan.operators if part.operator_id == operator_id), None)


def _knobs(plan: Plan, operator_id: OperatorId) -> dict[str, str]:
    return {name: repr(value) for name, value in knobs_of(plan.configuration, operator_id).items()}


__all__ = ["SharedWiring", "check_leaders", "check_planned", "check_processes"]
