"""Lists in pages: as many entries as were asked for, and as fit into one message."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

#: A message is at most 4 MiB.
MAX_PAGE_BYTES = 3_000_000


class _Message(Protocol):
    def ByteSize(self) -> int: ...


M = TypeVar("M", bound=_Message)


class Page(Generic[M]):
    """One page, filled in order of keys. ``most``: at most so many entries; 0: as many as fit.

    ``next_token``: where the next page goes on, after this key; empty: there is none.
    """

    def __init__(self, most: int, max_bytes: int = MAX_PAGE_BYTES) -> None:
        self._most = most
        self._left_bytes = max_bytes
        self._last = ""
        self.messages: list[M] = []
        self.next_token = ""

    def add(self, key: str, message: M) -> bool:
        """Takes an entry; False: there is no room for it, nor for those after it. The first always fits."""
        size_bytes = message.ByteSize()
        full = bool(self._most) and len(self.messages) >= self._most
        if self.messages and (full or size_bytes > self._left_bytes):
            self.next_token = self._last
            return False
        self._left_bytes -= size_bytes
        self._last = key
        self.messages.append(message)
        return True


__all__ = ["MAX_PAGE_BYTES", "Page"]
