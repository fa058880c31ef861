"""The ``feed`` of a pipeline.yaml <-> Feed: which fields a file, camera or microphone fills."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from circinus.model.pipeline import FEED_FORMS, Feed, FeedKind
from circinus.spec.document import Document

if TYPE_CHECKING:
    import yaml

MAX_RATE_HZ = 192_000
MIN_RATE_HZ = 1_000
MIN_CHUNK_MS = 10
MAX_CHUNK_MS = 60_000
DEFAULT_RATE_HZ = 16_000
DEFAULT_CHUNK_MS = 1_000

_FIELD_PATTERN = r"[A-Za-z_][A-Za-z0-9_.-]{0,62}"
_FIELD_RULE = "a field's name: letters, digits, dashes, dots and underscores, at most 63"
_OPTIONAL = {
    FeedKind.IMAGE: ("field", "as", "number"),
    FeedKind.AUDIO: ("field", "as", "number", "rate_hz", "rate", "chunk_ms", "channels"),
    FeedKind.BYTES: ("field", "number"),
}
_DEFAULT_FIELDS = {FeedKind.IMAGE: "image", FeedKind.AUDIO: "audio", FeedKind.BYTES: "data"}


def read_feed(document: Document, node: yaml.Node | None) -> Feed | None:
    """The feed that a node says; None: there is none, or it is wrong, which the document then knows."""
    entries = document.mapping(node, "feed", optional=tuple(FeedKind))
    if node is None or not entries:
        if node is not None:
            document.error(node, f"feed: say what items are made of: {', '.join(FeedKind)}")
        return None
    if len(entries) > 1:
        document.error(node, f"feed: {' and '.join(entries)}; a pipeline has one kind of item")
        return None
    ((name, entry),) = entries.items()
    kind = FeedKind(name)
    what = f"feed: {kind}"
    found = document.mapping(entry.value, what, optional=_OPTIONAL[kind])
    values = {key: value.value for key, value in found.items()}

    def field(key: str) -> str:
        return document.text(values.get(key), f"{what}: {key}", pattern=_FIELD_PATTERN, rule=_FIELD_RULE) or ""

    feed = Feed(
        kind=kind,
        field=field("field") or _DEFAULT_FIELDS[kind],
        form=document.choice(values.get("as"), what, "as", FEED_FORMS[kind]) or FEED_FORMS[kind][0],
        number_field=field("number"),
        rate_field=field("rate"),
        rate_hz=_integer(document, values, what, "rate_hz", MIN_RATE_HZ, MAX_RATE_HZ, DEFAULT_RATE_HZ, kind),
        chunk_ms=_integer(document, values, what, "chunk_ms", MIN_CHUNK_MS, MAX_CHUNK_MS, DEFAULT_CHUNK_MS, kind),
        channels=_integer(document, values, what, "channels", 1, 2, 1, kind),
    )
    named = [name for name in (feed.field, feed.number_field, feed.rate_field) if name]
    for name in sorted({name for name in named if named.count(name) > 1}):
        document.error(entry.value, f"{what}: two things can't both be the field {name!r}")
    return feed


def _integer(
    document: Document,
    values: dict[str, yaml.Node],
    what: str,
    key: str,
    low: int,
    high: int,
    default: int,
    kind: FeedKind,
) -> int:
    if kind is not FeedKind.AUDIO:
        return 0
    value = document.integer(values.get(key), f"{what}: {key}", at_least=low, at_most=high)
    return default if value is None else value


def feed_entries(feed: Feed) -> dict[str, Any]:
    """The mapping from which ``read_feed`` reads an equal feed; what has its default is left out."""
    kind = feed.kind
    entries: dict[str, Any] = {}
    if feed.field != _DEFAULT_FIELDS[kind]:
        entries["field"] = feed.field
    if feed.form != FEED_FORMS[kind][0]:
        entries["as"] = feed.form
    if feed.number_field:
        entries["number"] = feed.number_field
    if feed.rate_field:
        entries["rate"] = feed.rate_field
    if kind is FeedKind.AUDIO:
        defaults = (("rate_hz", DEFAULT_RATE_HZ), ("chunk_ms", DEFAULT_CHUNK_MS), ("channels", 1))
        entries |= {key: getattr(feed, key) for key, default in defaults if getattr(feed, key) != default}
    return {kind.value: entries}
