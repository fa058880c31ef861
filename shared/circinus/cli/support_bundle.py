"""`circinus support-bundle`: one archive for whoever is to find a fault."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from circinus import contexts, support
from circinus.cli import exits
from circinus.cli.doctor import examine
from circinus.cli.output import Output, document_of, emit, lines, say, size
from circinus.cli.session import DEFAULT_ADDRESS, PlannerOption, ask, is_insecure
from circinus.client import Client
from circinus.errors import CircinusError, InvalidInput, NotAllowed, Unreachable
from circinus.redaction import Redactor, secrets_of_pem

_ACCOUNTS = 100
_AUDIT_ENTRIES = 500


def support_bundle(
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE.tar.gz", help="Where it goes; else here, by the time.")
    ] = None,
    form: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="table|json|yaml|FILE.tar.gz",
            help="How the manifest is printed; what ends in .tar.gz: where the bundle goes.",
        ),
    ] = "table",
    state_dirs: Annotated[
        list[Path] | None,
        typer.Option("--state-dir", metavar="DIR", help="The state folder of a daemon of this machine: its logs, too."),
    ] = None,
    logs: Annotated[list[Path] | None, typer.Option("--log", metavar="FILE", help="The end of this log, too.")] = None,
    configs: Annotated[
        list[Path] | None, typer.Option("--config", metavar="FILE", help="This configuration file, too.")
    ] = None,
    journal: Annotated[
        bool, typer.Option("--journal/--no-journal", help="What systemd keeps of the daemons of this machine, too.")
    ] = True,
    offline: Annotated[bool, typer.Option("--offline", help="Asks no planner: what is on this machine alone.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The same as -o json.")] = False,
    planner: PlannerOption = DEFAULT_ADDRESS,
) -> int:
    """Writes what is known of the planner, its fleet and this machine's daemons into one archive, without secrets.

    No keys, tokens, payloads or samples are in it; its manifest.json says what is, and what was left out and why. Look
    through it before you send it on. Ends with 7 if the planner could not be asked.
    Example: circinus support-bundle --offline --no-journal -o support.tar.gz
    """
    now = datetime.now(UTC)
    output, file = _told_where(form, file)
    if as_json:
        output = Output.JSON
    path = file or Path(f"circinus-support-{now:%Y%m%d-%H%M%S}.tar.gz")
    bundle = support.Bundle(Redactor(_known_secrets(state_dirs or ())))
    bundle.put_document("versions.json", support.versions())
    asked = True
    if offline:
        bundle.leave_out("the planner", "--offline")
    else:
        asked = _put_planner(bundle, planner)
    for folder in state_dirs or ():
        support.put_state_folder(bundle, folder)
    for log in logs or ():
        support.put_tail(bundle, log, f"logs/{log.name}")
    for config in configs or ():
        support.put_config(bundle, config, f"configs/{config.name}")
    if journal:
        support.put_journal(bundle)
    bundle.write(path, now)
    manifest = {"file": path, "size_bytes": path.stat().st_size, **bundle.manifest(now)}
    emit(output, manifest, lambda: lines(*_told(path, bundle)))
    return exits.OK if asked else exits.PARTIAL


def _told_where(form: str, file: Path | None) -> tuple[Output, Path | None]:
    """How to print, and where to: -o takes either.

    Raises:
        InvalidInput: it is neither.
    """
    if form in (Output.TABLE, Output.JSON, Output.YAML):
        return Output(form), file
    if "." not in form and "/" not in form:
        raise InvalidInput(f"-o {form!r} is neither table, json or yaml nor a file such as support.tar.gz")
    if file is not None:
        raise InvalidInput("--file and -o both name a file; leave one out")
    return Output.TABLE, Path(form)


def _told(path: Path, bundle: support.Bundle) -> list[str]:
    return [
        f"{path}: {len(bundle.entries)} parts, {size(path.stat().st_size)}",
        f"{bundle.redactor.count} secrets were taken out",
        *(f"left out: {one.what}: {one.why}" for one in bundle.left_out),
    ]


def _known_secrets(state_dirs: list[Path] | tuple[Path, ...]) -> list[str]:
    """What is a secret for sure: this person's own, and keys of daemons of this machine, as far as they can be read."""
    found: list[str] = []
    try:
        for context in contexts.load(contexts.default_path(os.environ)).contexts:
            found += [context.token, *secrets_of_pem(context.key)]
    except CircinusError:
        pass
    if token := os.environ.get("CIRCINUS_TOKEN"):
        found.append(token)
    for folder in state_dirs:
        for path in sorted((folder / "identity").glob("**/*")) if (folder / "identity").is_dir() else ():
            try:
                if path.is_file() and path.stat().st_size <= 64 * 1024:
                    found += secrets_of_pem(path.read_text(errors="replace"))
            except OSError:
                continue
    return found


def _put_planner(bundle: support.Bundle, planner: str) -> bool:
    """All that the planner tells; whether it could be asked at all."""
    bundle.put_document("doctor.json", document_of(examine(planner)))
    parts: dict[str, Callable[[Client], Awaitable[Any]]] = {
        "status.json": lambda client: client.status(),
        "devices.json": lambda client: client.devices(),
        "pipelines.json": lambda client: client.pipelines(),
        "queries.json": lambda client: client.queries(),
        "ledger.json": lambda client: client.ledger(),
        "accounts.json": lambda client: client.accounts(limit=_ACCOUNTS),
    }
    if not is_insecure():
        parts["identities.json"] = lambda client: client.admin.identities()
        parts["audit-log.json"] = lambda client: client.admin.audit_log(limit=_AUDIT_ENTRIES)
    for name, part in parts.items():
        say(f"{name} ...", style="dim")
        try:
            bundle.put_document(name, document_of(ask(planner, part)))
        except NotAllowed as error:
            bundle.leave_out(name, error.message)
        except CircinusError as error:
            bundle.leave_out(name, error.message)
            if isinstance(error, Unreachable) or name == "status.json":
                return False
    return True
