from hypothesis import given
from hypothesis import strategies as st

from circinus.model.directive import Generation
from cloud_planner.core.stages import DeviceStage, Progress, Steps, next_steps

G = Generation(epoch=1, number=5)
OLD = Generation(epoch=1, number=4)


def stage(device_id="a", *, connected=True, involved=True, **changes):
    return DeviceStage(device_id=device_id, connected=connected, involved=involved, **changes)


def at(progress, device_id="a", **changes):
    return stage(device_id, accepted=G, progress=progress, **changes)


def test_the_directive_goes_to_whoever_lacks_it_once_a_connection():
    stages = [stage("a"), stage("b", directed=G), at(Progress.READY, "c"), stage("d", connected=False)]
    assert next_steps(G, stages, active=False, settled=False).direct == ("a",)


def test_sources_switch_when_all_that_are_involved_are_ready():
    ready, starting = at(Progress.READY), at(Progress.STARTING, "b")
    assert not next_steps(G, [ready, starting], active=False, settled=False).switch
    assert next_steps(G, [ready, at(Progress.READY, "b")], active=False, settled=False).switch
    idle = stage("c", involved=False, connected=False)
    assert next_steps(G, [ready, idle], active=False, settled=False).switch


def test_a_generation_that_runs_nothing_switches_at_once():
    assert next_steps(G, [stage(involved=False)], active=False, settled=False).switch


def test_refusals_and_failures_are_named():
    steps = next_steps(
        G,
        [stage(refusal="not_runnable: 3 cores of 2"), at(Progress.FAILED, "b", reason="no module"), stage("c")],
        active=False,
        settled=False,
    )
    assert steps.failed == (("a", "not_runnable: 3 cores of 2"), ("b", "no module"))
    assert [device_id for device_id, _ in steps.waits_for] == ["a", "b", "c"]


def test_every_ready_device_is_activated_once_a_connection():
    stages = [
        at(Progress.READY, "a"),
        at(Progress.READY, "b", activated=G),
        at(Progress.ACTIVE, "c", active=G),
        at(Progress.READY, "d", involved=False, active=OLD),
        at(Progress.STARTING, "e"),
    ]
    assert next_steps(G, stages, active=True, settled=False).activate == ("a", "d")


def test_nothing_is_retired_before_all_are_drained():
    drained, active = at(Progress.DRAINED, active=G), at(Progress.ACTIVE, "b", active=G)
    leaving = at(Progress.READY, "c", involved=False, leaving=True, active=OLD)
    assert not next_steps(G, [drained, active], active=True, settled=False).settle
    assert not next_steps(G, [drained, leaving], active=True, settled=False).settle
    assert next_steps(G, [drained], active=True, settled=False).settle
    assert next_steps(G, [drained, active], active=True, settled=False, drain_overdue=True).settle
    assert next_steps(G, [drained], active=True, settled=True).retire == ("a",)


def test_who_comes_back_later_gets_the_rest():
    back = stage(accepted=OLD, progress=Progress.DRAINED, active=OLD)
    assert next_steps(G, [back], active=True, settled=True).direct == ("a",)
    ready = at(Progress.READY, active=OLD, directed=G)
    steps = next_steps(G, [ready], active=True, settled=True)
    assert (steps.activate, steps.retire) == (("a",), ("a",))


def test_when_all_is_done_nothing_is_sent():
    done = at(Progress.DRAINED, active=G, retired=G)
    assert next_steps(G, [done], active=True, settled=True) == Steps()


stages_strategy = st.lists(
    st.builds(
        DeviceStage,
        device_id=st.sampled_from("abcdef"),
        connected=st.booleans(),
        involved=st.booleans(),
        leaving=st.booleans(),
        accepted=st.sampled_from([None, OLD, G]),
        active=st.sampled_from([None, OLD, G]),
        progress=st.sampled_from(Progress),
        refusal=st.sampled_from(["", "no"]),
        directed=st.sampled_from([None, OLD, G]),
        activated=st.sampled_from([None, G]),
        retired=st.sampled_from([None, G]),
    ),
    unique_by=lambda found: found.device_id,
)


@given(stages_strategy, st.sampled_from([(False, False), (True, False), (True, True)]), st.booleans())
def test_laws_of_a_rollout(stages, phase, overdue):
    active, settled = phase
    steps = next_steps(G, stages, active=active, settled=settled, drain_overdue=overdue)
    connected = {found.device_id for found in stages if found.connected}
    assert set(steps.direct) | set(steps.activate) | set(steps.retire) <= connected
    assert active or not (steps.activate or steps.retire or steps.settle)
    assert settled or not steps.retire
    if steps.switch:
        assert all(found.ready(G) for found in stages if found.involved)
    by_id = {found.device_id: found for found in stages}
    assert all(by_id[device_id].accepted == G for device_id in (*steps.activate, *steps.retire))
