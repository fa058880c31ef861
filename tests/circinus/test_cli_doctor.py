"""`circinus doctor`: what is wrong with a fleet, with its cure, and the exit code that says so."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import circinus
from circinus.cli.doctor import diagnoses
from circinus.cli.main import main
from circinus.model.device import Device, Environment, Tier
from circinus.model.diagnosis import Grade
from circinus.model.query import Query, Slo
from circinus.reports import DeviceState, PlannerStatus, QueryPhase, QueryState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STATUS = PlannerStatus(
    version=circinus.__version__,
    epoch=1,
    generation=3,
    activity="",
    devices_connected=1,
    devices_known=1,
    queries_placed=1,
    queries_unplaced=0,
    queries_pending=0,
    started_at=NOW,
)
BOX = Device(
    id="camera-1",
    tier=Tier.EDGE,
    site="shop",
    device_class="fast",
    cpu_model="cpu",
    logical_cores=2,
    max_frequency_mhz=0.0,
    cpu_flags=(),
    cores=2.0,
    memory_bytes=2**30,
    disk_free_bytes=2**30,
    accelerators=(),
    links=(),
    price_per_h=0.0,
    speed_ratio=1.0,
    environments=(),
    data_address="",
    agent_version=circinus.__version__,
)
DEVICE = DeviceState(
    device=BOX,
    connected=True,
    accepted_generation=3,
    active_generation=3,
    generation_phase="drained",
    reason="",
    last_seen_at=NOW,
    pids={},
)
QUERY = QueryState(
    query=Query(id="q", pipeline_id="p", content="c", source_device_id="camera-1", rate_per_s=1.0, slo=Slo()),
    phase=QueryPhase.PLACED,
    reason="",
    plan=None,
    generation=3,
    serving=True,
)


def found(status=STATUS, devices=(DEVICE,), queries=(QUERY,)):
    return [one for one in diagnoses(status, devices, queries, now=NOW) if one.grade is not Grade.OK]


def test_a_sound_fleet_has_no_fault():
    assert found() == []


def test_each_fault_is_told_with_its_cure():
    bad = Environment(digest="sha256:e", ready=False, reason="libtesseract is missing: apt-get install tesseract-ocr")
    cases = (
        found(replace(STATUS, activity="stuck: no solver")),
        found(replace(STATUS, version="0.0.1")),
        found(devices=()),
        found(devices=(replace(DEVICE, connected=False),)),
        found(devices=(replace(DEVICE, generation_phase="failed", reason="it died"),)),
        found(devices=(replace(DEVICE, device=replace(BOX, environments=(bad,))),)),
        found(devices=(replace(DEVICE, device=replace(BOX, agent_version="0.0.1")),)),
        found(queries=(replace(QUERY, phase=QueryPhase.UNPLACED, reason="no room"),)),
        found(queries=(replace(QUERY, serving=False),)),
    )
    assert all(faults and all(one.cure for one in faults) for faults in cases)
    assert [one.grade for one in cases[0]] == [Grade.FAILED]
    assert cases[7][0].cure == "circinus explain q"


def test_without_a_planner_it_says_so_and_fails(capsys, monkeypatch):
    monkeypatch.setenv("CIRCINUS_INSECURE_LOOPBACK", "1")
    assert main(["doctor", "--planner", "127.0.0.1:1", "-o", "json"]) == 1
    (said,) = json.loads(capsys.readouterr().out)
    assert said["subject"] == "planner"
    assert "cloud-planner run" in said["cure"]
