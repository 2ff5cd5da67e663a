"""Data source: a published version by index, for what makes its own batches: PyTorch, Grain, a loop over NumPy arrays.

    index -> sample -> its image from the mapped shard, cast on the way -> (image, label)

Planned and checked as `load` is, and without TensorFlow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np

from nhwc.pipelines.batch import BatchOptions
from nhwc.pipelines.finish import finished
from nhwc.pipelines.memory import Memory
from nhwc.pipelines.plan import Plan, dtype_name, planned
from nhwc.validators.contract import TensorContract

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

Array = np.ndarray[Any, Any]
Indices = Sequence[int] | Array

KEPT_BATCHES = 2
"""Batches whose memory waits to be used again: one that is being read, and one that its consumer copies."""


def data_source(
    dataset: str | Path,
    *,
    split: str = "train",
    dtype: DTypeLike | None = None,
    scale: str = "none",
    channels_first: bool = False,
    with_ids: bool = False,
) -> DataSource:
    """A published version's samples by index: what `torch.utils.data.DataLoader` and `grain.MapDataset.source` take.

    Args:
        dataset, split, scale: as for `load`.
        dtype: as for `load`; a dtype of PyTorch does too. PyTorch makes no tensors of NumPy's bfloat16: take another,
            and cast on the device.
        channels_first: images (channels, rows, cols), as PyTorch's layers take them.
        with_ids: a third component: the sample's id in the manifest.

    Returns:
        A sequence of the split's samples, in the order of `load` without `shuffle`. See DataSource.

    Raises:
        RecipeError: wrong arguments, all at once, or no such version.
        DataError: shards that the manifest names are missing.
        MachineError: a store cannot be reached.

    TensorFlow is not imported, but where a version keeps PNG or CMYK files (`storage: encoded`), which it decodes.
    """
    options = BatchOptions(
        split=split, dtype=dtype_name(dtype), scale=scale, channels_first=channels_first, with_ids=with_ids
    )
    return DataSource(planned(dataset, options, face="nhwc.data_source"))


class DataSource:
    """Samples of a published version, by index: `len(source)` and

        source[3]            -> (image, label)      dtype[rows, cols, channels], int
        source[[3, -1, 3]]   -> (images, labels)    dtype[samples, rows, cols, channels], int64[samples]

    and with ids a third component: text, or text[samples]. With `channels_first` channels come before rows.

    Every array is the caller's own and may be written into. A view of the mapped shard would spare a copy of each
    image, but PyTorch warns of arrays that are read-only, and a tensor made of one that is written into nevertheless
    ends the process. To read many at once, as in the second line, is fastest: they are copied once, into their batch,
    whose memory is used again once no array of it is left; two such blocks of the largest batch wait meanwhile.

    Stored values that the dtype could hold and the contract forbids (those of float images) are looked at: DataError
    names each sample that breaks it. So it does a shard that is missing, damaged or another than was published.

    It may be used by several threads, and pickled: another process then opens the same version, and its shards itself.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._memory = Memory(size=0, kept=0)
        self._gather = plan.gather(self._new)
        self._labels = plan.labels
        self._ids = plan.samples["sample_id"].to_arrow()

    @property
    def contract(self) -> TensorContract:
        """What every image is."""
        batch = self._plan.contracts["batch"]
        return replace(batch, axes=batch.axes[1:])

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: SupportsIndex | Indices) -> tuple[Any, ...]:
        """One sample, or several as a batch. Raises IndexError where there is none, TypeError for what is no index."""
        places = self._places(index)
        if places.ndim == 1:
            sample: tuple[Any, ...] = (self._images(places), self._labels[places])
            return (*sample, np.array(self._names(places))) if self._plan.options.with_ids else sample
        return self.__getitems__(places.reshape(1))[0]

    def __getitems__(self, indices: Indices) -> list[tuple[Any, ...]]:
        """The same samples one by one, read together: by this PyTorch fetches what it makes a batch of."""
        places = self._places(indices)
        parts: list[Any] = [self._images(places), self._labels[places].tolist()]
        if self._plan.options.with_ids:
            parts.append(self._names(places))
        return list(zip(*parts, strict=True))

    def _places(self, index: SupportsIndex | Indices) -> Array:
        """int64[] or int64[samples], counted from the first."""
        places = np.asarray(index)
        if places.dtype.kind not in "iu" or places.ndim > 1:
            found = f"a list of {places.size}" if places.size == 0 else repr(index)
            raise TypeError(f"index: found {found}, expected a whole number or some of them")
        places = places.astype(np.int64)  # of fewer bits, it could not hold how many there are
        outside = places[(places < -len(self)) | (places >= len(self))]
        if outside.size:
            raise IndexError(f"index: found {outside.flat[0]}, expected one from {-len(self)} to {len(self) - 1}")
        return np.where(places < 0, places + len(self), places)

    def _images(self, places: Array) -> Array:
        """Each held against its contract, cast, and its axes in the order that was asked for."""
        return finished(self._plan, self._gather(places), partial(self._names, places), new=self._new)

    def _new(self, shape: tuple[int, ...], dtype: str) -> Array:
        """Memory for so many images: for several, that of some which nothing looks at any more."""
        if shape[0] == 1:
            return np.empty(shape, dtype)
        memory, size = self._memory, int(np.prod(shape)) * np.dtype(dtype).itemsize
        if size > memory.size:
            memory = self._memory = Memory(size=size, kept=KEPT_BATCHES)
        return memory.array(shape, dtype)

    def _names(self, places: Array) -> list[str]:
        return [self._ids[place].as_py() for place in places.tolist()]

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened_again, (self._plan.place, self._plan.options)

    def __repr__(self) -> str:
        options = self._plan.options
        names = ("split", "dtype", "scale", "channels_first", "with_ids")
        said = [f"{name}={getattr(options, name)!r}" for name in names]
        return f"nhwc.data_source({', '.join([repr(self._plan.place), *said])})"


def _opened_again(place: str, options: BatchOptions) -> DataSource:
    return DataSource(planned(place, options, face="nhwc.data_source"))
