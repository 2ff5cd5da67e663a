"""Bottleneck: where the time of batches goes, and what would save most of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

STAGES = ("read", "decode", "check", "cast", "batch", "hand-over")
"""What is done for a batch, in order: `hand-over` is all the rest, in tf.data and up to the consumer."""

LITTLE_WAIT = 0.05
"""Of the training's time: so little is not worth a change."""

ENOUGH = 0.9
"""Of a step: what a batch may take on average for more of them in reserve to be all that is needed. A batch that takes
longer leaves no time to fill the reserve."""

FROM_STORAGE = 0.1
"""Of the bytes read: when so many or more came from storage, it is storage that reading waits for."""

EVEN = 0.5
"""Of the mean wait: a median above it says that every batch is waited for, and not some for long."""

MEMORY_SPEED = 200 * 2**20
"""Bytes a second. Pages that lie in memory are read, and copied, faster than this. What is read more slowly comes from
storage, though the system may not say so: it counts for disks, not for every file system."""


@dataclass(frozen=True, kw_only=True)
class StageTime:
    """Of one stage, in milliseconds a batch.

    Args:
        work: threads' time, all threads together.
        waited: of the consumer's waiting, what passed while this was being done.
    """

    work: float
    waited: float


@dataclass(frozen=True, kw_only=True)
class Waits:
    """How long a consumer waited for each batch.

    Args:
        batches: how many it took.
        samples: in them.
        seconds: in all, its own steps included.
        mean_ms, median_ms, p95_ms, longest_ms: of the waits, milliseconds.
    """

    batches: int
    samples: int
    seconds: float
    mean_ms: float
    median_ms: float
    p95_ms: float
    longest_ms: float

    @property
    def share(self) -> float:
        """Of the time, what was waited: [0, 1]."""
        return min(1.0, self.mean_ms * self.batches / (self.seconds * 1000))


@dataclass(frozen=True, kw_only=True)
class Bottleneck:
    """What a run of `nhwc bench` measured.

    Args:
        stages: of each of STAGES, while batches were taken as fast as they come; what was waited for adds up to
            `free.mean_ms`.
        free: the waits of that run.
        step_ms: what a training step takes.
        paced: the waits of a run with such steps; None where no step was given.
        batch_bytes: of a batch in the shards.
        storage_bytes: that the system says it fetched from storage for a batch.
        channels_first: whether batches are brought into that order, which is part of `batch`.
        whole_epoch: whether a batch holds all samples of an epoch.
    """

    stages: Mapping[str, StageTime]
    free: Waits
    step_ms: float = 0.0
    paced: Waits | None = None
    batch_bytes: float
    storage_bytes: float
    channels_first: bool = False
    whole_epoch: bool = False

    @property
    def slowest(self) -> str:
        """The stage that a consumer waits for most."""
        return max(STAGES, key=lambda stage: self.stages[stage].waited)

    @property
    def limit(self) -> str:
        """What the training waits for: one of STAGES; `memory` where that is all that a stage waits for; `bursts` where
        batches come fast enough but not evenly; `step` where it hardly waits at all.
        """
        if self.paced is not None:
            if self.paced.share < LITTLE_WAIT:
                return "step"
            if self.free.mean_ms <= ENOUGH * self.step_ms:
                return "bursts" if self.paced.median_ms < EVEN * self.paced.mean_ms else "hand-over"
        copied = self._rate("batch") >= MEMORY_SPEED and not self.channels_first
        in_memory = {"read": not self.from_storage, "batch": copied}
        return "memory" if in_memory.get(self.slowest) else self.slowest

    @property
    def from_storage(self) -> bool:
        """Whether the shards were read from storage, and not from the system's memory."""
        return self._rate("read") < MEMORY_SPEED or self.storage_bytes >= FROM_STORAGE * self.batch_bytes

    def _rate(self, stage: str) -> float:
        """Bytes of the shards a second that one thread at that stage gets through."""
        return self.batch_bytes / max(self.stages[stage].work / 1000, 1e-9)

    @property
    def read_megabytes(self) -> float:
        """That one thread reads a second."""
        return self._rate("read") / 1e6

    @property
    def reserve(self) -> int:
        """Batches in reserve that outlast the longest wait; at least 2."""
        longest = 0.0 if self.paced is None else self.paced.longest_ms
        return max(2, math.ceil(longest / max(self.step_ms, 1e-3)) + 2)


def advice(found: Bottleneck) -> str:
    """One line: what to change, or that nothing need be."""
    most = f"{found.stages[found.slowest].waited / max(found.free.mean_ms, 1e-9):.0%} of the time a batch takes"
    match found.limit:
        case "step":
            said = "nothing to change: the step is what takes the time, and batches are there when it asks"
        case "bursts":
            said = (
                "more prefetch: batches come fast enough but not evenly: "
                f"nhwc.load(...).repeat().prefetch({found.reserve}) outlasts the longest wait"
            )
        case "memory":
            said = f"nothing to change: the shards lie in memory, and to fetch images from there is {most}"
        case "read":
            said = f"storage too slow: to read is {most}, {found.read_megabytes:,.0f} MB/s a thread: use a faster disk"
        case "decode":
            said = f"raw instead of encoded: to decode is {most}: ingest with image.storage: pixels"
        case "check":
            said = f"store uint8: to look at every value is {most}, and uint8 in [0, 255] needs no look"
        case "cast":
            said = f"cast on the device: to cast here is {most}: load without scale and dtype, and cast in the model"
        case "batch" if found.channels_first:
            said = f"channels last: to put batches together is {most}, and channels_first moves every value"
        case "batch" | "hand-over" if found.whole_epoch:
            said = "nothing to change: a batch holds the whole epoch, and to begin one is what takes the time"
        case "batch":
            said = f"larger batches: to put them together is {most}, and some of that is paid once a batch"
        case _:
            said = "larger batches: to hand one over is most of the waiting, and is paid once a batch"
    return said
