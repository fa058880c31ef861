from __future__ import annotations

import pytest

from circinus.model.device import Condition
from edge_agent.fingerprint.condition import read_condition


def write(root, **files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


def test_a_machine_that_tells_nothing_has_no_condition(tmp_path):
    assert read_condition(tmp_path) is None
    assert read_condition(tmp_path, accelerator_throttled=True) == Condition(throttled=True)


def test_the_hottest_sane_sensor_counts(tmp_path):
    files = {f"class/thermal/thermal_zone{n}/temp": t for n, t in enumerate(["45000", "-40000", "127000", "x", "0"])}
    write(tmp_path, **files, **{"class/hwmon/hwmon0/temp1_input": "61500"})
    assert read_condition(tmp_path) == Condition(hottest_celsius=61.5)


@pytest.mark.parametrize(("state", "throttled"), [("0", False), ("2", True), ("x", None)])
def test_the_kernel_slows_the_cpu_down_and_fans_do_not_count(tmp_path, state, throttled):
    cooling = "class/thermal/cooling_device"
    write(tmp_path, **{f"{cooling}0/type": "Processor", f"{cooling}0/cur_state": state})
    write(tmp_path, **{f"{cooling}1/type": "pwm-fan", f"{cooling}1/cur_state": "3"})
    found = read_condition(tmp_path)
    assert (found.throttled if found else None) is throttled


def test_the_raspberry_says_what_is_now_and_what_was(tmp_path):
    file = "devices/platform/soc/soc:firmware/get_throttled"
    write(tmp_path, **{file: "50000"})
    assert read_condition(tmp_path).throttled is False
    write(tmp_path, **{file: "50005"})
    assert read_condition(tmp_path).throttled is True


def test_mains_and_battery_are_told_apart(tmp_path):
    supply = "class/power_supply"
    write(tmp_path, **{f"{supply}/AC/type": "Mains", f"{supply}/AC/online": "1"})
    assert read_condition(tmp_path).supply == "mains"
    write(tmp_path, **{f"{supply}/BAT0/type": "Battery", f"{supply}/BAT0/capacity": "40"})
    assert read_condition(tmp_path) == Condition(supply="mains", battery_ratio=0.4)
    write(tmp_path, **{f"{supply}/AC/online": "0", f"{supply}/BAT0/status": "Discharging"})
    assert read_condition(tmp_path).supply == "battery"


def test_the_battery_of_a_mouse_is_not_the_devices(tmp_path):
    mouse = "class/power_supply/mouse"
    write(tmp_path, **{f"{mouse}/type": "Battery", f"{mouse}/capacity": "5", f"{mouse}/scope": "Device"})
    assert read_condition(tmp_path) is None
