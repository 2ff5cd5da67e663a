"""The stages of a recipe, each with what comes out of it, before any image is read."""

from __future__ import annotations

from nhwc.flows.recipe import Recipe
from nhwc.pipelines.batch import batch_contract
from nhwc.pipelines.cast import cast_contract
from nhwc.pipelines.image import image_stages
from nhwc.validators.splits import SPLITS

DEFAULT_BATCH = 32


def explain(recipe: Recipe) -> list[tuple[str, str, str]]:
    """(stage, what it does, what must hold of what comes out) in the order in which an image travels."""
    image = recipe.image
    decode, convert, resize = image_stages(image)
    stored = image.contract
    cast = cast_contract(stored)
    kernel = f"{image.resize.method}{', antialiased' if image.resize.antialiased else ''}, {image.resize.fit}"
    return [
        (
            "discover",
            f"every entry of {recipe.source.place}; labels from {recipe.labels.from_}",
            "discovered = kept + quarantined + skipped",
        ),
        ("probe", "the header alone, by content", f"{', '.join(image.formats)}; at most {image.max_pixels:,} pixels"),
        ("decode", f"orientation {image.orientation}, animation {image.animation}", str(decode.contract)),
        (
            "convert",
            f"to {image.channels} channels, alpha {image.alpha}, 16 bits {image.bit_depth}",
            str(convert.contract),
        ),
        ("resize", kernel, str(resize.contract)),
        ("store", f"Arrow shards; splits from {_splits(recipe)}", str(stored)),
        ("load", "memory-mapped, gathered by index", str(stored.batched(DEFAULT_BATCH))),
        ("cast", "scale none (the default)", str(cast.batched(DEFAULT_BATCH))),
        ("batch", f"batch_size {DEFAULT_BATCH} (the default)", str(batch_contract(cast, samples=DEFAULT_BATCH))),
    ]


def _splits(recipe: Recipe) -> str:
    if recipe.splits.from_ != "hash":
        return f"{recipe.splits.from_} ({', '.join(SPLITS)})"
    shares = ", ".join(f"{name} {share:g}" for name, share in recipe.splits.fractions.items())
    return f"hash ({shares}, seed {recipe.splits.seed})"
