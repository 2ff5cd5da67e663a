"""What a tf.train.Example holds: an image, encoded or raw, and a label."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from google.protobuf.message import DecodeError
from tensorflow_datasets.proto import tf_example_pb2  # TensorFlow's own would import TensorFlow

from nhwc.pipelines.npy import Layout, channels_last, npy_bytes
from nhwc.pipelines.sources.record_file import Breach, broken
from nhwc.validators.violation import Code

Features = Mapping[str, Any]
"""The features of an Example, by name."""

_SHOWN, _SHOWN_LETTERS = 20, 500
"""Names of features that an error lists, and letters of all of them."""

MOST_LABEL = 1000
"""Bytes of a label: a text that is longer names no class."""


@dataclass(frozen=True, kw_only=True)
class Raw:
    """How an image is stored that is an array.

    Args:
        shape: (rows, cols), (rows, cols, channels), or channels first. None: it differs, and the bytes tell it; where
            several do, the feature has its shape beside it, as TFDS writes them.
        dtype: of its values, little-endian.
        layout: where its channels are.
        packed: its bytes are compressed by zlib.
    """

    shape: tuple[int | None, ...]
    dtype: str = "uint8"
    layout: Layout = "channels_last"
    packed: bool = False

    @property
    def has_shape_beside(self) -> bool:
        """The feature is two: `<name>/value` and `<name>/shape`."""
        return self.shape.count(None) > 1


def parse(content: bytes) -> Features:
    """The features of a serialised Example. Raises Breach where it is none."""
    try:
        features: Features = tf_example_pb2.Example.FromString(content).features.feature
    except DecodeError as error:
        raise broken("record", expected="a tf.train.Example", found=f"{len(content):,} other bytes") from error
    if not features:
        raise broken("record", expected="a tf.train.Example", found="one without features, or something else")
    return features


def image_bytes(features: Features, name: str, raw: Raw | None, *, most: int) -> bytes:
    """The encoded image that a feature holds, or the bytes of a .npy file of its array.

    Args:
        features: of an Example.
        name: of the feature.
        raw: how the array is stored; None: the feature is an encoded image.
        most: bytes that an array may have.

    Raises Breach where the feature is missing or not what it should be.
    """
    if raw is None:
        return _one_bytes(features, name)
    image = _array(features, name, raw, most)
    return npy_bytes(channels_last(image, raw.layout))


def label_of(features: Features, name: str) -> int | str | None:
    """The whole number or the text that a feature holds; None where it is missing or empty.

    Raises Breach where it is something else, several, or no text.
    """
    if name not in features:
        return None
    kind, values = _values(features[name])
    if not values:
        return None
    if len(values) > 1 or kind == "float":
        expected = "one whole number or text"
        raise Breach(Code.NO_CLASS, "label", expected=expected, found=f"{_counted(kind, values)} in {name}")
    if kind == "int64":
        return int(values[0])
    return _text(values[0], name) or None


def _text(content: bytes, name: str) -> str:
    if len(content) > MOST_LABEL:
        expected = f"a text of at most {MOST_LABEL:,} bytes"
        raise Breach(Code.NO_CLASS, "label", expected=expected, found=f"{len(content):,} in {name}")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Breach(Code.NO_CLASS, "label", expected="text in UTF-8", found=f"{content[:16]!r} in {name}") from error


_Kind = Literal["bytes", "float", "int64"]


def _values(feature: Any) -> tuple[_Kind | None, Sequence[Any]]:
    """Which kind of values a feature has, and they."""
    kind = feature.WhichOneof("kind")
    return (None, ()) if kind is None else (kind.removesuffix("_list"), getattr(feature, kind).value)


def _counted(kind: _Kind | None, values: Sequence[Any]) -> str:
    return f"{len(values):,} {kind} value{'' if len(values) == 1 else 's'}" if kind else "no value"


def _one_bytes(features: Features, name: str) -> bytes:
    kind, values = _held(features, name)
    if kind != "bytes" or len(values) != 1:
        expected = f"one bytes value in {name}"
        raise Breach(Code.DAMAGED_SOURCE, "image", expected=expected, found=_counted(kind, values))
    return bytes(values[0])


def _held(features: Features, name: str) -> tuple[_Kind | None, Sequence[Any]]:
    if name not in features:
        found = f"features {names_of(features)}"
        raise Breach(Code.DAMAGED_SOURCE, "image", expected=f"a feature {name}", found=found)
    return _values(features[name])


def names_of(features: Iterable[str]) -> str:
    """The names of features, as many as an error bears."""
    return ", ".join(sorted(features)[:_SHOWN])[:_SHOWN_LETTERS]


def _array(features: Features, name: str, raw: Raw, most: int) -> np.ndarray[Any, Any]:
    """The values of a feature in its shape. Raises Breach where there are more or fewer."""
    shape = raw.shape
    if raw.has_shape_beside:
        shape, name = _shape_beside(features, f"{name}/shape", raw.shape), f"{name}/value"
    dtype = np.dtype(raw.dtype).newbyteorder("<")
    kind, values = _held(features, name)
    if kind == "bytes" and len(values) == 1:
        content = _unpacked(values[0], _size(shape, most, dtype), name) if raw.packed else values[0]
        _see_count(name, shape, len(content) / dtype.itemsize)
        return np.frombuffer(content, dtype).reshape(_with_unknown(shape))
    if kind in (None, "bytes"):
        expected = f"one bytes value in {name}, or numbers"
        raise Breach(Code.DAMAGED_SOURCE, "image", expected=expected, found=_counted(kind, values))
    _see_count(name, shape, len(values))
    numbers = np.array(values, np.int64 if kind == "int64" else np.float32)
    with np.errstate(all="ignore"):  # what does not fit is seen by what it has become
        image = numbers.astype(dtype)
    if kind == "int64" and not np.array_equal(image, numbers):
        found = f"{numbers.min()} to {numbers.max()}"
        raise Breach(Code.OUT_OF_RANGE, "image", expected=f"{raw.dtype} values in {name}", found=found)
    if kind == "float" and image.dtype.kind != "f":
        raise Breach(Code.WRONG_DTYPE, "image", expected=f"{raw.dtype} values in {name}", found="floats")
    return image.reshape(_with_unknown(shape))


def _shape_beside(features: Features, name: str, known: Sequence[int | None]) -> tuple[int, ...]:
    kind, values = _held(features, name)
    shape = tuple(map(int, values)) if kind == "int64" else ()
    fits = len(shape) == len(known) and all(one > 0 for one in shape)
    if not fits or any(there not in (None, one) for there, one in zip(known, shape, strict=True)):
        expected = f"a shape in {name} that fits {shape_text(known)}"
        raise Breach(Code.WRONG_SIZE, "image", expected=expected, found=str(shape) if shape else _counted(kind, values))
    return shape


def _size(shape: Sequence[int | None], most: int, dtype: np.dtype[Any]) -> int:
    """Bytes that an array of this shape has at most."""
    return most if None in shape else min(most, _values_of(shape) * dtype.itemsize)


def _unpacked(content: bytes, size: int, name: str) -> bytes:
    """What zlib unpacks the bytes to, of which no more than `size` are made and one that shows that there are more."""
    inflater = zlib.decompressobj()
    try:
        unpacked = inflater.decompress(content, size + 1)
    except zlib.error as error:
        raise broken("image", expected=f"bytes in {name} packed by zlib", found=str(error)) from error
    if len(unpacked) > size:
        expected = f"at most {size:,} bytes in {name}"
        raise Breach(Code.PACKED_TOO_WELL, "image", expected=expected, found="more, packed by zlib")
    if not inflater.eof:
        raise broken("image", expected=f"bytes in {name} packed by zlib", found="a stream without its end")
    return unpacked


def _see_count(name: str, shape: Sequence[int | None], count: float) -> None:
    """Raises Breach where so many values are not of this shape."""
    each = _values_of(shape)
    if count != each if None not in shape else (count == 0 or count % each):
        expected = f"the {each:,} values of {shape_text(shape)} in {name}"
        if None in shape:
            expected = f"a multiple of {each:,} values, for {shape_text(shape)}, in {name}"
        raise Breach(Code.WRONG_SIZE, "image", expected=expected, found=f"{count:,.2f}".removesuffix(".00"))


def _values_of(shape: Sequence[int | None]) -> int:
    """In an array of this shape, or of one whose unknown size is 1."""
    return math.prod(one for one in shape if one is not None)


def _with_unknown(shape: Sequence[int | None]) -> list[int]:
    return [-1 if one is None else one for one in shape]


def shape_text(shape: Sequence[int | None]) -> str:
    """As (28, 28, 1); what is not known as a question mark."""
    return f"({', '.join('?' if one is None else str(one) for one in shape)})"
