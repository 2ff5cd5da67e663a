"""What the header of each format says, by content alone: no pixel is decoded, nothing is imported that could.

JPEG, PNG, GIF and WebP are read here, since Pillow would inflate a text chunk, load pixels to find EXIF, or print
warnings for a damaged comment. BMP, TIFF and AVIF have more variants than a page: there Pillow says what they are.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from io import BytesIO

import numpy as np

from nhwc.pipelines.npy import DEPTHS, MOST_CHANNELS, read_npy_header, swapped_hint
from nhwc.pipelines.pillow import open_image
from nhwc.pipelines.tiff import read_pages
from nhwc.validators.errors import SampleRefused
from nhwc.validators.violation import Code, Violation

MAX_SCANS = 100
"""A progressive JPEG needs about 10 scans; each further one costs a pass over all coefficients."""


@dataclass(frozen=True, kw_only=True)
class HeaderFacts:
    """What a header says of an image.

    Args:
        format: one of image_recipe.FORMATS.
        rows, cols: as stored, before any EXIF orientation; of a GIF the whole canvas.
        channels: what a faithful decode yields: 1 gray, 2 gray and alpha, 3 RGB, 4 RGBA.
        bit_depth: bits a channel (of a palette image: bits an index).
        mode: the source's colour mode in Pillow's words: 1, L, LA, P, RGB, RGBA, CMYK, I;16, ...; an array's dtype.
        alpha: whether it has an alpha channel or a transparent colour.
        orientation: EXIF orientation 1 to 8; 1 where there is none, or none that is valid.
        frames: frames or pages; the images that an MPO file appends count not.
    """

    format: str
    rows: int
    cols: int
    channels: int
    bit_depth: int
    mode: str
    alpha: bool
    orientation: int = 1
    frames: int = 1


def refused(code: Code, aspect: str, *, expected: str, found: str, hint: str = "") -> SampleRefused:
    """The refusal of one sample at stage `probe`, to be raised."""
    return SampleRefused(Violation(code=code, stage="probe", aspect=aspect, expected=expected, found=found, hint=hint))


def read_header(content: bytes, format: str) -> HeaderFacts:
    """The facts of an image of that format. Raises SampleRefused where the header is damaged or not to be read."""
    try:
        facts = _READERS[format](content)
    except (struct.error, IndexError, OverflowError) as error:
        raise _damaged(f"{len(content):,} bytes that end within the header") from error
    if facts.rows < 1 or facts.cols < 1:
        raise _damaged(f"{facts.rows} rows and {facts.cols} cols")
    return facts


def ends_early(content: bytes, format: str) -> bool:
    """Whether the file stops before the mark that ends every image of its format (JPEG, PNG, WebP; else False)."""
    if format == "jpeg":
        return content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda")
    if format == "png":
        return all(kind != b"IEND" for kind, _, _ in _png_chunks(content))
    return format == "webp" and len(content) < 8 + struct.unpack_from("<I", content, 4)[0]


def exif_orientation(exif: bytes) -> int:
    """EXIF tag 274 of IFD 0: 1 to 8. Whatever is damaged, missing or out of range counts as 1: upright."""
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(f"{order}I", exif, 4)
        (entries,) = struct.unpack_from(f"{order}H", exif, start)
        for entry in range(start + 2, start + 2 + 12 * entries, 12):
            tag, kind, count = struct.unpack_from(f"{order}HHI", exif, entry)
            if tag == 274 and kind in (3, 4) and count == 1:
                (value,) = struct.unpack_from(f"{order}{'H' if kind == 3 else 'I'}", exif, entry + 8)
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass  # the pixels are none the worse for a damaged EXIF block
    return 1


def _damaged(found: str) -> SampleRefused:
    return refused(Code.DAMAGED_HEADER, "header", expected="a whole header", found=found)


# JPEG: ISO/IEC 10918-1, annex B
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE = frozenset({0x00, 0x01, 0xD8, *range(0xD0, 0xD8)})
_LONE_LF = re.compile(rb"(?<!\r)\n")
_NEXT_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]", re.DOTALL)

_TEXT_LINES = 4
"""So many LF in tables and pixels, each after a CR, are no chance: 1 in 256 to the 4th. The standard Huffman tables
alone (ISO/IEC 10918-1, K.3) have four without a CR. Decoders take what is left, and give garbage."""


def _jpeg(content: bytes) -> HeaderFacts:
    frame, exif, tables, scan = b"", b"", 0, 0
    for marker, start, end in _jpeg_segments(content):
        if marker in _FRAME_MARKERS and not frame:
            frame = content[start:end]
        elif marker == 0xE1 and content.startswith(b"Exif\0\0", start):
            exif += content[start + 6 : end]
        elif marker in (0xC4, 0xDB):
            tables = tables or start
        elif marker == 0xDA:
            scan = end
            break
    # the first lone LF settles it, mostly after some hundred bytes
    if not _LONE_LF.search(content, tables) and (ends := content.count(b"\r\n", tables)) >= _TEXT_LINES:
        found = f"CR LF for each of {ends:,} LF: it was copied as text"
        raise refused(Code.LINE_ENDS, "bytes", expected="bytes as they were saved", found=found)
    if not frame or not scan:
        raise _damaged("no frame header before the first scan" if scan else "no scan: the bytes end before the pixels")
    depth, rows, cols, components = struct.unpack_from(">BHHB", frame)
    if depth != 8:
        raise refused(Code.UNSUPPORTED_DEPTH, "bit depth", expected="a JPEG of 8 bits", found=f"{depth} bits")
    if components not in (1, 3, 4):
        raise refused(Code.UNSUPPORTED_MODE, "channels", expected="1, 3 or 4 components", found=str(components))
    # two bytes of a thumbnail can look like a scan too: count exactly only where there are very many
    if scan_marks(content) > MAX_SCANS and (scans := _jpeg_scans(content, scan)) > MAX_SCANS:
        raise refused(Code.TOO_MANY_SCANS, "scans", expected=f"at most {MAX_SCANS} scans", found=f"{scans} scans")
    mode = {1: "L", 3: "RGB", 4: "CMYK"}[components]
    return HeaderFacts(
        format="jpeg", rows=rows, cols=cols, channels=min(components, 3), bit_depth=depth, mode=mode, alpha=False,
        orientation=exif_orientation(exif),
    )  # fmt: skip


def _jpeg_segments(content: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, start, end) of each segment's payload, up to the first end of an image."""
    position = 2
    while (position := content.find(b"\xff", position)) >= 0:
        while content[position] == 0xFF:
            position += 1
        marker = content[position]
        position += 1
        if marker == 0xD9:
            return
        if marker not in _ALONE:
            end = position + max(struct.unpack_from(">H", content, position)[0], 2)
            yield marker, position + 2, end
            position = end


def scan_marks(content: bytes) -> int:
    """How often the two bytes that begin a JPEG's scan stand in it, which has two at least."""
    at_even, at_odd = (np.frombuffer(content, "<u2", (len(content) - first) // 2, first) for first in (0, 1))
    return int(np.count_nonzero(at_even == 0xDAFF) + np.count_nonzero(at_odd == 0xDAFF))


def _jpeg_scans(content: bytes, position: int) -> int:
    """How many scans follow one another, the one before this position included, up to the end of the image."""
    scans = 1
    while (match := _NEXT_MARKER.search(content, position)) and match[0] != b"\xff\xd9":
        scans += match[0] == b"\xff\xda"
        position = match.end()
    return scans


# PNG: W3C PNG specification, third edition
_PNG_MODES = {0: ("L", 1), 2: ("RGB", 3), 3: ("P", 3), 4: ("LA", 2), 6: ("RGBA", 4)}


def _png(content: bytes) -> HeaderFacts:
    kind, _, _ = next(_png_chunks(content), (b"nothing", 0, 0))
    if kind != b"IHDR":
        raise _damaged(f"{kind.decode('latin-1')} instead of the chunk IHDR")
    cols, rows, depth, colour = struct.unpack_from(">IIBB", content, 16)
    if zlib.crc32(content[12:29]) != struct.unpack_from(">I", content, 29)[0]:
        raise _damaged("a chunk IHDR whose checksum is wrong")
    if colour not in _PNG_MODES or depth not in (1, 2, 4, 8, 16):
        raise _damaged(f"colour type {colour} with {depth} bits")
    transparent, exif, animated, in_animation, pixels = False, b"", 0, False, False
    for kind, start, end in _png_chunks(content):
        if kind == b"tRNS":
            transparent = True
        elif kind == b"eXIf":
            exif = content[start:end]
        elif kind == b"acTL" and not pixels:
            (animated,) = struct.unpack_from(">I", content, start)
        elif kind == b"fcTL" and not pixels:
            in_animation = True
        pixels = pixels or kind == b"IDAT"
    if not pixels:
        raise _damaged("no chunk IDAT: the bytes end before the pixels")
    mode, channels = _PNG_MODES[colour]
    if mode == "L" and depth in (1, 16):
        mode = "1" if depth == 1 else "I;16"
    return HeaderFacts(
        format="png", rows=rows, cols=cols, channels=channels + transparent, bit_depth=depth, mode=mode,
        alpha=transparent or colour in (4, 6), orientation=exif_orientation(exif),
        # a still image that stands outside its animation is one more; above 2^31 the count is invalid
        frames=animated + (not in_animation) if 0 < animated < 1 << 31 else 1,
    )  # fmt: skip


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start, end) of each chunk's payload, as far as the bytes go."""
    position = 8
    while position + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, position)
        yield kind, position + 8, position + 8 + length
        position += 12 + length


# GIF: CompuServe GIF89a specification
def _gif(content: bytes) -> HeaderFacts:
    cols, rows, flags = struct.unpack_from("<HHB", content, 6)
    palette, position = _gif_palette(content, 13, flags)
    transparent, frames = False, 0
    try:
        while content[position] != 0x3B:
            block = content[position]
            if block == 0x21:  # an extension; label 0xF9 says what is transparent in the frame after it
                is_control = content[position + 1] == 0xF9 and content[position + 2] > 0
                transparent = transparent or (is_control and frames == 0 and bool(content[position + 3] & 1))
                position = _after_blocks(content, position + 2)
            elif block == 0x2C:
                left, top, width, height, flags = struct.unpack_from("<HHHHB", content, position + 1)
                local, position = _gif_palette(content, position + 10, flags)
                frames += 1
                if frames == 1:
                    palette = local or palette
                    rows, cols = max(rows, top + height), max(cols, left + width)
                position = _after_blocks(content, position + 1)
            else:
                position += 1
    except (IndexError, struct.error):
        pass  # cut short: what was counted so far is what is there
    if not frames:
        raise _damaged("no image in it")
    gray = palette == bytes(index for index in range(len(palette) // 3) for _ in range(3))
    return HeaderFacts(
        format="gif", rows=rows, cols=cols, channels=(1 if gray else 3) + transparent, bit_depth=8,
        mode="L" if gray else "P", alpha=transparent, frames=frames,
    )  # fmt: skip


def _gif_palette(content: bytes, position: int, flags: int) -> tuple[bytes, int]:
    """The colour table at this position, empty where the flags say none, and the position after it."""
    end = position + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)
    return content[position:end], end


def _after_blocks(content: bytes, position: int) -> int:
    while length := content[position]:
        position += 1 + length
    return position + 1


# WebP: RFC 9649
def _webp(content: bytes) -> HeaderFacts:
    kind, alpha, frames, exif = content[12:16], False, 1, b""
    if kind == b"VP8X":
        flags = content[20]
        cols, rows = (int.from_bytes(content[at : at + 3], "little") + 1 for at in (24, 27))
        alpha = bool(flags & 0x10)
        chunks = list(_webp_chunks(content))
        exif = next((content[start:end] for name, start, end in chunks if name == b"EXIF"), b"")
        frames = max(sum(name == b"ANMF" for name, _, _ in chunks), 1)
    elif kind == b"VP8L" and content[20] == 0x2F:
        (bits,) = struct.unpack_from("<I", content, 21)
        cols, rows, alpha = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bool(bits >> 28 & 1)
    elif kind == b"VP8 " and content[23:26] == b"\x9d\x01\x2a":
        cols, rows = (side & 0x3FFF for side in struct.unpack_from("<HH", content, 26))
    else:
        raise _damaged(f"no WebP bitstream: {kind!r}")
    return HeaderFacts(
        format="webp", rows=rows, cols=cols, channels=4 if alpha else 3, bit_depth=8, mode="RGBA" if alpha else "RGB",
        alpha=alpha, orientation=exif_orientation(exif), frames=frames,
    )  # fmt: skip


def _webp_chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    position = 12
    while position + 8 <= len(content):
        name, length = struct.unpack_from("<4sI", content, position)
        yield name, position + 8, position + 8 + length
        position += 8 + length + length % 2


# BMP, TIFF and AVIF: Pillow knows their variants
_CHANNELS = {
    "1": 1, "L": 1, "I;16": 1, "I;16B": 1, "LA": 2, "P": 3, "RGB": 3, "CMYK": 3, "YCbCr": 3, "PA": 4, "RGBA": 4,
}  # fmt: skip


_MAX_SAMPLES = 6  # the most channels of a TIFF that Pillow knows


def _bmp(content: bytes) -> HeaderFacts:
    (bits,) = struct.unpack_from("<H", content, 24 if content[14] == 12 else 28)
    return _by_pillow(content, "bmp", bit_depth=min(bits, 8))


def _avif(content: bytes) -> HeaderFacts:
    at = content.find(b"av1C")  # AV1 codec configuration: bits 6 and 5 of its third byte are high_bitdepth, twelve_bit
    high = content[at + 6] if at >= 0 else 0
    return _by_pillow(content, "avif", bit_depth=8 if not high & 0x40 else 12 if high & 0x20 else 10)


def _tiff(content: bytes) -> HeaderFacts:
    try:
        pages = read_pages(content)
    except ValueError as error:
        raise _damaged(str(error)) from error
    (samples, *_) = pages.first.get(277, (1,))
    if samples > _MAX_SAMPLES:
        raise _damaged(f"{samples} channels")
    depth, kinds = max(pages.first.get(258, (1,))), set(pages.first.get(339, (1,)))
    photometric, (orientation, *_) = pages.first.get(262, (0,))[0], pages.first.get(274, (1,))
    if depth not in (1, 2, 4, 8, 16) or not kinds <= {1, 4}:
        names = "|".join({1: "unsigned", 2: "signed", 3: "float"}.get(kind, str(kind)) for kind in sorted(kinds))
        raise refused(
            Code.UNSUPPORTED_DEPTH,
            "bit depth",
            expected="1, 2, 4, 8 or 16 bits, unsigned",
            found=f"{depth} bits, {names}",
        )
    if depth == 16 and photometric == 0:  # Pillow would return it as a negative
        raise refused(
            Code.UNSUPPORTED_MODE, "colour space", expected="16-bit gray with black as zero", found="white as zero"
        )
    facts = _by_pillow(content, "tiff", bit_depth=depth)
    return replace(facts, frames=pages.count, orientation=orientation if 1 <= orientation <= 8 else 1)


def _by_pillow(content: bytes, format: str, *, bit_depth: int) -> HeaderFacts:
    try:
        image = open_image(content, format)
    except Exception as error:  # Pillow raises nearly anything on a damaged header
        found = f"{type(error).__name__}: {error}"
        if "nsupported" in found or "unknown pixel mode" in found:
            raise refused(Code.UNSUPPORTED_MODE, "colour space", expected=f"a usual {format}", found=found) from error
        raise _damaged(found) from error
    if image.mode not in _CHANNELS:
        raise refused(Code.UNSUPPORTED_MODE, "colour space", expected="gray, palette, RGB or CMYK", found=image.mode)
    return HeaderFacts(
        format=format, rows=image.height, cols=image.width, channels=_CHANNELS[image.mode], bit_depth=bit_depth,
        mode=image.mode, alpha=image.mode in ("LA", "PA", "RGBA"), orientation=image.info.get("orientation", 1),
        frames=getattr(image, "n_frames", 1) if format == "avif" else 1,
    )  # fmt: skip


def _npy(content: bytes) -> HeaderFacts:
    try:
        header = read_npy_header(BytesIO(content))
    except ValueError as error:
        raise _damaged(str(error).split("\n")[0][:200]) from error
    shape, dtype = header.shape, header.dtype
    if dtype.name not in DEPTHS:
        raise refused(Code.UNSUPPORTED_DEPTH, "dtype", expected=f"one of {', '.join(DEPTHS)}", found=dtype.name)
    if len(shape) not in (2, 3):
        expected = "2 (rows, cols) or 3 (rows, cols, channels)"
        raise refused(Code.WRONG_RANK, "rank", expected=expected, found=f"{len(shape)} {shape}")
    rows, cols, channels = (*shape, 1)[:3]
    if rows and cols and not 1 <= channels <= MOST_CHANNELS:
        found = f"{channels} in {shape}"
        raise refused(
            Code.WRONG_CHANNELS, "channels", expected=f"1 to {MOST_CHANNELS}", found=found, hint=swapped_hint(shape)
        )
    return HeaderFacts(
        format="npy", rows=rows, cols=cols, channels=channels, bit_depth=DEPTHS[dtype.name], mode=dtype.name,
        alpha=channels in (2, 4),
    )  # fmt: skip


_READERS: Mapping[str, Callable[[bytes], HeaderFacts]] = {
    "jpeg": _jpeg, "png": _png, "gif": _gif, "bmp": _bmp, "webp": _webp, "tiff": _tiff, "avif": _avif,
    "npy": _npy,
}  # fmt: skip
