"""PURE. What is known of the fields that go in and come out, for metadata and for checks of callers' tensors.

The items of a query's own source, or its feed, say what its operators read. Where only callers make items, what was
answered tells others what to send, but binds nobody.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from circinus.model.directive import SourceSpec
from circinus.model.pipeline import IMAGE_CHANNELS, Feed, FeedKind
from circinus.model.query import QueryId
from edge_agent.ingress.tensors import FieldShape, Kind, shapes_of

#: So many items, and answers, are looked at: shapes that differ between them may be any.
_LOOKED_AT = 3
#: Models that are remembered.
_MAX_MODELS = 1_000
_MAX_FIELDS = 256


@dataclass(slots=True)
class _Seen:
    inputs: dict[str, FieldShape] = field(default_factory=dict)
    outputs: dict[str, FieldShape] = field(default_factory=dict)
    items: int = 0
    answers: int = 0
    #: The source itself made the items.
    binding: bool = False


class Known:
    """Fields by model: a query's id, or QUERY/OPERATOR."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, _Seen] = OrderedDict()

    def emitted(self, query_id: QueryId, payload: bytes) -> None:
        """An item that the query's own source made."""
        seen = self._of(query_id)
        if not seen.binding:
            seen.inputs, seen.items, seen.binding = {}, 0, True
        _merge(seen.inputs, payload, first=seen.items == 0)
        seen.items += 1

    def wants_item(self, query_id: QueryId) -> bool:
        """Whether another item of the source would tell more."""
        seen = self._seen.get(query_id)
        return seen is None or not seen.binding or seen.items < _LOOKED_AT

    def answered(self, model: str, inputs: Mapping[str, FieldShape], outputs: Mapping[str, FieldShape]) -> None:
        """A caller's item was answered; no inputs: nothing new is told of them."""
        seen = self._of(model)
        if seen.answers < _LOOKED_AT:
            seen.answers += 1
            _merge_shapes(seen.outputs, outputs)
            if not seen.binding:
                _merge_shapes(seen.inputs, inputs)

    def wants_answer(self, model: str) -> bool:
        """Whether another answer would tell more."""
        seen = self._seen.get(model)
        return seen is None or seen.answers < _LOOKED_AT

    def inputs(self, model: str, source: SourceSpec | None = None) -> tuple[Mapping[str, FieldShape], bool]:
        """The fields that a model reads, and whether exactly these must come."""
        if source is not None and source.feed is not None:
            return feed_shapes(source.feed), True
        seen = self._seen.get(model)
        return ({}, False) if seen is None else (seen.inputs, seen.binding)

    def outputs(self, model: str) -> Mapping[str, FieldShape]:
        """The fields that it answers with, by OPERATOR.FIELD."""
        seen = self._seen.get(model)
        return {} if seen is None else seen.outputs

    def _of(self, model: str) -> _Seen:
        seen = self._seen.setdefault(model, _Seen())
        self._seen.move_to_end(model)
        if len(self._seen) > _MAX_MODELS:
            self._seen.popitem(last=False)
        return seen


def feed_shapes(feed: Feed) -> Mapping[str, FieldShape]:
    """The fields that a feed fills."""
    found = {feed.field: _fed(feed)}
    if feed.number_field:
        found[feed.number_field] = FieldShape(kind=Kind.INTEGER)
    if feed.rate_field:
        found[feed.rate_field] = FieldShape(kind=Kind.INTEGER)
    return found


def _fed(feed: Feed) -> FieldShape:
    if feed.kind is FeedKind.AUDIO:
        shape = (-1,) if feed.channels == 1 else (-1, feed.channels)
        return FieldShape(kind=Kind.TENSOR, dtype=feed.form, shape=shape)
    channels = IMAGE_CHANNELS.get(feed.form)
    if channels is None:
        return FieldShape(kind=Kind.DATA)
    return FieldShape(kind=Kind.TENSOR, dtype="uint8", shape=(-1, -1) if channels == 1 else (-1, -1, channels))


def _merge(known: dict[str, FieldShape], payload: bytes, *, first: bool) -> None:
    try:
        found = shapes_of(payload)
    except (ValueError, KeyError):
        return
    if first:
        known.update(list(found.items())[:_MAX_FIELDS])
        return
    # Only what every item has must come.
    for name in known.keys() - found.keys():
        del known[name]
    for name in known:
        known[name] = known[name].merged(found[name])


def _merge_shapes(known: dict[str, FieldShape], found: Mapping[str, FieldShape]) -> None:
    for name, shape in found.items():
        if name in known:
            known[name] = known[name].merged(shape)
        elif len(known) < _MAX_FIELDS:
            known[name] = shape
