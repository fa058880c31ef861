"""``cloud-planner backup`` and ``restore``, and what `circinus` plugs in: for who has the planner's state folder."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import json
import os
import sqlite3
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from circinus.clock import SystemClock
from circinus.errors import CircinusError, InvalidInput
from cloud_planner.backup.manifest import IDENTITY_FILE, PLANNER_FILE, Manifest
from cloud_planner.backup.restoring import restore
from cloud_planner.backup.taking import take
from cloud_planner.identity.office import identity_office

COMMANDS = frozenset({"backup", "restore"})


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds them to the command line."""
    text = "write all of the planner's state to one file, while it runs or not"
    backup = commands.add_parser("backup", help=text, description=text)
    backup.add_argument("--state-dir", type=Path, required=True, help="the planner's")
    backup.add_argument("--to", type=Path, help="the file (circinus-backup-TIME.tar.gz, here)")
    backup.add_argument("--with-keys", action="store_true", help="with the root's key: who has the file is the planner")
    text = "put a backup in the place of a stopped planner's state, which is kept aside"
    back = commands.add_parser("restore", help=text, description=text)
    back.add_argument("file", type=Path)
    back.add_argument("--state-dir", type=Path, required=True, help="the planner's")
    back.add_argument("--epoch", type=int, default=0, help="go on from this epoch (the moment's)")
    back.add_argument("--dry-run", action="store_true", help="verify all of it, change nothing")
    back.add_argument("--yes", action="store_true", help="it is meant, though there is a state already")
    for command in (backup, back):
        command.add_argument("-o", "--output", choices=["table", "json"], default="table")


def run_command(parsed: argparse.Namespace) -> int:
    """Runs one of them; gives the exit code."""
    try:
        if parsed.command == "backup":
            document = backup(parsed.state_dir, parsed.to, with_keys=parsed.with_keys)
        else:
            if not (parsed.yes or parsed.dry_run) and has_state(parsed.state_dir):
                raise InvalidInput(
                    f"{parsed.state_dir} has a state, which {parsed.file} would take the place of (it is kept aside); "
                    "add --yes if that is meant, or --dry-run to verify the file"
                )
            document = restored(parsed.file, parsed.state_dir, epoch=parsed.epoch, dry_run=parsed.dry_run)
    except CircinusError as error:
        sys.stderr.write(f"cloud-planner: {error.message}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"cloud-planner: {error.filename or parsed.state_dir}: {error.strerror}\n")
        return 1
    if parsed.output == "json":
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        sys.stdout.write("".join(f"{line}\n" for line in lines_of(document)))
    return 0


def has_state(state_dir: Path) -> bool:
    """Whether a folder has a planner's state."""
    return (state_dir / PLANNER_FILE).exists()


def backup(state_dir: Path, to: Path | None = None, *, with_keys: bool = False) -> dict[str, Any]:
    """Takes a backup; gives what it is, as a document.

    Raises:
        CircinusError: it can't be taken.
    """
    now = datetime.now(UTC)
    file = to if to is not None else Path(f"circinus-backup-{now:%Y%m%dT%H%M%SZ}.tar.gz")
    manifest = take(state_dir, file, with_keys=with_keys, now=now)
    if with_keys:
        # Whoever has the file is the planner: that it was made is for the audit log.
        _note(state_dir, "BackUpKeys", str(file.absolute()))
    return {"file": str(file), "size_bytes": file.stat().st_size, **_told(manifest)}


def restored(file: Path, state_dir: Path, *, epoch: int = 0, dry_run: bool = False) -> dict[str, Any]:
    """Restores a backup; gives what was done, or would be, as a document.

    Raises:
        CircinusError: it can't be restored; nothing has changed then.
    """
    done = restore(file, state_dir, now=datetime.now(UTC), epoch=epoch, dry_run=dry_run)
    if not dry_run:
        _note(state_dir, "Restore", str(file.absolute()), f"of {done.manifest.made_at.isoformat(timespec='seconds')}")
    return {
        "file": str(file),
        **_told(done.manifest),
        "dry_run": dry_run,
        "state_dir": str(state_dir),
        "aside": str(done.aside) if done.aside is not None else "",
        "identity": done.identity,
        "goes_on_from": {"epoch": done.numbers.epoch, "generation": done.numbers.generation},
    }


def _told(manifest: Manifest) -> dict[str, Any]:
    return {
        "made_at": manifest.made_at.isoformat(timespec="seconds"),
        "version": manifest.version,
        "host": manifest.host,
        "epoch": manifest.epoch,
        "generation": manifest.generation,
        "schemas": dict(manifest.schemas),
        "with_keys": manifest.with_keys,
        "devices": manifest.devices,
        "pipelines": manifest.pipelines,
        "queries": manifest.queries,
        "blobs": len(manifest.blobs),
        "left_out": dict(manifest.left_out),
    }


def _note(state_dir: Path, action: str, subject: str, detail: str = "") -> None:
    """Writes it into the audit log, if this planner has one."""
    if not (state_dir / IDENTITY_FILE).exists():
        return

    async def note() -> None:
        async with identity_office(state_dir, SystemClock()) as office:
            await office.log.note(f"local:{_user()}", action, subject, detail=detail)

    try:
        asyncio.run(note())
    except (CircinusError, sqlite3.Error, OSError) as error:
        sys.stderr.write(f"cloud-planner: it is not in the audit log: {error}\n")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.geteuid())


def lines_of(document: Mapping[str, Any]) -> list[str]:
    """What was done, for people."""
    what = (
        f"{document['queries']} queries, {document['pipelines']} pipelines, {document['devices']} devices, "
        f"{document['blobs']} bundles and sample sets, generation {document['epoch']}.{document['generation']}"
    )
    lost = [f"left out: {name[:16]}... is {why}" for name, why in document["left_out"].items()]
    if "state_dir" not in document:
        keys = (
            "with the keys of its identity: whoever has the file is the planner; keep it as you would a key"
            if document["with_keys"]
            else "without the keys of its identity, if it has one: keep STATE_DIR/identity elsewhere, or take one "
            "--with-keys"
        )
        return [
            f"wrote {document['file']} ({document['size_bytes']:,} bytes, for its owner only): {what}",
            keys,
            *lost,
            f"back: circinus restore {document['file']} --state-dir STATE_DIR",
        ]
    if document["dry_run"]:
        return [f"{document['file']} of {document['made_at']} is whole: {what}; nothing was changed", *lost]
    onward = document["goes_on_from"]
    told = [f"restored {document['file']} of {document['made_at']}: {what}", *lost]
    if document["aside"]:
        told.append(f"what was there before is in {document['aside']}")
    if document["identity"]:
        told.append(f"identity: {document['identity']}")
    return [
        *told,
        f"its next generation is {onward['epoch']}.{onward['generation'] + 1}, above all that agents may have accepted",
        "start the planner now; agents come back by themselves",
    ]
