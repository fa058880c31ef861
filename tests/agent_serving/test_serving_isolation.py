"""An operator that takes too much memory is alone with what comes of it."""

from __future__ import annotations

import pytest
from serving_fleet import Fleet, directive, replica_set, route, source

pytestmark = [pytest.mark.slow, pytest.mark.system]

OPERATORS = """

class Leak(Operator):
    def process(self, inputs):
        held = [bytearray(b"x" * 20_000_000) for _ in range(100)]
        return {"number": len(held)}
"""
#: Twice of it and a quarter of a gigabyte is the limit.
PLANNED_BYTES = 50_000_000


async def two_queries(fleet: Fleet, class_name: str, **changes: object) -> None:
    """A query with this operator beside one that must not be harmed by it."""
    (fleet.bundle / "toy_operators.py").write_text((fleet.bundle / "toy_operators.py").read_text() + OPERATORS)
    await fleet.add("camera", listen="")
    bad = {"query_id": "bad", "key": "bad-source"}
    sets = (
        replica_set("op", "Pass"),
        replica_set("op", class_name, query_id="bad", key="bad-op", **changes),
    )
    routes = (
        route("op", ("source",), "camera"),
        route("op", ("source",), "camera", query_id="bad"),  # type: ignore[arg-type]
    )
    sources = (source(("op",)), source(("op",), rate_per_s=2.0, scorer_entry_point="", **bad))
    await fleet.roll_out(directive("camera", 1, sets=sets, routes=routes, sources=sources))


async def test_an_operator_that_leaks_dies_alone_and_its_cause_is_named(fleet: Fleet) -> None:
    await two_queries(fleet, "Leak", memory_bytes=PLANNED_BYTES)
    camera = fleet.devices["camera"]
    neighbour = camera.status().pids["op-Pass-[]"]
    said = "bad/op#0: killed: over its memory limit of 368 MB"
    await fleet.until(lambda: said in camera.status().reason)
    await fleet.until(lambda: fleet.total(1, "bad").failed_by_cause["operator_died"] >= 2)
    before = fleet.total(1).answered
    await fleet.until_answered(1, before + 20)
    assert dict(fleet.total(1).failed_by_cause) == {}
    assert camera.status().pids["op-Pass-[]"] == neighbour
    assert fleet.operators[("op", 1)].restarts >= 1
