"""What the owner of a device allows, as the agent holds directives to it. PURE."""

from __future__ import annotations

from dataclasses import replace

import pytest

from circinus.bundle import pipeline_json
from circinus.errors import AgainstPolicy, InvalidInput
from circinus.model.directive import Directive, Generation, Peer, ReplicaSet, Route, SourceSpec, StandBy, Target
from circinus.model.pipeline import EnvironmentSpec, OperatorSpec, Pipeline
from circinus.model.plan import Interval
from circinus.model.policy import ALLOW_ALL, Policy
from edge_agent.law import check_policy, check_sites
from edge_agent.site_inputs import read_site_inputs

BUNDLE = "sha256:" + "1" * 64
ENVIRONMENT = "sha256:" + "2" * 64
SURE = Interval(value=1.0, low=1.0, high=1.0)


def replicas(operator: str, query: str = "q1", **fields) -> ReplicaSet:
    made = ReplicaSet(
        key=f"{query}-{operator}",
        query_id=query,
        pipeline_id="door",
        operator_id=operator,
        bundle_digest=BUNDLE,
        environment_digest=ENVIRONMENT,
        entry_point="a:B",
        knobs={},
        replicas=1,
        cores=0.5,
        accelerator_slots=0,
        accelerator_memory_bytes=0,
        memory_bytes=2**28,
        batch=1,
        hang_ms=1000.0,
        inputs=("source",),
    )
    return replace(made, **fields)


def source(query: str = "q1") -> SourceSpec:
    return SourceSpec(
        key=f"source-{query}",
        query_id=query,
        pipeline_id="door",
        bundle_digest=BUNDLE,
        environment_digest=ENVIRONMENT,
        entry_point="a:B",
        scorer_entry_point="a:C",
        content="day",
        seed=1,
        rate_per_s=1.0,
        deadline_ms=0.0,
        output_operator_ids=("find",),
    )


def route(operator: str, *inputs: str, to: str, query: str = "q1", **fields) -> Route:
    made = Route(query_id=query, operator_id=operator, inputs=inputs, targets=(Target(device_id=to, share_ratio=1.0),))
    return replace(made, **fields)


def directive(**fields) -> Directive:
    made = Directive(
        device_id="camera",
        generation=Generation(epoch=1, number=1),
        replica_sets=(),
        routes=(),
        sources=(source(),),
        peers=(
            Peer(device_id="gateway", address="g:1", site="shop"),
            Peer(device_id="cloud", address="c:1", site="cloud"),
            Peer(device_id="old", address="o:1"),
        ),
        dialled_by=(Peer(device_id="tablet", address="", site="shop"), Peer(device_id="lab", address="", site="lab")),
    )
    return replace(made, **fields)


def stays(asked: Directive, policy: Policy = ALLOW_ALL, **kept: tuple[str, ...]) -> None:
    """Nothing, if the directive is taken: ``kept`` are inputs of operators that may not leave the site."""
    check_sites(asked, "shop", policy, {BUNDLE: {name: frozenset(inputs) for name, inputs in kept.items()}})


def test_who_says_nothing_allows_all():
    check_policy(directive(replica_sets=(replicas("find", cores=64.0, memory_bytes=2**40),)), ALLOW_ALL)


def test_only_pipelines_that_are_allowed_run():
    check_policy(directive(), Policy(allowed_pipelines=("door", "window")))
    with pytest.raises(AgainstPolicy, match="'door'.*allows only window"):
        check_policy(directive(), Policy(allowed_pipelines=("window",)))
    spy = StandBy(
        query_id="q1",
        configuration={},
        replica_sets=(replicas("find", pipeline_id="spy"),),
        routes=(),
        needs=("cloud",),
        latency_ms=SURE,
        accuracy_ratio=SURE,
    )
    with pytest.raises(AgainstPolicy, match="'spy'"):
        check_policy(directive(stand_bys=(spy,)), Policy(allowed_pipelines=("door",)))


def test_no_more_is_taken_than_is_allowed():
    asked = directive(replica_sets=(replicas("find", replicas=2), replicas("read")))
    check_policy(asked, Policy(max_cores=1.5, max_memory_bytes=3 * 2**28))
    with pytest.raises(AgainstPolicy, match=r"1.5 cores; camera allows 1.4"):
        check_policy(asked, Policy(max_cores=1.4))
    with pytest.raises(AgainstPolicy, match="bytes of memory"):
        check_policy(asked, Policy(max_memory_bytes=3 * 2**28 - 1))


@pytest.mark.parametrize(("target", "near"), [("camera", True), ("gateway", True), ("tablet", True), ("cloud", False)])
def test_an_input_that_stays_goes_no_further_than_its_site(target, near):
    asked = directive(routes=(route("find", "source", to=target),))
    stays(asked)
    stays(asked, read=("source",))
    if near:
        stays(asked, find=("source",))
    else:
        with pytest.raises(AgainstPolicy, match="'source' of door to 'find' on cloud.*data: site"):
            stays(asked, find=("source",))


@pytest.mark.parametrize("target", ["lab", "old", "nowhere"])
def test_who_is_elsewhere_or_whose_site_is_not_told_gets_nothing_that_stays(target):
    with pytest.raises(AgainstPolicy):
        stays(directive(routes=(route("find", "source", to=target),)), find=("source",))


def test_only_what_is_made_here_is_held_here():
    # The gateway makes `cut`, which stays; this device makes the other input of the operator that joins them.
    asked = directive(routes=(route("join", "source", "cut", to="cloud"),))
    stays(asked, join=("cut",))
    made_here = replace(asked, replica_sets=(replicas("cut"),))
    with pytest.raises(AgainstPolicy, match="'cut'"):
        stays(made_here, join=("cut",))


def test_one_part_elsewhere_is_too_much():
    targets = (Target(device_id="gateway", share_ratio=0.9), Target(device_id="cloud", share_ratio=0.1))
    asked = directive(routes=(replace(route("find", "source", to="x"), targets=targets),))
    with pytest.raises(AgainstPolicy, match="cloud"):
        stays(asked, find=("source",))


def test_what_another_querys_run_gives_is_held_too():
    led = route("read", "cut", to="cloud", query="q2", given_by={"cut": "q1"})
    asked = directive(replica_sets=(replicas("cut"),), routes=(led,))
    with pytest.raises(AgainstPolicy, match="'cut'"):
        stays(asked, read=("cut",))


def test_what_nothing_here_makes_is_not_sent_on():
    asked = directive(routes=(route("find", "source", to="cloud", query="unknown"),))
    with pytest.raises(AgainstPolicy, match="can't be told"):
        stays(asked)


def test_an_owner_keeps_all_items_of_a_pipeline_answers_too():
    policy = Policy(data_stays=("door",))
    stays(directive(routes=(route("find", "source", to="gateway"),)), policy)
    with pytest.raises(AgainstPolicy, match="data_stays"):
        stays(directive(routes=(route("find", "source", to="cloud"),)), policy)
    answers = route("source", "find", to="cloud")
    with pytest.raises(AgainstPolicy, match="data_stays"):
        stays(directive(replica_sets=(replicas("find"),), routes=(answers,), sources=()), policy)
    stays(directive(routes=(route("find", "source", to="cloud"),)), Policy(data_stays=("window",)))


def test_a_bundle_says_which_inputs_stay_and_only_if_some_do(tmp_path):
    find = OperatorSpec(id="find", entry_point="a:B", inputs=("source",), knobs=(), site_inputs=("source",))
    pipeline = Pipeline(
        id="door",
        description="",
        environment=EnvironmentSpec(),
        source="a:S",
        scorer="a:C",
        operators=(find,),
        outputs=("find",),
        contents=(),
    )
    (tmp_path / "pipeline.json").write_bytes(pipeline_json(pipeline))
    assert read_site_inputs(tmp_path) == {"find": frozenset({"source"})}
    plain = replace(pipeline, operators=(replace(find, site_inputs=()),))
    # Bundles that were made before keep their digests.
    assert b"site_inputs" not in pipeline_json(plain)
    (tmp_path / "pipeline.json").write_bytes(pipeline_json(plain))
    assert read_site_inputs(tmp_path) == {"find": frozenset()}


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"operators": [{}]}', '{"operators": [{"id": "a", "site_inputs": 3}]}']
)
def test_a_bundle_that_does_not_say_promises_nothing(tmp_path, text):
    (tmp_path / "pipeline.json").write_text(text)
    with pytest.raises(InvalidInput, match=r"pipeline\.json can't be read"):
        read_site_inputs(tmp_path)
