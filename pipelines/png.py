"""PNG without TensorFlow, whose import alone takes seconds and half a gigabyte: what is plain, and whole beyond doubt.

TensorFlow's decoder lets pass much that is damaged, Pillow's lets pass more. So what is read here keeps every rule that
bears on its pixels: then there is one way to read it, and all decoders agree.
"""

from __future__ import annotations

import re
import struct
import zlib

from PIL import Image

from nhwc.pipelines.header import HeaderFacts

MOST_SIDE = 1 << 14
"""Of what is read here: far above any plain image, and below every decoder's own limits."""

_RAW_MODES = {
    ("1", 1): "1", ("L", 2): "L;2", ("L", 4): "L;4", ("L", 8): "L", ("I;16", 16): "I;16B",
    ("P", 1): "P;1", ("P", 2): "P;2", ("P", 4): "P;4", ("P", 8): "P",
    ("LA", 8): "LA", ("RGB", 8): "RGB", ("RGBA", 8): "RGBA",
}  # fmt: skip
"""How Pillow calls the bytes of a mode and a bit depth; it does not keep 16 bits of a colour."""

_CHANNELS = {"LA": 2, "RGB": 3, "RGBA": 4}

_LETTERS = {b"IHDR": b"H", b"PLTE": b"P", b"tRNS": b"T", b"IDAT": b"D", b"IEND": b"E"}
_ORDER = re.compile(rb"H-*(P-*)?(T-*)?D+-*E")
"""Of the chunks; `-` is one that may be left out."""


def is_plain(facts: HeaderFacts) -> bool:
    """Whether it is of a kind that `plain_png` reads: one size, no transparent colour, 8 bits a colour at most."""
    if (
        facts.format != "png"
        or max(facts.rows, facts.cols) > MOST_SIDE
        or (facts.mode, facts.bit_depth) not in _RAW_MODES
    ):
        return False
    return not facts.alpha or facts.mode in ("P", "LA", "RGBA")


def plain_png(content: bytes, facts: HeaderFacts) -> Image.Image | None:
    """The pixels of a plain PNG: mode L, LA, I;16, RGB or RGBA; palettes and bits are expanded, 1 bit to 0 and 255.

    Returns None where a checksum, the order of its chunks, or any length is not as it must be, or it is interlaced.
    """
    chunks = _chunks(content)
    if chunks is None or chunks[b"IHDR"][10:] != b"\0\0\0":
        return None
    raw_mode, size = _RAW_MODES[facts.mode, facts.bit_depth], (facts.cols, facts.rows)
    line = 1 + (facts.cols * facts.bit_depth * _CHANNELS.get(facts.mode, 1) + 7) // 8
    stored, palette = _stored(chunks[b"IDAT"], facts.rows * line), _palette(chunks, facts)
    if stored is None or palette is None:
        return None
    try:
        image = Image.frombytes(facts.mode, size, stored, "zip", raw_mode)
    except ValueError:  # no such filter
        return None
    if facts.mode == "P":
        image.putpalette(palette, "RGBA" if facts.alpha else "RGB")
        return image.convert("RGBA" if facts.alpha else "RGB")
    return image.convert("L") if facts.mode == "1" else image


def _chunks(content: bytes) -> dict[bytes, bytes] | None:
    """The payload of each chunk that pixels need, those of IDAT in one; None where one is damaged or out of place."""
    view, order, position = memoryview(content), bytearray(), 8
    found: dict[bytes, list[memoryview]] = {kind: [] for kind in _LETTERS}
    while not order.endswith(b"E"):
        if position + 12 > len(content):
            return None
        length, kind = struct.unpack_from(">I4s", content, position)
        end = position + 12 + length
        if end > len(content) or not kind.isalpha():
            return None
        if zlib.crc32(view[position + 4 : end - 4]) != struct.unpack_from(">I", content, end - 4)[0]:
            return None
        order += _LETTERS.get(kind, b"-" if kind[0] & 0x20 else b"?")  # a capital: nobody may leave it out
        if kind in found:
            found[kind].append(view[position + 8 : end - 4])
        position = end
    return {kind: b"".join(parts) for kind, parts in found.items()} if _ORDER.fullmatch(order) else None


def _stored(stream: bytes, size: int) -> bytes | None:
    """The lines as a stream that is not compressed; None where they are not so many bytes, or their checksum is wrong.

    Pillow, which undoes the filters, says nothing of lines that are missing; and so it need not inflate them again.
    """
    inflater = zlib.decompressobj()
    try:
        lines = inflater.decompress(stream, size + 1)
    except zlib.error:
        return None
    return zlib.compress(lines, 0) if inflater.eof and len(lines) == size else None


def _palette(chunks: dict[bytes, bytes], facts: HeaderFacts) -> bytes | None:
    """256 colours RGB, or RGBA where some are transparent: black where there are fewer. None where there cannot be."""
    colours, alphas = chunks[b"PLTE"], chunks[b"tRNS"]
    if facts.mode != "P":
        return None if alphas else b""
    count = len(colours) // 3
    if len(colours) % 3 or not 0 < count <= 1 << facts.bit_depth or len(alphas) > count or facts.alpha != bool(alphas):
        return None
    if not alphas:
        return colours.ljust(768, b"\0")
    parts = (colours[0::3], colours[1::3], colours[2::3], alphas.ljust(256, b"\xff"))
    return b"".join(bytes(colour) for colour in zip(*(part.ljust(256, b"\0") for part in parts), strict=True))
