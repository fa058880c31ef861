"""Laws of admission and waiting, in simulations on a clock of their own."""

from collections import Counter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from overload_simulation import Load, Simulation

SERVICE_S = 0.1
SECONDS = 30.0
seeds = st.integers(0, 10_000)
#: Deadlines in service times: from one that hardly lets an item wait to one of a long queue.
deadlines = st.floats(2.5, 30.0)


def even(_: Random, items: int) -> float:
    return SERVICE_S * items


def uneven(rng: Random, items: int) -> float:
    return sum(rng.gammavariate(4.0, SERVICE_S / 4.0) for _ in range(items))


def memoryless(rng: Random, items: int) -> float:
    return sum(rng.expovariate(1.0 / SERVICE_S) for _ in range(items))


services = st.sampled_from([even, uneven, memoryless])


@settings(max_examples=15, deadline=None)
@given(services, deadlines, seeds, st.sampled_from([2.0, 5.0, 20.0]), st.booleans(), st.floats(0.3, 0.75))
def test_goodput_stays_at_its_maximum_however_much_is_offered(
    service_s, deadline, seed: int, offered_ratio: float, poisson: bool, load_ratio: float
) -> None:
    def in_time(ratio: float) -> int:
        load = Load(
            name="a",
            rate_per_s=load_ratio / SERVICE_S,
            deadline_s=deadline * SERVICE_S,
            offered_ratio=ratio,
            poisson=poisson,
        )
        Simulation(loads=[load], service_s=service_s, seconds=SECONDS, seed=seed).run()
        return load.in_time

    planned = in_time(1.0)
    # The margin is for what is drawn: some hundred items, each answered or not.
    assert in_time(offered_ratio) >= 0.9 * planned - planned**0.5


@settings(max_examples=15, deadline=None)
@given(services, deadlines, seeds, st.sampled_from([2.0, 5.0, 20.0]), st.integers(1, 3), st.sampled_from([1, 4]))
def test_a_neighbour_within_its_rate_keeps_its_own(
    service_s, deadline, seed: int, offered_ratio: float, replicas: int, batch: int
) -> None:
    def in_time(ratio: float) -> tuple[int, int]:
        rate_per_s = 0.35 * replicas / SERVICE_S
        deadline_s = deadline * SERVICE_S * (batch + 1)
        greedy = Load(name="a", rate_per_s=rate_per_s, deadline_s=deadline_s, offered_ratio=ratio)
        modest = Load(name="b", rate_per_s=rate_per_s, deadline_s=deadline_s)
        Simulation(
            loads=[greedy, modest], service_s=service_s, replicas=replicas, batch=batch, seconds=SECONDS, seed=seed
        ).run()
        return modest.in_time, greedy.in_rate_in_time

    modest, greedy = in_time(1.0)
    modest_beside, greedy_in_rate = in_time(offered_ratio)
    assert modest_beside >= 0.95 * modest - modest**0.5 / 2
    # Nor do its own items up to the plan suffer from those above it.
    assert greedy_in_rate >= 0.95 * greedy - greedy**0.5 / 2


@settings(max_examples=15, deadline=None)
@given(services, deadlines, seeds, st.integers(1, 4), st.booleans())
def test_an_item_has_one_outcome_and_nothing_of_a_query_is_overtaken(
    service_s, deadline, seed: int, batch: int, poisson: bool
) -> None:
    loads = [
        Load(
            name=name,
            rate_per_s=4.0,
            deadline_s=deadline * SERVICE_S,
            offered_ratio=ratio,
            poisson=poisson,
            weight=weight,
        )
        for name, ratio, weight in (("a", 5.0, 1.0), ("b", 1.0, 1.0), ("c", 2.0, 3.0))
    ]
    run = Simulation(loads=loads, service_s=service_s, batch=batch, seconds=20.0, seed=seed).run()
    assert set(run.outcomes.values()) == {1}
    assert max(Counter(run.served).values()) == 1
    for load in loads:
        numbers = [number for name, number in run.served if name == load.name]
        assert numbers == sorted(numbers)
        ended = load.in_time + load.late + sum(load.dropped.values()) + load.shed
        assert 0 <= load.emitted - ended <= 40  # what still waits or runs


@settings(max_examples=10, deadline=None)
@given(seeds, st.floats(0.2, 3.0), st.booleans())
def test_a_batch_is_never_held_past_its_slack(seed: int, deadline_s: float, poisson: bool) -> None:
    def batched(rng: Random, items: int) -> float:
        return (0.05 + 0.01 * items) * rng.uniform(0.95, 1.05)

    load = Load(name="a", rate_per_s=8.0, deadline_s=deadline_s, poisson=poisson, after_s=0.02)
    Simulation(loads=[load], service_s=batched, batch=8, seconds=SECONDS, seed=seed).run()
    assert load.late <= 0.01 * load.emitted + 2


def test_weights_decide_who_has_the_spare_time() -> None:
    light = Load(name="a", rate_per_s=3.0, deadline_s=0.6, offered_ratio=5.0)
    heavy = Load(name="b", rate_per_s=3.0, deadline_s=0.6, offered_ratio=5.0, weight=4.0)
    Simulation(loads=[light, heavy], service_s=even, seconds=SECONDS).run()
    assert heavy.in_time > 1.5 * light.in_time
    assert light.in_rate_in_time >= 0.98 * light.in_rate


def test_equals_share_the_spare_time() -> None:
    loads = [Load(name=name, rate_per_s=3.0, deadline_s=0.6, offered_ratio=5.0) for name in ("a", "b")]
    Simulation(loads=loads, service_s=uneven, seconds=SECONDS).run()
    first, second = (load.in_time for load in loads)
    assert 0.8 <= first / second <= 1.25


def test_where_all_are_within_their_rate_and_it_is_too_much_each_has_its_part() -> None:
    loads = [Load(name=name, rate_per_s=rate, deadline_s=0.6) for name, rate in (("a", 20.0), ("b", 10.0))]
    Simulation(loads=loads, service_s=uneven, seconds=SECONDS).run()
    first, second = (load.in_time for load in loads)
    assert first + second >= 0.9 * SECONDS / SERVICE_S
    assert 1.8 <= first / second <= 2.2


def test_outcomes_that_come_late_still_tell_how_much_may_be_let_in() -> None:
    load = Load(name="a", rate_per_s=7.0, deadline_s=0.8, offered_ratio=5.0)
    run = Simulation(loads=[load], service_s=uneven, seconds=SECONDS, back_s=0.5).run()
    let_in = load.emitted - load.shed
    assert load.in_time >= 0.85 * let_in
    assert load.in_time >= 0.9 * run.seconds / SERVICE_S
