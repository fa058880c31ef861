import asyncio
import os
import time

import pytest
from planner_fleet import FakeAgent, device, query, serving, settings

from circinus.errors import Internal, TimedOut
from circinus.v1 import planner_pb2
from cloud_planner.core.problem import Problem
from cloud_planner.solving import PlanningProcess

pytestmark = [pytest.mark.slow, pytest.mark.system]

NOTHING = Problem(machines=(), wires=(), queries=())


def hang(problem, seconds):
    time.sleep(60)


def die(problem, seconds):
    os._exit(1)


def fail(problem, seconds):
    raise ValueError("no such thing")


async def test_a_planning_that_hangs_is_killed_and_says_so():
    planning = PlanningProcess(timeout_s=3.0, function=hang)
    with pytest.raises(TimedOut, match="more than 3 s"):
        await planning.plan(NOTHING)
    await planning.close()


async def test_a_planning_process_that_dies_is_replaced():
    planning = PlanningProcess(function=die)
    for _ in range(2):
        with pytest.raises(Internal, match="died"):
            await planning.plan(NOTHING)
    await planning.close()


async def test_a_fault_in_planning_is_an_answer():
    planning = PlanningProcess(function=fail)
    with pytest.raises(Internal, match="ValueError: no such thing"):
        await planning.plan(NOTHING)
    await planning.close()


async def test_cancelling_a_plan_ends_its_process():
    planning = PlanningProcess(function=hang)
    task = asyncio.create_task(planning.plan(NOTHING))
    await asyncio.wait([task], timeout=2.0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await planning.close()


async def test_the_real_solver_places_what_can_be_placed_and_names_what_cannot(tmp_path):
    async with serving(settings(tmp_path)) as (people, _), FakeAgent(people.address, device("camera")) as agent:
        await people.add_pipeline()
        await people.submit(query("easy", latency_ms=500.0), query("proud", accuracy_ratio=0.99))
        async with asyncio.timeout(60):
            async for _ in people.stub.WatchProgress(planner_pb2.WatchProgressRequest()):
                pass
        found = await people.queries()
        assert found["easy"].phase == planner_pb2.QUERY_PHASE_PLACED
        assert found["proud"].phase == planner_pb2.QUERY_PHASE_UNPLACED
        assert "accuracy" in found["proud"].reason
        assert {found.query_id for found in agent.directives[1].replica_sets} == {"easy"}
