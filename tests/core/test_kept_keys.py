"""Which processes go on under the key that they have."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from circinus import wire
from circinus.model.directive import Directive, Generation, ReplicaSet, Use
from cloud_planner.core.kept_keys import kept_keys

GENERATION = Generation(epoch=1, number=1)


def process(key, *queries, knob="a", cores=0.25):
    """A process that may be shared; without queries one that lives alone."""
    return ReplicaSet(
        key=key,
        query_id=queries[0] if queries else "alone",
        pipeline_id="words",
        operator_id="cut",
        bundle_digest="sha256:" + "1" * 64,
        environment_digest="sha256:" + "2" * 64,
        entry_point="words:Cut",
        knobs={"by": knob},
        replicas=1,
        cores=cores,
        accelerator_slots=0,
        accelerator_memory_bytes=0,
        memory_bytes=len(queries),
        batch=1,
        hang_ms=1000.0,
        inputs=("source",),
        uses=tuple(Use(query_id=one, operator_id="cut", inputs=("source",), cores=0.25) for one in queries),
    )


def directive(*sets, device="box"):
    return Directive(device_id=device, generation=GENERATION, replica_sets=sets, routes=(), sources=(), peers=())


def kept(told, *before):
    messages = {one.device_id: wire.directive_to_message(one) for one in before}
    (made,) = kept_keys((told,), messages)
    return [one.key for one in made.replica_sets]


def test_who_serves_one_more_has_the_key_that_it_had():
    before = directive(process("old", "q1"), process("other", "q2", knob="b"))
    told = directive(process("new", "q1", "q3", cores=0.5), process("other", "q2", knob="b"))
    assert kept(told, before) == ["old", "other"]
    assert kept(told, replace(before, device_id="elsewhere")) == ["new", "other"]


def test_what_is_another_process_has_another_key():
    before = directive(process("old", "q1"))
    for other in (
        process("new", "q2"),
        process("new", "q1", knob="b"),
        replace(process("new", "q1"), replicas=2),
        replace(process("new", "q1"), bundle_digest="sha256:" + "3" * 64),
    ):
        assert kept(directive(other), before) == ["new"]
    # It carries state, say.
    assert kept(directive(process("new")), directive(process("old"))) == ["new"]


def test_of_two_that_become_one_the_one_that_served_most_of_it_goes_on():
    before = directive(process("small", "q1"), process("large", "q2", "q3"))
    assert kept(directive(process("new", "q1", "q2", "q3")), before) == ["large"]


def test_of_one_that_becomes_two_only_one_has_its_key():
    told = directive(process("a", "q1"), process("b", "q2", "q3"))
    assert kept(told, directive(process("old", "q1", "q2", "q3"))).count("old") == 1


sets = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.sets(st.sampled_from(["q1", "q2", "q3"])), st.sampled_from("xy")),
    unique_by=lambda one: one[0],
    max_size=5,
)


@given(before=sets, after=sets.filter(lambda those: len({(frozenset(one[1]), one[2]) for one in those}) == len(those)))
def test_keys_stay_apart_and_what_is_kept_is_kept_again(before, after):
    old = directive(*(process(key, *sorted(queries), knob=knob) for key, queries, knob in before))
    told = directive(*(process(key.upper(), *sorted(queries), knob=knob) for key, queries, knob in after))
    first = kept(told, old)
    assert len(set(first)) == len(first)
    now = directive(*(replace(one, key=key) for one, key in zip(told.replica_sets, first, strict=True)))
    assert kept(told, now) == first
