"""Labels of devices: what they may be, and where each comes from. PURE.

A device has labels of its own (its configuration), those that its token was bound to, and those that people set. Later
ones in this order stand over earlier ones. The syntax is that of Kubernetes, so that one inventory serves both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

#: Labels that every device has by what it is; nobody sets them.
BUILT_IN = ("accelerator", "class", "device", "site", "tier")
#: Of one device.
MAX_LABELS = 64
MAX_PART_CHARS = 63
MAX_PREFIX_CHARS = 253

_PART = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?")
_PREFIX = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
KEY_RULE = (
    f"write letters, digits and _.- with a letter or digit at both ends, at most {MAX_PART_CHARS}; "
    "a prefix such as example.org/ may stand before it"
)
VALUE_RULE = f"write nothing, or letters, digits and _.- with a letter or digit at both ends, at most {MAX_PART_CHARS}"


def is_key(key: str) -> bool:
    """Whether a text can be a label's key, built-in ones included."""
    prefix, slash, name = key.rpartition("/")
    if slash and (len(prefix) > MAX_PREFIX_CHARS or not _PREFIX.fullmatch(prefix)):
        return False
    return len(name) <= MAX_PART_CHARS and _PART.fullmatch(name) is not None


def is_value(value: str) -> bool:
    """Whether a text can be the value of a label that somebody sets."""
    return not value or (len(value) <= MAX_PART_CHARS and _PART.fullmatch(value) is not None)


def key_fault(key: str) -> str:
    """Why nobody can set a label with this key; empty: anybody can."""
    if not is_key(key):
        return f"{key[:80]!r} is no label: {KEY_RULE}"
    if key in BUILT_IN:
        return f"{key!r} is what a device has by itself, nobody sets it: choose another name"
    return ""


def label_fault(key: str, value: str) -> str:
    """Why a device can't have this label; empty: it can."""
    if fault := key_fault(key):
        return fault
    return "" if is_value(value) else f"{key}: {value[:80]!r} is no value of a label: {VALUE_RULE}"


def labels_fault(labels: Mapping[str, str]) -> str:
    """Why a device can't have these labels; empty: it can."""
    if len(labels) > MAX_LABELS:
        return f"{len(labels)} labels are more than {MAX_LABELS}"
    return next((fault for key, value in sorted(labels.items()) if (fault := label_fault(key, value))), "")


def overlaid(own: Mapping[str, str], bound: Mapping[str, str], people: Mapping[str, str | None]) -> dict[str, str]:
    """The labels that a device has, by key: its own ones, over them its token's, over them what people say.

    None, of ``people``: it has none with this key, whatever the others say.
    """
    found: dict[str, str | None] = {**own, **bound, **people}
    return {key: value for key, value in sorted(found.items()) if value is not None}


__all__ = [
    "BUILT_IN",
    "KEY_RULE",
    "MAX_LABELS",
    "VALUE_RULE",
    "is_key",
    "is_value",
    "key_fault",
    "label_fault",
    "labels_fault",
    "overlaid",
]
