"""Inputs that wait for each other, and parts that are gathered: in order, once, and not for items that ended."""

from hypothesis import given
from hypothesis import strategies as st
from serving_fleet import QUERY

from circinus.model.device import DeviceId
from circinus.model.directive import Generation, Target
from circinus.model.pipeline import OperatorId
from edge_agent.dataplane.item import Input, Work
from edge_agent.dataplane.joins import Joins
from edge_agent.dataplane.routing import choose

CROP, LOOK = OperatorId("crop"), OperatorId("look")
WANTED = (CROP, LOOK)


def an_input(name: OperatorId = LOOK, part: int = 0, parts: int = 1, item: str = "camera-1") -> Input:
    return Input(
        request_id=item,
        query_id=QUERY,
        generation=Generation(epoch=1, number=1),
        operator_id=OperatorId("count"),
        input_name=name,
        deadline_s=None,
        payload=f"{name} {part}".encode(),
        excess=True,
        part=part,
        parts=parts,
    )


@given(
    st.integers(2, 8).flatmap(
        lambda parts: st.permutations([an_input(CROP), *(an_input(LOOK, one, parts) for one in range(parts))])
    )
)
def test_parts_are_gathered_in_order_whatever_the_order_in_which_they_come(inputs: list[Input]) -> None:
    joins = Joins()
    found = [joins.add(one, WANTED, 0.0) for one in inputs]
    assert found[:-1] == [None] * (len(inputs) - 1)
    (work,) = found[-1:]
    assert isinstance(work, Work)
    assert work.inputs == {CROP: b"crop 0"}
    assert work.gathered == {LOOK: tuple(f"look {part}".encode() for part in range(len(inputs) - 1))}
    assert (work.part, work.parts, work.excess) == (0, 1, True)
    assert work.size_bytes == sum(len(one.payload) for one in inputs)
    assert joins.count_older(Generation(epoch=2, number=1)) == 0


def test_a_part_that_comes_again_or_is_of_another_number_of_parts_changes_nothing() -> None:
    joins = Joins()
    for one in (an_input(part=0, parts=2), an_input(part=0, parts=2), an_input(part=1, parts=3)):
        assert joins.add(one, (LOOK,), 0.0) is None
    work = joins.add(an_input(part=1, parts=2), (LOOK,), 0.0)
    assert work is not None
    assert len(work.gathered[LOOK]) == 2


def test_what_is_run_for_each_part_waits_for_none() -> None:
    work = Joins().add(an_input(part=1, parts=3), (LOOK,), 0.0, each=True)
    assert work is not None
    assert (work.part, work.parts, work.inputs) == (1, 3, {LOOK: b"look 1"})


def test_nobody_waits_for_the_rest_of_an_item_that_ended() -> None:
    joins = Joins()
    joins.add(an_input(part=0, parts=3), (LOOK,), 0.0)
    joins.forget_item(QUERY, "camera-1")
    assert joins.add(an_input(part=1, parts=3), (LOOK,), 0.0) is None
    assert joins.count_older(Generation(epoch=2, number=1)) == 0
    assert joins.add(an_input(item="camera-2"), (LOOK,), 0.0) is not None


def test_parts_of_an_item_are_spread_by_the_shares() -> None:
    targets = [
        Target(device_id=DeviceId("near"), share_ratio=0.75),
        Target(device_id=DeviceId("far"), share_ratio=0.25),
    ]
    for item in range(20):
        chosen = [choose(targets, f"camera-{item}", part) for part in range(40)]
        assert 28 <= chosen.count(DeviceId("near")) <= 32
    assert choose(targets, "camera-7", 0) == choose(targets, "camera-7")
