"""What NumPy, PyTorch and JAX make of a batch of `nhwc.load` without a copy: the addresses are compared."""

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import nhwc


def address(tensor: tf.Tensor) -> int:
    """Where its values lie, by the capsule that DLPack hands over: its first field."""
    api = ctypes.pythonapi.PyCapsule_GetPointer
    api.restype, api.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    capsule = tf.experimental.dlpack.to_dlpack(tensor)
    return int(ctypes.c_void_p.from_address(api(capsule, b"dltensor")).value or 0)


def by_numpy(batch: tf.Tensor) -> tuple[np.ndarray, int]:
    array = np.asarray(batch)
    return array, array.ctypes.data


def by_torch(batch: tf.Tensor) -> tuple[Any, int]:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: it is tried where it is")
    tensor = torch.from_dlpack(batch)
    return tensor, tensor.data_ptr()


def by_jax(batch: tf.Tensor) -> tuple[Any, int]:
    jax = pytest.importorskip("jax")
    array = jax.dlpack.from_dlpack(batch)
    return array, array.unsafe_buffer_pointer()


@pytest.fixture(params=[by_numpy, by_torch, by_jax])
def view(request: pytest.FixtureRequest) -> Callable[[tf.Tensor], tuple[Any, int]]:
    """One way to the values of a batch, and where they lie by it."""
    return request.param


@pytest.mark.parametrize("options", [{}, {"shuffle": True}, {"scale": "unit"}], ids=["mapped", "gathered", "cast"])
def test_without_a_copy(write_version, view, options):
    """The batch's own memory, be it pages of the shard or new; it stays for as long as anything looks at it."""
    version = write_version(40, rows=16, cols=16, splits=("train",), shards=1)
    kept = []
    for _ in range(3):  # epochs: memory is used again
        for images, _, ids in nhwc.load(version.folder, batch_size=8, with_ids=True, **options):
            array, place = view(images)
            assert address(images) == place
            kept.append((array, ids.numpy()))
    for array, ids in kept:
        expected = np.stack([version.images[one.decode()] for one in ids])
        np.testing.assert_array_equal(expected / np.float32(255) if "scale" in options else expected, np.asarray(array))


def test_the_iterator_of_numpy_arrays_copies_nothing(write_version):
    """`as_numpy_iterator` gives read-only views, labels too."""
    folder = write_version(16, rows=16, cols=16, splits=("train",), shards=1).folder
    for images, labels in nhwc.load(folder, batch_size=8).as_numpy_iterator():
        for array in (images, labels):
            assert not array.flags.owndata
            assert not array.flags.writeable


@pytest.mark.parametrize("side", [16, 80])
def test_what_pytorch_writes_stays_out_of_the_shard(write_version, side):
    """A tensor made of a batch that is a copy may be written into; of one that is pages, only the process sees it."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: it is tried where it is")
    version = write_version(16, rows=side, cols=side, splits=("train",), shards=1)
    before = version.shards[0].read_bytes()
    shuffled = nhwc.load(version.folder, batch_size=16, shuffle=True, with_ids=True)
    for _ in range(2):
        images, _, ids = next(iter(shuffled))
        expected = np.stack([version.images[one.decode()] for one in ids.numpy()])
        np.testing.assert_array_equal(expected, images)
        torch.from_dlpack(images).add_(1)
        np.testing.assert_array_equal(expected + 1, images)
        images, _ = next(iter(nhwc.load(version.folder, batch_size=16)))
        np.testing.assert_array_equal(np.stack(list(version.images.values())), images)
        torch.from_dlpack(images).add_(1)
    assert before == version.shards[0].read_bytes()
