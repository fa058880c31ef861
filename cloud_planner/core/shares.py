"""What the plans of a selection share when they are served, and what is still to come after each operator. PURE.

By the same functions as the selection (sharing.py): a step that several plans have in common from the source on is run
by the query with the smallest id among them, its leader there, for all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from circinus.model.device import DeviceId
from circinus.model.pipeline import SOURCE, OperatorId
from circinus.model.plan import NO_PLANS, Plan
from circinus.model.query import QueryId
from cloud_planner.core.audited import Audit, Placed, placed_plans
from cloud_planner.core.network import HERE, Hop, Network
from cloud_planner.core.problem import Problem
from cloud_planner.core.sharing import Prefix, lives_in_process, prefixes

#: An operator of a query.
Place = tuple[QueryId, OperatorId]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """What plans share.

    ``leaders``: of the operators that another query's run does, whose. ``pooled``: operators that the selection counts
    on to live in a process with others. ``after_ms``: the predicted time from an operator's output to the answer.
    """

    leaders: Mapping[Place, QueryId] = field(default_factory=dict)
    pooled: frozenset[Place] = frozenset()
    after_ms: Mapping[Place, float] = field(default_factory=dict)

    def runs(self, query_id: QueryId, operator_id: OperatorId) -> QueryId:
        """The query whose run it is."""
        return self.leaders.get((query_id, operator_id), query_id)


NOTHING_SHARED = Shares()


def shares_of(problem: Problem, plans: Sequence[Plan]) -> Shares:
    """What these plans of a problem share; nothing is said of plans that aren't in its tables."""
    network = Network.of(problem)
    leaders: dict[Place, QueryId] = {}
    pooled: set[Place] = set()
    after_ms: dict[Place, float] = {}
    first: dict[Prefix, QueryId] = {}
    for entry in sorted(_found(problem, network, plans), key=lambda entry: entry.query.id):
        after_ms |= {(entry.query.id, name): left for name, left in _after_ms(network, entry).items()}
        if entry.query.splittable:
            continue
        steps = list(zip(entry.candidate.steps, entry.loads, strict=True))
        picks = [(step.options.index(loads[0][1]), loads[0][0].replicas) for step, loads in steps]
        common = prefixes(network, problem, entry.query, entry.candidate, picks)
        for (step, loads), prefix in zip(steps, common, strict=True):
            place = (entry.query.id, step.operator_id)
            if prefix is not None and first.setdefault(prefix, entry.query.id) != entry.query.id:
                leaders[place] = first[prefix]
            if lives_in_process(problem, network.machines[loads[0][1].machine], entry.query, step):
                pooled.add(place)
    return Shares(leaders=leaders, pooled=frozenset(pooled), after_ms=after_ms)


def _found(problem: Problem, network: Network, plans: Sequence[Plan]) -> list[Placed]:
    selection = replace(NO_PLANS, plans=tuple(plans))
    return [
        entry
        for entry in placed_plans(Audit(problem=problem, selection=selection, network=network))
        if all(entry.loads)
    ]


def _after_ms(network: Network, entry: Placed) -> dict[OperatorId, float]:
    """By operator: service and transfers from its output to the answer, the longest way."""
    hosts: dict[OperatorId, list[DeviceId | None]] = {SOURCE: [entry.query.source]}
    service_ms: dict[OperatorId, float] = {}
    back_ms: dict[OperatorId, float] = {SOURCE: 0.0}
    for step, loads in zip(entry.candidate.steps, entry.loads, strict=True):
        hosts[step.operator_id] = [operator.device_id for operator, _ in loads]
        service_ms[step.operator_id] = max(operator.service_ms for operator, _ in loads)
        back_ms[step.operator_id] = max(
            back_ms[name] + max(hop.back_ms for hop in _hops(network, hosts[name], hosts[step.operator_id]))
            for name in step.inputs
        )
    sizes = {step.operator_id: step.output_bytes for step in entry.candidate.steps}
    answers = entry.query.answer_to_source
    left = {name: back_ms[name] if answers and name in entry.candidate.outputs else 0.0 for name in sizes}
    for step in reversed(entry.candidate.steps):
        for name in step.inputs:
            if name == SOURCE:
                continue
            hops = _hops(network, hosts[name], hosts[step.operator_id])
            transfer_ms = max(hop.transfer_ms(sizes[name]) for hop in hops)
            left[name] = max(left[name], transfer_ms + service_ms[step.operator_id] + left[step.operator_id])
    return left


def _hops(network: Network, sources: Sequence[DeviceId | None], targets: Sequence[DeviceId | None]) -> list[Hop]:
    found = [
        hop
        for source in sources
        for target in targets
        if target is not None and (hop := network.hop(source, target)) is not None
    ]
    return found or [HERE]


__all__ = ["NOTHING_SHARED", "Place", "Shares", "shares_of"]
