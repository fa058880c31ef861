"""Boxes on one machine: each has its own network, processes, files and sshd, and nothing of it is left afterwards.

A box is a set of namespaces whose root is the machine's own, read through an overlay in memory: what is installed and
written and which users are made in one box is seen by nobody else. All boxes hang on one hub, by a cable (veth) each;
the hub is where a planner listens, and where the fleet is ruled from. The end of a box's first process is the end of
all of it, so even a run that is killed leaves nothing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

HUB = "10.77.0.1"
_NEEDED = ("unshare", "nsenter", "ip", "sshd", "ssh", "ssh-keygen", "setpriv")
_START_S = 30.0
_POLL_S = 0.05
#: Found by ssh's own users too, where the path has no sbin.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_INIT = r"""
set -eu
folder=$1 name=$2 address=$3 gateway=$4
mount --make-rprivate /
mount -t tmpfs tmpfs "$folder/$name"
cd "$folder/$name"
mkdir upper work root keys
cp "$folder/key.pub" keys/authorized
cp "$folder/$name.host" keys/host
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root
# What a fresh machine would not have: this project, its builds, the homes of people, and leftovers of other installs.
for place in proc sys dev; do mount --rbind "/$place" "root/$place"; done
for place in run tmp root home work var/tmp; do
    [ ! -d "root/$place" ] || mount -t tmpfs -o mode=755 tmpfs "root/$place"
done
chmod 1777 root/tmp root/var/tmp
mkdir -p root/run/sshd root/root/.ssh root/old
chmod 700 root/root root/root/.ssh
cp keys/authorized root/root/.ssh/authorized_keys
cp keys/host root/run/sshd/key
chmod 600 root/run/sshd/key
cd root
pivot_root . old
cd /
umount -l /old
rmdir /old
mount -t proc proc /proc
hostname "$name"
tries=0
until ip link show eth0 >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -lt 600 ] || exit 1
    sleep 0.05
done
ip link set lo up
ip address add "$address/24" dev eth0
ip link set eth0 up
ip route add default via "$gateway"
exec /usr/sbin/sshd -D -e -f /dev/null -p 22 -h /run/sshd/key -o UsePAM=no -o PidFile=none -o LogLevel=ERROR \
    -o PasswordAuthentication=no -o KbdInteractiveAuthentication=no -o PermitRootLogin=prohibit-password \
    -o 'Subsystem=sftp internal-sftp' -o StrictModes=no -o MaxStartups=100 \
    -o AuthorizedKeysFile=/root/.ssh/authorized_keys
"""


def missing() -> str:
    """Why there can be no boxes here; empty if there can."""
    if os.geteuid() != 0:
        return "boxes need root: namespaces, mounts and cables are made"
    absent = [name for name in _NEEDED if shutil.which(name, path=f"{_PATH}:{os.environ.get('PATH', '')}") is None]
    if absent:
        return f"not installed: {', '.join(absent)} (Debian: iproute2, openssh-client, openssh-server, util-linux)"
    with tempfile.TemporaryDirectory() as folder:
        probe = (
            f"mount --make-rprivate / && mount -t tmpfs tmpfs {folder} && cd {folder} && mkdir u w r && "
            "mount -t overlay overlay -o lowerdir=/,upperdir=u,workdir=w r && "
            "ip link add name end1 type veth peer name end2"
        )
        tried = subprocess.run(
            ["unshare", "--mount", "--net", "--pid", "--fork", "sh", "-c", probe],
            capture_output=True,
            text=True,
            check=False,
        )
    return "" if tried.returncode == 0 else f"namespaces, overlays or cables are not permitted: {tried.stderr.strip()}"


class Boxes:
    """Boxes by name, on a hub; a context manager. ``address`` and ``known_hosts`` are for the inventory."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.folder = folder
        self.names = tuple(names)
        self.known_hosts = folder / "known_hosts"
        self.key = folder / "key"
        self._held: dict[str, subprocess.Popen[bytes]] = {}
        self._hub = 0

    def address(self, name: str) -> str:
        """Of a box, as the hub reaches it."""
        return f"10.77.{self.names.index(name) + 1}.2"

    def __enter__(self) -> Boxes:
        try:
            self._make_keys()
            self._start_hub()
            for name in self.names:
                self._start_box(name)
            for name in self.names:
                self._answers(name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._held.values():
            process.kill()
        for process in self._held.values():
            process.wait()
        self._held.clear()

    def on_hub(self, *argv: str) -> list[str]:
        """The command line that runs this on the hub."""
        return ["nsenter", f"--net=/proc/{self._hub}/ns/net", "--", *argv]

    def inside(self, name: str, line: str, *, stdin: Path = Path(os.devnull)) -> str:
        """Runs a line of shell in a box, past its network; gives what it printed."""
        pid = _first_child(self._held[name].pid)
        with stdin.open("rb") as file:
            done = subprocess.run(
                ["nsenter", f"--target={pid}", "--mount", "--net", "--pid", "--uts", "--", "sh", "-c", line],
                stdin=file,
                capture_output=True,
                text=True,
                check=False,
            )
        return done.stdout + done.stderr

    def cut(self, name: str) -> None:
        """Pulls the cable."""
        self._on_hub("ip", "link", "set", self._cable(name), "down")

    def mend(self, name: str) -> None:
        """Plugs it in again."""
        self._on_hub("ip", "link", "set", self._cable(name), "up")

    def _cable(self, name: str) -> str:
        return f"box{self.names.index(name) + 1}"

    def _on_hub(self, *argv: str) -> None:
        subprocess.run(self.on_hub(*argv), check=True, capture_output=True)

    def _make_keys(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        pairs = {"key": self.key, **{name: self.folder / f"{name}.host" for name in self.names}}
        making = [
            subprocess.Popen(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)])
            for path in pairs.values()
        ]
        if any(process.wait() != 0 for process in making):
            raise OSError("ssh-keygen failed")
        self.known_hosts.write_text(
            "".join(f"{self.address(name)} {(self.folder / f'{name}.host.pub').read_text()}" for name in self.names)
        )
        for name in self.names:
            (self.folder / name).mkdir(exist_ok=True)

    def _hold(self, name: str, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.console").open("wb") as console:
            self._held[name] = subprocess.Popen(
                # If this process is killed, so is what it holds.
                ["setpriv", "--pdeathsig", "KILL", *argv],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env={"PATH": _PATH},
                start_new_session=True,
            )
        return self._held[name]

    def _start_hub(self) -> None:
        ready = self.folder / "hub.ready"
        line = (
            f"ip link set lo up && ip address add {HUB}/32 dev lo && echo 1 >/proc/sys/net/ipv4/ip_forward && "
            f"touch {ready} && exec sleep infinity"
        )
        process = self._hold("hub", ["unshare", "--net", "sh", "-c", line])
        _until(ready.exists, "the hub", process)
        self._hub = process.pid

    def _start_box(self, name: str) -> None:
        number = self.names.index(name) + 1
        flags = ["--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "--kill-child"]
        script = ["sh", "-c", _INIT, "init", str(self.folder), name, self.address(name), f"10.77.{number}.1"]
        process = self._hold(name, ["unshare", *flags, *script])
        _until(lambda: _first_child(process.pid) > 0, name, process)
        cable, pid = self._cable(name), str(_first_child(process.pid))
        self._on_hub("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", pid)
        self._on_hub("ip", "address", "add", f"10.77.{number}.1/24", "dev", cable)
        self._on_hub("ip", "link", "set", cable, "up")

    def _answers(self, name: str) -> None:
        # One that is taken by ssh-keyscan is there; the key is compared by whoever connects.
        probe = self.on_hub("ssh-keyscan", "-T", "1", "-t", "ed25519", self.address(name))
        _until(
            lambda: bool(subprocess.run(probe, capture_output=True, check=False).stdout),
            f"the sshd of {name}",
            self._held[name],
        )


def inventory_text(boxes: Boxes, planner: Mapping[str, str], defaults: Mapping[str, object]) -> str:
    """An inventory of all boxes."""
    from scripts.provisioning.inventory import toml_value

    def table(name: str, entries: Mapping[str, object]) -> str:
        return f"[{name}]\n" + "".join(f"{key} = {toml_value(value)}\n" for key, value in entries.items()) + "\n"

    reach = {"identity_file": str(boxes.key), "known_hosts": str(boxes.known_hosts)}
    text = table("planner", planner) + table("defaults", {**reach, **defaults})
    for number, name in enumerate(boxes.names):
        entries = {"address": boxes.address(name), "site": f"shop-{number + 1}", "ring": min(number, 1)}
        text += table(f'hosts."{name}"', entries)
    return text


def _first_child(pid: int) -> int:
    with contextlib.suppress(OSError, IndexError, ValueError):
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
    return 0


def _until(holds: object, what: str, process: subprocess.Popen[bytes]) -> None:
    assert callable(holds)
    deadline_s = time.monotonic() + _START_S
    while not holds():
        if process.poll() is not None:
            raise OSError(f"{what} ended with exit code {process.returncode}: look at its .console file")
        if time.monotonic() >= deadline_s:
            raise OSError(f"{what} is not there after {_START_S:g} s")
        time.sleep(_POLL_S)


@contextlib.contextmanager
def fresh_folder() -> Iterator[Path]:
    """A short path: names of sockets are limited."""
    with tempfile.TemporaryDirectory(prefix="boxes-") as folder:
        yield Path(folder)
