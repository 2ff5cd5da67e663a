"""Shards of files: a sixth of the space, and the same images by every road."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from PIL import Image

import nhwc
from nhwc.flows.hashing import HashedEntry
from nhwc.flows.recipe import Recipe
from nhwc.flows.shards import plan_chunks
from nhwc.pipelines.image_recipe import ImageRecipe
from nhwc.pipelines.sources.protocol import Entry
from nhwc.pipelines.store import SHARD_BYTES, SHARD_SAMPLES, open_shard

Make = Callable[..., Recipe]


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Formats, depths and orientations of several kinds, in two classes."""
    folder = tmp_path / "photos"
    for number in range(14):
        pixels = np.random.default_rng(number).integers(0, 256, (30 + number, 40, 3), dtype=np.uint8)
        image = Image.fromarray(pixels).resize((90, 70), Image.Resampling.BICUBIC)
        path = folder / ("cat" if number % 2 else "dog") / str(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        match number % 5:
            case 0:
                image.convert("L").save(path.with_suffix(".png"))
            case 1:
                exif = Image.Exif()
                exif[0x0112] = 6
                image.save(path.with_suffix(".jpg"), exif=exif)
            case 2:
                image.convert("CMYK").save(path.with_suffix(".jpg"))
            case 3:
                image.convert("P").save(path.with_suffix(".gif"))
            case _:
                image.save(path.with_suffix(".webp"))
    return folder


@pytest.fixture
def both(photographs: Path, recipe_for: Make) -> dict[str, nhwc.Version]:
    """The same folder, stored either way."""
    return {
        storage: nhwc.ingest(
            recipe_for(dataset=storage, image={"rows": 32, "cols": 48, "storage": storage}), direct=True
        )
        for storage in ("pixels", "encoded")
    }


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"shuffle": True, "seed": 5},
        {"scale": "unit"},
        {"scale": "standard"},
        {"dtype": "float32", "channels_first": True},
        {"start_batch": 2},
        {"shard": (1, 3)},
    ],
)
def test_the_batches_are_the_same(both: dict[str, nhwc.Version], how: dict[str, Any]) -> None:
    """Bit for bit, whatever is asked."""
    epochs = [
        [tuple(part.numpy() for part in batch) for batch in nhwc.load(version.dataset, batch_size=4, **how)]
        for version in both.values()
    ]
    assert len(epochs[0]) == len(epochs[1]) > 0
    for ours, theirs in zip(*epochs, strict=True):
        assert all(np.array_equal(one, other) for one, other in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("how", [{}, {"scale": "standard", "channels_first": True}, {"dtype": "float16"}])
def test_the_samples_are_the_same(both: dict[str, nhwc.Version], how: dict[str, Any]) -> None:
    """By index too, one by one and together."""
    pixels, encoded = (nhwc.data_source(version.dataset, **how) for version in both.values())
    every = np.arange(len(pixels))
    for one, other in zip(pixels[every], encoded[every], strict=True):
        np.testing.assert_array_equal(one, other)
    for place in every:
        np.testing.assert_array_equal(pixels[place][0], encoded[place][0])


def test_the_manifest_says_the_same(both: dict[str, nhwc.Version]) -> None:
    """But for the names of the shards: a file's hash is another thing than its pixels' hash, and both are there."""
    pixels, encoded = (version.manifest.drop("shard", "row") for version in both.values())
    assert pixels.equals(encoded)
    assert all(nhwc.verify(version.dataset).passed for version in both.values())
    assert nhwc.gate(both["encoded"].dataset).violations == nhwc.gate(both["pixels"].dataset).violations


def test_the_shard_holds_the_files(both: dict[str, nhwc.Version], photographs: Path) -> None:
    """Byte for byte, readable by any Arrow reader."""
    version = both["encoded"]
    (name,) = version.kept["shard"].unique()
    with pa.memory_map(str(version.shard_path(name))) as source:
        column = pa.ipc.open_file(source).read_all()["image"]
    for path, row in version.kept.select("path", "row").iter_rows():
        assert (photographs / path).read_bytes() == column[row].as_py()
    with pytest.raises(ValueError, match="keeps files as they are: to decode them takes the recipe"):
        open_shard(version.shard_path(name))


def test_a_file_that_rotted_in_its_shard_is_named(both: dict[str, nhwc.Version]) -> None:
    """By load, with its sample and why; by verify, in the pixels and in the shard."""
    version = both["encoded"]
    victim = version.kept.filter(path="cat/1.jpg").row(0, named=True)
    shard = version.shard_path(victim["shard"])
    content = shard.read_bytes()
    with pa.memory_map(str(shard)) as source:
        whole = pa.ipc.open_file(source).read_all()["image"][victim["row"]].as_py()
    shard.write_bytes(content.replace(whole, whole[:40] + bytes(len(whole) - 40)))
    with pytest.raises(tf.errors.OpError, match=f"sample {victim['sample_id']}: damaged_header"):
        list(nhwc.load(version.dataset, split="all", batch_size=4))
    source = nhwc.data_source(version.dataset, split="all", with_ids=True)
    with pytest.raises(nhwc.DataError, match=f"sample {victim['sample_id']}: damaged_header"):
        source[np.arange(len(source))]
    found = {(str(one.code), one.sample_id) for one in nhwc.verify(version.dataset).violations}
    assert {("checksum", None), ("pixels_changed", victim["sample_id"])} == found


def test_shards_are_cut_by_their_bytes() -> None:
    """Files have sizes of their own: no shard holds more than it should, unless by one file."""
    sizes = [SHARD_BYTES // 2 + 1, SHARD_BYTES // 3, SHARD_BYTES // 3, SHARD_BYTES * 2, 5, *[1] * (SHARD_SAMPLES + 2)]
    samples = [
        HashedEntry(entry=Entry(name=f"{place}.png", label="a"), sha256=f"{place:064x}", size=size)
        for place, size in enumerate(sizes)
    ]
    chunks = plan_chunks(samples, ImageRecipe(rows=8, cols=8, storage="encoded"))
    assert samples == [sample for chunk in chunks for sample in chunk.samples]
    assert [2, 1, 1, SHARD_SAMPLES, 3] == [len(chunk.samples) for chunk in chunks]
    assert len({chunk.name for chunk in chunks}) == len(chunks)
