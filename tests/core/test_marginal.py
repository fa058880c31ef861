"""What one more core, Mbit/s or machine is worth, by arithmetic and against a linear programme solved again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from small_problems import machine, wires_between

from cloud_planner.core.marginal import Basis, UnitKind, by_class_and_site, marginal_values
from cloud_planner.core.problem import Problem, Uplink


def problem(*machines, **changes):
    names = [each.id for each in machines]
    return Problem(machines=machines, wires=wires_between(names, bandwidth=2e7), queries=(), **changes)


GATEWAY = machine("gw-1", site="north", cores=4.0, memory_bytes=8_000_000_000, accelerator_slots=2)


def test_prices_of_whole_capacities_become_values_of_units():
    pool = machine("vm", site="cloud", count=5, exclusive=True)
    uplink = Uplink(id="north up", wires=(("gw-1", "vm"),), bandwidth_bit_per_s=5e6)
    prices = {
        ("cores", "gw-1"): 2.0,
        ("memory", "gw-1"): 4.0,
        ("slots", "gw-1"): 1.0,
        ("bits", "gw-1", "vm"): 6.0,
        ("uplink", "north up"): 3.0,
        ("machines", "vm"): 7.0,
        ("cores", "gone"): 9.0,
        ("memory", "vm"): 0.0,
    }
    values = marginal_values(problem(GATEWAY, pool, uplinks=(uplink,)), prices, class_of={"gw-1": "x86-4"})
    assert {(value.kind, value.subject): value.value for value in values} == pytest.approx(
        {
            (UnitKind.CORE, "gw-1"): 0.5,
            (UnitKind.MEMORY_GB, "gw-1"): 0.5,
            (UnitKind.SLOT, "gw-1"): 0.5,
            (UnitKind.MBIT_PER_S, "gw-1 -> vm"): 0.3,
            (UnitKind.MBIT_PER_S, "north up"): 0.6,
            (UnitKind.MACHINE, "vm"): 7.0,
            (UnitKind.MACHINE, "gw-1"): 7.0,
        }
    )
    core = values[0]
    assert (core.device_class, core.site, core.basis) == ("x86-4", "north", Basis.GOODPUT)
    assert core.text == "one more core on gw-1 is worth 0.5 per s of goodput"
    assert [value.value for value in values if value.kind is UnitKind.MBIT_PER_S] == [0.6, 0.3]


def test_of_a_class_and_site_the_best_place_is_told():
    machines = (GATEWAY, replace(GATEWAY, id="gw-2"), replace(GATEWAY, id="gw-3", site="south"))
    prices = {("cores", "gw-1"): 2.0, ("cores", "gw-2"): 3.0, ("cores", "gw-3"): 1.0, ("bits", "gw-1", "gw-2"): 1.0}
    classes = dict.fromkeys(("gw-1", "gw-2", "gw-3"), "x86-4")
    values = by_class_and_site(marginal_values(problem(*machines), prices, Basis.COST, class_of=classes))
    cores = [(value.subject, value.site) for value in values if value.kind is UnitKind.CORE]
    assert cores == [("gw-2", "north"), ("gw-3", "south")]
    assert [value.subject for value in values if value.kind is UnitKind.MBIT_PER_S] == ["gw-1 -> gw-2"]
    assert values[0].worth == "0.75 per hour saved"


def test_a_price_that_differs_between_more_and_less_is_degenerate():
    prices = {("cores", "gw-1"): 2.0, ("memory", "gw-1"): 1.0, ("slots", "gw-1"): 1.0}
    less = {("cores", "gw-1"): 2.05, ("memory", "gw-1"): 3.0, ("slots", "gw-1"): 1.0}
    values = marginal_values(problem(GATEWAY), prices, less_price_per_unit=less, degenerate=[("slots", "gw-1")])
    unsure = {value.kind: value.degenerate for value in values}
    assert unsure == {UnitKind.CORE: False, UnitKind.MEMORY_GB: True, UnitKind.SLOT: True, UnitKind.MACHINE: True}
    assert values[1].worth.endswith("(degenerate)")


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000))
def test_a_core_more_is_worth_what_the_programme_gains_when_solved_again(seed):
    """Queries of random worth and load on two machines; only cores run out."""
    chance = np.random.default_rng(seed)
    worth, load = chance.uniform(1.0, 5.0, 8), chance.uniform(0.5, 2.0, (2, 8))

    def solved(first):
        cores = np.array([first, 3.0])
        rows = np.zeros((10, 16))
        for place in range(8):
            rows[place, [place, 8 + place]] = 1.0
        rows[8, :8], rows[9, 8:] = load[0] / cores[0], load[1] / cores[1]
        right = np.array([1.0] * 8 + [1.0, 1.0])
        return linprog(-np.tile(worth, 2), A_ub=rows, b_ub=right, bounds=(0.0, None), method="highs")

    machines = (machine("a", cores=2.0), machine("b", cores=3.0))
    prices = {("cores", name): -float(solved(2.0).ineqlin.marginals[8 + place]) for place, name in enumerate("ab")}
    values = {
        value.subject: value.value for value in marginal_values(problem(*machines), prices) if value.kind == "core"
    }
    step = 1e-4
    gained = (solved(2.0).fun - solved(2.0 + step).fun) / step
    assert values.get("a", 0.0) == pytest.approx(gained, rel=1e-3, abs=1e-6)
