"""``cloud-planner token``, ``person``, ``identity``, ``revoke`` and ``audit-log``: for whoever has the state folder.

They work on the identity file itself, so they need no planner; one that runs beside sees at once what has changed.
Data goes to standard output, and a secret nowhere else: neither to a log nor into arguments.
"""

from __future__ import annotations

import argparse
import asyncio
import getpass
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from circinus import contexts
from circinus.channel import check_address
from circinus.clock import SystemClock
from circinus.errors import CircinusError, InvalidInput
from cloud_planner.identity.log import MAX_ENTRIES
from cloud_planner.identity.office import (
    ADDRESS_FILE,
    ENROL_ADDRESS_FILE,
    FOLDER,
    IdentityOffice,
    dialled,
    identity_office,
)
from cloud_planner.identity.people import PERSON_LIFE_S, ROLES
from cloud_planner.identity.registrar import TOKEN_LIFE_S, bound_to
from cloud_planner.identity.tokens import span_s

COMMANDS = frozenset({"token", "person", "identity", "revoke", "audit-log"})
_NEVER = "-"


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds them to the command line."""
    token = commands.add_parser("token", help="tokens with which boxes enrol").add_subparsers(
        dest="verb", required=True
    )
    create = _command(token, "create", "make a token; it is told only now")
    create.add_argument("--device", default="", help="the device that may enrol with it")
    create.add_argument("--label", action="append", default=[], metavar="K=V", help="for new devices with this label")
    create.add_argument("--ttl", type=_seconds, default=TOKEN_LIFE_S, help="how long it is good, such as 1h (1h)")
    _command(token, "ls", "list tokens")
    _command(token, "rm", "make a token worth nothing").add_argument("id")

    person = commands.add_parser("person", help="who may use the planner").add_subparsers(dest="verb", required=True)
    create = _command(person, "create", "make a person; prints, or writes to a file, what they need", data=False)
    create.add_argument("name")
    create.add_argument("--role", required=True, choices=list(ROLES.values()))
    create.add_argument("-o", "--output", type=Path, help="a context file, for its owner only (standard output)")
    create.add_argument("--token", action="store_true", help="a bearer token in the place of a certificate")
    create.add_argument("--ttl", type=_seconds, default=PERSON_LIFE_S, help="how long it is good, such as 90d (365d)")
    create.add_argument("--planner", default="", help="HOST:PORT as they dial it (where the planner listens)")
    _command(person, "ls", "list people")
    _command(person, "rm", "make what a person has worth nothing").add_argument("name")

    identity = commands.add_parser("identity", help="boxes that have enrolled").add_subparsers(
        dest="verb", required=True
    )
    _command(identity, "ls", "list boxes and their certificates")

    revoke = _command(commands, "revoke", "make a box's certificates worth nothing")
    revoke.add_argument("device")
    revoke.add_argument("--why", required=True, help="stands in the audit log")

    audit = _command(commands, "audit-log", "what was done and refused; exit code 1 if it was tampered with")
    audit.add_argument("--after", type=int, default=0, help="entries after this one")
    audit.add_argument("--limit", type=int, default=100, help=f"the newest so many, at most {MAX_ENTRIES} (100)")
    audit.add_argument("--refused", action="store_true", help="only what was refused")


def _command(commands: Any, name: str, text: str, *, data: bool = True) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.add_argument("--state-dir", type=Path, required=True, help="the planner's")
    if data:
        parser.add_argument("-o", "--output", choices=["table", "json"], default="table")
    return parser


def _seconds(text: str) -> float:
    try:
        return span_s(text)
    except InvalidInput as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def run_command(parsed: argparse.Namespace) -> int:
    """Runs one of them; gives the exit code."""
    try:
        return asyncio.run(_run(parsed))
    except CircinusError as error:
        sys.stderr.write(f"cloud-planner: {error.message}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"cloud-planner: {error.filename}: {error.strerror}\n")
        return 1


async def _run(parsed: argparse.Namespace) -> int:
    state_dir: Path = parsed.state_dir
    if not (state_dir / FOLDER).is_dir() and (state_dir / "planner.sqlite3").exists():
        raise InvalidInput(
            f"{state_dir} has no identity: its planner runs with --insecure-loopback; start it once without that"
        )
    actor = f"local:{_user()}"
    async with identity_office(state_dir, SystemClock()) as office:
        match (parsed.command, getattr(parsed, "verb", "")):
            case ("token", "create"):
                return await _create_token(office, parsed, actor)
            case ("token", "ls"):
                await _list_tokens(office, parsed)
            case ("token", "rm"):
                await office.registrar.remove_token(parsed.id, actor)
                _done(parsed, {"id": parsed.id, "removed": True})
            case ("person", "create"):
                await _create_person(office, parsed, actor)
            case ("person", "ls"):
                await _list_people(office, parsed)
            case ("person", "rm"):
                await office.people.remove(parsed.name, actor)
                _done(parsed, {"name": parsed.name, "removed": True})
            case ("identity", "ls"):
                await _list_identities(office, parsed)
            case ("revoke", _):
                await office.registrar.revoke(parsed.device, parsed.why, actor)
                _done(parsed, {"device_id": parsed.device, "revoked": True})
            case _:
                return await _list_audit(office, parsed)
    return 0


async def _create_token(office: IdentityOffice, parsed: argparse.Namespace, actor: str) -> int:
    labels = {}
    for text in parsed.label:
        key, equals, value = text.partition("=")
        if not equals:
            raise InvalidInput(f"--label {text!r} is not KEY=VALUE")
        labels[key] = value
    text, token = await office.registrar.create_token(parsed.device, labels, parsed.ttl, actor)
    if parsed.output == "json":
        about = {
            "token": text,
            "id": token.id,
            "device_id": token.device_id,
            "labels": dict(token.labels),
            "ends_at": _iso(token.ends_at),
        }
        _print_json(about)
    else:
        # Alone on standard output, so that it can go into a file.
        sys.stdout.write(f"{text}\n")
        sys.stderr.write(f"for {bound_to(token)}, once, until {_iso(token.ends_at)}\n")
    return 0


async def _list_tokens(office: IdentityOffice, parsed: argparse.Namespace) -> None:
    rows = [
        {
            "id": token.id,
            "device_id": token.device_id,
            "labels": dict(token.labels),
            "created_by": token.created_by,
            "ends_at": _iso(token.ends_at),
            "used_at": _iso(token.used_at),
            "used_by": token.used_by,
        }
        for token in await office.registrar.tokens()
    ]
    _print(parsed, rows, ("id", "device_id", "labels", "created_by", "ends_at", "used_at", "used_by"))


async def _create_person(office: IdentityOffice, parsed: argparse.Namespace, actor: str) -> None:
    role = next(number for number, name in ROLES.items() if name == parsed.role)
    planner = parsed.planner or _address(parsed.state_dir / (ENROL_ADDRESS_FILE if parsed.token else ADDRESS_FILE))
    check_address(planner)
    if not parsed.planner and check_address(planner) in ("127.0.0.1", "[::1]", "localhost"):
        sys.stderr.write(f"the planner is dialled at {planner}: for somebody elsewhere, say --planner HOST:PORT\n")
    if parsed.output is not None and parsed.output.exists():
        raise InvalidInput(f"{parsed.output} is there already: move it away, or name another file")
    made = await office.create_person_here(parsed.name, role, actor, planner, ttl_s=parsed.ttl, bearer=parsed.token)
    if parsed.output is None:
        sys.stdout.write(contexts.dump(made))
    else:
        try:
            contexts.save(parsed.output, made)
        except CircinusError:
            # Nobody would ever have what this person needs.
            await office.people.remove(parsed.name, actor)
            raise
        sys.stderr.write(f"{parsed.output} is all that {parsed.name} needs: circinus context add {parsed.output}\n")


def _address(path: Path) -> str:
    try:
        return dialled(path.read_text().strip())
    except FileNotFoundError:
        raise InvalidInput(
            f"nobody knows yet where this planner listens ({path} is not there): start it, or say --planner HOST:PORT"
        ) from None


async def _list_people(office: IdentityOffice, parsed: argparse.Namespace) -> None:
    rows = [
        {
            "name": person.name,
            "role": ROLES.get(person.role, "nobody"),
            "by": "token" if person.secret_sha256 else "certificate",
            "created_at": _iso(person.created_at),
            "ends_at": _iso(person.ends_at),
        }
        for person in await office.people.list()
    ]
    _print(parsed, rows, ("name", "role", "by", "created_at", "ends_at"))


async def _list_identities(office: IdentityOffice, parsed: argparse.Namespace) -> None:
    rows = [
        {
            "device_id": one.device_id,
            "serial": one.serial,
            "enrolled_at": _iso(one.enrolled_at),
            "ends_at": _iso(one.ends_at),
            "revoked_at": _iso(one.revoked_at),
            "revoked_why": one.revoked_why,
            "doubled_at": _iso(one.doubled_at),
        }
        for one in await office.registrar.identities()
    ]
    _print(parsed, rows, ("device_id", "enrolled_at", "ends_at", "revoked_at", "revoked_why", "doubled_at"))


async def _list_audit(office: IdentityOffice, parsed: argparse.Namespace) -> int:
    if not 1 <= parsed.limit <= MAX_ENTRIES:
        raise InvalidInput(f"--limit {parsed.limit} is not between 1 and {MAX_ENTRIES}")
    found = await office.log.entries(parsed.after, parsed.limit, refused=parsed.refused)
    broken_at = await office.log.broken_at()
    rows = [
        {
            "sequence": entry.sequence,
            "at": _iso(datetime.fromtimestamp(entry.at_us / 1e6, UTC)),
            "actor": entry.actor,
            "action": entry.action,
            "subject": entry.subject,
            "outcome": entry.outcome,
            "detail": entry.detail,
            "digest": digest.hex(),
        }
        for entry, digest in found
    ]
    if parsed.output == "json":
        _print_json({"entries": rows, "intact": not broken_at, "broken_at": broken_at})
    else:
        _print(parsed, rows, ("sequence", "at", "actor", "action", "subject", "outcome", "detail"))
    if broken_at:
        sys.stderr.write(f"cloud-planner: the log is not as it was written, from entry {broken_at} on\n")
        return 1
    return 0


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _iso(moment: datetime | None) -> str:
    return moment.isoformat(timespec="seconds") if moment is not None else ""


def _done(parsed: argparse.Namespace, row: Mapping[str, object]) -> None:
    if parsed.output == "json":
        _print_json(row)


def _print(parsed: argparse.Namespace, rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> None:
    if parsed.output == "json":
        _print_json(list(rows))
        return
    cells = [[name.upper().replace("_", " ") for name in columns]]
    cells += [[_cell(row[name]) for name in columns] for row in rows]
    widths = [max(len(line[number]) for line in cells) for number in range(len(columns))]
    for line in cells:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        sys.stdout.write("  ".join(padded).rstrip() + "\n")


def _cell(value: object) -> str:
    if isinstance(value, dict):
        value = ",".join(f"{key}={one}" for key, one in sorted(value.items()))
    return str(value) or _NEVER


def _print_json(document: Iterable[object] | Mapping[str, object]) -> None:
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
