"""Pixels as they are, or a refusal."""

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from nhwc.pipelines.decode import Encoded, decode, decoder_of, reduction, upright
from nhwc.pipelines.probe import probe
from nhwc.validators.errors import SampleRefused
from nhwc.validators.violation import Code

GRADIENT = np.arange(7 * 5 * 3, dtype=np.uint8).reshape(7, 5, 3) * np.uint8(2)  # 7 rows, 5 cols


def saved(image: Image.Image | np.ndarray, format: str, **options: object) -> Encoded:
    out = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(out, format, **options)
    return Encoded(out.getvalue(), probe(out.getvalue()))


@pytest.mark.parametrize(
    ("format", "options", "decoder", "channels"),
    [
        *(("png", {}, "pillow", channels) for channels in (1, 2, 3, 4)),
        *(("tiff", {}, "pillow", channels) for channels in (1, 2, 3, 4)),
        *(("tiff", {"compression": "tiff_lzw"}, "pillow", channels) for channels in (1, 2, 3, 4)),
        ("bmp", {}, "pillow", 1),
        ("bmp", {}, "pillow", 3),
        ("webp", {"lossless": True}, "pillow", 3),
        ("webp", {"lossless": True, "exact": True}, "pillow", 4),
    ],
)
def test_lossless_formats_round_trip(format, options, decoder, channels):
    """What was saved comes back to the last bit, rows before cols, with the channels that the file has."""
    pixels = np.concatenate([GRADIENT, GRADIENT[..., :1] + np.uint8(5)], axis=-1)[..., :channels]
    encoded = saved(pixels[..., 0] if channels == 1 else pixels, format, **options)
    assert decoder == decoder_of(encoded.facts)
    np.testing.assert_array_equal(pixels, decode(encoded))


@pytest.mark.parametrize(
    ("mode", "options", "expected"),
    [
        ("1", {}, [[[0], [255]]]),
        ("L", {"transparency": 7}, [[[7, 0], [200, 255]]]),
        ("P", {}, [[[9, 8, 7], [200, 100, 50]]]),
        ("P", {"transparency": 1}, [[[9, 8, 7, 255], [200, 100, 50, 0]]]),
        ("RGB", {"transparency": (9, 8, 7)}, [[[9, 8, 7, 0], [200, 100, 50, 255]]]),
    ],
)
def test_png_colours_are_expanded(mode, options, expected):
    """One bit becomes 0 and 255, a palette its colours, a transparent colour alpha."""
    values = {"1": [0, 255], "L": [7, 200], "P": [0, 1], "RGB": [(9, 8, 7), (200, 100, 50)]}[mode]
    image = Image.new(mode, (2, 1))
    if mode == "P":
        image.putpalette([9, 8, 7, 200, 100, 50])
    for col, value in enumerate(values):
        image.putpixel((col, 0), value)
    np.testing.assert_array_equal(expected, decode(saved(image, "png", **options)))


@pytest.mark.parametrize("format", ["png", "tiff"])
def test_sixteen_bits_stay(format):
    """16-bit gray comes back as uint16, small values and large."""
    pixels = np.array([[0, 1, 255, 256, 4095, 65535]], np.uint16)
    decoded = decode(saved(pixels, format))
    assert decoded.dtype == np.uint16
    np.testing.assert_array_equal(pixels[..., np.newaxis], decoded)


@pytest.mark.parametrize("subsampling", [0, 2])
def test_jpeg_is_pillows(subsampling):
    """With the accurate DCT a JPEG's pixels are Pillow's, within 1."""
    photograph = np.random.default_rng(3).integers(0, 255, (40, 56, 3), np.uint8)
    encoded = saved(np.kron(photograph, np.ones((3, 3, 1), np.uint8)), "jpeg", subsampling=subsampling)
    with Image.open(io.BytesIO(encoded.content)) as image:
        judged = np.asarray(image).astype(int)
    assert np.abs(judged - decode(encoded)).max() <= 1


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_jpeg_of_other_colours(mode):
    """Gray stays one channel; CMYK becomes RGB."""
    decoded = decode(saved(Image.new(mode, (5, 7), 0 if mode == "L" else (0, 255, 255, 0)), "jpeg"))
    expected = np.zeros((7, 5, 1)) if mode == "L" else np.full((7, 5, 3), [255, 0, 0])
    assert expected.shape == decoded.shape
    assert np.abs(expected - decoded).max() <= 4


def test_a_gif_fills_its_canvas_and_is_its_first_frame():
    """Rows and cols are the canvas'; what is transparent has alpha 0; later frames are not seen."""
    first = Image.new("RGBA", (6, 4), (0, 0, 0, 0))
    first.paste((255, 0, 0, 255), (1, 1, 3, 2))
    encoded = saved(first, "gif", save_all=True, append_images=[Image.new("RGBA", (6, 4), (0, 255, 0, 255))])
    decoded = decode(encoded)
    assert (4, 6, 4) == decoded.shape
    assert [255, 0, 0, 255] == decoded[1, 1].tolist()
    assert decoded[0, 0, 3] == 0
    assert (decoded[..., 1] == 0).all()


def test_an_animated_webp_is_its_first_frame():
    """The file that kills TensorFlow's decoder: animated, without alpha."""
    first, second = (Image.new("RGB", (6, 4), colour) for colour in ("red", "blue"))
    decoded = decode(saved(first, "webp", save_all=True, append_images=[second], lossless=True))
    np.testing.assert_array_equal(np.full((4, 6, 3), [255, 0, 0]), decoded)


# how an upright picture is stored, for each orientation: the inverse of what a reader does (EXIF 2.3, tag 274)
STORED = {
    1: lambda up: up,
    2: lambda up: up[:, ::-1],
    3: lambda up: up[::-1, ::-1],
    4: lambda up: up[::-1],
    5: lambda up: up.transpose(1, 0, 2),
    6: np.rot90,
    7: lambda up: np.rot90(up, 2).transpose(1, 0, 2),
    8: lambda up: np.rot90(up, -1),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["png", "tiff"])
def test_eight_orientations_are_one_picture(format, orientation):
    """Stored in any orientation, the picture comes out upright when applied, and as stored when ignored."""
    exif = Image.Exif()
    exif[274] = orientation
    stored = np.ascontiguousarray(STORED[orientation](GRADIENT))
    encoded = saved(stored, format, **({"tiffinfo": {274: orientation}} if format == "tiff" else {"exif": exif}))
    assert orientation == encoded.facts.orientation
    np.testing.assert_array_equal(GRADIENT, decode(encoded, orientation="apply"))
    np.testing.assert_array_equal(stored, decode(encoded, orientation="ignore"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_leaves_whole_arrays(orientation):
    """The result is contiguous, whatever was turned."""
    assert upright(GRADIENT, orientation).flags.c_contiguous


@pytest.mark.parametrize("format", ["jpeg", "png", "bmp", "webp"])
def test_a_cut_file_is_truncated(format):
    """The first two thirds of a file are refused at stage decode as truncated."""
    noise = np.random.default_rng(5).integers(0, 255, (64, 64, 3), np.uint8)
    encoded = saved(noise, format)
    cut = encoded.content[: 2 * len(encoded.content) // 3]
    with pytest.raises(SampleRefused, match=f"a whole {format}") as refused:
        decode(Encoded(cut, probe(cut)))
    assert (Code.TRUNCATED, "decode") == (refused.value.violation.code, refused.value.violation.stage)


def test_damage_is_undecodable():
    """A whole PNG with a wrong checksum is refused, in one line and without a graph's node names."""
    encoded = saved(GRADIENT, "png")
    at = encoded.content.index(b"IDAT") + 8
    spoilt = encoded.content[:at] + bytes([encoded.content[at] ^ 255]) + encoded.content[at + 1 :]
    with pytest.raises(SampleRefused, match="Invalid PNG data") as refused:
        decode(Encoded(spoilt, encoded.facts))
    assert refused.value.violation.code == Code.UNDECODABLE
    assert "\n" not in str(refused.value)
    assert "node" not in str(refused.value)


def test_another_shape_than_the_headers_is_refused():
    """A decoder that gives other rows, cols or channels than the header said is not believed."""
    encoded = saved(GRADIENT, "bmp")
    lying = Encoded(encoded.content, replace(encoded.facts, channels=4))
    with pytest.raises(SampleRefused, match=r"found \(7, 5, 3\), expected \(7, 5, 4\)"):
        decode(lying)


def test_threads_decode_alike():
    """Many threads at once give the pixels that one gives."""
    encoded = [saved(GRADIENT, format) for format in ("png", "bmp", "tiff", "gif", "webp", "jpeg", "avif")] * 6
    alone = [decode(each) for each in encoded]
    with ThreadPoolExecutor(4) as threads:
        for expected, together in zip(alone, threads.map(decode, encoded), strict=True):
            np.testing.assert_array_equal(expected, together)


NOISE = np.random.default_rng(3).integers(0, 256, (64, 88, 3), np.uint8)


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"subsampling": 1}, {"quality": 20}]
)
@pytest.mark.parametrize("mode", ["L", "RGB", "YCbCr", "CMYK"])
def test_jpeg_has_the_values_of_the_accurate_dct(mode, options):
    """Whichever decoder it is: those of TensorFlow's INTEGER_ACCURATE, to the last bit."""
    encoded = saved(Image.fromarray(NOISE).convert(mode), "jpeg", **options)
    assert ("tensorflow" if mode == "CMYK" else "libjpeg-turbo") == decoder_of(encoded.facts)
    expected = tf.io.decode_jpeg(encoded.content, dct_method="INTEGER_ACCURATE")
    np.testing.assert_array_equal(expected, decode(encoded))


def test_a_jpeg_that_libjpeg_warns_of_is_left_to_tensorflow():
    """Bytes between the scan and the end are a warning, and no loss: the pixels are those of the whole file."""
    encoded = saved(NOISE, "jpeg")
    warned = encoded.content[:-2] + b"\0\0\0\0" + encoded.content[-2:]
    np.testing.assert_array_equal(decode(encoded), decode(Encoded(warned, encoded.facts)))


@pytest.mark.parametrize(
    ("size", "orientation", "target", "by"),
    [
        ((3000, 4000), 1, (224, 224), 4),  # by 8 would leave 375, less than twice 224
        ((3000, 4000), 1, (100, 100), 8),
        ((3000, 4000), 1, (1000, 1000), 1),
        ((800, 4000), 1, (100, 300), 4),
        ((4000, 800), 6, (100, 300), 4),  # turned: its rows are the target's cols
        ((4000, 800), 1, (100, 300), 1),
        ((32, 32), 1, (8, 8), 2),
    ],
)
def test_reduction_leaves_twice_the_target(size, orientation, target, by):
    """The largest of 8, 4 and 2 that does, else 1."""
    facts = replace(saved(NOISE, "jpeg").facts, rows=size[0], cols=size[1], orientation=orientation)
    assert by == reduction(facts, rows=target[0], cols=target[1])


@pytest.mark.parametrize("mode", ["CMYK", "RGBA"])
def test_only_what_libjpeg_decodes_is_reduced(mode):
    """Not CMYK, not PNG."""
    encoded = saved(Image.fromarray(NOISE).convert(mode), "jpeg" if mode == "CMYK" else "png")
    assert reduction(encoded.facts, rows=1, cols=1) == 1


@pytest.mark.parametrize("size", [(64, 88), (63, 81), (57, 87)])
@pytest.mark.parametrize("by", [2, 4, 8])
@pytest.mark.parametrize("damaged", [False, True])
def test_reduced_pixels(size, by, damaged):
    """TensorFlow's at the same ratio, rows and cols rounded up; a file that libjpeg warns of alike."""
    encoded = saved(NOISE[: size[0], : size[1]], "jpeg")
    content = encoded.content[:-2] + b"\0\0" * damaged + encoded.content[-2:]
    reduced = decode(Encoded(content, encoded.facts), reduced_by=by)
    assert (-(-size[0] // by), -(-size[1] // by), 3) == reduced.shape
    expected = tf.io.decode_jpeg(encoded.content, ratio=by, dct_method="INTEGER_ACCURATE")
    np.testing.assert_array_equal(expected, reduced)
