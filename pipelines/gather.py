"""Gather: images of any samples out of the mapped shards, each byte read once, and cast while it is at hand."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from nhwc.pipelines.cast import New
from nhwc.pipelines.image_recipe import ImageRecipe
from nhwc.pipelines.opened import OpenedShards
from nhwc.pipelines.stopwatch import Stopwatch, timed
from nhwc.pipelines.store import Images, Shard
from nhwc.validators.contract import TensorContract

Array = np.ndarray[Any, Any]
Write = Callable[[Array, Array, Array, Array], None]
"""From (images, rows, into, places): images and into (samples, rows, cols, channels), each of its dtype, rows of images
and places of into int64[n]."""

_PAGE = mmap.PAGESIZE

_ONE = np.zeros(1, np.int64)


class Gather:
    """Images out of the mapped shards, each of which is opened when first needed.

    Args:
        shards: their paths.
        samples: sample_id, shard (a place in shards) and row of each sample.
        contract: of a stored image, fully determined.
        new: makes the arrays that the images go into.
        dtype: what they become there.
        write: how; None where they stay as they are stored.
        decoding: the recipe by which shards of files are decoded; None for shards of pixels.
        stopwatch: which notes what of it is to read and what to decode.
        bring: has a shard brought to its path, where it may not be there yet.

    Safe to call from several threads: the copies let other threads run.
    """

    def __init__(  # noqa: PLR0913  each is one fact of the road from shard to batch
        self,
        shards: Sequence[Path],
        samples: pl.DataFrame,
        contract: TensorContract,
        *,
        new: New,
        dtype: str,
        write: Write | None,
        decoding: ImageRecipe | None = None,
        stopwatch: Stopwatch | None = None,
        bring: Callable[[Path], object] | None = None,
    ) -> None:
        from nhwc.pipelines.loops import write_copies  # noqa: PLC0415  numba, which contracts are printed without

        self._contract, self._new = contract, new
        self._dtype, self._write = dtype, write or write_copies
        if decoding is not None:
            self._write = timed(stopwatch, "decode", partial(_decode, self._write))
        self._read = None if stopwatch is None else timed(stopwatch, "read", _read)
        self._stopwatch = stopwatch
        self._shard, self._row = samples["shard"].to_numpy(), samples["row"].to_numpy()
        self._opened = OpenedShards(shards, samples, contract, decoding=decoding, bring=bring)

    def __call__(self, indices: Array) -> Array:
        """The images of the samples at int64[samples] indices: (samples, rows, cols, channels)."""
        numbers, rows = self._shard[indices], self._row[indices]
        images = self._new((len(indices), *self._contract.sizes), self._dtype)
        for number in np.unique(numbers):  # a shard's at once, wherever in the batch they are
            places = np.flatnonzero(numbers == number)
            stored: Any = self._shard_of(int(number)).images
            if self._read is not None:
                self._read(stored, rows[places])
            self._write(stored, rows[places], images, places)
        return images

    def _shard_of(self, number: int) -> Shard:
        if number in self._opened:
            return self._opened[number]
        return timed(self._stopwatch, "read", self._opened.__getitem__)(number)


def _read(images: Any, rows: Array) -> None:
    """Have every page of these rows read from storage, of an array or of EncodedImages."""
    if not isinstance(images, np.ndarray):
        images.touch(rows)
        return
    pixels = images.reshape(len(images), -1).view(np.uint8)
    np.add.reduce(pixels[:, ::_PAGE][rows], axis=None)
    np.add.reduce(pixels[rows, -1])


def _decode(write: Write, images: Images, rows: Array, into: Array, places: Array) -> None:
    """The same of files, image by image."""
    for row, place in zip(rows.tolist(), places.tolist(), strict=True):
        write(images[row][np.newaxis], _ONE, into[place][np.newaxis], _ONE)
