"""What the user asks of every image: the recipe's `image:` part, as values."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, ClassVar, Literal, get_args

from annotated_types import Ge, MinLen

from nhwc.validators.contract import TensorContract, image_contract

Format = Literal["jpeg", "png", "gif", "bmp", "webp", "tiff", "avif", "npy"]
FORMATS: tuple[Format, ...] = get_args(Format)
"""Every format that nhwc reads, told by content."""

Positive = Annotated[int, Ge(1)]

Method = Literal["nearest", "bilinear", "bicubic", "lanczos", "area"]

DECODING = 2
"""Raised whenever the same file and recipe come out as other pixels: shards made before are then made anew."""


@dataclass(frozen=True, kw_only=True)
class ResizeRecipe:
    """How an image comes to the target's rows and cols.

    Args:
        method: the kernel. `area` averages; `nearest` picks.
        antialias: widen the kernel when shrinking, as Pillow does. None: yes for bilinear, bicubic and lanczos. `area`
            is an average by itself, `nearest` cannot have it.
        fit: `stretch` ignores the aspect; `crop` cuts the middle part of the target's aspect out first; `pad` fits the
            whole image in and fills the rest with zeros.
        reduce: decode a large JPEG at 1/2, 1/4 or 1/8 of its rows and cols, by libjpeg's scaled DCT, where that leaves
            twice the target's or more. Faster for photographs of many megapixels, but other pixels: by 0.2 levels on
            average where the photograph is soft, as at 12 megapixels, by 1.3 where it is sharp to the pixel, most at
            edges. Quality figures and perceptual hash are then the reduced picture's.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # an unknown key in a recipe is an error

    method: Method = "bilinear"
    antialias: bool | None = None
    fit: Literal["stretch", "crop", "pad"] = "stretch"
    reduce: bool = False

    @property
    def antialiased(self) -> bool:
        """Whether the kernel is widened when shrinking."""
        return self.method not in ("nearest", "area") if self.antialias is None else self.antialias

    def contradictions(self) -> list[tuple[str, str]]:
        """(key, what is wrong) for keys that contradict one another."""
        if self.reduce and not self.antialiased and self.method != "area":
            return [
                ("reduce", "true averages pixels, which the rest is not to: use antialias: true, or leave reduce out")
            ]
        if self.antialias is True and self.method == "nearest":
            return [
                ("antialias", "true, but method nearest picks pixels: use bilinear or area, or leave antialias out")
            ]
        if self.antialias is False and self.method == "area":
            return [("antialias", "false, but method area is an average by itself: leave it out, or use bilinear")]
        return []


@dataclass(frozen=True, kw_only=True)
class ImageRecipe:
    """What is asked of every image.

    Args:
        rows: the target's height in pixels.
        cols: the target's width in pixels.
        channels: 1 gray, 3 RGB, 4 RGBA.
        dtype: what is stored. uint8 and float32 hold [0, 255] (float32 unrounded), uint16 holds [0, 65535].
        resize: how rows and cols are reached.
        orientation: EXIF: apply it, ignore it, or refuse what has one.
        alpha: the background that transparency is composited on, or refuse. With 4 channels alpha is kept as it is.
        bit_depth: 16 bits a channel: scale to 8, keep (with dtype uint16; 8-bit images are widened to the full range),
            or refuse.
        float_range: lowest and highest value of images of floats (.npy, arrays). They become 16 bits over it, by
            round(65535 * (v - low) / (high - low)), which bit_depth then says more of; a value outside is a violation,
            and without a range every such image is.
        animation: more than one frame or page: the first, or refuse.
        extension: a name that claims another format than the bytes is always reported. `readable` refuses it where
            TensorFlow could not read the bytes either (TIFF, AVIF), since whoever trusts the name cannot open it;
            `any` never refuses, `strict` always.
        formats: which formats are let in.
        max_pixels: refused above it, before a pixel is decoded.
        max_bytes: refused above it, before it is read.
        max_seconds: refused where decoding takes longer, and tried again by the next run. Only a decoder in a process
            of its own can be stopped: that is all but JPEG and PNG of ordinary pixels, bytes and scans, which bound it.
        storage: what shards hold. `pixels`, ready to be batched; or `encoded`, the files' own bytes, which take about a
            sixth of the space and are decoded whenever they are loaded.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    rows: Positive
    cols: Positive
    channels: Literal[1, 3, 4] = 3
    dtype: Literal["uint8", "uint16", "float32"] = "uint8"
    resize: ResizeRecipe = field(default_factory=ResizeRecipe)
    orientation: Literal["apply", "ignore", "refuse"] = "apply"
    alpha: Literal["white", "black", "refuse"] = "white"
    bit_depth: Literal["scale", "keep", "refuse"] = "scale"
    float_range: tuple[float, float] | None = None
    animation: Literal["first", "refuse"] = "first"
    extension: Literal["readable", "any", "strict"] = "readable"
    formats: Annotated[tuple[Format, ...], MinLen(1)] = FORMATS
    max_pixels: Positive = 100_000_000
    max_bytes: Positive = 500_000_000
    max_seconds: Positive = 60
    storage: Literal["pixels", "encoded"] = "pixels"

    @property
    def value_range(self) -> tuple[float, float]:
        """Lowest and highest value that is stored."""
        return (0, 65535) if self.dtype == "uint16" else (0, 255)

    @property
    def contract(self) -> TensorContract:
        """What every stored image is: fully determined."""
        return image_contract(
            rows=self.rows, cols=self.cols, channels=self.channels, dtype=self.dtype, value_range=self.value_range
        )

    def contradictions(self) -> list[tuple[str, str]]:
        """(key, what is wrong) for keys that contradict one another."""
        problems = []
        if self.rows * self.cols > self.max_pixels:
            found = f"found {self.max_pixels:,}, but rows x cols are {self.rows * self.cols:,} pixels"
            problems.append(("max_pixels", f"{found}: raise it, or ask for smaller images"))
        problems += [(f"resize.{key}", text) for key, text in self.resize.contradictions()]
        if self.float_range is not None and not -math.inf < self.float_range[0] < self.float_range[1] < math.inf:
            problems.append(("float_range", f"found {list(self.float_range)}, expected [lowest, highest]"))
        if self.bit_depth == "keep" and self.dtype != "uint16":
            problems.append(
                (
                    "bit_depth",
                    f"keep, but dtype {self.dtype} cannot hold 16 bits: set dtype: uint16, or bit_depth: scale",
                )
            )
        if self.dtype == "uint16" and self.bit_depth != "keep":
            problems.append(
                ("dtype", f"uint16, but bit_depth {self.bit_depth} leaves 8 bits: set bit_depth: keep, or dtype: uint8")
            )
        if self.alpha == "refuse" and self.channels == 4:
            problems.append(
                ("alpha", "refuse, but channels: 4 asks for an alpha channel: leave alpha out, or set channels: 3")
            )
        return problems

    @property
    def fingerprint(self) -> str:
        """64 hex digits that change whenever the same file could come out as other pixels or be judged otherwise.

        max_seconds is not in it: what takes too long is tried again by every run, whatever was allowed before.
        """
        decisive = {name: value for name, value in asdict(self).items() if name != "max_seconds"}
        text = json.dumps({"decoding": DECODING, **decisive}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def image_recipe_of(plain: Mapping[str, Any]) -> ImageRecipe:
    """The recipe that `dataclasses.asdict` made plain; through JSON too."""
    resize, formats = ResizeRecipe(**plain["resize"]), tuple(plain["formats"])
    floats = plain.get("float_range")
    own = {"resize": resize, "formats": formats, "float_range": None if floats is None else tuple(floats)}
    return ImageRecipe(**{**plain, **own})
