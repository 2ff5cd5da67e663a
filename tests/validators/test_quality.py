"""Figures are those of images that can be worked out by hand, faults that are put in are found, sound sets pass."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageFilter

from nhwc.validators.measure import measure
from nhwc.validators.quality import FIGURE_COLUMNS, QualityFigures
from nhwc.validators.quality_rules import QUALITY_CODES, QualityThresholds, judge_quality, unmeasured

ROWS, COLS = 300, 240


def photograph(seed, rows=ROWS, cols=COLS):
    """Coloured noise with as much in each octave, and some grain: as varied as a photograph, uint8 [rows, cols, 3]."""
    rng = np.random.default_rng(seed)
    total = np.zeros((rows, cols, 3))
    for size in (2, 4, 8, 16, 32, 64, 128):
        octave = rng.integers(0, 256, (size, size, 3), np.uint8)
        total += np.asarray(Image.fromarray(octave).resize((cols, rows), Image.Resampling.BICUBIC), float)
    total += rng.normal(0, 40, total.shape)
    low, high = np.quantile(total, [0.002, 0.998])
    return np.clip((total - low) / (high - low) * 255, 0, 255).astype(np.uint8)


def row(pixels, sample_id="x", orientation=1):
    """A manifest's row of an image."""
    rows, cols = pixels.shape[:2]
    return {"sample_id": sample_id, "rows": rows, "cols": cols, "orientation": orientation} | asdict(measure(pixels))


def manifest(images):
    """The kept rows of these images, by sample_id."""
    return frame([row(pixels, sample_id) for sample_id, pixels in images.items()])


def frame(rows):
    return pl.DataFrame(
        rows,
        schema={"sample_id": pl.String, "rows": pl.Int64, "cols": pl.Int64, "orientation": pl.Int32, **FIGURE_COLUMNS},
    )


def sizes(*shapes):
    """Sound rows of these (rows, cols), with the same figures all."""
    figures = asdict(measure(photograph(0)))
    return frame(
        [
            {"sample_id": str(n), "rows": rows, "cols": cols, "orientation": 1} | figures
            for n, (rows, cols) in enumerate(shapes)
        ]
    )


def codes(kept, thresholds=None, *, rows=64, cols=48, channels=3):
    """The codes that are found, by sample_id."""
    found = judge_quality(kept, thresholds or QualityThresholds(), rows=rows, cols=cols, channels=channels)
    return {
        key: set(group["code"]) for (key,), group in found.group_by("sample_id", maintain_order=True)
    }  # fmt: skip


def of_one(value, dtype=np.uint8, shape=(40, 50, 3)):
    return np.broadcast_to(np.asarray(value, dtype), shape).copy()


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (of_one([255, 255, 255]), {"brightness": 1, "brightness_p5": 1, "brightness_p99": 1, "chroma": 0, "spread": 0}),
        (of_one([0, 0, 0]), {"brightness": 0, "brightness_p5": 0, "brightness_p99": 0, "chroma": 0, "spread": 0}),
        (of_one([255, 0, 0]), {"brightness": 0.4909, "chroma": 1, "entropy": np.log2(3), "spread": 0}),
        (of_one([0, 255, 0]), {"brightness": 0.8313}),
        (of_one([0, 0, 255]), {"brightness": 0.2608}),
        (of_one([128], shape=(40, 50, 1)), {"brightness": 0.502, "entropy": 0, "chroma": 0, "smoothness": 0}),
        (of_one([32768], np.uint16, (40, 50, 1)), {"brightness": 0.502, "entropy": 0, "depth_used": 1}),
        (of_one([255, 0, 0, 0], shape=(40, 50, 4)), {"brightness": 1, "chroma": 0}),
        (of_one([0, 128], shape=(40, 50, 2)), {"brightness": 127 / 255}),
        (np.repeat([[[0]], [[255]]], 50, axis=0) * np.ones((1, 60, 1), np.uint8), {"entropy": 1, "spread": 0.5}),
        (np.repeat([[[0]], [[255]]], 50, axis=0) * np.ones((1, 60, 1), np.uint8), {"depth_used": 1 / 8}),
    ],
)
def test_figures_of_plain_images(pixels, expected):
    """What can be worked out by hand is what is measured."""
    figures = asdict(measure(pixels.astype(pixels.dtype if pixels.dtype == np.uint16 else np.uint8)))
    assert expected == pytest.approx({name: figures[name] for name in expected}, abs=1e-3)


def test_transparent_colour_lies_on_the_background_that_is_asked_for():
    """A black shape on nothing is dark on white, and nothing on black."""
    shape = np.zeros((60, 60, 4), np.uint8)
    shape[20:40, 20:40, 3] = 255
    on_white, on_black = measure(shape), measure(shape, alpha="black")
    assert (1, 0) == (on_white.brightness_p99, on_black.brightness_p99)
    assert (0, 0) == (on_white.brightness_p5, on_black.brightness_p5)
    assert 0 == on_black.spread


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((4, 4), np.uint8), r"Received: uint8 of shape \(4, 4\)"),
        (np.zeros((4, 4, 5), np.uint8), r"Received: uint8 of shape \(4, 4, 5\)"),
        (np.zeros((4, 4, 3), np.float32), r"Received: float32 of shape"),
        (np.zeros((0, 4, 3), np.uint8), r"Received: uint8 of shape \(0, 4, 3\)"),
    ],
)
def test_what_is_no_image_is_refused(pixels, message):
    """A wrong rank, channels, dtype or size is the caller's mistake, and is said."""
    with pytest.raises(ValueError, match=message):
        measure(pixels)


images = arrays.arrays(
    st.sampled_from([np.uint8, np.uint16]),
    st.tuples(st.integers(1, 70), st.integers(1, 70), st.integers(1, 4)),
    elements=None,
    fill=st.integers(0, 255),
)


@given(images)
@settings(max_examples=60)
def test_figures_are_finite_and_in_their_ranges(pixels):
    """Any image has every figure, and none is NaN, however small or plain it is."""
    figures = asdict(measure(pixels))
    largest = {"entropy": 10, "smoothness": 300}
    for name, value in figures.items():
        assert type(value) is float
        assert 0 <= value <= largest.get(name, 1) + 1e-6, name


@given(st.integers(0, 1000), st.integers(3, 180), st.integers(3, 180))
@settings(max_examples=25)
def test_how_an_image_is_stored_changes_no_figure(seed, rows, cols):
    """Gray as RGB has log2(3) bits more; an opaque alpha, or 16 bits, change nothing but the depth that is used."""
    gray = photograph(seed, rows, cols)[..., :1]
    plain = asdict(measure(gray))
    opaque = measure(np.concatenate([gray, np.full_like(gray, 255)], axis=2))
    assert plain == asdict(opaque)
    colour = asdict(measure(np.repeat(gray, 3, axis=2)))
    assert plain["entropy"] + np.log2(3) == pytest.approx(colour["entropy"])
    apart = {"entropy", "depth_used"}
    assert {k: plain[k] for k in plain.keys() - apart} == pytest.approx(
        {k: colour[k] for k in colour.keys() - apart}, abs=0.03
    )
    deep = asdict(measure(gray.astype(np.uint16) * 257))
    apart = {"depth_used", "spread"}
    assert {k: plain[k] for k in plain.keys() - apart} == {k: deep[k] for k in deep.keys() - apart}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_how_an_image_lies_in_memory_changes_no_figure(dtype):
    """A turned view, a strided one and one that cannot be written are measured as their copies."""
    pixels = photograph(3).astype(dtype)
    locked = pixels.copy()
    locked.flags.writeable = False
    for view in (pixels.swapaxes(0, 1), pixels[::-1, ::2], pixels[..., ::-1], locked):
        assert measure(view.copy()) == measure(view)


def test_threads_that_measure_at_once_agree():
    """From the first call on, which compiles."""
    images = [photograph(seed) for seed in range(4)] * 4
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(measure, images))
    assert [measure(pixels) for pixels in images] == found


@pytest.mark.parametrize(("rows", "cols"), [(300, 240), (64, 64), (50, 30), (192, 100), (2, 2), (60, 190)])
def test_sharpness_is_cleanvisions(rows, cols):
    """Computed by Pillow as cleanvision does, at every size, it differs by less than a hundredth or two."""
    pixels = photograph(5, rows, cols)
    image = Image.fromarray(pixels)
    ratio = max(rows, cols) / 64
    if ratio > 1:
        image = image.resize((max(int(cols // ratio), 1), max(int(rows // ratio), 1)))
    gray = image.convert("L")
    edges = 1 - np.exp(-np.asarray(gray.filter(ImageFilter.FIND_EDGES), float).std() / 100)
    histogram = 1 - np.exp(-np.std(gray.histogram()) / 100)
    expected = min(1, edges + (histogram if histogram > 0.18 else 0))
    assert expected == pytest.approx(measure(pixels).sharpness, abs=0.02)


def filled(pixels, share, value, rotated=0):
    """The last rows filled, then turned by quarters."""
    pixels = pixels.copy()
    pixels[round(len(pixels) * (1 - share)) :] = value
    return np.rot90(pixels, rotated)


def periodic_tail():
    """What zeros in a JPEG's data decode to: one block of 16 x 16 for ever."""
    pixels = photograph(1)
    block = np.random.default_rng(2).integers(90, 110, (16, 16, 3), np.uint8)
    pixels[150:] = np.tile(block, (10, COLS // 16, 1))[: ROWS - 150]
    return pixels


def blurred(pixels, radius):
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))


FAULTS = {
    "darkened": (lambda p: (p * 0.2).astype(np.uint8), {"dark"}),
    "lightened": (lambda p: (255 - (255 - p.astype(float)) * 0.05).astype(np.uint8), {"light", "blank"}),
    "blurred by 4": (lambda p: blurred(p, 4), {"blurry"}),
    "blurred by 8": (lambda p: blurred(p, 8), {"blurry"}),
    "flat": (lambda p: np.full_like(p, 90), {"blank", "low_information"}),
    "nearly flat": (lambda p: 120 + (p > 128).astype(np.uint8), {"blank", "low_information"}),
    "gray fill": (lambda p: filled(p, 0.3, 128), {"half_blank"}),
    "a little gray fill": (lambda p: filled(p, 0.1, 128), {"half_blank"}),
    "gray fill, turned": (lambda p: filled(p, 0.3, 128, 1), {"half_blank"}),
    "gray fill, upside down": (lambda p: filled(p, 0.3, 128, 2), {"half_blank"}),
    "zero tail": (lambda p: filled(p, 0.5, 0), {"half_blank"}),
    "zeros decoded": (lambda p: periodic_tail(), {"half_blank"}),
    "five bits": (lambda p: p // 8 * 8, {"low_bit_depth"}),
    "four bits, widened": (lambda p: p // 16 * 17, {"low_bit_depth"}),
    "gray as RGB": (lambda p: np.repeat(p[..., :1], 3, axis=2), {"gray"}),
    "gray": (lambda p: p[..., :1], {"gray"}),
    "8 bits in 16": (lambda p: p[..., :1].astype(np.uint16) * 257, {"gray", "low_bit_depth"}),
    "low bits of 16": (lambda p: p[..., :1].astype(np.uint16), {"dark", "gray", "low_information", "low_bit_depth"}),
    "strip": (lambda p: p[:60], {"odd_aspect"}),
    "8 x 8": (lambda p: p[:8, :8], {"tiny", "odd_size"}),
    "1 x 1": (lambda p: p[:1, :1], {"tiny", "odd_size", "blank", "low_information"}),
    "huge": (lambda p: p.repeat(4, axis=0).repeat(4, axis=1), {"odd_size"}),
}


@pytest.fixture(scope="module")
def sound():
    """The rows of twenty sound images, measured once."""
    return manifest({str(seed): photograph(seed) for seed in range(20)})


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_among_sound_images_is_found_and_no_other(name, sound):
    """Each fault that is put into one of 21 images gets its codes, and the twenty sound ones get none."""
    change, expected = FAULTS[name]
    found = codes(pl.concat([sound, manifest({"fault": change(photograph(99))})]))
    assert {"fault"} == found.keys()
    assert expected <= found["fault"]
    assert found["fault"] <= expected | {"low_information", "blurry"}


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p,
        lambda p: (p * 0.6).astype(np.uint8),
        lambda p: blurred(p, 0.7),
        lambda p: filled(p, 0.3, 255),
        lambda p: filled(p, 0.3, 0),
        lambda p: filled(filled(p, 0.2, 60)[::-1], 0.2, 60),
        lambda p: np.concatenate([p, np.full_like(p[..., :1], 255)], axis=2),
        lambda p: p.astype(np.uint16) * 257 + np.random.default_rng(0).integers(0, 257, p.shape).astype(np.uint16),
        lambda p: p.repeat(2, axis=0),
    ],
)
def test_what_is_sound_is_not_found(change, sound):
    """Paper, a black ground, a letterbox, opaque alpha, real 16 bits and moderate changes are no faults."""
    assert {} == codes(pl.concat([sound, manifest({"changed": change(photograph(99))})]))


def test_dark_colour_is_not_gray():
    """Channels that differ little only because all is dark are colour."""
    kept = manifest({"a": photograph(0), "b": photograph(1), "dark": photograph(2) // 8})
    assert {"dark"} == codes(kept)["dark"] - {"low_information", "blurry"}


def test_a_set_that_is_gray_itself_is_no_colour_set():
    """Gray is found where it is the exception, in a set with three channels."""
    gray = {str(seed): photograph(seed)[..., :1] for seed in range(4)}
    assert {} == codes(manifest(gray))
    assert {"0"} == codes(manifest({"0": gray["0"], "a": photograph(5), "b": photograph(6)})).keys()
    assert {} == codes(manifest({"0": gray["0"], "a": photograph(5), "b": photograph(6)}), channels=1)


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ([(400, 533)] * 80 + [(400, 600)] * 10 + [(711, 400)] * 10, set()),
        ([(400, 533)] * 99 + [(4000, 5330)], {"99"}),
        ([(400, 533)] * 99 + [(100, 133)], {"99"}),
        ([(100 + 20 * n, 150 + 20 * n) for n in range(60)], set()),
        ([(28, 28)] * 50, set()),
        ([(400, 533), (4000, 5330)], set()),
    ],
)
def test_odd_size_is_far_from_the_set(shapes, expected):
    """One size for nearly all does not make the others odd; ten times the sides do."""
    found = codes(sizes(*shapes), rows=28, cols=28)
    assert expected == {sample for sample, seen in found.items() if "odd_size" in seen}


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ([(400, 533)] * 50 + [(130, 600)], {"50"}),
        ([(400, 533)] * 50 + [(600, 130)], {"50"}),
        ([(400, 533)] * 50 + [(220, 600)], set()),
        ([(32, 300 + 10 * n) for n in range(50)], set()),
        ([(32, 320)] * 50 + [(10, 1000)], {"50"}),
    ],
)
def test_odd_aspect_is_narrow_and_far_from_the_set(shapes, expected):
    """Below cleanvision's 0.35, but not where the whole set is as narrow, as lines of text are."""
    found = codes(sizes(*shapes), rows=28, cols=28)
    assert expected == {sample for sample, seen in found.items() if "odd_aspect" in seen}


@pytest.mark.parametrize(
    ("shape", "orientation", "target", "expected"),
    [
        ((8, 8), 1, (8, 8), False),
        ((8, 8), 1, (9, 8), True),
        ((15, 400), 1, (28, 28), True),
        ((28, 28), 1, (112, 112), False),
        ((28, 28), 1, (113, 112), True),
        ((400, 20), 1, (100, 80), False),
        ((20, 400), 1, (100, 80), True),
        ((20, 400), 6, (100, 80), False),
    ],
)
def test_tiny_is_by_itself_and_for_the_target(shape, orientation, target, expected):
    """Short sides count where they must be enlarged; more than four times is too much; upright counts."""
    kept = sizes(shape).with_columns(pl.lit(orientation, pl.Int32).alias("orientation"))
    found = codes(kept, rows=target[0], cols=target[1])
    assert expected == ("tiny" in found.get("0", ()))


def test_what_is_said_of_a_finding():
    """sample_id, code, aspect, expected and found, by code, then as the samples stand."""
    kept = manifest({"b": of_one([0, 0, 0], shape=(50, 50, 3)), "a": of_one([9, 9, 9], shape=(50, 50, 3))})
    found = judge_quality(kept, QualityThresholds(), rows=48, cols=48, channels=3)
    assert ["sample_id", "code", "aspect", "expected", "found"] == found.columns
    assert [("b", "blank"), ("a", "blank"), ("b", "dark"), ("a", "dark")] == found.select("sample_id", "code").rows()[
        :4
    ]
    expected = ("a", "dark", "brightness", "a hundredth of the pixels at 0.32 or lighter", "a hundredth at 0.035")
    assert expected == found.row(3)


def test_thresholds_are_what_decides():
    """A threshold that no image breaks finds nothing; one that every image breaks finds all."""
    kept = manifest({str(seed): photograph(seed) for seed in range(3)})
    assert {} == codes(kept, QualityThresholds())
    assert {"0", "1", "2"} == codes(kept, QualityThresholds(dark=1.1)).keys()


def test_without_figures_there_is_no_finding_but_a_count():
    """Rows of a version without figures are counted, never judged."""
    kept = manifest({"a": of_one([0, 0, 0]), "b": photograph(1)})
    bare = kept.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in FIGURE_COLUMNS.items())
    assert {} == codes(bare)
    assert (0, 2) == (unmeasured(kept), unmeasured(bare))


def test_nothing_kept_is_nothing_found():
    """An empty manifest has no findings, and the columns all the same."""
    found = judge_quality(sizes(), QualityThresholds(), rows=8, cols=8, channels=3)
    assert (0, 5) == found.shape


def test_every_figure_is_a_column():
    """A figure cannot be measured and then be forgotten."""
    assert [field.name for field in fields(QualityFigures)] == list(FIGURE_COLUMNS)
    assert len(QUALITY_CODES) == len(set(QUALITY_CODES))
