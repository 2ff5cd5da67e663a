"""A Dask cluster: one that runs already, or one of this machine's processes."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import distributed

from nhwc.flows.engines.protocol import TRIES, make_apart, see_shards
from nhwc.flows.hashing import Advance
from nhwc.flows.parallel import kept_promises
from nhwc.flows.shards import Chunk, MadeShard, Workshop
from nhwc.validators.errors import MachineError


@dataclass(frozen=True, kw_only=True)
class Dask:
    """Makes shards by the scheduler at the address, or by so many processes of this machine."""

    workers: int
    address: str | None
    most_steps: int = 1

    def make(self, chunks: Sequence[Chunk], workshop: Workshop, advance: Advance) -> list[MadeShard]:
        """As every engine. Raises MachineError also where the scheduler cannot be reached."""
        workshop, made = replace(workshop, threads=1), list[MadeShard]()
        with self._client() as client:
            promises = [client.submit(make_apart, chunk, workshop, pure=False) for chunk in chunks]
            try:
                for chunk, one in zip(chunks, kept_promises(promises), strict=True):
                    made.append(one)
                    advance(len(chunk.samples))
            except distributed.KilledWorker as error:
                raise MachineError(f"dask: {error}: was memory short? use fewer workers") from error
            finally:
                client.cancel(promises)
        see_shards(made, workshop)
        return made

    @contextmanager
    def _client(self) -> Iterator[Any]:
        with ExitStack() as opened:
            address = self.address or opened.enter_context(_local(self.workers))
            try:
                client = opened.enter_context(_connected(address))
            except (OSError, TimeoutError, ValueError) as error:
                raise MachineError(f"dask: no scheduler answers at {address}: {error}") from error
            yield client


def _connected(address: str) -> Any:
    return distributed.Client(address, timeout=10, set_as_default=False)


@contextmanager
def _local(workers: int) -> Iterator[str]:
    """The address of a cluster of so many processes of this machine."""
    import dask  # noqa: PLC0415

    with dask.config.set({"distributed.scheduler.allowed-failures": TRIES - 1}), _started(workers) as cluster:
        yield cluster.scheduler_address


def _started(workers: int) -> Any:
    """The cluster. One whose worker dies while it starts does not come up, and is started anew."""
    for attempt in itertools.count(1):
        try:
            return distributed.LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address=None,
                silence_logs=logging.CRITICAL,
            )
        except RuntimeError as error:
            if attempt == TRIES:
                raise MachineError(f"dask: its workers do not start: {error}: was memory short?") from error
    raise AssertionError  # count has no end
