from dataclasses import replace

from live_values import BUNDLE, CONTENT, ENVIRONMENT, device, fleet, pipeline, query, table

from cloud_planner.core.needs import Circumstances, ProfilePolicy, assess

POLICY = ProfilePolicy(score_samples=3, time_samples=2)
CAMERA = device("camera", device_class="slow", speed_ratio=0.25, links=["cloud"])
CLOUD = device("cloud", data_address="c:1", cores=4.0)
EMPTY = table(pipeline(), classes=(), scores=False)


def judged(found, *, queries=None, connected=("camera", "cloud"), **changes):
    circumstances = Circumstances(connected=frozenset(connected), policy=POLICY, **changes)
    return assess(found, queries or [query()], circumstances)


def test_accuracy_comes_first_and_from_the_fastest_class():
    found = judged(fleet(CAMERA, CLOUD, tables=EMPTY))
    (scored,) = found.needs
    assert (scored.device_id, scored.score, scored.parallelism) == ("cloud", True, 2)
    assert scored.sample_indices == (0, 1, 2)
    assert len(scored.configurations) == 4
    assert list(found.profiling) == ["q"]
    assert found.plannable == ()


def test_with_all_scores_every_other_class_is_timed_on_a_few_samples():
    found = judged(fleet(CAMERA, CLOUD, tables=table(pipeline(), classes=("fast",))))
    (timed,) = found.needs
    assert (timed.device_id, timed.score, timed.parallelism, timed.sample_indices) == ("camera", False, 2, (0, 1))
    assert len(timed.configurations) == 4
    assert list(found.profiling) == ["q"]


def test_what_is_not_accurate_enough_for_any_query_is_not_timed():
    known = table(pipeline(), classes=("fast",))
    good, *bad = known.scores
    scores = {good: known.scores[good], **{key: dict.fromkeys(range(4), 0.3) for key in bad}}
    tables = replace(known, scores=scores)
    for bounds, timed in (((0.95, 0.6), 1), ((0.95, None), 4), ((0.95, 0.99), 0)):
        queries = [query(f"q{number}", accuracy_ratio=bound) for number, bound in enumerate(bounds)]
        needs = judged(fleet(CAMERA, CLOUD, tables=tables), queries=queries).needs
        assert sum(len(need.configurations) for need in needs) == timed
    # Of a query that nothing is accurate enough for, the plan says so.
    nothing = judged(fleet(CAMERA, CLOUD, tables=tables), queries=[query(accuracy_ratio=0.99)])
    assert [entry.id for entry in nothing.plannable] == ["q"]


def test_nothing_is_asked_for_twice():
    found = judged(fleet(CAMERA, CLOUD, tables=table(pipeline(), classes=("fast", "slow"))))
    assert found.needs == ()
    assert [entry.id for entry in found.plannable] == ["q"]


def test_only_what_is_missing_is_asked_for():
    partial = table(pipeline(), classes=("fast",), samples=1)
    (scored,) = judged(fleet(CAMERA, CLOUD, tables=partial)).needs
    assert scored.sample_indices == (1, 2)


def test_another_class_is_profiled_while_a_query_is_served():
    partial = table(pipeline(), classes=("fast",))
    found = judged(fleet(CAMERA, CLOUD, tables=partial), running=frozenset({"q"}))
    assert [need.device_class for need in found.needs] == ["slow"]
    assert [entry.id for entry in found.plannable] == ["q"]


def test_two_devices_of_a_class_are_profiled_once_and_queries_share():
    twin = device("cloud-2", data_address="c:2", cores=1.0)
    camera = device("camera", device_class="slow", speed_ratio=0.25, links=["cloud", "cloud-2"])
    found = judged(
        fleet(camera, CLOUD, twin, tables=table(pipeline(), classes=())),
        queries=[query("a"), query("b")],
        connected=("camera", "cloud", "cloud-2"),
    )
    assert [need.device_id for need in found.needs] == ["cloud", "camera"]


def test_a_query_waits_until_all_have_said_whether_they_can():
    bare = device("cloud", data_address="c:1", ready=False)
    found = judged(fleet(CAMERA, bare, tables=EMPTY), unanswered=frozenset({("cloud", ENVIRONMENT)}))
    assert found.needs == ()
    assert found.pending == {"q": "its environment is being prepared on cloud"}


def test_a_device_out_of_reach_is_not_profiled():
    found = judged(fleet(device("camera"), CLOUD, tables=EMPTY))
    assert [need.device_id for need in found.needs] == ["camera"]


def test_a_failure_is_said_and_not_asked_for_again():
    failures = {(BUNDLE, CONTENT, "fast"): "operator read raised", (BUNDLE, CONTENT, "slow"): "the same"}
    found = judged(fleet(CAMERA, CLOUD, tables=EMPTY), failures=failures)
    assert found.needs == ()
    assert "operator read raised" in found.refused["q"]


def test_a_query_without_a_connected_device_waits():
    found = judged(fleet(CAMERA, CLOUD, tables=EMPTY), connected=())
    assert found.pending == {"q": "no device that could profile it is connected"}


def test_a_query_whose_source_is_gone_is_left_to_the_plan_to_refuse():
    found = judged(fleet(CLOUD, tables=EMPTY))
    assert [entry.id for entry in found.plannable] == ["q"]
