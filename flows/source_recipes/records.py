"""The recipe's `source:` part of what lies in files of records: TFRecord, and datasets of TensorFlow Datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Len
from pydantic import Field
from typing_extensions import override

from nhwc.flows.recipe_part import PathText
from nhwc.flows.source_recipes.kind import AtPath, Kind
from nhwc.pipelines.image_recipe import ImageRecipe
from nhwc.pipelines.npy import Layout
from nhwc.pipelines.remote import is_url
from nhwc.pipelines.sources.protocol import Source
from nhwc.pipelines.sources.tfds_place import FEATURES, INFO, NAME, is_prepared, prepared_at, what_there_is
from nhwc.validators.errors import RecipeError

_SHOWN = 20
"""Datasets that an error lists."""


class TfRecordRecipe(AtPath):
    """TFRecord files of tf.train.Examples.

    Images are encoded, as JPEG or PNG, unless `shape`, with `dtype` and `layout`, says of what arrays they are the
    bytes or the numbers.

    Args:
        path: a file, or a folder whose files are named like train.tfrecord or train.tfrecord-00000-of-00002.
        image: the feature of the image; without it the first that is there of image/encoded, image, image_raw.
        label: the feature of the label, whole numbers or text; without it image/class/label or label.
        class_name: the feature of the class's name, where labels are numbers and each record says its name too.
        shape: of arrays: [rows, cols], [rows, cols, channels], or as layout says.
        dtype: of arrays: what their numbers are.
        layout: of arrays: whether channels are the last axis of each image or the first.
    """

    kind: Literal["tfrecord"]
    image: str | None = None
    label: str | None = None
    class_name: str | None = None
    shape: Annotated[tuple[Annotated[int, Ge(1)], ...], Len(2, 3)] | None = None
    dtype: Literal["bool", "uint8", "uint16", "float16", "float32", "float64"] = "uint8"
    layout: Layout = "channels_last"

    def contradictions(self) -> list[tuple[str, str]]:
        """(key, what is wrong) for keys that contradict one another."""
        problems = []
        if self.shape is None:
            without = "but without a shape images are encoded: give shape too, or leave it out"
            given = self.model_fields_set & {"dtype", "layout"}
            problems = [(key, f"found {getattr(self, key)}, {without}") for key in sorted(given)]
        elif self.layout == "channels_first" and len(self.shape) != 3:
            found = f"found channels_first, but shape {list(self.shape)} has no channels"
            problems = [("layout", f"{found}: expected [channels, rows, cols]")]
        return problems

    @override
    def source(self, base: Path, image: ImageRecipe) -> Source:
        from nhwc.pipelines.sources.example import Raw  # noqa: PLC0415  it imports parts of tensorflow-datasets
        from nhwc.pipelines.sources.tfrecord import TfRecord  # noqa: PLC0415

        return TfRecord(
            path=base / self.path,
            image_name=self.image,
            label=self.label,
            class_name=self.class_name,
            raw=None if self.shape is None else Raw(shape=self.shape, dtype=self.dtype, layout=self.layout),
            most_bytes=image.max_bytes,
        )


class TfdsRecipe(Kind):
    """A dataset that TensorFlow Datasets prepared on this machine, in TFRecord or ArrayRecord files.

    Either `path` is its folder, or `name` is to be found in `data_dir`.

    Args:
        path: the folder of one version of it, with features.json and dataset_info.json.
        name: its name, as mnist:3.0.1 or mnist.
        data_dir: the folder that TFDS prepares datasets in, which a name is looked for in.
        prepare: let TFDS prepare a named dataset that is not there when an ingest begins: most are downloaded then.
        image: the feature of the image, where its supervised keys name none and there is more than one.
        label: the feature of the label, likewise.
        splits: which of its splits are read, and as which, where their names are others than train, validation and
            test.
    """

    kind: Literal["tfds"]
    path: PathText | None = None
    name: Annotated[str, Field(pattern=f"^{NAME}$")] | None = None
    data_dir: PathText | None = None
    prepare_missing: bool = Field(False, alias="prepare")
    image: str | None = None
    label: str | None = None
    splits: dict[str, Literal["train", "validation", "test"]] | None = None

    @property
    def place(self) -> str:
        """As above; of a named dataset the folder that all of them lie in."""
        return self.path or self.data_dir or ""

    def contradictions(self) -> list[tuple[str, str]]:
        """(key, what is wrong) for keys that contradict one another."""
        problems = []
        if (self.path is None) == (self.name is None):
            problems.append(
                ("path", f"found {'neither' if self.path is None else 'both'}, expected either path or name")
            )
        if self.name is not None and self.data_dir is None:
            problems.append(("data_dir", "missing, but name needs it: the folder that TFDS prepares datasets in"))
        for key in ("data_dir", "prepare"):
            if self.name is None and (self.data_dir is not None if key == "data_dir" else self.prepare_missing):
                problems.append((key, "found without a name, which it belongs to: give name, or leave it out"))
        if self.splits is not None and not self.splits:
            problems.append(("splits", "found none, expected those to read, as {train: train}, or no splits at all"))
        return problems

    @override
    def wrong_place(self, base: Path) -> str | None:
        if is_url(self.place):
            key = "path" if self.path is not None else "data_dir"
            return f"source.{key}: found {self.place!r}, expected a path on this machine: only folders are read by URL"
        if self.contradictions() or self.prepare_missing or self._folder(base) is not None:
            return None
        if self.path is not None:
            return (
                f"source.path: found {self.path!r}, expected a folder with {FEATURES} and {INFO}, "
                "as TFDS prepares it for each version"
            )
        there = ", ".join(what_there_is(base / self.place)[:_SHOWN]) or "none"
        return (
            f"source.name: found {self.name!r}, which is not in {self.place!r} (prepared there: {there}), expected one "
            "that is: set prepare: true to let TFDS download and prepare it"
        )

    def _folder(self, base: Path) -> Path | None:
        """Of the prepared dataset; None where there is none."""
        if self.name is not None:
            return prepared_at(base / self.place, self.name)
        return base / self.place if is_prepared(base / self.place) else None

    def prepare(self, base: Path) -> None:
        """Let TFDS prepare the dataset, where it is to and the dataset is not there.

        Raises RecipeError where TFDS knows no such dataset, and MachineError where preparing it fails.
        """
        if self.prepare_missing and self.name is not None and self._folder(base) is None:
            from nhwc.flows.tfds_prepared import prepare  # noqa: PLC0415  TFDS takes long to import

            prepare(self.name, base / self.place)

    def source(self, base: Path, image: ImageRecipe) -> Source:
        """As above. Raises RecipeError where the dataset is not there any more."""
        from nhwc.pipelines.sources.tfds import Tfds  # noqa: PLC0415  TFDS takes long to import

        if (folder := self._folder(base)) is None:
            raise RecipeError("source", (f"found no prepared dataset {self.name or self.path!r} in {self.place!r}",))
        return Tfds(path=folder, image_name=self.image, label=self.label, splits=self.splits, recipe=image)
