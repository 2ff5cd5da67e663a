"""Room for what is packed: memory for little, else a file without a name, bounded, and given back at the end."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from nhwc.pipelines.sources.container import damaged
from nhwc.validators.errors import MachineError
from nhwc.validators.violation import Code

MOST_RATIO, UNSUSPICIOUS_BYTES = 200, 1 << 26
"""A blank picture packs a thousandfold and is no bomb: 64 MB, a blank page scanned at 400 dpi, are always let through.
What is larger, and packed to less than a 200th of itself, was made to fill memory."""

PIECE = 1 << 20
_SPARE_BYTES = 1 << 26
"""That are left free on the disk."""


def most_unpacked(packed: int) -> int:
    """How many bytes may come of so many packed ones."""
    return MOST_RATIO * packed + UNSUSPICIOUS_BYTES


def nameless_file() -> BinaryIO:
    """An empty file that nobody else can open, and that is gone when it is closed, or the process ends."""
    return cast(BinaryIO, tempfile.TemporaryFile(buffering=0))


def room() -> int:
    """Bytes that such files may still take."""
    return shutil.disk_usage(tempfile.gettempdir()).free - _SPARE_BYTES


def write(file: BinaryIO, piece: bytes, path: Path) -> None:
    """All of the piece. Raises MachineError, with the path of what is unpacked, where there is no room."""
    left = memoryview(piece)
    try:
        while left:
            left = left[file.write(left) :]
    except OSError as error:
        raise no_room(path, error) from error


def no_room(path: Path, error: OSError | None = None) -> MachineError:
    """That the disk has no room to unpack the file at the path, to be raised."""
    found = error.strerror if error is not None else "no room"
    place = tempfile.gettempdir()
    return MachineError(
        f"{path}: {found} to unpack it in {place}: set TMPDIR to a folder with more, or unpack it yourself"
    )


def see_bound(path: Path, size: int, packed: int) -> None:
    """Raises DataError where so many bytes cannot honestly come of so many packed ones."""
    if size > (most := most_unpacked(packed)):
        expected = f"at most {most:,} bytes out of {packed:,}"
        raise damaged(path, "bytes", expected=expected, found=f"{size:,}", code=Code.PACKED_TOO_WELL)


def unpacked_bytes(stream: Any, size: int, path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """uint8[bytes]: so many bytes of a stream, or fewer where it ends before.

    Raises MachineError where the disk has no room; what the stream raises of damaged bytes is let through.
    """
    if size <= UNSUSPICIOUS_BYTES:
        return np.frombuffer(stream.read(size), np.uint8)
    if size > room():
        raise no_room(path)
    with nameless_file() as file:
        held = 0
        while held < size and (piece := stream.read(min(PIECE, size - held))):
            write(file, piece, path)
            held += len(piece)
        return np.memmap(file, np.uint8, "r") if held else np.empty(0, np.uint8)
