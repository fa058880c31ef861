from __future__ import annotations

import dataclasses

from test_wire_fingerprint import DEVICE

from circinus.cli.device_facts import accelerator_text, measured_facts


def test_what_was_measured_is_told_in_words():
    facts = measured_facts(DEVICE)
    assert ("speed score", "0.7 (integer 0.5, float 1, memory 0.69)") in facts
    assert ("limits", "2 cores by cgroup, 4.0 GiB by cgroup, 3 cores by affinity") in facts
    assert ("condition", "-5 C, battery, battery at 0%") in facts
    assert ("to the planner", "round trip 12 ms, 5 Mbit/s") in facts
    assert ("unknown", "nvidia: NVML did not answer") in facts
    assert ("as configured", "cores, fingerprint.speed_score") in facts


def test_what_nobody_knows_is_left_out():
    bare = dataclasses.replace(
        DEVICE, speed=None, condition=None, limits=None, planner_rtt_ms=0.0, unknown=(), overridden=(), platform=""
    )
    assert measured_facts(bare) == []


def test_an_accelerator_says_whose_memory_it_has():
    shared, card = DEVICE.accelerators
    assert accelerator_text(shared).endswith("of the device's")
    assert "memory unknown" in accelerator_text(dataclasses.replace(card, memory_bytes=0))
