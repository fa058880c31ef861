"""Estimates of the ways that plans take; what differs in names only is estimated once. PURE."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace

from circinus.model.pipeline import SOURCE
from circinus.model.query import Slo
from cloud_planner.core.network import Network
from cloud_planner.core.problem import Problem
from cloud_planner.core.select.assignment import Assignment
from cloud_planner.core.select.kinds import machine_key, option_key, step_key
from cloud_planner.core.steps import Pick
from cloud_planner.core.templates import Enumeration, Prune, Route, template


def path_estimate(network: Network, problem: Problem, assignment: Assignment, options: tuple[int, ...]) -> Route | None:
    """The estimate of one path of an assignment, with no bound held against it; None if there is no such way.

    Its candidate and picks are not those of the tables.
    """
    query = problem.queries[assignment.query]
    replicas = {(load.step, load.option): load.replicas for load in assignment.loads}
    picks = tuple(Pick(option=0, replicas=replicas[step, option]) for step, option in enumerate(options))
    candidate = query.candidates[assignment.candidate]
    # Only what is picked: the other options and their machines take time to look at.
    steps = tuple(
        replace(step, options=(step.options[option],)) for step, option in zip(candidate.steps, options, strict=True)
    )
    query = replace(query, candidates=(replace(candidate, steps=steps),))
    listed = template(
        network,
        problem,
        query,
        {},
        Enumeration(
            candidates=(0,),
            slo=Slo(percentile_ratio=query.slo.percentile_ratio),
            prune=Prune.NOTHING,
            fractional=query.splittable,
            fixed=picks,
        ),
    )
    return listed.routes[0] if listed.routes else None


class PathEstimates:
    """Estimates of one problem's paths."""

    def __init__(self, network: Network, problem: Problem) -> None:
        self._network, self._problem = network, problem
        self._known: dict[Hashable, Route | None] = {}

    def of(self, assignment: Assignment, options: tuple[int, ...]) -> Route | None:
        """The estimate of one path, as ``path_estimate`` makes it; its amounts name another query's machines."""
        key = self._key(assignment, options)
        if key not in self._known:
            self._known[key] = path_estimate(self._network, self._problem, assignment, options)
        return self._known[key]

    def _key(self, assignment: Assignment, options: tuple[int, ...]) -> Hashable:
        """All that the estimate depends on, without names."""
        query = self._problem.queries[assignment.query]
        candidate = query.candidates[assignment.candidate]
        replicas = {(load.step, load.option): load.replicas for load in assignment.loads}
        picked = [step.options[option] for step, option in zip(candidate.steps, options, strict=True)]
        where = {step.operator_id: option.machine for step, option in zip(candidate.steps, picked, strict=True)}
        steps = []
        for place, (step, option) in enumerate(zip(candidate.steps, picked, strict=True)):
            ways = []
            for name in step.inputs:
                source = query.source if name == SOURCE else where[name]
                hop = self._network.hop(source, option.machine)
                near = self._network.same_site(source, option.machine)
                figures = hop and (hop.delay_ms, hop.ms_per_byte, hop.back_ms, hop.price_per_byte)
                ways.append((figures, near))
            count = replicas[place, options[place]]
            machine = machine_key(self._network.machines[option.machine])
            steps.append((step_key(step), option_key(option), count, machine, tuple(ways)))
        return (
            query.rate_per_s,
            query.arrival_cv2,
            query.answer_to_source and query.source is not None,
            query.slo.percentile_ratio,
            query.splittable,
            candidate.source_bytes,
            candidate.outputs,
            candidate.stage_correlation_ratio,
            tuple(steps),
        )


__all__ = ["PathEstimates", "path_estimate"]
