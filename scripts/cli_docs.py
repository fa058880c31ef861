"""Writes docs/cli.md, the reference of the `circinus` command, from its code.

Usage: .venv/bin/python scripts/cli_docs.py [--check]. With --check: fails if what is there differs.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import typer.main

from circinus.cli.main import app

PAGE = Path(__file__).resolve().parent.parent / "docs" / "cli.md"
_EXAMPLE = "Example: "
_HEAD = """\
# The `circinus` command

Written from the code by `scripts/cli_docs.py`; each command says the same with `--help`.

Data goes to stdout, talk to stderr. Commands that print data take `-o table|wide|json|yaml|name`: JSON and YAML are one
document, at failure `{"error": ...}` with `kind`, `message` and `exit_code`; the folder `circinus/cli/schema` has the
JSON schema of each command's document; `name` is one name a line. Nothing ever asks for input. Colours are left out
where there is no terminal, or with `NO_COLOR`. `circinus completion SHELL` makes a
shell complete commands and options.

| exit code | means |
|---|---|
| 0 | done |
| 1 | it failed |
| 2 | a wrong option, or a file with errors; each error with its line |
| 3 | some query has no plan |
| 4 | the planner can't be reached |
| 5 | the planner does not know you, or you may not |
| 6 | time is over; what was begun goes on |
| 7 | of several things, some were done |

Anywhere in a command: `--context NAME` (`CIRCINUS_CONTEXT`) asks another planner of your [contexts](contexts.md),
`--insecure-loopback` (`CIRCINUS_INSECURE_LOOPBACK=1`) one of this machine in the clear.
"""


def commands() -> Iterator[tuple[str, Any]]:
    """Every command with its whole name, in order."""
    yield from _below(typer.main.get_command(app), "circinus")


def _below(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield name, command
        return
    for key in sorted(inner):
        yield from _below(inner[key], f"{name} {key}")


def example_of(command: Any) -> str:
    """The command line that its help shows; empty: none."""
    _, _, found = inspect.cleandoc(command.help or "").partition(_EXAMPLE)
    return found.partition("\n")[0].strip()


def page() -> str:
    """The whole page."""
    parts = [_HEAD]
    for name, command in commands():
        text = inspect.cleandoc(command.help or "")
        body = text.replace(f"{_EXAMPLE}{example_of(command)}", "").strip()
        parts.append(f"\n## `{name}`\n\n{body}\n")
        if example := example_of(command):
            parts.append(f"\n```sh\n{example}\n```\n")
        if rows := [row for parameter in command.params if (row := _row(parameter))]:
            parts.append("\n| | |\n|---|---|\n" + "\n".join(rows) + "\n")
    return "".join(parts)


def _row(parameter: Any) -> str:
    if parameter.name == "help" or getattr(parameter, "hidden", False):
        return ""
    is_option = parameter.param_type_name == "option"
    names = [*parameter.opts, *parameter.secondary_opts] if is_option else [parameter.metavar or parameter.name.upper()]
    value = "" if not is_option or parameter.is_flag else f" {_value_name(parameter)}"
    help_text = getattr(parameter, "help", None) or ""
    if parameter.required and is_option:
        help_text += " Must be given."
    if variable := getattr(parameter, "envvar", None):
        help_text += f" (`{variable}`)"
    # The first cell is code, in which a bar needs to be escaped all the same.
    shown = ", ".join(sorted(names, key=len, reverse=True)) + value
    return f"| `{_escaped(shown)}` | {_escaped(help_text.strip())} |"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _value_name(parameter: Any) -> str:
    """What stands for an option's value. Only what typer keeps from version to version is asked of it."""
    if parameter.metavar:
        return str(parameter.metavar)
    if isinstance(parameter.default, Enum):
        return "|".join(str(one.value) for one in type(parameter.default))
    return "NUMBER" if isinstance(parameter.default, int | float) else "VALUE"


def main() -> int:
    """Writes the page, or checks it; gives the exit code."""
    text = page()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text)
        return 0
    if not PAGE.exists() or PAGE.read_text() != text:
        sys.stderr.write(f"{PAGE} is not as the code says: run .venv/bin/python scripts/cli_docs.py, and commit it\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
