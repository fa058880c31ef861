"""Lengths of time as people write them."""

from __future__ import annotations

import re

from circinus.errors import InvalidInput

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


def seconds_of(text: str, flag: str) -> float:
    """Seconds of 30s, 5m, 1h or 7d.

    Raises:
        InvalidInput: it is no such length, or none at all; ``flag`` says what it was given for.
    """
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,3})?)([smhd])", text.strip())
    if match is None:
        hint = f"; {text} of what? {text}s, {text}m, {text}h or {text}d" if text.strip().isdecimal() else ""
        raise InvalidInput(f"{flag} {text!r} is no length of time such as 30s, 5m, 1h or 7d{hint}")
    seconds = float(match[1]) * _SECONDS[match[2]]
    if seconds <= 0.0:
        raise InvalidInput(f"{flag} {text!r} must be above 0")
    return seconds
