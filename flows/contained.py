"""Decode outside: whatever a file does to its decoder, this process stays whole, small and in time.

JPEG and PNG of ordinary size are decoded here, at full speed, by libjpeg-turbo and Pillow. In a child process, with a
limit of memory and of time, is decoded what Pillow alone reads (GIF, BMP, WebP, TIFF, AVIF: headers and all), any file
whose pixels, bytes or scans would make this process large or slow, and what needs TensorFlow, which would itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from nhwc.flows.children import NoAnswer, ask
from nhwc.flows.parallel import THREADS
from nhwc.pipelines.decode import Decoder, NeedsTensorFlow
from nhwc.pipelines.header import scan_marks
from nhwc.pipelines.image import Prepared, Site, complete, decoded_pixels, examine
from nhwc.pipelines.image_recipe import FORMATS, ImageRecipe
from nhwc.pipelines.probe import HeaderFacts, sniff
from nhwc.pipelines.stage import Stage
from nhwc.pipelines.thumbnail import MOST_PIXELS, Thumbnail
from nhwc.validators.quality import QualityFigures
from nhwc.validators.violation import Code, Violation

HERE = ("jpeg", "png", "npy")
"""Formats that are decoded in this process where nothing is unusual about them."""

ROOM_BYTES = 300_000_000
"""What all threads together may need for pixels in this process. Each has its share, and what needs more goes out."""

MOST_BYTES = 8 << 20
"""Bytes of a file that is decoded here: to read its header takes 3 seconds at most, were it all empty segments."""

MOST_SCANS = 20
"""Scans of a JPEG that is decoded here, its thumbnail's included: an ordinary one has 10, and 16 megapixels 0.4 s."""

_COPIES = 3
"""Of the decoded pixels that exist at a time here: decoded, upright, converted; a progressive JPEG's coefficients."""

_LIBRARIES_BYTES = 1_000_000_000
"""What a child may need beside pixels and bytes; TensorFlow, which some need, takes half of it."""

_BYTES_A_PIXEL = 40
"""What a child may need for each pixel of the budget: 16-bit RGBA takes 8 as decoded, and 32 in the worst recipe."""

_BYTES_A_TARGET_PIXEL = 128
"""And for each pixel of the target: RGBA of float32 takes 16, and several times that while it is resampled."""

_COPIES_OF_FILE = 3

_THUMBNAIL_SECONDS = 20
_THUMBNAIL_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class _Answer:
    """What a child says of a file, as in Prepared; the hash in hex digits."""

    facts: HeaderFacts | None
    decoder: Decoder | None
    figures: QualityFigures | None
    perceptual_hash: str | None
    notes: tuple[Code, ...]
    violations: tuple[Violation, ...]


_ANSWER, _THUMBNAIL = TypeAdapter(_Answer), TypeAdapter(Thumbnail | None)


def _no_tensorflow() -> None:
    raise NeedsTensorFlow


_HERE = Site(before_tensorflow=_no_tensorflow)


def prepare_contained(
    content: bytes, *, suffix: str, recipe: ImageRecipe, stages: Iterable[Stage], sample_id: str
) -> Prepared:
    """The same as `prepare` gives, to the bit, but that no file can harm this process.

    It also comes back with a violation DECODER_DIED where the child ended, OUT_OF_MEMORY where its memory did not
    suffice, and TOO_SLOW where it took longer than the recipe's max_seconds. Raises MachineError where no child can be
    started.
    """
    if _is_unusual(content):
        return _outside(content, suffix, recipe, sample_id)
    examined = examine(content, suffix=suffix, recipe=recipe, sample_id=sample_id)
    if not examined.violations and examined.facts is not None and _is_large(examined.facts, recipe):
        return _outside(content, suffix, recipe, sample_id)
    try:
        return complete(examined, content, recipe=recipe, stages=stages, sample_id=sample_id, site=_HERE)
    except NeedsTensorFlow:
        return _outside(content, suffix, recipe, sample_id)


def contained_thumbnail(content: bytes) -> Thumbnail | None:
    """A small picture of a file that need not be whole; None where it cannot be shown, whatever the reason."""
    if sniff(content[:64]) is None:
        return None
    memory = _LIBRARIES_BYTES + MOST_PIXELS * _BYTES_A_PIXEL + _COPIES_OF_FILE * len(content)
    request = {"work": "thumbnail", "memory": memory}
    try:
        said, _ = ask(request, content, seconds=_THUMBNAIL_SECONDS, most=_THUMBNAIL_BYTES)
        return _THUMBNAIL.validate_python(said.get("thumbnail"))
    except (NoAnswer, ValidationError):
        return None


def _is_unusual(content: bytes) -> bool:
    """Whether a file of a format that nhwc reads must not even be examined here."""
    format = sniff(content[:64])
    if format in HERE:
        return len(content) > MOST_BYTES or (format == "jpeg" and scan_marks(content) > MOST_SCANS)
    return format in FORMATS


def _is_large(facts: HeaderFacts, recipe: ImageRecipe) -> bool:
    """Whether decoding it would take more than this process has for one of its threads."""
    bytes_a_pixel = facts.channels * max(1, facts.bit_depth // 8)
    return _COPIES * bytes_a_pixel * decoded_pixels(facts, recipe) > ROOM_BYTES // THREADS


def _outside(content: bytes, suffix: str, recipe: ImageRecipe, sample_id: str) -> Prepared:
    """`prepare` in a child."""
    target = recipe.rows * recipe.cols * _BYTES_A_TARGET_PIXEL
    memory = _LIBRARIES_BYTES + recipe.max_pixels * _BYTES_A_PIXEL + target + _COPIES_OF_FILE * len(content)
    request = {"work": "prepare", "memory": memory, "suffix": suffix, "recipe": asdict(recipe)}
    sizes, dtype = recipe.contract.sizes, np.dtype(recipe.dtype)
    try:
        said, pixels = ask(request, content, seconds=recipe.max_seconds, most=math.prod(sizes) * dtype.itemsize)
        answer = _understood(said)
        array = None if answer.violations else np.frombuffer(bytearray(pixels), dtype).reshape(sizes)
    except NoAnswer as ended:
        return Prepared(violations=(_refusal(ended.code, ended.found, recipe, sample_id),))
    except ValueError as error:
        found = f"an answer that is none: {error}"
        return Prepared(violations=(_refusal(Code.DECODER_DIED, found, recipe, sample_id),))
    return Prepared(
        facts=answer.facts,
        decoder=answer.decoder,
        array=array,
        figures=answer.figures,
        perceptual_hash=None if answer.perceptual_hash is None else bytes.fromhex(answer.perceptual_hash),
        notes=answer.notes,
        violations=tuple(replace(violation, sample_id=sample_id) for violation in answer.violations),
    )


def _understood(said: dict[str, Any]) -> _Answer:
    """A child's answer. Raises NoAnswer where it says that it has none, ValueError where it is not to be understood."""
    if "failed" in said:
        code = Code.OUT_OF_MEMORY if said["failed"] == Code.OUT_OF_MEMORY else Code.DECODER_DIED
        raise NoAnswer(code, str(said.get("found")))
    return _ANSWER.validate_python(said)


def _refusal(code: Code, found: str, recipe: ImageRecipe, sample_id: str) -> Violation:
    aspect, expected = {
        Code.TOO_SLOW: ("seconds", f"at most {recipe.max_seconds:,} seconds"),
        Code.OUT_OF_MEMORY: ("memory", "enough"),
    }.get(code, ("decoder", "an image, or a reason why not"))
    return Violation(code=code, stage="decode", aspect=aspect, expected=expected, found=found, sample_id=sample_id)
