"""What is done on one box for each command. A job gives an outcome, or raises where it ended."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.provisioning.bundle import read_facts
from scripts.provisioning.inventory import Host, PlannerSpec, toml_value
from scripts.provisioning.outcomes import Book, Outcome, Result
from scripts.provisioning.planner_door import PlannerDoor, Seen
from scripts.provisioning.remote import Answer, Remote

INSTALLER = Path(__file__).resolve().parents[1] / "install.sh"
#: Where files are put on a box before they are used; the user's own, so that nobody else slips one in.
_STAGING = "/var/tmp/circinus-fleet-$(id -u)"
_CHANGED = re.compile(r"^result: changed (\d+)$", re.MULTILINE)
_WOULD = re.compile(r"^result: would change (\d+)$", re.MULTILINE)


class StepFailed(Exception):
    """A step did not come out; says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle on this machine: its digest, and what is in it."""

    path: Path
    digest: str
    id: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a command is to go."""

    dry_run: bool = False
    ready_s: float = 120.0
    health_s: float = 120.0
    purge: bool = False
    uninstall: bool = False
    force: bool = False
    line: str = ""


@dataclass(slots=True, kw_only=True)
class Job:
    """One box, connected, with all that its command needs. ``step`` is where it stands."""

    host: Host
    remote: Remote
    planner: PlannerSpec
    door: PlannerDoor
    book: Book
    options: Options
    bundle: Bundle | None
    command: str
    inputs: str
    step: str = "reach"
    staging: str = ""

    def begin(self, step: str) -> None:
        """The step before is done; this one begins."""
        if not self.options.dry_run:
            self.book.step(self.command, self.host, self.inputs, self.step)
        self.step = step

    def outcome(self, result: Result, said: str = "", data: Mapping[str, Any] | None = None) -> Outcome:
        """How it went."""
        host = self.host
        return Outcome(
            host=host.name,
            device=host.device,
            ring=host.ring,
            result=result,
            step=self.step,
            said=said,
            data=data or {},
        )

    def look(self) -> dict[str, Any]:
        """What is on the box, by its own word; empty: nothing."""
        self.begin("look")
        asked = shlex.quote(f"{self.host.prefix}/libexec/install.sh")
        answer = self.remote.run(
            f"if [ -x {asked} ]; then {asked} --status --prefix {shlex.quote(self.host.prefix)}; else echo '{{}}'; fi",
            as_root=True,
        )
        try:
            document = json.loads(answer.output)
        except ValueError:
            document = None
        if answer.code != 0 or not isinstance(document, dict):
            raise StepFailed(f"it can't be looked at: {answer.last_words}")
        return document

    def upload(self, bundle: Bundle | None) -> None:
        """Puts the installer, and a bundle, where they can be used; what is there already is not sent again."""
        self.begin("upload")
        answer = self.remote.run(
            f'd={_STAGING} && mkdir -m 700 -p "$d" && [ -O "$d" ] && [ ! -L "$d" ] && cd "$d" && echo "$d" && '
            "{ sha256sum install.sh bundle.tar 2>/dev/null || true; }"
        )
        if answer.code != 0:
            raise StepFailed(f"there is no place for files: {answer.last_words}")
        self.staging, *sums = answer.output.strip().splitlines()
        there = {line.split()[1]: line.split()[0] for line in sums}
        wanted = {"install.sh": (INSTALLER, file_digest(INSTALLER))}
        if bundle is not None:
            wanted["bundle.tar"] = (bundle.path, bundle.digest)
        for name, (source, digest) in wanted.items():
            if there.get(name) != digest:
                self.remote.upload(source, f"{self.staging}/{name}")

    def installer(self, *arguments: str, stdin: bytes = b"") -> Answer:
        """Runs the uploaded installer.

        Raises:
            StepFailed: it says what is wrong.
        """
        words = ["sh", f"{self.staging}/install.sh", "--prefix", self.host.prefix, *arguments]
        if self.options.dry_run:
            words.append("--dry-run")
        answer = self.remote.run(shlex.join(words), stdin=stdin, as_root=True)
        if answer.code != 0:
            lines = [line.strip() for line in answer.errors.splitlines() if not line.startswith("install: stopped ")]
            raise StepFailed(" ".join(lines[-6:]) or answer.last_words)
        return answer

    def away(self) -> None:
        """Removes what was uploaded: a bundle is large."""
        if self.staging:
            self.remote.run(f"rm -rf {shlex.quote(self.staging)}")


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_bundle(path: str) -> Bundle:
    """A bundle by its path.

    Raises:
        BundleFailed: it is none.
    """
    facts = read_facts(Path(path))
    return Bundle(path=Path(path), digest=file_digest(Path(path)), id=facts["id"], version=facts["version"])


def _changes(answer: Answer) -> int:
    found = _CHANGED.search(answer.output) or _WOULD.search(answer.output)
    return int(found.group(1)) if found else 0


def _would(job: Job, answer: Answer) -> Outcome:
    changes = _changes(answer)
    return job.outcome(Result.WOULD, f"{changes} changes") if changes else job.outcome(Result.SAME, "nothing to do")


def _has(bundle: Bundle | None, status: Mapping[str, Any]) -> bool:
    return bundle is not None and (status.get("id"), status.get("bundle")) == (bundle.id, bundle.digest)


def _source(job: Job, status: Mapping[str, Any]) -> tuple[Bundle | None, list[str]]:
    """What the box is to be installed from, if it has not got it: a bundle to send, and the flags."""
    host, bundle = job.host, job.bundle
    if bundle is not None:
        return (None, []) if _has(bundle, status) else (bundle, [])
    flags = ["--package", host.package]
    if host.version:
        flags += ["--version", host.version]
    return None, flags


def _places(host: Host) -> list[str]:
    flags = ["--config-dir", host.config_dir, "--state-dir", host.state_dir, "--service", host.service]
    return [*flags, "--python", host.python] if host.python else flags


def _wishes(host: Host, planner: PlannerSpec) -> list[str]:
    flags = ["--device", host.device, "--planner", planner.address, "--tier", host.tier, "--site", host.site]
    if planner.enrol:
        flags += ["--enrol", planner.enrol]
    for key, value in sorted(host.labels.items()):
        flags += ["--label", f"{key}={value}"]
    for key, value in sorted(host.variables.items()):
        flags += ["--set", f"{key} = {toml_value(value)}"]
    return flags


def install(job: Job) -> Outcome:
    """Installs, configures, enrols, starts, as far as that is not so already; ready when the planner sees it."""
    status = job.look()
    bundle, flags = _source(job, status)
    job.upload(bundle)
    if bundle is not None:
        flags = ["--bundle", f"{job.staging}/bundle.tar"]
    token = b""
    insecure = job.host.variables.get("insecure_loopback") is True
    named = status.get("device") in {"", None, job.host.device}
    if not insecure and not (status.get("enrolled") is True and named):
        job.begin("token")
        flags += ["--token-file", "-"]
        token = b"" if job.options.dry_run else job.door.token(job.host.device).encode() + b"\n"
    job.begin("install")
    answer = job.installer(*_places(job.host), *_wishes(job.host, job.planner), *flags, stdin=token)
    job.away()
    if job.options.dry_run:
        return _would(job, answer)
    if job.host.service != "none":
        job.begin("ready")
        ready, seen = job.door.wait(job.host.device, lambda one: one.settled, job.options.ready_s)
        if not ready:
            raise StepFailed(
                f"{_how(seen)} after {job.options.ready_s:g} s: look at install.sh --check and the agent's log there"
            )
    changed = _changes(answer)
    return job.outcome(Result.CHANGED if changed else Result.SAME, f"{changed} changes" if changed else "nothing to do")


def _how(seen: Seen | None) -> str:
    if seen is None:
        return "the planner doesn't know it"
    if not seen.connected:
        return "the planner doesn't see it"
    return f"generation {seen.generation} is {seen.phase or 'not there'} {seen.reason}".strip()


def status(job: Job) -> Outcome:
    """What is on the box and how the planner sees it; changes nothing."""
    found = job.look()
    seen = job.door.devices().get(job.host.device)
    job.step = "status"
    data = {**found, "connected": seen is not None and seen.connected, "generation": seen.generation if seen else 0}
    faults = [
        fault
        for fault, there in (
            ("not installed", not found.get("installed")),
            ("not enrolled", found.get("enrolled") is not True and not job.planner.insecure_loopback),
            ("does not run", found.get("running") is not True),
            ("away from the planner", seen is None or not seen.connected),
        )
        if there
    ]
    text = f"{found.get('version', '')} ({found.get('id', '')})"
    if faults:
        return job.outcome(Result.FAILED, f"{', '.join(faults)}", data)
    return job.outcome(Result.SAME, f"{text}, generation {data['generation']}", data)


def leave(job: Job) -> Outcome:
    """What it serves goes elsewhere, then it stops and has no identity any more; --uninstall: nor the software."""
    found = job.look()
    known = job.door.devices().get(job.host.device)
    if job.options.dry_run:
        if not found.get("enrolled") and known is None:
            return job.outcome(Result.SAME, "it has left")
        return job.outcome(Result.WOULD, "it would leave")
    changed = 0
    if known is not None and known.connected and not job.options.force:
        job.begin("drain")
        job.door.drain(job.host.device)
        changed += 1
    job.upload(None)
    job.begin("leave")
    verb = "--uninstall" if job.options.uninstall or job.options.purge else "--leave"
    changed += _changes(job.installer(verb, *(["--purge"] if job.options.purge else [])))
    job.away()
    if known is not None:
        # Only now: an agent that still ran would be known again at once.
        job.begin("forget")
        job.door.forget(job.host.device)
        changed += 1
    job.book.forget("install", job.host)
    return job.outcome(Result.CHANGED if changed else Result.SAME, "left" if changed else "nothing to do")


def run_line(job: Job) -> Outcome:
    """A line of shell on the box."""
    job.begin("run")
    if job.options.dry_run:
        return job.outcome(Result.WOULD, f"run {job.options.line}")
    answer = job.remote.run(job.options.line, as_root=True)
    data = {"code": answer.code, "output": answer.output, "errors": answer.errors}
    if answer.code != 0:
        return job.outcome(Result.FAILED, f"exit code {answer.code}: {answer.last_words}", data)
    last = answer.output.strip().splitlines()
    return job.outcome(Result.CHANGED, last[-1] if last else "", data)


def upgrade(job: Job) -> Outcome:
    """A new version on trial: it stays if the planner sees the box back with it, and well, in time.

    The box itself takes it back when nobody confirms in time: the new version may be what cut it off.
    """
    options, host = job.options, job.host
    before = job.look()
    if not before.get("installed"):
        raise StepFailed("nothing is installed there: fleet install comes first")
    if _has(job.bundle, before) and not before.get("pending"):
        return job.outcome(Result.SAME, f"{before['id']} is current")
    bundle, flags = _source(job, before)
    job.upload(bundle)
    if bundle is not None:
        flags = ["--bundle", f"{job.staging}/bundle.tar"]
    job.begin("switch")
    # From the switch on: the time of the gate, and some for the word that confirms it.
    within_s = round(options.health_s) + 30
    try:
        answer = job.installer("--upgrade", "--confirm-within", str(within_s), *_pythons(host), *flags)
    except StepFailed as error:
        after = job.look()
        if (after.get("id"), after.get("last_upgrade")) != (before.get("id"), "rolled back"):
            raise
        job.step = "switch"
        return job.outcome(Result.ROLLED_BACK, f"by itself: {error}")
    if options.dry_run:
        return _would(job, answer)
    job.away()
    if not _changes(answer):
        return job.outcome(Result.SAME, "nothing to do")
    began_s = time.monotonic()
    job.begin("health")
    now = job.look()
    job.step = "health"
    wanted = str(now.get("version", ""))
    healthy, seen = job.door.wait(host.device, lambda one: one.settled and one.version == wanted, options.health_s)
    if healthy and now.get("running_id") == now.get("id"):
        job.begin("confirm")
        _confirm(job)
        return job.outcome(Result.CHANGED, f"{before.get('id')} -> {now.get('id')}")
    why = (
        f"{wanted}: {_how(seen)}"
        if seen is None or seen.version == wanted
        else f"the planner sees {seen.version}, not {wanted}"
    )
    return _back(job, before, why, within_s - (time.monotonic() - began_s))


def _pythons(host: Host) -> list[str]:
    return ["--python", host.python] if host.python else []


def _confirm(job: Job) -> None:
    asked = shlex.quote(f"{job.host.prefix}/libexec/install.sh")
    answer = job.remote.run(f"{asked} --confirm --prefix {shlex.quote(job.host.prefix)}", as_root=True)
    if answer.code != 0:
        raise StepFailed(f"it is well, and can't be confirmed: {answer.last_words}; it goes back by itself")


def _back(job: Job, before: Mapping[str, Any], why: str, left_s: float) -> Outcome:
    """Asks for the old version; where the box can't be reached, it comes by itself. Waits until the planner sees it."""
    job.step = "roll back"
    asked = shlex.quote(f"{job.host.prefix}/libexec/install.sh")
    said = "asked to"
    try:
        answer = job.remote.run(
            f"{asked} --roll-back --prefix {shlex.quote(job.host.prefix)}", as_root=True, timeout_s=60
        )
        if answer.code != 0:
            said = f"by itself ({answer.last_words})"
    except Exception as error:  # whatever the way there has: the box has its own timer
        said = f"by itself ({error})"
    old = str(before.get("version", ""))
    back, seen = job.door.wait(
        job.host.device, lambda one: one.settled and one.version == old, max(left_s, 0.0) + job.options.health_s
    )
    if not back:
        raise StepFailed(
            f"{why}; and the version before is not seen again: {_how(seen)}: somebody has to look at the box"
        )
    return job.outcome(Result.ROLLED_BACK, f"{why}; back on {old}, {said}")


JOBS: Mapping[str, Callable[[Job], Outcome]] = {
    "install": install,
    "leave": leave,
    "run": run_line,
    "status": status,
    "upgrade": upgrade,
}
