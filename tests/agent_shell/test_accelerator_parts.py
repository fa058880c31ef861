from __future__ import annotations

from circinus.model.device import Accelerator
from edge_agent.accelerator_parts import AcceleratorParts
from edge_agent.fingerprint.accelerators import providers_of

GIB = 2**30


def card(name="GPU-a", *, memory_gib=24, slots=1, **changes):
    return Accelerator(
        kind="cuda",
        model="card",
        provider="CUDAExecutionProvider",
        slots=slots,
        memory_bytes=memory_gib * GIB,
        part_id=name,
        **changes,
    )


def part_of(reservation):
    return dict(reservation.variables)["CUDA_VISIBLE_DEVICES"]


def test_each_replica_has_a_part_of_its_own():
    parts = AcceleratorParts([card("GPU-a"), card("GPU-b")])
    assert {part_of(parts.reserve(1, GIB)), part_of(parts.reserve(1, GIB))} == {"GPU-a", "GPU-b"}
    assert parts.reserved_slots == (1, 1)


def test_a_replica_without_an_accelerator_sees_none():
    parts = AcceleratorParts([card()])
    assert dict(parts.reserve(0, 0).variables) == {"CUDA_VISIBLE_DEVICES": ""}
    assert parts.reserved_slots == (0,)


def test_a_large_replica_goes_where_it_fits_and_small_ones_leave_room():
    parts = AcceleratorParts([card("GPU-big", memory_gib=24, slots=4), card("GPU-small", memory_gib=8, slots=4)])
    assert part_of(parts.reserve(1, 6 * GIB)) == "GPU-small"
    assert part_of(parts.reserve(1, 20 * GIB)) == "GPU-big"


def test_what_ended_is_free_again():
    parts = AcceleratorParts([card()])
    parts.release(parts.reserve(1, 20 * GIB))
    assert parts.reserved_slots == (0,)
    assert part_of(parts.reserve(1, 20 * GIB)) == "GPU-a"
    parts.release(parts.reserve(0, 0))


def test_where_nothing_is_free_the_emptiest_is_shared_for_a_while():
    parts = AcceleratorParts([card("GPU-a", slots=2), card("GPU-b", slots=2)])
    for _ in range(3):
        parts.reserve(1, 0)
    one_more, beyond = parts.reserve(1, 0), parts.reserve(1, 0)
    assert parts.reserved_slots in ((3, 2), (2, 3))
    parts.release(one_more)
    parts.release(beyond)
    assert sum(parts.reserved_slots) == 3


def test_emulated_parts_have_slots_but_nothing_to_point_at():
    parts = AcceleratorParts([card("", emulated=True)])
    assert parts.reserve(1, GIB).variables == ()
    assert parts.reserved_slots == (1,)
    assert AcceleratorParts().reserve(1, GIB).variables == ()


def test_memory_that_nobody_knows_or_that_is_the_devices_is_no_limit():
    for one in (card(memory_gib=0, slots=2), card(memory_gib=1, slots=2, unified=True)):
        parts = AcceleratorParts([one])
        parts.reserve(1, 100 * GIB)
        parts.reserve(1, 100 * GIB)
        assert parts.reserved_slots == (2,)


def test_providers_are_those_of_accelerators_and_the_cpu_last():
    emulated = Accelerator(
        kind="npu", model="x", provider="CPUExecutionProvider", slots=1, memory_bytes=0, emulated=True
    )
    assert providers_of([emulated, card(), card()]) == ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert providers_of([]) == ("CPUExecutionProvider",)


def test_a_part_that_stays_keeps_what_is_reserved_of_it():
    parts = AcceleratorParts([card("GPU-a"), card("GPU-b")])
    first = parts.reserve(1, GIB)
    gone = parts.reserve(1, GIB)
    assert (part_of(first), part_of(gone)) == ("GPU-a", "GPU-b")
    parts.update([card("GPU-c"), card("GPU-a")])
    assert parts.reserved_slots == (0, 1)
    assert part_of(parts.reserve(1, GIB)) == "GPU-c"
    parts.release(gone)  # of a part that is no longer there
    parts.release(first)
    assert parts.reserved_slots == (1, 0)
