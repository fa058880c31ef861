"""Overload in real processes: what is above the plan, and what becomes of it."""

import pytest
from serving_fleet import QUERY, Fleet, directive, ended, replica_set, route, source

from circinus.model.directive import Use
from circinus.model.pipeline import SOURCE, OperatorId
from circinus.model.query import QueryId

pytestmark = [pytest.mark.slow, pytest.mark.system]
NEIGHBOUR = QueryId("q2")


def use(query_id: QueryId, rate_per_s: float = 10.0) -> Use:
    return Use(query_id=query_id, operator_id=OperatorId("burn"), inputs=(SOURCE,), rate_per_s=rate_per_s)


async def test_a_query_above_its_rate_is_shed_at_its_source_and_its_neighbour_in_the_same_process_is_not(
    fleet: Fleet,
) -> None:
    camera = await fleet.add("camera", listen="", offered_ratio=lambda query_id: 10.0 if query_id == QUERY else 1.0)
    both = replica_set("burn", "Burn", knobs={"cpu_ms": 5}, cores=0.25, uses=(use(QUERY), use(NEIGHBOUR)))
    await fleet.roll_out(
        directive(
            "camera",
            1,
            sets=(both,),
            routes=tuple(route("burn", ("source",), "camera", query_id=one) for one in (QUERY, NEIGHBOUR)),
            sources=tuple(
                source(("burn",), 10.0, key=f"source-{one}", query_id=one, deadline_ms=300.0)
                for one in (QUERY, NEIGHBOUR)
            ),
        )
    )
    await fleet.until(lambda: fleet.total(1).dropped_by_cause["shed"] >= 50)
    await fleet.until_answered(1, 10, NEIGHBOUR)
    empty = directive("camera", 2)
    await camera.apply(empty)
    await camera.activate(empty.generation)
    await fleet.until(lambda: camera.status().phase == "drained")
    greedy, modest = fleet.total(1), fleet.total(1, NEIGHBOUR)
    assert ended(greedy) == greedy.emitted
    assert ended(modest) == modest.emitted
    assert greedy.excess_emitted > greedy.emitted / 2
    assert greedy.dropped_by_place["source/shed"] > 0
    assert modest.excess_emitted == modest.dropped_by_cause["shed"] == 0


async def test_what_cannot_be_answered_in_time_is_dropped_where_that_is_seen(fleet: Fleet) -> None:
    await fleet.add("camera", listen="")
    hopeless = replica_set(
        "burn",
        "Burn",
        knobs={"cpu_ms": 1},
        uses=(
            Use(query_id=QUERY, operator_id=OperatorId("burn"), inputs=(SOURCE,), rate_per_s=20.0, after_ms=5_000.0),
        ),
    )
    await fleet.roll_out(
        directive(
            "camera",
            1,
            sets=(hopeless,),
            routes=(route("burn", ("source",), "camera"),),
            sources=(source(("burn",), deadline_ms=300.0),),
        )
    )
    await fleet.until(lambda: fleet.total(1).dropped_by_cause["deadline"] >= 5)
    assert fleet.total(1).dropped_by_place["burn/deadline"] >= 5
    assert fleet.operators["burn", 1].items == 0


async def test_batches_grow_under_load_and_every_item_of_them_has_its_own_answer(fleet: Fleet) -> None:
    await fleet.add("camera", listen="")
    add = replica_set("add", "Add", knobs={"step": 3}, batch=8)
    await fleet.roll_out(
        directive(
            "camera",
            1,
            sets=(add,),
            routes=(route("add", ("source",), "camera"),),
            sources=(source(("add",), rate_per_s=100.0, deadline_ms=3_000.0),),
        )
    )
    total = await fleet.until_answered(1, 100)
    assert set(total.scores_ratio) == {1.0}
    window = fleet.operators["add", 1]
    assert window.batches < window.items
