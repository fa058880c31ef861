"""Who is compared: planners as published, the same searches with all that is ours, ours, and exact knowledge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from search_queries import world

from cloud_planner.baselines.fixed import best_static
from cloud_planner.baselines.ours import Ours
from cloud_planner.baselines.registry import RIVALS
from cloud_planner.baselines.task import Planner, Task
from cloud_planner.baselines.world import Meter, PlanBook
from cloud_planner.core.precision import Guarantee
from cloud_planner.core.search_terms import QUICK

if TYPE_CHECKING:
    from goodput_queries import Request

OURS, POPULATION = "circinus", "circinus population"
STATIC = "best static"
EXACT, EXACT_FIRST, EXACT_POOL = "exact", "exact, first come", "exact of the pool"
NEEDIEST_LAST = "videostorm"


class Kind(StrEnum):
    """FAITHFUL: as published, one query at a time. REINFORCED: the same search with our test, templates and selection.

    EXACT knows what is true, of the held-out samples or of the pool. HINDSIGHT knows the queries before they come.
    Neither is a system that could be built.
    """

    FAITHFUL = "faithful"
    REINFORCED = "reinforced"
    OURS = "ours"
    HINDSIGHT = "hindsight"
    EXACT = "exact"


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A planner and how it decides for many; ``planner`` None: it is made for the queries at hand, or knows all.

    ``by_need``: those that need least come first, where others go in order of arrival.
    """

    name: str
    kind: Kind
    planner: Planner | None = None
    selects: bool = True
    by_need: bool = False


def methods() -> list[Method]:
    """All that are compared, ours first."""
    found = [
        Method(name=OURS, kind=Kind.OURS, planner=Ours(share=False)),
        Method(
            name=POPULATION,
            kind=Kind.OURS,
            planner=Ours(policy=replace(QUICK, guarantee=Guarantee.POPULATION), share=False, name=POPULATION),
        ),
    ]
    for name, settings in RIVALS:
        if name == "oracle":
            continue
        every = settings()
        reinforced = name.endswith(" reinforced")
        found.append(
            Method(
                name=name,
                kind=Kind.REINFORCED if reinforced else Kind.FAITHFUL,
                planner=every[len(every) // 2],
                selects=reinforced,
                by_need=name == NEEDIEST_LAST,
            )
        )
    found.append(Method(name=STATIC, kind=Kind.HINDSIGHT, selects=False))
    found.append(Method(name=EXACT_FIRST, kind=Kind.EXACT, selects=False))
    found.append(Method(name=EXACT_POOL, kind=Kind.EXACT))
    found.append(Method(name=EXACT, kind=Kind.EXACT))
    return found


def task_of(request: Request, seed: int) -> Task:
    """A query's search: cold, alone, behind a meter of its own."""
    meter = Meter(request.content.table, world(request.content.pipeline).space)
    book = PlanBook(request.space, request.slo, meter)
    return Task(meter=meter, book=book, rng=np.random.default_rng([seed, request.number]))


def planners(method: Method, requests: Sequence[Request]) -> dict[str, Planner]:
    """By pipeline, who plans; the best static configuration is chosen over all of these queries, in hindsight."""
    of: dict[str, list[Request]] = {}
    for request in requests:
        of.setdefault(request.content.pipeline, []).append(request)
    if method.planner is not None:
        return dict.fromkeys(of, method.planner)
    return {name: best_static([task_of(request, 0) for request in same]) for name, same in of.items()}
