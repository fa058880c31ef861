"""Where serving stands on a device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from circinus.model.directive import Generation


class Phase(StrEnum):
    """Where the newest generation stands on this device."""

    STARTING = "starting"
    READY = "ready"
    ACTIVE = "active"
    DRAINED = "drained"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingStatus:
    """Where serving stands. ``newest`` None: nothing was applied yet; ``pids`` by replica-set or source key.

    ``self_reliant``: what ``newest`` has this device run answers, stand-bys for what needs others among it.
    """

    newest: Generation | None = None
    phase: Phase = Phase.STARTING
    reason: str = ""
    active: Generation | None = None
    pids: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    self_reliant: bool = False
