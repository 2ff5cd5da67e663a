"""A Ray cluster: one that runs already, or one of this machine's processes."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import ray as rays

from nhwc.flows.engines.protocol import TRIES, make_apart, see_shards
from nhwc.flows.hashing import Advance
from nhwc.flows.parallel import kept_promises
from nhwc.flows.shards import Chunk, MadeShard, Workshop
from nhwc.validators.errors import MachineError

_AUTHENTICATION = "if it asks for a token, as Ray's clusters do by default, set RAY_AUTH_MODE=token"


@dataclass(frozen=True, kw_only=True)
class Ray:
    """Makes shards by the cluster at the address, by the one that the caller has begun, or by one of this machine."""

    workers: int
    address: str | None
    most_steps: int = 1

    def make(self, chunks: Sequence[Chunk], workshop: Workshop, advance: Advance) -> list[MadeShard]:
        """As every engine. Raises MachineError also where no cluster answers."""
        workshop, made = replace(workshop, threads=1), list[MadeShard]()
        with self._begun():
            task = rays.remote(make_apart).options(num_cpus=1, max_retries=TRIES - 1)
            tasks = [task.remote(chunk, workshop) for chunk in chunks]
            try:
                for chunk, one in zip(chunks, kept_promises([one.future() for one in tasks]), strict=True):
                    made.append(one)
                    advance(len(chunk.samples))
            except rays.exceptions.RayTaskError as error:
                raise error.cause from error
            except rays.exceptions.RayError as error:
                raise MachineError(f"ray: {error}: was memory short? use fewer workers") from error
            finally:
                for one in tasks:
                    rays.cancel(one, force=True)
        see_shards(made, workshop)
        return made

    @contextmanager
    def _begun(self) -> Iterator[None]:
        if rays.is_initialized():
            yield
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would tell its makers of each run
        try:
            rays.init(
                address=self.address or "local",
                num_cpus=None if self.address else self.workers,
                include_dashboard=None if self.address else False,
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            hint = f"; {_AUTHENTICATION}" if self.address and "RAY_AUTH_MODE" not in os.environ else ""
            raise MachineError(f"ray: no cluster answers at {self.address or 'this machine'}: {error}{hint}") from error
        try:
            yield
        finally:
            rays.shutdown()
