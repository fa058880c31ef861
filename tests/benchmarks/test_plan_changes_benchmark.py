"""A change of plans with real processes: one outcome for each item, and never over capacity."""

import gc
import sys
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def bench(monkeypatch):
    """The benchmark, with little load and short waits."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        module = __import__("plan_changes")
        monkeypatch.setattr(module, "QUERIES", 2)
        monkeypatch.setattr(module, "STEADY_S", 0.5)
        # Boxes that hold one query each, so that two that change places have to go around or to pause.
        monkeypatch.setattr(module, "DEVICES", {"camera": 1.0, "box-1": 0.5, "box-2": 0.5})
        yield module
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


@pytest.mark.slow
async def test_a_change_on_full_boxes_loses_no_item_and_fits_at_every_step(bench, tmp_path):
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    found = await bench.run(2, tmp_path / "fleet")
    assert set(found["outcomes_of_an_item"]) == {1}
    assert found["answered_twice"] == 0
    assert found["directed_most_of_capacity"] <= 1.0
    assert max(found["running_most_of_capacity"].values()) <= 1.0
    assert sum(steps for _, steps in found["seconds_and_steps"]) > 2
    gc.collect()
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before
