"""The recipe's `source:` part of arrays and tables of images."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from typing_extensions import override

from nhwc.flows.recipe_part import PathText
from nhwc.flows.source_recipes.kind import AtPath, no_file, no_folder
from nhwc.pipelines.image_recipe import ImageRecipe
from nhwc.pipelines.npy import Layout
from nhwc.pipelines.sources.arrays import Arrays
from nhwc.pipelines.sources.cifar import Cifar
from nhwc.pipelines.sources.hdf5 import Hdf5
from nhwc.pipelines.sources.idx import Idx
from nhwc.pipelines.sources.parquet import Parquet
from nhwc.pipelines.sources.protocol import Source


class IdxRecipe(AtPath):
    """IDX files, the MNIST family's, gzipped or not.

    Args:
        path: a folder with files named as MNIST's are (train-images-idx3-ubyte.gz, train-labels-..., t10k-...), or one
            file of images.
        labels: beside one file of images, that of labels.
    """

    kind: Literal["idx"]
    labels: PathText | None = None

    @override
    def wrong_place(self, base: Path) -> str | None:
        if self.labels is not None and (wrong := no_file("source.labels", self.labels, base, "an IDX file of labels")):
            return wrong
        return super().wrong_place(base)

    @override
    def source(self, base: Path, image: ImageRecipe) -> Source:
        return Idx(path=base / self.path, labels=None if self.labels is None else base / self.labels)


class ArraysRecipe(AtPath):
    """NumPy's .npz, or a .npy of images.

    Args:
        path: the .npz or .npy.
        images: the .npz's array of images; without it all are taken that are named like x_train or images.
        labels: the .npz's array of labels; without it those named like y_train or labels. Beside a .npy, the .npy of
            labels.
        layout: whether channels are the last axis of each image or the first.
    """

    kind: Literal["arrays"]
    images: str | None = None
    labels: PathText | None = None
    layout: Layout = "channels_last"

    @property
    def _is_archive(self) -> bool:
        return self.path.lower().endswith(".npz")

    @override
    def wrong_place(self, base: Path) -> str | None:
        if wrong := self.no_path() or no_file("source.path", self.path, base, "a .npz or a .npy"):
            return wrong
        if self._is_archive:
            return None
        if self.images is not None:
            return f"source.images: found {self.images!r}, which only a .npz has: leave it out"
        return None if self.labels is None else no_file("source.labels", self.labels, base, "a .npy of labels")

    @override
    def source(self, base: Path, image: ImageRecipe) -> Source:
        labels = self.labels if self.labels is None or self._is_archive else base / self.labels
        return Arrays(path=base / self.path, images=self.images, labels=labels, layout=self.layout)


class Hdf5Recipe(AtPath):
    """An HDF5 file, whose images are of one size, or encoded files.

    Args:
        path: the file.
        images: the dataset of images in it, as train/images; without it all are taken that are named like images.
        labels: the dataset of labels; without it those named like labels.
        layout: whether channels are the last axis of each image or the first.
    """

    kind: Literal["hdf5"]
    images: str | None = None
    labels: str | None = None
    layout: Layout = "channels_last"

    @override
    def wrong_place(self, base: Path) -> str | None:
        return self.no_path() or no_file("source.path", self.path, base, "an HDF5 file")

    @override
    def source(self, base: Path, image: ImageRecipe) -> Source:
        return Hdf5(path=base / self.path, images=self.images, labels=self.labels, layout=self.layout)


class CifarRecipe(AtPath):
    """A folder of CIFAR's binary batches.

    Args:
        path: the folder, with its .bin files.
        labels: which of CIFAR-100's two.
    """

    kind: Literal["cifar"]
    labels: Literal["fine", "coarse"] = "fine"

    @override
    def wrong_place(self, base: Path) -> str | None:
        return self.no_path() or no_folder("source.path", self.path, base, "CIFAR's, with its .bin files")

    @override
    def source(self, base: Path, image: ImageRecipe) -> Source:
        return Cifar(path=base / self.path, labels=self.labels)


class ParquetRecipe(AtPath):
    """Parquet or Arrow files as Hugging Face's datasets writes them: one, or a folder of them.

    Args:
        path: the file or folder.
        image: the column of images; without it image or img.
        label: the column of labels; without it label or labels.
        layout: of arrays, whether channels are the last axis of each image or the first.
    """

    kind: Literal["parquet"]
    image: str | None = None
    label: str | None = None
    layout: Layout = "channels_last"

    @override
    def source(self, base: Path, image: ImageRecipe) -> Source:
        return Parquet(path=base / self.path, image=self.image, label=self.label, layout=self.layout)
