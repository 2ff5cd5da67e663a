"""One image from its bytes to the array that is stored."""

import io
import threading
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from nhwc.pipelines.image import Prepared, image_stages, load_image, prepare
from nhwc.pipelines.image_recipe import ImageRecipe, ResizeRecipe
from nhwc.validators.errors import DataError, RecipeError
from nhwc.validators.violation import Code

RECIPE = ImageRecipe(rows=4, cols=6)
PHOTO = np.kron(np.random.default_rng(2).integers(0, 255, (9, 14, 3), np.uint8), np.ones((8, 8, 1), np.uint8))


def encoded(array: np.ndarray = PHOTO, format: str = "png", **options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(array).save(out, format, **options)
    return out.getvalue()


def prepared(content: bytes, recipe: ImageRecipe = RECIPE, suffix: str = ".png"):
    return prepare(content, suffix=suffix, recipe=recipe, stages=image_stages(recipe), sample_id="s1")


@pytest.mark.parametrize(
    ("changes", "contracts"),
    [
        (
            {},
            [
                "uint8|uint16[rows=any, cols=any, channels=1|2|3|4]",
                "uint8[rows=any, cols=any, channels=3] in [0, 255]",
                "uint8[rows=4, cols=6, channels=3] in [0, 255]",
            ],
        ),
        (
            {"channels": 1, "dtype": "uint16", "bit_depth": "keep"},
            [
                "uint8|uint16[rows=any, cols=any, channels=1|2|3|4]",
                "uint16[rows=any, cols=any, channels=1] in [0, 65535]",
                "uint16[rows=4, cols=6, channels=1] in [0, 65535]",
            ],
        ),
        (
            {"channels": 4, "dtype": "float32"},
            [
                "uint8|uint16[rows=any, cols=any, channels=1|2|3|4]",
                "uint8|float32[rows=any, cols=any, channels=4] in [0, 255]",
                "float32[rows=4, cols=6, channels=4] in [0, 255]",
            ],
        ),
    ],
)
def test_contracts_follow_from_the_recipe(changes, contracts):
    """Three stages, each with its promise; the last is fully determined."""
    stages = image_stages(replace(RECIPE, **changes))
    assert ["decode", "convert", "resize"] == [stage.name for stage in stages]
    assert contracts == [str(stage.contract) for stage in stages]
    assert stages[-1].contract.is_determined


@pytest.mark.parametrize("format", ["jpeg", "png", "gif", "bmp", "webp", "tiff", "avif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_format_is_prepared(format, channels):
    """The contract's array, the facts, the decoder, and no violation."""
    recipe = replace(RECIPE, channels=channels)
    result = prepared(encoded(format=format), recipe, suffix=f".{format}")
    assert result.violations == ()
    assert ((4, 6, channels), "uint8") == (result.array.shape, result.array.dtype.name)
    assert (format, 72, 112) == (result.facts.format, result.facts.rows, result.facts.cols)
    assert ("libjpeg-turbo" if format == "jpeg" else "pillow") == result.decoder


def test_header_refusals_name_the_sample_and_all_reasons():
    """What the policy refuses is listed at once, with facts and notes, and nothing is decoded."""
    exif = Image.Exif()
    exif[274] = 6
    recipe = replace(RECIPE, orientation="refuse", formats=("jpeg",), max_pixels=100)
    result = prepared(encoded(exif=exif), recipe)
    codes = {violation.code for violation in result.violations}
    assert {Code.EXIF_ORIENTATION, Code.FORMAT_NOT_ALLOWED, Code.TOO_MANY_PIXELS} == codes
    assert {"s1"} == {violation.sample_id for violation in result.violations}
    assert (None, None) == (result.array, result.decoder)
    assert Code.EXIF_ORIENTATION in result.notes
    assert result.facts.orientation == 6


@pytest.mark.parametrize(
    ("content", "code", "stage"),
    [
        (b"", Code.EMPTY_FILE, "probe"),
        (b"text", Code.NOT_AN_IMAGE, "probe"),
        (encoded()[:-40], Code.TRUNCATED, "decode"),
        (encoded(format="jpeg")[:-400], Code.TRUNCATED, "decode"),
    ],
)
def test_bad_bytes_come_back_as_violations(content, code, stage):
    """Bad data never raises."""
    (violation,) = prepared(content).violations
    assert (code, stage, "s1") == (violation.code, violation.stage, violation.sample_id)


def test_large_images_are_prepared_one_at_a_time(monkeypatch):
    """Above the bound no two images are between decode and resize at once."""
    monkeypatch.setattr("nhwc.pipelines.image._LARGE_PIXELS", 10)
    busy, most = 0, 0

    def counting(value):
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        pause.wait(0.01)
        busy -= 1
        return value

    pause = threading.Event()
    decode, *rest = image_stages(RECIPE)
    stages = (replace(decode, transform=lambda value: counting(decode.transform(value))), *rest)
    content = encoded()
    threads = [
        threading.Thread(
            target=prepare, args=(content,), kwargs={"suffix": "", "recipe": RECIPE, "stages": stages, "sample_id": "x"}
        )
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("target_size", [None, (20, 30), (100, 50)])
@pytest.mark.parametrize("method", ["nearest", "bilinear"])
def test_load_image_is_keras_for_png(tmp_path, method, target_size, channels):
    """The same float32 values, bit for bit, as load_img and img_to_array."""
    path = tmp_path / "photo.png"
    path.write_bytes(encoded())
    mode = {1: "grayscale", 3: "rgb", 4: "rgba"}[channels]
    expected = keras.utils.img_to_array(
        keras.utils.load_img(path, color_mode=mode, target_size=target_size, interpolation=method)
    )
    loaded = load_image(path, target_size, channels=channels, method=method)
    assert loaded.dtype == expected.dtype == np.float32
    np.testing.assert_array_equal(expected, loaded)


@pytest.mark.parametrize("method", ["nearest", "bilinear"])
def test_load_image_is_keras_for_real_photographs(corpus, method):
    """JPEG photographs of any aspect differ from keras by less than 2 on average."""
    paths = sorted((corpus / "datasets" / "flowers").rglob("*.jpg"))[::10]
    assert paths
    for path in paths:
        expected = keras.utils.img_to_array(keras.utils.load_img(path, target_size=(100, 80), interpolation=method))
        loaded = load_image(path, (100, 80), method=method)
        assert expected.shape == loaded.shape
        assert np.abs(expected - loaded).mean() < 2, path.name


def test_load_image_turns_and_composes_where_keras_does_not(tmp_path):
    """EXIF orientation is applied before target_size is looked at, and transparency is laid on white."""
    exif = Image.Exif()
    exif[274] = 6
    clear = np.zeros((5, 9, 4), np.uint8)
    (tmp_path / "turned.png").write_bytes(encoded(clear, exif=exif))
    np.testing.assert_array_equal(np.full((9, 5, 3), 255), load_image(tmp_path / "turned.png"))


def test_load_image_keeps_sixteen_bits(tmp_path):
    """dtype uint16 has the file's own values; uint8 has them rounded."""
    deep = np.array([[0, 129, 1000, 65535]], np.uint16)
    (tmp_path / "deep.png").write_bytes(encoded(deep))
    assert [0, 129, 1000, 65535] == load_image(tmp_path / "deep.png", channels=1, dtype="uint16").ravel().tolist()
    assert [0, 1, 4, 255] == load_image(str(tmp_path / "deep.png"), channels=1, dtype="uint8").ravel().tolist()


@pytest.mark.parametrize(
    ("target_size", "options", "message"),
    [
        ((0, 5), {}, r"target_size: \(0, 5\) is not \(rows, cols\)"),
        ((5,), {}, "two positive whole numbers"),
        ((5.0, 5), {}, "two positive whole numbers"),
        (100, {}, "target_size: 100"),
        ((60_000, 60_000), {}, "target_size: rows x cols are 3,600,000,000 pixels, expected at most 100,000,000: ask"),
        ((10_000, 10_001), {"channels": 1}, "rows x cols are 100,010,000 pixels, expected at most 100,000,000"),
        (None, {"channels": 2}, "channels: 2 is not one of 1, 3, 4"),
        (None, {"method": "cubic"}, "method: 'cubic' is not one of nearest"),
        (None, {"dtype": "int8"}, "dtype: 'int8'"),
    ],
)
def test_wrong_calls_are_recipe_errors(tmp_path, target_size, options, message):
    """A wrong argument is said by name, with what is right."""
    (tmp_path / "photo.png").write_bytes(encoded())
    with pytest.raises(RecipeError, match=message):
        load_image(tmp_path / "photo.png", target_size, **options)


def test_a_missing_path_is_a_recipe_error(tmp_path):
    """No such file, or a folder: the call is wrong, and every other wrong argument is said with it."""
    with pytest.raises(RecipeError, match=r"none\.png is not there") as wrong:
        load_image(tmp_path / "none.png", (0, 0))
    assert len(wrong.value.problems) == 2
    with pytest.raises(RecipeError, match="is a folder"):
        load_image(Path(tmp_path))


@pytest.mark.parametrize(("content", "code"), [(b"no image", "not_an_image"), (encoded()[:-40], "truncated")])
def test_a_bad_file_is_a_data_error(tmp_path, content, code):
    """The verdict holds the violation, with the file's name."""
    (tmp_path / "bad.png").write_bytes(content)
    with pytest.raises(DataError, match=f"sample bad.png: {code}") as bad:
        load_image(tmp_path / "bad.png", (5, 5))
    assert [code] == [str(violation.code) for violation in bad.value.verdict.violations]


def test_resize_recipe_is_heeded():
    """fit pad of the recipe leaves zeros above and below a wide image."""
    recipe = replace(RECIPE, rows=20, cols=20, resize=ResizeRecipe(fit="pad"))
    array = prepared(encoded(np.full((10, 40, 3), 200, np.uint8)), recipe).array
    assert ([0, 0, 0], [200, 200, 200]) == (array[0, 0].tolist(), array[10, 10].tolist())


def reduced_and_not(content: bytes, recipe: ImageRecipe) -> tuple[Prepared, Prepared]:
    asked = replace(recipe, resize=replace(recipe.resize, reduce=True))
    return prepared(content, asked, suffix=".jpg"), prepared(content, recipe, suffix=".jpg")


def test_a_soft_photograph_is_reduced_almost_without_a_loss():
    """Enlarged fourfold, as photographs of 12 megapixels are soft: at most 4 levels, and less than 1 on average."""
    image = Image.fromarray(np.random.default_rng(5).integers(0, 256, (150, 200, 3), np.uint8))
    out = io.BytesIO()
    image.resize((1600, 1200), Image.Resampling.BICUBIC).save(out, "jpeg", quality=90)
    reduced, full = reduced_and_not(out.getvalue(), ImageRecipe(rows=100, cols=120))
    apart = np.abs(reduced.array.astype(int) - full.array)
    assert 0 < apart.max() <= 4
    assert apart.mean() < 1


def test_sharp_photographs_are_reduced_with_a_bounded_loss(corpus):
    """Reduced from 500 x 400 to a tenth, sharp to the pixel: 1.5 levels on average, never more than 8 in a picture."""
    paths, apart = sorted((corpus / "datasets" / "clothing").rglob("*.jpg"))[::20], []
    for path in paths:
        reduced, full = reduced_and_not(path.read_bytes(), ImageRecipe(rows=48, cols=48))
        apart.append(np.abs(reduced.array.astype(int) - full.array).mean())
    assert 0 < np.mean(apart) < 1.5
    assert max(apart) < 8


def test_reducing_makes_another_fingerprint():
    """Shards made without it are not taken for shards made with it."""
    assert RECIPE.fingerprint != replace(RECIPE, resize=ResizeRecipe(reduce=True)).fingerprint


@pytest.mark.parametrize("changes", [{"antialias": False}, {"method": "nearest"}])
def test_reducing_contradicts_picking(changes):
    """A reduced picture is an average, so a recipe that asks for picked pixels is refused."""
    assert ["reduce"] == [key for key, _ in ResizeRecipe(reduce=True, **changes).contradictions()]
    assert ResizeRecipe(reduce=True, method="area").contradictions() == []
