"""What-ifs of people: the present planner is asked, one at a time for each session, and nothing is ever applied."""

import asyncio

import pytest
from planner_fleet import FakeAgent, FirstFit, device, query, serving, settings

from circinus.clock import SystemClock
from circinus.errors import NotFound, TimedOut, TooLarge
from circinus.model.plan import Interval
from circinus.model.plan_diff import Change
from circinus.model.what_if import AddDevices, Figure, RemoveDevice, SetRate
from cloud_planner.core.decompose import Choice
from cloud_planner.dashboard import try_outs
from cloud_planner.dashboard.try_outs import TryOuts, try_live


class _Here:
    """Works in a thread of this process; ``gate`` holds it back."""

    def __init__(self, gate=None):
        self.gate = gate
        self.tasks = []
        self.ready, self.over = asyncio.Event(), asyncio.Event()

    async def run(self, task):
        if task is None:
            self.ready.set()
        self.tasks.append(type(task).__name__)
        if self.gate is not None:
            await self.gate.wait()
        return await asyncio.to_thread(try_live, task, 2.0)

    async def plan(self, problem, held=frozenset()):
        self.tasks.append("held" if held else "plan")
        if self.gate is not None:
            await self.gate.wait()
        return await FirstFit().plan(problem)

    async def explain(self, task):
        return await self.run(task)

    async def close(self):
        self.over.set()


@pytest.mark.slow
async def test_a_what_if_is_answered_with_its_reasons_and_changes_nothing(tmp_path):
    async with (
        serving(settings(tmp_path), FirstFit()) as (people, parts),
        FakeAgent(people.address, device("camera")) as agent,
        FakeAgent(people.address, device("shed", address="x:1")),
    ):
        await people.add_pipeline()
        await people.submit(query("q1", source="shed"), query("q2", source="camera"))
        await people.settled()
        process = _Here()
        asked = TryOuts(parts.trials, SystemClock(), process)
        generation, sent = parts.rollout.newest.generation, agent.count("directive")
        found = await asked.what_if("me", [SetRate(query="q1", rate_per_s=Figure(value=3.0))], "q1")
        assert found.told == ("q1: 2 -> 3 items/s",)
        assert found.explained["placed"]
        assert found.explained["plan"]["operators"]
        gone = await asked.what_if("me", [RemoveDevice(device="shed")], "q1")
        changes = {each.query_id: each.change for each in gone.diff.queries}
        assert changes == {"q1": Change.UNPLACED, "q2": Change.UNCHANGED}
        assert "shed is gone" in gone.explained["why"]
        more = await asked.what_if("me", [AddDevices(count=1, like="camera")], "q2")
        assert more.diff.after.plans == 2
        with pytest.raises(NotFound):
            await asked.what_if("me", [RemoveDevice(device="shed")], "q9")
        assert parts.rollout.newest.generation == generation
        assert agent.count("directive") == sent
        # As things are was decided already: only what is different was planned.
        assert process.tasks.count("plan") == 3
        await _looks_at_configurations(asked, parts)


async def _looks_at_configurations(asked, parts):
    (one,) = parts.catalog.select("q1")
    front = await asked.front("me", one)
    assert len(front.points) == 2
    point = next(point for point in front.points if point.plan is not None)
    placed = await asked.configured(
        "me", one, Choice(configuration=point.configuration, accuracy=Interval(value=0.5, low=0.4, high=0.6))
    )
    assert placed.plan.configuration == point.configuration
    assert placed.explained["placed"]


async def test_of_a_sessions_questions_the_newest_waits_and_those_in_between_are_let_go():
    began, gate = [], asyncio.Event()

    class Trials:
        async def try_out(self, changes, query_id, planning):
            began.append(query_id)
            await gate.wait()
            return query_id

    asked = TryOuts(Trials(), SystemClock(), _Here())
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(asked.what_if("me", [], "first"))
        await asyncio.sleep(0)
        second = tasks.create_task(asked.what_if("me", [], "second"))
        third = tasks.create_task(asked.what_if("me", [], "third"))
        other = tasks.create_task(asked.what_if("you", [], "other"))
        await asyncio.sleep(0)
        gate.set()
    assert [task.result() for task in (first, second, third, other)] == ["first", None, "third", "other"]
    assert "second" not in began


async def test_too_many_sessions_are_turned_away():
    gate = asyncio.Event()

    class Trials:
        async def try_out(self, changes, query_id, planning):
            await gate.wait()
            return query_id

    asked = TryOuts(Trials(), SystemClock(), _Here())
    async with asyncio.TaskGroup() as tasks:
        for at in range(16):
            tasks.create_task(asked.what_if(at, [], "q"))
        await asyncio.sleep(0)
        with pytest.raises(TooLarge, match="16 sessions"):
            await asked.what_if("one more", [], "q")
        gate.set()


async def test_what_takes_too_long_is_told_so_and_the_next_one_is_answered(monkeypatch):
    monkeypatch.setattr(try_outs, "ANSWER_S", 0.01)
    gate = asyncio.Event()

    class Trials:
        async def try_out(self, changes, query_id, planning):
            await gate.wait()
            return query_id

    asked = TryOuts(Trials(), SystemClock(), _Here())
    with pytest.raises(TimedOut, match="no answer within"):
        await asked.what_if("me", [], "q")
    gate.set()
    assert await asked.what_if("me", [], "q") == "q"


async def test_the_process_is_started_when_somebody_is_about_to_ask_and_ends_when_nobody_has_for_a_while():
    class Clock:
        now_s = 0.0

        def monotonic_s(self):
            return self.now_s

        async def sleep(self, seconds):
            self.now_s += seconds
            if self.now_s > 400.0:
                await asyncio.Event().wait()
            await asyncio.sleep(0)

    class Trials:
        async def try_out(self, changes, query_id, planning):
            return query_id

    process = _Here()
    asked = TryOuts(Trials(), Clock(), process)
    running = asyncio.create_task(asked.run())
    asked.expect()
    await asyncio.wait_for(process.ready.wait(), 5.0)
    await asyncio.wait_for(process.over.wait(), 5.0)
    running.cancel()
