"""Laws of selectors: what is written is read, what is meant is meant, and nothing is planned on what is not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from small_problems import problems

from circinus.errors import InvalidInput
from circinus.model.label import BUILT_IN, MAX_LABELS, is_key, is_value, label_fault, labels_fault, overlaid
from circinus.model.selector import MAX_SELECTOR_CHARS, Relation, Requirement, Selector, parse_selector, selector_fault
from cloud_planner.core.audit import audit
from cloud_planner.core.audit_selectors import directive_breaches
from cloud_planner.core.meant import Narrowing
from cloud_planner.core.select import select
from cloud_planner.solver import CbcSolver

KEYS = ["gpu", "zone", "in", "not", "example.org/rack", "device", "accelerator"]
VALUES = ["a", "b", "", "in", "amd epyc/7x", "x-1.y_2"]
LABELS = st.dictionaries(
    st.sampled_from(KEYS), st.lists(st.sampled_from(VALUES), min_size=1, max_size=2, unique=True).map(tuple)
)


@st.composite
def requirements(draw):
    relation = draw(st.sampled_from(list(Relation)))
    values = ()
    if relation in (Relation.IN, Relation.NOT_IN):
        values = tuple(sorted(draw(st.sets(st.sampled_from(VALUES), min_size=1))))
    return Requirement(key=draw(st.sampled_from(KEYS)), relation=relation, values=values)


SELECTORS = st.lists(requirements(), max_size=4).map(lambda found: Selector(requirements=tuple(found)))


@given(SELECTORS)
def test_what_is_written_is_what_is_read(selector):
    text = str(selector)
    assert parse_selector(text) == selector
    assert str(parse_selector(text)) == text
    # Space between words means nothing.
    assert parse_selector(f"  {text.replace(',', ' , ')}  ") == selector


@given(SELECTORS, LABELS)
def test_what_is_meant_is_what_a_plain_look_at_labels_says(selector, labels):
    def holds(one):
        has = labels.get(one.key, ())
        if one.relation is Relation.HAS:
            return one.key in labels
        if one.relation is Relation.LACKS:
            return one.key not in labels
        some = bool(set(has) & set(one.values))
        return some if one.relation is Relation.IN else not some

    assert selector.matches(labels) == all(holds(one) for one in selector.requirements)


@given(st.text(alphabet='ab1=!,() "/.-_\n\x00é', max_size=40))
def test_any_text_is_a_selector_or_has_a_place_where_it_is_none(text):
    fault = selector_fault(text)
    if fault:
        place = int(fault.rpartition("', character " if "', character " in fault else '", character ')[2].split(":")[0])
        assert 1 <= place <= len(text) + 1
    else:
        assert parse_selector(str(parse_selector(text))) == parse_selector(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,,b", "character 3: ',' stands where a label should"),
        ("a=", "character 3: the end stands where a value should"),
        ("zone in a", "character 9: 'a' stands where ( and the values that it may have should"),
        ("zone in (a", "character 11: the end stands where a comma or ) should"),
        ("a b", "character 3: 'b' stands where a comma, or the end should"),
        ("!", "character 2: the end stands where a label should"),
        ('class="x', "character 7: this quote is not closed"),
        ("a;b", "character 2: ';' can't stand here"),
        ("Ex.org/a", "character 1: 'Ex.org/a' is no label"),
        ("a" * (MAX_SELECTOR_CHARS + 1), "are more than"),
        (",".join(["a"] * 40), "more than 32 requirements"),
    ],
)
def test_a_text_that_is_no_selector_is_told_where(text, said):
    with pytest.raises(InvalidInput) as raised:
        parse_selector(text)
    assert said in raised.value.message
    assert raised.value.violations[0].field == "selector"


def test_labels_have_the_syntax_of_kubernetes_and_limits():
    assert is_key("example.org/gpu-type")
    assert not is_key("-gpu")
    assert not is_key("a/b/c")
    assert not is_key("a" * 64)
    assert is_value("")
    assert not is_value("two words")
    assert "nobody sets it" in label_fault(BUILT_IN[0], "x")
    assert str(MAX_LABELS) in labels_fault({f"k{number}": "" for number in range(MAX_LABELS + 1)})


def test_later_labels_stand_over_earlier_ones():
    found = overlaid({"a": "1", "b": "1", "c": "1"}, {"b": "2", "d": "2"}, {"c": None, "d": "3"})
    assert found == {"a": "1", "b": "2", "d": "3"}


@st.composite
def labelled(draw):
    """A problem whose machines have labels, and whose queries have selectors; and the same without."""
    bare = draw(problems(shapes=("one", "chain", "fan"), queries=3))
    machines = tuple(
        replace(each, labels={"device": (each.id,), **({"gpu": ("",)} if draw(st.booleans()) else {})})
        for each in bare.machines
    )
    selectors = ("", "gpu", "!gpu", "device=m1", "device in (m1, m2)", "device!=m1", "no")
    queries = tuple(replace(each, selector=draw(st.sampled_from(selectors))) for each in bare.queries)
    return replace(bare, machines=machines, queries=queries)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, derandomize=True)
@given(labelled())
def test_no_plan_is_on_a_machine_that_its_selector_leaves_out(wide):
    narrowing = Narrowing(wide.machines)
    made = replace(wide, queries=tuple(narrowing.of(query) for query in wide.queries))
    selection = select(made, CbcSolver()).selection
    assert audit(made, selection) == ()
    labels = {each.id: each.labels for each in made.machines}
    selectors = {each.id: parse_selector(each.selector) for each in made.queries}
    for plan in selection.plans:
        assert all(selectors[plan.query_id].matches(labels[placed.device_id]) for placed in plan.operators)
    unplaced = {each.query_id: each.reason for each in selection.unplaced}
    for query in made.queries:
        if query.selector == "no":
            assert repr(query.selector) in unplaced[query.id]


@pytest.mark.slow
@settings(max_examples=30, deadline=None, derandomize=True)
@given(labelled())
def test_the_audit_catches_a_plan_that_breaks_a_selector(wide):
    selection = select(replace(wide, queries=tuple(replace(each, selector="") for each in wide.queries)), CbcSolver())
    labels = {each.id: each.labels for each in wide.machines}
    selectors = {each.id: parse_selector(each.selector) for each in wide.queries}
    broken = {
        plan.query_id
        for plan in selection.selection.plans
        if not all(selectors[plan.query_id].matches(labels[placed.device_id]) for placed in plan.operators)
    }
    assume(selection.selection.plans)
    found = {one.subject for one in audit(wide, selection.selection) if "its selector leaves out" in one.message}
    assert found == broken


def test_the_audit_catches_a_directive_that_breaks_a_selector():
    from types import SimpleNamespace

    wide = SimpleNamespace(
        machines=(SimpleNamespace(id="m1", labels={}),),
        queries=(SimpleNamespace(id="q", selector="gpu", at_source=frozenset({"cut"}), source="m1"),),
    )
    sets = [
        SimpleNamespace(query_id="q", operator_id="cut", uses=()),
        SimpleNamespace(query_id="other", operator_id="x", uses=(SimpleNamespace(query_id="q", operator_id="read"),)),
    ]
    directive = SimpleNamespace(device_id="m1", replica_sets=sets, stand_bys=())
    (finding,) = directive_breaches(wide, [directive])
    assert (finding.subject, finding.message) == ("q", "read is on m1, which its selector leaves out: gpu")
