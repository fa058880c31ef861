from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shell_fakes import directive_message

from circinus.errors import BadDigest, CircinusError, ConflictingDirective, NotRunnable, StaleGeneration, WrongDevice
from circinus.model.device import Accelerator, DeviceId, Digest
from circinus.model.directive import Generation, StandBy
from circinus.model.plan import Interval
from circinus.wire import directive_from_message
from edge_agent.config import parse_config
from edge_agent.fingerprint.device import take_fingerprint
from edge_agent.law import Accepted, Decision, Offer, bundles_of, check_fits, decide, environments_of

OWN = DeviceId("camera")
A, B = Digest("sha256:" + "a" * 64), Digest("sha256:" + "b" * 64)


def offer(epoch, number, digest=A, device=OWN, computed=None):
    return Offer(
        device_id=device,
        generation=Generation(epoch=epoch, number=number),
        digest=digest,
        computed=computed or digest,
    )


HELD = Accepted(generation=Generation(epoch=2, number=5), digest=A)

TABLE = [
    (offer(1, 1), None, Decision.ACCEPT),
    (offer(2, 6, B), HELD, Decision.ACCEPT),
    (offer(3, 1, B), HELD, Decision.ACCEPT),
    (offer(2, 5), HELD, Decision.KEEP),
    (offer(2, 5), replace(HELD, intact=False), Decision.ACCEPT),
    (offer(2, 5, B), HELD, ConflictingDirective),
    (offer(2, 5, B), replace(HELD, intact=False), ConflictingDirective),
    (offer(2, 4), HELD, StaleGeneration),
    (offer(1, 99), HELD, StaleGeneration),
    (offer(0, 1), None, StaleGeneration),
    (offer(1, 0), None, StaleGeneration),
    (offer(1, 2**63), None, StaleGeneration),
    (offer(2, 6, device=DeviceId("gateway")), HELD, WrongDevice),
    (offer(2, 6, computed=B), HELD, BadDigest),
    (offer(2, 6, device=DeviceId("gateway"), computed=B), HELD, WrongDevice),
]


@pytest.mark.parametrize(("offered", "accepted", "expected"), TABLE)
def test_the_law(offered, accepted, expected):
    if isinstance(expected, Decision):
        assert decide(offered, own_id=OWN, accepted=accepted) is expected
    else:
        with pytest.raises(expected):
            decide(offered, own_id=OWN, accepted=accepted)


offers = st.builds(offer, st.integers(1, 3), st.integers(1, 4), st.sampled_from([A, B]))


@given(st.lists(offers, max_size=30))
def test_an_agent_never_goes_back_and_a_number_never_changes_its_content(sequence):
    accepted = None
    meaning = {}
    for offered in sequence:
        try:
            decision = decide(offered, own_id=OWN, accepted=accepted)
        except CircinusError:
            continue
        if decision is Decision.ACCEPT:
            assert accepted is None or offered.generation > accepted.generation
            accepted = Accepted(generation=offered.generation, digest=Digest(offered.digest))
        assert meaning.setdefault(offered.generation, offered.digest) == offered.digest
        assert accepted.generation == offered.generation


@given(st.lists(offers, min_size=1, max_size=10), st.data())
def test_repeats_change_nothing(sequence, data):
    def run(offered_ones):
        accepted = None
        for offered in offered_ones:
            try:
                if decide(offered, own_id=OWN, accepted=accepted) is Decision.ACCEPT:
                    accepted = Accepted(generation=offered.generation, digest=Digest(offered.digest))
            except CircinusError:
                continue
        return accepted

    position = data.draw(st.integers(0, len(sequence) - 1))
    assert run(sequence) == run([*sequence[: position + 1], *sequence[position:]])


@pytest.fixture
def device(tmp_path):
    config = parse_config(f'device_id = "camera"\nstate_dir = "{tmp_path}"\ntier = "edge"\ncores = 1.0')
    return take_fingerprint(config)


def wanting(**fields):
    directive = directive_from_message(directive_message(bundle=B))
    return replace(directive, replica_sets=(replace(directive.replica_sets[0], **fields),))


def test_what_fits_exactly_fits(device):
    check_fits(wanting(replicas=10, cores=0.1), device)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"replicas": 2, "cores": 0.6}, "1.2 cores"),
        ({"memory_bytes": 2**50}, "memory"),
        ({"accelerator_slots": 1}, "1 accelerator slots"),
    ],
)
def test_more_than_the_device_has_is_not_runnable(device, fields, text):
    with pytest.raises(NotRunnable, match=text):
        check_fits(wanting(**fields), device)


def test_accelerator_memory_counts_where_it_is_known(device):
    card = Accelerator(kind="cuda", model="L4", provider="", slots=2, memory_bytes=100)
    greedy = wanting(accelerator_slots=1, accelerator_memory_bytes=101)
    with pytest.raises(NotRunnable, match="accelerator memory"):
        check_fits(greedy, replace(device, accelerators=(card,)))
    check_fits(greedy, replace(device, accelerators=(replace(card, memory_bytes=0),)))


def test_what_a_directive_needs_is_listed_once():
    directive = directive_from_message(directive_message(bundle=B, environment=A))
    assert bundles_of(directive) == {B}
    assert environments_of(directive) == {A}


def with_stand_by(cores, memory_bytes):
    """A whole core for the plan, and a stand-by that wants so much."""
    directive = wanting(replicas=1, cores=1.0)
    kept = replace(directive.replica_sets[0], key="kept", cores=cores, memory_bytes=memory_bytes)
    figure = Interval(value=0.5, low=0.5, high=0.5)
    stand_by = StandBy(
        query_id=kept.query_id,
        configuration={},
        replica_sets=(kept,),
        routes=(),
        needs=("cloud",),
        latency_ms=figure,
        accuracy_ratio=figure,
    )
    return replace(directive, stand_bys=(stand_by,))


def test_a_stand_by_has_the_cores_of_its_query_and_memory_of_its_own(device):
    check_fits(with_stand_by(1.0, 2**20), device)
    with pytest.raises(NotRunnable, match="memory"):
        check_fits(with_stand_by(1.0, 2**50), device)
    with pytest.raises(NotRunnable, match=r"1\.5 cores"):
        check_fits(with_stand_by(1.5, 2**20), device)
