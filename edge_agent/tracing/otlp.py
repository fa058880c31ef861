"""Spans as OTLP has them: the messages of opentelemetry-proto, which the extra ``otel`` brings.

The messages alone, without OpenTelemetry's SDK: that costs an agent 12 MB, a thread and fourteen packages more, and its
spans are kept by whoever runs the code, while ours are of items that wander (ADR 39).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import circinus
from circinus.errors import NotRunnable
from edge_agent.tracing.context import Attribute, Span

_SCOPE = "circinus"
_KIND_INTERNAL, _KIND_SERVER = 1, 2
_STATUS_ERROR = 2
_MAX_ERROR_CHARS = 500


def check_installed() -> None:
    """Does nothing if the extra is there.

    Raises:
        NotRunnable: it is not.
    """
    try:
        _messages()
    except ImportError as error:
        raise NotRunnable(f"traces need the extra otel ({error}): pip install 'circinus[otel]'") from error


def request_of(spans: Sequence[Span], resource: Mapping[str, Attribute]) -> bytes:
    """The body of an export: ``resource`` says which device these spans are of."""
    service, common = _messages()
    request = service.ExportTraceServiceRequest()
    of_device = request.resource_spans.add()
    _put(of_device.resource.attributes, resource, common)
    scope = of_device.scope_spans.add()
    scope.scope.name, scope.scope.version = _SCOPE, circinus.__version__
    for span in spans:
        made = scope.spans.add(
            trace_id=span.trace_id,
            span_id=span.span_id,
            parent_span_id=span.parent_id,
            name=span.name,
            kind=_KIND_SERVER if span.served else _KIND_INTERNAL,
            start_time_unix_nano=max(0, span.start_ns),
            end_time_unix_nano=max(0, span.end_ns),
            flags=1,
        )
        _put(made.attributes, span.attributes, common)
        if span.error:
            made.status.code, made.status.message = _STATUS_ERROR, span.error[:_MAX_ERROR_CHARS]
    body: bytes = request.SerializeToString()
    return body


def _messages() -> tuple[Any, Any]:
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
    from opentelemetry.proto.common.v1 import common_pb2

    return trace_service_pb2, common_pb2


def _put(target: Any, attributes: Mapping[str, Attribute], common: Any) -> None:
    for key, value in attributes.items():
        if isinstance(value, bool):
            told = common.AnyValue(bool_value=value)
        elif isinstance(value, int):
            told = common.AnyValue(int_value=value)
        elif isinstance(value, float):
            told = common.AnyValue(double_value=value)
        else:
            told = common.AnyValue(string_value=value)
        target.add(key=key).value.CopyFrom(told)


__all__ = ["check_installed", "request_of"]
