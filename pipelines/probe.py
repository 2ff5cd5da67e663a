"""What a file is, by its bytes; and what the recipe's policy says of it before a pixel is decoded.

TensorFlow is not imported here: `nhwc inspect` answers from this alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from nhwc.pipelines.header import MAX_SCANS, HeaderFacts, read_header, refused
from nhwc.pipelines.image_recipe import FORMATS, ImageRecipe
from nhwc.validators.violation import Code, Violation

__all__ = ["MAX_SCANS", "SUFFIXES", "HeaderFacts", "admit", "claimed_format", "notes", "probe", "sniff"]

SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "jpeg": (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo"),
    "png": (".png", ".apng"),
    "gif": (".gif",),
    "bmp": (".bmp", ".dib"),
    "webp": (".webp",),
    "tiff": (".tif", ".tiff"),
    "avif": (".avif", ".avifs"),
    "npy": (".npy",),
    # what nhwc does not read, but knows for an image
    "heic": (".heic", ".heif", ".hif"),
    "jp2": (".jp2", ".j2k", ".jpf", ".jpx", ".j2c", ".jpc"),
    "jxl": (".jxl",),
    "ico": (".ico", ".cur"),
    "psd": (".psd",),
    "pnm": (".pbm", ".pgm", ".ppm", ".pnm", ".pam"),
    "tga": (".tga",),
    "pcx": (".pcx",),
    "dds": (".dds",),
    "exr": (".exr",),
    "hdr": (".hdr",),
    "qoi": (".qoi",),
    "sgi": (".sgi",),
    "fits": (".fits",),
}
"""The suffixes of each image format, in lower case; those of FORMATS first."""

_BY_SUFFIX = {suffix: format for format, suffixes in SUFFIXES.items() for suffix in suffixes}

_MAGIC: tuple[tuple[re.Pattern[bytes], str], ...] = tuple(
    (re.compile(pattern, re.DOTALL), format)
    for pattern, format in (
        (rb"\xff\xd8\xff", "jpeg"),
        (rb"\x89PNG\r\n\x1a\n", "png"),
        (rb"GIF8[79]a", "gif"),
        # a text can begin with BM: the header's size, or four reserved zeros, must follow
        (rb"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0", "bmp"),
        (rb"BM.{4}\0\0\0\0", "bmp"),
        (rb"RIFF.{4}WEBP", "webp"),
        (rb"II[\x2a\x2b]\0|MM\0[\x2a\x2b]", "tiff"),
        (rb".{4}ftyp(?:avi[fs]|(?:.{4}){2,12}?avi[fs])", "avif"),
        (rb"\x93NUMPY[\x01-\x03]\0", "npy"),
        (rb".{4}ftyp(?:he(?:ic|ix|vc|vx|im|is)|mif1|msf1)", "heic"),
        (rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", "jp2"),
        (rb"\0\0\0\x0cJXL \r\n\x87\n|\xff\x0a", "jxl"),
        (rb"\0\0[\x01\x02]\0[^\0]\0.{3}\0", "ico"),
        (rb"8BPS\0[\x01\x02]", "psd"),
        (rb"P[1-6]\s(?:#[^\n]*\n|\s)*\d+\s+\d+\s|P7\nWIDTH ", "pnm"),
        (rb"\n[\0\x02-\x05]\x01[\x01\x02\x04\x08]", "pcx"),
        (rb"DDS \x7c\0\0\0", "dds"),
        (rb"\x76\x2f\x31\x01", "exr"),
        (rb"#\?RADIANCE\n|#\?RGBE\n", "hdr"),
        (rb"qoif", "qoi"),
        (rb"\x01\xda[\0\x01][\x01\x02]\0[\x01-\x03]", "sgi"),
        (rb"SIMPLE  =", "fits"),
    )
)


def sniff(head: bytes) -> str | None:
    """The image format that a file's first 64 bytes show: one of FORMATS, another that nhwc does not read, or None."""
    return next((format for magic, format in _MAGIC if magic.match(head)), None)


def claimed_format(suffix: str) -> str | None:
    """The image format that a suffix such as `.JPG` claims; None where it claims none."""
    return _BY_SUFFIX.get(suffix.lower())


def probe(content: bytes) -> HeaderFacts:
    """The facts of an image's header. No pixel is decoded; the name plays no part.

    Raises SampleRefused: EMPTY_FILE, NOT_AN_IMAGE, UNSUPPORTED_FORMAT, DAMAGED_HEADER, LINE_ENDS,
    TOO_MANY_SCANS, UNSUPPORTED_MODE, UNSUPPORTED_DEPTH, WRONG_RANK, WRONG_CHANNELS.
    """
    if not content:
        raise refused(Code.EMPTY_FILE, "bytes", expected="an image", found="0 bytes")
    format = sniff(content[:64])
    readable = ", ".join(FORMATS)
    if format is None:
        raise refused(Code.NOT_AN_IMAGE, "format", expected=f"one of {readable}", found=f"bytes {_shown(content)}")
    if format not in FORMATS:
        raise refused(Code.UNSUPPORTED_FORMAT, "format", expected=f"one of {readable}", found=format)
    return read_header(content, format)


def admit(facts: HeaderFacts, *, size: int, suffix: str, recipe: ImageRecipe) -> tuple[Violation, ...]:
    """Everything that the recipe refuses of an image by its header, all at once; empty where it may be decoded.

    Args:
        size: of the file, in bytes.
        suffix: of its name, with the dot; empty where it has none.
    """
    return tuple(
        Violation(code=code, stage="probe", aspect=aspect, expected=expected, found=found)
        for code, aspect, expected, found in (
            *_over_budget(facts, size, recipe),
            *_against_policy(facts, suffix, recipe),
        )
    )


def notes(facts: HeaderFacts, *, suffix: str, recipe: ImageRecipe) -> tuple[Code, ...]:
    """What an image is remarkable for though it is kept."""
    gray = facts.channels < 3
    remarkable = {
        Code.WRONG_EXTENSION: bool(suffix) and claimed_format(suffix) != facts.format,
        Code.ALPHA: facts.alpha,
        Code.SIXTEEN_BIT: facts.bit_depth > 8,
        Code.EXIF_ORIENTATION: facts.orientation != 1,
        Code.ANIMATED: facts.frames > 1,
        Code.CMYK: facts.mode == "CMYK",
        Code.PALETTE: facts.mode in ("P", "PA"),
        Code.GRAY: gray and recipe.channels > 1,
        Code.COLOUR: not gray and recipe.channels == 1,
        Code.OVERSIZE: 2 * facts.rows * facts.cols > recipe.max_pixels,
    }
    return tuple(code for code, is_so in remarkable.items() if is_so)


_Breach = tuple[Code, str, str, str]
"""A code, and the aspect, what was expected and what was found, in words."""


def _over_budget(facts: HeaderFacts, size: int, recipe: ImageRecipe) -> Iterator[_Breach]:
    pixels = facts.rows * facts.cols
    if pixels > recipe.max_pixels:
        found = f"{facts.rows} x {facts.cols} = {pixels:,} pixels"
        yield Code.TOO_MANY_PIXELS, "pixels", f"at most {recipe.max_pixels:,} pixels", found
    if size > recipe.max_bytes:
        yield Code.TOO_MANY_BYTES, "bytes", f"at most {recipe.max_bytes:,} bytes", f"{size:,} bytes"


def _against_policy(facts: HeaderFacts, suffix: str, recipe: ImageRecipe) -> Iterator[_Breach]:
    if facts.format not in recipe.formats:
        yield Code.FORMAT_NOT_ALLOWED, "format", f"one of {', '.join(recipe.formats)}", facts.format
    if facts.alpha and recipe.alpha == "refuse":
        yield Code.ALPHA, "alpha", "an opaque image", f"{facts.mode} with transparency"
    if facts.orientation != 1 and recipe.orientation == "refuse":
        yield Code.EXIF_ORIENTATION, "orientation", "orientation 1", f"orientation {facts.orientation}"
    if facts.bit_depth > 8 and recipe.bit_depth == "refuse":
        yield Code.SIXTEEN_BIT, "bit depth", "at most 8 bits a channel", f"{facts.bit_depth} bits a channel"
    if facts.format == "npy" and facts.mode.startswith("float") and recipe.float_range is None:
        yield Code.UNSUPPORTED_DEPTH, "dtype", "image.float_range in the recipe, as [0, 1]", facts.mode
    if facts.bit_depth > 8 and recipe.bit_depth == "keep" and not _depth_survives(facts):
        found = f"{facts.format} {facts.mode} with {facts.bit_depth} bits a channel, which decodes to 8"
        yield Code.UNSUPPORTED_DEPTH, "bit depth", "8 bits, or a 16-bit PNG, gray TIFF or array", found
    if facts.frames > 1 and recipe.animation == "refuse":
        yield Code.ANIMATED, "frames", "1 frame", f"{facts.frames} frames"
    claimed = claimed_format(suffix)
    if claimed not in (None, facts.format) and _name_matters(facts, recipe):
        yield (
            Code.WRONG_EXTENSION,
            "name",
            f"one of {' '.join(SUFFIXES[facts.format])}",
            f"{facts.format} named {suffix}",
        )


def _depth_survives(facts: HeaderFacts) -> bool:
    """Whether decoding keeps more than 8 bits a channel."""
    return facts.format in ("png", "npy") or facts.mode.startswith("I;16")


def _name_matters(facts: HeaderFacts, recipe: ImageRecipe) -> bool:
    unreadable_to_tensorflow = facts.format in ("tiff", "avif", "npy")
    return recipe.extension == "strict" or (recipe.extension == "readable" and unreadable_to_tensorflow)


def _shown(content: bytes) -> str:
    return repr(content[:16]) + ("..." if len(content) > 16 else "")
