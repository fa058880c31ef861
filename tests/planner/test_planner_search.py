"""From a submitted query to a certified plan: searches of a planner on real gRPC, with a scripted agent."""

import asyncio

import grpc
import pytest
from planner_fleet import FakeAgent, FirstFit, Here, device, measurements, profile_parts, query, serving, settings

from circinus import wire
from circinus.errors import NotFound, from_rpc
from circinus.model.pipeline import configuration_key
from circinus.v1 import control_pb2, planner_pb2, types_pb2
from cloud_planner.profiling import MAX_ATTEMPTS
from cloud_planner.store import SqliteStore

pytestmark = pytest.mark.slow

#: Two settings of 400 samples: the first is right half of the time, the second nine times of ten.
SAMPLES = 400


def lengths(requests):
    """The settings that requests name."""
    return {one.values["cut.length"].integer for request in requests for one in request.configurations}


async def watched(people, query_id="q1"):
    """All that is told of a query until there is nothing more to tell."""
    async with asyncio.timeout(20):
        request = planner_pb2.WatchQueryRequest(query_id=query_id)
        return [response.query async for response in people.stub.WatchQuery(request)]


class Priced(FakeAgent):
    """Says what each run took, fails where it is told to, and answers as many runs as it is told to.

    The second setting takes twice as long as the first.
    """

    broken = frozenset()
    seconds = 0.5
    runs = 1_000

    async def run_profile(self, request):
        if self.runs == 0:
            return
        self.runs -= 1
        if lengths([request]) & self.broken:
            error = "operator read raised ValueError"
            await self.send(profile_report=control_pb2.ProfileReport(id=request.id, done=True, error=error))
            return
        for part in profile_parts(request):
            for sample in part.samples:
                for measured in sample.operators:
                    measured.wall_ms = 100.0 * part.configuration.values["cut.length"].integer
            report = control_pb2.ProfileReport(id=request.id, configurations=[part], operator_s=self.seconds)
            await self.send(profile_report=report)
        await self.send(profile_report=control_pb2.ProfileReport(id=request.id, done=True))


async def test_a_query_is_served_on_belief_first_and_certified_in_the_end(tmp_path):
    async with serving(settings(tmp_path), FirstFit()) as (people, _), FakeAgent(people.address, device("camera")):
        await people.add_pipeline(samples=SAMPLES)
        await people.submit(query(accuracy_ratio=0.8))
        states = await watched(people)
        certainties = [state.plan.certainty for state in states if state.HasField("plan")]
        # An agent that answers at once may have it certified before anything was planned.
        assert set(certainties) <= {types_pb2.CERTAINTY_PROVISIONAL, types_pb2.CERTAINTY_CERTIFIED}
        assert certainties[-1] == types_pb2.CERTAINTY_CERTIFIED
        last = states[-1]
        assert last.serving
        assert (last.search.phase, last.search.finished) == (planner_pb2.SEARCH_PHASE_CERTIFIED, True)
        assert last.search.configuration.values["cut.length"].integer == 2
        assert last.search.accuracy_ratio.low >= 0.5
        phases = [step.phase for step in last.search.history]
        assert phases[-1] == planner_pb2.SEARCH_PHASE_CERTIFIED
        assert len(set(phases)) > 1
        assert [step.samples_done for step in last.search.history] == sorted(
            step.samples_done for step in last.search.history
        )
        # It is told again to whoever asks later, at once.
        assert await watched(people) == [last]


async def test_a_query_that_nothing_is_accurate_enough_for_is_refused_and_its_watch_ends(tmp_path):
    async with serving(settings(tmp_path), FirstFit()) as (people, _), FakeAgent(people.address, device("camera")):
        await people.add_pipeline(samples=SAMPLES)
        await people.submit(query(accuracy_ratio=0.99))
        last = (await watched(people))[-1]
        assert last.phase == planner_pb2.QUERY_PHASE_UNPLACED
        assert last.search.phase == planner_pb2.SEARCH_PHASE_REFUSED
        assert last.search.finished


class Stopped(Here):
    """Once ``stop`` is set, the next step waits until ``go``."""

    def __init__(self):
        super().__init__()
        self.stop, self.stopped, self.go = False, asyncio.Event(), asyncio.Event()

    async def run(self, task):
        result = await super().run(task)
        if self.stop:
            self.stopped.set()
            await self.go.wait()
        return result


async def test_who_comes_while_others_are_looked_at_waits_for_one_step_at_most(tmp_path):
    steps = Stopped()
    async with (
        serving(settings(tmp_path), FirstFit(), steps) as (people, _),
        FakeAgent(people.address, device("camera")),
    ):
        await people.add_pipeline()
        await people.submit(query("q1"), query("q2"), query("q3"))
        await people.settled()
        steps.stop = True
        # With another device there is news for each of them.
        async with FakeAgent(people.address, device("box")):
            async with asyncio.timeout(10):
                await steps.stopped.wait()
            await people.submit(query("new"))
            steps.stop = False
            before = len(steps.tasks)
            steps.go.set()
            await people.settled()
            assert steps.tasks[before].query.id == "new"


async def test_the_watch_of_a_query_that_cannot_be_planned_ends(tmp_path):
    async with serving(settings(tmp_path), FirstFit()) as (people, _):
        agent = FakeAgent(people.address, device("camera"))
        agent.ready_environment = False
        async with agent:
            await people.add_pipeline()
            await people.submit(query())
            last = (await watched(people))[-1]
            assert last.phase == planner_pb2.QUERY_PHASE_UNPLACED
            assert "apt-get install tesseract-ocr" in last.reason


async def test_the_watch_of_a_query_that_could_not_be_profiled_ends(tmp_path):
    async with serving(settings(tmp_path), FirstFit()) as (people, _):
        agent = FakeAgent(people.address, device("camera"))
        agent.profile_error = "operator read raised ValueError"
        async with agent:
            await people.add_pipeline()
            await people.submit(query())
            last = (await watched(people))[-1]
            assert last.phase == planner_pb2.QUERY_PHASE_UNPLACED
            assert "operator read raised ValueError" in last.reason


async def test_a_watch_of_no_query_is_refused(tmp_path):
    async with serving(settings(tmp_path), FirstFit()) as (people, _):
        with pytest.raises(grpc.RpcError) as caught:
            await watched(people, "nobody")
        assert isinstance(from_rpc(caught.value), NotFound)


async def test_a_planner_that_comes_back_in_the_middle_goes_on_and_asks_for_nothing_twice(tmp_path):
    planner = settings(tmp_path)
    async with serving(planner, FirstFit()) as (people, _):
        agent = Priced(people.address, device("camera"))
        agent.runs = 3
        async with agent:
            await people.add_pipeline(samples=SAMPLES)
            await people.submit(query(accuracy_ratio=0.8))
            async with asyncio.timeout(10), agent.arrived:
                await agent.arrived.wait_for(lambda: len(agent.asked()) > 3)
            before = (await people.queries())["q1"].search
            known, kept = agent.device, agent.status
    store = await SqliteStore.open(planner.state_dir / "planner.sqlite3")
    pipeline = (await store.pipelines())[0]
    table = await store.profile_table(pipeline.bundle_digest, pipeline.contents[0].digest)
    await store.close()
    scored = {(key, index) for key, scores in table.scores.items() for index in scores}
    assert 0 < len(scored) == before.samples_done
    async with (
        serving(planner, FirstFit()) as (people, _),
        Priced(people.address, known, generation_status=kept) as agent,
    ):
        last = (await watched(people))[-1]
        assert last.search.phase == planner_pb2.SEARCH_PHASE_CERTIFIED
        again = {
            (configuration_key(wire.configuration_from_message(one)), index)
            for request in agent.asked()
            if request.score
            for one in request.configurations
            for index in request.sample_indices
        }
        assert again
        assert again.isdisjoint(scored)
        assert len(measurements(agent.asked())) == len(set(measurements(agent.asked())))
        # What was known and spent before is still told.
        assert last.search.samples_done == before.samples_done + len(again)
        assert list(last.search.history)[: len(before.history)] == list(before.history)


async def test_a_configuration_that_fails_is_left_out_and_the_others_are_not(tmp_path):
    async with serving(settings(tmp_path), FirstFit()) as (people, parts):
        agent = Priced(people.address, device("camera", price_per_h=1.0))
        async with agent:
            await people.add_pipeline(samples=SAMPLES)
            await people.submit(query("first", accuracy_ratio=0.8))
            await people.settled()
            asked = len(agent.asked())
            agent.broken = frozenset({1})
            # This one would be served by the first setting, which is cheaper.
            await people.submit(query("second", accuracy_ratio=0.4))
            last = (await watched(people, "second"))[-1]
            assert [lengths([request]) for request in agent.asked()[asked:]].count({1}) == 1
            registered = parts.catalog.pipelines["words"]
            table_key = (registered.bundle_digest, registered.contents[0].digest)
            assert list(parts.profiling.broken(table_key)) == ['{"cut.length":1}']
            assert parts.profiling.failures == {}
            assert last.search.phase == planner_pb2.SEARCH_PHASE_CERTIFIED
            assert last.search.configuration.values["cut.length"].integer == 2


async def test_what_profiling_takes_is_charged_to_the_query_that_asked(tmp_path):
    camera = device("camera", price_per_h=7200.0, cores=2.0)
    async with serving(settings(tmp_path), FirstFit()) as (people, _), Priced(people.address, camera) as agent:
        await people.add_pipeline(samples=SAMPLES)
        await people.submit(query(accuracy_ratio=0.8))
        last = (await watched(people))[-1].search
        reports = sum(len(request.configurations) for request in agent.asked())
        assert last.samples_done == len(measurements(agent.asked()))
        assert last.operator_s == pytest.approx(0.5 * reports)
        # A core costs one a second.
        assert last.profile_cost == pytest.approx(last.operator_s)


async def test_a_budget_of_samples_ends_a_search_with_what_is_believed(tmp_path):
    async with serving(settings(tmp_path), FirstFit()) as (people, _), FakeAgent(people.address, device("camera")):
        await people.add_pipeline(samples=SAMPLES)
        limited = query(accuracy_ratio=0.8)
        limited.budget.samples = 6
        await people.submit(limited)
        last = (await watched(people))[-1]
        assert "6 profile samples" in last.search.stopped
        assert last.search.finished
        assert last.search.phase != planner_pb2.SEARCH_PHASE_CERTIFIED
        assert last.plan.certainty == types_pb2.CERTAINTY_PROVISIONAL


async def test_a_dry_run_of_another_query_asks_for_nothing_and_keeps_its_margin(tmp_path):
    async with (
        serving(settings(tmp_path), FirstFit()) as (people, parts),
        FakeAgent(people.address, device("camera")) as agent,
    ):
        await people.add_pipeline(samples=SAMPLES)
        await people.submit(query(accuracy_ratio=0.8))
        await people.settled()
        asked = agent.count("profile")
        near = query("near", accuracy_ratio=0.92)
        near.slo.accuracy_margin_ratio = 0.1
        far = query("far", accuracy_ratio=0.92)
        request = planner_pb2.PlanSelectionRequest(extra_queries=[near, far])
        selection = (await people.stub.PlanSelection(request)).selection
        certainties = {plan.query_id: plan.certainty for plan in selection.plans}
        assert certainties["near"] == types_pb2.CERTAINTY_CERTIFIED
        assert certainties.get("far") != types_pb2.CERTAINTY_CERTIFIED
        assert agent.count("profile") == asked
        assert not parts.profiling.busy
        assert list(await people.queries()) == ["q1"]


async def test_a_run_that_leaves_something_out_is_asked_for_only_so_often(tmp_path):
    async with serving(settings(tmp_path), FirstFit()) as (people, _):
        agent = FakeAgent(people.address, device("camera"))

        async def nothing(request):
            await agent.send(profile_report=control_pb2.ProfileReport(id=request.id, done=True))

        agent.run_profile = nothing
        async with agent:
            await people.add_pipeline()
            await people.submit(query())
            last = (await watched(people))[-1]
            assert agent.count("profile") == MAX_ATTEMPTS
            assert f"{MAX_ATTEMPTS} times" in last.reason
