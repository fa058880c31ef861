"""Cordon, drain, leave, labels and selectors at a live planner, with agents that do all they are told."""

import asyncio
import contextlib
from datetime import UTC, datetime
from itertools import pairwise

import grpc.aio
import pytest
from planner_fleet import PIPELINE, FakeAgent, device, query, serving, settings

from circinus.channel import open_channel
from circinus.client import Client
from circinus.errors import InvalidInput, NotFound
from circinus.v1 import control_pb2, control_pb2_grpc, planner_pb2, types_pb2
from cloud_planner.core.planning import plan
from cloud_planner.core.select import SelectLimits
from cloud_planner.core.transition import capacities, over_capacity
from cloud_planner.registry import DeviceRecord
from cloud_planner.solver import CbcSolver
from cloud_planner.solving import explain_live
from cloud_planner.store import Keeping, TelemetryRecord

pytestmark = pytest.mark.slow


class Obedient(FakeAgent):
    """Tells which processes it has, and hangs up when it is told goodbye."""

    def __init__(self, *arguments, **changes):
        super().__init__(*arguments, **changes)
        self.kept = {}
        self.goodbyes = []
        self.hangs_up = True

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
        if kind == "goodbye":
            self.goodbyes.append(message.goodbye.why)
            if self.hangs_up:
                self._call.cancel()

    def _note(self):
        self.status.pids.clear()
        for one in self.kept.values():
            for unit in (*one.replica_sets, *one.sources):
                self.status.pids[unit.key].pids[:] = [1]

    async def _serve(self):
        with contextlib.suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
            await super()._serve()


class Selecting:
    """The real selection, in this process."""

    async def plan(self, problem, held=frozenset()):
        return await asyncio.to_thread(plan, problem, CbcSolver(), SelectLimits(held=held))

    async def explain(self, task):
        return await asyncio.to_thread(explain_live, task)

    async def close(self):
        pass


def gateway(name, **changes):
    values = {
        "links": [other for other in ("camera", "g1", "g2") if other != name],
        "address": "127.0.0.1:1",
        # The first is the better one, so that it is known where things run.
        "price_per_h": {"g1": 1.0, "g2": 9.0}[name],
    }
    return device(name, **(values | changes))


def camera(**changes):
    return device("camera", **({"links": ["g1", "g2"]} | changes))


@contextlib.asynccontextmanager
async def fleet(tmp_path, *devices, text=PIPELINE):
    async with contextlib.AsyncExitStack() as stack:
        people, parts = await stack.enter_async_context(serving(settings(tmp_path), Selecting()))
        agents = {}
        for one in devices or (camera(), gateway("g1"), gateway("g2")):
            agents[one.id] = await stack.enter_async_context(Obedient(people.address, one))
        client = await stack.enter_async_context(Client(people.address))
        await people.add_pipeline(text)
        yield people, parts, agents, client


def served(query_id="q1", *, on="device in (g1, g2)", **changes):
    found = query(query_id, **changes)
    found.selector = on
    return found


async def hosts(people, query_id="q1"):
    """Where the operators of a query are planned."""
    return {placed.device_id for placed in (await people.queries())[query_id].plan.operators}


async def drained(client, name, **how):
    return [progress async for progress in client.drain(name, timeout_s=20, **how)][-1]


async def gone(client, name, **how):
    return [progress async for progress in client.leave(name, timeout_s=20, **how)][-1]


async def test_a_drained_device_is_empty_and_its_queries_run_elsewhere_new_before_old(tmp_path):
    async with fleet(tmp_path) as (people, parts, agents, client):
        await people.submit(served())
        await people.settled()
        first, other = "g1", "g2"
        assert await hosts(people) == {first}
        before = parts.rollout.newest.generation.number
        last = await drained(client, first, why="a new fan")
        assert last.empty
        assert await hosts(people) == {other}
        assert not agents[first].status.pids
        # The source switched only when the new processes were ready, and the old ones ended after that.
        told = [
            (message.WhichOneof("message"), message.activate.generation or message.retire.below_generation)
            for message in agents["camera"].received
            if message.WhichOneof("message") in ("activate", "retire")
        ]
        moved = min(number for number, one in agents[other].directives.items() if one.replica_sets and number > before)
        assert told.index(("activate", moved)) < told.index(("retire", moved))
        have = capacities(parts.registry.alive())
        for one, two in pairwise(range(before, parts.rollout.newest.generation.number + 1)):
            both = [agent.directives[number] for agent in agents.values() for number in (one, two)]
            assert not over_capacity(both, have)
        state = await client.device(first)
        assert (state.cordoned, state.draining, state.leaving, state.why) == (True, True, False, "a new fan")
        status = await client.status()
        assert (status.devices_draining, status.devices_cordoned) == (1, 0)


async def test_a_cordoned_device_keeps_what_it_has_and_takes_nothing_new(tmp_path):
    async with fleet(tmp_path) as (people, _, _, client):
        await people.submit(served("q1", on="device=g1"))
        await people.settled()
        state = await client.cordon("g1")
        assert (state.cordoned, state.draining) == (True, False)
        await people.submit(served("q2", on="device=g1"), served("q3"))
        await people.settled()
        states = await people.queries()
        assert await hosts(people, "q1") == {"g1"}
        assert states["q2"].phase == planner_pb2.QUERY_PHASE_UNPLACED
        assert "cordoned" in states["q2"].reason
        assert await hosts(people, "q3") == {"g2"}
        await client.uncordon("g1")
        await people.settled()
        assert await hosts(people, "q2") == {"g1"}
        assert not (await client.device("g1")).cordoned


async def test_what_can_not_be_moved_stays_and_is_told(tmp_path):
    async with fleet(tmp_path) as (people, _, _, client):
        await people.submit(served("q1", on="device=g1"), served("q2", on="device=camera"))
        await people.settled()
        last = await drained(client, "g1")
        assert last.ended
        assert {(one.query_id, one.operator_id) for one in last.staying} == {("q1", "cut"), ("q1", "read")}
        assert "no other device" in last.staying[0].reason
        assert await hosts(people) == {"g1"}
        of_source = await drained(client, "camera")
        sources = {one.query_id: one.reason for one in of_source.staying if not one.operator_id}
        assert sources.keys() == {"q1", "q2"}
        assert "stays with its source" in sources["q1"]


async def test_an_operator_that_is_pinned_stays_while_the_others_move(tmp_path):
    text = PIPELINE.replace("  - id: read\n", "  - id: read\n    pinned: g1\n")
    async with fleet(tmp_path, text=text) as (people, _, _, client):
        await people.submit(query())
        await people.settled()
        last = await drained(client, "g1")
        assert [(one.operator_id, one.reason) for one in last.staying] == [
            ("read", "its pipeline pins it to this device")
        ]
        states = await people.queries()
        places = {placed.operator_id: placed.device_id for placed in states["q1"].plan.operators}
        assert places["read"] == "g1"
        assert places["cut"] != "g1"


async def test_what_stays_goes_as_soon_as_there_is_another_device(tmp_path):
    async with fleet(tmp_path, camera(), gateway("g1")) as (people, _, agents, client):
        await people.submit(served())
        await people.settled()
        assert (await drained(client, "g1")).staying
        async with Obedient(people.address, gateway("g2")):
            await agents["g1"].until("retire", lambda _: not agents["g1"].status.pids)
            assert (await drained(client, "g1")).empty
            assert await hosts(people) == {"g2"}


async def test_an_uncordoned_device_is_used_again(tmp_path):
    async with fleet(tmp_path) as (people, _, _, client):
        await people.submit(served())
        await people.settled()
        assert await hosts(people) == {"g1"}
        assert (await drained(client, "g1")).empty
        assert await hosts(people) == {"g2"}
        await client.uncordon("g1")
        await people.settled()
        assert await hosts(people) == {"g1"}


async def test_a_drain_goes_on_after_a_restart_of_the_planner(tmp_path):
    where = settings(tmp_path)
    first, other = "g1", "g2"
    boxes = (camera(), gateway("g1"), gateway("g2"))
    async with (
        serving(where, Selecting()) as (people, _),
        Client(people.address) as client,
        contextlib.AsyncExitStack() as stack,
    ):
        agents = {one.id: await stack.enter_async_context(Obedient(people.address, one)) for one in boxes}
        await people.add_pipeline()
        await people.submit(served())
        await people.settled()
        assert await hosts(people) == {first}
        # The new side does not come up before the planner is gone.
        agents[other].becomes_ready = False
        (begun,) = [one async for one in client.drain(first, "half way", wait=False)]
        assert not begun.ended
        await agents[other].until("directive", lambda one: one.replica_sets)
        held = {name: agent.status for name, agent in agents.items()}
    async with (
        serving(where, Selecting()) as (people, parts),
        Client(people.address) as client,
        contextlib.AsyncExitStack() as stack,
    ):
        assert parts.marks.of(first).keeping is Keeping.DRAINING
        for one in boxes:
            again = Obedient(people.address, one, generation_status=held[one.id])
            await stack.enter_async_context(again)
            if held[one.id].phase == control_pb2.GENERATION_PHASE_STARTING:
                await again.send_status(control_pb2.GENERATION_PHASE_READY)
        last = await drained(client, first)
        assert last.empty
        assert await hosts(people) == {other}
        assert (await client.device(first)).why == "half way"


async def test_a_device_leaves_and_comes_back_under_its_name_three_times(tmp_path):
    async with fleet(tmp_path, camera(), gateway("g2")) as (people, parts, _, client):
        await people.submit(served())
        await people.settled()
        revoked = []

        async def revoke(device_id, why):
            revoked.append((device_id, why))

        parts.departures.revoke = revoke
        for number in range(1, 4):
            async with Obedient(people.address, gateway("g1")) as agent:
                await drained(client, "g2")
                assert await hosts(people) == {"g1"}
                await agent.send(telemetry=window(1, agent))
                await parts.telemetry.flush()
                await client.uncordon("g2")
                last = await gone(client, "g1", why=f"move {number}")
                assert last.gone
                assert agent.goodbyes == [f"move {number}"]
                assert await hosts(people) == {"g2"}
                with pytest.raises(NotFound):
                    await client.device("g1")
            assert revoked[-1] == ("g1", f"move {number}")
            assert len(revoked) == number
            # The next box with this name numbers its telemetry from 1: none of it is a repeat.
            assert await parts.store.add_telemetry([record(1)], epoch=1) == 1
            await parts.store.remove_device("g1")


def window(sequence, agent):
    found = types_pb2.QueryWindow(query_id="q1", generation=agent.status.generation, duration_s=1.0, emitted=1)
    found.start.GetCurrentTime()
    return control_pb2.Telemetry(sequence=sequence, queries=[found])


def record(sequence):
    return TelemetryRecord(device_id="g1", sequence=sequence, received_at=datetime.now(UTC), queries=(), operators=())


async def test_a_device_with_a_source_does_not_leave_until_its_query_is_gone(tmp_path):
    async with fleet(tmp_path) as (people, _, agents, client):
        await people.submit(query())
        await people.settled()
        last = await gone(client, "camera")
        assert not last.gone
        assert [one.query_id for one in last.staying if not one.operator_id] == ["q1"]
        assert (await client.device("camera")).leaving
        assert not agents["camera"].goodbyes
        await people.stub.RemoveQuery(planner_pb2.RemoveQueryRequest(query_id="q1"))
        assert (await gone(client, "camera")).gone


async def test_a_box_that_is_gone_for_good_is_forgotten_by_force(tmp_path):
    async with fleet(tmp_path, camera(), gateway("g2")) as (people, parts, _, client):
        async with Obedient(people.address, gateway("g1")) as lost:
            await people.submit(served("q1", on="device=g1"))
            await people.settled()
        async with asyncio.timeout(10):
            heard = -1
            while parts.registry.session("g1") is not None:
                heard = await parts.watched.wait(heard, 0.1)
        waiting = await anext(aiter(client.leave("g1", wait=False)))
        assert not waiting.gone
        assert (await gone(client, "g1", force=True)).gone
        assert not lost.goodbyes
        await people.settled()
        states = await people.queries()
        assert states["q1"].phase == planner_pb2.QUERY_PHASE_UNPLACED
        assert [state.device.id for state in await client.devices()] == ["camera", "g2"]


async def test_an_agent_that_does_not_hang_up_is_forgotten_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("cloud_planner.departures.GOODBYE_S", 0.2)
    async with fleet(tmp_path) as (_, parts, agents, client):
        agents["g1"].hangs_up = False
        assert (await gone(client, "g1")).gone
        assert agents["g1"].goodbyes
        assert parts.registry.record("g1") is None


async def test_a_box_asks_itself_to_leave(tmp_path):
    async with fleet(tmp_path) as (people, parts, agents, _):
        async with open_channel(people.address) as channel:
            stub = control_pb2_grpc.ControlServiceStub(channel)
            told = [one async for one in stub.Leave(control_pb2.LeaveRequest(device_id="g1"), timeout=20)]
        assert told[-1].gone
        assert agents["g1"].goodbyes == ["its box asked for it"]
        assert parts.registry.record("g1") is None


async def test_labels_of_people_stand_over_those_of_the_box_and_of_its_token_and_last(tmp_path):
    where = settings(tmp_path)
    async with (
        serving(where, Selecting()) as (people, parts),
        Client(people.address) as client,
        Obedient(people.address, gateway("g1", labels={"zone": "a", "old": ""})),
    ):
        await parts.marks.bind("g1", {"zone": "b", "owner": "anne"})
        assert (await client.device("g1")).labels == {"old": "", "owner": "anne", "zone": "b"}
        state = await client.label("g1", {"zone": "c", "gpu": ""}, ["old"])
        assert state.labels == {"gpu": "", "owner": "anne", "zone": "c"}
        assert state.device.labels == {"zone": "a", "old": ""}
        with pytest.raises(InvalidInput, match="nobody sets it"):
            await client.label("g1", {"site": "here"})
    async with serving(where, Selecting()) as (people, _), Client(people.address) as client:
        assert (await client.device("g1")).labels == {"gpu": "", "owner": "anne", "zone": "c"}
        assert [state.device.id for state in await client.devices("zone in (c, d),!old")] == ["g1"]
        assert await client.devices("zone=b") == ()
        assert (await client.label("g1", reset=True)).labels == {"old": "", "owner": "anne", "zone": "b"}


async def test_a_label_moves_a_query_and_its_loss_leaves_it_without_a_plan(tmp_path):
    async with fleet(tmp_path) as (people, parts, _, client):
        await client.label("g1", {"gpu": ""})
        await people.submit(served(on="gpu"))
        await people.settled()
        assert await hosts(people) == {"g1"}
        await client.label("g2", {"gpu": ""})
        await client.label("g1", remove=["gpu"])
        await people.settled()
        assert await hosts(people) == {"g2"}
        await client.label("g2", remove=["gpu"])
        await people.settled()
        state = (await people.queries())["q1"]
        assert state.phase == planner_pb2.QUERY_PHASE_UNPLACED
        assert "its selector 'gpu' leaves out every device" in state.reason
        explained = await parts.trials.explain("q1")
        assert [move["text"] for move in explained["conflict"]["relaxations"]] == ["drop its selector 'gpu'"]
        wider = await client.plan()
        assert [one.query_id for one in wider.selection.unplaced] == ["q1"]
        assert [one.query.id for one in await client.queries("device=camera")] == ["q1"]
        assert await client.queries("device=g1") == ()


async def test_ten_thousand_devices_are_listed_in_pages_that_fit(tmp_path):
    async with serving(settings(tmp_path), Selecting()) as (people, parts), Client(people.address) as client:
        flags = tuple(f"flag{number}" for number in range(40))
        for number in range(10_000):
            found = device(f"box-{number:05}", cpu_flags=flags, links=[f"peer-{other}" for other in range(5)])
            now = parts.clock.now()
            parts.registry._records[found.id] = DeviceRecord(device=found, last_seen_at=now, seen_s=0.0, noted_s=0.0)
        first = await people.stub.ListDevices(planner_pb2.ListDevicesRequest())
        assert first.next_page_token
        assert first.ByteSize() < 4 * 2**20
        two = await people.stub.ListDevices(planner_pb2.ListDevicesRequest(page_size=2, page_token="box-00001"))
        assert [one.fingerprint.device_id for one in two.devices] == ["box-00002", "box-00003"]
        states = await client.devices()
        assert [state.device.id for state in states] == [f"box-{number:05}" for number in range(10_000)]
        assert len(await client.devices("device in (box-00007, box-09999)")) == 2
