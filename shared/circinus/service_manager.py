"""What a daemon tells the service manager that started it (systemd's notification protocol), and its watchdog.

Without one, as in a terminal, nothing is told. The watchdog is fed by the event loop that does the daemon's work: one
that hangs is killed and started again.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from circinus.clock import Clock
from circinus.events import warning

READY = "READY=1"
STOPPING = "STOPPING=1"
_ALIVE = "WATCHDOG=1"
_US_PER_S = 1e6


def tell(*assignments: str, environment: Mapping[str, str] | None = None) -> bool:
    """Tells the service manager, such as READY or "STATUS=serving". False: there is none, or it can't be told."""
    address = (os.environ if environment is None else environment).get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as outgoing:
            # A full queue must not hold the event loop.
            outgoing.setblocking(False)
            outgoing.connect("\0" + address[1:] if address.startswith("@") else address)
            outgoing.send("\n".join(assignments).encode())
    except OSError as error:
        warning("service_manager_not_told", reason=error)
        return False
    return True


def watchdog_period_s(environment: Mapping[str, str] | None = None) -> float | None:
    """How often the watchdog of this process wants to hear something; None: it has none."""
    given = os.environ if environment is None else environment
    limit_us, pid = given.get("WATCHDOG_USEC", ""), given.get("WATCHDOG_PID", "")
    if not limit_us.isdigit() or int(limit_us) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(limit_us) / _US_PER_S / 2.0


async def feed_watchdog(clock: Clock) -> None:
    """Tells the watchdog that this event loop turns, until it is cancelled; returns at once if there is none."""
    period_s = watchdog_period_s()
    while period_s is not None:
        tell(_ALIVE)
        await clock.sleep(period_s)
