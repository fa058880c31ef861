"""Which part of a device's accelerators each replica has: slots and memory are reserved while its process lives.

A replica sees only the part that it has (CUDA_VISIBLE_DEVICES), and one that was planned without an accelerator sees
none. The planner counts slots and memory of all parts together, and a change of plans starts new processes before it
stops old ones; so where no part has room the emptiest is shared for that while, which is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from circinus.events import warning
from circinus.model.device import Accelerator

#: Who reads which part it may use: CUDA, and operators for parts of other makers.
_CUDA = "CUDA_VISIBLE_DEVICES"
_ANY = "CIRCINUS_ACCELERATOR_PART"


@dataclass(slots=True, kw_only=True, eq=False)
class _Part:
    accelerator: Accelerator
    slots: int = 0
    memory_bytes: int = 0

    def holds(self, slots: int, memory_bytes: int) -> bool:
        there = self.accelerator
        unknown = there.memory_bytes == 0 or there.unified
        return self.slots + slots <= there.slots and (unknown or self.memory_bytes + memory_bytes <= there.memory_bytes)

    @property
    def free_bytes(self) -> int:
        return max(0, self.accelerator.memory_bytes - self.memory_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """What a replica has; ``variables``: of its environment."""

    part: _Part | None = None
    slots: int = 0
    memory_bytes: int = 0
    variables: tuple[tuple[str, str], ...] = field(default=())


class AcceleratorParts:
    """Of one device."""

    def __init__(self, accelerators: Sequence[Accelerator] = ()) -> None:
        self._parts: list[_Part] = []
        self._cuda = False
        self.update(accelerators)

    def update(self, accelerators: Sequence[Accelerator]) -> None:
        """What there is from now on. What is reserved of a part that stays is reserved of it still."""
        before, self._parts = self._parts, []
        for one in accelerators:
            known = next((part for part in before if _same(part.accelerator, one)), None)
            if known is not None:
                before.remove(known)
                known.accelerator = one
            if one.slots > 0:
                self._parts.append(known or _Part(accelerator=one))
        self._cuda = any(one.kind == "cuda" and not one.emulated for one in accelerators)

    def reserve(self, slots: int, memory_bytes: int) -> Reservation:
        """The fullest part that still has room, so that larger replicas find some, too."""
        if slots <= 0 or not self._parts:
            return Reservation(variables=((_CUDA, ""),) if self._cuda else ())
        order = sorted(enumerate(self._parts), key=lambda one: (one[1].free_bytes, -one[1].slots, one[0]))
        part = next((part for _, part in order if part.holds(slots, memory_bytes)), None)
        if part is None:
            part = min(self._parts, key=lambda one: one.slots / one.accelerator.slots)
            warning("accelerator_shared", model=part.accelerator.model, slots=slots, memory_bytes=memory_bytes)
        part.slots += slots
        part.memory_bytes += memory_bytes
        return Reservation(part=part, slots=slots, memory_bytes=memory_bytes, variables=_variables(part.accelerator))

    def release(self, reservation: Reservation) -> None:
        """The replica has ended."""
        part = reservation.part
        if part is not None:
            part.slots -= reservation.slots
            part.memory_bytes -= reservation.memory_bytes

    @property
    def reserved_slots(self) -> tuple[int, ...]:
        """Of each part."""
        return tuple(part.slots for part in self._parts)


def _same(one: Accelerator, other: Accelerator) -> bool:
    return (one.kind, one.model, one.part_id) == (other.kind, other.model, other.part_id)


def _variables(accelerator: Accelerator) -> tuple[tuple[str, str], ...]:
    if accelerator.emulated or not accelerator.part_id:
        return ()
    own = ((_CUDA, accelerator.part_id),) if accelerator.kind == "cuda" else ()
    return (*own, (_ANY, accelerator.part_id))
