from __future__ import annotations

import sys

import pytest

from edge_agent.fingerprint import kernels
from edge_agent.fingerprint.calibration import bucket, calibrate, hardware_identity
from edge_agent.fingerprint.cpu import CpuFacts
from edge_agent.fingerprint.device import derive_class

CPU = CpuFacts(model="Box", variant="1", flags=("avx2",), logical_cores=4, usable_cores=4.0, max_frequency_mhz=0.0)


def says(text):
    return ("sh", "-c", f"printf '%s\\n' '{text}'")


STEADY = says('{"integer": 2.0, "float": 4.0, "memory": 1.0, "steady_ratio": 0.95}')
UNSTEADY = says('{"integer": 2.0, "float": 4.0, "memory": 1.0, "steady_ratio": 0.5}')
BROKEN = ("false",)


def test_a_steady_score_is_kept_for_the_same_hardware(tmp_path):
    found = calibrate(tmp_path, "a", command=STEADY, quiet=False)
    assert (found.speed.score, found.speed.float_score, found.steady) == (2.0, 4.0, True)
    assert calibrate(tmp_path, "a", command=BROKEN) == found
    assert calibrate(tmp_path, "b", command=BROKEN, quiet=False) is None


def test_a_disturbed_score_is_told_and_measured_again(tmp_path):
    found = calibrate(tmp_path, "a", command=UNSTEADY, quiet=False)
    assert (found.speed.score, found.steady) == (2.0, False)
    assert calibrate(tmp_path, "a", command=STEADY, quiet=False).steady
    assert calibrate(tmp_path, "a", command=BROKEN, quiet=False).steady


def test_a_box_that_is_always_busy_is_not_measured_for_ever(tmp_path):
    slower = says('{"integer": 1.0, "float": 1.0, "memory": 1.0, "steady_ratio": 0.5}')
    for command in (slower, UNSTEADY, slower):
        calibrate(tmp_path, "a", command=command, quiet=False)
    found = calibrate(tmp_path, "a", command=STEADY, quiet=False)
    assert (found.speed.score, found.steady) == (2.0, False)  # the one that was disturbed least
    assert calibrate(tmp_path, "other hardware", command=STEADY, quiet=False).steady


def test_a_child_that_always_fails_does_not_hold_up_every_start(tmp_path):
    for _ in range(3):
        assert calibrate(tmp_path, "a", command=BROKEN, quiet=False) is None
    assert calibrate(tmp_path, "a", command=STEADY, quiet=False) is None


@pytest.mark.parametrize(
    "command",
    [
        BROKEN,
        says("nothing"),
        says('{"integer": 2.0}'),
        says('{"integer": 0, "float": 1, "memory": 1, "steady_ratio": 1}'),
        says('{"integer": NaN, "float": 1, "memory": 1, "steady_ratio": 1}'),
        ("/nonexistent",),
    ],
)
def test_a_score_that_can_not_be_measured_is_unknown(tmp_path, command):
    assert calibrate(tmp_path, "a", command=command, quiet=False) is None


def test_a_child_that_hangs_is_ended(tmp_path):
    assert calibrate(tmp_path, "a", command=("sleep", "60"), timeout_s=0.2, quiet=False) is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"hardware": "a"}', '{"hardware": "a", "score": "x"}', '{"score": 1}']
)
def test_a_file_that_is_none_is_measured_anew(tmp_path, text):
    (tmp_path / "speed.json").write_text(text)
    assert calibrate(tmp_path, "a", command=STEADY, quiet=False).steady


def test_a_folder_that_takes_nothing_does_not_keep_the_score_from_being_told(tmp_path):
    place = tmp_path / "file"
    place.touch()
    assert calibrate(place, "a", command=STEADY, quiet=False).speed.score == 2.0


def test_hardware_is_another_with_another_governor(tmp_path):
    here = hardware_identity(CPU, tmp_path, tmp_path)
    assert hardware_identity(CPU, tmp_path, tmp_path) == here
    governor = tmp_path / "devices/system/cpu/cpu0/cpufreq/scaling_governor"
    governor.parent.mkdir(parents=True)
    governor.write_text("powersave")
    assert hardware_identity(CPU, tmp_path, tmp_path) != here


def test_a_steady_score_is_in_the_class_in_coarse_steps():
    assert [bucket(score) for score in (0.5, 0.95, 1.0, 1.1, 1.42, 2.0)] == [-2, 0, 0, 0, 1, 2]
    assert derive_class(CPU, (), 1.0, 1.05) == derive_class(CPU, (), 1.0, 0.95)
    assert "/s2/" in derive_class(CPU, (), 1.0, 2.0)
    assert "/s" not in derive_class(CPU, (), 1.0, None)


def test_flags_and_cores_are_in_the_class():
    from dataclasses import replace

    names = {
        derive_class(replace(CPU, **more), (), 1.0) for more in ({}, {"logical_cores": 8}, {"flags": ("avx2", "fma")})
    }
    assert len(names) == 3


@pytest.mark.slow
def test_the_kernels_give_speeds():
    speeds, steady_ratio = kernels.measure(total_s=0.05)
    assert set(speeds) == {"integer", "float", "memory"}
    assert all(speed > 0.0 for speed in speeds.values())
    assert 0.0 < steady_ratio <= 1.0


@pytest.mark.slow
def test_the_child_measures_this_machine(tmp_path):
    found = calibrate(tmp_path, "a", command=(sys.executable, "-m", "edge_agent.fingerprint.kernels_child"))
    assert found.speed.score > 0.0
