"""A planner with an identity on the hub, boxes around it, an inventory of them, and the command that rules them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.provision_boxes import HUB, Boxes, inventory_text

ROOT = Path(__file__).resolve().parents[1]
PORT = 7400
INSTALLED = "/opt/circinus/libexec/install.sh"
_START_S = 60.0
_BESIDE = Path(sys.executable).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What one run of the fleet command gave."""

    code: int
    seconds: float
    hosts: Mapping[str, Mapping[str, Any]]
    errors: str

    def results(self) -> dict[str, str]:
        """The result of each host."""
        return {name: str(host["result"]) for name, host in self.hosts.items()}

    def said(self, name: str) -> str:
        """What was said of a host."""
        return str(self.hosts[name]["said"])


@dataclass(slots=True, kw_only=True)
class Rig:
    """A context manager; all is gone at its end."""

    folder: Path
    names: Sequence[str]
    defaults: Mapping[str, object] = field(default_factory=dict)
    boxes: Boxes = field(init=False)
    _planner: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Rig:
        self.boxes = Boxes(self.folder / "boxes", self.names)
        self.boxes.__enter__()
        try:
            self._start_planner()
            self._command("person", "create", "fleet", "--role", "admin", "-o", str(self.folder / "contexts.toml"))
            planner = {
                "address": f"{HUB}:{PORT}",
                "contexts": str(self.folder / "contexts.toml"),
                "circinus": str(_BESIDE / "circinus"),
                "cloud_planner": str(_BESIDE / "cloud-planner"),
            }
            self.inventory.write_text(inventory_text(self.boxes, planner, self.defaults))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._planner is not None:
            self._planner.terminate()
            try:
                self._planner.wait(30)
            except subprocess.TimeoutExpired:
                self._planner.kill()
                self._planner.wait()
        self.boxes.__exit__()

    @property
    def state_dir(self) -> Path:
        """The planner's."""
        return self.folder / "planner"

    @property
    def inventory(self) -> Path:
        """Of all boxes."""
        return self.folder / "fleet.toml"

    def fleet(self, *arguments: str, line: Iterable[str] = ()) -> Ran:
        """Runs the fleet command on the hub."""
        argv = [sys.executable, str(ROOT / "scripts" / "fleet"), *arguments, "-i", str(self.inventory), "-o", "json"]
        began_s = time.monotonic()
        done = subprocess.run(
            self.boxes.on_hub(*argv, *(["--", *line] if line else [])), capture_output=True, text=True, check=False
        )
        try:
            hosts = {host["host"]: host for host in json.loads(done.stdout)["hosts"]}
        except (ValueError, KeyError):
            hosts = {}
        return Ran(code=done.returncode, seconds=time.monotonic() - began_s, hosts=hosts, errors=done.stderr)

    def circinus(self, *arguments: str) -> Any:
        """Runs the command line of people as the fleet's admin; gives its JSON."""
        argv = self.boxes.on_hub(str(_BESIDE / "circinus"), *arguments, "-o", "json")
        environment = os.environ | {"CIRCINUS_CONTEXTS": str(self.folder / "contexts.toml")}
        done = subprocess.run(argv, capture_output=True, text=True, check=True, env=environment)
        return json.loads(done.stdout)

    def status(self, name: str) -> Any:
        """What a box says of itself, past its network."""
        return json.loads(self.boxes.inside(name, f"{INSTALLED} --status"))

    def running(self, name: str) -> str:
        """The version that a box runs; empty: none."""
        return str(self.status(name)["running_id"])

    def logs(self) -> str:
        """All that could tell why something failed."""
        files = [*self.folder.glob("*.log"), *self.folder.glob("fleet.logs/*")]
        own = [f"== {name}\n{self.boxes.inside(name, 'tail -n 30 /var/log/circinus/agent.log')}" for name in self.names]
        return "\n".join([f"== {path.name}\n{path.read_text(errors='replace')[-6000:]}" for path in files] + own)

    def _start_planner(self) -> None:
        argv = [str(_BESIDE / "cloud-planner"), "run", "--listen", f"{HUB}:{PORT}", "--state-dir", str(self.state_dir)]
        log_path = self.folder / "planner.log"
        with log_path.open("ab") as log:
            self._planner = subprocess.Popen(self.boxes.on_hub(*argv), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline_s = time.monotonic() + _START_S
        while not (self.state_dir / "address").exists():
            if self._planner.poll() is not None or time.monotonic() > deadline_s:
                raise OSError(f"the planner does not start:\n{log_path.read_text()[-3000:]}")
            time.sleep(0.05)

    def _command(self, *arguments: str) -> None:
        argv = [str(_BESIDE / "cloud-planner"), *arguments, "--state-dir", str(self.state_dir)]
        subprocess.run(self.boxes.on_hub(*argv), check=True, capture_output=True)


def needed_commands() -> str:
    """Why this interpreter has not what a rig needs; empty if it has."""
    absent = [name for name in ("circinus", "cloud-planner") if shutil.which(str(_BESIDE / name)) is None]
    return f"not beside {sys.executable}: {', '.join(absent)}" if absent else ""
