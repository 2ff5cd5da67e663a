"""Real files made hostile: bits flipped, bytes cut, moved, spliced and overwritten, header fields set to extremes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

EXTREMES = (0, 1, 2, 3, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFE, 0xFFFF_FFFF)

MOST_BYTES = 60_000
"""Small files are hurt where it matters: most of a large one is pixels."""

Mutation = Callable[[bytearray, np.random.Generator, Sequence[bytes]], bytes]


def corpus_files(corpus: Path) -> list[Path]:
    """The image files of the corpus that are small, from test suites and from real data sets."""
    suites = [
        path for path in (corpus / "breaking").rglob("*") if path.is_file() and path.suffix not in (".csv", ".tar")
    ]
    real = [path for path in (corpus / "datasets").rglob("*.*") if path.suffix in (".jpg", ".png", ".tif", ".tiff")]
    chosen = sorted(suites) + sorted(real)[::10]
    return [path for path in chosen if 0 < path.stat().st_size <= MOST_BYTES]


def mutated(originals: Sequence[bytes], rng: np.random.Generator) -> bytes:
    """One of the files, hurt once to three times."""
    content = bytes(originals[rng.integers(len(originals))])
    for _ in range(rng.integers(1, 4)):
        mutation = MUTATIONS[rng.integers(len(MUTATIONS))]
        content = mutation(bytearray(content or b"\0"), rng, originals)
    return with_checksums(content) if content.startswith(b"\x89PNG") and rng.random() < 0.7 else content


def _span(content: bytearray, rng: np.random.Generator, most: int = 512) -> tuple[int, int]:
    start = int(rng.integers(len(content)))
    return start, min(len(content), start + int(rng.integers(1, most)))


def flip(content: bytearray, rng: np.random.Generator, others: Sequence[bytes]) -> bytes:
    """Some bits, in the first bytes as often as anywhere."""
    reach = min(len(content), 200) if rng.random() < 0.5 else len(content)
    for _ in range(rng.integers(1, 17)):
        content[rng.integers(reach)] ^= 1 << int(rng.integers(8))
    return bytes(content)


def cut(content: bytearray, rng: np.random.Generator, others: Sequence[bytes]) -> bytes:
    """The end is missing."""
    return bytes(content[: rng.integers(len(content))])


def drop(content: bytearray, rng: np.random.Generator, others: Sequence[bytes]) -> bytes:
    """A piece is missing."""
    start, stop = _span(content, rng)
    return bytes(content[:start] + content[stop:])


def repeat(content: bytearray, rng: np.random.Generator, others: Sequence[bytes]) -> bytes:
    """A piece stands many times."""
    start, stop = _span(content, rng)
    return bytes(content[:stop] + content[start:stop] * int(rng.integers(1, 200)) + content[stop:])


def overwrite(content: bytearray, rng: np.random.Generator, others: Sequence[bytes]) -> bytes:
    """A piece is zeros, ones or noise."""
    start, stop = _span(content, rng)
    fill = rng.integers(3)
    content[start:stop] = rng.bytes(stop - start) if fill == 2 else bytes([255 * int(fill)]) * (stop - start)
    return bytes(content)


def swap(content: bytearray, rng: np.random.Generator, others: Sequence[bytes]) -> bytes:
    """Two pieces change places; of a PNG two chunks."""
    if content.startswith(b"\x89PNG") and len(chunks := list(_chunks(bytes(content)))) > 1:
        one, other = rng.integers(len(chunks)), rng.integers(len(chunks))
        chunks[one], chunks[other] = chunks[other], chunks[one]
        return bytes(content[:8]) + b"".join(chunks)
    (start, middle), stop = _span(content, rng), int(rng.integers(len(content)))
    stop = max(stop, middle)
    return bytes(content[:start] + content[middle:stop] + content[start:middle] + content[stop:])


def splice(content: bytearray, rng: np.random.Generator, others: Sequence[bytes]) -> bytes:
    """The beginning of one file, and the end of another."""
    other = others[rng.integers(len(others))]
    return bytes(content[: rng.integers(len(content))]) + other[rng.integers(len(other)) :]


def extreme(content: bytearray, rng: np.random.Generator, others: Sequence[bytes]) -> bytes:
    """A number of the header is as large or as small as it can be."""
    value = EXTREMES[rng.integers(len(EXTREMES))]
    form = ("<H", ">H", "<I", ">I", "B")[rng.integers(5)]
    at = int(rng.choice(_fields(bytes(content))))
    size = struct.calcsize(form)
    if at + size <= len(content):
        struct.pack_into(form, content, at, value & ((1 << 8 * size) - 1))
    return bytes(content)


MUTATIONS: tuple[Mutation, ...] = (flip, cut, drop, repeat, overwrite, swap, splice, extreme, extreme)


def _fields(content: bytes) -> list[int]:
    """Where numbers of the header stand: sizes above all, else anything in its first bytes."""
    if content.startswith(b"\x89PNG"):
        return [16, 18, 20, 22, 24, 25, 28]
    if content.startswith(b"\xff\xd8"):
        frame = next((at for at in (content.find(bytes((0xFF, kind))) for kind in (0xC0, 0xC1, 0xC2)) if at > 0), 4)
        return [*range(frame + 4, frame + 16)]
    if content.startswith(b"GIF"):
        return [6, 8, 10, *(at + offset for at in (content.find(b"\x2c"),) if at > 0 for offset in (1, 3, 5, 7, 9))]
    if content.startswith(b"RIFF"):
        return [4, 16, 20, 21, 24, 26, 27, 28]
    return [*range(min(len(content), 80))]


def _chunks(content: bytes) -> Iterator[bytes]:
    position = 8
    while position + 8 <= len(content):
        (length,) = struct.unpack_from(">I", content, position)
        yield content[position : position + 12 + length]
        position += 12 + length


def with_checksums(content: bytes) -> bytes:
    """A PNG whose chunks' checksums are right, so that decoders read what is wrong."""
    whole = [
        chunk[:-4] + struct.pack(">I", zlib.crc32(chunk[4:-4])) if len(chunk) >= 12 else chunk
        for chunk in _chunks(content)
    ]
    return content[:8] + b"".join(whole)
