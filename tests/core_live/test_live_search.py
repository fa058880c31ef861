"""Steps of a search on a small fleet, with answers from a made-up world."""

from dataclasses import replace
from hashlib import sha256

import pytest
from live_values import BUNDLE, CONTENT, ENVIRONMENT, device, measured, pipeline, query

from circinus.model.pipeline import ContentRef, ContentSpec, RegisteredPipeline, configuration_key
from circinus.model.profile import ConfigurationProfile, ProfileTable, SampleResult
from circinus.model.query import Budget
from circinus.model.search import SearchPhase
from cloud_planner.core.decompose import Fleet
from cloud_planner.core.live_search import (
    TIMED_SAMPLES,
    SearchTask,
    Spent,
    sample_order,
    search_step,
)

POOL = 200
SPEC = replace(pipeline(), contents=(ContentSpec(name="plain", seed=1, samples=POOL),))
OTHER = ContentRef(name="other", digest="sha256:o", samples=POOL)
CONFIGURATIONS = tuple(SPEC.configurations())
KEYS = tuple(configuration_key(one) for one in CONFIGURATIONS)
SHORT_SLOW, SHORT_FAST, LONG_SLOW, LONG_FAST = range(4)
#: The mean accuracy of each configuration and what reading takes in it; slow reading is right, fast is cheap.
ACCURACY = (0.95, 0.7, 0.97, 0.72)
READ_MS = (80.0, 20.0, 300.0, 30.0)
CAMERA = device("camera", price_per_h=1.0, cores=4.0)
#: Scores of each configuration by sample.
SCORES = tuple(
    tuple(float(sha256(f"{at}:{index}".encode()).digest()[0] < 256 * ratio) for index in range(POOL))
    for at, ratio in enumerate(ACCURACY)
)
TRUTH = tuple(sum(one) / POOL for one in SCORES)


def asking(**slo):
    """At this rate each configuration costs something else."""
    return query(rate_per_s=6.0, **slo)


def table(asked, *, digest=CONTENT, memory=True):
    """What a run through samples says; ``asked``: configuration -> sample indices."""
    return ProfileTable(
        bundle_digest=BUNDLE,
        content_digest=digest,
        scores={KEYS[at]: {index: SCORES[at][index] for index in indices} for at, indices in asked.items()},
        times={
            "fast": tuple(
                ConfigurationProfile(
                    configuration=CONFIGURATIONS[at],
                    samples=tuple(
                        SampleResult(
                            sample_index=index,
                            score_ratio=SCORES[at][index],
                            operators=(measured("cut", 5.0), measured("read", READ_MS[at])),
                        )
                        for index in sorted(indices)
                    ),
                    memory_bytes={"cut": 2**20, "read": 2**21} if memory else {},
                    source_bytes=1000,
                )
                for at, indices in asked.items()
                if indices
            )
        },
    )


def task(asked=None, *, wanted=None, others=None, memory=True, **changes):
    """A task after runs through these samples of the content, and of the other one."""
    contents = (ContentRef(name="plain", digest=CONTENT, samples=POOL), OTHER)
    spec = replace(SPEC, contents=(*SPEC.contents, ContentSpec(name="other", seed=2, samples=POOL)))
    registered = RegisteredPipeline(
        pipeline=spec, bundle_digest=BUNDLE, environment_digest=ENVIRONMENT, contents=contents
    )
    tables = {(BUNDLE, CONTENT): table(asked or {}, memory=memory)}
    if others:
        tables[BUNDLE, OTHER.digest] = table(others, digest=OTHER.digest, memory=memory)
    fleet = Fleet(devices=(CAMERA,), pipelines={"words": registered}, tables=tables)
    return SearchTask(fleet=fleet, query=wanted or asking(accuracy_ratio=0.85), **changes)


ORDER = sample_order(ContentRef(name="plain", digest=CONTENT, samples=POOL))
OTHER_ORDER = sample_order(OTHER)


def first(count, order=ORDER):
    return dict.fromkeys(range(4), order[:count])


def searched(**changes):
    """All results of a search whose every wish is granted, and what it asked for."""
    asked, attempts, results = dict.fromkeys(range(4), ()), (), []
    while len(results) < 500:
        found = search_step(task(asked, attempts=attempts, **changes))
        results.append(found)
        if found.wanted is None:
            return results, asked
        attempts = found.attempts
        for configuration in found.wanted.configurations:
            at = CONFIGURATIONS.index(configuration)
            assert not set(found.wanted.sample_indices) & set(asked[at]), "samples were asked for twice"
            asked[at] = (*asked[at], *found.wanted.sample_indices)
    raise AssertionError("the search does not end")


def test_the_order_of_samples_is_a_permutation_of_its_own_for_each_content():
    assert sorted(ORDER) == sorted(OTHER_ORDER) == list(range(POOL))
    assert ORDER != OTHER_ORDER
    assert list(ORDER) != sorted(ORDER)


def test_at_first_a_sample_goes_through_a_few_configurations_in_which_every_value_occurs():
    found = search_step(task())
    assert (found.phase, found.choices, found.configuration) == (SearchPhase.UNKNOWN, (), None)
    assert found.wanted.sample_indices == ORDER[:1]
    assert found.wanted.timed
    assert found.wanted.memory
    for name in CONFIGURATIONS[0]:
        assert {one[name] for one in found.wanted.configurations} == {one[name] for one in CONFIGURATIONS}
    assert len(found.wanted.configurations) < len(CONFIGURATIONS)


def test_another_content_gives_a_believed_choice_before_there_is_a_sample():
    found = search_step(task(others=first(100, OTHER_ORDER), wanted=asking(accuracy_ratio=0.75)))
    assert found.phase in (SearchPhase.PROVISIONAL, SearchPhase.UNKNOWN)
    assert found.configuration in (CONFIGURATIONS[SHORT_SLOW], CONFIGURATIONS[LONG_SLOW])
    (choice,) = found.choices
    assert (choice.configuration, choice.certified) == (found.configuration, False)
    assert 0.0 < choice.probability_ratio < 1.0
    assert choice.probability_ratio == found.probability_ratio
    assert found.accuracy is None
    assert found.wanted.sample_indices[0] == ORDER[0]


def test_enough_scores_certify_the_cheapest_that_meets_the_bound():
    found = search_step(task(first(POOL)))
    assert found.phase is SearchPhase.CERTIFIED
    assert found.wanted is None
    # Both that are good enough may be planned, the cheaper one first.
    assert [CONFIGURATIONS.index(one.configuration) for one in found.choices] == [SHORT_SLOW, LONG_SLOW]
    assert all(one.certified and one.accuracy.low >= 0.85 for one in found.choices)
    assert found.probability_ratio >= 0.95
    assert found.stopped == ""
    assert found.cost_per_h > 0.0


def test_a_search_whose_wishes_are_granted_certifies_what_is_true():
    for bound in (0.6, 0.85):
        results, asked = searched(wanted=asking(accuracy_ratio=bound))
        last = results[-1]
        assert last.phase is SearchPhase.CERTIFIED
        assert TRUTH[CONFIGURATIONS.index(last.choices[0].configuration)] >= bound
        assert last.choices[0].configuration == CONFIGURATIONS[SHORT_SLOW if bound > 0.8 else SHORT_FAST]
        assert sum(map(len, asked.values())) < 2 * POOL
        # What is certified is never taken back.
        phases = [one.phase for one in results]
        assert set(phases[phases.index(SearchPhase.CERTIFIED) :]) == {SearchPhase.CERTIFIED}


def test_what_is_asked_for_goes_on_where_the_scores_end_and_is_timed_at_first_only():
    few = search_step(task({**first(1), SHORT_SLOW: ORDER[:4]})).wanted
    many = search_step(
        task({**first(TIMED_SAMPLES), SHORT_SLOW: ORDER[:TIMED_SAMPLES]}, wanted=asking(accuracy_ratio=0.94))
    )
    (at,) = [CONFIGURATIONS.index(one) for one in few.configurations]
    start = 4 if at == SHORT_SLOW else 1
    assert few.sample_indices == ORDER[start : start + len(few.sample_indices)]
    assert few.timed
    assert not many.wanted.timed
    assert many.wanted.sample_indices[0] == ORDER[TIMED_SAMPLES]


def test_a_gap_in_the_scores_ends_what_counts():
    gap = task({**dict.fromkeys(range(4), ()), SHORT_SLOW: (*ORDER[:4], *ORDER[5:40])})
    whole = task({**dict.fromkeys(range(4), ()), SHORT_SLOW: ORDER[:4]})
    assert search_step(gap).accuracy == search_step(whole).accuracy


def test_where_nothing_meets_the_bound_it_is_refused():
    found = search_step(task(first(POOL), wanted=asking(accuracy_ratio=0.995)))
    assert (found.phase, found.wanted, found.configuration) == (SearchPhase.REFUSED, None, None)
    # The nearest are named, for planning to say what stands in the way: that none is accurate enough.
    assert found.choices[0].configuration == CONFIGURATIONS[LONG_SLOW]
    assert all(one.accuracy.low < 0.995 for one in found.choices)
    assert found.candidates_left == 0
    results, asked = searched(wanted=asking(accuracy_ratio=0.995))
    assert results[-1].phase is SearchPhase.REFUSED
    assert sum(map(len, asked.values())) < 4 * POOL


def test_where_nothing_is_fast_or_cheap_enough_it_is_refused():
    for slo in ({"latency_ms": 3.0}, {"cost_per_h": 1e-6}):
        found = search_step(task(first(TIMED_SAMPLES), wanted=asking(accuracy_ratio=0.5, **slo)))
        assert (found.phase, found.wanted, found.configuration) == (SearchPhase.REFUSED, None, None)
        # Those that are accurate enough are named as such, so that planning says latency or cost.
        assert found.choices[0].accuracy.low >= 0.5


def test_without_a_bound_whatever_can_be_planned_is_certified_at_once():
    found = search_step(task(first(1), wanted=asking()))
    assert found.phase is SearchPhase.CERTIFIED
    assert len(found.choices) == 4
    best = found.choices[0].configuration
    assert best == CONFIGURATIONS[SHORT_FAST]
    # Only so that the accuracy that is told means something, a few more samples are taken of it.
    assert found.wanted.configurations == (best,)
    assert search_step(task(first(POOL), wanted=asking())).wanted is None


@pytest.mark.parametrize(
    ("budget", "spent", "said"),
    [
        (Budget(samples=8), Spent(samples=8), "its budget of 8 profile samples is used up"),
        (Budget(seconds=2.5), Spent(operator_s=2.6), "its budget of 2.5 profile seconds is used up"),
        (Budget(cost=0.5), Spent(cost=0.5), "its budget of 0.5 for profiling is used up"),
    ],
)
def test_a_budget_that_is_used_up_stops_the_search_and_is_said(budget, spent, said):
    limited = replace(asking(accuracy_ratio=0.85), budget=budget)
    for asked in ({}, first(2)):
        found = search_step(task(asked, wanted=limited, spent=spent))
        assert (found.stopped, found.wanted) == (said, None)
        assert search_step(task(asked, wanted=limited)).wanted is not None
    # A search that has found what it looked for was not stopped.
    ended = search_step(task(first(POOL), wanted=limited, spent=spent))
    assert (ended.phase, ended.stopped) == (SearchPhase.CERTIFIED, "")


def test_a_stopped_search_still_names_what_it_believes_in():
    limited = replace(asking(accuracy_ratio=0.75), budget=Budget(samples=1))
    stopped = task(others=first(100, OTHER_ORDER), wanted=limited, spent=Spent(samples=1))
    found = search_step(stopped)
    assert found.stopped
    assert [one.certified for one in found.choices] == [False]
    assert found.wanted is None


def test_a_configuration_that_cannot_be_run_is_neither_asked_for_nor_chosen():
    broken = frozenset({KEYS[SHORT_SLOW]})
    results, asked = searched(failed=broken, others=first(100, OTHER_ORDER))
    assert asked[SHORT_SLOW] == ()
    assert results[-1].phase is SearchPhase.CERTIFIED
    assert results[-1].choices[0].configuration == CONFIGURATIONS[LONG_SLOW]
    found = search_step(task(first(POOL), failed=frozenset(KEYS)))
    assert (found.phase, found.wanted, found.configuration) == (SearchPhase.REFUSED, None, None)


def test_the_opening_leaves_out_what_cannot_be_run():
    spread = search_step(task()).wanted.configurations
    broken = configuration_key(spread[0])
    wanted = search_step(task(failed=frozenset({broken}))).wanted
    assert broken not in map(configuration_key, wanted.configurations)
    left = search_step(task(failed=frozenset(map(configuration_key, spread)))).wanted.configurations
    assert len(left) == 1
    assert left[0] not in spread
    none = search_step(task(failed=frozenset(KEYS)))
    assert (none.phase, none.wanted) == (SearchPhase.REFUSED, None)
    assert none.stopped


def test_the_same_task_gives_the_same_result():
    one = task({**first(3), SHORT_SLOW: ORDER[:9]}, others=first(50, OTHER_ORDER))
    again = task({**first(3), SHORT_SLOW: ORDER[:9]}, others=first(50, OTHER_ORDER))
    assert search_step(one) == search_step(again)


def test_attempts_that_were_noted_are_not_noted_again():
    one = task({**first(8), SHORT_SLOW: ORDER[:8]})
    found = search_step(one)
    assert [(attempt.configuration, attempt.start) for attempt in found.attempts] == [(SHORT_SLOW, 8)]
    again = search_step(replace(one, attempts=found.attempts))
    assert (again.attempts, again.phase, again.choices) == (found.attempts, found.phase, found.choices)


@pytest.mark.parametrize("count", [4, POOL])
def test_memory_that_is_unknown_is_asked_for_before_there_is_a_choice(count):
    found = search_step(task(first(count), others=first(100, OTHER_ORDER), memory=False))
    assert found.configuration is not None
    assert found.choices == ()
    assert found.wanted.memory
    assert found.wanted.configurations == (found.configuration,)
    assert set(found.wanted.sample_indices) <= set(ORDER[:2])
