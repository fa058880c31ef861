"""Least costs that are kept: given back only for what they were worked out for, and near what is exact."""

from dataclasses import replace

import numpy as np
import pytest
from test_live_search import LONG_FAST, SHORT_FAST, SHORT_SLOW, asking, first, task

from cloud_planner.core import live_search
from cloud_planner.core.cost_memo import in_steps
from cloud_planner.core.decompose import content_statistics
from cloud_planner.core.live_search import StepMemo, search_step


def counted(monkeypatch):
    """How many candidates least costs were asked for in each call."""
    asked, least_costs = [], live_search.least_costs

    def counting(network, problem, query, price=None):
        asked.append(len(query.candidates))
        return least_costs(network, problem, query, price)

    monkeypatch.setattr(live_search, "least_costs", counting)
    return asked


def test_a_step_with_nothing_new_works_out_nothing(monkeypatch):
    asked, memo = counted(monkeypatch), StepMemo()
    before = search_step(task(first(4)), memo)
    asked.clear()

    assert search_step(task(first(4)), memo) == before
    assert asked == []


def test_only_what_was_measured_since_is_worked_out_anew(monkeypatch):
    asked, memo = counted(monkeypatch), StepMemo()
    search_step(task(first(4)), memo)
    asked.clear()
    more = first(4) | {SHORT_FAST: first(12)[SHORT_FAST]}

    with_memo = search_step(task(more), memo)

    assert sum(asked) < 4
    assert with_memo == search_step(task(more))


@pytest.mark.parametrize("change", [{"rate_per_s": 2.0}, {"source_device_id": "elsewhere"}])
def test_another_query_of_the_same_name_has_costs_of_its_own(change):
    memo = StepMemo()
    search_step(task(first(4)), memo)
    other = replace(asking(accuracy_ratio=0.85), **change)

    assert search_step(task(first(4), wanted=other), memo) == search_step(task(first(4), wanted=other))


def test_only_beliefs_are_taken_in_steps():
    asked = task({SHORT_SLOW: first(4)[SHORT_SLOW], LONG_FAST: first(4)[LONG_FAST]})
    exact = content_statistics(asked.fleet, asked.query)["fast"]
    stepped = in_steps({"fast": exact})["fast"]

    moved = [place for place, service in exact.services.items() if stepped.services[place] != service]
    assert moved
    assert all(exact.services[place].believed for place in moved)
    ratios = [stepped.services[place].mean_ms / service.mean_ms for place, service in exact.services.items()]
    assert np.max(np.abs(np.log(ratios))) <= 0.01 + 1e-9
