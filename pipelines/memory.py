"""Memory for batches that is used again, since memory that is new costs more than what is written into it.

The system hands a process new memory page by page, each cleared first, when it is touched: for a batch of a hundred
photographs that takes longer than to copy them.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any

import numpy as np

from nhwc.pipelines.store import ALIGNMENT

Array = np.ndarray[Any, Any]


class Memory:
    """Arrays in blocks of memory, each lent out again once nothing looks at it any more. Safe for many threads.

    Args:
        size: bytes of a block: of the largest array that will be asked for.
        kept: at most so many blocks wait to be lent out; those beyond go back to the system.
    """

    def __init__(self, *, size: int, kept: int) -> None:
        self.size, self._kept = size, kept
        self._free: list[Array] = []
        self._lock = threading.RLock()  # a block may come back in the very thread that is taking one

    def array(self, shape: tuple[int, ...], dtype: str) -> Array:
        """An array whose content is left as it was, aligned for TensorFlow to take it over. Raises MemoryError.

        Its memory is lent until it, every view of it and every tensor made of it without a copy are gone.
        """
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if size > self.size:
            raise ValueError(f"memory for a batch: found {size} bytes asked for, expected at most {self.size}")
        with self._lock:
            block = self._free.pop() if self._free else np.empty(self.size + ALIGNMENT, np.uint8)
        # an array over a buffer, unlike a slice of another array, is itself what all views of it keep alive
        lent = np.frombuffer(block.data, np.uint8)
        weakref.finalize(lent, self._take_back, block).atexit = False
        first = -block.ctypes.data % ALIGNMENT
        return lent[first : first + size].view(dtype).reshape(shape)

    def _take_back(self, block: Array) -> None:
        with self._lock:
            if len(self._free) < self._kept:
                self._free.append(block)
