"""Headers by content, and the recipe's policy before a pixel is decoded."""

import io
import struct
import subprocess
import sys
import zlib
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nhwc.pipelines.image_recipe import FORMATS, ImageRecipe
from nhwc.pipelines.npy import npy_bytes
from nhwc.pipelines.probe import SUFFIXES, HeaderFacts, admit, claimed_format, notes, probe, sniff
from nhwc.validators.errors import SampleRefused
from nhwc.validators.violation import Code

RECIPE = ImageRecipe(rows=8, cols=8)
FACTS = HeaderFacts(format="png", rows=60, cols=90, channels=3, bit_depth=8, mode="RGB", alpha=False)


def encoded(format: str, mode: str = "RGB", *, size: tuple[int, int] = (5, 3), **options: object) -> bytes:
    out = io.BytesIO()
    if format == "npy":
        return npy_bytes(np.asarray(Image.new(mode, size)))
    Image.new(mode, size).save(out, format, **options)
    return out.getvalue()


def exif(orientation: int, order: str = "<") -> bytes:
    mark = b"II*\0" if order == "<" else b"MM\0*"
    entry = struct.pack(f"{order}HHIH2x", 274, 3, 1, orientation)
    return b"Exif\0\0" + mark + struct.pack(f"{order}IH", 8, 1) + entry + bytes(4)


def png_chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def with_png_chunk(png: bytes, kind: bytes, payload: bytes) -> bytes:
    """The PNG with one more chunk after its header."""
    return png[:33] + png_chunk(kind, payload) + png[33:]


@pytest.mark.parametrize(
    ("format", "mode", "options", "channels", "bit_depth", "seen_mode"),
    [
        ("jpeg", "L", {}, 1, 8, "L"),
        ("jpeg", "RGB", {}, 3, 8, "RGB"),
        ("jpeg", "RGB", {"progressive": True}, 3, 8, "RGB"),
        ("jpeg", "CMYK", {}, 3, 8, "CMYK"),
        ("png", "1", {}, 1, 1, "1"),
        ("png", "L", {}, 1, 8, "L"),
        ("png", "I;16", {}, 1, 16, "I;16"),
        ("png", "LA", {}, 2, 8, "LA"),
        ("png", "P", {}, 3, 1, "P"),
        ("png", "P", {"transparency": 0}, 4, 1, "P"),
        ("png", "RGB", {"transparency": (0, 0, 0)}, 4, 8, "RGB"),
        ("png", "RGBA", {}, 4, 8, "RGBA"),
        ("gif", "RGB", {}, 3, 8, "P"),
        ("gif", "RGBA", {}, 4, 8, "P"),
        ("bmp", "1", {}, 1, 1, "1"),
        ("bmp", "RGB", {}, 3, 8, "RGB"),
        ("webp", "RGB", {}, 3, 8, "RGB"),
        ("webp", "RGB", {"lossless": True}, 3, 8, "RGB"),
        ("webp", "RGBA", {"lossless": True, "exact": True}, 4, 8, "RGBA"),
        ("tiff", "1", {}, 1, 1, "1"),
        ("tiff", "L", {}, 1, 8, "L"),
        ("tiff", "LA", {}, 2, 8, "LA"),
        ("tiff", "I;16", {}, 1, 16, "I;16"),
        ("tiff", "P", {}, 3, 8, "P"),
        ("tiff", "RGBA", {"compression": "tiff_deflate"}, 4, 8, "RGBA"),
        ("tiff", "CMYK", {}, 3, 8, "CMYK"),
        ("avif", "RGB", {}, 3, 8, "RGB"),
        ("avif", "RGBA", {}, 4, 8, "RGBA"),
    ],
)
def test_header_facts(format, mode, options, channels, bit_depth, seen_mode):
    """Format, rows before cols, channels of a faithful decode, depth, mode and alpha, for each format and mode."""
    facts = probe(encoded(format, mode, **options))
    expected = HeaderFacts(
        format=format, rows=3, cols=5, channels=channels, bit_depth=bit_depth, mode=seen_mode, alpha=channels in (2, 4)
    )
    assert expected == facts


def test_a_gif_whose_palette_is_the_gray_ramp_is_gray():
    """A palette that maps each index to its own shade is no palette: one channel."""
    out = io.BytesIO()
    Image.frombytes("L", (16, 16), bytes(range(256))).save(out, "gif", optimize=False)
    facts = probe(out.getvalue())
    assert (facts.channels, facts.mode) == (1, "L")


@pytest.mark.parametrize("orientation", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 65535])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("format", ["jpeg", "png", "webp"])
def test_orientation(format, order, orientation):
    """EXIF orientation of either byte order is read; a value that is none of 1 to 8 counts 1."""
    facts = probe(encoded(format, exif=exif(orientation, order)))
    assert (3, 5) == (facts.rows, facts.cols)
    assert (orientation if 1 <= orientation <= 8 else 1) == facts.orientation


@pytest.mark.parametrize("orientation", [1, 6, 8])
def test_orientation_of_a_tiff(orientation):
    """Tag 274 of the page itself; rows and cols stay as stored."""
    facts = probe(encoded("tiff", tiffinfo={274: orientation}))
    assert (3, 5, orientation) == (facts.rows, facts.cols, facts.orientation)


@given(block=st.binary(max_size=200), after=st.sampled_from([b"", b"II*\0", b"MM\0*", exif(6)[6:20]]))
def test_damaged_exif_never_refuses(block, after):
    """Whatever stands in the EXIF block, the header is read and the orientation is one of 1 to 8."""
    content = with_png_chunk(encoded("png"), b"eXIf", after + block)
    assert probe(content).orientation in range(1, 9)
    payload = b"Exif\0\0" + after + block
    jpeg = encoded("jpeg")
    segment = b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload
    assert probe(jpeg[:2] + segment + jpeg[2:]).orientation in range(1, 9)


@pytest.mark.parametrize("format", ["gif", "webp", "tiff", "png", "avif"])
def test_frames(format):
    """Frames of an animation, pages of a TIFF; 1 for a single one."""
    out = io.BytesIO()
    pages = [Image.new("RGB", (5, 3), (60 * shade, 0, 0)) for shade in range(4)]
    pages[0].save(out, format, save_all=True, append_images=pages[1:])
    assert probe(out.getvalue()).frames == 4
    assert probe(encoded(format)).frames == 1


def test_a_still_png_outside_its_animation_counts():
    """The default image that is no part of the animation is one more than acTL says."""
    out = io.BytesIO()
    pages = [Image.new("RGB", (5, 3), (60 * shade, 0, 0)) for shade in range(4)]
    pages[0].save(out, "png", save_all=True, append_images=pages[1:], default_image=True)
    assert probe(out.getvalue()).frames == 4


def test_text_chunks_are_not_inflated():
    """A zTXt chunk of 64 MB when inflated leaves a PNG as it is."""
    bomb = b"comment\0\0" + zlib.compress(bytes(1 << 26), 9)
    assert probe(with_png_chunk(encoded("png"), b"zTXt", bomb)) == probe(encoded("png"))


def test_an_mpo_is_its_first_image():
    """Images that follow the first JPEG, as in MPO files, are not counted."""
    assert probe(encoded("jpeg") + encoded("jpeg", size=(9, 9))) == probe(encoded("jpeg"))


def jpeg_with_scans(scans: int) -> bytes:
    jpeg = encoded("jpeg", "L", progressive=True)
    at = jpeg.rindex(b"\xff\xda")
    return jpeg[:at] + jpeg[at:-2] * scans + b"\xff\xd9"


def noise_jpeg(side: int) -> bytes:
    out = io.BytesIO()
    pixels = np.random.default_rng(7).integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(pixels).save(out, "JPEG")
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        (b"", Code.EMPTY_FILE, "0 bytes"),
        (b"<html>404</html>", Code.NOT_AN_IMAGE, "<html>404"),
        (bytes(4096), Code.NOT_AN_IMAGE, "found bytes"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", Code.UNSUPPORTED_FORMAT, "found heic"),
        (b"P6\n5 3\n255\n" + bytes(45), Code.UNSUPPORTED_FORMAT, "found pnm"),
        (encoded("jpeg")[:30], Code.DAMAGED_HEADER, "end"),
        (encoded("png")[:20], Code.DAMAGED_HEADER, "end within the header"),
        (encoded("png")[:33], Code.DAMAGED_HEADER, "no chunk IDAT"),
        (encoded("png")[:20] + b"\7" + encoded("png")[21:], Code.DAMAGED_HEADER, "checksum is wrong"),
        (encoded("gif")[:14], Code.DAMAGED_HEADER, "no image in it"),
        (encoded("bmp")[:20], Code.DAMAGED_HEADER, "header"),
        (encoded("webp")[:20], Code.DAMAGED_HEADER, "header"),
        (encoded("tiff")[:60], Code.DAMAGED_HEADER, "header"),
        (b"II*\0" + struct.pack("<I", 1 << 31), Code.DAMAGED_HEADER, "end within the header"),
        (encoded("avif")[:60], Code.DAMAGED_HEADER, "header"),
        (encoded("tiff", "F"), Code.UNSUPPORTED_DEPTH, "32 bits, float"),
        (encoded("tiff", "I"), Code.UNSUPPORTED_DEPTH, "32 bits, signed"),
        (encoded("tiff", "LAB"), Code.UNSUPPORTED_MODE, "LAB"),
        (jpeg_with_scans(200), Code.TOO_MANY_SCANS, "at most 100 scans"),
        (noise_jpeg(64).replace(b"\n", b"\r\n"), Code.LINE_ENDS, "copied as text"),
    ],
)
def test_refusals(content, code, message):
    """What cannot be read is refused at stage probe, by its code and with what was found."""
    with pytest.raises(SampleRefused, match=message) as refused:
        probe(content)
    assert (code, "probe", None) == (
        refused.value.violation.code,
        refused.value.violation.stage,
        refused.value.violation.sample_id,
    )


@pytest.mark.parametrize("side", [8, 64])
def test_line_ends_that_are_not_all_cr_lf_are_let_in(side):
    """A JPEG as it was saved has LF without CR; with few LF nothing is said."""
    assert (side, side) == (probe(noise_jpeg(side)).rows, probe(noise_jpeg(side)).cols)
    one_kept = noise_jpeg(64).replace(b"\n", b"\r\n")[:-2] + b"\n\xff\xd9"
    assert "jpeg" == probe(one_kept).format


def test_ordinary_progressive_jpegs_have_few_scans():
    """A progressive JPEG with a hundred scans in all is still let in."""
    assert probe(jpeg_with_scans(10)).mode == "L"


@given(content=st.one_of(*(st.binary(max_size=60).map(lambda tail, f=f: encoded(f)[:24] + tail) for f in FORMATS)))
def test_damage_is_refused_and_nothing_else_raised(content):
    """Bytes that begin like an image give facts or SampleRefused, never another error or a warning."""
    with suppress(SampleRefused):
        facts = probe(content)
        assert facts.rows > 0 < facts.cols


@pytest.mark.parametrize("format", FORMATS)
def test_sniff_by_content(format):
    """64 bytes tell each format that is read."""
    assert format == sniff(encoded(format)[:64])


@pytest.mark.parametrize(
    "text",
    ["BMW and other cars of note", "P1 of 3 apples", "II. Chapter", "GIF files", "\n\x05\x01 lists", "RIFFs", "MM"],
)
def test_text_is_no_image(text):
    """Text that begins like an image's magic is none."""
    assert sniff(text.encode()) is None


def test_suffixes_name_each_format_once():
    """No suffix stands for two formats, all are lower case with a dot, and every readable format has one."""
    suffixes = [suffix for group in SUFFIXES.values() for suffix in group]
    assert len(suffixes) == len(set(suffixes))
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in suffixes)
    assert tuple(SUFFIXES)[: len(FORMATS)] == FORMATS
    assert (claimed_format(".JPG"), claimed_format(".bak"), claimed_format("")) == ("jpeg", None, None)


@pytest.mark.parametrize(
    ("facts", "recipe", "code", "found"),
    [
        (
            {"rows": 9000, "cols": 6000},
            {"max_pixels": 50_000_000},
            "too_many_pixels",
            "9000 x 6000 = 54,000,000 pixels",
        ),
        ({}, {"max_bytes": 999}, "too_many_bytes", "1,000 bytes"),
        ({}, {"formats": ("jpeg", "webp")}, "format_not_allowed", "png"),
        ({"alpha": True, "mode": "RGBA"}, {"alpha": "refuse"}, "alpha", "RGBA with transparency"),
        ({"orientation": 6}, {"orientation": "refuse"}, "exif_orientation", "orientation 6"),
        ({"bit_depth": 16}, {"bit_depth": "refuse"}, "sixteen_bit", "16 bits a channel"),
        (
            {"format": "tiff", "bit_depth": 16},
            {"bit_depth": "keep", "dtype": "uint16"},
            "unsupported_depth",
            "tiff RGB with 16 bits a channel, which decodes to 8",
        ),
        ({"frames": 6}, {"animation": "refuse"}, "animated", "6 frames"),
    ],
)
def test_policy(facts, recipe, code, found):
    """Each policy refuses what it names and, by default, nothing: one violation, with what was found."""
    facts = replace(FACTS, **facts)
    violations = admit(facts, size=1000, suffix="", recipe=replace(RECIPE, **recipe))
    assert [(code, "probe", found)] == [(str(each.code), each.stage, each.found) for each in violations]
    assert admit(facts, size=1000, suffix="", recipe=RECIPE) == ()


def test_all_breaches_at_once():
    """An image that breaks every policy has them all listed."""
    recipe = replace(RECIPE, alpha="refuse", orientation="refuse", animation="refuse", max_pixels=10, max_bytes=10)
    facts = replace(FACTS, alpha=True, orientation=3, frames=2)
    codes = {str(violation.code) for violation in admit(facts, size=11, suffix="", recipe=recipe)}
    assert {"too_many_pixels", "too_many_bytes", "alpha", "exif_orientation", "animated"} == codes


@pytest.mark.parametrize(
    ("format", "suffix", "refused_by"),
    [
        ("jpeg", ".jpg", set()),
        ("jpeg", ".JFIF", set()),
        ("jpeg", ".png", {"strict"}),
        ("jpeg", ".bak", set()),
        ("jpeg", "", set()),
        ("tiff", ".tif", set()),
        ("tiff", ".jpg", {"strict", "readable"}),
        ("avif", ".png", {"strict", "readable"}),
        ("avif", ".heic", {"strict", "readable"}),
        ("tiff", ".txt", set()),
    ],
)
def test_extension_policy(format, suffix, refused_by):
    """`readable` refuses a wrong name where TensorFlow cannot read the bytes, `strict` always, `any` never."""
    facts = replace(FACTS, format=format)
    refusing = {
        policy
        for policy in ("readable", "any", "strict")
        if admit(facts, size=1, suffix=suffix, recipe=replace(RECIPE, extension=policy))
    }
    assert refused_by == refusing


@pytest.mark.parametrize(
    ("facts", "suffix", "channels", "expected"),
    [
        ({}, ".png", 3, ()),
        ({}, "", 3, ()),
        ({}, ".PNG", 3, ()),
        ({}, ".bak", 3, ("wrong_extension",)),
        ({}, ".jpg", 1, ("wrong_extension", "colour")),
        ({"channels": 1, "mode": "L"}, ".png", 3, ("gray",)),
        ({"channels": 2, "mode": "LA", "alpha": True}, ".png", 4, ("alpha", "gray")),
        ({"bit_depth": 16, "orientation": 3, "frames": 2}, ".png", 3, ("sixteen_bit", "exif_orientation", "animated")),
        ({"mode": "P"}, ".png", 3, ("palette",)),
        ({"mode": "CMYK"}, ".png", 3, ("cmyk",)),
        ({"rows": 10_000, "cols": 5001}, ".png", 3, ("oversize",)),
    ],
)
def test_notes(facts, suffix, channels, expected):
    """What is kept is remarkable for exactly these."""
    seen = notes(replace(FACTS, **facts), suffix=suffix, recipe=replace(RECIPE, channels=channels))
    assert expected == tuple(map(str, seen))


def test_probing_does_not_import_tensorflow():
    """A fast command can probe: TensorFlow is not among what it imports."""
    code = "import sys, nhwc.pipelines.probe; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_gif_fills_the_canvas_that_its_first_frame_needs():
    """A frame that reaches beyond the screen widens the canvas."""
    gif = bytearray(encoded("gif", "L", size=(4, 4)))
    at = gif.index(b",", 13 + 3 * 256 if gif[10] & 7 == 7 else 13)
    gif[6:10] = struct.pack("<HH", 2, 3)
    gif[at + 1 : at + 5] = struct.pack("<HH", 1, 0)
    facts = probe(bytes(gif))
    assert (4, 5) == (facts.rows, facts.cols)
