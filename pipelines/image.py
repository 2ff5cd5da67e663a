"""One image from its bytes to the array that is stored: probe, decode, convert, resize."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, Literal, get_args

from nhwc.pipelines.convert import convert
from nhwc.pipelines.decode import Decoder, Encoded, as_it_comes, decode, decoder_of, reduction
from nhwc.pipelines.image_recipe import ImageRecipe, Method, ResizeRecipe
from nhwc.pipelines.probe import HeaderFacts, admit, notes, probe
from nhwc.pipelines.resize import resize
from nhwc.pipelines.stage import Array, Stage, run_stages
from nhwc.validators.argument import PATH, named, wrong_place
from nhwc.validators.contract import image_contract
from nhwc.validators.errors import DataError, MachineError, RecipeError, SampleRefused
from nhwc.validators.measure import measure
from nhwc.validators.perceptual import perceptual_hash
from nhwc.validators.quality import QualityFigures
from nhwc.validators.verdict import Verdict
from nhwc.validators.violation import Code, Violation

_LARGE_PIXELS = 1 << 24
one_large_image = threading.Lock()
"""Held for an image above _LARGE_PIXELS from decode to resize: two of them at once could need gigabytes. Of a JPEG that
is reduced while it is decoded only the coefficients, if it is progressive, are as large as it."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """Where an image is decoded.

    Args:
        alone: held from decode to resize where the image is large.
        before_tensorflow: called before TensorFlow, which may not have been imported yet, decodes it.
    """

    alone: AbstractContextManager[object] = one_large_image
    before_tensorflow: Callable[[], None] = as_it_comes


ANYWHERE = Site()


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What became of one file.

    Args:
        facts: the header's; None where it could not be read.
        decoder: which one decodes such an image; None where nothing was decoded.
        array: as the last stage's contract says; None where there are violations.
        figures: of the decoded, upright pixels, before channels and size are changed.
        perceptual_hash: of the same, by which copies are found; None where they show too little.
        notes: what the sample is remarkable for, kept or not.
        violations: why it is not kept.
    """

    facts: HeaderFacts | None = None
    decoder: Decoder | None = None
    array: Array | None = None
    figures: QualityFigures | None = None
    perceptual_hash: bytes | None = None
    notes: tuple[Code, ...] = ()
    violations: tuple[Violation, ...] = ()


def image_stages(recipe: ImageRecipe) -> tuple[Stage, Stage, Stage]:
    """decode, convert, resize, each with the contract that follows from the recipe; the last is fully determined."""
    converted = ("uint8", "float32") if recipe.dtype == "float32" else recipe.dtype
    return (
        Stage(
            name="decode",
            transform=lambda encoded: decode(
                encoded,
                orientation=recipe.orientation,
                reduced_by=_reduced_by(encoded.facts, recipe),
                float_range=recipe.float_range,
            ),
            contract=image_contract(
                rows=None, cols=None, channels=(1, 2, 3, 4), dtype=("uint8", "uint16"), value_range=None
            ),
        ),
        Stage(
            name="convert",
            transform=lambda array: convert(array, channels=recipe.channels, dtype=recipe.dtype, alpha=recipe.alpha),
            contract=image_contract(
                rows=None, cols=None, channels=recipe.channels, dtype=converted, value_range=recipe.value_range
            ),
        ),
        Stage(
            name="resize",
            transform=lambda array: resize(
                array, rows=recipe.rows, cols=recipe.cols, resize=recipe.resize, dtype=recipe.dtype
            ),
            contract=recipe.contract,
        ),
    )


def _reduced_by(facts: HeaderFacts, recipe: ImageRecipe) -> int:
    if not recipe.resize.reduce:
        return 1
    ignored = replace(facts, orientation=1) if recipe.orientation == "ignore" else facts
    return reduction(ignored, rows=recipe.rows, cols=recipe.cols)


def prepare(content: bytes, *, suffix: str, recipe: ImageRecipe, stages: Iterable[Stage], sample_id: str) -> Prepared:
    """One file's bytes through probe and the stages. Bad data never raises: it comes back as violations.

    It decodes in this process: `nhwc.flows.contained` does the same with what should not be decoded there.

    Args:
        suffix: of the file's name, with the dot; only compared with what the bytes are.
        stages: what `image_stages(recipe)` gave, made once for many files; decode alone, where no more is wanted.
    """
    examined = examine(content, suffix=suffix, recipe=recipe, sample_id=sample_id)
    return complete(examined, content, recipe=recipe, stages=stages, sample_id=sample_id)


def examine(content: bytes, *, suffix: str, recipe: ImageRecipe, sample_id: str) -> Prepared:
    """The first half of `prepare`: what the header says, and all that is refused before a pixel is decoded."""
    try:
        facts = probe(content)
    except SampleRefused as refusal:
        return Prepared(violations=_of(sample_id, (refusal.violation,)))
    return Prepared(
        facts=facts,
        notes=notes(facts, suffix=suffix, recipe=recipe),
        violations=_of(sample_id, admit(facts, size=len(content), suffix=suffix, recipe=recipe)),
    )


def complete(
    examined: Prepared,
    content: bytes,
    *,
    recipe: ImageRecipe,
    stages: Iterable[Stage],
    sample_id: str,
    site: Site = ANYWHERE,
) -> Prepared:
    """The second half of `prepare`: the pixels of what `examine` lets through.

    The NeedsTensorFlow that the site may raise is let through.
    """
    facts = examined.facts
    if facts is None or examined.violations:
        return examined
    decoding, *others = stages
    figures = hashed = None
    with site.alone if decoded_pixels(facts, recipe) > _LARGE_PIXELS else nullcontext():
        outcome = run_stages((decoding,), Encoded(content, facts, site.before_tensorflow), sample_id=sample_id)
        if outcome.array is not None:
            figures = measure(outcome.array, alpha=recipe.alpha)
            hashed = perceptual_hash(outcome.array)
            outcome = run_stages(others, outcome.array, sample_id=sample_id)
    return replace(
        examined,
        decoder=decoder_of(facts),
        array=outcome.array,
        figures=figures,
        perceptual_hash=hashed,
        violations=outcome.violations,
    )


def decoded_pixels(facts: HeaderFacts, recipe: ImageRecipe) -> int:
    """How many pixels decoding has to do with: of a JPEG that is reduced meanwhile, with a part of them."""
    return facts.rows * facts.cols // _reduced_by(facts, recipe)


def load_image(
    path: str | os.PathLike[str],
    target_size: tuple[int, int] | None = None,
    *,
    channels: Literal[1, 3, 4] = 3,
    method: Method = "nearest",
    dtype: Literal["uint8", "uint16", "float32"] = "float32",
) -> Array:
    """One image file as an array, as `keras.utils.load_img` and `img_to_array` give it, but checked.

    Unlike keras it applies EXIF orientation, lays transparency on white, and keeps the low bits of 16-bit images
    (dtype uint16) or rounds them away (uint8, float32). It decodes in this process, since only flows start others: a
    file from a stranger that kills its decoder kills the caller too, where an ingest would quarantine it.

    Args:
        path: of the file.
        target_size: (rows, cols), of at most 100,000,000 pixels; None: as the file is.
        channels: 1 gray, 3 RGB, 4 RGBA.
        method: nearest, bilinear, bicubic, lanczos or area; those but nearest are antialiased.
        dtype: uint8 or float32 in [0, 255] (float32 with whole values, as from keras), or uint16 in [0, 65535].

    Returns:
        dtype [rows, cols, channels].

    Raises:
        DataError: the file is no image that can be read rightly; `.verdict.violations` says why.
        RecipeError: there is no such file, or an argument is wrong.
        MachineError: the file is there but cannot be read.
    """
    if problems := _call_problems(path, target_size, channels=channels, method=method, dtype=dtype):
        raise RecipeError("load_image", problems)
    source = Path(path)
    try:
        content = source.read_bytes()
    except OSError as error:
        raise MachineError(f"load_image: {source} cannot be read: {error.strerror}") from error
    rows, cols = target_size or _own_size(content, source)
    recipe = ImageRecipe(
        rows=rows,
        cols=cols,
        channels=channels,
        dtype="uint16" if dtype == "uint16" else "uint8",
        bit_depth="keep" if dtype == "uint16" else "scale",
        resize=ResizeRecipe(method=method),
        extension="any",
    )
    prepared = prepare(content, suffix=source.suffix, recipe=recipe, stages=image_stages(recipe), sample_id=source.name)
    if prepared.array is None:
        raise DataError(Verdict(violations=prepared.violations))
    return prepared.array.astype(dtype)


def _own_size(content: bytes, source: Path) -> tuple[int, int]:
    """Rows and cols of the upright picture. Raises DataError where the header cannot be read."""
    try:
        facts = probe(content)
    except SampleRefused as refusal:
        raise DataError(Verdict(violations=_of(source.name, (refusal.violation,)))) from refusal
    return (facts.cols, facts.rows) if facts.orientation >= 5 else (facts.rows, facts.cols)


def _call_problems(path: Any, target_size: object, *, channels: int, method: str, dtype: str) -> tuple[str, ...]:
    problems = named(path=wrong_place(path, expected=PATH))
    if not problems and not Path(path).is_file():
        problems.append(f"path: {path} is {'a folder' if Path(path).is_dir() else 'not there'}")
    sizes = target_size if isinstance(target_size, (tuple, list)) else ()
    if target_size is not None and (len(sizes) != 2 or any(type(size) is not int or size < 1 for size in sizes)):
        problems.append(f"target_size: {target_size!r} is not (rows, cols), two positive whole numbers")
    elif sizes and (pixels := prod(sizes)) > ImageRecipe.max_pixels:
        wanted = f"at most {ImageRecipe.max_pixels:,}: ask for a smaller image"
        problems.append(f"target_size: rows x cols are {pixels:,} pixels, expected {wanted}")
    for name, value, choices in (
        ("channels", channels, (1, 3, 4)),
        ("method", method, get_args(Method)),
        ("dtype", dtype, ("uint8", "uint16", "float32")),
    ):
        if value not in choices:
            problems.append(f"{name}: {value!r} is not one of {', '.join(map(str, choices))}")
    return tuple(problems)


def _of(sample_id: str, violations: tuple[Violation, ...]) -> tuple[Violation, ...]:
    return tuple(replace(violation, sample_id=sample_id) for violation in violations)
