from dataclasses import replace

from circinus.model.changes import Noun, PipelineFacts, Things, Verdict, changes
from circinus.model.query import Query, Slo

ONE = PipelineFacts(bundle_digest="sha256:" + "1" * 64, spec_digest="sha256:" + "a" * 64)
TWO = PipelineFacts(bundle_digest="sha256:" + "2" * 64, spec_digest="sha256:" + "a" * 64)


def query(query_id="gate", **fields):
    values = {
        "pipeline_id": "plates",
        "content": "day",
        "source_device_id": "camera-1",
        "rate_per_s": 3.0,
        "slo": Slo(latency_ms=300.0),
    }
    return Query(id=query_id, **values | fields)


def things(*queries, pipelines=None, labels=None):
    return Things(
        pipelines={"plates": ONE} if pipelines is None else pipelines,
        queries={one.id: one for one in queries},
        labels=labels or {},
    )


def verdicts(found):
    return {(one.noun.value, one.id): one.verdict.value for one in found}


def test_what_is_not_there_is_added_and_what_is_so_already_is_unchanged():
    declared = things(query("gate"), query("yard"))
    found = changes(declared, things(query("gate"), pipelines={}))
    assert verdicts(found) == {
        ("pipeline", "plates"): "added",
        ("query", "gate"): "unchanged",
        ("query", "yard"): "added",
    }
    assert {one.verdict for one in changes(declared, declared)} == {Verdict.UNCHANGED}


def test_a_changed_query_is_told_by_what_differs():
    new = query(rate_per_s=4.0, slo=Slo(latency_ms=250.0, accuracy_ratio=0.9))
    (_, changed) = changes(things(new), things(query()))
    assert changed.details == ("rate_per_s 3 -> 4", "slo.latency_ms 300 -> 250", "slo.accuracy_ratio none -> 0.9")
    assert not changed.pauses


def test_another_content_or_pipeline_makes_a_query_pause():
    (_, changed) = changes(things(query(content="night")), things(query()))
    assert changed.pauses
    found = changes(things(query(), pipelines={"plates": TWO}), things(query()))
    assert [(one.id, one.verdict, one.pauses) for one in found] == [
        ("plates", Verdict.CHANGED, False),
        ("gate", Verdict.CHANGED, True),
    ]
    assert found[0].details == ("code 111111111111 -> 222222222222",)


def test_queries_of_a_changed_pipeline_that_no_file_names_are_told_too():
    found = changes(things(pipelines={"plates": TWO}), things(query("other")))
    assert [(one.noun, one.id, one.pauses) for one in found] == [
        (Noun.PIPELINE, "plates", False),
        (Noun.QUERY, "other", True),
    ]


def test_a_pipeline_that_says_something_else_with_the_same_code_is_changed():
    other = replace(ONE, spec_digest="sha256:" + "b" * 64)
    (pipeline,) = changes(things(pipelines={"plates": other}), things())
    assert pipeline.details == ("what its pipeline.yaml says",)


def test_labels_that_are_not_named_stay_and_none_takes_one_away():
    present = things(labels={"camera-1": {"zone": "north", "old": "", "site": "shop"}})
    declared = things(labels={"camera-1": {"zone": "south", "old": None, "gone": None}})
    (_, device) = changes(declared, present)
    assert device.details == ("label old -> no old", "label zone=north -> zone=south")
    settled = things(labels={"camera-1": {"zone": "south", "site": "shop"}})
    assert {one.verdict for one in changes(declared, settled)} == {Verdict.UNCHANGED}


def test_nothing_is_removed_unless_it_is_asked_for():
    present = things(query("gate"), query("yard"))
    assert verdicts(changes(things(query("gate")), present)) == {
        ("pipeline", "plates"): "unchanged",
        ("query", "gate"): "unchanged",
    }


def test_pruning_removes_what_is_meant_and_pipelines_that_nobody_uses_then():
    present = things(query("gate"), query("yard"), pipelines={"plates": ONE, "old": TWO})
    declared = things(query("gate"), pipelines={})
    whole = changes(declared, present, tuple(present.queries.values()))
    assert verdicts(whole) == {
        ("pipeline", "old"): "removed",
        ("query", "gate"): "unchanged",
        ("query", "yard"): "removed",
    }
    # A part of the queries says nothing of pipelines, nor of the other queries.
    part = changes(things(pipelines={}), present, (present.queries["yard"],))
    assert verdicts(part) == {("query", "yard"): "removed"}
