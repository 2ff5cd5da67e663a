"""Whatever bytes a reader is given, it answers or refuses in its own words.

Bounded in time here; for longer: benchmarks/fuzz.py. The examples are the same in every run.
"""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from nhwc.flows.contained import prepare_contained
from nhwc.flows.frozen_contract import FrozenContract, read_contract
from nhwc.flows.ingest import run_ingest
from nhwc.flows.recipe import Recipe, read_recipe
from nhwc.flows.verify import verify
from nhwc.pipelines.image import image_stages
from nhwc.pipelines.image_recipe import FORMATS, ImageRecipe
from nhwc.pipelines.npy import npy_bytes
from nhwc.pipelines.probe import probe
from nhwc.pipelines.sources.labels import read_label_file
from nhwc.pipelines.version import Version
from nhwc.validators.errors import DataError, RecipeError, SampleRefused
from nhwc.validators.verdict import Verdict
from nhwc.validators.violation import Code

RECIPE = ImageRecipe(rows=4, cols=6, max_pixels=4_000_000)
STAGES = image_stages(RECIPE)

bounded = settings(
    max_examples=200,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def image(format: str, mode: str = "RGB", **options: object) -> bytes:
    out = io.BytesIO()
    pixels = np.random.default_rng(3).integers(0, 256, (12, 17, 4), np.uint8)
    if format == "npy":
        return npy_bytes(pixels[..., :3])
    Image.fromarray(pixels).convert(mode).save(out, format, **options)
    return out.getvalue()


IMAGES = (
    *(image(format) for format in FORMATS),
    *(image(format, "P") for format in ("png", "gif", "bmp", "tiff")),
    *(image(format, "RGBA") for format in ("png", "webp", "avif", "tiff")),
    image("jpeg", progressive=True),
    image("jpeg", "CMYK"),
    image("webp", lossless=True),
    image("tiff", compression="tiff_lzw"),
)

RECIPE_TEXT = b"""dataset: pets
source: {kind: folder, path: photos}
image: {rows: 4, cols: 5, channels: 3, dtype: uint8, resize: {method: bilinear, fit: pad}, max_seconds: 5}
labels: {from: folder, classes: [cat, dog]}
splits: {train: 0.8, test: 0.2, seed: 7}
checks: {bad_fraction: 0.02, rules: {blurry: warn}}
publish: {to: out}
"""
LABELS = b'path,label,split\ncat/1.png,cat,train\n"a,b.png",dog,test\n'
HOSTILE_TEXT = (
    b"\0", b"\xff", b"\xed\xa0\x80", b"\r", b"\n", b"\t", b"&a [*a, *a]", b"!!python/object/apply:os.system [x]",
    b"<<: *a", b"1e999", b"9" * 30, b"[" * 60, b"{" * 60, b"? ", b"- ", b": ", b'"', b"'", b"|", b"%YAML 9.9\n",
    b"---\n", b"!!binary x",
)  # fmt: skip


@st.composite
def hurt(draw: st.DrawFn, originals: Sequence[bytes], pieces: Sequence[bytes] = ()) -> bytes:
    """One of the contents, hurt once to five times: a piece put in, over or out, or a number made extreme."""
    content = draw(st.sampled_from(originals))
    piece = st.binary(max_size=8) | st.sampled_from([bytes([fill]) * size for fill in (0, 255) for size in (1, 2, 4)])
    for _ in range(draw(st.integers(1, 5))):
        start = draw(st.integers(0, len(content)))
        new = draw(st.sampled_from(pieces) | piece if pieces else piece)
        kind = draw(st.sampled_from(["in", "over", "over", "cut", "out", "splice"]))
        match kind:
            case "in":
                content = content[:start] + new + content[start:]
            case "over":
                content = content[:start] + new + content[start + len(new) :]
            case "out":
                content = content[:start] + content[start + draw(st.integers(1, 64)) :]
            case "cut":
                content = content[:start]
            case "splice":
                content = content[:start] + draw(st.sampled_from(originals))[start:]
    return content


def assert_says(refusal: Exception) -> None:
    """It tells what was wrong."""
    assert len(str(refusal)) > 20


@bounded
@given(hurt(IMAGES))
def test_any_bytes_are_an_image_or_refused(content):
    """An array of the contract, or violations; no child dies of it."""
    prepared = prepare_contained(content, suffix=".png", recipe=RECIPE, stages=STAGES, sample_id="s")
    codes = {violation.code for violation in prepared.violations}
    assert (prepared.array is None) == bool(codes)
    assert not codes & {Code.DECODER_DIED, Code.TOO_SLOW}
    if prepared.array is not None:
        assert ((4, 6, 3), np.uint8) == (prepared.array.shape, prepared.array.dtype)


@bounded
@given(hurt(IMAGES) | st.binary(max_size=200))
def test_any_header_is_read_or_refused(content):
    """Facts within their ranges, or SampleRefused, and nothing else."""
    try:
        facts = probe(content)
    except SampleRefused as refusal:
        assert_says(refusal)
    else:
        assert facts.rows > 0 < facts.cols
        assert 1 <= facts.orientation <= 8
        assert facts.frames >= 1


@bounded
@given(content=hurt([RECIPE_TEXT], HOSTILE_TEXT))
def test_any_recipe_is_one_or_refused(tmp_path, content):
    """A Recipe, or a RecipeError that says where."""
    (tmp_path / "photos").mkdir(exist_ok=True)
    file = tmp_path / "recipe.yaml"
    file.write_bytes(content)
    try:
        assert isinstance(read_recipe(file), Recipe)
    except RecipeError as error:
        assert_says(error)


@bounded
@given(content=hurt([LABELS], (*HOSTILE_TEXT, b",", b"path", b'""', b",,,,")))
def test_any_label_file_is_read_or_refused(tmp_path, content):
    """Labels by path, or a RecipeError that says where."""
    file = tmp_path / "labels.csv"
    file.write_bytes(content)
    try:
        assert isinstance(read_label_file(file, with_splits=True), dict)
    except RecipeError as error:
        assert_says(error)


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Version:
    """A published version of four images."""
    root = tmp_path_factory.mktemp("published")
    for number in range(4):
        path = root / "photos" / "cat" / f"{number}.bmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (9, 9, 3), np.uint8)).save(path)
    (root / "recipe.yaml").write_text(
        "dataset: pets\nsource: {path: photos}\nimage: {rows: 4, cols: 5}\npublish: {to: out}\n"
    )
    made = run_ingest(read_recipe(root / "recipe.yaml")).version
    assert made is not None
    return made


def kept_and(version: Version, name: str, content: bytes) -> None:
    """Write over one of the version's files; its own content is kept beside it."""
    file, kept = version.folder / name, version.folder / f"{name}.kept"
    if not kept.exists():
        file.rename(kept)
    file.write_bytes(content)


def content_of(version: Version, name: str) -> bytes:
    kept = version.folder / f"{name}.kept"
    return (kept if kept.exists() else version.folder / name).read_bytes()


@pytest.mark.parametrize("name", ["contract.yaml", "checksums", "recipe.yaml", "statistics.json", "manifest.parquet"])
def test_any_file_of_a_version_is_read_or_refused(version, name):
    """`verify` gives its verdict, and what reads the file a DataError or RecipeError that names it."""
    original = content_of(version, name)

    @settings(bounded, max_examples=60)
    @given(content=hurt([original], HOSTILE_TEXT))
    def holds(content: bytes) -> None:
        kept_and(version, name, content)
        assert isinstance(verify(version.folder), Verdict)
        try:
            opened = Version.open(version.folder)
            assert opened.contract.is_determined
            assert opened.findings == ()
            assert opened.facts.height >= 0
            assert opened.image_recipe.rows
        except (DataError, RecipeError) as error:
            assert_says(error)

    try:
        holds()
    finally:
        kept_and(version, name, original)


@bounded
@given(
    content=hurt([b"image:\n  axes: {rows: 4, cols: 5, channels: 3}\n  dtype: uint8\nclasses: [cat]\n"], HOSTILE_TEXT)
)
def test_any_contract_is_one_or_refused(tmp_path: Path, content):
    """A FrozenContract, or a RecipeError that says where."""
    file = tmp_path / "contract.yaml"
    file.write_bytes(content)
    try:
        assert isinstance(read_contract(file), FrozenContract)
    except RecipeError as error:
        assert_says(error)
