"""Batch: which samples each step of which epoch holds, and what a batch of them is."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np

from nhwc.pipelines.cast import SCALES, ChannelStatistics, New, cast_contract
from nhwc.validators.argument import named, wrong_flag, wrong_number
from nhwc.validators.contract import TensorContract

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """What is asked of the batches; `load` says what each means."""

    split: str = "train"
    batch_size: int = 32
    shuffle: bool = False
    seed: int = 0
    dtype: str | None = None
    scale: str = "none"
    channels_first: bool = False
    drop_remainder: bool = False
    shard: tuple[int, int] = (0, 1)
    start_batch: int = 0
    with_ids: bool = False

    def __post_init__(self) -> None:
        """NumPy's whole numbers are whole numbers."""
        for name in ("batch_size", "seed", "start_batch"):
            object.__setattr__(self, name, _plain(getattr(self, name)))
        if isinstance(self.shard, tuple | list):
            object.__setattr__(self, "shard", tuple(map(_plain, self.shard)))

    def problems(self) -> list[str]:
        """Everything that is wrong with them whatever the version, a line each."""
        problems = named(
            batch_size=wrong_number(self.batch_size, least=1),
            seed=wrong_number(self.seed, least=0),
            start_batch=wrong_number(self.start_batch, least=0),
            shuffle=wrong_flag(self.shuffle),
            channels_first=wrong_flag(self.channels_first),
            drop_remainder=wrong_flag(self.drop_remainder),
            with_ids=wrong_flag(self.with_ids),
        )
        if not (
            _is_pair(self.shard)
            and wrong_number(self.shard[1], least=1) is None
            and wrong_number(self.shard[0], least=0) is None
            and self.shard[0] < self.shard[1]
        ):
            problems.append(f"shard: found {self.shard!r}, expected (index, count) with 0 <= index < count")
        if self.scale not in SCALES:
            problems.append(f"scale: found {self.scale!r}, expected one of {', '.join(SCALES)}")
        if not isinstance(self.split, str):
            problems.append(f"split: found {self.split!r}, expected a split's name, several joined by +, or all")
        return problems


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, np.integer) else value


def _is_pair(value: object) -> bool:
    return isinstance(value, (tuple, list)) and len(value) == 2


def batch_contract(image: TensorContract, *, samples: int | None, channels_first: bool = False) -> TensorContract:
    """What a batch of such images is.

    Args:
        image: of one image after the cast: axes rows, cols, channels.
        samples: images a batch; None where the last batch may be smaller.
        channels_first: axes samples, channels, rows, cols instead of samples, rows, cols, channels.
    """
    if channels_first:
        image = replace(image, axes=tuple(image.axis(name) for name in ("channels", "rows", "cols")))
    return image.batched(samples)


def contracts(
    stored: TensorContract,
    options: BatchOptions,
    *,
    samples: int | None,
    statistics: ChannelStatistics | None = None,
) -> dict[str, TensorContract]:
    """The contract of each stage from the shard to the model, by the stage's name: load, cast, batch.

    Args:
        stored: of a stored image; nothing need be stored yet.
        options: scale, dtype and channels_first count.
        samples: images a batch; None where the last batch may be smaller.
        statistics: of the channels, for scale `standard`: without it that scale's range is left open.
    """
    cast = cast_contract(stored, scale=options.scale, dtype=options.dtype, statistics=statistics)
    batch = batch_contract(cast, samples=samples, channels_first=options.channels_first)
    return {"load": stored, "cast": cast, "batch": batch}


def put_channels_first(images: Array, new: New) -> Array:
    """(samples, rows, cols, channels) to (samples, channels, rows, cols), C-contiguous, of the same dtype and values.

    `new` makes the array that they go into.
    """
    moved = images.transpose(0, 3, 1, 2)
    into = new(moved.shape, images.dtype.name)
    np.copyto(into, moved)
    return into


@dataclass(frozen=True, kw_only=True)
class Dealing:
    """How an epoch's samples are dealt into steps, and each step's among the shards of one training job.

    Args:
        samples: how many there are in an epoch, for all shards together.
        batch_size: images a step for each shard.
        shard: (index, count): this shard, and how many there are.
        drop_remainder: only whole batches; the samples left over wait for another epoch's order.

    Every shard has the same number of steps; in each step no two shards have a sample in common, and over an epoch all
    have every sample once (but for those dropped). Without `drop_remainder` the last step's samples are dealt as evenly
    as they can be; if they are fewer than the shards, it begins earlier, at the cost of the step before.
    """

    samples: int
    batch_size: int
    shard: tuple[int, int] = (0, 1)
    drop_remainder: bool = False

    @property
    def _together(self) -> int:
        """Images a step for all shards."""
        return self.batch_size * self.shard[1]

    @property
    def steps(self) -> int:
        """Batches an epoch, the same for every shard."""
        return self.samples // self._together if self.drop_remainder else -(-self.samples // self._together)

    @property
    def static_size(self) -> int | None:
        """Images a batch, or None where they are not the same in all."""
        return self.batch_size if self.drop_remainder or self.samples % self._together == 0 else None

    def problems(self) -> list[str]:
        """Why the samples cannot be dealt so that every shard has one in each step; empty if they can."""
        count = self.shard[1]
        if self.steps == 0:
            fewer = f"batch_size {self.batch_size}" + (f" times {count} shards" if count > 1 else "")
            return [f"drop_remainder: found {self.samples} samples, expected at least {self._together} ({fewer})"]
        if not self.drop_remainder and self.samples < count:
            return [f"shard: found {self.samples} samples, expected at least one for each of {count} shards"]
        if not self.drop_remainder and self.batch_size == 1 and self.samples % count:
            left = f"{self.samples} samples leave some of {count} shards without one in the last step"
            return [f"batch_size: found 1, with which {left}: set drop_remainder=True, or a batch_size of at least 2"]
        return []

    def positions(self, step: int) -> range:
        """Which samples this shard has in a step, from 0 to steps - 1: consecutive positions in the epoch's order."""
        index, count = self.shard
        end = self.steps * self._together if self.drop_remainder else self.samples
        last_begins = min((self.steps - 1) * self._together, end - count)
        begins = min(step * self._together, last_begins)
        ends = min((step + 1) * self._together, last_begins) if step < self.steps - 1 else end
        size = ends - begins
        return range(begins + size * index // count, begins + size * (index + 1) // count)

    def sizes(self, step: int = 0) -> Array:
        """How many samples this shard has in each step from that one to the last: int64[steps - step]."""
        sizes = np.full(self.steps, self.batch_size, np.int64)
        for last in range(max(0, self.steps - 2), self.steps):  # the others are whole
            sizes[last] = len(self.positions(last))
        return sizes[step:]


_ORDERS = 4
"""Epochs whose orders are held: of the end of one and the beginning of the next, and a few of other iterators."""


class Epochs:
    """Which epoch comes next, and its order.

    Args:
        samples: in an epoch.
        steps: batches an epoch.
        options: shuffle, seed and start_batch count.
    """

    def __init__(self, samples: int, steps: int, options: BatchOptions) -> None:
        self._steps, self._next = steps, options.start_batch
        self._lock, self._making = threading.Lock(), threading.Lock()
        self._order = lru_cache(maxsize=_ORDERS)(partial(_order, samples, options))

    def hand_out(self) -> int:
        """Where the next iteration starts, as a batch's number counted from the start of training."""
        with self._lock:
            start, self._next = self._next, self.end(self._next)
        return start

    def go_on(self, start: int) -> None:
        """An iteration that started there goes on, perhaps from a checkpoint of another process: what is next comes
        after its epoch.
        """
        with self._lock:
            self._next = max(self._next, self.end(start))

    def end(self, start: int) -> int:
        """The first batch of the epoch after the one that this batch is in."""
        return (start // self._steps + 1) * self._steps

    def order(self, epoch: int) -> Array:
        """Of an epoch by its number: the samples, int64[samples]."""
        with self._making:  # once, whoever asks first
            return self._order(epoch)


def _order(samples: int, options: BatchOptions, epoch: int) -> Array:
    return epoch_order(samples, options.seed, epoch) if options.shuffle else np.arange(samples)


def epoch_order(samples: int, seed: int, epoch: int) -> Array:
    """The order of all samples in an epoch, a pure function of its arguments: int64[samples], each position once.

    Not `tf.random.experimental.index_shuffle`: below 65,536 samples it looks at the lowest 8 bits of each seed only, so
    epochs 256 apart, and seeds 256 apart, would come in the same order. RandomState, since NumPy never changes the
    numbers that it gives (NEP 19), by which a training resumes after an upgrade too.
    """
    words = [seed & 0xFFFFFFFF, seed >> 32, epoch & 0xFFFFFFFF, epoch >> 32]
    return np.random.RandomState(words).permutation(samples).astype(np.int64, copy=False)
