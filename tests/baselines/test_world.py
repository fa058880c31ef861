"""Plans of a book are those of the plan space."""

from __future__ import annotations

import numpy as np
from small_world import table, task

from cloud_planner.baselines.ours import Ours
from cloud_planner.baselines.world import new_memory, true_figures


def test_the_cheapest_plan_is_the_best_of_all_plans():
    asked = task(latency_ms=120.0)
    measured = asked.meter.table
    figures = [true_figures(measured, index) for index in range(asked.meter.count)]
    found = asked.book.space.cheapest(figures, asked.slo)
    for scored, best in zip(asked.book.space.score(figures), found, strict=True):
        assert scored.best(asked.slo) == (None if best is None else best[0])


def test_with_everything_measured_costs_are_true_and_sure():
    asked = task(latency_ms=120.0)
    for index in range(asked.meter.count):
        asked.meter.run(index, range(asked.meter.pool))
    cost, chance = asked.book.costs(hopeful=True)
    for index in range(asked.meter.count):
        scored = asked.book.space.score([true_figures(asked.meter.table, index)])[0]
        best = scored.best(asked.slo)
        if best is not None:
            assert np.isclose(cost[index], scored.cost_per_h[best])
            assert chance[index] == 1.0
        else:
            assert np.isinf(cost[index])


def test_a_second_query_on_a_known_content_runs_less():
    measured = table()
    memory, kept = new_memory(measured), {}
    first, second = (task(measured, memory=memory, kept=kept) for _ in range(2))
    assert Ours()(first).configuration is not None
    assert Ours()(second).configuration is not None
    assert second.meter.bill.seconds * 5.0 <= first.meter.bill.seconds
    assert len(kept["contents"]) == 1
