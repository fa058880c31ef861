"""Items in parts through real processes and devices: spread, gathered in order, one outcome each."""

from dataclasses import replace

import pytest
from serving_fleet import Fleet, directive, ended, replica_set, route, source

from circinus.model.directive import Route

pytestmark = [pytest.mark.slow, pytest.mark.system]

OPERATORS = """
import os
import numpy as np
from circinus.operator import Operator

class Crop(Operator):
    def process(self, inputs):
        number = inputs["source"]["number"]
        order = np.arange(number % 5)
        crops = np.ones((len(order), 128, 128, 3), dtype=np.uint8) * order[:, None, None, None].astype(np.uint8)
        return {"crops": crops, "order": order, "number": number}

class Look(Operator):
    def process(self, inputs):
        (one,) = inputs.values()
        assert not one["crops"].flags.writeable
        if self.knobs.get("refuses", -1) in one["order"]:
            raise ValueError("this one not")
        pids = np.full(len(one["order"]), os.getpid())
        return {"sums": one["crops"].sum(axis=(1, 2, 3)), "order": one["order"], "pids": pids, "number": one["number"]}

class Again(Operator):
    def process(self, inputs):
        (one,) = inputs.values()
        return {**one, "sums": 2 * one["sums"]}

class Odd(Operator):
    def process(self, inputs):
        (one,) = inputs.values()
        return {"number": one["number"], "order": one["order"].sum()}

class Count(Operator):
    def process(self, inputs):
        crops, looked = inputs["crop"]["crops"], inputs[self.knobs.get("of", "look")]
        assert list(looked["order"]) == list(range(len(crops)))
        assert list(looked["sums"]) == list(self.knobs.get("times", 1) * crops.sum(axis=(1, 2, 3)))
        assert len(crops) < 4 or len(set(looked["pids"])) > 1 or not self.knobs.get("spread")
        return {"number": looked["number"]}
"""


def cutting(operator: str, class_name: str, inputs: tuple[str, ...] = ("source",), **changes: object):
    return replica_set(operator, class_name, inputs, entry_point=f"part_operators:{class_name}", **changes)


def each(one: Route) -> Route:
    return replace(one, each=True)


@pytest.fixture
async def parted(fleet: Fleet) -> Fleet:
    """A fleet whose bundle has operators with parts."""
    (fleet.bundle / "part_operators.py").write_text(OPERATORS)
    return fleet


async def test_parts_are_spread_over_devices_and_gathered_in_order_for_a_join(parted: Fleet) -> None:
    await parted.add("camera", listen="")
    await parted.add("cloud")
    look = cutting("look", "Look", ("crop",), each=True, replicas=2, batch=2)
    to_look = each(route("look", ("crop",), "camera", "cloud"))
    to_count = route("count", ("crop", "look"), "camera")
    await parted.roll_out(
        directive(
            "camera",
            1,
            sets=(
                cutting("crop", "Crop", split_by="crops"),
                look,
                cutting("count", "Count", ("crop", "look"), knobs={"spread": True}),
            ),
            routes=(route("crop", ("source",), "camera"), to_look, to_count),
            sources=(source(("count",)),),
            peers=(parted.peer("cloud"),),
        ),
        directive("cloud", 1, sets=(look,), routes=(to_count,)),
    )
    total = await parted.until_answered(1, 20)
    assert not total.failed_by_cause
    assert set(total.scores_ratio) == {1.0}
    # Windows count items, not parts, over both devices.
    await parted.until(lambda: parted.total(1).answered >= 60)
    assert 0.6 < parted.operators["look", 1].items / parted.operators["count", 1].items < 1.4


async def test_parts_stay_parts_from_one_operator_to_the_next(parted: Fleet) -> None:
    camera = await parted.add("camera", listen="")
    await parted.roll_out(
        directive(
            "camera",
            1,
            sets=(
                cutting("crop", "Crop", split_by="crops"),
                cutting("look", "Look", ("crop",), each=True),
                cutting("again", "Again", ("look",), each=True),
                cutting("count", "Count", ("crop", "again"), knobs={"of": "again", "times": 2}),
            ),
            routes=(
                route("crop", ("source",), "camera"),
                each(route("look", ("crop",), "camera")),
                each(route("again", ("look",), "camera")),
                route("count", ("crop", "again"), "camera"),
            ),
            sources=(source(("count",)),),
        )
    )
    total = await parted.until_answered(1, 10)
    assert set(total.scores_ratio) == {1.0}
    assert camera.status().phase == "active" or camera.status().phase == "drained"


async def test_an_answer_in_parts_is_joined_at_the_source(parted: Fleet) -> None:
    await parted.add("camera", listen="")
    await parted.add("cloud")
    look = cutting("look", "Look", ("crop",), each=True)
    await parted.roll_out(
        directive(
            "camera",
            1,
            sets=(cutting("crop", "Crop", split_by="crops"), look),
            routes=(route("crop", ("source",), "camera"), each(route("look", ("crop",), "camera", "cloud"))),
            sources=(source(("look",)),),
            peers=(parted.peer("cloud"),),
        ),
        directive("cloud", 1, sets=(look,)),
    )
    total = await parted.until_answered(1, 10)
    assert set(total.scores_ratio) == {1.0}
    assert not total.failed_by_cause


async def test_a_part_that_fails_ends_its_item_once(parted: Fleet) -> None:
    camera = await parted.add("camera", listen="")
    await parted.roll_out(
        directive(
            "camera",
            1,
            sets=(
                cutting("crop", "Crop", split_by="crops"),
                cutting("look", "Look", ("crop",), each=True, replicas=2, knobs={"refuses": 1}),
                cutting("count", "Count", ("crop", "look")),
            ),
            routes=(
                route("crop", ("source",), "camera"),
                each(route("look", ("crop",), "camera")),
                route("count", ("crop", "look"), "camera"),
            ),
            sources=(source(("count",)),),
        )
    )
    await parted.until(lambda: parted.total(1).failed_by_cause["operator_raised"] >= 6)
    stop = directive("camera", 2)
    await camera.apply(stop)
    await camera.activate(stop.generation)
    # What waited for the part that failed is forgotten, so that the old generation drains at once.
    await parted.until(lambda: camera.status().phase == "drained")
    total = parted.total(1)
    assert ended(total) == total.emitted
    assert set(total.failed_by_cause) == {"operator_raised"}
    assert set(total.scores_ratio) == {1.0}


async def test_outputs_of_parts_that_do_not_fit_together_fail_the_item_by_name(parted: Fleet) -> None:
    await parted.add("camera", listen="")
    await parted.roll_out(
        directive(
            "camera",
            1,
            sets=(cutting("crop", "Crop", split_by="crops"), cutting("look", "Odd", ("crop",), each=True)),
            routes=(route("crop", ("source",), "camera"), each(route("look", ("crop",), "camera"))),
            sources=(source(("look",)),),
        )
    )
    await parted.until(lambda: parted.total(1).failed_by_cause["bad_output"] >= 2)
