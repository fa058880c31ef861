"""The inventory: defaults and own keys, every mistake at once, selectors."""

import tomllib

import pytest

from scripts.provisioning.inventory import BadInventory, Selector, load_inventory, toml_value

TEXT = """
[planner]
address = "10.0.0.1:7400"

[defaults]
user = "ops"
bundle = "b.tar"
labels = { zone = "north" }

[defaults.variables]
price_per_h = 0.04

[hosts.shop-1]
address = "10.0.1.2"

[hosts.shop-2]
address = "10.0.1.3"
device = "counter"
ring = 1
port = 2222
labels = { zone = "south", kind = "till" }
variables = { cores = 2.0 }
"""


@pytest.fixture
def read(tmp_path):
    def load(text):
        path = tmp_path / "fleet.toml"
        path.write_text(text)
        return load_inventory(path)

    return load


def test_a_host_has_the_defaults_and_its_own_keys_over_them(read, tmp_path):
    first, second = read(TEXT).hosts
    assert (first.device, first.user, first.port, first.ring) == ("shop-1", "ops", 22, 0)
    assert (second.device, second.user, second.port, second.ring) == ("counter", "ops", 2222, 1)
    assert first.bundle == str(tmp_path / "b.tar")
    assert second.labels == {"zone": "south", "kind": "till"}
    assert second.variables == {"price_per_h": 0.04, "cores": 2.0}


def test_all_that_is_wrong_is_told_at_once(read):
    with pytest.raises(BadInventory) as caught:
        read(
            '[planner]\naddress = "nowhere"\n[defaults]\ncolour = "red"\ntier = "fog"\n'
            '[hosts."-x"]\naddress = "-oProxyCommand=sh"\n[hosts.b]\nlabels = { zone = "a b" }\n'
            'variables = { planner = "x" }\nport = 0\n'
        )
    said = str(caught.value)
    for part in (
        "planner.address",
        "colour",
        "hosts.b.tier",
        'hosts."-x"'.replace('"', ""),
        "address",
        "variables.planner",
        "labels.zone",
        "hosts.b.port",
    ):
        assert part in said


def test_two_hosts_of_one_device_are_refused(read):
    with pytest.raises(BadInventory, match="which shop-1 is too"):
        read(TEXT.replace('device = "counter"', 'device = "shop-1"'))


def test_an_inventory_without_hosts_is_refused(read):
    with pytest.raises(BadInventory, match="there is none"):
        read('[planner]\naddress = "10.0.0.1:7400"\n')


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        (Selector(), ["shop-1", "shop-2"]),
        (Selector(only=["shop-*"]), ["shop-1", "shop-2"]),
        (Selector(only=["counter"]), ["shop-2"]),
        (Selector(rings=[0]), ["shop-1"]),
        (Selector(labels={"zone": "south"}), ["shop-2"]),
        (Selector(only=["shop-1"], labels={"zone": "south"}), []),
    ],
)
def test_a_selector_means_hosts_for_which_all_of_it_holds(read, selector, names):
    assert [host.name for host in read(TEXT).hosts if selector.takes(host)] == names


@pytest.mark.parametrize(
    "value",
    ['a "b" \\ c\t\x7fé', 3, 0.25, True, ["x", 1], {"peer": "cloud-1", "rtt_ms": 2.5}, [{"a": [1]}, {"b": "c"}]],
)
def test_a_variable_is_the_same_in_the_agents_configuration(value):
    assert tomllib.loads(f"key = {toml_value(value)}") == {"key": value}


def test_another_wish_is_another_digest(read):
    first = read(TEXT).hosts[0].digest()
    assert read(TEXT).hosts[0].digest() == first
    assert read(TEXT.replace("0.04", "0.05")).hosts[0].digest() != first
