"""The recipe's `source:` part: for each kind of source its keys, and the source that they describe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field

from nhwc.flows.recipe_part import Part, PathText
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


class Kind(Part):
    """What all kinds of sources answer.

    Args:
        kind: which kind of source it is; a folder where none is named.
        path: where it lies: a path relative to the recipe.
    """

    own_labels: ClassVar[bool] = True
    """The source says the label of each sample, and the split where it knows one; else folders or a file do."""

    kind: str
    path: PathText

    @property
    def place(self) -> str:
        """The path, relative to the recipe, or the URL that the source is read from."""
        return self.path

    def wrong_place(self, base: Path) -> str | None:
        """What is wrong with the place, as `key: found ..., expected ...`."""
        if is_url(self.place):
            return f"source.path: found {self.place!r}, expected a path on this machine: only folders are read by URL"
        if not (base / self.place).exists():
            return f"source.path: found {self.place!r}, where there is nothing, expected a file or a folder"
        return None

    def source(self, base: Path, image: ImageRecipe) -> Source:
        """The source itself.

        Args:
            base: what paths are relative to.
            image: what is asked of its images; of a file that is larger than that allows no more need be read.
        """
        raise NotImplementedError


class FolderRecipe(Kind):
    """A folder of image files, on this machine or on a store.

    Args:
        path: the folder, relative to the recipe, or its URL, as s3://bucket/photos.
    """

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


class IdxRecipe(Kind):
    """IDX files, the MNIST family's, gzipped or not.

    Args:
        path: a folder with files named as MNIST's are (train-images-idx3-ubyte.gz, train-labels-..., t10k-...), or one
            file of images.
        labels: beside one file of images, that of labels.
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


class ArraysRecipe(Kind):
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


class Hdf5Recipe(Kind):
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

    def wrong_place(self, base: Path) -> str | None:
        """As above."""
        if not is_url(self.path) and not (base / self.path).is_file():
            return f"source.path: found {self.path!r}, which is no file, expected an HDF5 file"
        return super().wrong_place(base)

    def source(self, base: Path, image: ImageRecipe) -> Source:
        """As above."""
        return Hdf5(path=base / self.path, images=self.images, labels=self.labels, layout=self.layout)


class CifarRecipe(Kind):
    """A folder of CIFAR's binary batches.

    Args:
        path: the folder, with its .bin files.
        labels: which of CIFAR-100's two.
    """

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


class ParquetRecipe(Kind):
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

    def source(self, base: Path, image: ImageRecipe) -> Source:
        """As above."""
        return Parquet(path=base / self.path, image=self.image, label=self.label, layout=self.layout)


class CocoRecipe(Kind):
    """COCO's annotations as crops.

    Args:
        path: the annotations, instances_*.json.
        images: the folder of its pictures.
    """

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


class VocRecipe(Kind):
    """Pascal VOC's annotations as crops.

    Args:
        path: the folder that has JPEGImages and Annotations.
    """

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
    FolderRecipe | IdxRecipe | ArraysRecipe | Hdf5Recipe | CifarRecipe | ParquetRecipe | CocoRecipe | VocRecipe,
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
