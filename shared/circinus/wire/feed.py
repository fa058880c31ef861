"""Feeds."""

from __future__ import annotations

from circinus.errors import InvalidInput, Violation
from circinus.model.pipeline import FEED_FORMS, Feed, FeedKind
from circinus.v1 import types_pb2
from circinus.wire import check

_TO_MESSAGE = {
    FeedKind.IMAGE: types_pb2.FEED_KIND_IMAGE,
    FeedKind.AUDIO: types_pb2.FEED_KIND_AUDIO,
    FeedKind.BYTES: types_pb2.FEED_KIND_BYTES,
}
_FROM_MESSAGE = {message: kind for kind, message in _TO_MESSAGE.items()}
_MAX_RATE_HZ = 1_000_000
_MAX_CHUNK_MS = 3_600_000
_MAX_CHANNELS = 2


def feed_to_message(feed: Feed) -> types_pb2.Feed:
    """A feed's message."""
    return types_pb2.Feed(
        kind=_TO_MESSAGE[feed.kind],
        field=feed.field,
        form=feed.form,
        number_field=feed.number_field,
        rate_hz=feed.rate_hz,
        rate_field=feed.rate_field,
        chunk_ms=feed.chunk_ms,
        channels=feed.channels,
    )


def feed_from_message(message: types_pb2.Feed) -> Feed:
    """The feed in a message.

    Raises:
        InvalidInput: a field is bad.
    """
    kind = _FROM_MESSAGE.get(message.kind)
    if kind is None:
        raise _invalid("feed.kind", f"{message.kind} is unknown here")
    if message.form not in FEED_FORMS[kind]:
        raise _invalid("feed.form", f"{message.form[:60]!r} is none of {', '.join(FEED_FORMS[kind])}")
    least = 1 if kind is FeedKind.AUDIO else 0
    return Feed(
        kind=kind,
        field=check.name("feed.field", message.field),
        form=message.form,
        number_field=check.name("feed.number_field", message.number_field, empty=True),
        rate_hz=int(check.number("feed.rate_hz", message.rate_hz, low=least, high=_MAX_RATE_HZ)),
        rate_field=check.name("feed.rate_field", message.rate_field, empty=True),
        chunk_ms=int(check.number("feed.chunk_ms", message.chunk_ms, low=least, high=_MAX_CHUNK_MS)),
        channels=int(check.number("feed.channels", message.channels, low=least, high=_MAX_CHANNELS)),
    )


def _invalid(field: str, message: str) -> InvalidInput:
    return InvalidInput(f"{field}: {message}", (Violation(field=field, message=message),))
