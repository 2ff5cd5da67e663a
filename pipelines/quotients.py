"""(value - shift) / spread of images, compiled: one pass over memory from what is stored to float32."""

from __future__ import annotations

from typing import Any

import numpy as np

from nhwc.validators.compiled import compiled

Array = np.ndarray[Any, Any]


@compiled
def write_quotients(
    images: Array, rows: Array, shift: Array, reciprocal: Array, into: Array, places: Array
) -> None:  # pragma: no cover  (compiled)
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
