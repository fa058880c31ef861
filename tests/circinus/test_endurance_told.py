"""What people are told of lost telemetry and of troubles, and that the page about endurance has the code's figures."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from circinus.gap_reports import gaps_from_messages, gaps_summary
from circinus.reports import device_state_from_message, ledger_entry_from_message
from circinus.retry import MAX_RECONNECT_S
from circinus.v1 import control_pb2, planner_pb2, types_pb2
from edge_agent.disk_guard import RESERVE_BYTES
from edge_agent.measuring import LONGER_S
from edge_agent.outbox_queue import Limits

TEXT = (Path(__file__).parents[2] / "docs/endurance.md").read_text()
BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MIB = 1024 * 1024


def a_gap(cause: str, lasted_s: float, emitted: int = 0) -> control_pb2.TelemetryGap:
    gap = control_pb2.TelemetryGap(query_id="q", generation=3, cause=cause, messages=2, emitted=emitted)
    gap.start.FromDatetime(BEGAN)
    gap.end.FromDatetime(BEGAN + timedelta(seconds=lasted_s))
    return gap


def test_a_ledger_entry_says_what_it_lacks() -> None:
    message = planner_pb2.LedgerEntry(query_id="q", gaps=[a_gap("number", 60.0, 1_200), a_gap("restart", 5.0)])
    entry = ledger_entry_from_message(message)
    assert [gap.cause for gap in entry.gaps] == ["number", "restart"]
    summary = gaps_summary(entry.gaps)
    assert "65 s is missing (number, restart)" in summary
    assert "1,200 items" in summary
    assert "items" not in gaps_summary(gaps_from_messages([a_gap("restart", 5.0)]))


def test_a_device_s_troubles_are_in_its_state() -> None:
    fingerprint = types_pb2.Fingerprint(
        device_id="box",
        tier=types_pb2.TIER_EDGE,
        site="s",
        device_class="c",
        cores=1.0,
        memory_bytes=1,
        speed_ratio=1.0,
    )
    message = planner_pb2.DeviceState(fingerprint=fingerprint, troubles=["disk: no space left"])
    assert device_state_from_message(message).troubles == ("disk: no space left",)


def test_the_page_s_figures_are_those_of_the_code() -> None:
    limits = Limits()
    assert f"{limits.telemetry:,} messages and {limits.telemetry_bytes // MIB} MiB of telemetry" in TEXT
    assert f"last {limits.age_s / 86_400:g} days" in TEXT
    assert f"{limits.promised:,} results and {limits.promised_bytes // MIB} MiB of them" in TEXT
    assert f"in memory ({limits.memory_bytes // MIB} MiB)" in TEXT
    assert f"reserve of {RESERVE_BYTES // MIB} MiB" in TEXT
    assert f"full jitter, {MAX_RECONNECT_S:g} s at most" in TEXT
    assert LONGER_S == ((86_400.0, 60.0), (600.0, 10.0))
    assert "10 s after ten minutes, a minute after a day" in TEXT
