from hypothesis import given
from hypothesis import strategies as st
from serving_fleet import directive, replica_set, source

from circinus.model.directive import Directive, Generation
from edge_agent.reconcile import Unit, UnitKind, reconcile, superseded, units_of

_KEYS = ("a", "b", "c", "d")


def directives() -> st.SearchStrategy[Directive]:
    return st.builds(
        lambda number, sets, sources: directive(
            "camera",
            number,
            sets=tuple(replica_set(key, "Pass", key=key, batch=number) for key in sets),
            sources=tuple(source(("a",), key=key) for key in sources),
        ),
        st.integers(1, 5),
        st.sets(st.sampled_from(_KEYS)),
        st.sets(st.sampled_from(_KEYS)),
    )


KEPT = st.lists(directives(), max_size=4)
RUNNING = st.sets(st.builds(Unit, kind=st.sampled_from(UnitKind), key=st.sampled_from(_KEYS)))


def started(changes) -> set[Unit]:
    return {Unit(kind=UnitKind.REPLICA_SET, key=one.key) for one in changes.start_replica_sets} | {
        Unit(kind=UnitKind.SOURCE, key=one.key) for one in changes.start_sources
    }


@given(KEPT, RUNNING)
def test_afterwards_exactly_what_the_kept_generations_need_runs(kept: list[Directive], running: set[Unit]) -> None:
    changes = reconcile(kept, running)
    after = (running - set(changes.stop)) | started(changes)
    assert after == {unit for one in kept for unit in units_of(one)}


@given(KEPT, RUNNING)
def test_what_runs_and_is_needed_is_never_touched(kept: list[Directive], running: set[Unit]) -> None:
    changes = reconcile(kept, running)
    needed = {unit for one in kept for unit in units_of(one)}
    assert set(changes.keep) == running & needed
    assert not set(changes.keep) & (set(changes.stop) | started(changes))


@given(KEPT, RUNNING)
def test_reconciling_twice_changes_nothing_the_second_time(kept: list[Directive], running: set[Unit]) -> None:
    changes = reconcile(kept, running)
    again = reconcile(kept, set(changes.keep) | started(changes))
    assert not again.stop
    assert not started(again)


@given(KEPT, RUNNING)
def test_a_started_unit_has_the_newest_of_its_specs(kept: list[Directive], running: set[Unit]) -> None:
    for one in reconcile(kept, running).start_replica_sets:
        numbers = [d.generation.number for d in kept if any(s.key == one.key for s in d.replica_sets)]
        assert one.batch == max(numbers)


@given(st.sets(st.integers(1, 9)), st.none() | st.integers(1, 9), st.sets(st.integers(1, 9)))
def test_only_what_was_never_active_and_never_used_is_superseded(
    numbers: set[int], active: int | None, seen: set[int]
) -> None:
    def generation(number: int) -> Generation:
        return Generation(epoch=1, number=number)

    gone = superseded(
        {generation(one) for one in numbers},
        None if active is None else generation(active),
        {generation(one) for one in seen},
    )
    for one in gone:
        assert active is not None
        assert active < one.number < max(numbers)
        assert one.number not in seen
