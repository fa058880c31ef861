"""The `fleet` command: an inventory, a command, boxes side by side, a report."""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from scripts.provisioning.bundle import BundleFailed
from scripts.provisioning.inventory import BadInventory, Host, Inventory, Selector, load_inventory
from scripts.provisioning.jobs import JOBS, Bundle, Job, Options, StepFailed, load_bundle
from scripts.provisioning.outcomes import Book, Outcome, Result, as_json, as_table, exit_code
from scripts.provisioning.planner_door import PlannerDoor, PlannerFailed
from scripts.provisioning.remote import Remote, Unreachable

_USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command. Exit codes: 0 all well, 1 none, 2 usage, 4 none was reached, 7 some."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # After "--" stands a line of shell, whatever it looks like.
    line = given[given.index("--") + 1 :] if "--" in given else []
    options = _parser().parse_args(given[: given.index("--")] if "--" in given else given)
    if (options.command == "run") != bool(line):
        print("fleet: run needs a line after --, and only run takes one: fleet run -- uptime", file=sys.stderr)
        return _USAGE
    try:
        inventory = load_inventory(options.inventory)
        fleet = _fleet(inventory, options, shlex.join(line) if len(line) > 1 else "".join(line))
    except (BadInventory, BundleFailed) as error:
        print(f"fleet: {error}", file=sys.stderr)
        return _USAGE
    if not fleet.hosts:
        print(f"fleet: none of {len(inventory.hosts)} hosts is selected", file=sys.stderr)
        return _USAGE
    outcomes = fleet.go()
    print(as_json(options.command, outcomes) if options.output == "json" else as_table(outcomes))
    return exit_code(outcomes)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fleet", description="Installs, upgrades and removes Circinus on many boxes over ssh.", allow_abbrev=False
    )
    parser.add_argument("command", choices=sorted(JOBS))
    parser.add_argument("-i", "--inventory", type=Path, default=Path("fleet.toml"), help="(%(default)s)")
    parser.add_argument("--only", default="", metavar="NAME,...", help="hosts or devices; * and ? stand for anything")
    parser.add_argument("--ring", type=int, action="append", default=[], help="may be repeated")
    parser.add_argument("--label", action="append", default=[], metavar="KEY=VALUE", help="may be repeated: all hold")
    parser.add_argument("--parallel", type=int, default=10, help="boxes at a time (%(default)s)")
    parser.add_argument("--dry-run", action="store_true", help="say what would change, and change nothing")
    parser.add_argument("--resume", action="store_true", help="leave out what ended well before, for the same inputs")
    parser.add_argument("--bundle", default="", help="instead of the inventory's")
    parser.add_argument("--state-file", type=Path, help="what is done (beside the inventory)")
    parser.add_argument("--log-dir", type=Path, help="one log a host (beside the inventory)")
    parser.add_argument("--accept-new-host-keys", action="store_true", help="believe a box's key when first seen")
    parser.add_argument("--ready-s", type=float, default=120.0, help="install: until the planner sees it (%(default)s)")
    parser.add_argument("--health-s", type=float, default=120.0, help="upgrade: until it must be well (%(default)s)")
    parser.add_argument("--uninstall", action="store_true", help="leave: take the software away too")
    parser.add_argument("--force", action="store_true", help="leave: though nothing of what runs there was moved")
    parser.add_argument("--purge", action="store_true", help="leave: configuration, state and user too")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    return parser


@dataclass(slots=True, kw_only=True)
class _Fleet:
    """One command over the boxes that it is about."""

    command: str
    inventory: Inventory
    hosts: Sequence[Host]
    options: Options
    book: Book
    door: PlannerDoor
    bundles: dict[str, Bundle]
    parallel: int
    resume: bool
    log_dir: Path
    accept_new_keys: bool
    control_dir: Path = field(default_factory=Path)
    talk: threading.Lock = field(default_factory=threading.Lock)

    def go(self) -> list[Outcome]:
        """Boxes side by side; an upgrade goes ring by ring, and stops at the first that is not well."""
        outcomes: list[Outcome] = []
        self.control_dir = Path(tempfile.mkdtemp(prefix="circ-"))
        try:
            rings = sorted({host.ring for host in self.hosts}) if self.command == "upgrade" else [None]
            for ring in rings:
                hosts = [host for host in self.hosts if ring is None or host.ring == ring]
                if ring is not None and not all(outcome.result.well for outcome in outcomes):
                    outcomes += [self._skipped(host, "a ring before it is not well") for host in hosts]
                    continue
                with ThreadPoolExecutor(max_workers=self.parallel) as pool:
                    outcomes += pool.map(self._one, hosts)
        finally:
            shutil.rmtree(self.control_dir, ignore_errors=True)
        return sorted(outcomes, key=lambda outcome: outcome.host)

    def _skipped(self, host: Host, why: str) -> Outcome:
        return Outcome(host=host.name, device=host.device, ring=host.ring, result=Result.SKIPPED, said=why)

    def _one(self, host: Host) -> Outcome:
        began_s = time.monotonic()
        bundle = self.bundles.get(host.bundle)
        inputs = f"{host.digest()} {bundle.digest if bundle else ''}"
        if self.resume and self.book.done(self.command, host, inputs):
            outcome = Outcome(
                host=host.name, device=host.device, ring=host.ring, result=Result.SAME, said="done before"
            )
        else:
            outcome = self._try(host, bundle, inputs)
            outcome.seconds = time.monotonic() - began_s
            if not self.options.dry_run:
                self.book.end(self.command, host, inputs, outcome)
        with self.talk:
            print(f"{host.name}: {outcome.result.value} {outcome.said}".rstrip(), file=sys.stderr)
        return outcome

    def _try(self, host: Host, bundle: Bundle | None, inputs: str) -> Outcome:
        remote = Remote(host, control_dir=self.control_dir, log_dir=self.log_dir, accept_new_keys=self.accept_new_keys)
        job = Job(
            host=host,
            remote=remote,
            planner=self.inventory.planner,
            door=self.door,
            book=self.book,
            options=self.options,
            bundle=bundle,
            command=self.command,
            inputs=inputs,
        )
        try:
            with remote:
                return JOBS[self.command](job)
        except Unreachable as error:
            return job.outcome(Result.UNREACHABLE, str(error))
        except (StepFailed, PlannerFailed, OSError, ValueError) as error:
            return job.outcome(Result.FAILED, str(error))


def _fleet(inventory: Inventory, options: argparse.Namespace, line: str) -> _Fleet:
    wrong = [entry for entry in options.label if "=" not in entry]
    if wrong:
        raise BadInventory("--label", [f"{entry!r} is not KEY=VALUE" for entry in wrong])
    selector = Selector(
        only=[name for name in options.only.split(",") if name],
        rings=options.ring,
        labels=dict(entry.split("=", 1) for entry in options.label),
    )
    hosts = [host for host in inventory.hosts if selector.takes(host)]
    if options.bundle:
        from dataclasses import replace

        hosts = [replace(host, bundle=options.bundle) for host in hosts]
    needed = {host.bundle for host in hosts if host.bundle} if options.command in {"install", "upgrade"} else set()
    beside = inventory.path.resolve()
    return _Fleet(
        command=options.command,
        inventory=inventory,
        hosts=hosts,
        options=Options(
            dry_run=options.dry_run,
            ready_s=options.ready_s,
            health_s=options.health_s,
            purge=options.purge,
            uninstall=options.uninstall,
            force=options.force,
            line=line,
        ),
        book=Book(options.state_file or beside.with_suffix(".state.json")),
        door=PlannerDoor(inventory.planner),
        bundles={path: load_bundle(path) for path in sorted(needed)},
        parallel=max(1, options.parallel),
        resume=options.resume,
        log_dir=options.log_dir or beside.with_suffix(".logs"),
        accept_new_keys=options.accept_new_host_keys,
    )
