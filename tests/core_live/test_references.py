from dataclasses import replace

from live_values import device, fleet, operator, pipeline, query, registered
from test_live_directives import CAMERA, placed, plan

from circinus import wire
from circinus.model.directive import Generation
from circinus.model.pipeline import State, configuration_key
from circinus.model.profile import ProfileTable
from cloud_planner.core.directives import directives
from cloud_planner.core.references import LEAST_SCORES, reference_of, with_references

GENERATION = Generation(epoch=1, number=3)


def scores(spec, means, *, count=LEAST_SCORES):
    """A table in which configurations, in their order, have these scores."""
    content = spec.contents[0]
    keys = [configuration_key(one) for one in spec.pipeline.configurations()]
    found = {key: dict.fromkeys(range(count), mean) for key, mean in zip(keys, means, strict=False)}
    return ProfileTable(bundle_digest=spec.bundle_digest, content_digest=content.digest, scores=found, times={})


def told(fleet_now):
    plans = [plan(placed("cut", "camera"), placed("read", "camera"))]
    return directives(fleet_now, [query()], plans, GENERATION)


def test_the_best_known_configuration_is_the_reference():
    spec = registered()
    best = list(spec.pipeline.configurations())[2]
    now = fleet(CAMERA, tables=scores(spec, [0.5, 0.6, 0.9, 0.8]))
    assert reference_of(now, spec, query()) == best
    (directive,) = with_references(told(now), now, [query()], {})
    assert directive.sources[0].reference == best
    assert directive.sources[0].key == told(now)[0].sources[0].key


def test_without_enough_scores_there_is_none():
    spec = registered()
    now = fleet(CAMERA, tables=scores(spec, [0.5, 0.9], count=LEAST_SCORES - 1))
    assert with_references(told(now), now, [query()], {}) == told(now)


def test_a_source_keeps_the_reference_that_it_has():
    spec = registered()
    first, second, *_ = spec.pipeline.configurations()
    now = fleet(CAMERA, tables=scores(spec, [0.9, 0.5]))
    before = with_references(told(now), now, [query()], {})
    assert before[0].sources[0].reference == first
    in_force = {one.device_id: wire.directive_to_message(one) for one in before}
    later = fleet(CAMERA, tables=scores(spec, [0.5, 0.9]))
    assert reference_of(later, spec, query()) == second
    assert with_references(told(later), later, [query()], in_force) == before
    (directive,) = told(later)
    anew = replace(directive, sources=(replace(directive.sources[0], key="another"),))
    assert with_references([anew], later, [query()], in_force)[0].sources[0].reference == second


def test_a_pipeline_with_state_has_none():
    stateful = replace(operator("cut", ("source",)), state=State.PER_SOURCE)
    spec = registered(pipeline(stateful, operator("read", ("cut",))))
    now = fleet(device("camera"), spec=spec.pipeline, tables=scores(spec, [0.9]))
    assert reference_of(now, spec, query()) == {}


def test_a_reference_alone_is_no_reason_for_a_generation():
    spec = registered()
    first, *_ = spec.pipeline.configurations()
    unknown = fleet(CAMERA, tables=scores(spec, [], count=0))
    in_force = {one.device_id: wire.directive_to_message(one) for one in told(unknown)}
    now = fleet(CAMERA, tables=scores(spec, [0.9, 0.5]))
    assert with_references(told(now), now, [query()], in_force) == told(now)
    moved = directives(now, [query()], [plan(placed("cut", "camera"), placed("read", "camera", cores=1.0))], GENERATION)
    (directive,) = with_references(moved, now, [query()], in_force)
    assert directive.sources[0].reference == first
