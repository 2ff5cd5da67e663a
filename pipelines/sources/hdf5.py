"""HDF5 files: stacks of images of one size, or of encoded files, and labels beside them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nhwc.pipelines.npy import Layout
from nhwc.pipelines.sources.container import damaged
from nhwc.pipelines.sources.stacked import Named, StackedSource, Stacks, stacks_of
from nhwc.validators.errors import MachineError

_MOST_RATIO = 1032
"""What deflate packs at most: a dataset that promises more than it stores would be made of nothing."""

_CACHE_BYTES, _CACHE_SLOTS = 32 << 20, 10_007
"""Chunks of a dataset that are held: one reaches through many images, which would unpack it once each."""


@dataclass(frozen=True, kw_only=True)
class Hdf5(StackedSource):
    """The datasets of one file. Nothing is followed out of it: no external link, external or virtual storage.

    Args:
        path: of the file.
        images: the dataset of images, as train/images; None: all whose name says so. Images of one size, or encoded
            files (variable-length uint8).
        labels: that of labels; None: as the images' name has it.
        layout: of each image.
    """

    path: Path
    images: str | None = None
    labels: str | None = None
    layout: Layout = "channels_last"

    @property
    def files(self) -> Sequence[Path]:
        """The file."""
        return [self.path]

    def read(self) -> Stacks:
        """The stacks, each image read when it is asked for."""
        import h5py  # noqa: PLC0415  only such a source needs it

        try:
            self.path.open("rb").close()  # whose error names the file and what the system said of it
            file = h5py.File(self.path, "r", rdcc_nbytes=_CACHE_BYTES, rdcc_nslots=_CACHE_SLOTS)
            found = dict(_datasets(file))
            arrays = Named(found, lambda name: _stored(found[name], name, self.path))
            return stacks_of(arrays, self.path, images=self.images, labels=self.labels)
        except (OSError, RuntimeError, KeyError) as error:  # what libhdf5 says of damaged bytes
            MachineError.see(error, self.path)
            expected, said = "a whole HDF5 file", str(error)[:200]
            raise damaged(self.path, "bytes", expected=expected, found=said, hint="fetch it again") from error


def _datasets(file: Any) -> Iterator[tuple[str, Any]]:
    """(name, dataset) of all that lies in the file itself.

    A group is looked into once, by its shortest name: links may lead back to it from any number of places.
    """
    import h5py  # noqa: PLC0415

    waiting = deque([("", file["/"])])
    seen = {h5py.h5o.get_info(file["/"].id).addr}
    while waiting:
        above, group = waiting.popleft()
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                continue
            item, full = group[name], f"{above}{name}"
            if isinstance(item, h5py.Group) and (address := h5py.h5o.get_info(item.id).addr) not in seen:
                seen.add(address)
                waiting.append((f"{full}/", item))
            elif isinstance(item, h5py.Dataset) and not item.is_virtual and not item.external:
                yield full, item


def _stored(dataset: Any, name: str, path: Path) -> Any:
    """The same dataset. Raises DataError where it holds nothing, or promises more than it stores."""
    if dataset.shape is None:
        raise damaged(path, "shape", expected="values", found=f"none in {name}")
    size, stored = math.prod(dataset.shape) * dataset.dtype.itemsize, dataset.id.get_storage_size()
    if size > _MOST_RATIO * stored:
        expected = f"no more than its {stored:,} stored bytes can hold"
        raise damaged(path, "bytes", expected=expected, found=f"{size:,} promised by {name}")
    return dataset
