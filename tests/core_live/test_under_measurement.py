"""What a belief has to beat, and when a decision waits for its measurements."""

from dataclasses import replace

import pytest
from live_values import CONTENT, a_plan, choices, device, fleet, pipeline, query, table

from circinus.model.pipeline import ContentRef
from cloud_planner.core.caution import cautious, runs_as_measured
from cloud_planner.core.decompose import content_statistics, decompose
from cloud_planner.core.live_search import sample_order
from cloud_planner.core.needs import Circumstances, ProfilePolicy, verification_needs
from cloud_planner.core.planning import Snapshot
from cloud_planner.core.under_measurement import LONGEST_S, under_measurement

CAMERA = device("camera", device_class="slow", speed_ratio=0.25, cores=8.0)
MEASURED, OTHER = {"cut.length": 1, "read.fast": True}, {"cut.length": 1, "read.fast": False}
ORDER = sample_order(ContentRef(name="plain", digest=CONTENT, samples=4))


def only(configuration, *, indices=(0, 1, 2, 3), classes=("slow",)):
    """Measured of one configuration only, on some samples, beside all of them on a fast class that is not there."""
    found = table(pipeline(), classes=("fast",))
    kept = next(one for one in found.times["fast"] if one.configuration == configuration)
    part = replace(kept, samples=tuple(one for one in kept.samples if one.sample_index in indices))
    return replace(found, times={**found.times, **(dict.fromkeys(classes, (part,)) if indices else {})})


def options(problem, configuration):
    (found,) = [one for one in problem.queries[0].candidates if one.configuration == configuration]
    return {step.operator_id: step.options[0].service.mean_ms for step in found.steps}


def placed(configuration):
    return a_plan("q", configuration, cut="camera", read="camera")


def there(found):
    return replace(found, choices={"q": choices()})


def test_who_runs_by_measured_times_is_planned_with_others_one_standard_error_longer():
    found = there(fleet(CAMERA, tables=only(MEASURED)))
    free, settled = decompose(found, [query()]), decompose(found, [query()], running=(placed(MEASURED),))
    assert options(settled, MEASURED) == options(free, MEASURED)
    service = content_statistics(found, query())["slow"].service(pipeline(), "read", OTHER)
    assert service.believed
    assert service.error_ratio > 0.0
    assert options(settled, OTHER)["read"] == pytest.approx(options(free, OTHER)["read"] * (1.0 + service.error_ratio))


def test_who_runs_by_believed_times_is_planned_with_all_of_them_as_they_are():
    found = there(fleet(CAMERA, tables=only(MEASURED)))
    assert decompose(found, [query()], running=(placed(OTHER),)).queries == decompose(found, [query()]).queries


def test_a_plan_runs_as_measured_only_if_each_operator_was_measured_where_it_is():
    found = there(fleet(CAMERA, tables=only(MEASURED)))
    statistics = content_statistics(found, query())
    classes = {"camera": "slow"}
    assert runs_as_measured(pipeline(), placed(MEASURED), classes, statistics)
    assert not runs_as_measured(pipeline(), placed(OTHER), classes, statistics)
    assert not runs_as_measured(pipeline(), placed(MEASURED), {}, statistics)
    assert not runs_as_measured(pipeline(), a_plan("q", MEASURED), classes, statistics)


def test_caution_leaves_what_was_measured_as_it_is():
    known = content_statistics(there(fleet(CAMERA, tables=only(MEASURED))), query())["slow"]
    before, after = known.services, cautious(known).services
    assert {place for place in before if after[place] != before[place]} == {
        place for place, service in before.items() if service.error_ratio > 0.0
    }


# When a decision waits


def snapshot(found, **changes):
    policy = ProfilePolicy(time_samples=len(ORDER))
    values = {"circumstances": Circumstances(connected=frozenset(["camera"]), policy=policy), "queries": (query(),)}
    return Snapshot(fleet=there(found), **(values | changes))


def decided(indices=()):
    return decided_from(snapshot(fleet(CAMERA, tables=only(MEASURED, indices=indices))))


def decided_from(found):
    plans = [placed(MEASURED)]
    needs = verification_needs(found.fleet, {one.id: one for one in found.queries}, plans, found.circumstances)
    return under_measurement(found, plans, needs, 10.0)


def test_a_decision_waits_while_its_times_are_measured():
    for indices in ((), ORDER[:1], ORDER[:3]):
        assert decided().goes_on(snapshot(fleet(CAMERA, tables=only(MEASURED, indices=indices))), 11.0)


def test_it_waits_no_longer_when_all_of_them_are_there_or_it_takes_too_long():
    assert not decided().goes_on(snapshot(fleet(CAMERA, tables=only(MEASURED))), 11.0)
    same = snapshot(fleet(CAMERA, tables=only(MEASURED, indices=())))
    assert decided().goes_on(same, 10.0 + LONGEST_S)
    assert not decided().goes_on(same, 10.1 + LONGEST_S)


def test_it_does_not_wait_if_anything_else_is_new():
    tables = only(MEASURED, indices=())
    for other in (
        snapshot(fleet(CAMERA, tables=tables), queries=(query(), query("r"))),
        snapshot(fleet(replace(CAMERA, cores=4.0), tables=tables)),
        snapshot(fleet(CAMERA, device("cloud"), tables=tables)),
        replace(
            snapshot(fleet(CAMERA, tables=tables)),
            fleet=replace(fleet(CAMERA, tables=tables), choices={"q": choices()[:1]}),
        ),
        replace(
            snapshot(fleet(CAMERA, tables=tables)),
            fleet=replace(fleet(CAMERA, tables=tables), choices={"q": choices(certified=False)}),
        ),
    ):
        assert not decided().goes_on(other, 11.0)


def test_other_order_and_surer_accuracy_of_the_same_choices_are_nothing_new():
    tables = only(MEASURED, indices=())
    found = replace(fleet(CAMERA, tables=tables), choices={"q": tuple(reversed(choices(low=0.87)))})
    assert decided().goes_on(replace(snapshot(found), fleet=found), 11.0)


def test_a_decision_whose_times_are_all_measured_waits_for_nothing():
    there_already = snapshot(fleet(CAMERA, tables=only(MEASURED)))
    assert not decided_from(there_already).goes_on(there_already, 10.0)
