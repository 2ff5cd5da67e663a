"""Exports: each read back by the reader it is for, equal; killed and gone on with; refused where they must be."""

import csv
import errno
import gc
import hashlib
import json
import re
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import datasets
import fsspec
import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

import nhwc
from nhwc.flows import export as exporting
from nhwc.flows.durable import locked
from nhwc.flows.export import FORMS, export
from nhwc.flows.export.names import folder_names
from nhwc.flows.export.place import Workplace
from nhwc.flows.export.tfrecord import record_writer
from nhwc.flows.places import place_beside
from nhwc.flows.recipe import parse_recipe
from nhwc.pipelines.version import Version

Tree = Callable[[Path], dict[str, str]]
Run = Callable[..., tuple[int, str, str]]
Samples = dict[str, tuple[np.ndarray[Any, Any], int, str]]
"""By id: image (rows, cols, channels), label, class name."""

KINDS: dict[str, dict[str, Any]] = {
    "gray": {"channels": 1},
    "rgb": {"channels": 3},
    "rgba": {"channels": 4},
    "uint16": {"channels": 1, "dtype": "uint16", "bit_depth": "keep"},
    "float32": {"channels": 3, "dtype": "float32"},
    "encoded": {"channels": 3, "storage": "encoded"},
    "plain": {"channels": 3},
    "plain uint16": {"channels": 1, "dtype": "uint16", "bit_depth": "keep"},
}
ODD_CLASSES = ("../../up", "a/b", ".hidden", "Hat", "hat", "Größe 2", "100%", "~", "x" * 150, "end.", "naïve\n")
SPLITS = ("train", "test")


def published(folder: Path, image: dict[str, Any], labels: dict[str, Any]) -> Version:
    recipe = {
        "dataset": "Pets-2",
        "source": {"path": "photos"},
        "image": {"rows": 4, "cols": 5} | image,
        "labels": labels,
        "splits": {"train": 0.6, "test": 0.4},
        "publish": {"to": "datasets"},
    }
    return nhwc.ingest(parse_recipe(recipe, base=folder), direct=True)


def write_photos(folder: Path, names: list[str], *, bits: int = 8) -> None:
    for number, name in enumerate(names):
        pixels = np.random.default_rng(number).integers(0, 2**bits, (6, 9, 4 if bits == 8 else 1))
        path = folder / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8) if bits == 8 else pixels[..., 0].astype(np.uint16)).save(path)


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Version]:
    """The same photographs as versions of several kinds; made when first asked for."""
    known: dict[str, Version] = {}

    def of(kind: str) -> Version:
        if kind not in known:
            folder = tmp_path_factory.mktemp(kind)
            if kind == "odd":
                write_photos(folder, [f"{number}.png" for number in range(22)])
                with (folder / "labels.csv").open("w", newline="") as file:
                    rows = [(f"{number}.png", ODD_CLASSES[number // 2]) for number in range(22)]
                    csv.writer(file).writerows([("path", "label"), *rows])
                known[kind] = published(folder, {}, {"from": "file", "file": "labels.csv"})
            else:
                labels = ("cat", "dog") if kind.startswith("plain") else ("cat", "Größe 2")
                names = [f"{label}/{number}.png" for label in labels for number in range(7)]
                write_photos(folder, names, bits=16 if kind.endswith("uint16") else 8)
                known[kind] = published(folder, KINDS[kind], {"from": "folder"})
        return known[kind]

    return of


@pytest.fixture
def version(versions: Callable[[str], Version], tmp_path: Path) -> Version:
    """A version of RGB images of this test's own."""
    shared = versions("rgb")
    shutil.copytree(shared.dataset, tmp_path / "datasets" / shared.dataset.name)
    return Version.open(tmp_path / "datasets" / shared.dataset.name)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three samples a part: nine in train are three parts."""
    monkeypatch.setattr(exporting, "PART_SAMPLES", 3)


def image_of(value: Any) -> np.ndarray[Any, Any]:
    image = np.asarray(value)
    return image if image.ndim == 3 else image[..., None]


@contextmanager
def collected() -> Iterator[None]:
    """What is left to the garbage collector meanwhile, as webdataset leaves its files, is taken without a word."""
    gc.freeze()  # so that it has little to look at
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()
    gc.unfreeze()


def read_tfds(out: Path, split: str) -> Samples:
    builder = tfds.builder_from_directory(out)
    names = builder.info.features["label"].names
    read = builder.as_data_source if list(out.glob("*.array_record-*")) else builder.as_dataset
    assert len(read(split=f"{split}[:50%]")) == round(builder.info.splits[split].num_examples / 2)
    found = read(split=split) if read == builder.as_data_source else tfds.as_numpy(read(split=split))
    return {one["sample_id"].decode(): (image_of(one["image"]), one["label"], names[one["label"]]) for one in found}


def read_tfrecord(out: Path, split: str) -> Samples:
    found = {}
    for record in tf.data.TFRecordDataset(sorted(map(str, out.glob(f"{split}-*")))).as_numpy_iterator():
        one = {
            name: (feature.bytes_list.value or feature.int64_list.value)[0]
            for name, feature in tf.train.Example.FromString(record).features.feature.items()
        }
        shape = [one[f"image/{name}"] for name in ("height", "width", "channels")]
        if "image/raw" in one:
            image = np.frombuffer(one["image/raw"], one["image/dtype"].decode()).reshape(shape)
        else:
            image = tf.io.decode_png(one["image/encoded"]).numpy()
        assert list(image.shape) == shape
        found[one["image/key"].decode()] = image, one["image/class/label"], one["image/class/text"].decode()
    return found


def read_webdataset(out: Path, split: str) -> Samples:
    import webdataset  # noqa: PLC0415  slow

    names = json.loads((out / "classes.json").read_text())
    mode = {1: "pill", 3: "pilrgb", 4: "pilrgba"}[
        json.loads((out / "export.json").read_text())["image"]["axes"][2]["size"]
    ]
    files = sorted(map(str, out.glob(f"{split}-*.tar")))
    with collected():
        found = list(webdataset.WebDataset(files, shardshuffle=False).decode(mode))
    return {
        one["__key__"]: (image_of(one.get("png", one.get("npy"))), one["cls"], names[one["cls"]])
        for one in found
        if one["json"]["label"] == names[one["cls"]] and one["json"]["split"] == split
    }


def read_parquet(out: Path, split: str) -> Samples:
    found = datasets.load_dataset(str(out), cache_dir=str(out.parent / "cache"), split=split)
    names, image = found.features["label"].names, found.features["image"]
    if isinstance(image, datasets.Image):
        return {one["sample_id"]: (image_of(one["image"]), one["label"], names[one["label"]]) for one in found}
    return {
        str(one["sample_id"]): (one["image"].astype(image.dtype), one["label"], names[one["label"]])
        for one in found.with_format("numpy")
    }


def read_npz(out: Path, split: str) -> Samples:
    with np.load(out / "arrays.npz", allow_pickle=False) as arrays:
        parts = arrays[f"ids_{split}"], arrays[f"images_{split}"], arrays[f"labels_{split}"]
        names = arrays["classes"]
    return {str(key): (image, label, str(names[label])) for key, image, label in zip(*parts, strict=True)}


def read_folder(out: Path, split: str) -> Samples:
    folders = {one["name"]: one["folder"] for one in json.loads((out / "classes.json").read_text())}
    found = {}
    for table in sorted(out.glob(f"samples-{split}-*.csv")):
        for one in csv.DictReader(table.read_text().splitlines(keepends=True)):
            file = out / one["file"]
            assert file.parent == out / split / folders[one["label"]]
            image = np.load(file, allow_pickle=False) if file.suffix == ".npy" else image_of(Image.open(file))
            found[one["sample_id"]] = image, int(one["label_id"]), one["label"]
    return found


def read_croissant(out: Path, split: str) -> Samples:
    import mlcroissant  # noqa: PLC0415  slow

    described = mlcroissant.Dataset(jsonld=str(out / "croissant.json"))  # what `mlcroissant validate` does
    names = {one["classes/label"]: one["classes/name"] for one in described.records("classes")}
    assert {one["splits/name"] for one in described.records("splits")} == set(SPLITS)
    found = {}
    for one in described.records("samples"):
        if one["samples/split"].decode() == split:
            image = one["samples/image"]
            array = image_of(image) if isinstance(image, Image.Image) else np.array(image, np.float64)
            found[one["samples/sample_id"].decode()] = array, one["samples/label"], names[one["samples/label"]]
    return found


@contextmanager
def without_array3d() -> Iterator[None]:
    """As in a process that has not imported `datasets`, whose type of arrays pandas 3 cannot take."""
    pa.unregister_extension_type("datasets.features.features.Array3DExtensionType")
    yield
    pa.register_extension_type(datasets.features.features.Array3DExtensionType((1, 2, 3), "int64"))


READERS: dict[str, Callable[[Path, str], Samples]] = {
    "tfds": read_tfds,
    "tfrecord": read_tfrecord,
    "webdataset": read_webdataset,
    "parquet": read_parquet,
    "npz": read_npz,
    "folder": read_folder,
}


def assert_equal(version: Version, read: Callable[[Path, str], Samples], out: Path) -> None:
    """That all samples of all splits come back as they are in the version: pixels, dtypes, labels, names."""
    for split in SPLITS:
        found = read(out, split)
        rows = version.kept.filter(split=split)
        assert set(rows["sample_id"]) == set(found)
        for row in rows.iter_rows(named=True):
            image, label, name = found[row["sample_id"]]
            assert version.contract.sizes == image.shape
            assert row["pixel_hash"] == hashlib.sha256(image.astype(version.contract.dtypes[0]).tobytes()).hexdigest()
            assert (row["label_id"], row["label"]) == (label, name)


@pytest.mark.parametrize(
    ("to", "kind"),
    [
        *((to, kind) for to in FORMS for kind in ("gray", "rgba", "uint16", "float32")),
        *(("tfds", "rgb"), ("webdataset", "rgb"), ("folder", "encoded"), ("npz", "encoded")),
    ],
)
def test_every_sample_comes_back(versions: Callable[[str], Version], tmp_path: Path, to: str, kind: str) -> None:
    """By the reader that the form is for, whatever images are; a split without samples is not there."""
    version = versions(kind)
    exported = export(version.dataset, to=to, out=tmp_path / "out")
    assert (True, {"train": 8, "test": 6}) == (exported.is_new, exported.splits)
    assert_equal(version, READERS[to], tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*validation*"))


def test_array_record_is_read_at_any_place(versions: Callable[[str], Version], tmp_path: Path) -> None:
    """By `as_data_source`, which reads no TFRecord."""
    version = versions("rgb")
    export(version.dataset, to="tfds", out=tmp_path / "out", file_format="array_record")
    assert_equal(version, read_tfds, tmp_path / "out")


NAMED = {"labels": {"classes": ["cat", "dog"]}}
SOURCES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "tfds": ({"kind": "tfds", "path": "out"}, {}),
    "tfrecord": ({"kind": "tfrecord", "path": "out", "class_name": "image/class/text"}, {}),
    "webdataset": ({"kind": "webdataset", "path": "out"}, NAMED),
    "parquet": ({"kind": "parquet", "path": "out/data"}, {}),
    "npz": ({"kind": "arrays", "path": "out/arrays.npz"}, {}),
    "folder": ({"path": "out"}, {"labels": {"from": "folder"}, "splits": {"from": "folder"}}),
}
"""The recipe's parts that read each export back."""


@pytest.mark.parametrize("to", SOURCES)
@pytest.mark.parametrize("kind", ["plain", "plain uint16"])
def test_an_export_is_a_source_of_the_same_content(
    versions: Callable[[str], Version], tmp_path: Path, to: str, kind: str
) -> None:
    """Source, version, export, source, version: pixels, labels and splits are what they were."""
    version = versions(kind)
    export(version.dataset, to=to, out=tmp_path / "out")
    source, parts = SOURCES[to]
    if (kind, to) == ("plain uint16", "tfrecord"):
        source = source | {"image": "image/raw", "shape": [4, 5, 1], "dtype": "uint16"}
    plain = {"dataset": "again", "source": source, "image": {"rows": 4, "cols": 5} | KINDS[kind]}
    again = nhwc.ingest(parse_recipe(plain | parts | {"publish": {"to": "datasets"}}, base=tmp_path), direct=True)
    assert version.content == again.content
    assert version.classes == again.classes


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")  # this and the next are
@pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame.reset_index")  # of mlcroissant's own use of others
@pytest.mark.parametrize("kind", ["gray", "uint16"])
def test_croissant_describes_an_export_of_parquet(
    versions: Callable[[str], Version], tmp_path: Path, kind: str
) -> None:
    """Its own checker finds no error, its reader finds every sample, and the hashes are the files'."""
    export(versions(kind).dataset, to="parquet", out=tmp_path / "out")
    with without_array3d():
        assert_equal(versions(kind), read_croissant, tmp_path / "out")
    files = [
        one for one in json.loads((tmp_path / "out" / "croissant.json").read_text())["distribution"] if "sha256" in one
    ]
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "out" / "data").iterdir()}
    assert found == {Path(one["contentUrl"]).name: one["sha256"] for one in files}


@pytest.mark.parametrize("to", ["tfrecord", "webdataset", "parquet", "npz", "folder"])
def test_classes_may_be_called_anything(versions: Callable[[str], Version], tmp_path: Path, to: str) -> None:
    """Nothing is written elsewhere, and every name comes back."""
    version = versions("odd")
    assert set(ODD_CLASSES) == set(version.classes)
    export(version.dataset, to=to, out=tmp_path / "deep" / "out")
    assert ["deep"] == [path.name for path in tmp_path.iterdir()]
    assert ["out"] == [path.name for path in (tmp_path / "deep").iterdir()]
    assert_equal(version, READERS[to], tmp_path / "deep" / "out")
    sums = (tmp_path / "deep" / "out" / "checksums").read_bytes()
    assert sums.isascii()  # `sha256sum -c` reads it under any locale


@settings(max_examples=50)
@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=200), unique=True, max_size=4))
@example([*ODD_CLASSES])
def test_names_of_folders_can_be_told_back(labels: list[str]) -> None:
    """Each differs from all others, whatever case counts for, and none leads out, is hidden or too long."""
    names = folder_names(labels)
    assert len(names) == len({name.casefold() for name in names})
    for label, name in zip(labels, names, strict=True):
        assert re.fullmatch(r"[A-Za-z0-9_%~!'()+,=@-][A-Za-z0-9_%~!'()+,=@. -]*", name)
        told, _, marked = name.partition("~")
        assert label.startswith(unquote(told)) if marked else label == unquote(told)
        assert len(name) <= 140


def test_names_of_folders_stay_readable() -> None:
    """Where they can."""
    names = folder_names(["cat", "not sure", "Größe", "..", ".hidden", "Hat", "hat"])
    told_apart = f"hat~{hashlib.sha256(b'hat').hexdigest()[:8]}"
    assert ["cat", "not sure", "Gr%C3%B6%C3%9Fe", "%2E%2E", "%2Ehidden", "Hat", told_apart] == names


def test_names_that_tfds_would_change_are_refused(versions: Callable[[str], Version], tmp_path: Path) -> None:
    """It strips its lines of names."""
    with pytest.raises(nhwc.RecipeError, match=r"classes: found 'naïve\\n', which TFDS reads back otherwise"):
        export(versions("odd").dataset, to="tfds", out=tmp_path / "out")
    assert not list(tmp_path.iterdir())


def pairs(version: Version) -> list[tuple[bytes, int]]:
    """Image and label of the samples of train, in the order of `nhwc.load`."""
    return [
        (image.tobytes(), int(label))
        for images, labels in nhwc.load(version.dataset).as_numpy_iterator()
        for image, label in zip(images, labels, strict=True)
    ]


AS_PAIRS: dict[str, Callable[[Any], list[tuple[Any, Any]]]] = {
    "tfds": lambda train: list(train.as_numpy_iterator()),
    "tfrecord": lambda train: list(train.as_numpy_iterator()),
    "webdataset": list,
    "parquet": lambda train: [(one["image"], one["label"]) for one in train],
    "npz": lambda train: list(zip(*train, strict=True)),
    "folder": lambda train: list(train.unbatch().as_numpy_iterator()),
}


@pytest.mark.parametrize("to", FORMS)
def test_the_line_that_is_told_reads_it_back(
    versions: Callable[[str], Version], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: str
) -> None:
    """As it stands, and where a part is all in the order of `nhwc.load`; from a folder with an odd name too."""
    monkeypatch.setattr(exporting, "PART_SAMPLES", 100)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    exported = export(versions("rgb").dataset, to=to, out=tmp_path / "it's 1")
    names: dict[str, Any] = {}
    with collected(), warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        exec(exported.reading, names)
        found = AS_PAIRS[to](names["train"])
    told = [(np.asarray(image).astype(np.uint8).tobytes(), int(label)) for image, label in found]
    expected = pairs(versions("rgb"))
    if to == "folder":  # which is read class by class
        expected, told = sorted(expected), sorted(told)
    assert expected == told


PAGE = (Path(__file__).parents[2] / "docs" / "exports.md").read_text(encoding="utf-8")
ROWS = [line.split(" | ") for line in PAGE.splitlines() if line.startswith("| `") and line.count(" | ") == 2]
LINES = [(row[0], line) for row in ROWS for line in re.findall(r"`([^`]+)`", row[2]) if "..." not in line]
BLOCKS = [block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if block.startswith("import")]
COUNTS = {"tfds": 1, "tfds --file-format array_record": 4, "webdataset": 8, "parquet": 8, "npz": 8}
"""Of what a page's line gives: samples, or the fields of one."""


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame.reset_index")
def test_the_lines_of_the_page_read_it_back(
    versions: Callable[[str], Version], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they stand in docs/exports.md, for two parts of train."""
    import keras  # noqa: PLC0415  slow, all of them
    import mlcroissant  # noqa: PLC0415
    import webdataset  # noqa: PLC0415

    monkeypatch.setattr(exporting, "PART_SAMPLES", 5)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    names = {"tfds": tfds, "tf": tf, "datasets": datasets, "numpy": np, "keras": keras} | {
        "mlcroissant": mlcroissant,
        "webdataset": webdataset,
    }
    for to in FORMS:
        export(versions("rgb").dataset, to=to, out=tmp_path / to)
    export(versions("rgb").dataset, to="tfds", out=tmp_path / "array_record", file_format="array_record")
    seen = set()
    for cell, line in LINES:
        to = cell.removeprefix("| `").removesuffix("`")
        with collected():
            found = list(eval(line.replace("OUT", str(tmp_path / to.split()[-1])), dict(names)))
        assert (14 if "mlcroissant" in line else COUNTS[to]) == len(found), line
        seen.add(to)
    assert seen == set(COUNTS)
    for to, block in zip(("tfrecord", "folder"), BLOCKS, strict=True):
        exec(block.replace("OUT", str(tmp_path / to)).replace("(224, 224)", "(4, 5)"), names)
        assert 8 == sum(1 if to == "tfrecord" else len(labels) for _, labels in names["train"])


def inodes(folder: Path) -> set[int]:
    return {path.stat().st_ino for path in folder.rglob("*") if path.is_file()}


def hidden(out: Path) -> Path:
    return out.with_name(f".{out.name}.nhwc-export")


@pytest.mark.parametrize("to", FORMS)
def test_a_full_disk_amid_an_export(
    versions: Callable[[str], Version], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tree: Tree, to: str
) -> None:
    """Nothing is at its place then; the next run keeps what was finished and is not damaged, and ends the same."""
    dataset, finish, noted = versions("gray").dataset, Workplace.finish, []

    def full(place: Workplace, part: Any, paths: Any) -> dict[str, str]:
        if len(noted) == 3:
            raise OSError(errno.ENOSPC, "No space left on device", str(place.tree))
        noted.append([path.stat().st_ino for path in paths])
        return finish(place, part, paths)

    monkeypatch.setattr(Workplace, "finish", full)
    out = tmp_path / "out"
    with pytest.raises(nhwc.MachineError, match="No space left on device: mend it, then run the same again"):
        export(dataset, to=to, out=out)
    assert not out.exists()
    monkeypatch.setattr(Workplace, "finish", finish)
    (damaged,) = (path for path in hidden(out).rglob("*") if path.is_file() and path.stat().st_ino == noted[0][0])
    damaged.write_bytes(b"x" + damaged.read_bytes()[1:])
    exported = export(dataset, to=to, out=out)
    assert exported.is_new
    assert not hidden(out).exists()
    if to != "npz":  # which puts its parts together
        assert {*noted[1], *noted[2]} <= inodes(out)
    export(dataset, to=to, out=tmp_path / "other")
    assert tree(out) == tree(tmp_path / "other")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
@pytest.mark.parametrize("opened", [tf.io.TFRecordWriter, ArrayRecordWriter])
def test_a_full_disk_is_told_by_native_writers_too(opened: Callable[[str], Any]) -> None:
    """As any other error of the machine, not as one of theirs."""
    with pytest.raises(nhwc.MachineError, match=r"No space left on device.*: mend it, then run the same again"):  # noqa: SIM117
        with record_writer(Path("/dev/full"), opened) as write_record:
            write_record(bytes(1 << 22))


KILLED = """
import os, signal, sys
from nhwc.flows import export
from nhwc.flows.export import place
export.PART_SAMPLES, move = 3, place.move_durably
def killed(*paths):
    if sys.argv[3] == "after it":
        move(*paths)
    os.kill(os.getpid(), signal.SIGKILL)
finish, done = place.Workplace.finish, []
def second(self, part, paths):
    if sys.argv[3] == "amid" and done:
        killed()
    done.append(part)
    return finish(self, part, paths)
place.Workplace.finish = second
if sys.argv[3] != "amid":
    place.move_durably = killed
export.export(sys.argv[1], to="webdataset", out=sys.argv[2])
"""


@pytest.mark.parametrize("when", ["amid", "at the end", "after it"])
def test_a_killed_export_goes_on(versions: Callable[[str], Version], tmp_path: Path, tree: Tree, when: str) -> None:
    """In another process, which makes the same bytes and leaves nothing else."""
    dataset, out = versions("rgb").dataset, tmp_path / "out"
    done = subprocess.run([sys.executable, "-c", KILLED, str(dataset), str(out), when], check=False)
    assert (-signal.SIGKILL, when == "after it") == (done.returncode, out.exists())
    kept = inodes(out if out.exists() else hidden(out) / "tree")
    exported = export(dataset, to="webdataset", out=out)
    assert exported.is_new == (when != "after it")
    assert len(kept & inodes(out)) >= 2
    assert ["out"] == [path.name for path in tmp_path.iterdir()]
    export(dataset, to="webdataset", out=tmp_path / "other")
    assert tree(out) == tree(tmp_path / "other")


def test_an_export_that_is_there_is_left(version: Version, tmp_path: Path, tree: Tree, nhwc_command: Run) -> None:
    """The same again says so; `sha256sum` finds its checksums right; `export.json` says what it is."""
    status, said, _ = nhwc_command("export", version.dataset, "--to", "folder", "out")
    assert (0, "out: 1.0.0 as folder", "8 in train, 6 in test") == (status, said[:20], said.splitlines()[0][-21:])
    assert "to read it back:\nimport json, keras, pathlib\ntrain = keras.utils." in said
    before = tree(tmp_path / "out"), inodes(tmp_path / "out")
    status, said, _ = nhwc_command("export", version.folder, "--to", "folder", "out")
    assert (0, True) == (status, "as it was there already" in said)
    assert before == (tree(tmp_path / "out"), inodes(tmp_path / "out"))
    subprocess.run(["sha256sum", "--check", "--quiet", "--strict", "checksums"], cwd=tmp_path / "out", check=True)
    told = json.loads((tmp_path / "out" / "export.json").read_text())
    assert ("folder", "Pets-2", "1.0.0") == (told["form"], told["dataset"], told["version"])


def test_other_things_are_never_overwritten(version: Version, tmp_path: Path, tree: Tree, nhwc_command: Run) -> None:
    """Status 2, what is there in words, and not a byte changed."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    (tmp_path / "empty").mkdir()
    for out in ("empty", "damaged", "unlisted"):
        assert 0 == nhwc_command("export", version.dataset, "--to", "npz", out)[0]
    (tmp_path / "damaged" / "arrays.npz").write_bytes(b"")
    (tmp_path / "unlisted" / "checksums").unlink()
    before = tree(tmp_path)
    for to, out, told in (
        ("npz", "file", "found something else there, expected nothing: name another place"),
        ("npz", "link", "found something else there"),
        ("npz", "full", "found something else there"),
        ("webdataset", "empty", "found an export to npz of Pets-2 1.0.0 there"),
        ("npz", "damaged", "found this export, in which arrays.npz is damaged: remove the folder, then export again"),
        ("npz", "unlisted", "found this export, in which checksums is damaged"),
    ):
        status, _, said = nhwc_command("export", version.dataset, "--to", to, out)
        assert (2, True) == (status, told in said), said
    assert before == tree(tmp_path)


def test_all_that_is_wrong_with_a_call_is_told(version: Version, tmp_path: Path, nhwc_command: Run) -> None:
    """At once, with status 2."""
    status, _, said = nhwc_command("export", "nowhere", "--to", "zip", "s3://bucket/out", "--file-format", "csv")
    assert 2 == status
    for told in (
        "found no such folder, expected a published dataset",
        "to: found 'zip', expected one of tfds, tfrecord, webdataset, parquet, npz, folder",
        "out: found s3://bucket/out, expected a folder on this machine",
        "file_format: found 'csv', expected one of tfrecord, array_record",
    ):
        assert told in said
    with pytest.raises(nhwc.RecipeError, match="lies in the dataset: name a place outside of it") as refused:
        export(version.dataset, to="npz", out=version.dataset / "out", file_format="tfrecord")
    assert "file_format: found 'tfrecord' beside npz, expected it of tfds only" in str(refused.value)
    with pytest.raises(nhwc.RecipeError, match=r"out: found '\.', expected a folder that is not there yet"):
        export(version.dataset, to="npz", out=".")


@pytest.mark.parametrize("out", ["photos/out", "photos/cat/out", "link/out", "photos", "within"])
def test_an_export_is_never_among_the_images_of_its_source(version: Version, tmp_path: Path, out: str) -> None:
    """The next ingest would take it for a class."""
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    (tmp_path / "link").symlink_to("photos")
    (tmp_path / "within").symlink_to("photos/cat")
    with pytest.raises(
        nhwc.RecipeError, match=rf"out: found \S*/{out}, but it and the dataset's source \S*/photos lie "
    ):
        export(version.dataset, to="folder", out=tmp_path / out)
    assert [tmp_path / "photos" / "cat"] == list((tmp_path / "photos").rglob("*"))


@pytest.mark.parametrize(
    ("place", "named", "found"),
    [
        ("photos", "datasets/pets", "/w/recipes/photos"),
        ("../photos", "datasets/pets", "/w/photos"),
        ("../photos", "../datasets/pets", "/w/recipes/photos"),
        ("/photos", "datasets/pets", "/photos"),
        ("/photos", "s3://bucket/pets", "/photos"),
        ("photos", "../datasets/pets", None),
        ("photos", "/w/datasets/pets", None),
        ("photos", "s3://bucket/pets", None),
        ("s3://bucket/photos", "datasets/pets", None),
    ],
)
def test_the_source_is_found_from_the_dataset(place: str, named: str, found: str | None) -> None:
    """The folder that a recipe's paths are relative to is not recorded."""
    dataset = Path("/w/recipes/datasets/pets")
    assert (None if found is None else Path(found)) == place_beside(dataset, place, named=named)


def damage_pixels(version: Version) -> str:
    row = version.kept.filter(split="test").row(2, named=True)
    shard = version.shard_path(row["shard"])
    pixels = version.open_shard(row["shard"]).images[row["row"]].tobytes()
    shard.write_bytes(shard.read_bytes().replace(pixels, bytes(len(pixels))))
    return f"export sample {row['sample_id']}: pixels_changed: pixels in shard {row['shard']} found"


def remove_shard(version: Version) -> str:
    (shard,) = (version.dataset / "shards").iterdir()
    shard.unlink()
    return f"missing_part: {shard.name}"


def damage_manifest(version: Version) -> str:
    content = bytearray((version.folder / "manifest.parquet").read_bytes())
    content[100] ^= 1
    (version.folder / "manifest.parquet").write_bytes(content)
    return "checksum: manifest.parquet"


@pytest.mark.parametrize("damage", [damage_pixels, remove_shard, damage_manifest])
def test_a_damaged_version_is_not_exported(
    version: Version, tmp_path: Path, nhwc_command: Run, damage: Callable[[Version], str]
) -> None:
    """Status 1, the damage named, and nothing at the place."""
    told = damage(version)
    status, _, said = nhwc_command("export", version.dataset, "--to", "npz", "out")
    assert (1, True) == (status, told in said), said
    assert not (tmp_path / "out").exists()


def test_a_dataset_on_a_store(version: Version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faulty: Any) -> None:
    """Is exported as one on this machine is."""
    monkeypatch.setenv("NHWC_CACHE", str(tmp_path / "cache"))
    fsspec.filesystem("faulty").put(str(version.dataset), "bucket/Pets-2", recursive=True)
    exported = export("faulty://bucket/Pets-2", to="npz", out=tmp_path / "out")
    assert_equal(version, read_npz, exported.out)
    assert ("npz", {"train": 8, "test": 6}) == (exported.form, exported.splits)


def test_two_at_the_same_place(version: Version, tmp_path: Path) -> None:
    """The second is told that the first is at it."""
    with locked(hidden(tmp_path / "out")), pytest.raises(nhwc.MachineError, match="another run is writing"):
        export(version.dataset, to="npz", out=tmp_path / "out")
