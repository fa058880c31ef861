"""Structured log lines: a fixed event name and key=value pairs, on standard error.

Event names use the words of the design: "directive_accepted generation=4 replica_sets=3". No secret is ever a
value. The pure core does not log: it returns reports.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

_logger = logging.getLogger("circinus")
_MAX_VALUE_CHARS = 400
#: Gets an event's name, its fields as text, and whether it is a warning.
Listener = Callable[[str, Mapping[str, str], bool], None]
_listeners: list[Listener] = []


def configure(level: str = "INFO", *, name: str = "") -> None:
    """Sends events of this level and above to standard error, each line with the time and the daemon's name."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        logging.Formatter(f"%(asctime)s.%(msecs)03d %(levelname)s {name} %(message)s", "%Y-%m-%dT%H:%M:%S")
    )
    _logger.handlers[:] = [handler]
    _logger.setLevel(level)
    _logger.propagate = False


def event(event_name: str, **fields: object) -> None:
    """Something that happened as it should."""
    _tell(event_name, fields, warning=False)
    if _logger.isEnabledFor(logging.INFO):
        _logger.info("%s", line(event_name, fields))


def warning(event_name: str, **fields: object) -> None:
    """Something that a person may want to know of."""
    _tell(event_name, fields, warning=True)
    _logger.warning("%s", line(event_name, fields))


def debug(event_name: str, **fields: object) -> None:
    """Something for whoever looks into a fault."""
    if _logger.isEnabledFor(logging.DEBUG):
        _logger.debug("%s", line(event_name, fields))


@contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """Tells a listener of every event and warning of this process meanwhile; it must neither block nor raise."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def _tell(event_name: str, fields: dict[str, object], *, warning: bool) -> None:
    for listener in tuple(_listeners):
        listener(event_name, {key: _text(value) for key, value in fields.items()}, warning)


def line(event_name: str, fields: Mapping[str, object]) -> str:
    """An event as one line of text."""
    return " ".join([event_name, *(f"{key}={_value(value)}" for key, value in fields.items())])


def _text(value: object) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    # Line breaks from elsewhere must not forge log lines.
    return "".join(character if character.isprintable() else " " for character in text[:_MAX_VALUE_CHARS])


def _value(value: object) -> str:
    text = _text(value)
    return f'"{text}"' if not text or any(character in text for character in ' "=') else text
