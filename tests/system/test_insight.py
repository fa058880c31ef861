"""Metrics of planner and agent, and one trace over two devices, from real daemons to a real receiver."""

import asyncio
import re
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from circinus.local_fleet import LocalFleet
from circinus.model.query import Query, Slo

# The receiver is the agent's own tests'.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "agent_serving"))
from otlp_receiver import attributes_of, receiving

pytestmark = [pytest.mark.slow, pytest.mark.system]

TOY = Path(__file__).parent / "toy"
CAMERA = """
device_id = "camera-1"
tier = "edge"
site = "shop-1"
data_listen = ""
cores = 1.0
metrics_listen = "127.0.0.1:0"
[[links]]
peer = "cloud-1"
"""
CLOUD = """
device_id = "cloud-1"
tier = "cloud"
site = "cloud"
cores = 4.0
metrics_listen = "127.0.0.1:0"
[[links]]
peer = "camera-1"
"""
TRACES = '[traces]\nendpoint = "{}"\nratio = {}\n'
#: Each step, in order, each one's parent the one before it, and who tells of it.
STEPS = {
    "item right": "camera-1",
    "hop prepare": "cloud-1",
    "queue prepare": "cloud-1",
    "operator prepare": "cloud-1",
    "queue read": "cloud-1",
    "operator read": "cloud-1",
    "outcome": "camera-1",
}


async def scrape(address):
    """The samples of a page by name, as {labels: value}."""
    reader, writer = await asyncio.open_connection(*address.split(":"))
    writer.write(f"GET /metrics HTTP/1.1\r\nHost: {address}\r\nAccept: */*\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert head.startswith(b"HTTP/1.1 200 "), head
    found = {}
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


async def until(condition, seconds=90.0):
    """Waits for what another process does."""
    async with asyncio.timeout(seconds):
        while not (value := await condition()):  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.2)
        return value


async def test_an_item_is_one_trace_over_two_devices_and_both_daemons_can_be_scraped(tmp_path):
    async with receiving() as collector:
        agents = {
            "camera-1": CAMERA + TRACES.format(collector.address, 0.5),
            # It begins no traces, and tells of those that come by.
            "cloud-1": CLOUD + TRACES.format(collector.address, 0),
        }
        flags = ("--metrics-listen", "127.0.0.1:0", "--no-dashboard")
        async with LocalFleet(tmp_path / "fleet", agents, planner_flags=flags) as fleet, fleet.client() as client:
            await until(lambda: connected(client))
            await client.add_pipeline(TOY)
            await client.submit((QUERY,))
            trace = await until(lambda: whole_trace(collector))
            planner = (tmp_path / "fleet" / "planner" / "metrics-address").read_text().strip()
            page = await until(lambda: with_outcomes(planner))
            camera, cloud = [await scrape(listens_at(fleet.log(name))) for name in ("camera-1", "cloud-1")]

    spans = {span.name: (device, span) for device, span in trace}
    assert {name: device for name, (device, _) in spans.items()} == STEPS
    ids = {span.span_id: name for name, (_, span) in spans.items()}
    parents = {name: ids.get(span.parent_span_id) for name, (_, span) in spans.items()}
    assert parents == dict(zip(STEPS, [None, *STEPS], strict=False))
    # One machine, one clock: each step begins where the one before it ended, or later.
    ends = {name: span.end_time_unix_nano for name, (_, span) in spans.items()}
    assert ends["hop prepare"] <= ends["operator prepare"] < ends["operator read"] < ends["outcome"]
    assert spans["outcome"][1].start_time_unix_nano == ends["operator read"]
    whole = attributes_of(spans["item right"][1])
    assert whole["circinus.query"] == "right"
    # Whoever else is on this machine may make it late.
    assert whole["circinus.ending"] in ("answered", "late")

    assert page["circinus_planner_devices"]["connected",] == 2
    assert page["circinus_planner_queries"]["placed",] == 1
    assert page["circinus_planner_generation"][()] >= 1
    assert page["circinus_query_info"]["right", "toy", "camera-1"] == 1
    assert set(page["circinus_query_items_ended_total"]) == {("right", one) for one in OUTCOMES}
    assert page["circinus_planner_directives_total"]["accepted",] >= 1
    assert page["circinus_operator_items_total"]["toy", "read"] >= 1
    assert sum(camera["circinus_agent_items_ended_total"].values()) >= 1
    assert camera["circinus_agent_planner_connected"][()] == 1
    assert camera["circinus_agent_link_up"]["cloud-1",] == 1
    assert cloud["circinus_agent_operator_items_total"]["right", "read"] >= 1
    assert cloud["circinus_agent_hop_seconds_count"]["camera-1",] >= 1
    assert cloud["circinus_agent_spans_total"]["sent",] >= 1
    # Only the query's source knows how its items ended.
    assert "circinus_agent_items_ended_total" not in cloud


OUTCOMES = ("answered", "late", "dropped", "failed")
QUERY = Query(
    id="right",
    pipeline_id="toy",
    content="plain",
    source_device_id="camera-1",
    rate_per_s=5.0,
    # Whoever else is on this machine may take its time.
    slo=Slo(latency_ms=5_000.0),
    selector="tier=cloud",
)


async def connected(client):
    return (await client.status()).devices_connected == 2


async def whole_trace(collector):
    """A trace of which every step came; None: there is none yet."""
    return next((one for one in collector.traces().values() if {span.name for _, span in one} == STEPS.keys()), None)


async def with_outcomes(address):
    page = await scrape(address)
    told = page.get("circinus_query_items_ended_total", {}), page.get("circinus_operator_items_total", {})
    return page if sum(told[0].values()) >= 5 and ("toy", "read") in told[1] else None


def listens_at(log):
    return re.search(r"metrics_listen address=(\S+)", log)[1]
