from __future__ import annotations

from pathlib import Path

import pytest

from circinus.errors import InvalidInput
from circinus.model.device import Tier
from circinus.model.policy import Policy
from edge_agent.config import load_config, parse_config

FULL = """
device_id = "camera-1"
planner = "127.0.0.1:7400"
state_dir = "state"
tier = "edge"
site = "hall"
data_listen = ""
price_per_h = 0.02
cores = 1.5
memory_bytes = 1073741824
device_class = "pi5/asimd/x1"

[emulation]
speed_ratio = 0.25

[[links]]
peer = "cloud"
bandwidth_mbit_per_s = 20
rtt_ms = 35.5
price_per_gb = 0.09
emulated = true

[[accelerators]]
kind = "cuda"
slots = 2
memory_bytes = 8000000000
"""


def test_a_full_file_is_read(tmp_path):
    (tmp_path / "agent.toml").write_text(FULL)
    config = load_config(tmp_path / "agent.toml")
    assert config.device_id == "camera-1"
    assert config.state_dir == tmp_path / "state"
    assert config.tier is Tier.EDGE
    assert config.data_listen == ""
    assert config.speed_ratio == 0.25
    assert config.cores == 1.5
    (link,) = config.links
    assert (link.peer, link.bandwidth_bit_per_s, link.rtt_ms, link.emulated) == ("cloud", 20_000_000, 35.5, True)
    (accelerator,) = config.accelerators
    assert accelerator.emulated
    assert accelerator.slots == 2


def test_what_the_owner_allows_is_read():
    config = parse_config(
        'device_id = "a"\nstate_dir = "s"\ntier = "edge"\nplanner = "planner.example:7400"\n'
        '[policy]\nallowed_pipelines = ["door"]\nmax_cores = 1.5\nmax_memory_bytes = 1_000\n'
        'data_stays = ["door", "hall"]'
    )
    assert config.policy == Policy(
        allowed_pipelines=("door",), max_cores=1.5, max_memory_bytes=1_000, data_stays=("door", "hall")
    )
    assert not config.insecure_loopback
    assert config.enrol == "planner.example:7401"
    assert config.identity_dir == Path("s/identity")


def test_a_policy_that_is_wrong_is_named_whole():
    with pytest.raises(InvalidInput) as caught:
        parse_config(
            'device_id = "a"\nstate_dir = "s"\ntier = "edge"\nenrol = "nowhere"\ninsecure_loopback = 1\n'
            '[policy]\nallowed_pipelines = ["Door!"]\nmax_cores = -1\ndata_stays = "all"\nmax_disk = 3'
        )
    wrong = {violation.field for violation in caught.value.violations}
    assert wrong == {
        "enrol",
        "insecure_loopback",
        "policy.allowed_pipelines",
        "policy.max_cores",
        "policy.data_stays",
        "policy.max_disk",
    }


def test_little_is_needed():
    config = parse_config('device_id = "a"\nstate_dir = "s"\ntier = "cloud"')
    assert config.planner == "127.0.0.1:7400"
    assert config.cores is None
    assert config.speed_ratio == 1.0
    assert config.build_environments


def test_every_mistake_is_reported_at_once_with_its_key():
    text = """
device_id = "UPPER CASE"
tier = "moon"
planner = "nowhere"
data_listen = "127.0.0.1"
cores = 0
price_per_h = "much"
colour = "blue"
wheels = "no-such-folder"
[emulation]
speed_ratio = 2
speed = 1
[[links]]
rtt_ms = nan
[[links]]
peer = "x"
emulated = 1
[[links]]
peer = "x"
[[accelerators]]
slots = 0
"""
    with pytest.raises(InvalidInput) as caught:
        parse_config(text)
    fields = [violation.field for violation in caught.value.violations]
    assert sorted(fields) == sorted(
        [
            "device_id",
            "state_dir",
            "tier",
            "planner",
            "data_listen",
            "cores",
            "price_per_h",
            "colour",
            "wheels",
            "emulation.speed_ratio",
            "emulation.speed",
            "links[0].peer",
            "links[0].rtt_ms",
            "links[1].emulated",
            "links[2].peer",
            "accelerators[0].kind",
            "accelerators[0].slots",
        ]
    )


@pytest.mark.parametrize("text", ["not toml at all", 'links = 3\ndevice_id="a"\nstate_dir="s"\ntier="edge"'])
def test_what_is_no_configuration_is_refused(text):
    with pytest.raises(InvalidInput):
        parse_config(text)


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(InvalidInput, match=r"nowhere\.toml"):
        load_config(Path(tmp_path / "nowhere.toml"))


def test_peers_may_be_told_another_address_than_the_one_listened_on():
    text = 'device_id = "a"\nstate_dir = "s"\ntier = "edge"\n'
    assert parse_config(text).data_advertise == ""
    assert parse_config(text + 'data_advertise = "127.0.0.1:7"').data_advertise == "127.0.0.1:7"
    with pytest.raises(InvalidInput, match="data_advertise"):
        parse_config(text + 'data_advertise = "nowhere"')
