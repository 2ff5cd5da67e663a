"""What is read of PNG without TensorFlow has TensorFlow's pixels; what is not whole beyond doubt is left to it."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from nhwc.pipelines.decode import Encoded, NeedsTensorFlow, decode
from nhwc.pipelines.png import is_plain, plain_png
from nhwc.pipelines.probe import probe
from nhwc.validators.errors import SampleRefused

NOISE = np.random.default_rng(4).integers(0, 256, (9, 13, 4), np.uint8)
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def header(colour: int, depth: int = 8, interlaced: int = 0) -> bytes:
    """Of 2 rows and 3 cols."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", 3, 2, depth, colour, 0, 0, interlaced))


def pixels(lines: bytes) -> bytes:
    return chunk(b"IDAT", zlib.compress(lines))


END = chunk(b"IEND", b"")
GRAY = pixels(b"\0abc\0def")
INDICES = pixels(b"\0\0\1\2\0\2\1\7")


def saved(mode: str, **options: object) -> bytes:
    out = io.BytesIO()
    image = Image.fromarray(NOISE).convert("L").convert("I;16") if mode == "I;16" else Image.fromarray(NOISE)
    image.convert(mode).save(out, "png", **options)
    return out.getvalue()


def no_tensorflow() -> None:
    raise NeedsTensorFlow


@pytest.mark.parametrize(
    "content",
    [
        *(saved(mode) for mode in ("1", "L", "LA", "RGB", "RGBA", "P", "I;16")),
        *(saved("P", bits=bits) for bits in (1, 2, 4)),
        saved("P", transparency=bytes([0, 100, 200])),
        saved("RGB", exif=Image.Exif()),
        SIGNATURE + header(0, 2) + pixels(b"\0\x1b\0\xe4") + END,
        SIGNATURE + header(3) + chunk(b"PLTE", b"abcdef") + INDICES + END,  # two colours, and indices above
        SIGNATURE + header(3) + chunk(b"PLTE", b"abcdef") + chunk(b"tRNS", b"\7") + INDICES + END,
        SIGNATURE + header(0) + chunk(b"tEXt", b"a\0b") + GRAY + chunk(b"tIME", bytes(7)) + END + b"more",
    ],
)
def test_a_plain_png_has_tensorflows_pixels(content):
    """To the last bit, dtype and channels, and without it."""
    decoded = decode(Encoded(content, probe(content), no_tensorflow))
    expected = tf.io.decode_png(content, dtype=decoded.dtype)
    assert (expected.dtype.as_numpy_dtype, tuple(expected.shape)) == (decoded.dtype, decoded.shape)
    np.testing.assert_array_equal(expected, decoded)


@pytest.mark.parametrize(
    "content",
    [
        SIGNATURE + header(0) + pixels(b"\0abc") + END,  # a line too few
        SIGNATURE + header(0) + pixels(b"\0abc\0defg") + END,
        SIGNATURE + header(0) + pixels(b"\0abc\5def") + END,  # no such filter
        SIGNATURE + header(0) + chunk(b"IDAT", zlib.compress(b"\0abc\0def")[:-1] + b"x") + END,
        SIGNATURE + header(0) + chunk(b"IDAT", b"no zlib") + END,
        SIGNATURE + header(0) + GRAY[:-1] + b"x" + END,
        SIGNATURE + header(0) + GRAY,
        SIGNATURE + header(0) + GRAY + END[:-1],
        SIGNATURE + header(0) + chunk(b"ABCD", b"") + GRAY + END,
        SIGNATURE + header(0) + chunk(b"a1cd", b"") + GRAY + END,
        SIGNATURE + header(0) + GRAY + chunk(b"tEXt", b"a\0b") + chunk(b"IDAT", b"") + END,
        SIGNATURE + header(0, interlaced=1) + GRAY + END,
        SIGNATURE + header(3) + INDICES + END,
        SIGNATURE + header(3) + chunk(b"PLTE", b"abcde") + INDICES + END,
        SIGNATURE + header(3) + chunk(b"tRNS", b"\7") + chunk(b"PLTE", b"abc") + INDICES + END,
        SIGNATURE + header(3) + chunk(b"PLTE", b"abc") + chunk(b"tRNS", b"\7\7") + INDICES + END,
        saved("RGB", transparency=(9, 8, 7)),
        SIGNATURE + header(2, 16) + pixels((b"\0" + bytes(18)) * 2) + END,
    ],
)
def test_what_is_special_or_not_whole_is_left_to_tensorflow(content):
    """It decides whether the file is read; a caller that wants no TensorFlow is told."""
    with pytest.raises(NeedsTensorFlow):
        decode(Encoded(content, probe(content), no_tensorflow))


def test_the_corpus_has_tensorflows_pixels(corpus: Path, monkeypatch: pytest.MonkeyPatch):
    """Every PNG of the test suites that is read without it."""
    plain = 0
    for path in sorted(path for part in ("breaking", "reference") for path in (corpus / part).rglob("*.png")):
        content = path.read_bytes()
        try:
            facts = probe(content)
        except SampleRefused:
            continue
        if facts.rows * facts.cols <= 1 << 22 and is_plain(facts) and plain_png(content, facts) is not None:
            plain += 1
            ours = decode(Encoded(content, facts, no_tensorflow))
            with monkeypatch.context() as patched:
                patched.setattr("nhwc.pipelines.decode.plain_png", lambda *_: None)
                theirs = decode(Encoded(content, facts))
            np.testing.assert_array_equal(theirs, ours, err_msg=path.name)
    assert plain > 250
