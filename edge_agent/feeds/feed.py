"""What a feed is, and the two that read files.

A file ends: its items come once, in order, and then no more. A device, or what stands for one, does not end.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from circinus.operator import Payload
from edge_agent.feeds.access import Access, NotOpened

#: Opens a file as items.
OpenItems = Callable[[Path], Iterator[Payload]]

#: How often a folder is looked at for new files, when all that are known have been read.
_SCAN_S = 0.2
#: A file that was changed more recently may still be being written.
_SETTLED_S = 0.5
#: Entries of one folder at most: what is read of it is remembered.
MAX_ENTRIES = 100_000


class Feed(Protocol):
    """Gives items as they are asked for.

    ``ended``: there will be no more. ``trouble``: what is wrong with a part that was passed over; empty: nothing.
    """

    ended: bool
    trouble: str

    def next(self) -> Payload | None:
        """The next item; None: there is none now.

        Raises:
            NotOpened: what it reads can't be read; it may be asked again later.
        """

    def close(self) -> None:
        """Lets go of what is open."""


class NoFeed:
    """What can't be read here at all, and why."""

    def __init__(self, reason: str) -> None:
        self.ended = False
        self.trouble = ""
        self._reason = reason

    def next(self) -> Payload | None:
        """Says why there is none."""
        raise NotOpened(self._reason)

    def close(self) -> None:
        """Has nothing open."""


class FileFeed:
    """The items of one file, once."""

    def __init__(self, path: str, access: Access, open_items: OpenItems) -> None:
        self.ended = False
        self.trouble = ""
        self._path = path
        self._access = access
        self._open_items = open_items
        self._items: Iterator[Payload] | None = None

    def next(self) -> Payload | None:
        """The next item of the file."""
        if self.ended:
            return None
        if self._items is None:
            self._items = self._open_items(self._access.file(self._path))
        try:
            return next(self._items)
        except StopIteration:
            self.ended = True
        except Exception:  # a decoder's own kinds, too
            self._items = None
            raise
        return None

    def close(self) -> None:
        """Lets go of the file."""
        self._items = None


class DirectoryFeed:
    """The items of a folder's files, in order of name, and of new ones as they appear; each file once.

    A file whose name begins with a dot is left alone: what is written under such a name, and renamed when it is whole,
    is never read half. A file that can't be read is passed over, and named.
    """

    def __init__(
        self, path: str, access: Access, open_items: OpenItems, *, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self.ended = False
        self.trouble = ""
        self._path = path
        self._access = access
        self._open_items = open_items
        self._now_s = now_s
        self._waiting: list[str] = []
        self._done: set[str] = set()
        self._items: Iterator[Payload] | None = None
        self._scan_at_s = 0.0

    def next(self) -> Payload | None:
        """The next item of the file that is being read, or of the next one."""
        while True:
            if self._items is None and not self._open_next():
                return None
            item = self._read()
            if item is not None:
                return item

    def close(self) -> None:
        """Lets go of the file that is open."""
        self._items = None

    def _read(self) -> Payload | None:
        try:
            return None if self._items is None else next(self._items)
        except StopIteration:
            self._items = None
        except Exception as error:  # a decoder's own kinds, too: one bad file must not keep others waiting
            self.trouble = str(error)
            self._items = None
        return None

    def _open_next(self) -> bool:
        if not self._waiting and self._now_s() >= self._scan_at_s:
            self._scan()
        while self._waiting:
            name = self._waiting.pop(0)
            self._done.add(name)
            try:
                self._items = self._open_items(self._access.file(os.path.join(self._path, name)))
            except Exception as error:  # as above
                self.trouble = str(error)
            else:
                return True
        return False

    def _scan(self) -> None:
        self._scan_at_s = self._now_s() + _SCAN_S
        folder = self._access.folder(self._path)
        settled_s = time.time() - _SETTLED_S
        there: set[str] = set()
        fresh: list[str] = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith(".") or (entry.is_dir(follow_symlinks=False)):
                        continue
                    there.add(entry.name)
                    if len(there) > MAX_ENTRIES:
                        raise NotOpened(f"{self._path}: has more than {MAX_ENTRIES:,} files; move those that were read")
                    if entry.name not in self._done and entry.stat(follow_symlinks=False).st_mtime <= settled_s:
                        fresh.append(entry.name)
        except OSError as error:
            raise NotOpened(f"{self._path}: {error.strerror}") from error
        self._done &= there
        self._waiting = sorted(fresh)
