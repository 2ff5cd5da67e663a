"""Arrays, IDX, CIFAR, HDF5, Parquet: written by others, read as the same samples; damaged, one clear refusal each."""

import gzip
import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import nhwc
from nhwc.flows.cli import main
from nhwc.flows.ingest import run_ingest
from nhwc.flows.making import source_of
from nhwc.flows.recipe import parse_recipe
from nhwc.pipelines.sources import unpacked
from nhwc.pipelines.version import Version
from nhwc.validators.errors import DataError, MachineError, RecipeError

RNG = np.random.default_rng(5)
COLOUR = RNG.integers(0, 256, (20, 6, 5, 3), np.uint8)
GRAY = COLOUR[..., 0]
LABELS = np.arange(20) % 3
NAMES = ("cat", "dog", "yak")
SIZES = {3: {"rows": 6, "cols": 5}, 1: {"rows": 6, "cols": 5, "channels": 1}}


def ingested(tmp_path: Path, source: dict[str, Any], *, channels: int = 3, **parts: Any) -> Version:
    """The version that a source comes to."""
    plain = {"dataset": "it", "source": source, "image": SIZES[channels], "publish": {"to": "out"}}
    done = run_ingest(parse_recipe(plain | parts, base=tmp_path))
    assert "published" == done.outcome
    assert done.version is not None
    return done.version


@pytest.fixture(scope="module")
def from_folder(tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    """The content of the same images as PNG in folders of classes, by channels, all in train."""
    contents = {}
    for channels, images in ((3, COLOUR), (1, GRAY)):
        place = tmp_path_factory.mktemp("folder")
        for number, image in enumerate(images):
            file = place / "photos" / NAMES[LABELS[number]] / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(file)
        contents[channels] = ingested(place, {"path": "photos"}, channels=channels).content
    return contents


def idx(array: np.ndarray[Any, Any], code: int = 8) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape) + array.tobytes()


def write_idx(place: Path) -> None:
    (place / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(GRAY)))
    (place / "train-labels-idx1-ubyte").write_bytes(idx(LABELS.astype(np.uint8)))


def write_npz(place: Path) -> None:
    np.savez(place / "it.npz", x_train=COLOUR, y_train=LABELS[:, np.newaxis])


def write_packed_npz(place: Path) -> None:
    np.savez_compressed(place / "it.npz", images=np.asfortranarray(COLOUR), labels=np.array(NAMES)[LABELS])


def write_npy(place: Path) -> None:
    np.save(place / "x.npy", np.moveaxis(COLOUR, -1, 1))
    np.save(place / "y.npy", LABELS)


def write_hdf5(place: Path) -> None:
    with h5py.File(place / "it.h5", "w") as file:
        file.create_dataset("train/images", data=COLOUR, chunks=(3, 6, 5, 3), compression="gzip")
        file["train/labels"] = LABELS
        file["class_names"] = list(NAMES)


def png(image: np.ndarray[Any, Any]) -> bytes:
    out = io.BytesIO()
    Image.fromarray(image).save(out, "png")
    return out.getvalue()


def write_files_in_hdf5(place: Path) -> None:
    with h5py.File(place / "it.h5", "w") as file:
        files = file.create_dataset("images", 20, h5py.vlen_dtype(np.uint8))
        for number, image in enumerate(COLOUR):
            files[number] = np.frombuffer(png(image), np.uint8)
        file["labels"] = [NAMES[label] for label in LABELS]


def table(images: pa.Array, **more: Any) -> pa.Table:
    return pa.table({"image": images, "label": pa.array([NAMES[label] for label in LABELS]), **more})


def write_lists(place: Path) -> None:
    pq.write_table(table(pa.array(COLOUR.tolist(), pa.list_(pa.list_(pa.list_(pa.uint8()))))), place / "it.parquet")


def write_tensors(place: Path) -> None:
    kind = pa.fixed_shape_tensor(pa.uint8(), (6, 5, 3))
    storage = pa.FixedSizeListArray.from_arrays(pa.array(COLOUR.reshape(-1)), 90)
    with pa.OSFile(str(place / "it.arrow"), "wb") as sink:
        images = table(pa.ExtensionArray.from_storage(kind, storage))
        with pa.ipc.new_file(sink, images.schema) as writer:
            writer.write_table(images)


def write_files_in_parquet(place: Path) -> None:
    images = pa.array([{"bytes": png(image), "path": None} for image in COLOUR])
    pq.write_table(table(images), place / "it.parquet", row_group_size=7)


NAMED = {"labels": {"classes": list(NAMES)}}


@pytest.mark.parametrize(
    ("write", "source", "parts", "channels"),
    [
        (write_idx, {"kind": "idx", "path": "."}, NAMED, 1),
        (write_idx, {"kind": "idx", "path": "train-images-idx3-ubyte.gz"}, NAMED, 1),
        (write_npz, {"kind": "arrays", "path": "it.npz"}, NAMED, 3),
        (write_npz, {"kind": "arrays", "path": "it.npz", "images": "x_train", "labels": "y_train"}, NAMED, 3),
        (write_packed_npz, {"kind": "arrays", "path": "it.npz"}, {}, 3),
        (write_npy, {"kind": "arrays", "path": "x.npy", "labels": "y.npy", "layout": "channels_first"}, NAMED, 3),
        (write_hdf5, {"kind": "hdf5", "path": "it.h5"}, {}, 3),
        (write_files_in_hdf5, {"kind": "hdf5", "path": "it.h5"}, {}, 3),
        (write_lists, {"kind": "parquet", "path": "it.parquet"}, {}, 3),
        (write_tensors, {"kind": "parquet", "path": "."}, {}, 3),
        (write_files_in_parquet, {"kind": "parquet", "path": "it.parquet", "image": "image", "label": "label"}, {}, 3),
    ],
)
def test_every_form_comes_to_the_same_content(
    tmp_path: Path,
    from_folder: dict[int, str],
    write: Callable[[Path], None],
    source: dict[str, Any],
    parts: dict[str, Any],
    channels: int,
) -> None:
    """Pixels, labels and splits are those of the folder, and a second run finds nothing new."""
    place = tmp_path / "source"
    place.mkdir()
    write(place)
    source = source | {"path": f"source/{source['path']}"} | ({"labels": "source/y.npy"} if write is write_npy else {})
    version = ingested(tmp_path, source, channels=channels, **parts)
    assert from_folder[channels] == version.content
    assert NAMES == version.classes
    plain = {"dataset": "it", "source": source, "image": SIZES[channels], "publish": {"to": "out"}} | parts
    assert "unchanged" == run_ingest(parse_recipe(plain, base=tmp_path)).outcome


def test_numbers_without_names_are_classes_in_their_order(tmp_path: Path) -> None:
    """10 comes after 2; ids are the numbers where none is missing."""
    np.savez(tmp_path / "it.npz", images=COLOUR, labels=np.arange(20) % 12)
    assert tuple(map(str, range(12))) == ingested(tmp_path, {"kind": "arrays", "path": "it.npz"}).classes


def test_stacks_named_like_splits_keep_them(tmp_path: Path) -> None:
    """x_train and x_test are two splits; shares in the recipe have the last word."""
    arrays = {"x_train": COLOUR[:15], "y_train": LABELS[:15], "x_test": COLOUR[15:], "y_test": LABELS[15:]}
    np.savez(tmp_path / "it.npz", **arrays)
    source = {"kind": "arrays", "path": "it.npz"}
    kept = ingested(tmp_path, source).kept
    assert {"train": 15, "test": 5} == dict(kept.group_by("split").len().iter_rows())
    shared = ingested(tmp_path, source, dataset="other", splits={"validation": 1, "train": 0}).kept
    assert ["validation"] == shared["split"].unique().to_list()


def cifar(place: Path, *, before: int) -> None:
    labels = np.stack([LABELS, LABELS[::-1]][:before], axis=1).astype(np.uint8)
    pixels = RNG.integers(0, 256, (20, 3072), np.uint8)
    place.mkdir()
    (place / ("data_batch_1.bin" if before == 1 else "train.bin")).write_bytes(np.hstack([labels, pixels]).tobytes())
    np.save(place / "expected.npy", np.moveaxis(pixels.reshape(20, 3, 32, 32), 1, -1))


@pytest.mark.parametrize(("before", "which"), [(1, "fine"), (2, "fine"), (2, "coarse")])
def test_cifar(tmp_path: Path, before: int, which: str) -> None:
    """Channels stand last, and of CIFAR-100's two labels the one asked for is taken, by name."""
    cifar(tmp_path / "batches", before=before)
    for file in ("batches.meta.txt",) if before == 1 else ("fine_label_names.txt", "coarse_label_names.txt"):
        (tmp_path / "batches" / file).write_text("cat\ndog\nyak\n\n")
    image = {"rows": 32, "cols": 32}
    version = ingested(tmp_path, {"kind": "cifar", "path": "batches", "labels": which}, image=image)
    labels = LABELS if which == "coarse" or before == 1 else LABELS[::-1]
    assert [NAMES[label] for label in labels] == version.kept.sort("path")["label"].to_list()
    np.savez(tmp_path / "it.npz", x=np.load(tmp_path / "batches" / "expected.npy"), y=labels)
    other = ingested(tmp_path, {"kind": "arrays", "path": "it.npz"}, dataset="npz", image=image, **NAMED)
    assert other.content == version.content


def savez(**arrays: Any) -> Callable[[Path], Any]:
    return lambda place: np.savez(place / "it.npz", **arrays)


def saved(name: str, content: bytes) -> Callable[[Path], Any]:
    return lambda place: (place / name).write_bytes(content)


def both(images: bytes, labels: bytes) -> Callable[[Path], Any]:
    def write(place: Path) -> None:
        (place / "train-images-idx3-ubyte").write_bytes(images)
        (place / "train-labels-idx1-ubyte").write_bytes(labels)

    return write


def packed_npz(content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", content)
    return out.getvalue()


def npy_of(shape: tuple[int, ...], values: bytes = b"") -> bytes:
    out = io.BytesIO()
    header = {"shape": shape, "fortran_order": False, "descr": "|u1"}
    np.lib.format.write_array_header_1_0(out, header)
    return out.getvalue() + values


def hdf5(fill: Callable[[Any], Any]) -> Callable[[Path], None]:
    def write(place: Path) -> None:
        with h5py.File(place / "it.h5", "w") as file:
            fill(file)

    return write


IDX, NPZ, H5 = ({"kind": kind, "path": path} for kind, path in (("idx", "."), ("arrays", "it.npz"), ("hdf5", "it.h5")))
PQ, CIFAR = {"kind": "parquet", "path": "it.parquet"}, {"kind": "cifar", "path": "."}
GOOD = idx(LABELS.astype(np.uint8))
WHOLE = packed_npz(npy_of((20, 6, 5, 3), COLOUR.tobytes()))


@pytest.mark.parametrize(
    ("source", "write", "found"),
    [
        (IDX, both(idx(GRAY)[:-1], GOOD), "found 599 in .*train-images-idx3-ubyte, expected 600 bytes for sizes"),
        (IDX, both(idx(GRAY) + b"x", GOOD), "found more in .*expected 600 bytes"),
        (IDX, both(b"\1" + idx(GRAY)[1:], GOOD), "magic found bytes 01 00 08 03 .*expected an IDX file of rank 3 or 4"),
        (IDX, both(idx(GRAY, 7), GOOD), "magic found bytes 00 00 07 03"),
        (IDX, both(GOOD, GOOD), "magic found bytes 00 00 08 01"),
        (IDX, both(b"\0\0", GOOD), "magic found bytes 00 00 in"),
        (IDX, both(idx(GRAY)[:7], GOOD), "header found 3 bytes in .*expected 3 sizes"),
        (IDX, both(struct.pack(">HBB3I", 0, 8, 3, 2**31, 2**31, 9), GOOD), "found 0 in .*expected 41,5"),
        (IDX, both(gzip.compress(idx(GRAY))[:-90], GOOD), "gzip found Compressed file ended .*expected a whole gzip"),
        (IDX, both(idx(GRAY), GOOD[:8] + b"\1"), "bytes found 1 in .*labels-idx1-ubyte, expected 20 bytes"),
        (IDX, both(idx(GRAY), idx(LABELS[:19].astype(np.uint8))), "labels found 19 in .*expected 20 labels, one for"),
        (NPZ, savez(images=np.array([1, "a"], object), labels=LABELS), "dtype found object in .*only pickle reads"),
        (NPZ, savez(images=COLOUR, labels=LABELS[:7]), "labels found 7 in .*expected 20 labels"),
        (NPZ, savez(images=COLOUR, labels=np.eye(3)[LABELS]), r"labels found labels: float64 of shape \(20, 3\)"),
        (
            NPZ,
            savez(images=GRAY[0], labels=LABELS),
            r"rank found images of shape \(6, 5\) .*expected images, \[samples",
        ),
        (NPZ, saved("it.npz", WHOLE[:-30]), "bytes found File is not a zip file in"),
        (NPZ, saved("it.npz", WHOLE[:90] + b"\0\0\0" + WHOLE[93:]), "bytes found .* in .*expected a whole .npz"),
        (
            NPZ,
            saved("it.npz", packed_npz(npy_of((2**40, 9, 9)))),
            "packed_too_well: bytes found 89,060,441,849,856 in .*expected at most 67,",
        ),
        (NPZ, saved("it.npz", packed_npz(b"text")), "header found .*expected a .npy header"),
        (H5, saved("it.h5", b"\x89HDF\r\n\x1a\n" + bytes(99)), "bytes found .*expected a whole HDF5 file"),
        (
            H5,
            hdf5(lambda f: f.create_dataset("images", (10**9, 9, 9), np.uint8)),
            "found 81,000,000,000 promised by im",
        ),
        (PQ, saved("it.parquet", b"PAR1" + bytes(50)), "bytes found .*expected whole Parquet or Arrow"),
        (PQ, saved("it.parquet", b"text"), "bytes found .*expected whole Parquet or Arrow"),
        (CIFAR, saved("data_batch_1.bin", bytes(3072)), "bytes found 3,072 bytes in .*expected records of 3,073 bytes"),
    ],
)
def test_what_is_damaged_is_refused_in_one_sentence(
    tmp_path: Path, source: dict[str, Any], write: Callable[[Path], Any], found: str
) -> None:
    """One violation that names the file, what it has and what it should have."""
    place = tmp_path / "source"
    place.mkdir()
    write(place)
    with pytest.raises(DataError, match=found) as caught:
        ingested(place, source, publish={"to": "../out"})
    assert 1 == len(caught.value.verdict.violations)


@pytest.mark.parametrize(
    ("source", "write", "found"),
    [
        (NPZ, savez(pixels=COLOUR), "found no array named like images or x_train among pixels in .*set source.images"),
        (NPZ | {"labels": "who"}, savez(images=COLOUR), "found no array 'who' among images"),
        (NPZ | {"labels": "who", "images": "what"}, savez(images=COLOUR), "found no array 'what' and no array 'who'"),
        (IDX, saved("other", b""), "found no file of images in .*expected files named like train-images-idx3-ubyte.gz"),
        (IDX | {"labels": "no"}, saved("other", b""), "source.labels: found 'no', which is no file"),
        (CIFAR, saved("other", b""), "found no .bin file in .*expected CIFAR's"),
        (PQ, lambda p: pq.write_table(pa.table({"a": [1]}), p / "it.parquet"), "found columns a in .*set source.image"),
        (PQ | {"label": "b"}, write_lists, "found columns image, label in .*expected b"),
        (PQ | {"path": "no"}, write_lists, "source.path: found 'no', where there is nothing"),
        (H5 | {"path": "."}, write_hdf5, "source.path: found '.', which is no file, expected an HDF5 file"),
        (NPZ | {"path": "s3://a/b.npz"}, write_npz, "found 's3://a/b.npz', expected a path on this machine"),
        (NPZ | {"path": "x.npy", "images": "x"}, write_npy, "source.images: found 'x', which only a .npz has"),
        (NPZ | {"pth": "x.npy"}, write_npy, "source.pth: unknown key, did you mean path"),
    ],
)
def test_what_the_recipe_says_wrongly(
    tmp_path: Path, source: dict[str, Any], write: Callable[[Path], Any], found: str
) -> None:
    """Keys that name what is not there."""
    place = tmp_path / "source"
    place.mkdir()
    write(place)
    with pytest.raises(RecipeError, match=found):
        ingested(place, source, publish={"to": "../out"})


@pytest.mark.parametrize(
    ("images", "image", "code", "found"),
    [
        (np.moveaxis(COLOUR, -1, 1), {}, "wrong_channels", "5 in (3, 6, 5)"),
        (COLOUR.astype(np.int64), {}, "unsupported_depth", "int64"),
        (COLOUR / 255, {}, "unsupported_depth", "float64"),
        (COLOUR / 255, {"float_range": [0, 0.5]}, "out_of_range", "[0"),
        (
            np.full((20, 6, 5), np.nan, np.float32),
            {"float_range": [0, 1]},
            "out_of_range",
            "values that are not numbers",
        ),
        (COLOUR[:, np.newaxis], {}, "wrong_rank", "4 (1, 6, 5, 3)"),
    ],
)
def test_images_that_no_recipe_lets_in(
    tmp_path: Path, images: np.ndarray[Any, Any], image: dict[str, Any], code: str, found: str
) -> None:
    """Each is quarantined, with what was found of it."""
    np.savez(tmp_path / "it.npz", images=images, labels=LABELS)
    plain = {"dataset": "it", "source": NPZ, "image": SIZES[3] | image, "publish": {"to": "out"}}
    done = run_ingest(parse_recipe(plain, base=tmp_path))
    assert {code} == set(done.manifest["code"])
    assert all(text.startswith(found) for text in done.manifest["found"])


def test_the_axis_that_looks_swapped_is_named(tmp_path: Path) -> None:
    """Channels first, which the recipe does not say: the hint says both ways to mend it."""
    np.savez(tmp_path / "it.npz", images=np.zeros((9, 3, 60, 60), np.uint8), labels=range(9))
    plain = {"dataset": "it", "source": NPZ, "image": SIZES[3], "publish": {"to": "out"}}
    hints = run_ingest(parse_recipe(plain, base=tmp_path)).manifest["hint"]
    assert "channels_first" in hints[0]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_over_their_range_are_the_bytes_that_they_were(tmp_path: Path, from_folder: Any, dtype: Any) -> None:
    """uint8 / 255 comes back to the bit through 16 bits, from half precision up."""
    np.savez(tmp_path / "it.npz", images=(COLOUR / 255).astype(dtype), labels=LABELS)
    image = SIZES[3] | {"float_range": [0, 1]}
    assert from_folder[3] == ingested(tmp_path, NPZ, image=image, **NAMED).content


def test_sixteen_bits_are_kept_where_the_recipe_says_so(tmp_path: Path) -> None:
    """uint16 in either byte order, and booleans as black and white."""
    deep = RNG.integers(0, 65536, (20, 6, 5), np.uint16)
    keep = SIZES[1] | {"dtype": "uint16", "bit_depth": "keep"}
    contents = set()
    for number, images in enumerate((deep, deep.astype(">u2"))):
        np.savez(tmp_path / "it.npz", images=images, labels=LABELS)
        contents.add(ingested(tmp_path, NPZ, dataset=f"d{number}", image=keep).content)
    assert 1 == len(contents)
    np.savez(tmp_path / "it.npz", images=deep > 999, labels=LABELS)
    bits = ingested(tmp_path, NPZ, dataset="bits", image=SIZES[1])
    images, _ = next(iter(nhwc.load(bits.dataset, batch_size=20)))
    assert {0, 255} == set(np.unique(images))


def test_a_missing_image_in_a_table_is_one_sample_out(tmp_path: Path) -> None:
    """A row with a path alone: what it leads to is never opened."""
    images = [{"bytes": png(image), "path": None} for image in COLOUR]
    images[3] = {"bytes": None, "path": "/etc/passwd"}
    pq.write_table(
        table(pa.array(images, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))), tmp_path / "it.parquet"
    )
    version = ingested(tmp_path, PQ, checks={"bad_fraction": 0.1, "bad_fraction_per_class": 0.5})
    (row,) = version.manifest.filter(status="quarantined").to_dicts()
    assert ("it/00000003", "damaged_source") == (row["path"], row["code"])
    assert "a path alone is not followed" in row["found"]


def test_the_command_says_it_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Status 1, no traceback, and how to mend it."""
    both(idx(GRAY), GOOD[:-1])(tmp_path)
    (tmp_path / "r.yaml").write_text(
        "dataset: it\nsource: {kind: idx, path: .}\nimage: {rows: 6, cols: 5, channels: 1}\npublish: {to: ../out}\n"
    )
    monkeypatch.setattr("sys.argv", ["nhwc", "ingest", str(tmp_path / "r.yaml"), "--direct"])
    with pytest.raises(SystemExit, match="1"):
        main()
    said = capsys.readouterr().err
    assert "damaged_source" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("write", "source"), [(write_idx, IDX), (write_packed_npz, NPZ), (write_hdf5, H5), (write_files_in_parquet, PQ)]
)
def test_another_process_reads_the_same(tmp_path: Path, write: Callable[[Path], Any], source: dict[str, Any]) -> None:
    """What was opened here stays here: a source goes to a worker by its fields."""
    write(tmp_path)
    recipe = parse_recipe(
        {"dataset": "it", "source": source | {"path": f"../{tmp_path.name}/{source['path']}"}, "image": SIZES[3]}
        | {"publish": {"to": "../out"}},
        base=tmp_path,
    )
    here = recipe.source.source(tmp_path, recipe.image)
    entry = here.discover().entries[7]
    there = pickle.loads(pickle.dumps(here))
    assert [field.name for field in fields(here)] == list(vars(there))
    assert here.open(entry).read() == there.open(entry).read()


@pytest.mark.parametrize("write", [write_idx, write_packed_npz])
def test_what_is_packed_and_large_is_unpacked_into_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], None]
) -> None:
    """The same arrays as from memory; where the disk has no room, one line says so."""
    place = tmp_path / "source"
    place.mkdir()
    write(place)
    kind = {"kind": "idx", "path": "source"} if write is write_idx else {"kind": "arrays", "path": "source/it.npz"}
    recipe = {"dataset": "it", "source": kind, "image": SIZES[1], "publish": {"to": "out"}}

    def contents() -> list[bytes]:
        source = source_of(parse_recipe(recipe, base=tmp_path))
        return [source.open(entry).read() for entry in source.discover().entries]

    expected = contents()
    monkeypatch.setattr(unpacked, "UNSUSPICIOUS_BYTES", 99)
    assert expected == contents()
    monkeypatch.setattr(unpacked, "_SPARE_BYTES", 1 << 60)
    with pytest.raises(MachineError, match=r"no room to unpack it in .*: set TMPDIR to a folder with more"):
        contents()
