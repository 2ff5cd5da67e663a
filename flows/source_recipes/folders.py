"""The recipe's `source:` part of files: in a folder, in an archive, in tars of samples, or listed by a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from typing_extensions import override

from nhwc.flows.recipe_part import Part, PathText
from nhwc.flows.source_recipes.kind import AtPath, no_file, no_folder
from nhwc.pipelines.image_recipe import ImageRecipe
from nhwc.pipelines.remote import is_url
from nhwc.pipelines.sources.archive import Archive
from nhwc.pipelines.sources.files import Files
from nhwc.pipelines.sources.members import plain, unsafe
from nhwc.pipelines.sources.protocol import Source
from nhwc.pipelines.sources.remote_folder import source_at
from nhwc.pipelines.sources.webdataset import WebDataset, extensions


class FolderRecipe(AtPath):
    """A folder of image files, on this machine or on a store.

    Args:
        path: the folder, relative to the recipe, or its URL, as s3://bucket/photos.
    """

    own_labels: ClassVar[bool] = False
    kind: Literal["folder"] = "folder"

    def wrong_place(self, base: Path) -> str | None:
        """As above; a URL's own form is looked at where all URLs are."""
        return None if is_url(self.path) else no_folder("source.path", self.path, base, "a folder of images")

    @override
    def source(self, base: Path, image: ImageRecipe) -> Source:
        return source_at(self.path if is_url(self.path) else base / self.path, most_bytes=image.max_bytes)


class ArchiveRecipe(AtPath):
    """A zip or a tar (gzip, bzip2, xz, or not) of a folder of images, read without unpacking it.

    Args:
        path: the zip or tar.
        folder: the one of the archive that is the source, where that is not the whole: names, labels and splits are
            then relative to it.
    """

    own_labels: ClassVar[bool] = False
    kind: Literal["archive"]
    folder: str = ""

    @override
    def wrong_place(self, base: Path) -> str | None:
        if problem := self.folder and unsafe(self.folder):
            return f"source.folder: found {self.folder!r}, {problem}, expected a path inside the archive"
        return super().wrong_place(base) or no_file("source.path", self.path, base, "a zip or a tar")

    @override
    def source(self, base: Path, image: ImageRecipe) -> Source:
        folder = plain(self.folder) if self.folder else ""
        return Archive(path=base / self.path, folder=folder, most_bytes=image.max_bytes)


class WebDatasetRecipe(AtPath):
    """Tars in which the members of one sample share a name up to its first dot.

    Args:
        path: one tar, or a folder, of which all are read.
        image: the extensions of the image, the first that a sample has, as `jpg;png`; without it whichever extension is
            an image's.
        label: the extension of the label (`cls`, `txt`), or a field of JSON (`json:label`, `json:meta.label`).
    """

    kind: Literal["webdataset"]
    image: Annotated[str, Field(pattern=r"[^;. ]")] | None = None
    label: Annotated[str, Field(pattern=r"^[^:;]+(:[^:]+)?$")] = "cls"

    @override
    def source(self, base: Path, image: ImageRecipe) -> Source:
        return WebDataset(
            path=base / self.path,
            image=extensions(self.image or ""),
            label=self.label.removeprefix("."),
            most_bytes=image.max_bytes,
        )


class ColumnsRecipe(Part):
    """What the columns of a table are called; one that is left out is found by its usual names.

    Args:
        image: the column of paths; usually path, file_name, image, ...
        label: the column of labels; usually label, class, ...
        split: the column of splits; usually split.
    """

    image: str | None = None
    label: str | None = None
    split: str | None = None


class FilesRecipe(AtPath):
    """Files that a table lists beside their labels: CSV, .tsv, .jsonl or .parquet.

    Args:
        path: the table.
        root: the folder that its paths are relative to; the table's own, where it is left out.
        columns: what its columns are called; a column split gives the splits.
    """

    kind: Literal["files"]
    root: PathText | None = None
    columns: ColumnsRecipe = ColumnsRecipe()

    @property
    def place(self) -> str:
        """As above: the root, where one is named."""
        return self.path if self.root is None else self.root

    @override
    def wrong_place(self, base: Path) -> str | None:
        for path in (self.path, self.root or ""):
            if is_url(path):
                return f"source: found {path!r}, expected a path on this machine: only folders are read by URL"
        expected = "one that paths are relative to"
        if self.root is not None and (wrong := no_folder("source.root", self.root, base, expected)):
            return wrong
        return no_file("source.path", self.path, base, "a table: CSV, .tsv, .jsonl or .parquet")

    @override
    def source(self, base: Path, image: ImageRecipe) -> Source:
        table = base / self.path
        root = table.parent if self.root is None else base / self.root
        columns = self.columns
        return Files(table=table, root=root, image=columns.image, label=columns.label, split=columns.split)
