"""Plan: all that is settled of a reader before anything is read, and all that is wrong with how it was called.

Nothing here needs TensorFlow: what reads for PyTorch, JAX or NumPy does without it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from nhwc.pipelines.batch import BatchOptions, Dealing, contracts
from nhwc.pipelines.cast import SPACING, Cast, ChannelStatistics, New, cast_dtype, cast_problems, make_cast
from nhwc.pipelines.gather import Gather
from nhwc.pipelines.image_recipe import ImageRecipe
from nhwc.pipelines.opened import missing_shard
from nhwc.pipelines.stopwatch import Stopwatch, timed
from nhwc.pipelines.version import Version
from nhwc.validators.contract import TensorContract
from nhwc.validators.errors import RecipeError
from nhwc.validators.verdict import Verdict

Array = np.ndarray[Any, Any]


def batch_contract_of(
    stored: TensorContract,
    statistics: ChannelStatistics | None,
    *,
    scale: str = "none",
    dtype: str | None = None,
    channels_first: bool = False,
) -> TensorContract:
    """What a batch is that `load` gives of such images with these arguments, of any number of samples.

    Raises RecipeError where they are wrong.
    """
    options = BatchOptions(scale=scale, dtype=dtype_name(dtype), channels_first=channels_first)
    problems = [*options.problems(), *_dtype_problems(stored, options)]
    if problems:
        raise RecipeError("nhwc.load", tuple(problems))
    return contracts(stored, options, samples=None, statistics=statistics if scale == "standard" else None)["batch"]


def dtype_name(dtype: object) -> str | None:
    """The name of a dtype of NumPy, TensorFlow, JAX or PyTorch; what is none as it was written, for the message."""
    if dtype is None:
        return None
    try:
        return np.dtype(getattr(dtype, "as_numpy_dtype", dtype)).name  # type: ignore[call-overload, no-any-return]
    except (TypeError, ValueError, SyntaxError):  # NumPy reads text as a whole language of its own
        return str(dtype).removeprefix("torch.")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that is settled before anything is read."""

    place: str  # the folder or URL of the version itself: a later one changes nothing
    options: BatchOptions
    samples: pl.DataFrame  # sample_id, label_id, shard (a place in shards), row
    shards: tuple[Path, ...]
    bring: Callable[[Path], object] | None
    dealing: Dealing
    cast: Cast
    contracts: dict[str, TensorContract]
    decoding: ImageRecipe | None
    stopwatch: Stopwatch | None = None

    @property
    def looked_at(self) -> bool:
        """Whether stored values have to be looked at, since their dtype could hold what the contract forbids."""
        stored = self.contracts["load"]
        return not stored.range_settled_by(stored.dtypes[0])

    @property
    def cast_on_the_way(self) -> bool:
        """Whether the values become float32 while they are copied: bytes are read once and floats written once."""
        return self.cast.in_float32 and not self.looked_at

    @property
    def cast_left(self) -> Cast | None:
        """What is left of the cast once images are gathered; None where that is all."""
        left = Cast(dtype=self.cast.dtype) if self.cast_on_the_way else self.cast
        return None if left.spread is None and left.dtype == self.gathered_dtype else left

    @property
    def gathered_dtype(self) -> str:
        """What images are as `gather` gives them."""
        return "float32" if self.cast_on_the_way else self.contracts["load"].dtypes[0]

    def gather(self, new: New) -> Gather:
        """What reads the images: see `Gather`."""
        return Gather(
            self.shards,
            self.samples,
            self.contracts["load"],
            new=new,
            dtype=self.gathered_dtype,
            write=timed(self.stopwatch, "cast", self.cast.write) if self.cast_on_the_way else None,
            decoding=self.decoding,
            stopwatch=self.stopwatch,
            bring=self.bring,
        )

    @property
    def labels(self) -> Array:
        """The label id of each sample: int64[samples]."""
        return self.samples["label_id"].cast(pl.Int64).to_numpy()


def planned(dataset: str | Path, options: BatchOptions, *, face: str) -> Plan:
    """Settle everything.

    Args:
        dataset: the folder or URL of a dataset, or of one version.
        options: what is asked for.
        face: the public function that was called, named in the error.

    Raises RecipeError with everything that is wrong with the call, and DataError where shards are missing.
    """
    problems = options.problems()
    try:
        version = Version.open(dataset)
    except RecipeError as error:
        raise RecipeError(face, (*error.lines, *problems)) from error
    return _plan_of(version, options, problems, face=face)


def _plan_of(version: Version, options: BatchOptions, problems: list[str], *, face: str) -> Plan:
    """The same, of a version. Raises RecipeError with the problems given and those that only the version shows."""
    stored = version.contract
    samples, found = _select(version, options.split)
    problems = [*problems, *found, *_dtype_problems(stored, options)]
    dealing = Dealing(
        samples=samples.height,
        batch_size=options.batch_size,
        shard=options.shard,
        drop_remainder=options.drop_remainder,
    )
    if problems:
        raise RecipeError(face, tuple(problems))
    statistics = ChannelStatistics.of_splits(version.statistics["channels"]) if options.scale == "standard" else None
    promised = contracts(stored, options, samples=dealing.static_size, statistics=statistics)
    cast = make_cast(stored, scale=options.scale, dtype=options.dtype, statistics=statistics)
    problems = [*dealing.problems(), *cast_problems(cast, stored, promised["cast"])]
    if problems:
        raise RecipeError(face, tuple(problems))
    names = samples["shard"].unique(maintain_order=True)
    samples = samples.with_columns(pl.col("shard").replace_strict(names, range(len(names)), return_dtype=pl.Int32))
    shards = tuple(version.shard_path(name).absolute() for name in names)
    missing = [missing_shard(path) for path in shards if not version.has_shard(path.stem)]
    Verdict(violations=tuple(missing)).require()
    return Plan(
        place=f"{version.dataset.absolute() if version.remote is None else version.remote}/{version.number}",
        options=options,
        samples=samples,
        shards=shards,
        bring=None if version.remote is None else lambda path: version.bring_shard(path.stem),
        dealing=dealing,
        cast=cast,
        contracts=promised,
        decoding=version.decoding,
    )


def _select(version: Version, split: str) -> tuple[pl.DataFrame, list[str]]:
    """The kept samples of the splits named, in the manifest's order, and what is wrong with the names."""
    kept = version.kept_columns("sample_id", "label_id", "split", "shard", "row")
    if not isinstance(split, str):
        return kept, []
    exist = sorted(kept["split"].unique())
    asked = exist if split == "all" else split.split("+")
    unknown = [name for name in asked if name not in exist]
    if unknown or not asked:
        there = ", ".join(exist) or "none, since no sample was kept"
        named = ", ".join(map(repr, unknown)) or "no sample"
        return kept, [f"split: found {named}, expected some of: {there} (joined by +), or all"]
    return kept.filter(pl.col("split").is_in(asked)), []


def _dtype_problems(stored: TensorContract, options: BatchOptions) -> list[str]:
    allowed = list(SPACING) if options.scale != "none" else list(dict.fromkeys([stored.dtypes[0], *SPACING]))
    if cast_dtype(stored, scale=options.scale, dtype=options.dtype) in allowed:
        return []
    return [f"dtype: found {options.dtype!r}, expected one of {', '.join(allowed)} with scale {options.scale!r}"]
