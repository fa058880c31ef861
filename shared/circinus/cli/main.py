"""The `circinus` command: its tree, and how errors become lines and exit codes."""

from __future__ import annotations

import errno
import itertools
import json
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

import circinus
from circinus import contexts
from circinus.cli import (
    apply,
    audit,
    audit_log,
    backup,
    completion,
    context,
    demo,
    device,
    doctor,
    exits,
    explain,
    happened,
    identity,
    ledger,
    logs,
    person,
    pipeline,
    plan,
    query,
    report,
    support_bundle,
    tap,
    tokens,
    top,
    up,
    version,
    watch,
    what_if,
)
from circinus.cli.output import document_of, say
from circinus.cli.session import choose
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
app.add_typer(context.app, name="context")
app.add_typer(tokens.app, name="token")
app.add_typer(person.app, name="person")
app.add_typer(identity.app, name="identity")
device.app.command("revoke")(identity.revoke)
app.command("status")(watch.status)
app.command("watch")(watch.watch)
app.command("plan")(plan.plan)
app.command("explain")(explain.explain)
app.command("what-if")(what_if.what_if)
app.command("audit")(audit.audit)
app.command("doctor")(doctor.doctor)
app.command("support-bundle")(support_bundle.support_bundle)
app.command("completion")(completion.completion)
app.command("ledger")(ledger.ledger)
app.command("audit-log")(audit_log.audit_log)
app.command("events")(happened.events)
app.command("logs")(logs.logs)
app.command("tap")(tap.tap)
app.command("top")(top.top)
app.command("report")(report.report)
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.command("up")(up.up)
app.command("down")(up.down)
app.command("demo")(demo.demo)
app.command("apply")(apply.apply)
app.command("version")(version.version)


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"circinus {circinus.__version__}\n")
        raise typer.Exit


@app.callback()
def root(
    given: typer.Context,
    context_name: Annotated[
        str,
        typer.Option(
            "--context",
            envvar=contexts.CONTEXT_VARIABLE,
            metavar="NAME",
            show_default=False,
            help="Which planner of the context file; the current one, if not given.",
        ),
    ] = "",
    insecure_loopback: Annotated[
        bool,
        typer.Option(
            "--insecure-loopback",
            envvar="CIRCINUS_INSECURE_LOOPBACK",
            help="Asks a planner of this machine in the clear; only one that was started with this flag answers.",
        ),
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="The version.")
    ] = False,
) -> None:
    """Plans, deploys and keeps true the serving of compound AI over edge and cloud.

    --context and --insecure-loopback may stand anywhere in a command.
    """
    # What stands in the command wins over the environment.
    said = {name for name in given.params if getattr(given.get_parameter_source(name), "name", "") == "COMMANDLINE"}
    if {"context_name", "insecure_loopback"} <= said:
        raise InvalidInput("--context names a planner with TLS, --insecure-loopback one without; leave one out")
    choose(context_name, insecure=insecure_loopback and "context_name" not in said)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; gives its exit code. What goes wrong is one message, never a traceback."""
    before, given = _hoisted(list(sys.argv[1:] if arguments is None else arguments))
    if completion.VARIABLE in os.environ:
        completion.prepare()
    try:
        code = app(args=[*before, *given], standalone_mode=False, prog_name="circinus")
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
        return _fail(error, _system_text(error), exits.ERROR, given)
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


_SYSTEM_CURES = {
    errno.ENOSPC: "free some space, or name a file on another disk",
    errno.EDQUOT: "free some space, or name a file on another disk",
    errno.EROFS: "name a file on a disk that can be written",
    errno.EACCES: "let this user have it, or name another",
    errno.EPERM: "let this user have it, or name another",
    errno.ENOENT: "check the path",
    errno.EMFILE: "raise the limit of open files: ulimit -n 4096",
}


def _system_text(error: OSError) -> str:
    """What the system refused, and what to do about it."""
    said = f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)
    cure = _SYSTEM_CURES.get(error.errno or 0)
    return f"{said}; {cure}" if cure else said


def _hoisted(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The options that go before the command, from wherever they stand, and all the others."""
    before, rest = [], []
    left = iter(arguments)
    for argument in left:
        if argument == "--":
            rest += [argument, *left]
        elif argument == "--insecure-loopback" or argument.startswith("--context="):
            before.append(argument)
        elif argument == "--context":
            before += [argument, *itertools.islice(left, 1)]
        else:
            rest.append(argument)
    return before, rest


def _fail(error: Exception, message: str, code: int, arguments: Sequence[str]) -> int:
    say(f"circinus: {message}" if "\n" not in message else f"circinus:\n{message}", style="red")
    if _wants_json(arguments):
        # What prints one document a line ends with one, too.
        indent = None if _prints_lines(arguments) else 2
        sys.stdout.write(json.dumps({"error": _error_document(error, message, code)}, indent=indent) + "\n")
    return code


def _error_document(error: Exception, message: str, code: int) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": type(error).__name__, "message": message, "exit_code": code}
    if isinstance(error, SpecErrors):
        found["violations"] = document_of(error.errors)
    elif isinstance(error, (InvalidInput, CodeFailed)) and error.violations:
        found["violations"] = document_of(error.violations)
    return found


def _prints_lines(arguments: Sequence[str]) -> bool:
    """Whether a command prints one document a line, for as long as there are any."""
    given = list(arguments)
    follows = given[:1] == ["logs"] and bool({"-f", "--follow"}.intersection(given))
    return follows or given[:1] == ["tap"] or given[:2] in (["query", "watch"], ["query", "results"])


def _wants_json(arguments: Sequence[str]) -> bool:
    """Whether -o json was given; read here, since the arguments themselves may be what is wrong."""
    pairs = itertools.pairwise(arguments)
    joined = any(argument in ("-ojson", "-o=json", "--output=json") for argument in arguments)
    return joined or any(name in ("-o", "--output") and value == "json" for name, value in pairs)


if __name__ == "__main__":
    sys.exit(main())
