"""What an engine owes, and what all that work in other processes have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from nhwc.flows.hashing import Advance
from nhwc.flows.shards import Chunk, MadeShard, Workshop, make_shard
from nhwc.validators.errors import MachineError

EngineName = Literal["threads", "processes", "dask", "ray"]

TRIES = 3
"""How often a chunk is given to a worker that dies of it before the run gives up."""


class Engine(Protocol):
    """Makes shards."""

    @property
    def most_steps(self) -> int:
        """In how many steps of a run its work may be told apart: each costs the engine or Prefect something."""
        ...

    def make(self, chunks: Sequence[Chunk], workshop: Workshop, advance: Advance) -> list[MadeShard]:
        """The shard of each chunk, in the chunks' order. What exists is not made again.

        Raises MachineError where a machine or its workers fail, and what a chunk's work raised.
        """
        ...


def make_apart(chunk: Chunk, workshop: Workshop) -> MadeShard:
    """One chunk's shard, written before this returns: the work of a worker process."""
    return make_shard(chunk, workshop, advance=_unseen)


def see_shards(made: Sequence[MadeShard], workshop: Workshop) -> None:
    """Raises MachineError where a worker wrote a shard that is not to be seen here."""
    for one in made:
        for name in one.rows["shard"].drop_nulls().unique():
            if not any((folder / f"{name}.arrow").is_file() for folder in (workshop.staging, workshop.shards)):
                raise MachineError(
                    f"{workshop.staging}: found no {name}.arrow, which a worker wrote, expected it here: "
                    "the dataset's folder must be on storage that all workers share, at the same path"
                )


def _unseen(more: int) -> None:
    """Progress inside a chunk does not leave its worker."""
