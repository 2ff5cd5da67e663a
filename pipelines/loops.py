"""Any images of a shard into any places of a batch, as they are or as float32: one compiled pass over memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from nhwc.validators.compiled import compiled

Array = np.ndarray[Any, Any]


@intrinsic  # type: ignore[untyped-decorator]
def _copy_bytes(context: Any, into: Any, image: Any) -> tuple[Any, Callable[..., Any]]:
    """From uint8[n] to uint8[n], by the system's own `memcpy`, which a loop is not made into.

    That asks for less of memory, which the consumer reads from at the same time.
    """

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        target, source = (
            context.make_array(kind)(context, builder, one) for kind, one in zip(signature.args, given, strict=True)
        )
        cgutils.raw_memcpy(builder, target.data, source.data, builder.extract_value(source.shape, 0), 1)
        return context.get_dummy_value()

    return types.void(into, image), code


def write_copies(images: Array, rows: Array, into: Array, places: Array) -> None:
    """Rows of images to places of others.

    Args:
        images, into: (samples, rows, cols, channels), C-contiguous, of one dtype and the same sizes of an image.
        rows, places: int64[n], of images and of into.
    """
    _copy(images.reshape(len(images), -1).view(np.uint8), rows, into.reshape(len(into), -1).view(np.uint8), places)


@compiled
def _copy(images: Array, rows: Array, into: Array, places: Array) -> None:
    for number in range(len(rows)):
        _copy_bytes(into[places[number]], images[rows[number]])


@compiled
def write_quotients(images: Array, rows: Array, shift: Array, reciprocal: Array, into: Array, places: Array) -> None:
    """Rows of images, (value - shift) * reciprocal, to places of others.

    The product of doubles, rounded to float32, is the quotient of float32s to the bit: the quotient of two numbers of
    24 bits is never nearer than 2^-49 of it to the middle between two float32s, where it would round otherwise, and the
    reciprocal and the product are off by 2^-52 together.

    Args:
        images: of the stored dtype [samples, lines, values].
        rows: int64[n], of images.
        shift, reciprocal: float32[values] and float64[values], of each value of a line.
        into: float32[samples, lines, values].
        places: int64[n], of into.
    """
    for number in range(len(rows)):
        image, written = images[rows[number]], into[places[number]]
        for line in range(image.shape[0]):
            for place in range(len(shift)):
                difference = np.float32(image[line, place]) - shift[place]
                written[line, place] = np.float32(np.float64(difference) * reciprocal[place])
