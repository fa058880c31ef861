"""The planner's page for Prometheus: what it says of a fleet, and how many series it has at most."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest
from planner_fleet import FakeAgent, FirstFit, device, query, serving, settings
from prometheus_client.parser import text_string_to_metric_families

from circinus.event_counts import EventCounts
from circinus.exposition import page
from circinus.model.device import DeviceId
from circinus.sketch import Sketch
from circinus.v1 import control_pb2, types_pb2
from cloud_planner.daemon import METRICS_ADDRESS_FILE
from cloud_planner.identity.rows import EnrolmentRecord
from cloud_planner.metrics import metric_list
from cloud_planner.metrics.planner_page import PlannerPage, _certificates

CAMERA = DeviceId("camera")


def read(text):
    """The samples of a page by name, as {labels: value}; each is of a metric in the list, with its labels."""
    known = {metric.name: metric for metric in metric_list.METRICS}
    found = {}
    for family in text_string_to_metric_families(text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        assert (family.type, family.documentation) == (known[name].kind, known[name].text)
        for sample in family.samples:
            assert tuple(sample.labels) == known[name].labels
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


def telemetry(sequence, query_id="q1", *, answered=9, late=1, dropped=0):
    window = types_pb2.QueryWindow(
        query_id=query_id,
        duration_s=1.0,
        emitted=answered + late + dropped,
        answered=answered,
        late=late,
        dropped_by_cause={"queue_full": dropped} if dropped else {},
        latency_ms=Sketch([40.0] * (answered + late)).message(),
    )
    operator = types_pb2.OperatorWindow(
        query_id=query_id,
        operator_id="read",
        duration_s=1.0,
        items=answered,
        service_ms_sum=20.0 * answered,
        queue_ms_sum=5.0 * answered,
        cpu_ms_sum=10.0 * answered,
    )
    for one in (window, operator):
        one.start.FromSeconds(int(time.time()) - 2)
    return control_pb2.Telemetry(sequence=sequence, queries=[window], operators=[operator])


async def scrape(address):
    reader, writer = await asyncio.open_connection(*address.split(":"))
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost:1\r\n\r\n")
    body = (await reader.read()).partition(b"\r\n\r\n")[2]
    writer.close()
    return read(body.decode())


async def until(condition):
    async with asyncio.timeout(15.0):
        while not (found := await condition()):  # noqa: ASYNC110 - the planner changes it
            await asyncio.sleep(0.02)
        return found


@pytest.mark.slow
async def test_a_fleet_s_figures_are_on_the_page(tmp_path):
    how = settings(tmp_path, metrics_listen="127.0.0.1:0")
    async with serving(how, FirstFit()) as (people, parts), FakeAgent(people.address, device("camera")) as agent:
        address = (tmp_path / "state" / METRICS_ADDRESS_FILE).read_text().strip()
        await people.add_pipeline()
        await people.submit(query(latency_ms=100.0))
        await people.settled()
        # Before anything is heard of it that could be a reason to plan anew.
        planned = await scrape(address)
        for _ in range(2):
            # As an agent sends again what was not acknowledged.
            await agent.send(telemetry=telemetry(1))
        await agent.send(telemetry=telemetry(2, dropped=5))
        await until(lambda: came(address, 18))
        pages = [PlannerPage(parts, parts.totals, EventCounts(), most_queries=10)]
        await pages[0].look()
        worked_out = read(page(pages[0].families()))
        found = await scrape(address)
    assert planned["circinus_planner_devices"] == {("connected",): 1, ("away",): 0}
    assert planned["circinus_planner_queries"]["placed",] == 1
    assert planned["circinus_planner_goodput_planned_per_second"][()] == 2
    assert planned["circinus_planner_directives_total"] == {("sent",): 1, ("accepted",): 1, ("refused",): 0}
    assert planned["circinus_planner_devices_of_generation"] == {("wanted",): 1, ("accepted",): 1, ("active",): 1}
    assert planned["circinus_planner_plannings_total"][()] >= 1
    assert planned["circinus_planner_profile_runs_ended_total"]["finished",] >= 1
    assert planned["circinus_query_info"] == {("q1", "words", "camera"): 1}
    outcomes = {outcome: count for (_, outcome), count in found["circinus_query_items_ended_total"].items()}
    assert outcomes == {"answered": 18, "late": 2, "dropped": 5, "failed": 0}
    assert found["circinus_operator_service_seconds_total"]["words", "read"] == pytest.approx(0.36)
    assert found["circinus_query_slo_latency_seconds"]["q1",] == pytest.approx(0.1)
    assert found["circinus_planner_memory_bytes"][()] > 1_000_000
    assert found["circinus_metrics_cut"] == {(): 0}
    assert worked_out["circinus_query_slo_attainment_ratio"]["q1", "1h"] == pytest.approx(18 / 25)
    # 5% may be bad, 28% were.
    assert worked_out["circinus_query_burn_rate_ratio"]["q1", "5m"] == pytest.approx(0.28 / 0.05)
    assert worked_out["circinus_query_error_budget_ratio"]["q1",] == pytest.approx(1 - 0.28 / 0.05)
    assert worked_out["circinus_planner_queries_by_budget"]["burning",] == 1
    assert worked_out["circinus_query_latency_seconds"]["q1", "0.95"] == pytest.approx(0.04, rel=0.02)


async def came(address, answered):
    return (await scrape(address)).get("circinus_query_items_ended_total", {}).get(("q1", "answered")) == answered


@pytest.mark.slow
async def test_of_many_queries_those_that_fare_worst_have_series_of_their_own(tmp_path):
    async with (
        serving(settings(tmp_path), FirstFit()) as (people, parts),
        FakeAgent(people.address, device("camera")),
    ):
        await people.add_pipeline()
        names = [f"q{number}" for number in range(8)]
        await people.submit(*(query(name, latency_ms=100.0) for name in names), query("never", accuracy_ratio=0.99))
        await people.settled()
        for name, late in (("q5", 3), ("q6", 9)):
            parts.recent.put(CAMERA, telemetry(len(name) + late, name, answered=10 - late, late=late))
        made = PlannerPage(parts, parts.totals, EventCounts(), most_queries=4)
        await made.look()
        found = read(page(made.families()))
        everything = PlannerPage(parts, parts.totals, EventCounts(), most_queries=100)
        nothing = PlannerPage(parts, parts.totals, EventCounts(), most_queries=0)
        whole, none = read(page(everything.families())), read(page(nothing.families()))
    # Without a plan; then the fastest burning; then the same ones each time.
    assert [name for (name,) in found["circinus_query_placed"]] == ["never", "q6", "q5", "q0"]
    assert found["circinus_planner_metrics_queries_left_out"] == {(): 5}
    assert found["circinus_planner_queries"]["placed",] == 8
    assert [name for (name,) in whole["circinus_query_placed"]] == [*names, "never"]
    assert not [name for name in none if name.startswith("circinus_query_")]
    assert none["circinus_planner_metrics_queries_left_out"] == {(): 9}


@pytest.mark.slow
async def test_nothing_is_added_up_while_nobody_can_ask(tmp_path):
    async with serving(settings(tmp_path), FirstFit()) as (_, parts):
        parts.totals.put(CAMERA, telemetry(1))
        assert (parts.totals.on, parts.totals.messages) == (False, 0)
        assert not (tmp_path / "state" / METRICS_ADDRESS_FILE).exists()


def test_certificates_are_told_by_how_they_stand():
    now = datetime(2026, 5, 1, tzinfo=UTC)
    common = {"lineage": "x", "device_id": CAMERA, "serial": "1", "enrolled_at": now}
    standing = [
        EnrolmentRecord(**common, ends_at=now + timedelta(hours=1)),
        EnrolmentRecord(**common, ends_at=now - timedelta(hours=1)),
        EnrolmentRecord(**common, ends_at=now - timedelta(hours=1), revoked_at=now),
    ]
    assert _certificates(standing, now) == {"good": 1, "over": 1, "revoked": 1}
