"""Gather: images of any samples out of the mapped shards, each byte read once, and cast while it is at hand."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from nhwc.pipelines.image_recipe import ImageRecipe
from nhwc.pipelines.opened import OpenedShards, is_run
from nhwc.pipelines.stopwatch import Stopwatch, timed
from nhwc.pipelines.store import Images, Shard
from nhwc.validators.contract import TensorContract

Array = np.ndarray[Any, Any]
Write = Callable[[Array, Array, Array, Array], None]
"""From (images, rows, into, places): images and into (samples, rows, cols, channels), each of its dtype, rows of images
and places of into int64[n]."""
New = Callable[[tuple[int, ...], str], Array]
"""From (shape, dtype): an array to be written into, C-contiguous, whatever it holds."""

_LARGE_IMAGE = 16 * 2**10
"""Bytes. To copy so much takes longer than to ask for the copy."""

_PAGE = mmap.PAGESIZE

_ONE = np.zeros(1, np.int64)

_FEW_STRETCHES = 16
"""Changes of shard among the images asked for that are not worth sorting for."""


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
        self._paths, self._contract, self._new = shards, contract, new
        self._dtype, self._write, self._decoding = dtype, write, decoding
        self._read = None if stopwatch is None else timed(stopwatch, "read", _read)
        self._decode = timed(stopwatch, "decode", partial(_decode, write))
        self._stopwatch = stopwatch
        self._shard, self._row = samples["shard"].to_numpy(), samples["row"].to_numpy()
        self._opened = OpenedShards(shards, samples, contract, decoding=decoding, bring=bring)

    def __call__(self, indices: Array) -> Array:
        """The images of the samples at int64[samples] indices: (samples, rows, cols, channels)."""
        numbers, rows = self._shard[indices], self._row[indices]
        images = self._new((len(indices), *self._contract.sizes), self._dtype)
        if self._decoding is not None:
            self._each_stretch(numbers, rows, images, self._decode)
        elif self._write is not None:
            self._each_shard(numbers, rows, images, self._write)
        elif images[0].nbytes >= _LARGE_IMAGE:
            self._each_stretch(numbers, rows, images, _copy)
        else:
            self._small_images(numbers, rows, images)
        return images

    def _each_shard(self, numbers: Array, rows: Array, into: Array, write: Write) -> None:
        """Write the samples of each shard at once, wherever in the batch they are."""
        for number in np.unique(numbers):
            places = np.flatnonzero(numbers == number)
            images: Any = self._shard_of(int(number)).images
            if self._read is not None:
                self._read(images, rows[places])
            write(images, rows[places], into, places)

    def _small_images(self, numbers: Array, rows: Array, into: Array) -> None:
        if np.count_nonzero(np.diff(numbers)) < _FEW_STRETCHES:
            self._each_stretch(numbers, rows, into, _copy)
        else:  # from many shards: a copy a shard, and one more of the whole, beats a copy a stretch
            by_shard = np.argsort(numbers, kind="stable")
            in_order = np.empty_like(into)
            self._each_stretch(numbers[by_shard], rows[by_shard], in_order, _copy)
            np.take(in_order, np.argsort(by_shard), axis=0, out=into, mode="clip")

    def _each_stretch(
        self, numbers: Array, rows: Array, into: Array, copy: Callable[[Any, Array, Array], None]
    ) -> None:
        """Copy each stretch of samples that lie in one shard, once."""
        cuts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
        for first, after in pairwise(cuts):
            images, stretch = self._shard_of(int(numbers[first])).images, rows[first:after]
            if self._read is not None:
                self._read(images, stretch)
            copy(images, stretch, into[first:after])

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


def _copy(images: Array, rows: Array, into: Array) -> None:
    """Copy rows of a shard into consecutive images of a batch, once."""
    if is_run(rows):
        np.copyto(into, images[rows[0] : rows[-1] + 1])
    else:
        np.take(images, rows, axis=0, out=into, mode="clip")  # the rows are known to exist; `raise` would copy twice


def _decode(write: Write | None, images: Images, rows: Array, into: Array) -> None:
    """The same of files, image by image; how each is written, None where it stays as it is."""
    for row, place in zip(rows.tolist(), into, strict=True):
        if write is None:
            place[...] = images[row]
        else:
            write(images[row][np.newaxis], _ONE, place[np.newaxis], _ONE)
