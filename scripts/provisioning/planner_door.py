"""What the fleet asks of the planner, by its own commands: tokens, and whether boxes are back."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from scripts.provisioning.inventory import PlannerSpec

_TOKEN = re.compile(r"\bcirc1\.[A-Za-z0-9._-]+")
_COMMAND_S = 60.0
_DRAIN_S = 900.0
_FRESH_S = 1.0
_POLL_S = 0.5
_SETTLED = {"", "active", "drained"}


class PlannerFailed(Exception):
    """The planner's command failed; says how."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A device as the planner sees it."""

    connected: bool
    version: str
    generation: int
    phase: str
    reason: str

    @property
    def settled(self) -> bool:
        """Connected, and what it was told to run runs."""
        return self.connected and (self.generation == 0 or self.phase in _SETTLED)


class PlannerDoor:
    """The planner, for many threads: one look at the devices serves all who ask within a second."""

    def __init__(self, spec: PlannerSpec) -> None:
        self._spec = spec
        self._lock = threading.Lock()
        self._looked_s = -_FRESH_S
        self._seen: Mapping[str, Seen] = {}

    def token(self, device: str) -> str:
        """A new enrolment token that is bound to a device.

        Raises:
            PlannerFailed: it can't be made.
        """
        spec = self._spec
        if spec.state_dir:
            argv = [spec.cloud_planner, "token", "create", "--state-dir", spec.state_dir]
        else:
            argv = [spec.circinus, "token", "create"]
        found = _TOKEN.search(self._ask([*argv, "--device", device, "--ttl", spec.token_ttl]))
        if found is None:
            raise PlannerFailed(f"{' '.join(argv[:3])} printed no token")
        return found.group(0)

    def devices(self) -> Mapping[str, Seen]:
        """All devices that the planner knows, by id.

        Raises:
            PlannerFailed: it can't be asked.
        """
        with self._lock:
            if time.monotonic() - self._looked_s >= _FRESH_S:
                document = json.loads(self._ask([self._spec.circinus, "device", "ls", "-o", "json"]) or "[]")
                self._seen = {str(entry["device"]["id"]): _seen(entry) for entry in document}
                self._looked_s = time.monotonic()
            return self._seen

    def drain(self, device: str) -> None:
        """Moves what a device serves elsewhere, new before old.

        Raises:
            PlannerFailed: something has to stay there.
        """
        self._ask([self._spec.circinus, "device", "drain", device, "--why", "fleet leave"], _DRAIN_S)

    def forget(self, device: str) -> None:
        """Forgets a device that has stopped: its name is free, and its certificates are worth nothing.

        Raises:
            PlannerFailed: it can't be.
        """
        self._ask([self._spec.circinus, "device", "leave", device, "--force", "--yes", "--why", "fleet leave"])
        with self._lock:
            self._looked_s = -_FRESH_S

    def wait(self, device: str, holds: Callable[[Seen], bool], timeout_s: float) -> tuple[bool, Seen | None]:
        """Waits until a device is as wished: whether it came to that, and how it was last seen."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            try:
                seen = self.devices().get(device)
            except PlannerFailed:
                # It may be starting; who waits has a limit anyway.
                seen = None
            if seen is not None and holds(seen):
                return True, seen
            if time.monotonic() >= deadline_s:
                return False, seen
            time.sleep(_POLL_S)

    def _ask(self, argv: Sequence[str], timeout_s: float = _COMMAND_S) -> str:
        environment = dict(os.environ)
        if self._spec.context:
            environment["CIRCINUS_CONTEXT"] = self._spec.context
        if self._spec.contexts:
            environment["CIRCINUS_CONTEXTS"] = self._spec.contexts
        if self._spec.insecure_loopback:
            environment |= {"CIRCINUS_INSECURE_LOOPBACK": "1", "CIRCINUS_PLANNER": self._spec.address}
        try:
            done = subprocess.run(
                argv,
                capture_output=True,
                text=True,
                env=environment,
                timeout=timeout_s,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except FileNotFoundError as error:
            raise PlannerFailed(
                f"there is no command {argv[0]!r}: put it on PATH, or name it in [planner] of the inventory"
            ) from error
        except subprocess.TimeoutExpired as error:
            raise PlannerFailed(f"{' '.join(argv[:3])} gave no answer within {timeout_s:g} s") from error
        if done.returncode != 0:
            words = (done.stderr or done.stdout).strip().splitlines()[-3:]
            raise PlannerFailed(f"{' '.join(argv[:3])}: {' '.join(words) or f'exit code {done.returncode}'}")
        return done.stdout


def _seen(entry: Mapping[str, object]) -> Seen:
    device = entry["device"]
    version = device.get("agent_version", "") if isinstance(device, dict) else ""
    return Seen(
        connected=entry.get("connected") is True,
        version=str(version),
        generation=int(str(entry.get("accepted_generation") or 0)),
        phase=str(entry.get("generation_phase") or "").lower(),
        reason=str(entry.get("reason") or ""),
    )
