"""Detection of drift in simulated time: steps are found soon, constant load never flaps."""

from math import exp
from random import Random

import pytest
from live_values import a_plan, choices, device, fleet, query

from circinus.model.pipeline import configuration_key
from cloud_planner.core.drift import DriftState, resumed, revisions_of, step
from cloud_planner.core.drift_terms import AccuracySample, Kind, Limits, RateSample, ServiceSample
from cloud_planner.core.needs import Circumstances
from cloud_planner.core.planning import Snapshot, draft, revised
from cloud_planner.core.revisions import NOTHING_REVISED, LinkRevision, Revisions, merged, pruned

PLACE = ("words", "read", "camera")
WHERE = ("words", "plain", "key")


def poisson(rng, mean):
    bound, count, product = exp(-mean), 0, rng.random()
    while product > bound:
        count, product = count + 1, product * rng.random()
    return count


def run(windows, state=None, limits=None):
    """All findings of windows of one second each, a sample a window, and the last state."""
    state, findings = state or DriftState(), []
    for number, sample in enumerate(windows, start=1):
        made = step(state, [sample], float(number), limits)
        state = made.state
        findings += made.findings
    return findings, state


def rates(counts, stated_per_s=10.0):
    return [RateSample(query_id="q1", emitted=one, duration_s=1.0, stated_per_s=stated_per_s) for one in counts]


def times(ratios):
    return [ServiceSample(place=PLACE, items=10, mean_ms=20.0 * one, profiled_ms=20.0) for one in ratios]


def noisy(rng, mean, count):
    return [mean * exp(rng.gauss(0.0, 0.08)) for _ in range(count)]


@pytest.mark.parametrize("seed", range(6))
def test_a_threefold_step_is_found_within_a_few_windows(seed):
    rng = Random(seed)
    findings, state = run(rates([poisson(rng, 10.0) for _ in range(60)] + [poisson(rng, 30.0) for _ in range(8)]))
    assert findings[0].kind is Kind.RATE
    assert findings[0].at_s <= 65.0
    assert 60.0 <= findings[0].since_s <= 63.0
    assert revisions_of(state).rate_per_s["q1"] == pytest.approx(30.0, rel=0.4)


def test_a_step_of_an_even_source_is_found_in_four_windows_however_slow_it_is():
    findings, state = run(rates([2] * 30 + [6] * 4, stated_per_s=2.0))
    assert findings[0].at_s <= 34.0
    assert revisions_of(state).rate_per_s["q1"] == pytest.approx(6.0, rel=0.1)


@pytest.mark.parametrize(
    "counts",
    [
        lambda rng: 10,
        lambda rng: poisson(rng, 10.0),
        lambda rng: poisson(rng, 11.0),
        lambda rng: 4 * poisson(rng, 2.5),
        lambda rng: 9 + rng.randrange(3),
    ],
    ids=["even", "poisson", "a tenth more", "clumps", "jitter"],
)
def test_half_an_hour_of_constant_load_finds_nothing(counts):
    rng = Random(7)
    findings, state = run(rates([counts(rng) for _ in range(1800)]))
    assert findings == []
    assert not revisions_of(state)


def test_a_raised_rate_stands_for_a_while_and_returns_to_what_was_stated():
    back = [30] * 20 + [10] * 20
    findings, state = run(rates([10] * 20 + back))
    assert len(findings) == 1
    findings, state = run(rates([10] * 20 + back + [10] * 60))
    assert [one.returned for one in findings] == [False, True]
    assert not revisions_of(state)


def test_a_load_that_comes_and_goes_changes_plans_less_and_less_often():
    wave = ([30] * 30 + [10] * 120) * 20
    findings, _ = run(rates(wave))
    assert sum(one.at_s < 750 for one in findings) > sum(one.at_s > 2250 for one in findings)
    assert len(findings) <= 12


def test_less_than_the_stated_rate_is_no_finding():
    findings, _ = run(rates([10] * 20 + [2] * 300))
    assert findings == []


def test_slow_growth_is_followed_in_steps():
    findings, state = run(rates([10 + number // 20 for number in range(600)]))
    levels = [one.after for one in findings]
    assert levels == sorted(levels)
    assert 1 <= len(levels) <= 10
    assert revisions_of(state).rate_per_s["q1"] == pytest.approx(39.0, rel=0.2)


def test_a_service_time_that_wanders_as_it_does_is_no_finding():
    rng = Random(3)
    wander, ratios = 0.0, []
    for _ in range(1800):
        wander = 0.98 * wander + rng.gauss(0.0, 0.012)
        ratios.append(exp(wander + rng.gauss(0.0, 0.08)))
    assert run(times(ratios))[0] == []


def test_a_slower_device_is_found_once_it_has_lasted():
    rng = Random(4)
    findings, state = run(times(noisy(rng, 1.0, 60) + noisy(rng, 1.8, 40)))
    (finding,) = findings
    assert finding.kind is Kind.SERVICE_TIME
    assert 70.0 <= finding.at_s <= 95.0
    assert revisions_of(state).service_ratio[PLACE] == pytest.approx(1.8, rel=0.15)


def test_one_bad_window_is_no_finding():
    rng = Random(5)
    assert run(times([*noisy(rng, 1.0, 60), 9.0, 9.0, 9.0, *noisy(rng, 1.0, 60)]))[0] == []


def test_an_accuracy_that_fell_is_found_and_one_that_holds_is_not():
    rng = Random(6)

    def windows(accuracy, count):
        return [
            AccuracySample(
                place=WHERE,
                scored=10,
                score_sum=float(sum(rng.random() < accuracy for _ in range(10))),
                measured_ratio=0.9,
            )
            for _ in range(count)
        ]

    assert run(windows(0.9, 1000))[0] == []
    findings, state = run(windows(0.9, 100) + windows(0.7, 200))
    assert findings[0].kind is Kind.ACCURACY
    assert revisions_of(state).accuracy_shift[WHERE] < -0.05


def test_what_was_found_stands_after_a_restart_and_can_return():
    _, state = run(rates([10] * 20 + [30] * 5))
    found = revisions_of(state)
    again = resumed(found, {"q1": 10.0}, 0.0)
    assert revisions_of(again) == found
    findings, state = run(rates([10] * 30), again)
    assert [one.returned for one in findings] == [True]


def test_another_stated_rate_begins_anew():
    _, state = run(rates([10] * 20 + [30] * 5))
    made = step(state, rates([30], stated_per_s=30.0), 100.0)
    assert not made.revisions


def test_false_alarms_are_as_rare_as_they_are_said_to_be():
    """At the very edge of what counts as unchanged, which is the worst there is."""
    limits, alarms, windows = Limits(false_alarm_windows=500.0), 0, 0
    for seed in range(6):
        rng = Random(seed)
        findings, _ = run(rates([poisson(rng, 11.5) for _ in range(500)]), limits=limits)
        alarms += bool(findings)
        windows += int(findings[0].at_s) if findings else 500
    assert windows / max(1, alarms) >= 500.0


def snapshot(**changes):
    camera = device("camera", links=("server",), cores=4.0)
    return Snapshot(
        fleet=fleet(camera, device("server", links=("camera",), data_address="x:1"), choices={"q1": choices()}),
        queries=(query("q1", rate_per_s=2.0),),
        circumstances=Circumstances(connected=frozenset({"camera"})),
        running=(a_plan("q1", choices()[0].configuration, cut="camera", read="camera"),),
        **changes,
    )


def test_nothing_revised_gives_the_same_snapshot():
    before = snapshot()
    assert revised(before, NOTHING_REVISED) is before


def test_revisions_enter_the_problem():
    links = {("camera", "server"): LinkRevision(rtt_ms=90.0)}
    found = Revisions(rate_per_s={"q1": 6.0}, service_ratio={("words", "read", "camera"): 2.0}, links=links)
    before, after = draft(snapshot()).problem, draft(revised(snapshot(), found)).problem
    assert after.queries[0].rate_per_s == 6.0
    assert next(wire.rtt_ms for wire in after.wires if wire.source == "camera") == 90.0

    def mean_ms(problem, operator, machine):
        steps = problem.queries[0].candidates[0].steps
        options = next(one.options for one in steps if one.operator_id == operator)
        return [one.service.mean_ms for one in options if one.machine == machine][:1]

    (was,), (now,) = mean_ms(before, "read", "camera"), mean_ms(after, "read", "camera")
    assert now == pytest.approx(2.0 * was)
    assert mean_ms(before, "read", "server") == mean_ms(after, "read", "server")
    assert mean_ms(before, "cut", "camera") == mean_ms(after, "cut", "camera")


def test_a_configuration_that_fell_below_its_bound_is_served_as_a_provisional_one():
    wanted = query("q1", latency_ms=500.0, accuracy_ratio=0.8)
    before = snapshot()
    before = type(before)(
        fleet=before.fleet, queries=(wanted,), circumstances=before.circumstances, running=before.running
    )
    key = configuration_key(choices()[0].configuration)
    one = revised(before, Revisions(accuracy_shift={("words", "plain", key): -0.2}))
    assert key not in {configuration_key(choice.configuration) for choice in one.fleet.choices["q1"]}
    all_of_them = revised(before, Revisions(accuracy_shift={("words", "plain", ""): -0.2}))
    (kept,) = all_of_them.fleet.choices["q1"]
    assert not kept.certified


def test_revisions_are_merged_and_pruned():
    one = Revisions(rate_per_s={"q1": 6.0}, service_ratio={("words", "read", "camera"): 2.0})
    other = Revisions(rate_per_s={"gone": 1.0}, service_ratio={("words", "read", "camera"): 3.0})
    both = merged(one, other)
    assert both.service_ratio == {("words", "read", "camera"): 3.0}
    left = pruned(both, [query("q1")], ["server"])
    assert left == Revisions(rate_per_s={"q1": 6.0})
