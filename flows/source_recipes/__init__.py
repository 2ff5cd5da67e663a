"""The recipe's `source:` part: for each kind of source its keys, and the source that they describe."""

from __future__ import annotations

from typing import Annotated, Any, get_args

from pydantic import Field

from nhwc.flows.source_recipes.arrays import ArraysRecipe, CifarRecipe, Hdf5Recipe, IdxRecipe, ParquetRecipe
from nhwc.flows.source_recipes.boxes import CocoRecipe, VocRecipe
from nhwc.flows.source_recipes.folders import ArchiveRecipe, FilesRecipe, FolderRecipe, WebDatasetRecipe
from nhwc.flows.source_recipes.kind import Kind
from nhwc.flows.source_recipes.records import TfdsRecipe, TfRecordRecipe

__all__ = ["KINDS", "Kind", "SourceRecipe", "kind_of"]

SourceRecipe = Annotated[
    FolderRecipe
    | FilesRecipe
    | ArchiveRecipe
    | WebDatasetRecipe
    | TfdsRecipe
    | TfRecordRecipe
    | ParquetRecipe
    | IdxRecipe
    | ArraysRecipe
    | Hdf5Recipe
    | CifarRecipe
    | CocoRecipe
    | VocRecipe,
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
