"""A tf.data.Dataset looked at element by element: the rows that a manifest would have of its images."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np
import polars as pl
import tensorflow as tf

from nhwc.validators.array import check_array
from nhwc.validators.contract import Axis, TensorContract
from nhwc.validators.duplicates import find_clusters
from nhwc.validators.errors import RecipeError
from nhwc.validators.manifest import COLUMNS
from nhwc.validators.measure import measure
from nhwc.validators.model.labels import Labels
from nhwc.validators.moments import channel_moments
from nhwc.validators.perceptual import perceptual_hash
from nhwc.validators.spec import check_spec
from nhwc.validators.violation import Code, Violation

Array = np.ndarray[Any, Any]

STAGE = "dataset"

_UNKNOWN = ("format", "bytes", "bit_depth", "mode", "alpha", "frames", "decoder", "shard", "row")
"""Columns of a manifest that speak of files and shards."""


@dataclass(frozen=True, kw_only=True)
class Elements:
    """What a dataset's images came to.

    Args:
        manifest: a row an image, in the dataset's order; `path` is the id that the dataset gives, or `sample <place>`.
            It is quarantined where it breaks the contract.
        contract: of one image, from the element_spec; sizes that the spec leaves open are open.
        classes: class names in the order of their ids: those given, or the labels that were seen.
        violations: of the contract and of labels, by sample.
        labels: what they are.
    """

    manifest: pl.DataFrame
    contract: TensorContract
    classes: tuple[str, ...]
    violations: tuple[Violation, ...]
    labels: Labels = "ids"


def measure_elements(dataset: tf.data.Dataset, *, classes: Sequence[str] = (), samples: int | None = None) -> Elements:
    """Read a dataset once and measure every image as an ingest would.

    Args:
        dataset: of images, (images, labels) or (images, labels, ids); images of shape (rows, cols, channels), or
            batches of them (samples, rows, cols, channels); labels int [] or one-hot [classes], or text.
        classes: class names in the order of their ids.
        samples: stop after so many images.

    Raises RecipeError where the elements are something else, or where there is no end to them.
    """
    spec = _image_spec(dataset)
    if samples is None and int(dataset.cardinality()) == tf.data.INFINITE_CARDINALITY:
        raise RecipeError("dataset", ("found no end (repeat()), expected one: say how many to look at with samples=",))
    reading = _Reading(classes=tuple(classes), contract=_contract(spec))
    batch = spec.shape.rank == 4
    broken = check_spec(reading.contract.batched(None) if batch else reading.contract, spec, stage=STAGE).violations
    if broken:  # no image can be right then, so none is read
        return replace(reading.elements(), violations=broken)
    for image, label, name in islice(_samples(dataset, batched=batch), samples):
        reading.add(image, label, name)
    return reading.elements()


def _image_spec(dataset: tf.data.Dataset) -> tf.TensorSpec:
    """The spec of the images. Raises RecipeError where there are none."""
    spec = dataset.element_spec
    first = spec[0] if isinstance(spec, tuple | list) and spec else spec
    expected = "expected images (rows, cols, channels), or batches of them, alone or in a tuple with labels"
    if not isinstance(first, tf.TensorSpec) or not (first.dtype.is_integer or first.dtype.is_floating):
        raise RecipeError("dataset", (f"found elements {spec}, {expected}",))
    if first.shape.rank is None:
        raise RecipeError("dataset", (f"found images of unknown rank, {expected}: set it with tf.ensure_shape",))
    return first


def _contract(spec: tf.TensorSpec) -> TensorContract:
    """What the spec promises of one image; of a rank that no image has, that it should have three axes."""
    sizes = spec.shape.as_list()
    rows, cols = sizes[-3:-1] if len(sizes) in (3, 4) else (None, None)
    axes = (Axis("rows", rows), Axis("cols", cols), Axis("channels", (1, 3, 4)))
    value_range = None if spec.dtype.is_floating else (spec.dtype.min, spec.dtype.max)
    return TensorContract(axes=axes, dtype=spec.dtype.name, value_range=value_range)


def _samples(dataset: tf.data.Dataset, *, batched: bool) -> Iterator[tuple[Array, Any, str | None]]:
    """(image, label or None, id or None) of each sample."""
    for element in dataset.as_numpy_iterator():
        parts = element if isinstance(element, tuple | list) else (element,)
        images, labels, ids = (*parts, None, None)[:3]
        if not batched:
            yield images, labels, _text(ids)
            continue
        for place, image in enumerate(images):
            yield (
                image,
                None if labels is None else labels[place],
                _text(ids[place]) if ids is not None and np.ndim(ids) == 1 else None,
            )


def _text(value: Any) -> str | None:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else None


@dataclass(kw_only=True)
class _Reading:
    """What was seen so far."""

    classes: tuple[str, ...]
    contract: TensorContract
    value_range: tuple[float, float] | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    labels: Labels = "ids"

    def add(self, image: Array, label: Any, name: str | None) -> None:
        """One more sample."""
        place = len(self.rows)
        sample_id = f"{place:016x}"
        row: dict[str, Any] = {"sample_id": sample_id, "path": name or f"sample {place}", "status": "kept"}
        found = [*check_array(self.contract, image, stage=STAGE, sample_id=sample_id).violations]
        if not found and not np.isfinite(image.astype(np.float32, copy=False)).all():
            found.append(_violation(Code.OUT_OF_RANGE, "range", sample_id, "finite values", "NaN or infinity"))
        row["label"], unknown = self._label(label, sample_id)
        found += unknown
        if found:
            row |= {"status": "quarantined", "code": str(found[0].code)}
        else:
            row |= self._facts(image) | {"sha256": f"{place:064x}", "split": "all"}  # each sample is a file of its own
        self.rows.append(row)
        self.violations += found

    def _label(self, label: Any, sample_id: str) -> tuple[str | None, list[Violation]]:
        """The class name, and what is wrong with the label."""
        if label is None:
            return "all", []
        if isinstance(label, bytes):
            self.labels = "text"
            return _text(label), []
        value = np.asarray(label)
        if value.ndim == 1 and value.size > 1 and np.count_nonzero(value) == 1:
            self.labels, value = "one_hot", np.asarray(int(value.argmax()))
        whole = value.size == 1 and float(value.reshape(())).is_integer()
        number = int(value.reshape(())) if whole else -1
        if number < 0 or (self.classes and number >= len(self.classes)):
            expected = f"a whole number below {len(self.classes)}" if self.classes else "a class's number, from 0"
            return None, [_violation(Code.UNKNOWN_CLASS, "label", sample_id, expected, str(value.tolist()))]
        return (self.classes[number] if self.classes else str(number)), []

    def _facts(self, image: Array) -> dict[str, Any]:
        """Sizes, hashes and figures of one image that keeps the contract."""
        rows, cols, channels = image.shape
        facts = {
            "rows": rows,
            "cols": cols,
            "channels": channels,
            "orientation": 1,
            "pixel_hash": hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest(),
        }
        pixels = self._eight_bit(image)
        if pixels is None:
            return facts
        mean, std = channel_moments(pixels)
        return facts | {
            "channel_mean": mean.tolist(),
            "channel_std": std.tolist(),
            **asdict(measure(pixels)),
            "perceptual_hash": perceptual_hash(pixels),
        }

    def _eight_bit(self, image: Array) -> Array | None:
        """The image in the scale that figures are taken in; None where its own scale cannot be told.

        That is told by the first image that keeps the contract: [0, 1], [-1, 1] or [0, 255].
        """
        if image.dtype in (np.uint8, np.uint16):
            return image
        values = image.astype(np.float32)
        low, high = float(values.min()), float(values.max())
        if self.value_range is None:
            scales = [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)]
            self.value_range = next((one for one in scales if one[0] <= low and high <= one[1]), (low, high))
        start, end = self.value_range
        if (start, end) not in ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)) or low < start or high > end:
            return None
        return np.round((values - start) * (255 / (end - start))).astype(np.uint8)

    def elements(self) -> Elements:
        """What all of it came to."""
        columns = {name: kind for name, kind in COLUMNS.items() if name not in _UNKNOWN}
        manifest = pl.DataFrame([{name: row.get(name) for name in columns} for row in self.rows], schema=columns)
        classes = self.classes or tuple(sorted(manifest["label"].drop_nulls().unique(), key=_by_number))
        ids = {name: number for number, name in enumerate(classes)}
        label_id = pl.col("label").replace_strict(ids, default=None, return_dtype=pl.Int32)
        kept = manifest.filter(pl.col("status") == "kept")
        clusters = kept.select("sample_id").with_columns(cluster=find_clusters(kept))
        manifest = manifest.with_columns(label_id=label_id).drop("cluster", "perceptual_hash")
        manifest = manifest.join(clusters, on="sample_id", how="left", maintain_order="left")
        return Elements(
            manifest=manifest,
            contract=self._seen_contract(kept),
            classes=classes,
            violations=tuple(self.violations),
            labels=self.labels,
        )

    def _seen_contract(self, kept: pl.DataFrame) -> TensorContract:
        """The contract, its open sizes and its range as narrow as what was seen of all images."""
        contract = self.contract if self.value_range is None else replace(self.contract, value_range=self.value_range)
        for name in ("rows", "cols", "channels"):
            if kept[name].n_unique() == 1:
                contract = contract.with_axis(name, int(kept[name][0]))
        return contract


def _violation(code: Code, aspect: str, sample_id: str, expected: str, found: str) -> Violation:
    return Violation(code=code, stage=STAGE, aspect=aspect, sample_id=sample_id, expected=expected, found=found)


def _by_number(label: str) -> tuple[int, str]:
    return (int(label), label) if label.isdecimal() else (0, label)
