"""Sliders, and what they say is different."""

from dataclasses import replace
from urllib.parse import parse_qsl

import pytest
from planner_fleet import device

from circinus.errors import InvalidInput
from circinus.model.device import Tier
from circinus.model.query import Query, Slo
from circinus.model.what_if import AddDevices, Figure, RemoveDevice, SetPrice, SetRate, SetSlo, SetWeight, SloField
from cloud_planner.dashboard.what_if_form import address_of, changes_of, command_of, device_choices, read_form

DEVICES = (
    device("camera"),
    device("shed"),
    replace(device("vm"), tier=Tier.CLOUD, device_class="big", site="cloud", price_per_h=0.5),
)
QUERY = Query(
    id="gate",
    pipeline_id="words",
    content="plain",
    source_device_id="camera",
    rate_per_s=6.0,
    slo=Slo(latency_ms=300.0, accuracy_ratio=0.85),
)


def figure(value, *, factor=False):
    return Figure(value=value, factor=factor)


def form(**values):
    return read_form({"asked": "1", "latency_on": "1", "accuracy_on": "1", **values}, QUERY, DEVICES)


def changes(**values):
    return changes_of(form(**values), DEVICES)


def test_sliders_stand_where_things_are_and_say_nothing():
    assert not read_form({}, QUERY, DEVICES).changed
    assert changes_of(read_form({}, QUERY, DEVICES), DEVICES) == ()
    assert changes() == ()


def test_a_moved_slider_is_a_change_as_the_command_takes_it():
    assert changes(rate="9") == (SetRate(query="gate", rate_per_s=figure(9.0)),)
    assert changes(weight="2") == (SetWeight(query="gate", weight=figure(2.0)),)
    assert changes(latency="150") == (SetSlo(query="gate", field=SloField.LATENCY_MS, value=150.0),)
    assert changes(accuracy="0.9") == (SetSlo(query="gate", field=SloField.ACCURACY, value=0.9),)


def test_near_to_where_things_are_is_where_things_are():
    assert changes(rate="6.04") == ()


def test_a_bound_that_is_switched_off_is_no_bound_and_one_that_is_switched_on_is_new():
    off = read_form({"asked": "1", "accuracy_on": "1"}, QUERY, DEVICES)
    assert changes_of(off, DEVICES) == (SetSlo(query="gate", field=SloField.LATENCY_MS, value=None),)
    free = replace(QUERY, slo=Slo())
    assert not read_form({"asked": "1"}, free, DEVICES).changed
    on = read_form({"asked": "1", "latency_on": "1", "latency": "400"}, free, DEVICES)
    assert changes_of(on, DEVICES) == (SetSlo(query="gate", field=SloField.LATENCY_MS, value=400.0),)


def test_one_device_more_is_like_those_that_are_there_and_one_less_is_not_the_source():
    like = next(choice.name for choice in device_choices(DEVICES) if choice.tier is Tier.EDGE)
    assert changes(like=like, devices="1") == (AddDevices(count=1, like="camera", site="home"),)
    assert changes(like=like, devices="-1") == (RemoveDevice(device="shed"),)
    assert len(changes(like=like, devices="-9")) == 2


def test_the_price_of_a_tier_goes_by_classes():
    assert changes(tier="cloud", price="2") == (SetPrice(device="big", price_per_h=figure(2.0, factor=True)),)


def test_a_class_of_both_tiers_is_priced_device_by_device():
    mixed = (*DEVICES, replace(device("rack"), tier=Tier.CLOUD, price_per_h=0.1))
    found = changes_of(read_form({"tier": "cloud", "price": "3"}, QUERY, mixed), mixed)
    assert [change.device for change in found] == ["rack", "big"]


def test_a_tier_without_prices_says_so():
    assert "cost nothing" in read_form({"tier": "edge"}, QUERY, DEVICES).price.help


def test_the_rate_that_was_found_is_where_the_slider_stands():
    found = read_form({}, QUERY, DEVICES, 11.0)
    assert (found.rate.present, found.changed) == (11.0, False)
    assert "6 is stated" in found.rate.help


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"rate": "fast"}, "'fast' is no number"),
        ({"rate": "nan"}, "is no number"),
        ({"tier": "fog"}, "no tier 'fog'"),
        ({"like": "x@y"}, "no devices 'x@y'"),
    ],
)
def test_what_makes_no_sense_is_refused(values, told):
    with pytest.raises(InvalidInput, match=told):
        read_form(values, QUERY, DEVICES)


def test_a_slider_goes_no_further_than_its_ends():
    assert form(rate="1e9").rate.value == pytest.approx(24.0)
    assert form(rate="-3").rate.value > 0.0


def test_an_address_brings_the_sliders_back():
    asked = form(rate="9", latency="150", devices="1", price="2")
    again = read_form(dict(parse_qsl(address_of(asked))), QUERY, DEVICES)
    assert changes_of(again, DEVICES) == changes_of(asked, DEVICES)
    without = read_form({"asked": "1"}, QUERY, DEVICES)
    assert changes_of(read_form(dict(parse_qsl(address_of(without))), QUERY, DEVICES), DEVICES) == changes_of(
        without, DEVICES
    )


def test_the_same_can_be_asked_on_the_command_line():
    assert command_of(changes(rate="9", accuracy="0.9")) == ("circinus what-if --rate gate=9 --slo gate:accuracy=0.9")
    assert command_of((RemoveDevice(device="box one"),)) == "circinus what-if --remove 'box one'"


def test_without_devices_there_is_nothing_to_add():
    found = read_form({"devices": "2"}, QUERY, ())
    assert changes_of(found, ()) == ()
