"""The desk's limits, a slow subscriber, a sink that fills up, and what a device's owner allows."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import pytest

from circinus.clock import SystemClock
from circinus.errors import CodeFailed, InvalidInput, NotFound, NotRunnable, TimedOut, TooLarge, Unreachable
from circinus.model.directive import Directive, Generation, ReplicaSet, SourceSpec
from circinus.model.pipeline import OperatorId, PipelineId
from circinus.model.query import QueryId
from circinus.payload import encode
from edge_agent.config import parse_config
from edge_agent.dataplane.admission import Admissions
from edge_agent.dataplane.book import Emission, Ended, Ending
from edge_agent.dataplane.direct import Direct
from edge_agent.dataplane.item import Cause, Verdict
from edge_agent.feeds.access import Access
from edge_agent.ingress.desk import Desk, Limits, OperatorModel, QueryModel
from edge_agent.ingress.results import MAX_SUBSCRIBERS, Results, Subscription, result_message
from edge_agent.ingress.sinks import Sink, Sinks

QUERY = QueryId("q1")
FIRST = Generation(epoch=1, number=1)


def source(**changes):
    values = {
        "key": "s",
        "query_id": QUERY,
        "pipeline_id": PipelineId("toy"),
        "bundle_digest": "b",
        "environment_digest": "e",
        "entry_point": "a:B",
        "scorer_entry_point": "",
        "content": "plain",
        "seed": 1,
        "rate_per_s": 1000.0,
        "deadline_ms": 0.0,
        "output_operator_ids": (OperatorId("read"),),
        "input": "push:",
    }
    return SourceSpec(**(values | changes))


def replica_set():
    return ReplicaSet(
        key="r",
        query_id=QUERY,
        pipeline_id=PipelineId("toy"),
        operator_id=OperatorId("read"),
        bundle_digest="b",
        environment_digest="e",
        entry_point="a:B",
        knobs={},
        replicas=1,
        cores=1.0,
        accelerator_slots=0,
        accelerator_memory_bytes=0,
        memory_bytes=0,
        batch=1,
        hang_ms=1000.0,
        inputs=(OperatorId("source"),),
    )


def ended(number=1, ending=Ending.ANSWERED, outputs=None, **changes):
    emission = Emission(
        request_id=f"r-{number}",
        sequence=number,
        query_id=QUERY,
        generation=FIRST,
        source_key="",
        emitted_at_s=0.0,
        deadline_ms=0.0,
        output_operator_ids=(OperatorId("read"),),
    )
    given = {"read": encode({"text": f"t{number}"})} if outputs is None else outputs
    return Ended(emission=emission, ending=ending, latency_ms=2.5, outputs=given, **changes)


class Plane:
    """A data plane that keeps what it is given."""

    def __init__(self):
        self.admissions = Admissions()
        self.direct = Direct()
        self.emissions = []
        self.shed_count = 0

    def next_request(self):
        return f"r-{len(self.emissions)}", len(self.emissions)

    def emit(self, emission, payload):
        self.emissions.append(emission)

    def shed(self, emission):
        self.shed_count += 1


class Offers:
    def __init__(self):
        self.works = []
        self.there = True

    def offer(self, keys, work):
        self.works.append(work)
        return self.there


class Counter:
    """A desk with what it needs, and one query."""

    def __init__(self, limits=None, **changes):
        self.plane, self.offers = Plane(), Offers()
        directive = Directive(
            device_id="d",
            generation=FIRST,
            replica_sets=(replica_set(),),
            routes=(),
            sources=(source(**changes),),
            peers=(),
        )
        self.desk = Desk(
            plane=self.plane,
            units=None,
            offers=self.offers,
            emit=self.plane.emit,
            active=lambda: directive,
            clock=SystemClock(),
            limits=limits or Limits(),
        )

    def ask(self, peer="p", timeout_s=None):
        return asyncio.create_task(self.desk.infer_query(self.desk.model("q1"), b"", timeout_s, peer))

    async def until_booked(self, count):
        async with asyncio.timeout(5):
            while len(self.plane.emissions) < count:  # noqa: ASYNC110 - its task runs in between
                await asyncio.sleep(0)

    def end(self, index, ending=Ending.ANSWERED, **changes):
        self.desk.ended(
            Ended(emission=self.plane.emissions[index], ending=ending, latency_ms=1.0, outputs={}, **changes)
        )


async def test_the_bytes_of_open_requests_are_limited():
    counter = Counter(Limits(open_bytes=10))
    model = counter.desk.model("q1")
    asked = asyncio.create_task(counter.desk.infer_query(model, bytes(8), None, "a"))
    await counter.until_booked(1)
    with pytest.raises(TooLarge, match="an item of 8 bytes"):
        await counter.desk.infer_query(model, bytes(8), None, "a")
    counter.end(0)
    await asked


async def test_requests_of_one_connection_and_of_all_are_limited():
    counter = Counter(Limits(open_requests=3, open_requests_per_peer=2))
    asked = [counter.ask("a"), counter.ask("a"), counter.ask("b")]
    await counter.until_booked(3)
    with pytest.raises(TooLarge, match="3 requests are open"):
        await counter.ask("c")
    counter.end(2)
    await asked[2]
    with pytest.raises(TooLarge, match="2 requests of this connection"):
        await counter.ask("a")
    counter.end(0)
    counter.end(1)
    await asyncio.gather(*asked)
    assert (await asked[0]).latency_ms == 1.0


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (Cause.SHED, TooLarge),
        (Cause.QUEUE_FULL, TooLarge),
        (Cause.DEADLINE, TimedOut),
        (Cause.TIMEOUT, TimedOut),
        (Cause.OPERATOR_RAISED, CodeFailed),
        (Cause.LINK_DOWN, Unreachable),
    ],
)
async def test_how_an_item_ended_says_what_its_caller_is_told(cause, kind):
    counter = Counter()
    asked = counter.ask()
    await counter.until_booked(1)
    counter.end(0, Ending.FAILED, cause=cause, detail="why", operator_id=OperatorId("read"))
    with pytest.raises(kind, match="at read: why"):
        await asked


async def test_a_callers_own_bound_is_the_items_deadline_where_it_is_the_shorter():
    counter = Counter(deadline_ms=500.0)
    asked = [counter.ask(timeout_s=0.1), counter.ask(timeout_s=5.0), counter.ask()]
    await counter.until_booked(3)
    assert [one.deadline_ms for one in counter.plane.emissions] == pytest.approx([100.0, 500.0, 500.0])
    with pytest.raises(TimedOut):
        await asked[0]
    counter.end(1, Ending.LATE)
    counter.end(2)
    assert [(await one).late for one in asked[1:]] == [True, False]


async def test_a_query_that_reads_anothers_items_takes_none_of_callers():
    counter = Counter(leader_query_id=QueryId("q0"))
    with pytest.raises(NotRunnable, match="reads the items of q0"):
        await counter.ask()


async def test_a_model_is_a_query_its_pipeline_or_one_of_its_operators():
    desk = Counter().desk
    assert isinstance(desk.model("q1"), QueryModel)
    assert desk.model("toy") == desk.model("q1")
    assert isinstance(desk.model("q1/read"), OperatorModel)
    for name in ("q2", "q1/", "/read", "q1/read/x"):
        with pytest.raises(NotFound, match="there are: q1, q1/read"):
            desk.model(name)


async def test_an_item_for_one_operator_yields_to_queries_and_is_in_no_book():
    counter = Counter()
    asked = asyncio.create_task(counter.desk.infer_operator(counter.desk.model("q1/read"), {"source": b""}, None, "p"))
    async with asyncio.timeout(5):
        while not counter.offers.works:  # noqa: ASYNC110 - its task runs in between
            await asyncio.sleep(0)
    (work,) = counter.offers.works
    assert work.excess
    assert counter.plane.direct.finished(work, b"out")
    assert (await asked).outputs == {"read": b"out"}
    assert counter.plane.emissions == []
    # Its caller has gone: it is still nobody's.
    assert counter.plane.direct.ended(work, Verdict.FAILED, "x", "y")


async def test_an_operator_that_is_not_running_is_said_to_be_so():
    counter = Counter()
    counter.offers.there = False
    with pytest.raises(Unreachable, match="operator read is not running"):
        await counter.desk.infer_operator(counter.desk.model("q1/read"), {"source": b""}, None, "p")


async def test_a_slow_subscriber_loses_the_oldest_and_is_told_how_many():
    results = Results(lambda: datetime.now(UTC))
    results.serve([QUERY])
    slow, quick = Subscription(max_waiting=2), Subscription()
    results.subscribe(QUERY, slow)
    results.subscribe(QUERY, quick)
    for number in range(5):
        results.publish(ended(number))
    got = [await slow.next(), await slow.next()]
    assert [(result.sequence, lost) for result, lost in got] == [(3, 3), (4, 0)]
    assert [(await quick.next())[0].sequence for _ in range(5)] == [0, 1, 2, 3, 4]
    results.serve([])
    assert await quick.next() is None


async def test_a_subscriber_is_bounded_in_bytes_but_always_gets_the_newest():
    subscription = Subscription(max_bytes=100)
    for number in range(3):
        subscription.put(result_message(ended(number), datetime.now(UTC)), 90)
    assert (await subscription.next())[0].sequence == 2


async def test_subscribers_are_limited():
    results = Results(lambda: datetime.now(UTC))
    results.serve([QUERY])
    for _ in range(MAX_SUBSCRIBERS):
        results.subscribe(QUERY, Subscription())
    with pytest.raises(TooLarge):
        results.subscribe(QUERY, Subscription())


def sink_of(folder, **changes):
    return Sink(f"file:{folder}/r.jsonl", Access(sink_folders=(str(folder),)), SystemClock(), **changes)


async def write(sink, *outcomes):
    for one in outcomes:
        sink.put(one)
    sink.close()
    await sink.run()


async def test_a_sink_keeps_two_files_at_most(tmp_path):
    for number in range(7):
        await write(sink_of(tmp_path, max_file_bytes=300), ended(number))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.jsonl", "r.jsonl.1"]
    lines = (tmp_path / "r.jsonl.1").read_text().splitlines()
    assert json.loads(lines[-1])["outputs"] == {"read": {"text": f"t{json.loads(lines[-1])['sequence']}"}}


async def test_what_a_sink_could_not_write_is_counted_in_the_next_line(tmp_path):
    folder = tmp_path / "out"
    sink = Sink(f"file:{folder}/r.jsonl", Access(sink_folders=(str(folder),)), SystemClock())
    sink.put(ended(1))
    sink.put(ended(2))
    running = asyncio.create_task(sink.run())
    async with asyncio.timeout(5):
        while not sink.failure:  # noqa: ASYNC110 - nobody tells when
            await asyncio.sleep(0.005)
    assert "No such file or directory" in sink.failure
    folder.mkdir()
    sink.put(ended(3, Ending.DROPPED, {}, cause="shed", detail="why"))
    sink.close()
    await running
    assert sink.failure == ""
    (line,) = map(json.loads, (folder / "r.jsonl").read_text().splitlines())
    assert (line["ending"], line["cause"], line["lost"]) == ("dropped", "shed", 2)


@pytest.mark.parametrize("name", ["link", "../r.jsonl", "folder", "outside/r.jsonl"])
async def test_a_sink_writes_only_plain_files_below_the_folders_that_are_allowed(tmp_path, name):
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "folder").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (inside / "link").symlink_to(tmp_path / "secret")
    (inside / "outside").symlink_to(tmp_path / "elsewhere")
    sink = Sink(f"file:{inside}/{name}", Access(sink_folders=(str(inside),)), SystemClock())
    await write(sink, ended())
    assert sink.failure
    assert not (tmp_path / "secret").exists()
    assert not list((tmp_path / "elsewhere").iterdir())


async def test_sinks_come_and_go_with_their_queries(tmp_path):
    tasks = []

    def spawn(sink):
        tasks.append(asyncio.create_task(sink.run()))
        return tasks[-1]

    sinks = Sinks(Access(sink_folders=(str(tmp_path),)), SystemClock(), spawn)
    sinks.serve([source(sink=f"file:{tmp_path}/r.jsonl")])
    sinks.put(ended(1))
    sinks.serve([source()])
    sinks.put(ended(2))
    await asyncio.wait(tasks)
    assert len(tasks) == 1
    assert "\n" not in (tmp_path / "r.jsonl").read_text().strip()


BOX = 'device_id = "box"\nstate_dir = "state"\ntier = "edge"\n'


def test_the_configuration_says_what_queries_may_open(tmp_path):
    text = f"""{BOX}ingress = "127.0.0.1:7410"
[feeds]
folders = ["in", "/srv/videos/../videos"]
cameras = ["0", "/dev/video2"]
[sinks]
folders = ["out"]
"""
    config = parse_config(text, folder=tmp_path)
    assert config.ingress == "127.0.0.1:7410"
    assert config.access == Access(
        folders=(f"{tmp_path}/in", "/srv/videos"), cameras=("0", "/dev/video2"), sink_folders=(f"{tmp_path}/out",)
    )
    assert parse_config(BOX).access == Access()


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ('ingress = "here"', "ingress"),
        ('[feeds]\nfolders = "in"', "feeds.folders"),
        ("[feeds]\ncameras = [0]", "feeds.cameras"),
        ('[feeds]\nfolders = ["/"]', "feeds.folders"),
        ('[sinks]\nfolder = ["out"]', "sinks.folder"),
    ],
)
def test_a_wrong_key_of_feeds_or_sinks_is_named(more, key):
    with pytest.raises(InvalidInput) as caught:
        parse_config(f"{BOX}{more}\n")
    assert key in [violation.field for violation in caught.value.violations]
