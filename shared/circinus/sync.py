"""The client for programs without an event loop: the same methods, which wait.

with SyncClient("127.0.0.1:7400") as client:
    client.submit(queries)
    for state in client.watch_query("q1"):
        print(state.phase)

The connection lives on a loop in a thread of its own, so a client may be used where a loop already runs, too, as in a
notebook; by one thread at a time.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import suppress
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from circinus.client import DEFAULT_ADDRESS, Client
from circinus.contexts import Context, Credentials
from circinus.errors import Unreachable
from circinus.planner_link import CALL_TIMEOUT_S

P = ParamSpec("P")
R = TypeVar("R")


def _called(
    method: Callable[Concatenate[Client, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[SyncClient, P], R]:
    """The method of a client, waited for."""

    @wraps(method)
    def call(self: SyncClient, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._wait(method(self._client, *args, **kwargs))

    return call


def _iterated(
    method: Callable[Concatenate[Client, P], AsyncIterator[R]],
) -> Callable[Concatenate[SyncClient, P], Iterator[R]]:
    """The method of a client, each of whose values is waited for; whoever stops early ends the call."""

    @wraps(method)
    def iterate(self: SyncClient, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        values = method(self._client, *args, **kwargs)

        async def following() -> tuple[R, ...]:
            try:
                return (await anext(values),)
            except StopAsyncIteration:
                return ()

        async def end() -> None:
            close = getattr(values, "aclose", None)
            if close is not None:
                await close()

        try:
            while found := self._wait(following()):
                yield found[0]
        finally:
            with suppress(Unreachable):  # the client is closed: the call has ended with it
                self._wait(end())

    return iterate


class SyncClient:
    """A connection to one planner; see Client, whose arguments, methods and errors these are."""

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        credentials: Credentials | None = None,
        call_timeout_s: float = CALL_TIMEOUT_S,
    ) -> None:
        self._client = Client(address, credentials=credentials, call_timeout_s=call_timeout_s)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @classmethod
    def of(cls, context: Context, *, call_timeout_s: float = CALL_TIMEOUT_S) -> Self:
        """A client of the planner of a context."""
        return cls(context.planner, credentials=context.credentials, call_timeout_s=call_timeout_s)

    @property
    def address(self) -> str:
        """Where the planner is dialled."""
        return self._client.address

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="circinus-client", daemon=True)
        self._thread.start()
        try:
            self._wait(self._client.__aenter__())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._wait(self._client.__aexit__(kind, error, trace))
        finally:
            self._end()

    def _end(self) -> None:
        loop, self._loop = self._loop, None
        thread, self._thread = self._thread, None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def _wait(self, work: Coroutine[Any, Any, R]) -> R:
        loop = self._loop
        if loop is None:
            work.close()
            raise Unreachable("the client is not open; use it as `with SyncClient(...) as client`")
        waited = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            return waited.result()
        except BaseException:
            # Ctrl-C, for one, must not leave the call behind.
            waited.cancel()
            raise

    status = _called(Client.status)
    add_pipeline = _called(Client.add_pipeline)
    upload = _called(Client.upload)
    pipelines = _called(Client.pipelines)
    remove_pipeline = _called(Client.remove_pipeline)
    submit = _called(Client.submit)
    queries = _called(Client.queries)
    query = _called(Client.query)
    remove_query = _called(Client.remove_query)
    watch_query = _iterated(Client.watch_query)
    plan = _called(Client.plan)
    what_if = _called(Client.what_if)
    explain = _called(Client.explain)
    record = _called(Client.record)
    watch_progress = _iterated(Client.watch_progress)
    ledger = _called(Client.ledger)
    accounts = _called(Client.accounts)
    accounts_message = _called(Client.accounts_message)
    devices = _called(Client.devices)
    device = _called(Client.device)
    cordon = _called(Client.cordon)
    uncordon = _called(Client.uncordon)
    label = _called(Client.label)
    drain = _iterated(Client.drain)
    leave = _iterated(Client.leave)
    events = _iterated(Client.events)
    logs = _iterated(Client.logs)
    tap = _iterated(Client.tap)
    device_lines = _called(Client.device_lines)
    query_lines = _called(Client.query_lines)
    upload_pipeline = _called(Client.upload_pipeline)
    apply_changes = _called(Client.apply_changes)
    versions = _called(Client.versions)
