"""Why a query has no plan, and the least that would give it one: by hand, and against trying all plans."""

from __future__ import annotations

from dataclasses import replace

import pytest
from brute_placeable import fits_by_trying
from exact_solver import HighsSolver
from hypothesis import HealthCheck, given, settings
from limited_problems import SEEDS, limited
from small_problems import exact, machine, option, problems, wires_between

from circinus.errors import NotFound
from circinus.model.query import Slo
from cloud_planner.core.placeable import number_of, placeable
from cloud_planner.core.problem import Candidate, Problem, QueryProblem, Sharing, Step, Uplink, Waiting
from cloud_planner.core.relax import conflict, relaxed
from cloud_planner.core.relax_limits import Limit, LimitKind, limits_of, outward, without
from cloud_planner.core.select import select

QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
SMALL = ("one", "chain", "fan", "join")
WHOLE = {LimitKind.MEMORY, LimitKind.MACHINES, LimitKind.SLOTS, LimitKind.ACCELERATOR_MEMORY}


def candidate(number, accuracy, *options, size=1000.0):
    step = Step(operator_id="a", inputs=("source",), output_bytes=10.0, options=options)
    return Candidate(
        configuration={"a.k": number}, accuracy=exact(accuracy), steps=(step,), source_bytes=size, outputs=("a",)
    )


def query(name, *candidates, source="m1", rate=10.0, slo=None, **changes):
    return QueryProblem(
        id=name,
        rate_per_s=rate,
        weight=changes.pop("weight", 1.0),
        slo=slo or Slo(),
        source=source,
        candidates=candidates,
        answer_to_source=False,
        **changes,
    )


def problem(*queries, machines=None, **changes):
    given = machines or (machine("m1", cores=2.0), machine("m2", cores=2.0, price_per_h=3.0))
    wires = changes.pop("wires", wires_between([each.id for each in given]))
    return Problem(
        machines=given,
        wires=wires,
        queries=queries,
        waiting=Waiting.NONE,
        replica_utilization_cap=1.0,
        link_utilization_cap=1.0,
        **changes,
    )


def found(posed, query_id):
    """The conflict of a query beside what is selected of the others."""
    others = replace(posed, queries=tuple(each for each in posed.queries if each.id != query_id))
    selection = select(others, HighsSolver()).selection
    told = conflict(posed, selection, query_id, HighsSolver())
    for move in told.relaxations:
        assert placeable(relaxed(posed, query_id, move), selection, query_id, HighsSolver()), move.text
    return told


def texts(moves):
    return [move.text for move in moves]


def test_an_accuracy_beyond_the_best_known_relaxes_to_the_best_known():
    posed = problem(
        query("q", candidate(0, 0.8, option("m1")), candidate(1, 0.93, option("m1")), slo=Slo(accuracy_ratio=0.95))
    )
    told = found(posed, "q")
    assert [limit.text for limit in told.limits] == ["accuracy >= 0.95"]
    assert texts(told.relaxations) == ["accuracy 0.93"]
    assert told.reason == "in the way: accuracy >= 0.95"
    assert not told.alone
    assert told.exact


def test_a_latency_below_the_fastest_relaxes_to_the_fastest():
    posed = problem(
        query("q", candidate(0, 0.8, option("m1", ms=50.0), option("m2", ms=20.0)), slo=Slo(latency_ms=10.0))
    )
    told = found(posed, "q")
    assert [limit.text for limit in told.limits] == ["latency <= 10 ms at p95"]
    # 20 ms of service, 2 ms on the way, 1000 bytes at 1 Mbit/s: 8 ms.
    assert texts(told.relaxations) == ["latency 30 ms"]


def test_accuracy_and_latency_that_conflict_are_both_named_with_what_each_would_need():
    slow = candidate(1, 0.96, option("m1", ms=70.0))
    fast = candidate(0, 0.91, option("m1", ms=15.0))
    told = found(problem(query("q", fast, slow, slo=Slo(latency_ms=50.0, accuracy_ratio=0.95))), "q")
    assert [limit.kind for limit in told.limits] == [LimitKind.LATENCY, LimitKind.ACCURACY]
    assert texts(told.relaxations) == ["accuracy 0.91", "latency 70 ms"]


def test_a_slow_link_conflicts_with_a_latency_and_more_of_it_does():
    posed = problem(
        query("q", candidate(0, 0.9, option("m2", ms=10.0), size=10_000.0), slo=Slo(latency_ms=52.0), rate=1.0)
    )
    told = found(posed, "q")
    assert [limit.text for limit in told.limits] == ["latency <= 52 ms at p95", "link m1 -> m2"]
    # 80,000 bits in 40 ms are 2 Mbit/s; at 1 Mbit/s they take 80 ms.
    (wider,) = [move for move in told.relaxations if move.limit.kind is LimitKind.LINK]
    assert wider.bound == pytest.approx(2e6, rel=0.01)
    assert wider.bound >= 2e6 * (1 - 1e-9)
    assert "latency 92 ms" in texts(told.relaxations)


def test_what_others_fill_is_the_conflict_and_who_would_have_to_go_is_named():
    here = option("m1", cores=1.5, ms=50.0)
    posed = problem(
        query("big", candidate(0, 0.9, here), weight=9.0),
        query("late", candidate(0, 0.9, here)),
        machines=(machine("m1", cores=2.0, memory_bytes=10_000),),
    )
    told = found(posed, "late")
    assert [limit.text for limit in told.limits] == ["cores on m1"]
    assert texts(told.relaxations) == ["+1 core on m1"]
    assert told.alone
    assert told.displaces == ("big",)


def test_where_two_limits_must_move_the_cheapest_pair_is_told():
    posed = problem(
        query("q", candidate(0, 0.8, option("m1", cores=3.0, ms=50.0)), slo=Slo(latency_ms=40.0, accuracy_ratio=0.9)),
        machines=(machine("m1", cores=4.0),),
    )
    told = found(posed, "q")
    assert told.relaxations == ()
    assert sorted(texts(told.together)) == ["accuracy 0.8", "latency 50 ms"]
    assert told.reason.endswith(" (and others)")


def test_an_uplink_a_budget_a_cordon_and_a_neighbour_are_limits_too():
    far = candidate(0, 0.9, option("m2", ms=10.0))
    uplink = Uplink(id="site-3 up", wires=(("m1", "m2"),), bandwidth_bit_per_s=50_000.0)
    assert texts(found(problem(query("q", far), uplinks=(uplink,)), "q").relaxations) == [
        "+0.03 Mbit/s on uplink site-3 up"
    ]
    assert texts(found(problem(query("q", far), budget_per_h=0.5), "q").relaxations) == [
        "budget 0.75 per hour",
        "+1 core on m2",
    ]
    shut = (machine("m1"), machine("m2", cordoned=True))
    assert texts(found(problem(query("q", far), machines=shut), "q").relaxations) == ["uncordon m2"]
    apart = problem(query("other", far), query("q", far, apart_from=frozenset({"other"})))
    assert texts(found(apart, "q").relaxations) == ["let it share a machine with other"]
    assert found(apart, "q").displaces == ("other",)


def shared(*, stream="", sharing=Sharing.PROCESS, cores=0.25, memory=600):
    """Two queries whose replicas may live in one process, on a machine whose memory holds one."""
    step = Step(
        operator_id="a",
        inputs=("source",),
        output_bytes=10.0,
        options=(option("m1", cores=cores, ms=10.0, memory=memory),),
        share_key="a",
    )
    one = Candidate(configuration={}, accuracy=exact(0.9), steps=(step,), source_bytes=100.0, outputs=("a",))
    return problem(
        query("first", one, stream=stream, weight=2.0),
        query("second", one, stream=stream),
        machines=(machine("m1"),),
        sharing=sharing,
    )


def test_a_process_that_others_run_already_takes_no_more_memory():
    assert found(shared(), "second").reason.startswith("it fits")
    told = found(shared(sharing=Sharing.NONE), "second")
    assert texts(told.relaxations) == ["+0.0002 MB of memory on m1"]
    told = found(shared(cores=0.6, memory=400), "second")
    # 1.2 cores in processes of 1 core: two of these, and the cores of the machine are short.
    assert texts(told.relaxations) == ["+0.2 cores on m1"]


def test_what_runs_already_for_others_who_read_the_same_takes_nothing():
    assert found(shared(stream="s", sharing=Sharing.PREFIX, cores=0.7), "second").reason.startswith("it fits")
    apart = shared(stream="", sharing=Sharing.PREFIX, cores=0.7)
    assert [limit.text for limit in found(apart, "second").limits] == ["cores on m1"]


def test_a_machine_type_that_is_used_up_gets_one_more():
    pool = (machine("m1"), machine("m2", cores=1.0, count=2, exclusive=True))
    posed = problem(query("q", candidate(0, 0.9, option("m2", cores=1.0, ms=250.0))), machines=pool)
    assert texts(found(posed, "q").relaxations) == ["+1 machine of m2"]


def test_what_no_limit_is_to_blame_for_is_told_in_words():
    told = found(problem(query("q", candidate(0, 0.9, option("m2"))), wires=()), "q")
    assert (told.limits, told.relaxations) == ((), ())
    assert told.reason == "no links lead from m1 along machines that can run its operators"
    told = found(problem(query("q")), "q")
    assert told.reason == "no configuration is known: there are no profiles"


def test_a_query_that_fits_is_said_to_fit_and_an_unknown_one_is_an_error():
    posed = problem(query("q", candidate(0, 0.9, option("m1"))))
    assert found(posed, "q").reason.startswith("it fits beside the others")
    with pytest.raises(NotFound, match="there is no query 'x'; known: q"):
        conflict(posed, select(posed, HighsSolver()).selection, "x")


@pytest.mark.parametrize(
    ("kind", "start", "bound", "rounded"),
    [
        (LimitKind.LATENCY, 80.0, 111.734, 111.8),
        (LimitKind.LATENCY, 80.0, 112.0, 112.0),
        (LimitKind.ACCURACY, 0.95, 0.93, 0.93),
        (LimitKind.ACCURACY, 0.95, 0.9299999999999999, 0.92999),
        (LimitKind.CORES, 2.0, 2.7142857, 2.715),
        (LimitKind.MEMORY, 1e9, 1_234_567_891.0, 1_234_600_000.0),
        (LimitKind.MACHINES, 2.0, 3.0, 3.0),
    ],
)
def test_bounds_are_rounded_outward(kind, start, bound, rounded):
    assert outward(Limit(kind=kind, subject=("m",), bound=start), bound) == rounded


def crowded(posed):
    """The first query is placed as if it were alone; what is left of the others is asked about."""
    first = select(replace(posed, queries=posed.queries[:1]), HighsSolver()).selection
    return [(first, each.id) for each in posed.queries[1:]]


def one_less(move):
    """The relaxation, moved 1% less."""
    bound = move.limit.bound + (move.bound - move.limit.bound) * 0.99
    if move.limit.kind in WHOLE:
        bound = min(float(round(bound)), move.bound - 1.0)
    return replace(move, bound=bound)


def check(posed, selection, query_id):
    told = conflict(posed, selection, query_id)
    assert told.exact
    number = number_of(posed, query_id)
    every = limits_of(posed, number)
    if told.reason.startswith("it fits"):
        assert fits_by_trying(posed, selection, query_id)
        return
    assert not fits_by_trying(posed, selection, query_id)
    if not told.limits:
        assert not fits_by_trying(without(posed, number, every), selection, query_id)
        return
    kept = [limit for limit in every if limit not in told.limits]
    assert not fits_by_trying(without(posed, number, kept), selection, query_id)
    for limit in told.limits:
        assert fits_by_trying(without(posed, number, [*kept, limit]), selection, query_id)
    moves = {move.limit for move in told.relaxations}
    for limit in every:
        assert fits_by_trying(without(posed, number, [limit]), selection, query_id) == (limit in moves)
    for move in told.relaxations:
        assert fits_by_trying(relaxed(posed, query_id, move), selection, query_id), move.text
        if move.bound is not None:
            assert not fits_by_trying(relaxed(posed, query_id, one_less(move)), selection, query_id), move.text
    assert bool(told.together) == (not told.relaxations)
    after = posed
    for move in told.together:
        after = relaxed(after, query_id, move)
    assert not told.together or fits_by_trying(after, selection, query_id)
    alone = replace(selection, plans=())
    assert told.alone == fits_by_trying(posed, alone, query_id)
    left = replace(selection, plans=tuple(plan for plan in selection.plans if plan.query_id not in told.displaces))
    assert not told.alone or fits_by_trying(posed, left, query_id)


@pytest.mark.slow
@settings(max_examples=16, deadline=None, suppress_health_check=QUIET, derandomize=True)
@given(posed=problems(shapes=SMALL))
def test_conflicts_and_relaxations_are_what_trying_all_plans_says(posed):
    selection = select(posed, HighsSolver()).selection
    for entry in selection.unplaced:
        check(posed, selection, entry.query_id)
    for first, query_id in crowded(posed):
        check(posed, first, query_id)


@pytest.mark.slow
@settings(max_examples=8, deadline=None, suppress_health_check=QUIET, derandomize=True)
@given(seed=SEEDS)
def test_conflicts_with_every_kind_of_limit_are_what_trying_all_plans_says(seed):
    posed = limited(seed, "all")[1]
    selection = select(posed, HighsSolver()).selection
    for entry in selection.unplaced:
        check(posed, selection, entry.query_id)


@pytest.mark.slow
@settings(max_examples=12, deadline=None, suppress_health_check=QUIET, derandomize=True)
@given(posed=problems(split=True, shapes=("one", "chain")))
def test_relaxations_of_divided_queries_do_and_less_does_not(posed):
    solver = HighsSolver()
    selection = select(posed, solver).selection
    for entry in selection.unplaced:
        told = conflict(posed, selection, entry.query_id, solver)
        for move in told.relaxations:
            assert placeable(relaxed(posed, entry.query_id, move), selection, entry.query_id, solver)
            if move.bound is not None:
                less = relaxed(posed, entry.query_id, one_less(move))
                assert not placeable(less, selection, entry.query_id, solver)
