from hypothesis import given
from hypothesis import strategies as st

from edge_agent.stand_by import Patience, Serves, Switch

PATIENCE = Patience()


def switch_in_reach():
    switch = Switch(0.0)
    assert switch.look(0.0, True) is Serves.PLAN
    return switch


def outages(switch, spells, *, step_s=0.1, start_s=0.0):
    """Runs a switch over spells of (reached, seconds); gives how often the stand-by began, and the end."""
    now_s, began, before = start_s, 0, switch.serves
    for reached, length_s in spells:
        for _ in range(round(length_s / step_s)):
            now_s += step_s
            serves = switch.look(now_s, reached)
            began += serves is Serves.STAND_BY and before is Serves.PLAN
            before = serves
    return began, now_s


def test_an_outage_switches_at_once():
    assert switch_in_reach().look(5.0, False) is Serves.STAND_BY


def test_peers_have_a_moment_to_be_in_reach_at_first():
    switch = Switch(0.0)
    assert switch.look(0.5, False) is Serves.PLAN
    assert switch.look(PATIENCE.greet_s, False) is Serves.STAND_BY


def test_the_plan_is_back_when_peers_have_been_in_reach_for_a_while():
    switch = switch_in_reach()
    switch.look(5.0, False)
    assert switch.look(65.0, True) is Serves.STAND_BY
    assert switch.look(65.0 + PATIENCE.steady_s - 0.1, True) is Serves.STAND_BY
    assert switch.look(65.0 + PATIENCE.steady_s, True) is Serves.PLAN


def test_a_link_that_comes_and_goes_every_second_switches_once():
    began, _ = outages(switch_in_reach(), [(False, 1.0), (True, 1.0)] * 60)
    assert began == 1


def test_a_link_that_stays_just_long_enough_is_trusted_ever_less():
    switch = switch_in_reach()
    began, _ = outages(switch, [(False, 1.0), (True, 4.0)] * 60)
    assert began <= 3
    assert switch.steady_s > 4.0


def test_after_a_quiet_time_it_is_forgiven():
    switch = switch_in_reach()
    _, now_s = outages(switch, [(False, 1.0), (True, 4.0)] * 4)
    assert switch.steady_s > PATIENCE.steady_s
    _, now_s = outages(switch, [(True, 400.0)], start_s=now_s, step_s=1.0)
    switch.look(now_s + 0.1, False)
    assert switch.steady_s == PATIENCE.steady_s


def test_what_is_lost_behind_a_peer_switches_too_and_is_tried_again():
    switch = switch_in_reach()
    assert switch.blame(1.0) is Serves.STAND_BY
    assert switch.look(2.0, True) is Serves.STAND_BY
    assert switch.look(2.0 + PATIENCE.steady_s, True) is Serves.PLAN
    assert switch.blame(6.0) is Serves.STAND_BY
    assert switch.steady_s == 2 * PATIENCE.steady_s


@given(st.lists(st.tuples(st.booleans(), st.floats(0.1, 200.0)), max_size=40))
def test_it_never_returns_before_peers_were_in_reach_for_the_steady_time(spells):
    switch, now_s, reached_since_s = switch_in_reach(), 0.0, 0.0
    for reached, length_s in spells:
        now_s += length_s
        before = switch.serves
        reached_since_s = None if not reached else now_s if reached_since_s is None else reached_since_s
        after = switch.look(now_s, reached)
        if not reached:
            assert after is Serves.STAND_BY or not switch._was_reached
        elif before is Serves.STAND_BY and after is Serves.PLAN:
            assert now_s - reached_since_s >= PATIENCE.steady_s
        assert switch.steady_s <= PATIENCE.most_steady_s
