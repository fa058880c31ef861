"""`circinus backup` and `circinus restore`: a planner's state as one file, on the planner's own host."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from circinus.cli import exits
from circinus.cli.confirmation import confirm
from circinus.cli.output import Output, emit, lines, say
from circinus.cli.plugged import plugged
from circinus.cli.session import OutputOption
from circinus.errors import InvalidInput
from circinus.first_hour import default_state_dir

_MISSING = "this needs the planner, on its own host: install it with pip install 'circinus[planner]'"
_PLANNER_FILE = "planner.sqlite3"
#: Where the service keeps it.
_SERVICE = Path("/var/lib/circinus-planner")

StateDirOption = Annotated[
    Path | None,
    typer.Option(
        "--state-dir",
        envvar="CIRCINUS_STATE_DIR",
        metavar="DIR",
        show_default=False,
        help="The planner's state folder; else that of `circinus up`, or of the service.",
    ),
]


def backup(
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="The file; circinus-backup-TIME.tar.gz if not given.")
    ] = None,
    with_keys: Annotated[
        bool,
        typer.Option("--with-keys", help="With the keys of its identity: whoever has the file then is the planner."),
    ] = False,
    state_dir: StateDirOption = None,
    output: OutputOption = Output.TABLE,
) -> int:
    """Writes all of a planner's state to one file, while it runs or not; on the planner's host.

    Ends with 7 if a bundle or sample set is missing or damaged: all else is in the file.
    Example: circinus backup --to /mnt/backups/planner.tar.gz
    """
    found = _state_dir(state_dir)
    document = plugged("backup", _MISSING)(found, to, with_keys=with_keys)
    _tell(output, document)
    return exits.PARTIAL if document["left_out"] else exits.OK


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `circinus backup` wrote.")],
    state_dir: StateDirOption = None,
    epoch: Annotated[
        int, typer.Option("--epoch", min=0, show_default=False, help="Go on from this epoch; else from the moment's.")
    ] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Verify all of the file; change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="It is meant, though there is a state already.")] = False,
    output: OutputOption = Output.TABLE,
) -> int:
    """Puts a backup in the place of a stopped planner's state; what was there is kept aside.

    All of the file is verified first. Agents come back by themselves and obey: the epoch rises.
    Example: circinus restore /mnt/backups/planner.tar.gz --yes
    """
    found = _state_dir(state_dir)
    if not (yes or dry_run) and (found / _PLANNER_FILE).exists():
        confirm(
            f"{found} has a state, which {file} takes the place of (it is kept aside)", "--dry-run verifies the file"
        )
    _tell(output, plugged("restore", _MISSING)(file, found, epoch=epoch, dry_run=dry_run))
    return exits.OK


def _tell(output: Output, document: Mapping[str, Any]) -> None:
    emit(output, document, lambda: lines(*plugged("backup_lines", _MISSING)(document)))


def _state_dir(given: Path | None) -> Path:
    """The planner's state folder: the one that is named, which may be new; else the one that is there.

    Raises:
        InvalidInput: there is none, or more than one.
    """
    if given is not None:
        if not _has_state(given) and _has_state(given / "planner"):
            # The folder that `circinus up` was given.
            return given / "planner"
        return given
    usual = (default_state_dir(os.environ) / "planner", _SERVICE)
    there = [folder for folder in usual if _has_state(folder)]
    if len(there) != 1:
        looked = " and ".join(str(folder) for folder in usual)
        said = "both have" if there else "neither has"
        raise InvalidInput(f"which planner? looked at {looked}: {said} a state; name its folder with --state-dir")
    say(f"state folder: {there[0]}")
    return there[0]


def _has_state(folder: Path) -> bool:
    try:
        return (folder / _PLANNER_FILE).exists()
    except PermissionError:
        # It is the service's; that is said when it is read.
        return True
