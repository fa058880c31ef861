"""From a bare machine to a fleet that is enrolled and ready, and what keeps it so.

    .venv/bin/python benchmarks/provision.py [--quick] [--boxes 5]

Boxes are sets of namespaces on this machine, each with an sshd (benchmarks/provision_boxes.py); the planner listens on
their network with mutual TLS. All is installed from one offline bundle, which is made before and whose making is told
apart; no box asks an index. Prints a line of JSON a step, with the machine. Exit code 1: something is not as promised.
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.provision_boxes import fresh_folder, missing  # noqa: E402 - after the path that it is found by
from benchmarks.provision_pipeline import write_pipeline  # noqa: E402
from benchmarks.provision_rig import INSTALLED, Ran, Rig, needed_commands  # noqa: E402
from benchmarks.provision_versions import Kind, other_version  # noqa: E402
from scripts.provisioning.bundle import make_bundle  # noqa: E402

MACHINE = f"{platform.machine()}, {psutil.cpu_count()} cores, Python {platform.python_version()}"
MAX_READY_S = 180.0
CONFIRM_WITHIN_S = 10

_failed: list[str] = []


def tell(step: str, seconds: float, well: bool, **more: object) -> None:
    """One line."""
    if not well:
        _failed.append(step)
    line = {"benchmark": "provision", "step": step, "seconds": round(seconds, 1), "as_promised": well, **more}
    print(json.dumps({**line, "machine": MACHINE}), flush=True)


@contextmanager
def timed() -> Iterator[Callable[[], float]]:
    """The seconds since it was entered."""
    began_s = time.monotonic()
    yield lambda: time.monotonic() - began_s


def all_are(ran: Ran, result: str, code: int = 0) -> bool:
    """Whether every host came out so."""
    return ran.code == code and set(ran.results().values()) == {result}


def enrol(rig: Rig) -> None:
    """One command; again; and one box three times away and back."""
    ran = rig.fleet("install")
    ready = all_are(ran, "changed") and all(entry["connected"] for entry in rig.circinus("device", "ls"))
    tell(
        "all enrolled and ready",
        ran.seconds,
        ready and ran.seconds < MAX_READY_S,
        boxes=len(rig.names),
        limit_s=MAX_READY_S,
    )
    if not ready:
        sys.exit(ran.errors + rig.logs())
    ran = rig.fleet("install")
    tell("a second run", ran.seconds, all_are(ran, "same"), results=sorted(set(ran.results().values())))
    for turn in range(1, 4):
        left = rig.fleet("leave", "--only", rig.names[-1])
        back = rig.fleet("install", "--only", rig.names[-1])
        tell(
            f"left and joined again, {turn}",
            left.seconds + back.seconds,
            all_are(left, "changed") and all_are(back, "changed"),
        )


def serve(rig: Rig, pipeline: Path, query: Path) -> None:
    """A query whose operators' environment comes from the bundle's wheels: the boxes have no way to an index."""
    with timed() as seconds:
        rig.circinus("pipeline", "add", str(pipeline))
        states = rig.circinus("query", "submit", "-f", str(query), "--wait", "--timeout", "120")
        tell("served, its environment built from the bundle", seconds(), all(state["serving"] for state in states))


def upgrade(rig: Rig, bundle: Path, folder: Path) -> None:
    """Versions that die, that say nothing, that cut the box off, and one that is well."""
    canary, rest = rig.names[0], rig.names[1:]
    for kind, version in ((Kind.DEAD, "0.9.1"), (Kind.MUTE, "0.9.2")):
        broken = other_version(bundle, version, kind, folder / f"{kind}.tar")
        ran = rig.fleet("upgrade", "--bundle", str(broken), "--health-s", "10")
        stopped = all(ran.results()[name] == "skipped" for name in rest)
        tell(
            f"{kind} version: canary rolled back, ring stopped",
            ran.seconds,
            ran.results()[canary] == "rolled back" and stopped,
        )
    old = rig.fleet("status", "--only", canary).hosts[canary]["data"]["id"]
    rig.boxes.cut(canary)
    # As if the word that confirms never came: the cable is out before the new version starts.
    put = f"cat >/var/tmp/b.tar && {INSTALLED} --upgrade --bundle /var/tmp/b.tar --confirm-within {CONFIRM_WITHIN_S}"
    with timed() as seconds:
        rig.boxes.inside(canary, put, stdin=folder / "mute.tar")
        while rig.running(canary) != old and seconds() < 120:
            time.sleep(0.2)
        tell("cable out: the box went back by itself", seconds(), rig.running(canary) == old, within_s=CONFIRM_WITHIN_S)
    rig.boxes.mend(canary)
    good = other_version(bundle, "0.9.3", Kind.GOOD, folder / "good.tar")
    ran = rig.fleet("upgrade", "--bundle", str(good))
    versions = {entry["device"]["agent_version"] for entry in rig.circinus("device", "ls")}
    tell(
        "upgraded, ring by ring",
        ran.seconds,
        all_are(ran, "changed") and versions == {"0.9.3"},
        versions=sorted(versions),
    )


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boxes", type=int, default=5, help="(%(default)s)")
    parser.add_argument("--quick", action="store_true", help="no upgrades")
    options = parser.parse_args()
    if reason := missing() or needed_commands():
        sys.exit(f"provision: {reason}")
    with fresh_folder() as folder:
        names = [f"shop-{number}" for number in range(1, options.boxes + 1)]
        pipeline, links, query = write_pipeline(folder, names[0])
        bundle = folder / "bundle.tar"
        with timed() as seconds:
            make_bundle(bundle, pipelines=[pipeline], find_links=[links])
            tell("bundle made", seconds(), True, mb=round(bundle.stat().st_size / 1e6, 1))
        with Rig(folder=folder, names=names, defaults={"bundle": str(bundle)}) as rig:
            enrol(rig)
            serve(rig, pipeline, query)
            if not options.quick:
                upgrade(rig, bundle, folder)
            size = rig.boxes.inside(names[0], "du -sm $(readlink -f /opt/circinus/current) | cut -f1").strip()
            tell("installed size without extras", 0.0, int(size) <= 120, mb=int(size), limit_mb=120)
    return 1 if _failed else 0


if __name__ == "__main__":
    sys.exit(main())
