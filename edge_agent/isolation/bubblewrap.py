"""The command that puts a process into a sandbox of bubblewrap. PURE.

In it the system is read-only, /tmp is its own, and of the agent's state there are only the bundle, the environment and
the folder in which its socket is. It sees no other processes. Devices and /sys stay: cameras, microphones and
accelerators are used through them, and the system says who may.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: What of the system a process needs; what a machine lacks is left out. /opt is where the agent may be installed.
_SYSTEM = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc",
    "/opt",
    "/sys",
    "/var/lib/alternatives",
)
#: Of /run: what finds devices, keeps an accelerator's driver awake, and knows name servers.
_RUN = ("/run/udev", "/run/nvidia-persistenced", "/run/systemd/resolve")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """What is in one. ``reads`` and ``writes`` are folders or files; ``hides`` folders that are empty in it.

    ``own_processes``: it has process ids of its own. An accelerator's driver knows only the machine's.
    """

    reads: tuple[str, ...]
    writes: tuple[str, ...]
    hides: tuple[str, ...]
    folder: str
    network: bool
    own_processes: bool = True


def command(bubblewrap: str, sandbox: Sandbox, arguments: Sequence[str]) -> list[str]:
    """The command line that runs ``arguments`` in a sandbox; it dies with who started it."""
    parts = [bubblewrap, "--die-with-parent", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    parts += [] if sandbox.network else ["--unshare-net"]
    parts += ["--unshare-pid"] if sandbox.own_processes else []
    for path in _SYSTEM:
        parts += ["--ro-bind-try", path, path]
    parts += ["--dev-bind", "/dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "--tmpfs", "/run"]
    for path in _RUN:
        parts += ["--ro-bind-try", path, path]
    # Each lies on top of those before it: outer folders first, and of one folder what says more of it last.
    mounts = {path: ["--tmpfs", path] for path in sandbox.hides}
    mounts |= {path: ["--ro-bind-try", path, path] for path in sandbox.reads}
    mounts |= {path: ["--bind", path, path] for path in sandbox.writes}
    for path in sorted(mounts, key=lambda path: (path.count("/"), path)):
        parts += mounts[path]
    return [*parts, "--chdir", sandbox.folder, "--", *arguments]
