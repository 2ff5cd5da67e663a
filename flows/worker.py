"""A worker process: makes the shards that it is told to over a pipe, and never outlives who told it.

    python -m nhwc.flows.worker DESCRIPTOR PARENT

It loads pickled chunks, from the process that started it and from nowhere else.
"""

from __future__ import annotations

import signal
import sys
from multiprocessing.connection import Connection
from typing import Any

from nhwc.flows.child import die_with
from nhwc.flows.native_stderr import silenced_native_stderr


def main() -> None:
    """Answer each (Chunk, Workshop) with a MadeShard, or with what went wrong, until the other end is closed."""
    descriptor, parent = map(int, sys.argv[1:])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all of a terminal's processes; the parent ends us
    die_with(parent)
    with silenced_native_stderr():  # TensorFlow writes lines when it is imported
        from nhwc.flows.engines.protocol import make_apart  # noqa: PLC0415
    connection: Connection[Any, Any] = Connection(descriptor)
    with connection:
        while True:
            try:
                chunk, workshop = connection.recv()
            except EOFError:
                return
            try:
                made: object = make_apart(chunk, workshop)
            except Exception as error:  # raised again at the other end
                made = error
            connection.send(made)


if __name__ == "__main__":
    main()
