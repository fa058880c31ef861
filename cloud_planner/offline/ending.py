"""How the commands that read files end: exit codes, and errors as lines and as one document."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from circinus.errors import CircinusError, InvalidInput, Violation

#: What a command found or did not find; FOUND_WRONG: a query without a plan, or a finding.
OK, FAILED, BAD_FILES, UNPLACED, FOUND_WRONG = 0, 1, 2, 3, 3
OUTPUTS = ("json", "yaml", "table")


def guarded(command: Callable[[], int], output: str, *, error_document: bool) -> int:
    """Runs a command; gives its exit code, or 2 if the files are wrong and 1 if anything else fails.

    ``error_document``: what goes wrong is also written to standard output, as one JSON document.
    """
    try:
        if output not in OUTPUTS:
            raise InvalidInput(f"output {output!r} must be one of: {', '.join(OUTPUTS)}")
        return command()
    except InvalidInput as error:
        for violation in error.violations:
            print(violation, file=sys.stderr)
        print(f"error: {error.message}", file=sys.stderr)
        if error_document:
            _write_error(error, error.message, BAD_FILES, error.violations)
        return BAD_FILES
    except (CircinusError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        # An OSError can come after the answer, from writing the report: a second document would spoil the first.
        if error_document and isinstance(error, CircinusError):
            _write_error(error, str(error), FAILED, ())
        return FAILED


def _write_error(error: Exception, message: str, code: int, violations: Sequence[Violation]) -> None:
    """One document, in the shape in which the command line tells every error."""
    told: dict[str, Any] = {"kind": type(error).__name__, "message": message, "exit_code": code}
    if violations:
        told["violations"] = [{"field": violation.field, "message": violation.message} for violation in violations]
    sys.stdout.write(json.dumps({"error": told}, indent=2, sort_keys=True) + "\n")
