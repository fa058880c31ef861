from __future__ import annotations

import pytest

from circinus.errors import InvalidInput
from edge_agent.config import parse_config
from edge_agent.fingerprint.device import take_fingerprint

HEAD = 'device_id = "box"\nstate_dir = "/nonexistent"\ntier = "edge"\n'


def test_every_key_is_read():
    keys = """[fingerprint]
period_min = 1
calibrate = false
speed_score = 1.5
cpu_model = "Board 9"
accelerators = false
accelerator_slots = 3
plug_ins = false
measure_links = false
burst_hours = 12
burst_kib = 0
"""
    config = parse_config(HEAD + keys)
    settings = config.fingerprint
    assert (settings.period_s, settings.slots, settings.burst_s, settings.burst_bytes) == (60.0, 3, 43_200.0, 0)
    assert (settings.calibrate, settings.accelerators, settings.plug_ins) == (False, False, False)
    device = take_fingerprint(config)
    assert (device.cpu_model, device.speed.score, device.accelerators) == ("Board 9", 1.5, ())
    assert device.device_class.startswith("board-9")
    assert "/s1/" in device.device_class
    assert set(device.overridden) == {
        "accelerators",
        "fingerprint.cpu_model",
        "fingerprint.speed_score",
        "fingerprint.accelerator_slots",
    }


@pytest.mark.parametrize(
    ("more", "measures"),
    [
        ("", True),
        ("insecure_loopback = true\n", False),
        ("[emulation]\nspeed_ratio = 0.5\n", False),
        ('[[accelerators]]\nkind = "cuda"\n', False),
        ("insecure_loopback = true\n[fingerprint]\ncalibrate = true\n", True),
    ],
)
def test_only_a_device_with_a_machine_of_its_own_measures_its_speed(more, measures):
    assert parse_config(HEAD + more).fingerprint.calibrate is measures


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("period_min = 0", "fingerprint.period_min"),
        ("speed_score = 0", "fingerprint.speed_score"),
        ("accelerator_slots = 0", "fingerprint.accelerator_slots"),
        ("burst_hours = 0.1", "fingerprint.burst_hours"),
        ("burst_kib = -1", "fingerprint.burst_kib"),
        ('calibrate = "yes"', "fingerprint.calibrate"),
        ("nonsense = 1", "fingerprint.nonsense"),
    ],
)
def test_a_wrong_key_is_named(line, key):
    with pytest.raises(InvalidInput) as caught:
        parse_config(f"{HEAD}[fingerprint]\n{line}\n")
    assert [violation.field for violation in caught.value.violations] == [key]
