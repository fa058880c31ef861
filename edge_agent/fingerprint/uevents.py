"""The kernel's word that hardware came or went (netlink uevents); where it says none, the period alone counts."""

from __future__ import annotations

import asyncio
import socket

from circinus.events import debug

_NETLINK_KOBJECT_UEVENT = 15
_KERNEL_GROUP = 1
#: What a fingerprint is made of. Batteries tell of each percent, and are left to the period.
_SUBSYSTEMS = frozenset({"drm", "accel", "cpu", "memory", "nvidia", "pci", "host1x", "nvhost", "infiniband"})
_ACTIONS = frozenset({"add", "remove", "online", "offline", "bind", "unbind"})


class Uevents:
    """``changed`` is set when hardware came or went that a fingerprint speaks of."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """Begins to listen; does nothing where that isn't possible."""
        try:
            found = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_KOBJECT_UEVENT)
        except OSError as error:
            debug("uevents_not_heard", reason=error)
            return
        try:
            found.setblocking(False)
            found.bind((0, _KERNEL_GROUP))
            asyncio.get_running_loop().add_reader(found.fileno(), self._read)
        except OSError as error:
            found.close()
            debug("uevents_not_heard", reason=error)
            return
        self._socket = found

    def close(self) -> None:
        """Listens no more."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _read(self) -> None:
        if self._socket is None:
            return
        try:
            message = self._socket.recv(8192)
        except OSError:
            # Too many at once: something has changed.
            self.changed.set()
            return
        if tells(message):
            self.changed.set()


def tells(message: bytes) -> bool:
    """Whether a uevent is one that a fingerprint is to be taken again for."""
    fields = dict(
        line.split("=", 1) for line in message.decode(errors="replace").split("\0") if "=" in line.partition("@")[0]
    )
    return fields.get("ACTION") in _ACTIONS and fields.get("SUBSYSTEM") in _SUBSYSTEMS
