"""Items for one operator alone: they are no query's, so neither the book nor the routes know them."""

from __future__ import annotations

import asyncio

from edge_agent.dataplane.item import Outcome, Payload, Verdict, Work


class Direct:
    """Those that wait for an operator of this device. Bounded by whoever adds to it."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[Outcome]] = {}

    def add(self, request_id: str) -> asyncio.Future[Outcome]:
        """An item is about to be offered; gives what becomes of it."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = future
        return future

    def forget(self, request_id: str) -> None:
        """Nobody waits for an item any more."""
        self._waiting.pop(request_id, None)

    def finished(self, work: Work, payload: Payload) -> bool:
        """An operator gave this output; False: the item is not one of these."""
        return self._end(work, Verdict.ANSWERED, payload=payload)

    def ended(self, work: Work, verdict: Verdict, cause: str, detail: str) -> bool:
        """An operator gave none; False: the item is not one of these."""
        return self._end(work, verdict, cause=cause, detail=detail)

    def _end(self, work: Work, verdict: Verdict, *, cause: str = "", detail: str = "", payload: Payload = b"") -> bool:
        if not work.request_id.startswith(PREFIX):
            return False
        future = self._waiting.pop(work.request_id, None)
        if future is not None and not future.done():
            future.set_result(
                Outcome(
                    request_id=work.request_id,
                    query_id=work.query_id,
                    generation_number=work.generation.number,
                    verdict=verdict,
                    cause=cause,
                    detail=detail,
                    operator_id=work.operator_id,
                    payload=bytes(payload),
                )
            )
        # One whose caller has gone is nobody's, but still none of a query.
        return True


#: What the ids of such items begin with; no device's id does.
PREFIX = "~"
