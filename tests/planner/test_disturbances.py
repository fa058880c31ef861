"""Profile runs disturb what is served on their device, and on all where devices share one machine."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from planner_fleet import device

from circinus.v1 import types_pb2
from cloud_planner.disturbances import MARGIN_S, Disturbances

START = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    def __init__(self):
        self.at_s = 0.0

    def now(self):
        return START + timedelta(seconds=self.at_s)


def window(start_s, duration_s=1.0):
    found = types_pb2.OperatorWindow(duration_s=duration_s)
    found.start.FromDatetime(START + timedelta(seconds=start_s))
    return found


@pytest.fixture
def clock():
    return Clock()


def of(clock, *devices):
    return Disturbances(SimpleNamespace(records=lambda: [SimpleNamespace(device=one) for one in devices]), clock)


def test_only_windows_in_which_a_run_went_on_are_disturbed(clock):
    found = of(clock, device("camera"))
    clock.at_s = 100.0
    found.begun("run", "camera")
    clock.at_s = 200.0
    assert found.in_window({"camera"}, window(150.0))
    found.ended("run")
    assert found.in_window({"camera"}, window(200.0 + MARGIN_S / 2))
    assert not found.in_window({"camera"}, window(200.0 + 2 * MARGIN_S))
    assert not found.in_window({"camera"}, window(100.0 - 1.5 * MARGIN_S - 1.0))
    assert not found.in_window({"other"}, window(150.0))


def test_emulated_devices_share_one_machine(clock):
    found = of(clock, device("camera"), replace(device("slow"), speed_ratio=0.5))
    found.begun("run", "camera")
    assert found.in_window({"slow"}, window(0.0))


def test_a_run_that_nobody_asked_for_disturbs_nothing(clock):
    found = of(clock, device("camera"))
    found.ended("run")
    assert not found.in_window({"camera"}, window(0.0))
