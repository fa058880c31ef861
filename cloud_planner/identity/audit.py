"""The log of who did what, chained: each entry's digest covers the entry and the digest before it. PURE.

Whoever changes, inserts or removes an entry must make all later digests anew; whoever cuts off the end is found by the
number and digest that are kept beside the log. One who may write the whole file can make both consistent; that is why
each digest is also told in the planner's log, which is kept elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

#: What the first entry is chained to.
GENESIS = bytes(32)
#: How an entry that was not refused ended.
DONE = "done"
MAX_DETAIL_CHARS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that was done, or refused: then ``outcome`` is the class of the error."""

    sequence: int
    at_us: int
    actor: str
    action: str
    subject: str
    outcome: str
    detail: str


def digest_of(before: bytes, entry: Entry) -> bytes:
    """The digest of an entry that follows one with the digest ``before``."""
    texts = (
        str(entry.sequence),
        str(entry.at_us),
        entry.actor,
        entry.action,
        entry.subject,
        entry.outcome,
        entry.detail,
    )
    parts = [text.encode("utf-8", "surrogatepass") for text in texts]
    # With its length: nothing can move from one field to the next.
    return hashlib.sha256(before + b"".join(len(part).to_bytes(4, "big") + part for part in parts)).digest()


@dataclass(slots=True)
class Chain:
    """Follows the log from its first entry; ``broken_at`` is the first sequence that does not fit, 0 if all do."""

    sequence: int = 0
    digest: bytes = GENESIS
    broken_at: int = 0

    def follow(self, entries: Iterable[tuple[Entry, bytes]]) -> None:
        """Takes the next entries, each with the digest that was kept with it."""
        for entry, digest in entries:
            if self.broken_at:
                return
            expected = digest_of(self.digest, entry)
            if entry.sequence != self.sequence + 1 or digest != expected:
                self.broken_at = self.sequence + 1
                return
            self.sequence, self.digest = entry.sequence, digest

    def ends_at(self, sequence: int, digest: bytes) -> bool:
        """Whether it holds from the first entry to this last one."""
        if not self.broken_at and (self.sequence, self.digest) != (sequence, digest):
            self.broken_at = self.sequence + 1
        return not self.broken_at


def clean(text: str, limit: int = MAX_DETAIL_CHARS) -> str:
    """A text from elsewhere as it may stand in the log: one line of printable characters, not too long."""
    return "".join(char if char.isprintable() else " " for char in text[:limit])
