"""PURE. Credit: how much a peer may have sent that has not gone to its operator yet.

The receiver grants a window of bytes and items. The sender takes credit for a whole item before its first chunk leaves
(so two halves can never wait for each other), and the receiver gives it back by query once the item went to its
operator or was refused. One query may have a quarter of the window, or one item if that is
larger; items above the planned rate only the first half. So what is slow for one query leaves room for the
others. Both ends keep the same account, neither believes the other.
"""

from __future__ import annotations

from dataclasses import dataclass

from circinus.model.query import QueryId

#: What this device grants each peer.
WINDOW_BYTES = 64 * 1024 * 1024
WINDOW_ITEMS = 1024
_QUERY_PARTS = 4
_EXCESS_PARTS = 2


@dataclass(slots=True, kw_only=True)
class Amount:
    """Bytes of payload, and items."""

    size_bytes: int = 0
    items: int = 0


class Account:
    """What is out of one window: the same at both ends. All amounts stay between 0 and the window."""

    def __init__(self, window_bytes: int, window_items: int) -> None:
        self._window_bytes = window_bytes
        self._window_items = window_items
        self._out = Amount()
        self._of_query: dict[QueryId, Amount] = {}

    @property
    def out(self) -> Amount:
        """What is out, of all queries."""
        return self._out

    def out_of(self, query_id: QueryId) -> Amount:
        """What is out of one query."""
        return self._of_query.get(query_id, Amount())

    def fits(self, query_id: QueryId, size_bytes: int, *, excess: bool = False) -> bool:
        """Whether an item may go now."""
        share = _EXCESS_PARTS if excess else 1
        if not self._within(self._out, size_bytes, share):
            return False
        own = self._of_query.get(query_id)
        return own is None or self._within(own, size_bytes, _QUERY_PARTS)

    def holds(self, size_bytes: int) -> bool:
        """Whether an item fits the window at all; what does not must not be sent."""
        return size_bytes <= self._window_bytes and self._window_items > 0

    def take(self, query_id: QueryId, size_bytes: int) -> bool:
        """Takes credit for an item; False: it is more than the window has left."""
        if not self._within(self._out, size_bytes, 1):
            return False
        own = self._of_query.setdefault(query_id, Amount())
        for amount in (own, self._out):
            amount.size_bytes += size_bytes
            amount.items += 1
        return True

    def give_back(self, query_id: QueryId, back: Amount) -> bool:
        """Takes back credit; False: it is more than was out (as much as was out is taken)."""
        own = self._of_query.get(query_id)
        if own is None:
            return back.items == 0 and back.size_bytes == 0
        size_bytes, items = min(own.size_bytes, back.size_bytes), min(own.items, back.items)
        if items == own.items:
            # The last item takes all bytes along: bytes that no item holds could never come back.
            size_bytes = own.size_bytes
            del self._of_query[query_id]
        for amount in (own, self._out):
            amount.size_bytes -= size_bytes
            amount.items -= items
        return (size_bytes, items) == (back.size_bytes, back.items)

    def _within(self, out: Amount, size_bytes: int, parts: int) -> bool:
        if out.items == 0:
            return self.holds(size_bytes)
        return (
            out.items + 1 <= self._window_items // parts and out.size_bytes + size_bytes <= self._window_bytes // parts
        )


class Grants:
    """The receiver's end: what a peer may send to this device, and what is to be given back to it."""

    def __init__(self, window_bytes: int = WINDOW_BYTES, window_items: int = WINDOW_ITEMS) -> None:
        self.account = Account(window_bytes, window_items)
        self._enough = Amount(size_bytes=window_bytes // 16, items=max(1, window_items // 16))
        self._owed: dict[QueryId, Amount] = {}
        self._owed_sum = Amount()

    @property
    def owed(self) -> bool:
        """Whether there is anything to give back."""
        return bool(self._owed)

    @property
    def urgent(self) -> bool:
        """Whether so much is to be given back that it is worth a message of its own."""
        return self._owed_sum.items >= self._enough.items or self._owed_sum.size_bytes >= self._enough.size_bytes

    def release(self, query_id: QueryId, size_bytes: int) -> None:
        """An item for which credit was taken needs it no more; the peer is to have it back."""
        for amount in (self._owed.setdefault(query_id, Amount()), self._owed_sum):
            amount.size_bytes += size_bytes
            amount.items += 1

    def take_owed(self) -> dict[QueryId, Amount]:
        """What is to be given back, once. Until then it counts as out, so a peer that does not read is owed no more."""
        owed, self._owed, self._owed_sum = self._owed, {}, Amount()
        for query_id, amount in owed.items():
            self.account.give_back(query_id, amount)
        return owed
