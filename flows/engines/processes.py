"""Processes of this machine, each given one chunk after the other over a pipe.

They are started as programs of their own, never forked: a fork after TensorFlow has worked hangs. Nor by
`multiprocessing`, whose workers run the user's script once more, and whose pool is lost with one worker that dies.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, Pipe
from typing import Any

from nhwc.flows.child import import_path, program
from nhwc.flows.engines.protocol import TRIES, see_shards
from nhwc.flows.hashing import Advance
from nhwc.flows.parallel import THREADS, kept_promises
from nhwc.flows.shards import Chunk, MadeShard, Workshop
from nhwc.validators.errors import MachineError


class Worker:
    """One worker process. Its program is `nhwc.flows.worker`."""

    def __init__(self) -> None:
        ours, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                program("nhwc.flows.worker", theirs.fileno(), os.getpid()),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=os.environ | import_path(),
            )
        self._connection: Connection[Any, Any] = ours

    def make(self, chunk: Chunk, workshop: Workshop) -> MadeShard:
        """The chunk's shard. Raises EOFError or OSError where the process died, and what the work raised."""
        self._connection.send((chunk, workshop))
        made = self._connection.recv()
        if isinstance(made, BaseException):
            raise made
        assert isinstance(made, MadeShard)
        return made

    def kill(self) -> int:
        """Its exit status. What it was writing is left unfinished, under a name that nobody reads."""
        self._process.kill()
        return self._process.wait()

    def close(self) -> None:
        """Close the pipe to it, in the thread that reads from it."""
        self._connection.close()


@dataclass(frozen=True, kw_only=True)
class Processes:
    """Makes shards by so many processes."""

    workers: int
    most_steps: int = 1

    def make(self, chunks: Sequence[Chunk], workshop: Workshop, advance: Advance) -> list[MadeShard]:
        """As every engine. An interrupt kills the workers, and is raised then."""
        workshop = replace(workshop, threads=max(1, THREADS // self.workers))
        staff, made = _Staff(), list[MadeShard]()
        with ThreadPoolExecutor(min(self.workers, len(chunks))) as pool:
            try:
                promises = [pool.submit(staff.make, chunk, workshop) for chunk in chunks]
                for chunk, one in zip(chunks, kept_promises(promises), strict=True):
                    made.append(one)
                    advance(len(chunk.samples))
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
                staff.dismiss()
        see_shards(made, workshop)
        return made


class _Staff:
    """Worker processes, each belonging to a thread that waits for it."""

    def __init__(self) -> None:
        self._alive: dict[int, Worker] = {}  # by thread
        self._lock = threading.Lock()
        self._dismissed = False

    def make(self, chunk: Chunk, workshop: Workshop) -> MadeShard:
        """By this thread's own worker, or a new one where that died."""
        for attempt in itertools.count(1):
            worker = self._own()
            try:
                return worker.make(chunk, workshop)
            except (EOFError, ConnectionError):
                status = self._bury(worker)
                if self._dismissed or attempt == TRIES:
                    raise MachineError(_died(chunk, attempt, status)) from None
        raise AssertionError  # count has no end

    def _own(self) -> Worker:
        with self._lock:
            if self._dismissed:
                raise MachineError("the run has ended")
            if (worker := self._alive.get(threading.get_ident())) is None:
                worker = self._alive[threading.get_ident()] = Worker()
            return worker

    def _bury(self, worker: Worker) -> int:
        """The exit status of one that died."""
        with self._lock:
            self._alive.pop(threading.get_ident(), None)
        status = worker.kill()
        worker.close()
        return status

    def dismiss(self) -> None:
        """Kill all; whoever waits for one is told that it died."""
        with self._lock:
            self._dismissed = True
            workers, self._alive = list(self._alive.values()), {}
        for worker in workers:
            worker.kill()


def _died(chunk: Chunk, attempts: int, status: int) -> str:
    first, last = chunk.samples[0].entry.path, chunk.samples[-1].entry.path
    found = f"found {attempts} worker processes dead, the last with status {status}"
    return f"{found}, over the files from {first} to {last}: was memory short? use fewer --workers"
