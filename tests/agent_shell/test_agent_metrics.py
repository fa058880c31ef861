"""The agent's page for Prometheus, and that neither it nor a collector can harm the agent."""

import asyncio
import contextlib
import logging
import re
from datetime import UTC, datetime
from random import Random
from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families
from shell_fakes import DEADLINE_S, ScriptedPlanner
from test_agent import Box, Quick

from circinus.errors import InvalidInput, NotAllowed
from circinus.event_counts import EventCounts
from circinus.exposition import page
from circinus.metrics_server import Guest
from circinus.model.device import DeviceId
from circinus.sketch import Sketch
from circinus.v1 import types_pb2
from edge_agent.agent import Agent
from edge_agent.config import parse_config
from edge_agent.dataplane.peer_links import LinkState
from edge_agent.insight import admit
from edge_agent.metrics import metric_list
from edge_agent.metrics.agent_page import AgentPage
from edge_agent.metrics.totals import MAX_PLACES, Totals
from edge_agent.serving_figures import ReplicaFigures, ServingFigures

HEAD = 'device_id = "camera"\ntier = "edge"\nsite = "shop"\ncores = 1.0\ninsecure_loopback = true\n'


@pytest.fixture(autouse=True)
def told(monkeypatch, caplog):
    """Events are heard here whatever an earlier test of this process had them do."""
    monkeypatch.setattr(logging.getLogger("circinus"), "propagate", True)
    caplog.set_level("INFO")


def read(text):
    """The samples of a page by name, as {labels: value}; each is of a metric in the list, with its labels."""
    known = {metric.name: metric for metric in metric_list.METRICS}
    found = {}
    for family in text_string_to_metric_families(text):
        metric = known[f"{family.name}_total" if family.type == "counter" else family.name]
        assert (family.type, family.documentation) == (metric.kind, metric.text)
        for sample in family.samples:
            assert tuple(name for name in sample.labels if name != "le") == metric.labels
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


def a_query_window(query_id="q1", **counts):
    return types_pb2.QueryWindow(query_id=query_id, duration_s=1.0, **counts)


@contextlib.asynccontextmanager
async def agent_with(tmp_path, text, box):
    config = parse_config(f'{HEAD}state_dir = "{tmp_path}/state"\n{text}')
    stop = asyncio.Event()
    running = asyncio.create_task(Agent(config, clock=Quick(), rng=Random(1), make_serving=box.make).run(stop))
    try:
        yield
    finally:
        stop.set()
        async with asyncio.timeout(DEADLINE_S):
            await running


async def listens_at(caplog):
    async with asyncio.timeout(DEADLINE_S):
        while not (match := re.search(r"metrics_listen address=(\S+)", caplog.text)):  # noqa: ASYNC110 - the log's
            await asyncio.sleep(0.01)
    return match[1]


async def scrape(address):
    reader, writer = await asyncio.open_connection(*address.split(":"))
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost:1\r\n\r\n")
    body = (await reader.read()).partition(b"\r\n\r\n")[2]
    writer.close()
    return read(body.decode())


@pytest.mark.slow
async def test_an_agent_s_figures_are_on_the_page(tmp_path, caplog):
    box, planner = Box(), ScriptedPlanner()
    await planner.start()
    async with agent_with(tmp_path, f'planner = "{planner.address}"\nmetrics_listen = "127.0.0.1:0"\n', box):
        await planner.until(lambda: planner.hellos)
        box.serving.running = lambda: RUNNING
        box.serving.windows.append(
            a_query_window(
                emitted=10,
                excess_emitted=1,
                answered=7,
                late=1,
                dropped_by_cause={"queue_full": 2},
                latency_ms=Sketch([20.0] * 8).message(),
            )
        )
        await planner.hear("telemetry")
        found = await scrape(await listens_at(caplog))
    await planner.stop()
    ended = found["circinus_agent_items_ended_total"]
    assert ended == {("q1", "answered", ""): 7, ("q1", "dropped", "queue_full"): 2, ("q1", "late", ""): 1}
    assert found["circinus_agent_items_emitted_total"] == {("q1", "0"): 9, ("q1", "1"): 1}
    assert found["circinus_agent_item_latency_seconds_bucket"]["q1", "0.025"] == 8
    assert [labels[:3] for labels in found["circinus_agent_info"]] == [("camera", "edge", "shop")]
    assert found["circinus_agent_planner_connected"] == {(): 1}
    assert found["circinus_agent_link_up"] == {("cloud",): 1}
    assert found["circinus_agent_operator_share_cores"] == {("q1", "read"): 0.5}
    assert found["circinus_agent_operator_replicas"] == {("q1", "read", "planned"): 2, ("q1", "read", "up"): 1}
    assert found["circinus_agent_disk_fault"] == {(): 0}
    assert found["circinus_agent_disk_free_bytes"][()] > 0
    assert found["circinus_agent_memory_bytes"][()] > 1_000_000
    assert found["circinus_agent_events_total"]["metrics_listen", "0"] == 1
    assert found["circinus_agent_scrapes_total"] == {("served",): 0, ("refused",): 0}


RUNNING = ServingFigures(
    replica_sets=(ReplicaFigures(query_id="q1", operator_id="read", replicas=2, up=1, waiting=3, cores=0.5),),
    links={DeviceId("cloud"): LinkState(up=True, waiting=0, refused=0)},
)


@pytest.mark.slow
async def test_a_port_that_is_taken_and_a_collector_that_is_away_leave_the_agent_alone(tmp_path, caplog):
    taken = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    box, planner = Box(), ScriptedPlanner()
    await planner.start()
    text = f'planner = "{planner.address}"\nmetrics_listen = "127.0.0.1:{port}"\n'
    async with agent_with(tmp_path, text + '[traces]\nendpoint = "http://127.0.0.1:1"\nratio = 1\n', box):
        await planner.until(lambda: planner.hellos)
        async with asyncio.timeout(DEADLINE_S):
            while "metrics_not_served" not in caplog.text:  # noqa: ASYNC110 - the log's
                await asyncio.sleep(0.01)
        taken.close()
        await taken.wait_closed()
        # It is tried again, by and by.
        assert (await scrape(await listens_at(caplog)))["circinus_agent_spans_total"]["sent",] == 0
        assert [name for name, _ in box.serving.calls].count("trace_with") == 1
    await planner.stop()


@pytest.mark.slow
async def test_nothing_is_served_or_traced_by_default(tmp_path, caplog):
    box, planner = Box(), ScriptedPlanner()
    await planner.start()
    async with agent_with(tmp_path, f'planner = "{planner.address}"\n', box):
        await planner.until(lambda: planner.hellos)
        assert [name for name, _ in box.serving.calls].count("trace_with") == 0
    await planner.stop()
    assert "metrics_listen" not in caplog.text


def test_what_was_silent_for_longest_is_forgotten_where_there_are_too_many():
    totals = Totals()
    for number in range(MAX_PLACES):
        totals.take([a_query_window(f"q{number}", emitted=1)], [])
    totals.take([a_query_window("q0", emitted=1)], [])
    totals.take([a_query_window("new", emitted=1)], [])
    told = {
        labels[0] for metric, samples in totals.families() if metric is metric_list.EMITTED for labels, _ in samples
    }
    assert len(told) == MAX_PLACES
    assert {"q0", "new"} <= told
    assert "q1" not in told


def test_a_device_that_only_sends_a_query_s_bytes_tells_nothing_of_its_items():
    totals = Totals()
    totals.take([types_pb2.QueryWindow(query_id="q1", bytes_sent=10)], [])
    assert set(read(page(totals.families()))) == {"circinus_agent_sent_bytes_total"}


def test_only_people_may_read_a_box_s_figures_from_elsewhere():
    admit(Guest(bearer="", names=("circinus:person/alex/x",), certificate=b"x", peer="x"))
    with pytest.raises(NotAllowed, match="for people"):
        admit(Guest(bearer="x", names=("camera", "circinus:device/camera/x"), certificate=b"x", peer="x"))


def test_an_address_that_can_t_be_is_said_with_its_key():
    with pytest.raises(InvalidInput, match="metrics_listen"):
        parse_config(f'{HEAD}state_dir = "x"\nmetrics_listen = "7480"\n')


def test_a_certificate_that_ends_or_can_t_be_renewed_is_told():
    ends_at = datetime(2026, 5, 1, tzinfo=UTC)
    identity = SimpleNamespace(certificate_ends_at=ends_at, certificate_trouble="the planner says no")
    parts = SimpleNamespace(
        identity=identity,
        link=SimpleNamespace(connected=False),
        ledger=SimpleNamespace(newest=None),
        outbox=SimpleNamespace(waiting=(3, 1_000), dropped=2),
    )
    found = read(page(AgentPage(parts, Totals(), EventCounts(), 0.0)._planner()))
    assert found["circinus_agent_certificate_end_seconds"] == {(): ends_at.timestamp()}
    assert found["circinus_agent_certificate_trouble"] == {(): 1}
    assert found["circinus_agent_outbox_messages"] == {(): 3}
    assert found["circinus_agent_outbox_dropped_total"] == {(): 2}
    identity.certificate_ends_at = None
    assert "circinus_agent_certificate_end_seconds" not in read(
        page(AgentPage(parts, Totals(), EventCounts(), 0.0)._planner())
    )
