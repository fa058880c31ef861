"""What a serving process has to do to itself before it loads any of a bundle's code. Written by its agent."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
from dataclasses import asdict, dataclass, fields

from edge_agent.isolation import kernel
from edge_agent.isolation.system_calls import MACHINES, program

#: Names the pipe that the orders come through.
ORDERS_VARIABLE = "CIRCINUS_ORDERS_FD"
#: They fit into a pipe, so that the agent never waits for who reads them.
MAX_ORDERS_BYTES = 32 * 1024
_UMASK = 0o077


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What holds for one process.

    ``agent_pid``: its parent; 0: between them is what sees to it that it dies with its agent. ``system_calls``:
    whether they are filtered; ``network``: whether sockets to elsewhere stay open to it. ``landlock`` is the version to
    use; 0: none. ``hidden`` is a folder of which only ``shown`` may be read and ``working`` written, too; empty: none
    is hidden. ``own_network``: without ``network``, it is in one where there is nothing. ``reads_all``: it reads files
    for an agent that runs as root.
    """

    agent_pid: int
    system_calls: bool = True
    network: bool = False
    oom_score_adj: int = 0
    landlock: int = 0
    hidden: str = ""
    shown: tuple[str, ...] = ()
    working: tuple[str, ...] = ()
    own_network: bool = False
    reads_all: bool = False

    def to_bytes(self) -> bytes:
        """As they go through the pipe."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Orders:
        """What ``to_bytes`` gave.

        Raises:
            ValueError: they are cut off, or of another version of the agent.
        """
        document = json.loads(data)
        if not isinstance(document, dict) or document.keys() != {field.name for field in fields(cls)}:
            raise ValueError("these are no orders that this version knows")
        return cls(**{**document, "shown": tuple(document["shown"]), "working": tuple(document["working"])})


def obey() -> None:
    """Waits for this process's orders and carries them out; the process ends if its agent is gone.

    Without the variable that names their pipe somebody started the process by hand: then it only dies with its parent.

    Raises:
        OSError, ValueError: they can't be carried out: nothing of a bundle may be loaded.
    """
    kernel.die_with_parent()
    named = os.environ.pop(ORDERS_VARIABLE, "")
    if not named:
        return
    with os.fdopen(int(named), "rb") as pipe:
        data = pipe.read(MAX_ORDERS_BYTES)
    if not data:
        sys.exit(0)  # the agent died before it could say anything
    carry_out(Orders.from_bytes(data))


def carry_out(orders: Orders) -> None:
    """Gives up what the orders say, in an order in which each step still may be made.

    Raises:
        OSError: the kernel refuses a step.
    """
    # The agent may have died between the start and the call that ties this process to it.
    if orders.agent_pid and os.getppid() != orders.agent_pid:
        sys.exit(0)
    # Before the process is hidden: from then on these files are root's. Lower than its parent's it may not go.
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write(str(orders.oom_score_adj))
    except PermissionError:
        print("oom_score_adj stays as it was", file=sys.stderr)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(_UMASK)
    if orders.own_network and not orders.network:
        try:
            kernel.leave_network()
        except OSError:
            if not orders.system_calls:
                raise
            # A container's own filter may refuse it; ours closes the network as well.
    kernel.forgo_new_rights()
    if orders.landlock:
        kernel.confine(orders.landlock, _allowed(orders) if orders.hidden else None)
    kernel.drop_capabilities((kernel.CAP_DAC_READ_SEARCH,) if orders.reads_all else ())
    kernel.hide_memory()
    if orders.system_calls:
        kernel.filter_calls(program(MACHINES[os.uname().machine], network=orders.network))


def refuse_calls(*, network: bool) -> None:
    """Filters this process's system calls as on a device, where the kernel can."""
    machine = MACHINES.get(os.uname().machine)
    if machine is not None and kernel.can_filter():
        kernel.forgo_new_rights()
        kernel.filter_calls(program(machine, network=network))


def _allowed(orders: Orders) -> dict[str, bool]:
    """Every place that may be read, and whether it may be written: all beside the way to what is hidden.

    Landlock knows no exceptions below what is allowed, so nothing that holds the hidden folder can be among them.
    """
    allowed = {os.path.join(orders.hidden, name): False for name in orders.shown}
    allowed |= {os.path.join(orders.hidden, name): True for name in orders.working}
    inner = orders.hidden
    while (outer := os.path.dirname(inner)) != inner:
        with contextlib.suppress(OSError), os.scandir(outer) as entries:
            # A link may lead back above what is hidden; what it leads to is allowed where it is.
            allowed |= {entry.path: True for entry in entries if entry.path != inner and not entry.is_symlink()}
        inner = outer
    return allowed
