import gc
import threading

import numpy as np
import pytest
import tensorflow as tf

from nhwc.pipelines.memory import ALIGNMENT, Memory


def place(array: np.ndarray) -> int:
    return array.ctypes.data


@pytest.mark.parametrize(("shape", "dtype"), [((2, 3), "float32"), ((24,), "uint8"), ((4, 3), "uint16")])
def test_an_array_is_what_was_asked_for(shape, dtype):
    """Of that shape and dtype, writable, in order, and where TensorFlow takes it over as it is."""
    array = Memory(size=24, kept=1).array(shape, dtype)
    assert (shape, dtype) == (array.shape, array.dtype.name)
    assert array.flags.c_contiguous
    assert array.flags.writeable
    assert place(array) % ALIGNMENT == 0


def test_memory_is_lent_out_again():
    """Once nothing looks at it, and not while anything does: the array, a view of it, a view of that."""
    memory = Memory(size=64, kept=2)
    array = memory.array((64,), "uint8")
    first = place(array)
    view = array[3:].reshape(61, 1)[::2]
    del array
    gc.collect()
    assert first != place(memory.array((64,), "uint8"))
    del view
    assert first in {place(one) for one in [memory.array((64,), "uint8"), memory.array((64,), "uint8")]}


@pytest.mark.parametrize("look", [lambda one: one, lambda one: one[1:3], np.asarray, lambda one: np.asarray(one)[1:]])
def test_a_tensor_keeps_its_memory(look):
    """What TensorFlow took over without a copy is lent until the tensor, slices of it and arrays upon it are gone."""
    memory = Memory(size=4 * 64, kept=9)

    def ones() -> np.ndarray:
        array = memory.array((4, 64), "uint8")
        array[:] = number
        return array

    kept = []
    for number in range(50):
        tensor = tf.numpy_function(ones, [], tf.uint8)
        if number % 3:
            kept.append((number, look(tensor)))
        del tensor
    for number, tensor in kept:
        assert {number} == set(np.unique(tensor))


def test_no_more_waits_than_is_kept():
    """The rest goes back to the system."""
    memory = Memory(size=8, kept=2)
    held = [memory.array((8,), "uint8") for _ in range(5)]
    held.clear()
    assert len(memory._free) == 2


def test_more_than_a_block_is_refused():
    """A block has its size once and for all."""
    with pytest.raises(ValueError, match="found 9 bytes asked for, expected at most 8"):
        Memory(size=8, kept=1).array((9,), "uint8")


def test_threads_never_share_memory():
    """What one thread wrote stays while it looks at it, however many take and give back."""
    memory, wrong = Memory(size=256, kept=4), []

    def work(number: int) -> None:
        for _ in range(500):
            array = memory.array((256,), "uint8")
            array[:] = number
            if (array != number).any():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
