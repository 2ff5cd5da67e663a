"""The tags of a TIFF's first page, read without Pillow, which warns where a page is damaged instead of refusing it.

TIFF 6.0, section 2; BigTIFF as of libtiff 4.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_LETTERS = {1: "B", 3: "H", 4: "I", 16: "Q"}
_SINGLE = (256, 257, 259, 266, 274, 277, 278, 282, 283, 284, 296, 322, 323)
_MAX_PAGES = 100_000


@dataclass(frozen=True, kw_only=True)
class Pages:
    """The whole numbers among the first page's tags, by tag; and how many pages there are."""

    first: Mapping[int, tuple[int, ...]]
    count: int


@dataclass(frozen=True, kw_only=True)
class _Layout:
    order: str
    big: bool

    @property
    def count(self) -> struct.Struct:
        return struct.Struct(self.order + ("Q" if self.big else "H"))

    @property
    def entry(self) -> struct.Struct:
        return struct.Struct(self.order + ("HHQ8s" if self.big else "HHI4s"))

    @property
    def offset(self) -> struct.Struct:
        return struct.Struct(self.order + ("Q" if self.big else "I"))


def read_pages(content: bytes) -> Pages:
    """The first page's tags, and the number of pages.

    Raises ValueError, saying what is wrong, where a tag of the first page reaches beyond the file or has more values
    than it may; struct.error where the page itself does.
    """
    order = "<" if content[:2] == b"II" else ">"
    layout = _Layout(order=order, big=struct.unpack_from(f"{order}H", content, 2)[0] == 43)
    (start,) = layout.offset.unpack_from(content, 8 if layout.big else 4)
    first = _tags(content, start, layout)
    seen = {start}
    while (start := _after(content, start, layout)) and start not in seen and len(seen) < _MAX_PAGES:
        seen.add(start)
    return Pages(first=first, count=len(seen))


def _tags(content: bytes, start: int, layout: _Layout) -> dict[int, tuple[int, ...]]:
    (entries,) = layout.count.unpack_from(content, start)
    at, total, tags, seen = start + layout.count.size, 0, {}, set()
    for _ in range(entries):
        tag, kind, count, inline = layout.entry.unpack_from(content, at)
        at += layout.entry.size
        if kind not in _SIZES or tag in seen:
            continue
        seen.add(tag)
        size = _SIZES[kind] * count
        if size <= len(inline):
            payload = inline[:size]
        else:
            (offset,) = layout.offset.unpack(inline)
            payload, total = content[offset : offset + size], total + size
            if len(payload) < size or total > len(content):
                raise ValueError(f"tag {tag} of {size:,} bytes at {offset:,} in a file of {len(content):,}")
        if tag in _SINGLE and count > 1:
            raise ValueError(f"tag {tag} with {count} values instead of one")
        if kind in _LETTERS and count:
            tags[tag] = struct.unpack(f"{layout.order}{count}{_LETTERS[kind]}", payload)
    layout.offset.unpack_from(content, at)  # the place of the next page must be there
    return tags


def _after(content: bytes, start: int, layout: _Layout) -> int:
    """Where the next page is; 0 where there is none, or where it lies outside the file."""
    try:
        (entries,) = layout.count.unpack_from(content, start)
        (following,) = layout.offset.unpack_from(content, start + layout.count.size + entries * layout.entry.size)
    except struct.error:
        return 0
    return int(following) if following < len(content) else 0
