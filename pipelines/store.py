"""Shards: images, labels and ids of many samples as one Arrow record batch, read back as one NumPy view.

The type of the image column (`fixed_shape_tensor`) is the contract itself: dtype, sizes and axis names, in a
form that any Arrow reader opens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa

from nhwc.validators.contract import TensorContract

if TYPE_CHECKING:
    from nhwc.pipelines.image_recipe import ImageRecipe

Array = np.ndarray[Any, Any]

ALIGNMENT = 64
"""Bytes. TensorFlow takes an array that begins at a multiple of this as it is, and copies any other."""

SHARD_BYTES = 128 * 2**20
"""What a full shard's images take: large enough to read at disk speed, small enough to make again."""

SHARD_SAMPLES = 1 << 17
"""At most so many samples a shard: a killed run of tiny images loses no more than these, a minute's work."""


def pixel_hash(image: Array) -> str:
    """64 hex digits of SHA-256 of an image's values as they are stored, in C order."""
    return hashlib.sha256(np.ascontiguousarray(image).data).hexdigest()


def samples_a_shard(contract: TensorContract) -> int:
    """How many images of this contract make a full shard. At least 1."""
    return max(1, min(SHARD_SAMPLES, SHARD_BYTES // contract.item_bytes))


def shard_name(samples: Iterable[tuple[str, str, str]], fingerprint: str) -> str:
    """The name of the shard that these samples make: 32 hex digits of SHA-256 of what goes in.

    Args:
        samples: (sample_id, sha256, label) of each sample offered, in order.
        fingerprint: the image recipe's.

    Everything that decides the shard's bytes is in the name, so a shard that exists need not be made again.
    """
    digest = hashlib.sha256(fingerprint.encode())
    for sample in samples:
        digest.update("\0".join(sample).encode() + b"\n")
    return digest.hexdigest()[:32]


def record_batch(
    images: Array, labels: Sequence[str], sample_ids: Sequence[str], contract: TensorContract
) -> pa.RecordBatch:
    """One shard's content, without copying the images.

    Args:
        images: (samples, rows, cols, channels), C-contiguous, of the contract's dtype.
        labels: the class name of each.
        sample_ids: the id of each.
        contract: of one image, fully determined.
    """
    value_type = pa.from_numpy_dtype(images.dtype)
    tensor_type = pa.fixed_shape_tensor(value_type, contract.sizes, dim_names=[axis.name for axis in contract.axes])
    values = pa.array(images.reshape(-1))
    storage = pa.FixedSizeListArray.from_arrays(values, int(np.prod(contract.sizes)))
    return _aligned(_batch(pa.ExtensionArray.from_storage(tensor_type, storage), labels, sample_ids))


def encoded_batch(files: Sequence[bytes], labels: Sequence[str], sample_ids: Sequence[str]) -> pa.RecordBatch:
    """One shard's content where files are kept as they are; label and id of each."""
    return _batch(pa.array(files, pa.large_binary()), labels, sample_ids)


def _batch(images: pa.Array, labels: Sequence[str], sample_ids: Sequence[str]) -> pa.RecordBatch:
    columns = {"image": images, "label": pa.array(labels, pa.string()), "sample_id": pa.array(sample_ids, pa.string())}
    return pa.RecordBatch.from_pydict(columns)


def _aligned(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The same, its schema padded so that the images begin at a multiple of ALIGNMENT bytes in a file.

    Arrow's format asks for multiples of 8 only, and pyarrow has no option for more.
    """

    def padded(by: int) -> pa.RecordBatch:
        return batch.replace_schema_metadata({"padding": " " * by})

    def begins(trial: pa.RecordBatch) -> int:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, trial.schema) as writer:
            writer.write(trial)
        file = sink.getvalue()
        return int(pa.ipc.open_file(file).get_batch(0)["image"].storage.flatten().buffers()[1].address - file.address)

    return padded(-begins(padded(0).slice(0, 1)) % ALIGNMENT)


class Images(Protocol):
    """The images of a shard, (samples, rows, cols, channels): an array, or files that are decoded when asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(samples, rows, cols, channels)."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of every image."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, row: int, /) -> Array:
        """One image (rows, cols, channels)."""
        ...


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A shard opened for reading; its pages come from disk when they are touched.

    Args:
        images: a read-only view of the mapped file; where files are kept as they are, EncodedImages.
        begins: where in the file images of pixels begin, in bytes; 0 where files are kept.
        labels, sample_ids: of each sample.
    """

    images: Images
    begins: int = 0
    labels: pa.StringArray
    sample_ids: pa.StringArray


def open_shard(path: Path, image: ImageRecipe | None = None) -> Shard:
    """Map a shard into memory. Raises OSError or pyarrow.ArrowInvalid where it is missing or no shard.

    Args:
        path: of the shard.
        image: the recipe that it was made by, which a shard of files needs; ValueError where it is missing.
    """
    with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as reader:
        batch = reader.get_batch(0)
        batch.validate(full=True)  # an offset that leads out of the file would kill the process; no pixel is touched
        source.seek(0)
        file = source.read_buffer(1)
    images = batch["image"]
    if not pa.types.is_large_binary(images.type):
        if not isinstance(images.type, pa.FixedShapeTensorType):
            raise pa.ArrowInvalid(f"{path} holds {images.type} for images, expected tensors or files")
        pixels = images.to_numpy_ndarray()
        begins = pixels.ctypes.data - file.address
        return Shard(images=pixels, begins=begins, labels=batch["label"], sample_ids=batch["sample_id"])
    if image is None:
        raise ValueError(f"{path} keeps files as they are: to decode them takes the recipe that it was made by")
    from nhwc.pipelines.encoded import EncodedImages  # noqa: PLC0415  TensorFlow, which shards of pixels do without

    decoded = EncodedImages(images, batch["sample_id"], image)
    return Shard(images=decoded, labels=batch["label"], sample_ids=batch["sample_id"])
