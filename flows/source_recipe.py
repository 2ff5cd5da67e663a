"""The recipe's `source:` part: for each kind of source its keys, and the source that they describe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field

from nhwc.flows.recipe_part import PathText
from nhwc.flows.record_recipes import TfdsRecipe, TfRecordRecipe
from nhwc.flows.source_part import AtPath, Kind
from nhwc.pipelines.image_recipe import ImageRecipe
from nhwc.pipelines.remote import is_url
from nhwc.pipelines.sources.arrays import Arrays
from nhwc.pipelines.sources.cifar import Cifar
from nhwc.pipelines.sources.coco import Coco
from nhwc.pipelines.sources.hdf5 import Hdf5
from nhwc.pipelines.sources.idx import Idx
from nhwc.pipelines.sources.parquet import Parquet
from nhwc.pipelines.sources.protocol import Source
from nhwc.pipelines.sources.remote_folder import source_at
from nhwc.pipelines.sources.stacked import Layout
from nhwc.pipelines.sources.voc import Voc


class FolderRecipe(AtPath):
    """A folder of image files, on this machine or on a store."""

    own_labels: ClassVar[bool] = False
    kind: Literal["folder"] = "folder"

    def wrong_place(self, base: Path) -> str | None:
        """As above; a URL's own form is looked at where all URLs are."""
        if not is_url(self.path) and not (base / self.path).is_dir():
            return f"source.path: found {self.path!r}, which is no folder, expected a folder of images"
        return None

    def source(self, base: Path, image: ImageRecipe) -> Source:
        """As above."""
        return source_at(self.path if is_url(self.path) else base / self.path, most_bytes=image.max_bytes)


class IdxRecipe(AtPath):
    """IDX files, the MNIST family's, gzipped or not.

    `path` is a folder with files named as MNIST's are (train-images-idx3-ubyte.gz, train-labels-..., t10k-...), or one
    file of images; then `labels` is that of labels.
    """

    kind: Literal["idx"]
    labels: PathText | None = None

    def wrong_place(self, base: Path) -> str | None:
        """As above."""
        if self.labels is not None and not (base / self.labels).is_file():
            return f"source.labels: found {self.labels!r}, which is no file, expected an IDX file of labels"
        return super().wrong_place(base)

    def source(self, base: Path, image: ImageRecipe) -> Source:
        """As above."""
        return Idx(path=base / self.path, labels=None if self.labels is None else base / self.labels)


class ArraysRecipe(AtPath):
    """NumPy's .npz, or a .npy of images.

    `images` and `labels` name arrays of the .npz; without them all are taken that are named like x_train and y_train,
    or images and labels. Beside a .npy, `labels` is the .npy of labels.
    """

    kind: Literal["arrays"]
    images: str | None = None
    labels: PathText | None = None
    layout: Layout = "channels_last"

    @property
    def _is_archive(self) -> bool:
        return self.path.lower().endswith(".npz")

    def wrong_place(self, base: Path) -> str | None:
        """As above."""
        if self._is_archive or is_url(self.path):
            return super().wrong_place(base)
        if not (base / self.path).is_file():
            return f"source.path: found {self.path!r}, which is no file, expected a .npz or a .npy"
        if self.images is not None:
            return f"source.images: found {self.images!r}, which only a .npz has: leave it out"
        if self.labels is not None and not (base / self.labels).is_file():
            return f"source.labels: found {self.labels!r}, which is no file, expected a .npy of labels"
        return None

    def source(self, base: Path, image: ImageRecipe) -> Source:
        """As above."""
        labels = self.labels if self.labels is None or self._is_archive else base / self.labels
        return Arrays(path=base / self.path, images=self.images, labels=labels, layout=self.layout)


class Hdf5Recipe(AtPath):
    """An HDF5 file.

    `images` and `labels` name datasets in it, as train/images; without them all are taken that are named like images
    and labels. Images are of one size, or encoded files.
    """

    kind: Literal["hdf5"]
    images: str | None = None
    labels: str | None = None
    layout: Layout = "channels_last"

    def wrong_place(self, base: Path) -> str | None:
        """As above."""
        if not is_url(self.path) and not (base / self.path).is_file():
            return f"source.path: found {self.path!r}, which is no file, expected an HDF5 file"
        return super().wrong_place(base)

    def source(self, base: Path, image: ImageRecipe) -> Source:
        """As above."""
        return Hdf5(path=base / self.path, images=self.images, labels=self.labels, layout=self.layout)


class CifarRecipe(AtPath):
    """A folder of CIFAR's binary batches; `labels` says which of CIFAR-100's two."""

    kind: Literal["cifar"]
    labels: Literal["fine", "coarse"] = "fine"

    def wrong_place(self, base: Path) -> str | None:
        """As above."""
        if not is_url(self.path) and not (base / self.path).is_dir():
            return f"source.path: found {self.path!r}, which is no folder, expected CIFAR's, with its .bin files"
        return super().wrong_place(base)

    def source(self, base: Path, image: ImageRecipe) -> Source:
        """As above."""
        return Cifar(path=base / self.path, labels=self.labels)


class ParquetRecipe(AtPath):
    """Parquet or Arrow files as Hugging Face's datasets writes them: one, or a folder of them.

    `image` and `label` name columns; without them they are image or img, and label or labels.
    """

    kind: Literal["parquet"]
    image: str | None = None
    label: str | None = None
    layout: Layout = "channels_last"

    def source(self, base: Path, image: ImageRecipe) -> Source:
        """As above."""
        return Parquet(path=base / self.path, image=self.image, label=self.label, layout=self.layout)


class CocoRecipe(AtPath):
    """COCO's annotations as crops: `path` is instances_*.json, `images` the folder of its pictures."""

    kind: Literal["coco"]
    images: PathText

    def wrong_place(self, base: Path) -> str | None:
        """As above."""
        if not is_url(self.path) and not (base / self.path).is_file():
            return f"source.path: found {self.path!r}, which is no file, expected COCO's annotations, a .json"
        if is_url(self.images) or not (base / self.images).is_dir():
            return f"source.images: found {self.images!r}, which is no folder, expected that of the pictures"
        return super().wrong_place(base)

    def source(self, base: Path, image: ImageRecipe) -> Source:
        """As above."""
        return Coco(path=base / self.path, images=base / self.images)


class VocRecipe(AtPath):
    """Pascal VOC's annotations as crops: `path` is the folder that has JPEGImages and Annotations."""

    kind: Literal["voc"]

    def wrong_place(self, base: Path) -> str | None:
        """As above."""
        if not is_url(self.path) and not (base / self.path / "JPEGImages").is_dir():
            return f"source.path: found {self.path!r}, which has no JPEGImages/, expected Pascal VOC's folder"
        return super().wrong_place(base)

    def source(self, base: Path, image: ImageRecipe) -> Source:
        """As above."""
        return Voc(path=base / self.path)


SourceRecipe = Annotated[
    FolderRecipe
    | IdxRecipe
    | ArraysRecipe
    | Hdf5Recipe
    | CifarRecipe
    | ParquetRecipe
    | CocoRecipe
    | VocRecipe
    | TfRecordRecipe
    | TfdsRecipe,
    Field(discriminator="kind"),
]

KINDS: dict[str, type[Kind]] = {
    get_args(kind.model_fields["kind"].annotation)[0]: kind for kind in get_args(get_args(SourceRecipe)[0])
}
"""The keys of each kind of source, by its name."""


def kind_of(plain: Any) -> type[Kind] | None:
    """Which kind the plain values of `source:` describe: a folder unless they say so; None where there is no such."""
    kind = plain.get("kind", "folder") if isinstance(plain, dict) else "folder"
    return KINDS.get(kind) if isinstance(kind, str) else None
