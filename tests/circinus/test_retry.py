from random import Random

from hypothesis import given
from hypothesis import strategies as st

from circinus.retry import Backoff


@given(seed=st.integers(0, 10**6), attempts=st.integers(1, 200))
def test_waits_stay_under_a_growing_bound_and_the_cap(seed, attempts):
    backoff = Backoff(first_s=0.2, cap_s=30.0, rng=Random(seed))
    for attempt in range(attempts):
        assert 0.0 <= backoff.next_s() <= min(30.0, 0.2 * 2**attempt)


def test_reset_begins_from_the_start():
    backoff = Backoff(first_s=0.2, cap_s=30.0, rng=Random(1))
    for _ in range(20):
        backoff.next_s()
    backoff.reset()
    assert backoff.next_s() <= 0.2
