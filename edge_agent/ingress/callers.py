"""Who may call a device from elsewhere: people by their certificates, not other boxes.

A box needs a certificate of the same root for its data plane; by that alone it must not read what others are answered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from circinus.errors import NotAllowed, abort

_PERSON = b"circinus:person/"
_NAMES = "x509_subject_alternative_name"

Context = grpc.aio.ServicerContext[Any, Any]


class PeopleOnly(grpc.aio.ServerInterceptor):
    """Refuses every call on a connection whose certificate is not a person's."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The method with a check before it."""
        found: Any = await continuation(handler_call_details)
        # None: there is no such method, which grpc says itself.
        for kind in ("unary_unary", "unary_stream", "stream_unary", "stream_stream"):
            if found is not None and (method := getattr(found, kind)) is not None:
                found = found._replace(**{kind: _guarded(method)})
        handler: grpc.RpcMethodHandler[Any, Any] | None = found
        return handler


def _guarded(method: Callable[[Any, Context], Any]) -> Callable[[Any, Context], Awaitable[Any]]:
    async def call(request: Any, context: Context) -> Any:
        names = context.auth_context().get(_NAMES, ())
        if not any(bytes(name).startswith(_PERSON) for name in names):
            error = NotAllowed("callers of a box from elsewhere need the certificate of a person: ask an admin for one")
            await abort(context, error)
        served = method(request, context)
        if not hasattr(served, "__aiter__"):
            return await served
        async for answer in served:
            await context.write(answer)
        return None

    return call
