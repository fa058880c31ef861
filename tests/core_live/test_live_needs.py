from dataclasses import replace

from live_values import BUNDLE, CONTENT, ENVIRONMENT, a_plan, device, fleet, measured, pipeline, query, table

from circinus.model.pipeline import ContentRef, configuration_key
from circinus.model.plan import Interval
from circinus.model.profile import SampleResult
from cloud_planner.core.decompose import Choice
from cloud_planner.core.live_search import Wanted, sample_order
from cloud_planner.core.needs import Circumstances, ProfilePolicy, assess, search_need, verification_needs

POLICY = ProfilePolicy(time_samples=2)
CAMERA = device("camera", device_class="slow", speed_ratio=0.25, links=["cloud"])
CLOUD = device("cloud", data_address="c:1", cores=4.0)
EMPTY = table(pipeline(), classes=(), scores=False)
CONFIGURATION = {"cut.length": 1, "read.fast": True}
WANTED = Wanted(configurations=(CONFIGURATION,), sample_indices=(2, 0), timed=False, memory=True)
#: The samples that verify times.
FIRST = sample_order(ContentRef(name="plain", digest=CONTENT, samples=4))[:2]


def circumstances(*, connected=("camera", "cloud"), **changes):
    return Circumstances(connected=frozenset(connected), policy=POLICY, **changes)


def judged(found, *, queries=None, **changes):
    return assess(found, queries or [query()], circumstances(**changes))


def with_choice(found, *query_ids):
    choice = Choice(configuration=CONFIGURATION, accuracy=Interval(value=0.9, low=0.8, high=1.0))
    return replace(found, choices=dict.fromkeys(query_ids, (choice,)))


def verified(found, *plans, queries=None, **changes):
    queries = queries or [query(plan.query_id) for plan in plans]
    return verification_needs(found, {one.id: one for one in queries}, plans, circumstances(**changes))


# What a search asks for


def test_a_search_is_answered_by_the_fastest_class_that_is_connected():
    found = fleet(CAMERA, CLOUD, tables=EMPTY)
    need = search_need(found, query(), WANTED, circumstances())
    assert (need.device_id, need.device_class, need.score, need.query_id) == ("cloud", "fast", True, "q")
    assert (need.configurations, need.sample_indices) == ((CONFIGURATION,), (2, 0))
    assert (need.timed, need.memory, need.parallelism) == (False, True, 2)
    assert search_need(found, query(), WANTED, circumstances(connected=("camera",))).device_id == "camera"
    assert search_need(found, query(), WANTED, circumstances(connected=())) is None


def test_a_class_whose_run_failed_is_passed_over():
    failures = {(BUNDLE, CONTENT, "fast"): "operator read raised"}
    need = search_need(fleet(CAMERA, CLOUD, tables=EMPTY), query(), WANTED, circumstances(failures=failures))
    assert need.device_id == "camera"


def test_a_device_out_of_reach_or_without_the_environment_is_not_asked():
    for found in (
        fleet(device("camera", device_class="slow"), CLOUD, tables=EMPTY),
        fleet(CAMERA, replace(CLOUD, environments=()), tables=EMPTY),
    ):
        assert search_need(found, query(), WANTED, circumstances()).device_id == "camera"


def test_content_without_labels_is_scored_against_its_reference():
    reference = {"cut.length": 2, "read.fast": False}
    spec = pipeline()
    spec = replace(spec, contents=(replace(spec.contents[0], reference=reference),))
    found = fleet(CAMERA, CLOUD, spec=spec, tables=EMPTY)
    assert search_need(found, query(), WANTED, circumstances()).reference == reference
    (timed, _) = verified(found, a_plan("q", CONFIGURATION, cut="camera", read="cloud"))
    assert timed.reference is None


# What plans rest on


def test_what_a_plan_rests_on_is_measured_on_each_class_that_it_uses_and_no_other():
    found = fleet(CAMERA, CLOUD, tables=EMPTY)
    needs = verified(found, a_plan("q", CONFIGURATION, cut="camera", read="cloud"))
    assert [(need.device_id, need.sample_indices) for need in needs] == [("cloud", FIRST), ("camera", FIRST)]
    assert {(need.score, need.timed, need.memory, need.query_id) for need in needs} == {(False, True, True, "q")}
    alone = verified(found, a_plan("q", CONFIGURATION, cut="camera", read="camera"))
    assert [need.device_class for need in alone] == ["slow"]


def test_what_is_measured_is_not_asked_for_again():
    plan = a_plan("q", CONFIGURATION, cut="camera", read="cloud")
    both = table(pipeline(), classes=("fast", "slow"))
    assert verified(fleet(CAMERA, CLOUD, tables=both), plan) == ()
    (need,) = verified(fleet(CAMERA, CLOUD, tables=table(pipeline(), classes=("fast",))), plan)
    assert need.device_class == "slow"
    few = {
        name: tuple(replace(one, samples=one.samples[: FIRST[0] + 1]) for one in both.times[name])
        for name in both.times
    }
    missing = tuple(index for index in FIRST if index > FIRST[0])
    needs = verified(fleet(CAMERA, CLOUD, tables=replace(both, times=few)), plan)
    assert [need.sample_indices for need in needs] == ([missing] * 2 if missing else [])


def hurried(known, *operator_ids):
    """The table with these operators' times hurried."""
    return replace(
        known,
        times={
            name: tuple(
                replace(
                    one,
                    samples=tuple(
                        replace(
                            sample,
                            operators=tuple(
                                replace(step, hurried=step.operator_id in operator_ids) for step in sample.operators
                            ),
                        )
                        for sample in one.samples
                    ),
                )
                for one in profiles
            )
            for name, profiles in known.times.items()
        },
    )


def test_hurried_times_and_those_of_some_operators_do_not_verify():
    plan = a_plan("q", CONFIGURATION, cut="cloud", read="cloud")
    known = table(pipeline(), classes=("fast",))
    for operator_ids, asked in (((), []), (("read",), [FIRST]), (("cut", "read"), [FIRST])):
        needs = verified(fleet(CAMERA, CLOUD, tables=hurried(known, *operator_ids)), plan)
        assert [need.sample_indices for need in needs] == asked
    part = {"fast": tuple(replace(one, samples=tuple(_only_cut(one.samples))) for one in known.times["fast"])}
    (need,) = verified(fleet(CAMERA, CLOUD, tables=replace(known, times=part)), plan)
    assert need.sample_indices == FIRST


def _only_cut(samples):
    return [
        SampleResult(sample_index=one.sample_index, score_ratio=None, operators=(measured("cut", 1.0),))
        for one in samples
    ]


def test_two_queries_with_one_configuration_are_verified_by_one_run():
    plans = [a_plan(name, CONFIGURATION, cut="cloud", read="cloud") for name in ("a", "b")]
    (need,) = verified(fleet(CAMERA, CLOUD, tables=EMPTY), *plans)
    assert need.query_id == "a"


def test_a_class_that_failed_or_is_away_is_not_asked_to_verify():
    plan = a_plan("q", CONFIGURATION, cut="camera", read="cloud")
    found = fleet(CAMERA, CLOUD, tables=EMPTY)
    failures = {(BUNDLE, CONTENT, "slow"): "operator read raised"}
    assert [need.device_id for need in verified(found, plan, failures=failures)] == ["cloud"]
    assert [need.device_id for need in verified(found, plan, connected=("camera",))] == ["camera"]


# Who waits for what


def test_a_query_with_a_choice_is_planned_and_one_without_is_being_profiled():
    found = with_choice(fleet(CAMERA, CLOUD, tables=EMPTY), "b")
    sorted_ = judged(found, queries=[query("a"), query("b")])
    assert [one.id for one in sorted_.plannable] == ["b"]
    assert sorted_.profiling == {"a": "words is being profiled on plain"}
    assert sorted_.pending == sorted_.refused == {}


def test_a_query_waits_until_all_have_said_whether_they_can_unless_it_has_a_choice():
    bare = replace(CLOUD, environments=())
    found = fleet(CAMERA, bare, tables=EMPTY)
    asked = frozenset({("cloud", ENVIRONMENT)})
    assert judged(found, unanswered=asked).pending == {"q": "its environment is being prepared on cloud"}
    assert [one.id for one in judged(with_choice(found, "q"), unanswered=asked).plannable] == ["q"]


def test_what_a_search_gave_up_is_refused_with_its_reason():
    found = judged(fleet(CAMERA, CLOUD, tables=EMPTY), refusals={"q": "no configuration meets its SLO"})
    assert found.refused == {"q": "no configuration meets its SLO"}
    assert found.plannable == ()


def test_a_failure_on_every_class_is_said():
    failures = {(BUNDLE, CONTENT, "fast"): "operator read raised", (BUNDLE, CONTENT, "slow"): "the same"}
    found = judged(fleet(CAMERA, CLOUD, tables=EMPTY), failures=failures)
    assert found.refused == {"q": "words can't be profiled on plain: operator read raised"}


def test_a_query_without_a_connected_device_waits():
    found = judged(fleet(CAMERA, CLOUD, tables=EMPTY), connected=())
    assert found.pending == {"q": "no device that could profile it is connected"}


def test_a_query_whose_source_is_gone_is_left_to_the_plan_to_refuse():
    found = judged(fleet(CLOUD, tables=EMPTY))
    assert [entry.id for entry in found.plannable] == ["q"]


def test_what_is_asked_again_is_the_same_work():
    found = fleet(CAMERA, CLOUD, tables=EMPTY)
    need = search_need(found, query(), WANTED, circumstances())
    assert need.work == search_need(found, query(), WANTED, circumstances()).work
    assert need.work != search_need(found, query(), replace(WANTED, sample_indices=(2, 1)), circumstances()).work
    assert need.work[1] == (configuration_key(CONFIGURATION),)
