"""The `circinus` command: its tree, and how errors become lines and exit codes."""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

import circinus
from circinus.cli import audit, device, doctor, exits, explain, ledger, pipeline, plan, query, watch, what_if
from circinus.cli.output import document_of, say
from circinus.errors import CircinusError, CodeFailed, InvalidInput
from circinus.spec.errors import SpecErrors

app = typer.Typer(
    name="circinus",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Plans, deploys and keeps true the serving of compound AI over edge and cloud.",
    epilog="Exit codes: 0 ok, 1 error, 2 usage or bad file, 3 infeasible, "
    "4 unreachable, 5 not allowed, 6 time-out, 7 partial.",
)
app.add_typer(device.app, name="device")
app.add_typer(pipeline.app, name="pipeline")
app.add_typer(query.app, name="query")
app.command("status")(watch.status)
app.command("watch")(watch.watch)
app.command("plan")(plan.plan)
app.command("explain")(explain.explain)
app.command("what-if")(what_if.what_if)
app.command("audit")(audit.audit)
app.command("doctor")(doctor.doctor)
app.command("ledger")(ledger.ledger)


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"circinus {circinus.__version__}\n")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="The version.")
    ] = False,
) -> None:
    """Plans, deploys and keeps true the serving of compound AI over edge and cloud."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; gives its exit code. What goes wrong is one message, never a traceback."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = app(args=given, standalone_mode=False, prog_name="circinus")
        return code if isinstance(code, int) else exits.OK
    except CircinusError as error:
        return _fail(error, error.message, exits.exit_code_of(error), given)
    except BrokenPipeError:
        # Whoever read us has gone, such as `head`; Python would complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.ERROR
    except (KeyboardInterrupt, typer.Abort):
        say("circinus: interrupted", style="red")
        return exits.INTERRUPTED
    except OSError as error:
        return _fail(error, str(error), exits.ERROR, given)
    except Exception as error:
        # A wrong flag is an exception of typer's own, whose class has moved between its versions.
        message = getattr(error, "format_message", None)
        if message is not None:
            # Without a word: the command was given nothing, and its help has been printed.
            if not (text := message()):
                return exits.USAGE
            return _fail(error, f"{text} (circinus --help)", exits.USAGE, given)
        if os.environ.get("CIRCINUS_DEBUG"):
            raise
        text = f"a fault of circinus itself: {type(error).__name__}: {error}; CIRCINUS_DEBUG=1 shows where"
        return _fail(error, text, exits.ERROR, given)


def _fail(error: Exception, message: str, code: int, arguments: Sequence[str]) -> int:
    say(f"circinus: {message}" if "\n" not in message else f"circinus:\n{message}", style="red")
    if _wants_json(arguments):
        # What prints one document a line ends with one, too.
        indent = None if list(arguments[:2]) in (["query", "watch"], ["query", "results"]) else 2
        sys.stdout.write(json.dumps({"error": _error_document(error, message, code)}, indent=indent) + "\n")
    return code


def _error_document(error: Exception, message: str, code: int) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": type(error).__name__, "message": message, "exit_code": code}
    if isinstance(error, SpecErrors):
        found["violations"] = document_of(error.errors)
    elif isinstance(error, (InvalidInput, CodeFailed)) and error.violations:
        found["violations"] = document_of(error.violations)
    return found


def _wants_json(arguments: Sequence[str]) -> bool:
    """Whether -o json was given; read here, since the arguments themselves may be what is wrong."""
    pairs = itertools.pairwise(arguments)
    joined = any(argument in ("-ojson", "-o=json", "--output=json") for argument in arguments)
    return joined or any(name in ("-o", "--output") and value == "json" for name, value in pairs)


if __name__ == "__main__":
    sys.exit(main())
