"""Opened: shards that are mapped once, when first needed, and held against what the manifest says of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from nhwc.pipelines.image_recipe import ImageRecipe
from nhwc.pipelines.store import Shard, open_shard
from nhwc.validators.contract import TensorContract
from nhwc.validators.errors import DataError, MachineError
from nhwc.validators.verdict import Verdict
from nhwc.validators.violation import Code, Violation

Array = np.ndarray[Any, Any]


class OpenedShards:
    """Shards by their place in a list, each opened when first asked for. Safe to call from several threads.

    Args:
        paths: of the shards.
        samples: sample_id, shard (a place in paths) and row of each sample that is to be there.
        contract: of a stored image, fully determined.
        decoding: the recipe by which shards of files are decoded; None for shards of pixels.
        bring: has a shard brought to its path, where it may not be there yet.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        samples: pl.DataFrame,
        contract: TensorContract,
        *,
        decoding: ImageRecipe | None = None,
        bring: Callable[[Path], object] | None = None,
    ) -> None:
        self._paths, self._contract, self._decoding, self._bring = paths, contract, decoding, bring
        self._row, self._ids = samples["row"].to_numpy(), samples["sample_id"].to_arrow()
        shard = samples["shard"].to_numpy()
        self._by_shard = np.argsort(shard, kind="stable")
        self._cuts = np.searchsorted(shard[self._by_shard], np.arange(len(paths) + 1))
        self._opened: dict[int, Shard] = {}
        self._lock = threading.Lock()

    def __contains__(self, number: int) -> bool:
        return number in self._opened

    def __getitem__(self, number: int) -> Shard:
        """The shard. Raises DataError, the shard named, where it is not what was published."""
        if number not in self._opened:
            with self._lock:
                if number not in self._opened:
                    self._opened[number] = self._open(number)
        return self._opened[number]

    def _open(self, number: int) -> Shard:
        mine = self._by_shard[self._cuts[number] : self._cuts[number + 1]]
        return checked_shard(
            self._paths[number],
            self._contract,
            rows=self._row[mine],
            ids=_taken(self._ids, mine),
            image=self._decoding,
            bring=self._bring,
        )


def checked_shard(
    path: Path,
    contract: TensorContract,
    *,
    rows: Array,
    ids: pa.Array,
    image: ImageRecipe | None = None,
    bring: Callable[[Path], object] | None = None,
) -> Shard:
    """Map a shard, and see that what the manifest places there is there. Raises DataError, the shard named.

    Args:
        path: of the shard.
        contract: of a stored image, fully determined.
        rows, ids: of all samples that are to lie in it.
        image: see `open_shard`.
        bring: has it brought to its path, where it may not be there yet.
    """
    try:
        if bring is not None:
            bring(path)
        shard = open_shard(path, image)
    except FileNotFoundError as error:
        raise DataError(Verdict(violations=(missing_shard(path),))) from error
    except (OSError, KeyError, AttributeError, pa.ArrowException) as error:
        MachineError.see(error, path)
        raise _refusal(path, Code.CHECKSUM, f"no readable shard ({error})") from error
    if shard.images.shape[1:] != contract.shape or shard.images.dtype != contract.dtypes[0]:
        raise _refusal(
            path, Code.CHECKSUM, f"images {shard.images.dtype}{list(shard.images.shape[1:])}, not {contract}"
        )
    if rows.max() >= len(shard.images) or not _taken(shard.sample_ids, rows).equals(ids.cast(pa.string())):
        raise _refusal(path, Code.CHECKSUM, "other samples than the manifest places in it")
    return shard


def broken_shard(path: Path, code: Code, found: str) -> Violation:
    """That a shard is not what was published under its name."""
    return Violation(code=code, stage="load", aspect="shard", expected=f"the shard published as {path}", found=found)


def missing_shard(path: Path) -> Violation:
    """That a shard is not there."""
    return broken_shard(path, Code.MISSING_PART, "no such file")


def _refusal(path: Path, code: Code, found: str) -> DataError:
    return DataError(Verdict(violations=(broken_shard(path, code, found),)))


def is_run(numbers: Array) -> bool:
    """Whether the numbers go up by one."""
    return len(numbers) == 1 or bool(numbers[-1] - numbers[0] == len(numbers) - 1 and (np.diff(numbers) == 1).all())


def _taken(ids: pa.Array, numbers: Array) -> pa.Array:
    """The ids at these numbers."""
    return ids[numbers[0] : numbers[-1] + 1] if is_run(numbers) else ids.take(pa.array(numbers))
