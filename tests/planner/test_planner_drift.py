"""Drift at the planner: windows come in, plans are made anew, findings last, changes go in steps that fit."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import chain, pairwise

import pytest
from planner_fleet import FakeAgent, FirstFit, device, query, serving, settings

from circinus import wire
from circinus.v1 import control_pb2, planner_pb2, types_pb2
from cloud_planner.core.transition import over_capacity


class Emitting(FakeAgent):
    """Tells windows of a query's source."""

    sequence = 0

    async def emit(self, query_id, counts, *, duration_s=1.0, scores=(), dropped=0):
        for count in counts:
            self.sequence += 1
            window = types_pb2.QueryWindow(
                query_id=query_id,
                generation=self.status.generation,
                duration_s=duration_s,
                emitted=count,
                answered=count - dropped,
                dropped_by_cause={"late": dropped} if dropped else {},
                scores_ratio=scores,
            )
            window.start.GetCurrentTime()
            await self.send(telemetry=control_pb2.Telemetry(sequence=self.sequence, queries=[window]))


class Running(FakeAgent):
    """Tells which processes it has: those of all generations that were not retired."""

    def __init__(self, *arguments, **changes):
        super().__init__(*arguments, **changes)
        self.kept = {}

    async def _obey(self, message):
        kind = message.WhichOneof("message")
        if kind == "directive":
            self.kept[message.directive.generation] = message.directive
            self._note()
        await super()._obey(message)
        if kind == "retire":
            self.kept = {number: one for number, one in self.kept.items() if number >= message.retire.below_generation}
            self._note()
            await self.send(generation_status=self.status)

    def _note(self):
        self.status.pids.clear()
        for one in self.kept.values():
            for unit in (*one.replica_sets, *one.sources):
                self.status.pids[unit.key].pids[:] = [1]


class Placed(FirstFit):
    """Places each query whole on its device."""

    def __init__(self, **places):
        super().__init__()
        self.places = places

    def _plan(self, query, candidate):
        self.prefer = self.first = self.places[query.id]
        plan = super()._plan(query, candidate)
        # Equal operators with equal shares would be the same processes.
        cores = {"q1": 0.25, "q2": 0.5}[query.id]
        return replace(plan, operators=tuple(replace(placed, cores=cores) for placed in plan.operators))


class Cheaper(Placed):
    """Where nobody is held it has another, cheaper way; ``cost_per_h`` is the other's."""

    def __init__(self, cost_per_h, **places):
        super().__init__(**places)
        self.cost_per_h = cost_per_h

    async def plan(self, problem, held=frozenset()):
        result = await super().plan(problem)
        cost_per_h = 10.0 if held else self.cost_per_h
        plans = problem.running if held else result.selection.plans
        return replace(result, selection=replace(result.selection, plans=tuple(plans), cost_per_h=cost_per_h))


async def until(agent, test):
    """Waits for a directive that passes the test."""
    return await agent.until("directive", test)


def rate_of(directive):
    return directive.sources[0].rate_per_s if directive.sources else 0.0


async def test_a_step_in_a_rate_is_planned_for_and_told(tmp_path):
    async with (
        serving(settings(tmp_path), FirstFit()) as (people, _),
        Emitting(people.address, device("camera")) as agent,
    ):
        await people.add_pipeline()
        await people.submit(query(rate_per_s=5.0))
        await people.settled()
        await agent.emit("q1", [5] * 10)
        await agent.emit("q1", [15] * 3)
        corrected = await until(agent, lambda found: rate_of(found) > 12.0)
        assert 13.0 < rate_of(corrected) < 18.0
        (finding,) = (await people.status()).findings
        assert (finding.kind, finding.stated, list(finding.query_ids)) == ("rate", 5.0, ["q1"])
        assert (await people.queries())["q1"].findings[0] == finding


async def test_what_was_found_outlives_the_planner(tmp_path):
    planner = settings(tmp_path)
    async with (
        serving(planner, FirstFit()) as (people, _),
        Emitting(people.address, device("camera")) as agent,
    ):
        await people.add_pipeline()
        await people.submit(query(rate_per_s=5.0))
        await people.settled()
        await agent.emit("q1", [5] * 10 + [15] * 3)
        await until(agent, lambda found: rate_of(found) > 12.0)
        await people.settled()
        known, kept = agent.device, agent.status
    async with (
        serving(planner, FirstFit()) as (people, parts),
        FakeAgent(people.address, known, generation_status=kept),
    ):
        await people.settled()
        await parts.loop.attempt()
        assert (await people.status()).generation == kept.generation
        assert len((await people.status()).findings) == 1


async def test_scores_count_unless_much_was_lost(tmp_path):
    async def heard(parts, count):
        async with asyncio.timeout(10):
            while parts.watching.heard < count:
                await parts.watching.looked.wait(parts.watching.heard, 1.0)

    async with (
        serving(settings(tmp_path), FirstFit()) as (people, parts),
        Emitting(people.address, device("camera")) as agent,
    ):
        await people.add_pipeline()
        await people.submit(query(rate_per_s=5.0))
        await people.settled()
        await agent.emit("q1", [5] * 40, scores=[0.0] * 3, dropped=2)
        await heard(parts, 40)
        assert not (await people.status()).findings
        await agent.emit("q1", [5] * 40, scores=[0.0] * 5)
        await heard(parts, 80)
        assert "accuracy" in {one.kind for one in (await people.status()).findings}


async def test_constant_load_changes_nothing(tmp_path):
    async with (
        serving(settings(tmp_path), FirstFit()) as (people, parts),
        Emitting(people.address, device("camera")) as agent,
    ):
        await people.add_pipeline()
        await people.submit(query(rate_per_s=5.0))
        await people.settled()
        before = (await people.status()).generation
        await agent.emit("q1", [4, 6, 5, 5, 7, 3, 5, 6, 4, 5] * 10)
        heard = parts.watching.heard
        async with asyncio.timeout(10):
            while parts.watching.heard < 100:
                heard = await parts.watching.looked.wait(heard, 1.0)
        await parts.loop.attempt()
        assert (await people.status()).generation == before
        assert not (await people.status()).findings


async def test_a_rate_that_nobody_could_carry_leaves_the_query_what_it_was_promised(tmp_path):
    class Full(FirstFit):
        async def plan(self, problem, held=frozenset()):
            kept = tuple(one for one in problem.queries if one.rate_per_s < 10.0)
            problem = type(problem)(machines=problem.machines, wires=problem.wires, queries=kept)
            return await super().plan(problem, held)

    async with (
        serving(settings(tmp_path), Full()) as (people, parts),
        Emitting(people.address, device("camera")) as agent,
    ):
        await people.add_pipeline()
        await people.submit(query(rate_per_s=5.0))
        await people.settled()
        await agent.emit("q1", [5] * 10 + [15] * 3)
        heard = -1
        async with asyncio.timeout(10):
            while not parts.watching.findings or not parts.loop.up_to_date:
                heard = await parts.watched.wait(heard, 1.0)
        await parts.loop.attempt()
        assert (await people.queries())["q1"].phase == planner_pb2.QUERY_PHASE_PLACED
        assert rate_of(agent.directives[max(agent.directives)]) == 5.0


@asynccontextmanager
async def full_boxes(tmp_path, planning):
    """Two boxes of a core, a query of each; gives a client, the planner's parts, the boxes and their agents."""
    boxes = [
        device("camera", cores=1.0, links=("server",), address="127.0.0.1:7001"),
        device("server", cores=1.0, links=("camera",), address="127.0.0.1:7002"),
    ]
    async with (
        serving(settings(tmp_path), planning) as (people, parts),
        Running(people.address, boxes[0]) as camera,
        Running(people.address, boxes[1]) as server,
    ):
        await people.add_pipeline()
        await people.submit(query("q1", source="camera"), query("q2", source="server"))
        await people.settled()
        yield people, parts, boxes, (camera, server)


async def until_settled(parts, number):
    """Waits until a generation, or a newer one, is all there is."""
    async with asyncio.timeout(10):
        heard = -1
        while parts.rollout.newest.generation.number < number or not parts.rollout.settled:
            heard = await parts.watched.wait(heard, 1.0)


def placed(parts):
    """Where each query runs."""
    plans = wire.selection_from_message(parts.rollout.newest.selection).plans
    return {plan.query_id: plan.operators[0].device_id for plan in plans}


@pytest.mark.parametrize(("cost_per_h", "moves"), [(9.5, False), (5.0, True)])
async def test_running_queries_pause_for_a_much_lower_cost_only(tmp_path, cost_per_h, moves):
    planning = Cheaper(cost_per_h, q1="camera", q2="server")
    async with full_boxes(tmp_path, planning) as (people, parts, *_):
        first = (await people.status()).generation
        places = dict(planning.places)
        planning.places = {"q1": "server", "q2": "camera"}
        parts.loop.forget()
        asked = len(planning.problems)
        for _ in range(3):
            await parts.loop.attempt()
        if not moves:
            assert parts.rollout.newest.generation.number == first
            # The cheaper one, and the one without pauses; not once more for what is known.
            assert len(planning.problems) == asked + 2
            assert parts.loop.solved[1].selection.cost_per_h == 10.0
        await until_settled(parts, first + moves)
        assert placed(parts) == (planning.places if moves else places)


async def test_two_queries_that_change_places_on_full_devices_go_in_steps_that_fit(tmp_path):
    planning = Placed(q1="camera", q2="server")
    async with full_boxes(tmp_path, planning) as (people, parts, boxes, agents):
        first = (await people.status()).generation
        planning.places = {"q1": "server", "q2": "camera"}
        # Nothing of the problem is different; it is planned once more as if it were.
        parts.loop.forget()
        parts.replan.ring()
        await until_settled(parts, first + 1)
        last = parts.rollout.newest.generation.number
        assert last > first + 1
        history = [
            [agent.directives[number] for agent in agents if number in agent.directives]
            for number in range(first, last + 1)
        ]
        have = {box.id: (box.cores, float(box.memory_bytes), 0.0, 0.0) for box in boxes}
        for one, other in pairwise(history):
            assert not over_capacity(chain(one, other), have)
        assert placed(parts) == planning.places
