"""Looks at devices through a live planner: where they go, credit, slow viewers, agents that go or don't answer."""

import pytest
from planner_fleet import FakeAgent, FirstFit, device, query, serving, settings

from circinus.client import Client
from circinus.clock import SystemClock
from circinus.errors import AgainstPolicy, InvalidInput, NotFound, TooLarge, Unreachable
from circinus.v1 import control_pb2, planner_pb2, types_pb2
from cloud_planner import looking
from cloud_planner.looked_at import Subject, devices_of, run_for
from cloud_planner.looking import CREDIT, Looking
from cloud_planner.registry import AgentSession

pytestmark = pytest.mark.slow


class Seen(FakeAgent):
    """Notes what it is asked to show, and shows what the test says."""

    def __init__(self, *arguments, **changes):
        super().__init__(*arguments, **changes)
        self.shows = []

    async def _obey(self, message):
        if message.WhichOneof("message") == "look":
            for chunk in self.shows:
                chunk.id = message.look.id
                await self.send(look_chunk=chunk)
        else:
            await super()._obey(message)


def lines(*texts, at_s=0, left_out=0, **chunk):
    found = [control_pb2.LogLine(query_id="q1", operator_id="cut", text=text) for text in texts]
    for number, one in enumerate(found):
        one.at.FromSeconds(1_700_000_000 + at_s + number)
    if found:
        found[0].left_out = left_out
    return control_pb2.LookChunk(lines=found, **chunk)


def an_item(number, *fields, **changes):
    payload = control_pb2.TappedPayload(name="cut", fields=fields)
    return control_pb2.TappedItem(number=number, request_id=f"i-{number}", payloads=[payload], **changes)


@pytest.fixture
async def fleet(tmp_path):
    """A planner with two agents that are connected and a query that runs on both; a client of it."""
    planning = FirstFit(prefer="cloud", first="camera")
    async with serving(settings(tmp_path), planning) as (people, parts):
        await people.add_pipeline()
        digest = (await people.stub.ListPipelines(planner_pb2.ListPipelinesRequest())).pipelines[0].environment_digest
        camera = device("camera", links=("cloud",), environments=(digest,))
        cloud = device("cloud", links=("camera",), environments=(digest,), address="127.0.0.1:9")
        async with (
            Seen(people.address, camera) as one,
            Seen(people.address, cloud) as other,
            Client(people.address) as client,
        ):
            await people.submit(query())
            await people.settled()
            yield client, one, other, parts


async def all_of(found):
    return [one async for one in found]


async def test_lines_of_all_devices_of_a_query_are_merged_by_time(fleet):
    client, camera, cloud, parts = fleet
    camera.shows = [lines("c1", "c2", at_s=0), lines("c3", at_s=4, left_out=12, caught_up=True, ended=True)]
    cloud.shows = [lines("d1", at_s=2, caught_up=True, ended=True)]
    found = await all_of(client.logs("q1", since_s=60.0, tail=0))
    assert [(one.device_id, one.text) for one in found] == [
        ("camera", "c1"),
        ("camera", "c2"),
        ("cloud", "d1"),
        ("camera", "c3"),
    ]
    assert [one.left_out for one in found] == [0, 0, 0, 12]
    assert [one.text for one in await all_of(client.logs("q1", tail=2))] == ["d1", "c3"]
    asked = (await camera.until("look")).logs
    assert (asked.query_id, asked.operator_id, asked.since_s, asked.agent) == ("q1", "", 60.0, False)
    assert parts.looking.count == 0


async def test_what_is_named_is_found_or_said_what_there_is(fleet):
    client, camera, cloud, _ = fleet
    camera.shows = cloud.shows = [lines(caught_up=True, ended=True)]
    assert await all_of(client.logs("read")) == []
    assert (await camera.until("look", lambda look: look.logs.operator_id == "read")).logs.query_id == ""
    await all_of(client.logs("q1/source"))
    await camera.until("look", lambda look: look.logs.operator_id == "source")
    await all_of(client.logs(device_id="camera"))
    assert (await camera.until("look", lambda look: look.logs.agent)).credit == CREDIT
    with pytest.raises(NotFound, match="'nope' is neither a query nor an operator of one; queries: q1; operators: cut"):
        await all_of(client.logs("nope"))
    with pytest.raises(NotFound, match="q1 has no operator 'nope'; it has: source, cut, read"):
        await all_of(client.logs("q1/nope"))
    with pytest.raises(NotFound, match="no device 'nope'"):
        await all_of(client.logs(device_id="nope"))


async def test_followed_lines_come_as_they_are_printed_and_each_gives_credit(fleet):
    client, camera, cloud, parts = fleet
    camera.shows, cloud.shows = [lines("old", caught_up=True)], [lines(caught_up=True, ended=True)]
    found = client.logs("q1", follow=True)
    assert (await anext(found)).text == "old"
    look = await camera.until("look")
    await camera.send(look_chunk=lines("new", id=look.id))
    assert (await anext(found)).text == "new"
    await camera.until("look_credit", lambda credit: (credit.id, credit.chunks) == (look.id, 1))
    await found.aclose()
    # Whoever looked has gone, and the agent is told.
    assert (await camera.until("end_look")).id == look.id
    assert parts.looking.count == 0


async def test_items_come_with_whole_fields_and_how_many_were_left_out(fleet):
    client, camera, _, _ = fleet
    field = control_pb2.TappedField(name="pixels", type="uint8", shape=[2, 3], size_bytes=6, whole_bytes=6)
    camera.shows = [
        control_pb2.LookChunk(items=[an_item(1, field)], items_left_out=3),
        control_pb2.LookChunk(pieces=[control_pb2.ItemPiece(number=1, payload="cut", field="pixels", data=b"abcd")]),
        control_pb2.LookChunk(items=[an_item(2, withheld="the owner says no")]),
        control_pb2.LookChunk(pieces=[control_pb2.ItemPiece(number=1, payload="cut", field="pixels", data=b"ef")]),
        control_pb2.LookChunk(ended=True, why="its time is over"),
    ]
    notes = []
    found = await all_of(
        client.tap("q1", "cut", output=True, values=True, whole_bytes=100, count=2, on_note=notes.append)
    )
    assert [one.request_id for one in found] == ["i-2", "i-1"]
    assert found[1].payloads[0].fields[0].data == b"abcdef"
    assert (found[1].left_out, found[0].withheld) == (3, "the owner says no")
    assert [(note.device_id, note.ended) for note in notes] == [("camera", True)]
    wanted = (await camera.until("look")).tap
    assert (wanted.values, wanted.output, wanted.count, wanted.rate_per_s, wanted.for_s) == (True, True, 2, 2.0, 30.0)


async def test_shapes_are_asked_for_unless_values_are(fleet):
    client, camera, cloud, _ = fleet
    camera.shows = cloud.shows = [control_pb2.LookChunk(ended=True)]
    await all_of(client.tap("q1", "read", output=False))
    assert not (await cloud.until("look")).tap.values
    with pytest.raises(NotFound, match="no operator 'nope'"):
        await all_of(client.tap("q1", "nope"))
    with pytest.raises(InvalidInput, match="camera does not run q1/read; cloud does"):
        await all_of(client.tap("q1", "read", device_id="camera"))
    with pytest.raises(InvalidInput, match="rate_per_s"):
        await all_of(client.tap("q1", "read", rate_per_s=1e6))


async def test_a_devices_refusal_is_the_error_of_who_looks(fleet):
    client, camera, _, _ = fleet
    camera.shows = [control_pb2.LookChunk(ended=True, why="the owner shows no items", error="AgainstPolicy")]
    with pytest.raises(AgainstPolicy, match="camera: the owner shows no items"):
        await all_of(client.tap("q1", "cut"))


async def test_an_agent_that_goes_or_does_not_answer_ends_the_look(fleet, monkeypatch):
    client, camera, cloud, parts = fleet
    camera.shows, cloud.shows = [lines("one", caught_up=True)], [lines(caught_up=True, ended=True)]
    notes = []
    found = client.logs("q1", follow=True, on_note=notes.append)
    await anext(found)
    camera._call.cancel()
    with pytest.raises(Unreachable, match="nothing is left to follow"):
        await anext(found)
    assert [(note.device_id, note.text[:18]) for note in notes] == [("camera", "its agent has gone")]
    with pytest.raises(Unreachable, match="camera is not connected: `circinus device show camera`"):
        await all_of(client.logs(device_id="camera"))
    monkeypatch.setattr(looking, "_BEGUN_WITHIN_S", 0.1)
    cloud.shows = []
    with pytest.raises(Unreachable, match="does not answer: it may be older"):
        await all_of(client.logs(device_id="cloud"))
    assert parts.looking.count == 0


async def test_a_chunk_that_nobody_asked_for_is_sent_back(fleet):
    _, camera, _, _ = fleet
    await camera.send(look_chunk=lines("for whom?", id="of another"))
    assert (await camera.until("end_look")).id == "of another"


class OneSession:
    """A registry with one device."""

    def __init__(self):
        self.one = AgentSession("camera", "s", 0.0)

    def session(self, device_id):
        return self.one


async def sent(session):
    return [await session.next_message() for _ in range(session._outbox.qsize())]


async def test_whoever_reads_slowly_holds_no_more_than_the_credit():
    registry = OneSession()
    looks = Looking(registry, SystemClock())
    viewing = looks.open()
    look = looks.begin(viewing, "camera", lambda request: request.logs.SetInParent())
    for _ in range(viewing.chunks.maxsize):
        looks.note(registry.one, lines("x", id=look.id))
    assert not look.ended
    looks.note(registry.one, lines("one more", id=look.id))
    assert (look.ended, look.why) == (True, "it sent more than it was asked for")
    looks.close(viewing)
    viewing = looks.open()
    large = looks.begin(viewing, "camera", lambda request: request.logs.SetInParent())
    looks.note(registry.one, lines("x" * 200_000, id=large.id))
    assert (large.ended, large.error, viewing.chunks.empty()) == (True, "TooLarge", True)
    looks.close(viewing)
    assert [one.WhichOneof("message") for one in await sent(registry.one)] == ["look", "look"]


async def test_so_many_people_may_look_at_a_time():
    looks = Looking(OneSession(), SystemClock())
    viewings = [looks.open() for _ in range(looking.MAX_VIEWERS)]
    with pytest.raises(TooLarge, match="try again later"):
        looks.open()
    looks.close(viewings[0])
    looks.open()


async def test_chunks_of_another_box_are_not_passed_on():
    registry = OneSession()
    looks = Looking(registry, SystemClock())
    viewing = looks.open()
    look = looks.begin(viewing, "camera", lambda request: request.logs.SetInParent())
    stranger = AgentSession("other", "s2", 0.0)
    looks.note(stranger, lines("forged", id=look.id))
    assert viewing.chunks.empty()
    assert [one.end_look.id for one in await sent(stranger)] == [look.id]
    assert await looks.next(viewing, 0.01) is None


def a_directive(*replica_sets, sources=()):
    return types_pb2.Directive(replica_sets=replica_sets, sources=sources)


def test_the_devices_of_a_subject_are_those_that_run_a_part_of_it():
    use = types_pb2.Use(query_id="hall", operator_id="find")
    find = types_pb2.ReplicaSet(query_id="gate", operator_id="find", uses=[use])
    directives = {
        "b": a_directive(find),
        "a": a_directive(sources=[types_pb2.SourceSpec(query_id="gate", given_by={"find": "gate"})]),
        "c": a_directive(types_pb2.ReplicaSet(query_id="gate", operator_id="read")),
    }
    assert devices_of(Subject(query_id="gate"), directives) == ("a", "b", "c")
    assert devices_of(Subject(query_id="hall"), directives) == ("b",)
    assert devices_of(Subject(operator_id="read"), directives) == ("c",)
    assert devices_of(Subject(query_id="gate", operator_id="source"), directives) == ("a",)


def test_what_runs_once_for_several_queries_is_looked_at_where_it_runs():
    source = types_pb2.SourceSpec(query_id="hall", leader_query_id="gate", given_by={"find": "gate"})
    directives = {"a": a_directive(sources=[source])}
    assert run_for(Subject(query_id="hall", operator_id="find"), directives).query_id == "gate"
    assert run_for(Subject(query_id="hall", operator_id="source"), directives).query_id == "gate"
    assert run_for(Subject(query_id="hall", operator_id="read"), directives).query_id == "hall"
