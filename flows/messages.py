"""Messages between a process and its child, through a pipe: a JSON object and bytes, each with its length before it.

Nothing that is read can run: no pickle in either direction.
"""

from __future__ import annotations

import json
import struct
from typing import IO, Any

_LENGTHS = struct.Struct("<IQ")

MOST_SAID = 1 << 20
"""Bytes of a message's JSON, at most."""


def write_message(pipe: IO[bytes], said: dict[str, Any], carried: bytes | memoryview = b"") -> None:
    """Send what is said, and the bytes that go with it."""
    text = json.dumps(said).encode()
    pipe.write(_LENGTHS.pack(len(text), len(carried)))
    pipe.write(text)
    pipe.write(carried)
    pipe.flush()


def read_message(pipe: IO[bytes], *, most: int) -> tuple[dict[str, Any], bytes]:
    """What is said, and the bytes that go with it.

    Raises EOFError where the pipe ends before, and ValueError where it is no message, or carries more than `most`.
    """
    said, carried = _LENGTHS.unpack(_exactly(pipe, _LENGTHS.size))
    if said > MOST_SAID or carried > most:
        raise ValueError(f"a message of {said:,} and {carried:,} bytes")
    plain = json.loads(_exactly(pipe, said))
    if not isinstance(plain, dict):
        raise ValueError(f"a message that says {type(plain).__name__}")
    return plain, _exactly(pipe, carried)


def _exactly(pipe: IO[bytes], size: int) -> bytes:
    content = pipe.read(size)
    if len(content) < size:
        raise EOFError
    return content
