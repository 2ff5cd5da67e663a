"""Datasets that TFDS wrote: read as the same samples; damaged, strange or missing, one violation or one refusal."""

import io
import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
import yaml
from array_record.python.array_record_module import ArrayRecordWriter
from PIL import Image

from nhwc.flows.cli import main
from nhwc.flows.ingest import run_ingest
from nhwc.flows.init import propose_recipe
from nhwc.flows.recipe import parse_recipe
from nhwc.pipelines.image_recipe import ImageRecipe
from nhwc.pipelines.sources.tfds import Tfds
from nhwc.pipelines.version import Version
from nhwc.validators.errors import DataError, MachineError, RecipeError

features = tfds.features

RNG = np.random.default_rng(4)
IMAGES = RNG.integers(0, 256, (12, 6, 5, 3), np.uint8)
LABELS = [number % 3 for number in range(12)]
NAMES = ("yak", "cat", "dog")
SIZE = {"rows": 6, "cols": 5}
IMAGE, LABEL = features.Image(shape=(6, 5, 3), encoding_format="png"), features.ClassLabel(names=list(NAMES))
PAIR = {"image": IMAGE, "label": LABEL}
BOTH = ("image", "label")

Example = Mapping[str, Any]


def write_shard(file: Path, records: Sequence[bytes]) -> None:
    if "array_record" in file.name:
        writer = ArrayRecordWriter(str(file), "group_size:1")
        for record in records:
            writer.write(record)
        writer.close()
        return
    with tf.io.TFRecordWriter(str(file)) as out:
        for record in records:
            out.write(record)


def prepared(
    folder: Path,
    spec: Mapping[str, Any],
    splits: Mapping[str, Sequence[Example]],
    *,
    format: str = "tfrecord",
    keys: tuple[str, str] | None = None,
) -> Path:
    """A dataset as TFDS writes it, in two files a split."""
    folder.mkdir(parents=True, exist_ok=True)
    told, infos = features.FeaturesDict(dict(spec)), []
    for name, examples in splits.items():
        template = tfds.core.ShardedFileTemplate(
            data_dir=folder, dataset_name="pets", split=name, filetype_suffix=format
        )
        half = len(examples) // 2
        for shard, part in enumerate((examples[:half], examples[half:])):
            file = Path(template.sharded_filepath(shard_index=shard, num_shards=2))
            write_shard(file, [told.serialize_example(one) for one in part])
        lengths = [half, len(examples) - half]
        infos.append(tfds.core.SplitInfo(name=name, shard_lengths=lengths, num_bytes=0, filename_template=template))
    tfds.folder_dataset.write_metadata(
        data_dir=folder, features=told, split_infos=infos, version="1.0.0", check_data=False, supervised_keys=keys
    )
    return folder


def examples(image: Callable[[np.ndarray[Any, Any]], Any] = lambda image: image, **more: Any) -> list[Example]:
    return [{"image": image(one), "label": label, **more} for one, label in zip(IMAGES, LABELS, strict=True)]


def halves(all_of_them: list[Example], train: str = "train", test: str = "test") -> dict[str, list[Example]]:
    return {train: all_of_them[:8], test: all_of_them[8:]}


def ingested(base: Path, source: Mapping[str, Any], **parts: Any) -> Version:
    plain = {"dataset": "it", "source": source, "image": SIZE, "publish": {"to": "out"}}
    done = run_ingest(parse_recipe(plain | parts, base=base))
    assert done.version is not None, done.verdict
    return done.version


def source_at(path: Path, **keys: Any) -> Tfds:
    return Tfds(path=path, recipe=ImageRecipe(rows=6, cols=5), **keys)


def bad(source: Tfds) -> dict[str, str]:
    return {one.name: str(one.violation) for one in source.discover().entries if one.violation is not None}


def png(image: np.ndarray[Any, Any]) -> bytes:
    out = io.BytesIO()
    Image.fromarray(image).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def from_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The content of the same images as PNG in folders of classes: 8 in train, 4 in test."""
    base = tmp_path_factory.mktemp("folder")
    for number, image in enumerate(IMAGES):
        file = base / "photos" / ("train" if number < 8 else "test") / NAMES[LABELS[number]] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
    return ingested(base, {"path": "photos"}, splits={"from": "folder"}).content


def tensor(encoding: str, shape: tuple[int | None, ...] = (6, 5, 3), dtype: Any = np.uint8) -> dict[str, Any]:
    return PAIR | {"image": features.Tensor(shape=shape, dtype=dtype, encoding=encoding)}


def floats(image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return image / np.float32(255)


NAMED = {"labels": {"classes": list(NAMES)}}
OTHERS = {"other": features.Image(), "kind": features.ClassLabel(num_classes=3)}
OTHER_VALUES = {"other": IMAGES[0], "kind": 0}
KINDS: dict[str, tuple[dict[str, Any], list[Example], dict[str, Any], dict[str, Any]]] = {
    "keys": (PAIR | OTHERS, examples(**OTHER_VALUES), {}, {}),
    "the only ones": (PAIR, examples(), {}, {}),
    "nested": (
        {"seen": features.FeaturesDict({"image": IMAGE}), "label": LABEL},
        [{"seen": {"image": one["image"]}, "label": one["label"]} for one in examples()],
        {},
        {},
    ),
    "named by the recipe": (PAIR | OTHERS, examples(**OTHER_VALUES), {"image": "image", "label": "label"}, {}),
    "classes without names": (PAIR | {"label": features.ClassLabel(num_classes=3)}, examples(), {}, NAMED),
    "text": (
        PAIR | {"label": features.Text()},
        [one | {"label": NAMES[one["label"]]} for one in examples()],
        {"label": "label"},
        {},
    ),
    "scalar": (PAIR | {"label": features.Scalar(np.int32)}, examples(), {"label": "label"}, NAMED),
    "tensor": (tensor("none"), examples(), {"image": "image"}, {}),
    "tensor as bytes": (tensor("bytes"), examples(), {"image": "image"}, {}),
    "tensor by zlib": (tensor("zlib"), examples(), {"image": "image"}, {}),
    "tensor of any size": (tensor("zlib", (None, None, 3)), examples(), {"image": "image"}, {}),
    "tensor of any rows": (tensor("bytes", (None, 5, 3)), examples(), {"image": "image"}, {}),
    "tensor of floats": (
        tensor("none", dtype=np.float32),
        examples(floats),
        {"image": "image"},
        {"image": SIZE | {"float_range": [0, 1]}},
    ),
}


@pytest.mark.parametrize("format", ["tfrecord", "array_record"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_samples_as_from_a_folder(tmp_path: Path, from_folder: str, kind: str, format: str) -> None:
    """Pixels, labels, splits and classes."""
    spec, all_of_them, keys, parts = KINDS[kind]
    folder = prepared(
        tmp_path / "pets/1.0.0", spec, halves(all_of_them), format=format, keys=BOTH if kind == "keys" else None
    )
    source = {"kind": "tfds", "path": str(folder)} | keys
    version = ingested(tmp_path, source, **parts)
    assert from_folder == version.content
    assert set() == set(version.kept["notes"].explode().drop_nulls()) - {"sixteen_bit"}
    if kind != "text":
        assert NAMES == version.classes
    if kind == "keys":
        plain = {"dataset": "it", "source": source, "image": SIZE, "publish": {"to": "out"}} | parts
        assert "unchanged" == run_ingest(parse_recipe(plain, base=tmp_path)).outcome


def test_encoded_images_are_handed_on_as_they_were_stored(tmp_path: Path) -> None:
    """Nothing is decoded and encoded again; in another process neither."""
    files = [png(image) for image in IMAGES]
    for format in ("tfrecord", "array_record"):
        splits = {"train": [{"image": file, "label": 0} for file in files]}
        source = source_at(prepared(tmp_path / format, PAIR, splits, format=format))
        entries = source.discover().entries
        assert files == [source.open(entry).read() for entry in entries]
        assert files[3] == pickle.loads(pickle.dumps(source)).open(entries[3]).read()


def test_splits_are_mapped_as_the_recipe_says(tmp_path: Path, from_folder: str) -> None:
    """Those that it leaves out are not read."""
    prepared(tmp_path / "pets", PAIR, halves(examples(), "corrupted", "test") | {"extra": examples()})
    source = {"kind": "tfds", "path": "pets", "splits": {"corrupted": "train", "test": "test"}}
    assert from_folder == ingested(tmp_path, source).content


@pytest.mark.parametrize("name", ["pets", "pets:1.0.0", "pets/small", "pets/small:1.0.0"])
def test_a_dataset_is_found_by_name(tmp_path: Path, from_folder: str, name: str) -> None:
    """Its newest version, and its default config, unless the name says which."""
    base = tmp_path / "tfds/pets" / ("small" if "/" in name or ":" not in name else "")
    prepared(base / "1.0.0", PAIR, halves(examples()))
    prepared(base / "0.9.10", PAIR, {"train": examples()[:3]})
    (tmp_path / "tfds/pets/.config").mkdir()
    (tmp_path / "tfds/pets/.config/metadata.json").write_text('{"default_config_name": "small"}')
    source = {"kind": "tfds", "name": name, "data_dir": "tfds"}
    assert from_folder == ingested(tmp_path, source).content


def test_an_image_of_another_kind_than_its_feature_says_is_one_violation(tmp_path: Path) -> None:
    """TFDS does not look at what it stores, and fails as a whole when it reads that."""
    gray = IMAGES[0, ..., 0]
    stored = [gray, IMAGES[0], np.zeros((9, 5), np.uint8), gray.astype(np.uint16)]
    values = [*({"image": png(image), "label": 0} for image in stored), {"image": b"no image", "label": 0}]
    spec = PAIR | {"image": features.Image(shape=(6, 5, 1))}
    violations = bad(source_at(prepared(tmp_path, spec, {"train": values})))
    said = [violation.partition(": ")[2].partition(". To mend")[0] for violation in violations.values()]
    assert [
        "wrong_channels: channels found 3, expected 1, as the feature image says",
        "wrong_size: rows found 9, expected 6, as the feature image says",
        "wrong_dtype: dtype found uint16, expected uint8, as the feature image says",
    ] == said  # what is no image at all is told where all images are probed


def test_a_label_that_no_class_has_is_one_violation(tmp_path: Path) -> None:
    """-1 stands for none in the test splits of many."""
    folder = prepared(tmp_path, PAIR, {"train": examples()[:5]})
    free = (
        features.FeaturesDict(PAIR | {"label": features.Text()}),
        features.FeaturesDict(PAIR | {"label": features.Scalar(np.int64)}),
    )
    strange = [free[isinstance(label, int)].serialize_example({"image": IMAGES[0], "label": label})
               for label in (-1, 3, "cat")]  # fmt: skip
    write_shard(folder / TFRECORD, strange)
    assert [
        "no_class: label found -1, expected the number of a class, from 0",
        "unknown_class: label found 3, expected a number from 0 to 2",
        "no_class: label found 'cat', expected the number of a class",
    ] == [one.partition(": ")[2].partition(". To mend")[0] for one in bad(source_at(folder)).values()]


def test_packed_pixels_without_their_end_are_one_violation(tmp_path: Path) -> None:
    """Though all pixels are there: what is missing is the checksum that says so."""
    folder = prepared(tmp_path, tensor("zlib"), {"train": examples()[:3]})
    whole = features.FeaturesDict(tensor("zlib")).serialize_example(examples()[0])
    stored = tf.train.Example.FromString(whole)
    packed = stored.features.feature["image"].bytes_list
    for left in (len(packed.value[0]) - 1, 30):
        packed.value[0] = packed.value[0][:left]
        write_shard(folder / TFRECORD, [stored.SerializeToString()])
        said = " ".join(bad(source_at(folder, image_name="image")).values())
        assert "image found a stream without its end, expected bytes in image packed by zlib" in said


def changed(file: Path, at: int, by: bytes) -> None:
    content = file.read_bytes()
    file.write_bytes(content[:at] + by + content[at + len(by) :])


TFRECORD, ARRAY_RECORD = "pets-train.tfrecord-00001-of-00002", "pets-train.array_record-00001-of-00002"


def test_a_damaged_record_is_one_violation(tmp_path: Path) -> None:
    """In either format; the others are read."""
    for name, place, said in (
        (TFRECORD, 40, "checksum found"),
        (ARRAY_RECORD, None, "record found Corrupted Riegeli/records file: chunk data hash mismatch"),
    ):
        format = name.split(".")[1].split("-")[0]
        folder = prepared(tmp_path / format, PAIR, {"train": examples()}, format=format)
        file = folder / name
        at = place or file.read_bytes().index(b"PNG") + 30
        changed(file, at, b"rot")
        violations = bad(source_at(folder))
        assert 1 == len(violations)
        assert said in next(iter(violations.values()))
        assert next(iter(violations)).startswith(f"{name}@")


def test_records_that_are_missing_are_told(tmp_path: Path) -> None:
    """A file that ends between two records is whole by itself: dataset_info.json says how many there should be."""
    folder = prepared(tmp_path, PAIR, {"train": examples()})
    told = features.FeaturesDict(PAIR)
    write_shard(folder / TFRECORD, [told.serialize_example(one) for one in examples()[6:10]])
    assert {f"{TFRECORD}@end"} == bad(source_at(folder)).keys()
    assert "records found 4, expected 6" in bad(source_at(folder))[f"{TFRECORD}@end"]


def cut(folder: Path) -> None:
    file = folder / ARRAY_RECORD
    file.write_bytes(file.read_bytes()[:-100])


def foreign(folder: Path) -> None:
    text = (folder / "features.json").read_text()
    (folder / "features.json").write_text(
        text.replace("tensorflow_datasets.core.features.image_feature.Image", "antigravity.Image")
    )


def link(folder: Path) -> None:
    (folder / ARRAY_RECORD).rename(folder.parent / "elsewhere")
    (folder / ARRAY_RECORD).symlink_to(folder.parent / "elsewhere")


DAMAGED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "cut": (cut, "records found [0-9,]+ bytes without an index that can be read in .*expected a whole ArrayRecord"),
    "no file": (
        lambda folder: (folder / ARRAY_RECORD).unlink(),
        "file found nothing in .*expected a file of 6 records.*prepare the dataset again",
    ),
    "outside": (link, "file found one outside of it in .*expected a file in the dataset's folder"),
    "no JSON": (
        lambda folder: (folder / "dataset_info.json").write_text("{"),
        "description found .*expected what TFDS writes",
    ),
    "no info": (
        lambda folder: (folder / "dataset_info.json").write_text('{"name": 3}'),
        "description found .*expected what TFDS writes",
    ),
    "no dict": (
        lambda folder: (folder / "features.json").write_text(
            json.dumps(json.loads((folder / "features.json").read_text())["featuresDict"]["features"]["image"])
        ),
        "features found Image in .*expected a dict of features",
    ),
    "no template": (
        lambda folder: (folder / "dataset_info.json").write_text(
            (folder / "dataset_info.json").read_text().replace("{SHARD_X_OF_Y}", "{NOTHING}")
        ),
        "damaged_source: ",
    ),
    "leads outside": (
        lambda folder: (folder / "dataset_info.json").write_text(
            (folder / "dataset_info.json").read_text().replace("{DATASET}-{SPLIT}", "../{DATASET}-{SPLIT}")
        ),
        "damaged_source: ",
    ),
    "features of others": (foreign, "features found 'antigravity.Image' in .*code that would be imported"),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_dataset_that_is_damaged_is_refused(tmp_path: Path, what: str) -> None:
    """One clear error that names the file."""
    damage, said = DAMAGED[what]
    folder = prepared(tmp_path / "pets", PAIR, {"train": examples()}, format="array_record")
    damage(folder)
    with pytest.raises(DataError, match=said):
        source_at(folder).discover()
    assert "antigravity" not in sys.modules


TWO = {"one": features.Image(), "two": features.Image(), "a": LABEL, "b": LABEL}
TWO_VALUES = [{"one": IMAGES[0], "two": IMAGES[1], "a": 0, "b": 1}]
WRONG: dict[str, tuple[Mapping[str, Any], Sequence[Example], dict[str, Any], dict[str, Any], str]] = {
    "two images": (TWO, TWO_VALUES, {}, {}, "source.image: found one, two: name one, expected one of one, two"),
    "two labels": (TWO, TWO_VALUES, {}, {}, "source.label: found a, b: name one, expected one of a, b"),
    "no image": (
        {"label": LABEL},
        [{"label": 0}],
        {},
        {},
        "source.image: found no feature that is an image by itself: name one, but there is none among label",
    ),
    "only a tensor": (
        tensor("none"),
        examples(),
        {},
        {},
        "found no feature that is an image by itself: name one, expected one of image",
    ),
    "no such": (PAIR, examples(), {"image": "x"}, {}, "source.image: found 'x', expected one of image"),
    "no label": (PAIR, examples(), {"label": "image"}, {}, "source.label: found 'image', expected one of label"),
    "no split": (PAIR, examples(), {"splits": {"dev": "test"}}, {}, "source.splits: found dev, expected splits of it"),
    "format": (
        PAIR,
        examples(),
        {},
        {"formats": ["jpeg"]},
        r"image.formats: found jpeg, but the dataset's image is uint8 \(6, 5, 3\), stored as png: add png",
    ),
    "floats": (
        tensor("none", dtype=np.float32),
        examples(floats),
        {"image": "image"},
        {},
        r"image.float_range: missing, but the dataset's image is float32 \(6, 5, 3\): say its lowest and highest",
    ),
    "depth": (
        tensor("bytes", dtype=np.int64),
        examples(lambda image: image.astype(np.int64)),
        {"image": "image"},
        {},
        "source.image: the dataset's image is int64 .*, expected values of bool, uint8",
    ),
    "too many pixels": (
        PAIR,
        examples(),
        {},
        {"max_pixels": 25, "rows": 5},
        r"image.max_pixels: found 25, but the dataset's image is uint8 \(6, 5, 3\): raise it",
    ),
    "refused depth": (
        PAIR | {"image": features.Image(shape=(6, 5, 1), dtype=np.uint16)},
        [],
        {},
        {"bit_depth": "refuse"},
        "image.bit_depth: found refuse, but the dataset's image is uint16",
    ),
    "pictures of floats": (
        PAIR | {"image": features.Image(shape=(6, 5, 1), dtype=np.float32)},
        [],
        {},
        {},
        "which TFDS stores as a picture of its bytes, expected uint8 or uint16",
    ),
    "no rows": (
        PAIR | {"image": features.Image(shape=(0, 5, 3))},
        [],
        {},
        {},
        r"source.image: the dataset's image is uint8 \(0, 5, 3\), expected sizes of at least 1",
    ),
    "alpha": (
        PAIR | {"image": features.Image(shape=(6, 5, 4))},
        [],
        {},
        {"alpha": "refuse"},
        "image.alpha: found refuse, but the dataset's image is uint8",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_a_recipe_asks_and_the_dataset_has_not_is_told(tmp_path: Path, what: str) -> None:
    """Before any image is read; with the candidates."""
    spec, all_of_them, keys, image, said = WRONG[what]
    prepared(tmp_path / "pets", spec, {"train": all_of_them})
    with pytest.raises(RecipeError, match=said):
        ingested(tmp_path, {"kind": "tfds", "path": "pets"} | keys, image=SIZE | image)


def test_a_split_that_is_none_of_ours_is_told(tmp_path: Path) -> None:
    """With how to map it."""
    prepared(tmp_path / "pets", PAIR, halves(examples(), "train", "unlabelled"))
    said = "source.splits: found unlabelled in the dataset, .* as {train: train, unlabelled: train}; a split left out"
    with pytest.raises(RecipeError, match=said):
        ingested(tmp_path, {"kind": "tfds", "path": "pets"})


RECIPES = {
    "neither": ({}, "source.path: found neither, expected either path or name"),
    "both": ({"path": "x", "name": "pets", "data_dir": "x"}, "source.path: found both, expected either"),
    "no data_dir": ({"name": "pets"}, "source.data_dir: missing, but name needs it"),
    "data_dir alone": ({"path": "x", "data_dir": "x"}, "source.data_dir: found without a name"),
    "prepare alone": ({"path": "x", "prepare": True}, "source.prepare: found without a name"),
    "no splits": ({"path": "x", "splits": {}}, "source.splits: found none, expected those to read"),
    "strange name": ({"name": "../x", "data_dir": "x"}, "source.name: found '../x', expected"),
    "strange split": ({"path": "x", "splits": {"a": "b"}}, "source.splits.a: found 'b', expected 'train', 'valid"),
    "no folder": ({"path": "x"}, "source.path: found 'x', expected a folder with features.json and dataset_info.json"),
    "no dataset": (
        {"name": "dogs", "data_dir": "there"},
        r"source.name: found 'dogs', which is not in 'there' \(prepared there: pets/small:1.0.0, pets:2.0.0\), expected"
        " one that is: set prepare: true",
    ),
    "a URL": ({"path": "gs://b/x"}, "source.path: found 'gs://b/x', expected a path on this machine"),
    "a URL of all": ({"name": "pets", "data_dir": "gs://b"}, "source.data_dir: found 'gs://b', expected a path on"),
}


@pytest.mark.parametrize("what", RECIPES)
def test_a_wrong_recipe_is_told(tmp_path: Path, what: str) -> None:
    """With what was found and what is expected."""
    keys, said = RECIPES[what]
    for place in ("pets/2.0.0", "pets/small/1.0.0"):
        (tmp_path / "there" / place).mkdir(parents=True)
        for name in ("features.json", "dataset_info.json"):
            (tmp_path / "there" / place / name).touch()
    with pytest.raises(RecipeError, match=said):
        ingested(tmp_path, {"kind": "tfds"} | keys)


class TinyPets(tfds.core.GeneratorBasedBuilder):  # type: ignore[misc]  # TFDS has no types
    """A dataset that needs no network."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "first"}
    fails = False

    def _info(self) -> Any:
        return self.dataset_info_from_configs(features=features.FeaturesDict(PAIR), supervised_keys=BOTH)

    def _split_generators(self, dl_manager: Any) -> Any:
        if self.fails:
            raise OSError("no network")
        return {name: self._generate_examples(part) for name, part in halves(examples()).items()}

    def _generate_examples(self, part: list[Example]) -> Iterator[tuple[int, Example]]:
        yield from enumerate(part)


@pytest.fixture
def own_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What TFDS would look at beside data_dir lies in the test's folder."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "nowhere"))


TINY = {"kind": "tfds", "name": "tiny_pets:1.0.0", "data_dir": "tfds", "prepare": True}


@pytest.mark.usefixtures("own_name")
def test_a_dataset_is_prepared_where_the_recipe_says_so(tmp_path: Path, from_folder: str) -> None:
    """When an ingest begins, not when the recipe is read; and once."""
    parse_recipe({"dataset": "it", "source": TINY, "image": SIZE, "publish": {"to": "out"}}, base=tmp_path)
    assert not (tmp_path / "tfds").exists()
    assert from_folder == ingested(tmp_path, TINY).content
    before = (tmp_path / "tfds/tiny_pets/1.0.0/features.json").stat().st_mtime_ns
    assert from_folder == ingested(tmp_path, TINY).content
    assert before == (tmp_path / "tfds/tiny_pets/1.0.0/features.json").stat().st_mtime_ns


@pytest.mark.usefixtures("own_name")
def test_a_dataset_that_cannot_be_prepared_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the recipe's fault where there is none of that name, else as the machine's."""
    with pytest.raises(RecipeError, match="name: found 'no_such_pets', expected a dataset that TFDS knows"):
        ingested(tmp_path, TINY | {"name": "no_such_pets"})
    monkeypatch.setattr(TinyPets, "fails", True)
    with pytest.raises(MachineError, match=r"TFDS could not prepare 'tiny_pets:1.0.0' in .*tfds: OSError: no network"):
        ingested(tmp_path, TINY)


def test_the_command_says_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 1 for the data, 2 for the recipe, no traceback, and nothing is written beside the dataset."""
    folder = prepared(tmp_path / "pets", PAIR, {"train": examples()}, format="array_record")
    cut(folder)
    there = sorted(file.name for file in folder.iterdir())
    for keys, status, said in (("", 1, "bytes without an index that can be read"), (", label: x", 2, "source.label:")):
        recipe = f"dataset: it\nsource: {{kind: tfds, path: pets{keys}}}\nimage: {{rows: 6, cols: 5}}\n"
        (tmp_path / "r.yaml").write_text(recipe + "publish: {to: out}\n")
        monkeypatch.setattr("sys.argv", ["nhwc", "ingest", str(tmp_path / "r.yaml"), "--direct"])
        with pytest.raises(SystemExit, match=str(status)):
            main()
        err = capsys.readouterr().err
        assert said in " ".join(err.split())
        assert "Traceback" not in err
    assert there == sorted(file.name for file in folder.iterdir())


def test_nothing_of_tfds_is_imported_where_it_is_not_used() -> None:
    """What reads a recipe of another kind does not wait for it."""
    code = "import sys, nhwc.flows.recipe; sys.exit(any(name.startswith('tensorflow') for name in sys.modules))"
    assert 0 == subprocess.run([sys.executable, "-c", code], check=False).returncode


@pytest.mark.parametrize("format", ["tfrecord", "array_record"])
def test_it_is_known_by_its_content(tmp_path: Path, format: str) -> None:
    """`nhwc init` writes its recipe, `nhwc inspect` tells what is in it."""
    folder = prepared(tmp_path / "pets/1.0.0", PAIR, halves(examples()), format=format)
    proposal = propose_recipe(folder, recipe=tmp_path / "r.yaml", contract=tmp_path / "contract.yaml")
    for line in (
        "source: {kind: tfds, path: pets/1.0.0}",
        "  rows: 6",
        "  cols: 5",
        "splits: {from: source}  # test 4, train 8",
    ):
        assert line in proposal.recipe
    assert proposal.contract is not None
    assert list(NAMES) == yaml.safe_load(proposal.contract)["classes"]
