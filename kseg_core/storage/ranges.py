"""A file of which only what is read is fetched."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

BLOCK_BYTES = 1 << 16  # the least that is fetched: the headers of nearly all pictures, and no more than a request costs
SMALL_BYTES = 1 << 21  # a file that takes no longer than two requests: its second one is for all that is left
BLOCKS_KEPT = 16
MOST_BYTES = 1 << 23  # that is fetched before it is asked for, and that is kept

Range = tuple[int, int]  # from, and up to
_Block = tuple[int, bytes]  # position and bytes
Fetch = Callable[[Sequence[Range]], Sequence[bytes]]


def most_held(size_bytes: int) -> int:
    """Most bytes that a `RangeFile` of a file of some size holds, and what fetches for it.

    What was walked through is held twice while it grows; what was fetched ahead is while it arrives.
    """
    return 3 * min(size_bytes, MOST_BYTES) + min(size_bytes, BLOCKS_KEPT * BLOCK_BYTES)


class RangeFile(io.RawIOBase):
    """A file behind a function that fetches parts of it. A few megabytes of what was fetched are kept.

    Who reads on where a part ended gets ever larger ones, so that a file that is walked through from its beginning
    takes few requests. Who knows what will be read says so (`expect`), and gets it by several requests at once.

    Parameters
    ----------
    fetch
        Gives the bytes of some ranges.
    size_bytes
        Of the whole file.
    """

    def __init__(self, fetch: Fetch, size_bytes: int) -> None:
        self._fetch, self._size_bytes = fetch, size_bytes
        self._at = 0
        self._first: _Block = (0, b"")
        self._others: list[_Block] = []  # the last ones
        self._expected: list[Range] = []
        self._ahead: dict[int, bytes] = {}

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size_bytes}[whence]
        if start + offset < 0:
            raise ValueError(f"expected a position within the file, got {start + offset}")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        part = self.read(len(view))
        view[: len(part)] = part
        return len(part)

    def readall(self) -> bytes:
        return self.read(-1)

    def read(self, size: int | None = -1, /) -> bytes:
        """As many bytes as are asked for, or up to the end."""
        start = min(self._at, self._size_bytes)
        stop = self._size_bytes if size is None or size < 0 else min(self._size_bytes, start + size)
        part = self._part(start, stop)
        self._at = max(self._at, start + len(part))
        return part

    def expect(self, ranges: Sequence[Range]) -> None:
        """Say what will be read, in this order, each range by one `read` of all of it."""
        self._expected, self._ahead = list(ranges), {}

    def _part(self, start: int, stop: int) -> bytes:
        if (start, stop) in self._expected:
            return self._taken(start, stop)
        known = b""
        for at, content in (self._first, *self._others):
            if at <= start < at + len(content):
                known = content[start - at : stop - at]
                break
        if start + len(known) >= stop:
            return known
        return known + self._block(start + len(known), stop)

    def _block(self, start: int, stop: int) -> bytes:
        """A range of which nothing is known, with what is after it."""
        content = self._first[1]
        end = len(content)
        is_small = end > 0 and self._size_bytes <= SMALL_BYTES
        if is_small or (0 <= start - end < BLOCK_BYTES and stop <= MOST_BYTES):  # read on, or a little skipped
            ahead = min(self._size_bytes, MOST_BYTES, max(stop, 4 * end, BLOCK_BYTES))
            ahead = self._size_bytes if is_small else ahead
            self._first = (0, content + self._fetched([(end, ahead)])[0])
            return self._first[1][start:stop]
        block = self._fetched([(start, min(self._size_bytes, max(stop, start + BLOCK_BYTES)))])[0]
        if stop - start < BLOCK_BYTES:
            self._others = [*self._others[1 - BLOCKS_KEPT :], (start, block)]
        return block[: stop - start]

    def _taken(self, start: int, stop: int) -> bytes:
        """A range that was expected, fetched with those after it."""
        if start not in self._ahead:
            coming = self._expected[self._expected.index((start, stop)) :]
            few, total = coming[:1], stop - start
            for each in coming[1:]:
                total += each[1] - each[0]
                if total > MOST_BYTES:
                    break
                few.append(each)
            self._ahead = dict(zip((each[0] for each in few), self._fetched(few), strict=True))
        return self._ahead.pop(start)

    def _fetched(self, ranges: Sequence[Range]) -> Sequence[bytes]:
        parts = self._fetch(ranges)
        for (start, stop), part in zip(ranges, parts, strict=True):
            if len(part) != stop - start:
                raise OSError("changed while it was being read: shorter than it was")
        return parts
