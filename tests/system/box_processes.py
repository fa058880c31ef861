"""The processes of a box, looked at while they come and go."""

import contextlib

import psutil


def commands(fleet, *names):
    """What the agents of these boxes have started and what still runs of it: the command lines by process id."""
    found = {}
    for name in names:
        for child in psutil.Process(fleet.pid(name)).children(recursive=True):
            # It may end between two looks.
            with contextlib.suppress(psutil.NoSuchProcess):
                if child.status() != psutil.STATUS_ZOMBIE:
                    found[child.pid] = " ".join(child.cmdline())
    return found


def workers(fleet, *names):
    """Operator and source processes; those that profile stay for a while, too, and are none."""
    found = commands(fleet, *names)
    return {pid: command for pid, command in found.items() if "edge_agent.profile_process" not in command}
