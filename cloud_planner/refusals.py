"""What an agent refused: as a reason for people, and as classes of errors for the audit log. PURE.

A directive that is refused has a verdict. A bundle has none: that it could not be unpacked is told as the reason why an
environment, a generation or a profile run failed. Its words are those of circinus/bundle.py and of the agent's blobs,
which a test holds against this.
"""

from __future__ import annotations

import re

from circinus.v1 import control_pb2

#: How reasons begin that mean: another generation, or other content, has this number or a higher one.
OUTRANKED = "outranked"

_BUNDLE = re.compile(r"bundle (has|is|of) ")
_DIGEST = re.compile(r"bytes came for blob sha256:[0-9a-f]{64}, but their digest is")


def refusal_text(answer: control_pb2.DirectiveAnswer) -> str:
    """Why a device refused a directive, for people; what asks for a higher number begins with "outranked"."""
    verdict = control_pb2.DirectiveVerdict.Name(answer.verdict).removeprefix("DIRECTIVE_VERDICT_").lower()
    outranked = answer.verdict in (
        control_pb2.DIRECTIVE_VERDICT_STALE_GENERATION,
        control_pb2.DIRECTIVE_VERDICT_CONFLICTING_DIRECTIVE,
    )
    said = f"{verdict}: {answer.reason[:1000]}" if answer.reason else verdict
    return f"{OUTRANKED}: {said}" if outranked else said


def verdict_class(verdict: control_pb2.DirectiveVerdict) -> str:
    """The class of the error that a directive was refused with, such as "Forged"."""
    name = control_pb2.DirectiveVerdict.Name(verdict).removeprefix("DIRECTIVE_VERDICT_")
    return "".join(word.capitalize() for word in name.split("_"))


def bundle_class(reason: str) -> str:
    """The class of the error that a bundle was refused with; empty: the reason is another."""
    if _DIGEST.search(reason):
        return "BadDigest"
    if _BUNDLE.search(reason):
        return "TooLarge" if "the limit is" in reason or "more than" in reason else "InvalidInput"
    return ""
