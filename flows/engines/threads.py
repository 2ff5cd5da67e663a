"""Threads of this process: one chunk after the other, all cores at work on its samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nhwc.flows.hashing import Advance
from nhwc.flows.parallel import HandOver
from nhwc.flows.shards import Chunk, MadeShard, Workshop, make_shard

MOST_STEPS = 150
"""Prefect pays for each: beyond it, a step makes several shards."""


@dataclass(frozen=True, kw_only=True)
class Threads:
    """Makes a chunk's samples by all cores, and hands over its shard to be written."""

    hand_over: HandOver

    @property
    def most_steps(self) -> int:
        """As every engine."""
        return MOST_STEPS

    def make(self, chunks: Sequence[Chunk], workshop: Workshop, advance: Advance) -> list[MadeShard]:
        """As every engine."""
        return [make_shard(chunk, workshop, advance=advance, hand_over=self.hand_over) for chunk in chunks]
