"""How good one image is, in a few figures.

`measure.measure` takes them once, while ingesting, from pixels that are decoded already; `quality_rules` judges them.
Brightness, entropy and sharpness are figures of cleanvision 0.3.7 (github cleanlab/cleanvision,
issue_managers/image_property.py), on colour that is laid on its background. Its sharpness finds one in four of those
images that were blurred on purpose: smoothness, a second figure, finds them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import polars as pl

Background = Literal["white", "black", "refuse"]


@dataclass(frozen=True, kw_only=True)
class QualityFigures:
    """What was measured of one decoded image; colour is laid on its background, 16 bits are scaled to 8.

    Args:
        brightness: mean perceived brightness sqrt(0.241 R^2 + 0.691 G^2 + 0.068 B^2), in [0, 1].
        brightness_p5, brightness_p99: percentiles of the same: near 1 and 0 where all is light, or dark.
        chroma: 99th percentile of the largest less the smallest of R, G and B, in [0, 1]; 0 for gray.
        entropy: of the values of all channels in one histogram with a place for each, in bits: at most 8 for gray, and
            log2(3) more for the same gray stored as RGB.
        sharpness: in [0, 1], of the image shrunk to 64 pixels: 1 - exp(-s / 100) for the standard deviation s of its
            edges, and the same for that of its histogram, where it is over 0.18.
        smoothness: root mean square difference of gray 4 pixels of the lattice apart over that of neighbours: 4 where
            all is blurred (values then change at one rate over that distance), 1 for noise; 0 where constant, or with
            fewer than 32 rows or cols.
        spread: standard deviation of the channel that varies most, in [0, 1]: 0 where the image is constant, 1 for the
            largest value of 8 bits, or of as many of 16 bits as are used.
        depth_used: bits that tell values apart as a share of the bits there are, in [0, 1]: log2 of the distinct values
            in the span that they cover, as if they covered all. With 16 bits, leading zero bits are not used either.
            1 where there are too few pixels to tell.
        fill_share: share of the rows (or cols), from one edge, that repeat themselves or are constant, in [0, 1], less
            what the opposite edge has: what a decoder fills in where data ended or are zero.
        fill_level: mean of the edge's values, in [0, 1]; 0 where there is no fill.
    """

    brightness: float
    brightness_p5: float
    brightness_p99: float
    chroma: float
    entropy: float
    sharpness: float
    smoothness: float
    spread: float
    depth_used: float
    fill_share: float
    fill_level: float


FIGURE_COLUMNS: Mapping[str, Any] = {field.name: pl.Float32 for field in fields(QualityFigures)}
"""The figures as columns of a manifest, and their type."""
