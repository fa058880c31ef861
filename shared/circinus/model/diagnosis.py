"""What one check of a machine or a planner found, and its cure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Grade(StrEnum):
    """How bad it is. A warning does not keep anything from working now."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """``subject`` is what was looked at, ``said`` what was seen, ``cure`` what to do; empty where all is well."""

    subject: str
    grade: Grade
    said: str
    cure: str = ""


def well(subject: str, said: str) -> Diagnosis:
    """All is well."""
    return Diagnosis(subject=subject, grade=Grade.OK, said=said)


def warned(subject: str, said: str, cure: str) -> Diagnosis:
    """It works, but not as it should, or not for long."""
    return Diagnosis(subject=subject, grade=Grade.WARNING, said=said, cure=cure)


def failed(subject: str, said: str, cure: str) -> Diagnosis:
    """It does not work."""
    return Diagnosis(subject=subject, grade=Grade.FAILED, said=said, cure=cure)
