"""Where the dashboard listens."""

from __future__ import annotations

import importlib.util
import socket
from dataclasses import dataclass

from circinus.channel import check_address, check_loopback
from circinus.errors import Unreachable

#: What the dashboard is made with (extra "web").
_NEEDS = ("jinja2", "multipart", "starlette", "uvicorn")
_BACKLOG = 64
_FIRST, _LAST = 2, 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An address. ``further``: ports that are as good, in order, where the first is taken; 0: any."""

    listen: str
    further: tuple[int, ...] = ()


def beside(listen: str) -> Place:
    """On loopback, a port or some after the planner's two (7402 after 7400), else any; any beside any."""
    text = listen.rpartition(":")[2]
    port = int(text) if text.isdigit() else 0
    if not 0 < port <= 65_535 - _LAST:
        return Place(listen="127.0.0.1:0")
    further = tuple(port + step for step in range(_FIRST + 1, _LAST + 1))
    return Place(listen=f"127.0.0.1:{port + _FIRST}", further=(*further, 0))


def missing() -> list[str]:
    """The packages that a dashboard needs and that aren't installed."""
    return [name for name in _NEEDS if importlib.util.find_spec(name) is None]


def bound(place: Place, *, loopback_only: bool) -> socket.socket:
    """A socket that listens there.

    Raises:
        InvalidInput: the address can't be, or is not on loopback.
        Unreachable: the port is taken.
    """
    (check_loopback if loopback_only else check_address)(place.listen)
    name, _, port = place.listen.rpartition(":")
    host = "127.0.0.1" if name == "localhost" else name.strip("[]")
    fault: OSError | None = None
    for number in (int(port), *place.further):
        listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        try:
            # Connections of a planner before this one may linger.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((host, number))
            listening.listen(_BACKLOG)
        except OSError as error:
            listening.close()
            fault = error
        else:
            listening.setblocking(False)
            return listening
    raise Unreachable(
        f"the dashboard can't listen on {place.listen}: {fault}; give another --dashboard-listen, or --no-dashboard"
    )


__all__ = ["Place", "beside", "bound", "missing"]
