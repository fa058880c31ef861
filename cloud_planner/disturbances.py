"""When profile runs took devices' cores: how fast plans were served then says nothing of the plans.

Emulated devices share one machine, so where there are any, a run on one device disturbs all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

from circinus.clock import Clock
from circinus.model.device import DeviceId
from circinus.v1 import types_pb2
from cloud_planner.registry import Registry

#: A run's processes start before its first report and end after its last; clocks of agents are a little off.
MARGIN_S = 2.0
#: Ended runs that are remembered.
_MOST_RUNS = 2_000

_Run = tuple[DeviceId, float, float]


class Disturbances:
    """The profile runs of the last hours; times are seconds of the planner's wall clock."""

    def __init__(self, registry: Registry, clock: Clock) -> None:
        self._registry = registry
        self._clock = clock
        self._running: dict[str, tuple[DeviceId, float]] = {}
        self._ended: deque[_Run] = deque(maxlen=_MOST_RUNS)

    def begun(self, run_id: str, device_id: DeviceId) -> None:
        """A run was asked for."""
        self._running[run_id] = (device_id, self._clock.now().timestamp())

    def ended(self, run_id: str) -> None:
        """It ended, however it did."""
        known = self._running.pop(run_id, None)
        if known is not None:
            self._ended.append((*known, self._clock.now().timestamp()))

    def in_window(
        self, device_ids: Collection[DeviceId], window: types_pb2.QueryWindow | types_pb2.OperatorWindow
    ) -> bool:
        """Whether a run took cores of one of these devices while the window was open."""
        start_s = window.start.seconds + window.start.nanos / 1e9 - MARGIN_S
        end_s = start_s + window.duration_s + 2.0 * MARGIN_S
        runs = [run for run in self._runs() if run[1] <= end_s and run[2] >= start_s]
        return bool(runs) and (self._on_one_machine() or any(run[0] in device_ids for run in runs))

    def _runs(self) -> list[_Run]:
        now_s = self._clock.now().timestamp()
        return [*self._ended, *((device_id, began_s, now_s) for device_id, began_s in self._running.values())]

    def _on_one_machine(self) -> bool:
        return any(record.device.speed_ratio < 1.0 for record in self._registry.records())
