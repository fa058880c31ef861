"""Model values survive the wire, and bad ones don't get in."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circinus import wire
from circinus.errors import InvalidInput, TooLarge
from circinus.model.device import Accelerator, Device, Environment, Link, Tier
from circinus.model.directive import Directive, Generation, Peer, ReplicaSet, Route, SourceSpec, StandBy, Target, Use
from circinus.model.pipeline import configuration_key
from circinus.model.plan import Certainty, Interval, MachineUse, OperatorPlan, Plan, Selection, UnplacedQuery
from circinus.model.policy import Policy
from circinus.model.profile import ConfigurationProfile, OperatorSample, SampleResult
from circinus.model.query import Budget, Guarantee, Query, Slo
from circinus.model.search import MAX_STEPS, SearchPhase, SearchState, SearchStep
from circinus.v1 import planner_pb2, types_pb2

DIGEST = "sha256:" + "0" * 64

positive = st.floats(min_value=1e-3, max_value=1e6)
ratios = st.floats(min_value=0.0, max_value=1.0)
names = st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True)
knob_values = st.one_of(st.booleans(), st.integers(-(2**60), 2**60), st.floats(-1e12, 1e12), st.text(max_size=20))
configurations = st.dictionaries(names.map(lambda name: f"op.{name}"), knob_values, max_size=5)


def a_device() -> Device:
    return Device(
        id="camera-1",
        tier=Tier.EDGE,
        site="shop-1",
        device_class="epyc/avx512/x0.25",
        cpu_model="AMD EPYC",
        logical_cores=2,
        max_frequency_mhz=0.0,
        cpu_flags=("avx2", "sse4_2"),
        cores=1.5,
        memory_bytes=2**33,
        disk_free_bytes=2**30,
        accelerators=(
            Accelerator(kind="cuda", model="T4", provider="CUDAExecutionProvider", slots=2, memory_bytes=2**34),
        ),
        links=(Link(peer="gateway-1", bandwidth_bit_per_s=20_000_000, rtt_ms=4.0, price_per_gb=0.1, emulated=True),),
        price_per_h=0.05,
        speed_ratio=0.25,
        environments=(Environment(digest=DIGEST, ready=False, reason="no libtesseract"),),
        data_address="127.0.0.1:7000",
        agent_version="0.1.0",
        policy=Policy(allowed_pipelines=("traffic",), max_cores=1.5, max_memory_bytes=2**30, data_stays=("meeting",)),
    )


def a_directive() -> Directive:
    return Directive(
        device_id="camera-1",
        generation=Generation(epoch=1, number=7),
        replica_sets=(
            ReplicaSet(
                key="abc",
                query_id="q1",
                pipeline_id="documents",
                operator_id="read",
                bundle_digest=DIGEST,
                environment_digest=DIGEST,
                entry_point="operators:Read",
                knobs={"engine": "tesseract", "scale": 0.5, "deep": True, "side": 320},
                replicas=2,
                cores=0.5,
                accelerator_slots=1,
                accelerator_memory_bytes=10,
                memory_bytes=100,
                batch=4,
                hang_ms=1000.0,
                inputs=("denoise",),
                split_by="lines of text",
                each=True,
                uses=(
                    Use(query_id="q1", operator_id="read", inputs=("denoise",), rate_per_s=2.0, after_ms=7.5),
                    Use(query_id="q2", operator_id="read", inputs=("denoise",), weight=3.0, deadline_ms=400.0),
                ),
            ),
        ),
        routes=(
            Route(
                query_id="q1",
                operator_id="read",
                inputs=("denoise",),
                targets=(Target(device_id="a", share_ratio=0.25), Target(device_id="b", share_ratio=0.75)),
                each=True,
                given_by={"denoise": "q0"},
            ),
        ),
        sources=(
            SourceSpec(
                key="s",
                query_id="q1",
                pipeline_id="documents",
                bundle_digest=DIGEST,
                environment_digest=DIGEST,
                entry_point="camera:Camera",
                scorer_entry_point="accuracy:CharacterAccuracy",
                content="clean",
                seed=3,
                rate_per_s=2.0,
                deadline_ms=500.0,
                output_operator_ids=("read",),
                clip=12,
                input="camera:0",
                leader_query_id="q0",
                weight=2.0,
                reference={"read.engine": "rapidocr"},
            ),
        ),
        peers=(Peer(device_id="b", address="127.0.0.1:9", site="cloud"),),
        dialled_by=(Peer(device_id="c", address="", site="shop-1"),),
        stand_bys=(
            StandBy(
                query_id="q1",
                configuration={"read.engine": "tesseract"},
                replica_sets=(),
                routes=(),
                needs=("b",),
                latency_ms=Interval(value=80.0, low=70.0, high=90.0),
                accuracy_ratio=Interval(value=0.8, low=0.7, high=0.9),
            ),
        ),
    )


def test_device_survives_the_wire():
    assert wire.device_from_message(wire.device_to_message(a_device())) == a_device()


def test_directive_survives_the_wire_with_its_digest():
    message = wire.directive_to_message(a_directive())
    assert wire.directive_from_message(message) == a_directive()
    assert message.digest == wire.directive_digest(message)


def test_digest_changes_with_the_content():
    message = wire.directive_to_message(a_directive())
    message.replica_sets[0].replicas = 3
    assert wire.directive_digest(message) != message.digest


def test_what_is_only_predicted_orders_nothing():
    before = wire.directive_to_message(a_directive())
    predicted, ordered = types_pb2.Directive(), types_pb2.Directive()
    for message in (predicted, ordered):
        message.CopyFrom(before)
        message.generation += 1
    predicted.replica_sets[0].uses[0].after_ms = 9.0
    predicted.stand_bys[0].latency_ms.value = 85.0
    ordered.replica_sets[0].uses[0].rate_per_s = 3.0
    assert wire.orders_of(predicted) == wire.orders_of(before)
    assert wire.orders_of(ordered) != wire.orders_of(before)


@pytest.mark.parametrize("value", ["camera", "http://x", "file:a b", "push:x", "camera:" + "x" * 1000])
def test_an_input_that_is_none_is_refused(value):
    message = wire.directive_to_message(a_directive())
    message.sources[0].input = value
    with pytest.raises(InvalidInput, match="is no input"):
        wire.directive_from_message(message)


def test_shares_that_do_not_sum_to_one_are_refused():
    message = wire.directive_to_message(a_directive())
    message.routes[0].targets[0].share_ratio = 0.5
    with pytest.raises(InvalidInput, match="sum to 1.25"):
        wire.directive_from_message(message)


@pytest.mark.parametrize("bad", ["", "../x", "a\nb", "x" * 201, "a/../b"])
def test_bad_names_are_refused(bad):
    message = wire.device_to_message(a_device())
    message.device_id = bad
    with pytest.raises(InvalidInput, match="device_id"):
        wire.device_from_message(message)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0, 1e300])
@pytest.mark.parametrize("field", ["cores", "price_per_h", "speed_ratio"])
def test_figures_that_are_no_figures_are_refused(field, bad):
    message = wire.device_to_message(a_device())
    setattr(message, field, bad)
    with pytest.raises(InvalidInput, match=field):
        wire.device_from_message(message)


def test_a_list_without_end_is_refused():
    message = wire.device_to_message(a_device())
    message.accelerators.extend([message.accelerators[0]] * 100)
    with pytest.raises(TooLarge, match="accelerators: 101 entries are more than 64"):
        wire.device_from_message(message)


@given(
    latency=st.none() | positive,
    accuracy=st.none() | st.floats(min_value=0.01, max_value=1.0),
    cost=st.none() | positive,
    rate=positive,
    weight=positive,
    margin=ratios,
    guarantee=st.sampled_from(Guarantee),
    budget=st.builds(
        Budget, samples=st.none() | st.integers(1, 10**9), seconds=st.none() | positive, cost=st.none() | positive
    ),
)
def test_query_survives_the_wire(latency, accuracy, cost, rate, weight, margin, guarantee, budget):
    query = Query(
        id="q1",
        pipeline_id="documents",
        content="clean",
        source_device_id="camera-1",
        rate_per_s=rate,
        weight=weight,
        slo=Slo(
            latency_ms=latency,
            percentile_ratio=0.9,
            accuracy_ratio=accuracy,
            accuracy_margin_ratio=margin,
            cost_per_h=cost,
        ),
        guarantee=guarantee,
        budget=budget,
    )
    assert wire.query_from_message(wire.query_to_message(query)) == query


@pytest.mark.parametrize("field", ["latency_ms", "accuracy_ratio", "cost_per_h", "percentile_ratio"])
@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan])
def test_an_slo_of_nothing_is_refused_by_name(field, bad):
    message = wire.slo_to_message(Slo())
    setattr(message, field, bad)
    with pytest.raises(InvalidInput, match=f"slo.{field}"):
        wire.slo_from_message(message)


@pytest.mark.parametrize("bad", [-0.1, 1.5, math.nan])
def test_a_margin_that_is_no_ratio_is_refused(bad):
    with pytest.raises(InvalidInput, match="slo.accuracy_margin_ratio"):
        wire.slo_from_message(types_pb2.Slo(accuracy_margin_ratio=bad))


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        ({"samples": 0}, "samples"),
        ({"samples": 2**60}, "samples"),
        ({"seconds": 0.0}, "seconds"),
        ({"seconds": math.inf}, "seconds"),
        ({"cost": -1.0}, "cost"),
        ({"cost": math.nan}, "cost"),
    ],
)
def test_a_budget_that_is_none_is_refused_by_name(bad, field):
    with pytest.raises(InvalidInput, match=f"budget.{field}"):
        wire.budget_from_message(types_pb2.Budget(**bad))


def a_query_message():
    return types_pb2.Query(pipeline_id="p", content="c", source_device_id="d", rate_per_s=1)


def test_an_older_client_asks_for_the_pool_and_has_no_budget():
    query = wire.query_from_message(a_query_message())
    assert (query.guarantee, query.budget, query.slo.accuracy_margin_ratio) == (Guarantee.POOL, Budget(), 0.0)


def test_a_guarantee_that_is_not_understood_is_refused():
    message = a_query_message()
    message.guarantee = 9
    with pytest.raises(InvalidInput, match="guarantee: 9 is unknown here"):
        wire.query_from_message(message)


intervals = (
    st.lists(ratios, min_size=3, max_size=3)
    .map(sorted)
    .map(lambda figures: Interval(low=figures[0], value=figures[1], high=figures[2]))
)
found = {
    "phase": st.sampled_from(SearchPhase),
    "configuration": st.none() | configurations,
    "accuracy_ratio": st.none() | intervals,
    "cost_per_h": st.none() | positive,
    "samples_done": st.integers(0, 2**40),
}
steps = st.builds(
    SearchStep, at=st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)), elapsed_s=positive, **found
)
searches = st.builds(
    SearchState,
    finished=st.booleans(),
    probability_ratio=ratios,
    agreement=st.booleans(),
    operator_s=positive,
    profile_cost=positive,
    candidates_left=st.integers(0, 2**32 - 1),
    eta_s=st.none() | positive,
    stopped=st.text(max_size=20),
    history=st.lists(steps, max_size=3).map(tuple),
    **found,
)


@given(search=searches)
def test_what_a_search_knows_survives_the_wire(search):
    assert wire.search_from_message(wire.search_to_message(search)) == search


def test_of_a_long_history_the_newest_steps_travel():
    start = datetime(2026, 1, 1, tzinfo=UTC)
    history = tuple(
        SearchStep(
            at=start + timedelta(seconds=second),
            phase=SearchPhase.UNKNOWN,
            configuration=None,
            accuracy_ratio=None,
            cost_per_h=None,
            samples_done=second,
            elapsed_s=second,
        )
        for second in range(MAX_STEPS + 5)
    )
    message = wire.search_to_message(SearchState(phase=SearchPhase.UNKNOWN, history=history))
    assert wire.search_from_message(message).history == history[5:]
    message.history.add()
    with pytest.raises(TooLarge, match="search.history: 101 entries are more than 100"):
        wire.search_from_message(message)


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        ({"probability_ratio": 1.1}, "search.probability_ratio"),
        ({"probability_ratio": math.nan}, "search.probability_ratio"),
        ({"operator_s": -1.0}, "search.operator_s"),
        ({"profile_cost": math.inf}, "search.profile_cost"),
        ({"cost_per_h": -1.0}, "search.cost_per_h"),
        ({"eta_s": math.nan}, "search.eta_s"),
        ({"stopped": "x" * 5_000}, "search.stopped"),
        ({"accuracy_ratio": types_pb2.Interval(value=0.5, low=-0.1, high=1)}, "search.accuracy_ratio.low"),
        ({"accuracy_ratio": types_pb2.Interval(value=0.5, low=0.6, high=0.4)}, "from 0.6 to 0.4 is no interval"),
        ({"history": [planner_pb2.SearchStep(elapsed_s=math.nan)]}, "search.history.elapsed_s"),
        ({"history": [planner_pb2.SearchStep(at={"seconds": 2**60})]}, "search.history.at"),
    ],
)
def test_a_search_with_one_bad_figure_is_refused(bad, field):
    with pytest.raises(InvalidInput, match=field):
        wire.search_from_message(planner_pb2.SearchState(**bad))


def test_a_search_of_an_unknown_phase_has_found_nothing():
    assert wire.search_from_message(planner_pb2.SearchState(phase=17)).phase is SearchPhase.UNKNOWN


@given(configuration=configurations)
def test_configuration_survives_the_wire_with_its_types(configuration):
    back = wire.configuration_from_message(wire.configuration_to_message(configuration))
    assert back == configuration
    assert {name: type(value) for name, value in back.items()} == {
        name: type(value) for name, value in configuration.items()
    }
    assert configuration_key(back) == configuration_key(dict(reversed(configuration.items())))


@given(score=st.none() | ratios, cpu=positive, size=st.integers(0, 2**40), hurried=st.booleans())
def test_profile_survives_the_wire(score, cpu, size, hurried):
    profile = ConfigurationProfile(
        configuration={"read.engine": "tesseract"},
        samples=(
            SampleResult(
                sample_index=3,
                score_ratio=score,
                operators=(
                    OperatorSample(
                        operator_id="read", cpu_ms=cpu, wall_ms=cpu, output_bytes=size, cached=True, hurried=hurried
                    ),
                ),
            ),
        ),
        memory_bytes={"read": 1000},
        source_bytes=5,
        accelerator_memory_bytes={"read": size},
    )
    assert wire.configuration_profile_from_message(wire.configuration_profile_to_message(profile)) == profile


def test_a_profile_with_one_bad_figure_is_refused_whole():
    message = wire.configuration_profile_to_message(
        ConfigurationProfile(
            configuration={},
            samples=(
                SampleResult(
                    sample_index=0,
                    score_ratio=0.5,
                    operators=(
                        OperatorSample(operator_id="read", cpu_ms=1.0, wall_ms=1.0, output_bytes=1, cached=False),
                    ),
                ),
            ),
            memory_bytes={},
            source_bytes=5,
        )
    )
    message.samples[0].operators[0].wall_ms = math.nan
    with pytest.raises(InvalidInput, match="wall_ms"):
        wire.configuration_profile_from_message(message)


@pytest.mark.parametrize("certainty", Certainty)
def test_selection_survives_the_wire(certainty):
    selection = Selection(
        plans=(
            Plan(
                query_id="q1",
                configuration={"read.engine": "tesseract"},
                operators=(
                    OperatorPlan(
                        operator_id="read",
                        device_id="camera-1",
                        replicas=1,
                        share_ratio=1.0,
                        cores=0.5,
                        accelerator_slots=0,
                        accelerator_memory_bytes=0,
                        memory_bytes=10,
                        batch=1,
                        service_ms=12.0,
                    ),
                ),
                latency_ms=Interval(value=1.0, low=0.5, high=2.0),
                latency_p50_ms=0.7,
                accuracy_ratio=Interval(value=0.9, low=0.8, high=1.0),
                cost_per_h=0.01,
                slo_probability_ratio=0.99,
                item_goodput_per_s=1.8,
                runner_up="read on gateway-1",
                runner_up_cost_per_h=0.02,
                certainty=certainty,
            ),
        ),
        unplaced=(UnplacedQuery(query_id="q2", reason="latency"),),
        machines=(MachineUse(device_id="camera-1", machines=1, cores=0.5, cost_per_h=0.01),),
        traffic_cost_per_h=0.0,
        goodput_per_s=2.0,
        goodput_bound_per_s=2.0,
        gap_ratio=0.0,
        cost_per_h=0.01,
        cost_bound_per_h=0.01,
        cost_gap_ratio=0.0,
        solver_status="optimal",
        provisional_per_s=1.5,
    )
    message = wire.selection_to_message(selection)
    assert wire.selection_from_message(message) == selection
    message.provisional_per_s = math.nan
    with pytest.raises(InvalidInput, match="provisional_per_s"):
        wire.selection_from_message(message)


@pytest.mark.parametrize(("written", "read"), [(0, Certainty.CERTIFIED), (9, Certainty.PROVISIONAL)])
def test_a_plan_of_an_older_planner_is_certified_and_what_is_not_understood_is_not(written, read):
    assert wire.plan_from_message(types_pb2.Plan(query_id="q1", certainty=written)).certainty is read
