"""The recipe's `source:` part: for each kind of source its keys, and the source that they describe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field

from nhwc.flows.recipe_part import Part, PathText
from nhwc.pipelines.image_recipe import ImageRecipe
from nhwc.pipelines.remote import is_url
from nhwc.pipelines.sources.archive import Archive
from nhwc.pipelines.sources.files import Files
from nhwc.pipelines.sources.idx import Idx
from nhwc.pipelines.sources.members import plain, unsafe
from nhwc.pipelines.sources.protocol import Source
from nhwc.pipelines.sources.remote_folder import source_at
from nhwc.pipelines.sources.webdataset import WebDataset, extensions


class _Kind(Part):
    """What all kinds of sources answer."""

    own_labels: ClassVar[bool] = True
    """The source says the label of each sample, and the split where it knows one; else folders or a file do."""

    @property
    def place(self) -> str:
        """The path, relative to the recipe, or the URL that the source is read from."""
        raise NotImplementedError

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


class FolderRecipe(_Kind):
    """A folder of image files, on this machine or on a store."""

    own_labels: ClassVar[bool] = False
    kind: Literal["folder"] = "folder"
    path: PathText

    @property
    def place(self) -> str:
        """As above."""
        return self.path

    def wrong_place(self, base: Path) -> str | None:
        """As above; a URL's own form is looked at where all URLs are."""
        if not is_url(self.path) and not (base / self.path).is_dir():
            return f"source.path: found {self.path!r}, which is no folder, expected a folder of images"
        return None

    def source(self, base: Path, image: ImageRecipe) -> Source:
        """As above."""
        return source_at(self.path if is_url(self.path) else base / self.path, most_bytes=image.max_bytes)


class IdxRecipe(_Kind):
    """IDX files, the MNIST family's, gzipped or not.

    `path` is a folder with files named as MNIST's are (train-images-idx3-ubyte.gz, train-labels-..., t10k-...), or one
    file of images; then `labels` is that of labels.
    """

    kind: Literal["idx"]
    path: PathText
    labels: PathText | None = None

    @property
    def place(self) -> str:
        """As above."""
        return self.path

    def wrong_place(self, base: Path) -> str | None:
        """As above."""
        if self.labels is not None and not (base / self.labels).is_file():
            return f"source.labels: found {self.labels!r}, which is no file, expected an IDX file of labels"
        return super().wrong_place(base)

    def source(self, base: Path, image: ImageRecipe) -> Source:
        """As above."""
        return Idx(path=base / self.path, labels=None if self.labels is None else base / self.labels)


class ArchiveRecipe(_Kind):
    """A zip or a tar (packed by gzip, bzip2 or xz, or not) of a folder of images, read without unpacking it.

    `folder` is the one of the archive that is the source, where that is not the whole: names, labels and splits are
    then relative to it.
    """

    own_labels: ClassVar[bool] = False
    kind: Literal["archive"]
    path: PathText
    folder: str = ""

    @property
    def place(self) -> str:
        """As above."""
        return self.path

    def wrong_place(self, base: Path) -> str | None:
        """As above."""
        if problem := self.folder and unsafe(self.folder):
            return f"source.folder: found {self.folder!r}, {problem}, expected a path inside the archive"
        return super().wrong_place(base) or _no_file("source.path", self.path, base, "a zip or a tar")

    def source(self, base: Path, image: ImageRecipe) -> Source:
        """As above."""
        folder = plain(self.folder) if self.folder else ""
        return Archive(path=base / self.path, folder=folder, most_bytes=image.max_bytes)


class WebDatasetRecipe(_Kind):
    """Tars in which the members of one sample share a name up to its first dot; one tar, or all of a folder.

    `image` names the extensions of the image, the first that a sample has, as `jpg;png`: whichever extension is an
    image's, where it is left out. `label` is the extension of the label (`cls`, `txt`), or a field of JSON
    (`json:label`, `json:meta.label`).
    """

    kind: Literal["webdataset"]
    path: PathText
    image: Annotated[str, Field(pattern=r"[^;. ]")] | None = None
    label: Annotated[str, Field(pattern=r"^[^:;]+(:[^:]+)?$")] = "cls"

    @property
    def place(self) -> str:
        """As above."""
        return self.path

    def source(self, base: Path, image: ImageRecipe) -> Source:
        """As above."""
        return WebDataset(
            path=base / self.path,
            image=extensions(self.image or ""),
            label=self.label.removeprefix("."),
            most_bytes=image.max_bytes,
        )


class ColumnsRecipe(Part):
    """What the columns of a table are called; one that is left out is found by its usual names."""

    image: str | None = None
    label: str | None = None
    split: str | None = None


class FilesRecipe(_Kind):
    """Files that a table lists beside their labels: CSV, .tsv, .jsonl or .parquet.

    `root` is the folder that its paths are relative to: the table's own, where it is left out. `columns` names its
    columns, which are found by themselves if they are called path, file_name, image ... and label, class ...; a column
    split gives the splits.
    """

    kind: Literal["files"]
    path: PathText
    root: PathText | None = None
    columns: ColumnsRecipe = ColumnsRecipe()

    @property
    def place(self) -> str:
        """As above: the root, where one is named."""
        return self.path if self.root is None else self.root

    def wrong_place(self, base: Path) -> str | None:
        """As above."""
        for path in (self.path, self.root or ""):
            if is_url(path):
                return f"source: found {path!r}, expected a path on this machine: only folders are read by URL"
        if self.root is not None and not (base / self.root).is_dir():
            return f"source.root: found {self.root!r}, which is no folder, expected one that paths are relative to"
        return _no_file("source.path", self.path, base, "a table: CSV, .tsv, .jsonl or .parquet")

    def source(self, base: Path, image: ImageRecipe) -> Source:
        """As above."""
        table = base / self.path
        root = table.parent if self.root is None else base / self.root
        columns = self.columns
        return Files(table=table, root=root, image=columns.image, label=columns.label, split=columns.split)


def _no_file(key: str, path: str, base: Path, expected: str) -> str | None:
    """That there is no file at a path, as `key: found ..., expected ...`."""
    if (base / path).is_file():
        return None
    return f"{key}: found {path!r}, which is no file, expected {expected}"


SourceRecipe = Annotated[
    FolderRecipe | IdxRecipe | ArchiveRecipe | WebDatasetRecipe | FilesRecipe, Field(discriminator="kind")
]

KINDS: dict[str, type[_Kind]] = {
    get_args(kind.model_fields["kind"].annotation)[0]: kind for kind in get_args(get_args(SourceRecipe)[0])
}
"""The keys of each kind of source, by its name."""


def kind_of(plain: Any) -> type[_Kind] | None:
    """Which kind the plain values of `source:` describe: a folder unless they say so; None where there is no such."""
    kind = plain.get("kind", "folder") if isinstance(plain, dict) else "folder"
    return KINDS.get(kind) if isinstance(kind, str) else None
