"""What an attacker, or a careless hand, puts where a source is read: one violation or one clear refusal each."""

import errno
import gzip
import io
import json
import lzma
import os
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from nhwc.flows.deciding import Ingested
from nhwc.flows.init import propose_recipe
from nhwc.flows.inspect import inspect
from nhwc.validators.errors import DataError, MachineError, NhwcError, RecipeError

GRAY = np.random.default_rng(3).integers(0, 256, (4, 8, 8), np.uint8)
ONE: dict[str, Any] = {"image": {"rows": 4, "cols": 4, "channels": 1}, "splits": {"from": "source"}}
ONE["checks"] = {"bad_fraction": 1.0, "bad_fraction_per_class": 1.0}

NPZ, NPY = ({"kind": "arrays", "path": f"it.{suffix}"} for suffix in ("npz", "npy"))
H5 = {"kind": "hdf5", "path": "it.h5"}
PARQUET = {"kind": "parquet", "path": "it.parquet"}
COCO = {"kind": "coco", "path": "it.json", "images": "photos"}
TAR = {"kind": "webdataset", "path": "it.tar", "label": "json:label"}

Ingest = Callable[..., Ingested]
Fill = Callable[[Path], object]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The folder that a source lies in; beside it versions are published."""
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def below(source: dict[str, Any]) -> dict[str, Any]:
    """The same source, in that folder."""
    return source | {key: f"in/{source[key]}" for key in ("path", "images") if key in source}


def png(image: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(image).save(out, "PNG")
    return out.getvalue()


def npz(**arrays: Any) -> Fill:
    return lambda place: np.savez(place / "it.npz", **{"images": GRAY, "labels": np.array([0, 1, 0, 1])} | arrays)


def npy(shape: str, dtype: str) -> Fill:
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return lambda place: (place / "it.npy").write_bytes(b"\x93NUMPY\1\0\x76\0" + header.encode())


def idx(array: Any, code: int = 8) -> bytes:
    return bytes([0, 0, code, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def parquet(labels: Any = None, images: Any = None, *, columns: tuple[str, str] = ("image", "label")) -> Fill:
    images = pa.array([{"bytes": png(image)} for image in GRAY]) if images is None else images
    labels = pa.array(["a", "b"] * 2) if labels is None else labels
    arrays = [images, labels, *([labels] if columns[0] == columns[1] else [])]
    names = ["image", "label"] if len(arrays) == 2 else ["image", *columns]
    return lambda place: pq.write_table(pa.Table.from_arrays(arrays, names), place / "it.parquet")


def hdf5(fill: Callable[[Any], object]) -> Fill:
    def write(place: Path) -> None:
        with h5py.File(place / "it.h5", "w") as file:
            fill(file)

    return write


def coco(**changed: Any) -> Fill:
    """Three boxes of three pictures; `image`, `annotation` and `category` change the first of each."""

    def write(place: Path) -> None:
        (place / "photos").mkdir()
        for number in range(3):
            (place / f"photos/{number}.png").write_bytes(png(GRAY[number]))
        os.mkfifo(place / "photos/pipe.png")
        said: Mapping[str, list[dict[str, Any]]] = {
            "images": [{"id": n, "file_name": f"{n}.png", "height": 8, "width": 8} for n in range(3)],
            "annotations": [{"id": n, "image_id": n, "category_id": n % 2, "bbox": [1, 1, 5, 5]} for n in range(3)],
            "categories": [{"id": n, "name": "ab"[n]} for n in range(2)],
        }
        for part, what in changed.items():
            said[part][0].update(what)
        (place / "it.json").write_text(json.dumps(said))

    return write


def tar(*labels: Any) -> Fill:
    def write(place: Path) -> None:
        with tarfile.open(place / "it.tar", "w") as archive:
            for number, label in enumerate(labels):
                for suffix, content in (("png", png(GRAY[number])), ("json", json.dumps({"label": label}).encode())):
                    member = tarfile.TarInfo(f"{number}.{suffix}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))

    return write


def loop(file: Any) -> None:
    file["images"], file["labels"] = GRAY, [0, 1, 0, 1]
    for name in "abcdefgh":  # as many paths as there are words of sixteen letters
        file[name] = file["/"]


def with_others(file: Any) -> None:
    """Beside images and labels a dataset that was never written, and one that has no values."""
    file["images"], file["labels"] = GRAY, [0, 1, 0, 1]
    file.create_dataset("masks", (4, 8, 8), "u1")
    file["notes"] = h5py.Empty("f")


def damaged_labels(place: Path) -> None:
    """A Parquet file, the pages of its labels overwritten."""
    parquet()(place)
    column = pq.ParquetFile(place / "it.parquet").metadata.row_group(0).column(1)
    begin = column.dictionary_page_offset or column.data_page_offset
    with (place / "it.parquet").open("r+b") as file:
        file.seek(begin)
        file.write(b"\xff" * 16)


def encrypted(place: Path) -> None:
    """A .npz whose members say that they are encrypted."""
    with zipfile.ZipFile(place / "it.npz", "w") as archive:
        archive.writestr("images.npy", b"123")
    content = bytearray((place / "it.npz").read_bytes())
    for mark, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(mark) + flags] |= 1
    (place / "it.npz").write_bytes(content)


@pytest.mark.parametrize(
    ("source", "write", "codes", "classes"),
    [
        (NPZ, npz(labels=np.array([True, False] * 2)), {}, ("0", "1")),
        (NPZ, npz(labels=[0, 1, 7, -1], classes=["7", "b"]), {"unknown_class": 2}, None),
        (NPZ, npz(labels=["\udce9", "b", "b", "c"]), {"no_class": 1}, ("b", "c")),
        (NPZ, npz(labels=np.array([b"\xff", b"b", b"b", b"c"])), {"no_class": 1}, ("b", "c")),
        (H5, hdf5(lambda h: h.update(images=GRAY, labels=[b"a", b"\xe9", b"b", b" "])), {"no_class": 2}, ("a", "b")),
        (PARQUET, parquet(pa.array([" ", "b", "b", "c"])), {"no_class": 1}, ("b", "c")),
        (H5, hdf5(loop), {}, ("0", "1")),
        (PARQUET, parquet(pa.array([9, 10] * 2).dictionary_encode()), {}, ("9", "10")),
        (PARQUET, parquet(pa.array([True, False] * 2)), {}, ("0", "1")),
        (COCO, coco(annotations={"id": 1, "image_id": 1}), {"name_twice": 1}, None),
        (COCO, coco(images={"file_name": "pipe.png"}), {"damaged_source": 1}, None),
        (COCO, coco(images={"id": [1]}), {"bad_box": 1}, None),
        (COCO, coco(annotations={"bbox": "12345"}), {"bad_box": 1}, None),
        (TAR, tar("\ud800", "b", "b", "b"), {"no_class": 1}, ("b",)),
        (NPZ, npz(labels=[-1, 0, 1, 1]), {"no_class": 1}, ("0", "1")),
        (PARQUET, parquet(pa.array([-1, 0, 1, 1])), {"no_class": 1}, ("0", "1")),
        (NPZ, npz(notes=np.array([{}])), {}, ("0", "1")),
        (H5, hdf5(with_others), {}, ("0", "1")),
    ],
    ids=lambda one: "" if callable(one) else None,
)  # fmt: skip
def test_what_is_wrong_with_one_sample_is_one_violation(
    place: Path, ingest_source: Ingest, source: dict[str, Any], write: Fill, codes: dict[str, int], classes: Any
) -> None:
    write(place)
    version = ingest_source(below(source), **ONE).version
    assert version is not None
    found = version.manifest.drop_nulls("code")["code"].value_counts().iter_rows()
    assert dict(found) == codes
    assert classes is None or version.classes == classes


NO_IMAGES = [
    (pa.array([[["a", "b"]]] * 4), "lists of string, expected numbers"),
    (pa.array([[[{"x": 1}]]] * 4), "lists of struct.*, expected numbers"),
    (pa.array([[[1, None], [2, 3]]] * 4), "a pixel without a value"),
    (pa.array([[("a", 1)]] * 4, pa.map_(pa.string(), pa.int64())), "lists of struct.*, expected numbers"),
    (pa.array([bytes(16)] * 4, pa.uuid()), "a value of extension<arrow.uuid>"),
]


@pytest.mark.parametrize(("images", "found"), NO_IMAGES)
def test_cells_that_hold_no_image_are_violations(
    place: Path, ingest_source: Ingest, images: pa.Array, found: str
) -> None:
    half = pa.table({"image": images, "label": ["a", "b"] * 2})
    parquet()(place)
    (place / "both").mkdir()
    (place / "it.parquet").rename(place / "both/good.parquet")
    pq.write_table(half, place / "both/bad.parquet")
    version = ingest_source(below({"kind": "parquet", "path": "both"}), **ONE).version
    assert version is not None
    bad = version.manifest.drop_nulls("code")
    assert bad["code"].to_list() == ["damaged_source"] * 4
    assert bad["found"].str.contains(found).all()


def test_text_where_files_should_be_is_a_violation(place: Path, ingest_source: Ingest) -> None:
    texts = hdf5(lambda file: file.update(images=["abc"] * 4, labels=[0, 1, 0, 1]))
    texts(place)
    done = ingest_source(below(H5), **ONE)
    assert "refused" == done.outcome
    assert done.verdict is not None
    assert "nothing_kept" in str(done.verdict)


def links(other: str) -> Fill:
    """A file of images, and beside it a folder, a pipe or a link to nothing that is named like one."""

    def write(place: Path) -> None:
        (place / "train-images-idx3-ubyte").write_bytes(idx(GRAY))
        (place / "train-labels-idx1-ubyte").write_bytes(idx(np.array([0, 1, 0, 1], np.uint8)))
        makes: dict[str, Fill] = {"folder": Path.mkdir, "pipe": os.mkfifo, "link": lambda at: at.symlink_to("/nowhere")}
        makes[other](place / "t10k-images-idx3-ubyte")

    return write


def pipe(name: str) -> Fill:
    return lambda place: os.mkfifo(place / name)


DAMAGED: list[tuple[dict[str, Any], Fill, str]] = [
    (NPZ, npz(labels=np.array(3)), r"labels found labels: int64 of shape \(\)"),
    (NPZ, npz(classes=np.array("cat")), r"class names found <U3 of shape \(\)"),
    (NPZ, npz(classes=np.array([["a"], ["b"]])), r"class names found .*\(2, 1\)"),
    (NPZ, npz(classes=["a", "a"]), "class names found 'a', expected each name once"),
    (NPZ, npz(classes=["\ud800", "a"]), "'.ud800', expected each name once, in UTF-8"),
    (NPZ, npz(classes=np.array([b"\xff", b"a"])), "'.udcff', expected each name once, in UTF-8"),
    (NPY, npy("(1125899906842624, 8, 0)", "|u1"), "shape found .*images with pixels"),
    (NPY, npy("(1125899906842624, 8, 8)", "<U0"), "dtype found <U0"),
    ({"kind": "idx", "path": "."}, links("folder"), "kind found a folder in .*t10k-images-idx3-ubyte, expected a file"),
    ({"kind": "idx", "path": "."}, links("link"), "kind found a link to nothing"),
    ({"kind": "idx", "path": "."}, links("pipe"), "kind found something else"),
    (H5, hdf5(lambda file: file.update(images="abc")), r"rank found images of shape \(\)"),
    (H5, hdf5(lambda file: file.update(images=GRAY, labels=3)), r"labels: int64 of shape \(\)"),
    (PARQUET, parquet(columns=("label", "label")), "expected one column label"),
    (PARQUET, damaged_labels, "damaged_source: column label found .*it.parquet, expected a whole column"),
    (NPZ, encrypted, "damaged_source: bytes found .*encrypted.*it.npz, expected a whole .npz"),
    (H5, hdf5(lambda file: file.update(images=h5py.Empty("f"))), "shape found none in images"),
    *(
        (COCO, coco(**changed), found)
        for changed, found in [
            ({"categories": {"name": None}}, "categories"),
            ({"categories": {"name": "b"}}, "categories found name 'b' of 0 and 1 in .*, expected each name once"),
        ]
    ),
]  # fmt: skip


@pytest.mark.parametrize(("source", "write", "found"), DAMAGED)
def test_what_is_wrong_with_all_of_it_is_one_refusal(
    place: Path, ingest_source: Ingest, source: dict[str, Any], write: Fill, found: str
) -> None:
    write(place)
    with pytest.raises(DataError, match=found) as raised:
        ingest_source(below(source), **ONE)
    assert len(raised.value.verdict.violations) == 1


@pytest.mark.parametrize(
    ("source", "write"),
    [
        (NPZ, npz()),
        (H5, hdf5(lambda file: file.update(images=GRAY, labels=[0, 1, 0, 1]))),
        (PARQUET, parquet()),
        (TAR, tar("a")),
        (COCO, coco()),
        ({"kind": "files", "path": "it.csv"}, lambda place: (place / "it.csv").write_text("path,label\na,b\n")),
    ],
    ids=lambda one: one["kind"] if isinstance(one, dict) else "",
)
def test_what_may_not_be_read_is_the_machines(
    place: Path, ingest_source: Ingest, monkeypatch: pytest.MonkeyPatch, source: dict[str, Any], write: Fill
) -> None:
    """And not damaged: nothing has to be fetched again."""
    write(place)
    opened = Path.open

    def forbidden(path: Path, *args: Any, **how: Any) -> Any:
        if path.stem == "it":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *args, **how)

    monkeypatch.setattr(Path, "open", forbidden)
    with pytest.raises(MachineError, match=r"in/it\.\w+: Permission denied: mend it, then run the same again"):
        ingest_source(below(source), **ONE)


def both_kinds_of_labels(place: Path) -> None:
    for name, labels in (("a", [0, 1, 0, 1]), ("b", ["x", "y"] * 2)):
        parquet(pa.array(labels))(place)
        (place / "it.parquet").rename(place / f"{name}.parquet")


@pytest.mark.parametrize(
    ("source", "write", "found"),
    [
        (PARQUET, parquet(pa.array([0.0, 1.0] * 2)), "column label of double"),
        (PARQUET, parquet(pa.array([[0], [1]] * 2)), "column label of list"),
        (PARQUET, parquet(pa.array([b"a", b"b"] * 2)), "column label of binary"),
        ({"kind": "parquet", "path": "."}, both_kinds_of_labels, "whole numbers in one file of .* and text in another"),
        *(
            ({"kind": kind, "path": f"it{suffix}"}, pipe(f"it{suffix}"), r"source\.path: found 'in/it")
            for kind, suffix in (
                ("arrays", ".npz"),
                ("arrays", ".npy"),
                ("parquet", ".parquet"),
                ("webdataset", ".tar"),
                ("idx", "-images-idx3-ubyte"),
            )
        ),
        (NPZ, lambda place: (place / "it.npz").mkdir(), "which is no file"),
    ],
)
def test_what_no_recipe_should_name(
    place: Path, ingest_source: Ingest, source: dict[str, Any], write: Fill, found: str
) -> None:
    write(place)
    with pytest.raises(RecipeError, match=found):
        ingest_source(below(source), **ONE)


@pytest.mark.parametrize(("name", "make"), [("it.bin", os.mkfifo), ("it.bin", lambda path: path.symlink_to("/no"))])
def test_a_batch_that_is_no_file(place: Path, ingest_source: Ingest, name: str, make: Fill) -> None:
    make(place / name)
    with pytest.raises(DataError, match=r"kind found .* in .*it\.bin, expected a file"):
        ingest_source(below({"kind": "cifar", "path": "."}), image={"rows": 4, "cols": 4})


def test_an_annotation_that_is_no_file(place: Path, ingest_source: Ingest) -> None:
    (place / "JPEGImages").mkdir()
    (place / "Annotations").mkdir()
    os.mkfifo(place / "Annotations/it.xml")
    with pytest.raises(DataError, match=r"kind found something else in .*it\.xml, expected a file"):
        ingest_source(below({"kind": "voc", "path": "."}))


def test_an_idx_file_that_lies_there_packed_too_is_one(place: Path, ingest_source: Ingest) -> None:
    for name, array in (("images-idx3", GRAY), ("labels-idx1", np.array([0, 1, 0, 1], np.uint8))):
        (place / f"train-{name}-ubyte").write_bytes(idx(array))
        (place / f"train-{name}-ubyte.gz").write_bytes(gzip.compress(idx(array)))
    version = ingest_source(below({"kind": "idx", "path": "."}), **ONE).version
    assert version is not None
    assert version.kept.height == len(GRAY)


def test_files_of_one_name_do_not_become_one(place: Path, ingest_source: Ingest) -> None:
    parquet()(place)
    table = pq.read_table(place / "it.parquet")
    with pa.ipc.new_file(place / "it.arrow", table.schema) as file:
        file.write_table(table)
    pq.write_table(table, place / "other.parquet")
    version = ingest_source(below({"kind": "parquet", "path": "."}), **ONE).version
    assert version is not None
    assert version.manifest.drop_nulls("code")["code"].to_list() == ["name_twice"] * 4


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "it.npz")
    for look in (inspect, lambda path: propose_recipe(path, recipe=tmp_path / "r.yaml", contract=tmp_path / "c.yaml")):
        with pytest.raises(NhwcError, match="found something that is n"):
            look(tmp_path / "it.npz")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cut.gz", gzip.compress(bytes(range(256)) * 40)[:60]),
        ("cut.xz", lzma.compress(np.random.default_rng(1).bytes(9000))[:600]),
        ("name.zip", b"PK\1\2" + bytes(4) + b"\0\10" + bytes(18) + b"\1\0" + bytes(16) + b"\xff"),
    ],
    ids=["cut.gz", "cut.xz", "name.zip"],
)
def test_what_is_no_source_is_told_with_one_message(tmp_path: Path, name: str, content: bytes) -> None:
    if name == "name.zip":  # a name that says that it is UTF-8
        content += b"PK\5\6" + bytes(4) + b"\1\0\1\0" + len(content).to_bytes(4, "little") + bytes(6)
    (tmp_path / name).write_bytes(content)
    for look in (inspect, lambda path: propose_recipe(path, recipe=tmp_path / "r.yaml", contract=tmp_path / "c.yaml")):
        try:
            said = look(tmp_path / name)
        except NhwcError as error:
            said = str(error)
        assert name in str(said)


def test_what_lies_beside_images_does_not_make_another_source_of_them(tmp_path: Path) -> None:
    folder = tmp_path / "photos/cat"
    folder.mkdir(parents=True)
    for name in ("a.target.png", "b.png"):
        (folder / name).write_bytes(png(GRAY[0]))
    (tmp_path / "photos/backup.tar").write_bytes(b"")
    recipe = propose_recipe(tmp_path / "photos", recipe=tmp_path / "r.yaml", contract=tmp_path / "c.yaml").recipe
    assert "kind: folder" in recipe
    links("folder")(folder)
    assert inspect(tmp_path / "photos")[0].splitlines()[0].endswith("2 images, 4 other entries")


def test_a_folder_of_files_that_have_images_is_looked_into(tmp_path: Path) -> None:
    parquet()(tmp_path)
    assert "kind parquet: 4 images, 0 other entries" in inspect(tmp_path)[0]


def test_a_depth_of_folders_where_there_are_none_is_told(place: Path, ingest_source: Ingest) -> None:
    npz()(place)
    with pytest.raises(RecipeError, match=r"labels\.depth: found 2, but the source has no folders: leave it out"):
        ingest_source(below(NPZ), **ONE, labels={"depth": 2})
