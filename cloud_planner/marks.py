"""What people say of devices: their labels, and whether plans may use them. Durable before it counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from circinus.clock import Clock
from circinus.errors import InvalidInput, Violation
from circinus.events import event
from circinus.model.device import Device, DeviceId
from circinus.model.label import MAX_LABELS, key_fault, labels_fault, overlaid
from cloud_planner.bell import Bell
from cloud_planner.store import Keeping, Mark, Store

_EMPTIED = frozenset({Keeping.DRAINING, Keeping.LEAVING, Keeping.LEFT})


class Marks:
    """Marks by device. ``replan`` rings when plans may change, ``watched`` with it for whoever looks on."""

    def __init__(self, store: Store, clock: Clock, *, replan: Bell, watched: Bell) -> None:
        self._store = store
        self._clock = clock
        self._replan = replan
        self._watched = watched
        self._marks: dict[DeviceId, Mark] = {}

    async def load(self) -> None:
        """Reads what people said before."""
        self._marks = {mark.device_id: mark for mark in await self._store.marks()}

    def of(self, device_id: DeviceId) -> Mark:
        """What was said of a device."""
        return self._marks.get(device_id) or Mark(device_id=device_id)

    def kept(self, *ways: Keeping) -> tuple[DeviceId, ...]:
        """The devices that are kept in one of these ways, by id."""
        return tuple(sorted(name for name, mark in self._marks.items() if mark.keeping in ways))

    @property
    def cordoned(self) -> frozenset[DeviceId]:
        """The devices on which nothing new is put, those that are being drained included."""
        return frozenset(name for name, mark in self._marks.items() if mark.keeping is not Keeping.FREE)

    @property
    def draining(self) -> frozenset[DeviceId]:
        """The devices that are being emptied."""
        return frozenset(self.kept(*_EMPTIED))

    def labels(self, device: Device) -> dict[str, str]:
        """The labels that a device has, from all who set some."""
        mark = self.of(device.id)
        return overlaid(device.labels, mark.bound, mark.people)

    def labelled(self, devices: Iterable[Device]) -> tuple[Device, ...]:
        """Devices with the labels that they have; the very same ones where nobody said anything."""
        return tuple(
            dataclasses.replace(device, labels=self.labels(device)) if device.id in self._marks else device
            for device in devices
        )

    async def keep(self, device_id: DeviceId, keeping: Keeping, why: str = "") -> None:
        """Has plans use a device so from now on; said again, it stays as it was said first."""
        mark = self.of(device_id)
        if mark.keeping is keeping and why in ("", mark.why):
            return
        why = "" if keeping is Keeping.FREE else why or mark.why
        changed = dataclasses.replace(mark, keeping=keeping, why=why, since=self._clock.now())
        await self._put(changed)
        event("device_kept", device=device_id, keeping=keeping, why=why)

    async def label(
        self, device: Device, put: Mapping[str, str], remove: Sequence[str] = (), *, reset: bool = False
    ) -> None:
        """Sets and removes labels of a device, over those that it has by itself.

        Raises:
            InvalidInput: one of them is no label, or is both set and removed, or there would be too many.
        """
        await self._put(self.relabelled(device, put, remove, reset=reset))
        self._tell(device)

    def _tell(self, device: Device) -> None:
        event("device_labelled", device=device.id, labels=",".join(f"{k}={v}" for k, v in self.labels(device).items()))

    def relabelled(
        self, device: Device, put: Mapping[str, str], remove: Sequence[str] = (), *, reset: bool = False
    ) -> Mark:
        """What would be said of a device with these labels set and removed; nothing is changed.

        Raises:
            InvalidInput: as of ``label``.
        """
        mark = self.of(device.id)
        people: dict[str, str | None] = {} if reset else dict(mark.people)
        fault = labels_fault(put) or next((found for key in remove if (found := key_fault(key))), "")
        if both := sorted(set(put) & set(remove)):
            fault = f"{both[0]!r} is both set and removed"
        has_by_itself = {**device.labels, **mark.bound}
        for key in remove:
            # Over nothing there is nothing to say; what it has by itself is hidden.
            people.pop(key, None)
            if key in has_by_itself:
                people[key] = None
        people |= put
        if not fault and len(people) > MAX_LABELS:
            fault = f"{len(people)} labels are more than {MAX_LABELS}"
        if fault:
            raise InvalidInput(f"labels: {fault}", (Violation(field="labels", message=fault),))
        return dataclasses.replace(mark, people=people)

    def take(self, mark: Mark, device: Device) -> None:
        """This is said of a device now; it is in the store already."""
        self._marks[mark.device_id] = mark
        self._tell(device)

    async def bind(self, device_id: DeviceId, labels: Mapping[str, str]) -> None:
        """Takes note of the labels that a device's token was bound to, in place of an earlier token's.

        Raises:
            InvalidInput: one of them is no label, or there are too many.
        """
        if fault := labels_fault(labels):
            raise InvalidInput(f"labels: {fault}", (Violation(field="labels", message=fault),))
        mark = self.of(device_id)
        if dict(mark.bound) != dict(labels):
            await self._put(dataclasses.replace(mark, bound=dict(labels)))

    def forget(self, device_id: DeviceId) -> None:
        """A device is gone; the store has forgotten it already."""
        self._marks.pop(device_id, None)

    async def _put(self, mark: Mark) -> None:
        await self._store.put_mark(mark)
        self._marks[mark.device_id] = mark
        self._replan.ring()
        self._watched.ring()


__all__ = ["Marks"]
