"""Where peers dial a device that listens on every address of its box."""

from __future__ import annotations

import ipaddress
import socket

from circinus.events import warning


def reached_at(listens_on: str, planner: str) -> str:
    """The address that peers are told: of several, the one by which the box itself reaches the planner.

    Empty if the box has no way to the planner now: then nobody can tell, and nobody asks.
    """
    host, _, port = listens_on.rpartition(":")
    try:
        everywhere = ipaddress.ip_address(host.strip("[]")).is_unspecified
    except ValueError:
        everywhere = False
    if not everywhere:
        return listens_on
    planner_host, _, planner_port = planner.rpartition(":")
    try:
        found = socket.getaddrinfo(planner_host.strip("[]"), int(planner_port), type=socket.SOCK_DGRAM)
        family, kind, protocol, _, where = found[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(where)  # of a datagram socket: nothing is sent
            own = str(probe.getsockname()[0])
    except OSError as error:
        warning("own_address_unknown", listens_on=listens_on, reason=error, cure="set data_advertise")
        return ""
    return f"[{own}]:{port}" if ":" in own else f"{own}:{port}"
