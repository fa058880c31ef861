"""What is wrong with a file: every error at once, each with its line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from circinus.errors import InvalidInput, Violation


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class SpecError:
    """One error in a file; ``line`` counts from 1, 0 where it belongs to the file as a whole."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.message}"


class SpecErrors(InvalidInput):
    """A file can't be used. ``errors`` are all that is wrong with it, by line."""

    def __init__(self, errors: Iterable[SpecError]) -> None:
        self.errors = tuple(sorted(errors))
        # Beside the message, so that who gets it over the wire has them one by one, too.
        violations = (Violation(field=f"{error.file}:{error.line}", message=error.message) for error in self.errors)
        super().__init__("\n".join(str(error) for error in self.errors), tuple(violations))
