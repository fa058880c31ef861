"""The next steps of a rollout, from where each device stands. PURE.

Make before break: a generation is sent to every device; when all that run something under it are ready, sources
switch (activate); when nothing older is in flight anywhere, what only older generations need is stopped (retire).
Every step is idempotent and is derived from what devices report, so a planner that died in the middle goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from circinus.model.device import DeviceId
from circinus.model.directive import Generation


class Progress(StrEnum):
    """How far a device has come with the newest generation that it accepted."""

    NONE = "none"
    STARTING = "starting"
    READY = "ready"
    ACTIVE = "active"
    DRAINED = "drained"
    FAILED = "failed"


_READY = frozenset({Progress.READY, Progress.ACTIVE, Progress.DRAINED})


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceStage:
    """Where a device stands. ``directed``, ``activated`` and ``retired`` are what was sent on its present connection.

    ``involved``: it runs something under this generation. ``leaving``: it may still run something older only.
    ``refusal``: why it refused this generation; empty: it did not.
    """

    device_id: DeviceId
    connected: bool
    involved: bool
    leaving: bool = False
    accepted: Generation | None = None
    active: Generation | None = None
    progress: Progress = Progress.NONE
    reason: str = ""
    refusal: str = ""
    directed: Generation | None = None
    activated: Generation | None = None
    retired: Generation | None = None

    def ready(self, generation: Generation) -> bool:
        """Whether everything that it runs under the generation answers."""
        return self.accepted == generation and self.progress in _READY

    def drained(self, generation: Generation) -> bool:
        """Whether nothing older than the generation is in flight there."""
        return self.accepted == generation and self.progress is Progress.DRAINED


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """What to send to whom now; ``switch`` and ``settle`` say that the rollout as a whole has come so far.

    ``waits_for`` names what it waits for, device by device; ``failed`` the devices that say they can't.
    """

    direct: tuple[DeviceId, ...] = ()
    activate: tuple[DeviceId, ...] = ()
    retire: tuple[DeviceId, ...] = ()
    switch: bool = False
    settle: bool = False
    waits_for: tuple[tuple[DeviceId, str], ...] = ()
    failed: tuple[tuple[DeviceId, str], ...] = ()


def next_steps(
    generation: Generation, stages: Sequence[DeviceStage], *, active: bool, settled: bool, drain_overdue: bool = False
) -> Steps:
    """The next steps of a generation that has come so far.

    ``drain_overdue``: it has been active for so long that every older item has timed out; who has not said that it
    is drained is no longer waited for.
    """
    connected = [stage for stage in stages if stage.connected]
    direct = tuple(
        stage.device_id for stage in connected if stage.accepted != generation and stage.directed != generation
    )
    involved = [stage for stage in stages if stage.involved]
    if not active:
        late = [stage for stage in involved if not stage.ready(generation)]
        return Steps(
            direct=direct,
            switch=not late,
            waits_for=tuple((stage.device_id, _standing(stage, generation)) for stage in late),
            failed=tuple(
                (stage.device_id, _failure(stage, generation)) for stage in late if _failure(stage, generation)
            ),
        )
    activate = tuple(
        stage.device_id
        for stage in connected
        if stage.ready(generation) and stage.active != generation and stage.activated != generation
    )
    if not settled:
        late = [
            stage
            for stage in stages
            if not stage.drained(generation) and (stage.involved or (stage.leaving and stage.connected))
        ]
        return Steps(
            direct=direct,
            activate=activate,
            settle=not late or drain_overdue,
            waits_for=tuple((stage.device_id, _standing(stage, generation)) for stage in late),
        )
    retire = tuple(
        stage.device_id for stage in connected if stage.accepted == generation and stage.retired != generation
    )
    return Steps(direct=direct, activate=activate, retire=retire)


def _standing(stage: DeviceStage, generation: Generation) -> str:
    if not stage.connected:
        return "is not connected"
    if stage.refusal:
        return f"refused it: {stage.refusal}"
    if stage.accepted != generation:
        return "has not accepted it yet"
    return f"is {stage.progress}" + (f": {stage.reason}" if stage.reason else "")


def _failure(stage: DeviceStage, generation: Generation) -> str:
    if stage.refusal:
        return stage.refusal
    if stage.accepted == generation and stage.progress is Progress.FAILED:
        return stage.reason or "it failed without a reason"
    return ""
