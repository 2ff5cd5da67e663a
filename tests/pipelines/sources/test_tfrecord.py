"""TFRecord files, written by TensorFlow: read as the same samples; damaged or hostile, one violation or one refusal."""

import io
import itertools
import os
import pickle
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nhwc.flows.cli import main
from nhwc.flows.ingest import run_ingest
from nhwc.flows.init import propose_recipe
from nhwc.flows.inspect import inspect
from nhwc.flows.recipe import parse_recipe
from nhwc.pipelines.sources.example import Raw
from nhwc.pipelines.sources.protocol import Discovery, Entry
from nhwc.pipelines.sources.tfrecord import TfRecord
from nhwc.pipelines.version import Version
from nhwc.validators.errors import DataError, RecipeError

RNG = np.random.default_rng(3)
IMAGES = RNG.integers(0, 256, (12, 6, 5, 3), np.uint8)
LABELS = [number % 3 for number in range(12)]
NAMES = ("yak", "cat", "dog")
SIZE = {"rows": 6, "cols": 5}


def feature(value: Any) -> tf.train.Feature:
    values = value if isinstance(value, list) else [value]
    if isinstance(values[0], bytes | str):
        told = [one.encode() if isinstance(one, str) else one for one in values]
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=told))
    if isinstance(values[0], float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def example(**features: Any) -> bytes:
    told = {name.replace("__", "/"): feature(value) for name, value in features.items()}
    return bytes(tf.train.Example(features=tf.train.Features(feature=told)).SerializeToString())


def png(image: np.ndarray[Any, Any]) -> bytes:
    out = io.BytesIO()
    Image.fromarray(image).save(out, "PNG")
    return out.getvalue()


def write(file: Path, records: list[bytes], options: Any = None) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(file), options) as writer:
        for record in records:
            writer.write(record)
    return file


def frame(content: bytes, length: int | None = None) -> bytes:
    """One record; with a length that is not its own, if that is wanted."""

    def masked(checked: bytes) -> bytes:
        crc = google_crc32c.value(checked)
        return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    told = struct.pack("<Q", len(content) if length is None else length)
    return told + masked(told) + content + masked(content)


ENCODED = [
    example(image__encoded=png(image), image__class__label=label, image__class__text=NAMES[label])
    for image, label in zip(IMAGES, LABELS, strict=True)
]


def ingested(base: Path, source: Mapping[str, Any], **parts: Any) -> Version:
    plain = {"dataset": "it", "source": source, "image": SIZE, "publish": {"to": "out"}}
    done = run_ingest(parse_recipe(plain | parts, base=base))
    assert done.version is not None, done.verdict
    return done.version


def discovered(path: Path, **keys: Any) -> Discovery:
    return TfRecord(**({"path": path, "most_bytes": 1_000_000} | keys)).discover()


def bad(found: Discovery) -> dict[str, str]:
    return {entry.name: str(entry.violation) for entry in found.entries if entry.violation is not None}


@pytest.fixture(scope="module")
def from_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The content of the same images as PNG in folders of classes: 8 in train, 4 in test."""
    base = tmp_path_factory.mktemp("folder")
    for number, image in enumerate(IMAGES):
        file = base / "photos" / ("train" if number < 8 else "test") / NAMES[LABELS[number]] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
    return ingested(base, {"path": "photos"}, splits={"from": "folder"}).content


def write_encoded(base: Path) -> None:
    write(base / "set/train.tfrecord-00000-of-00002", ENCODED[:5])
    write(base / "set/train.tfrecord-00001-of-00002", ENCODED[5:8])
    write(base / "set/deeper/test-00000-of-00001", ENCODED[8:])
    (base / "set/README.md").write_text("not one of them")
    (base / "set/.train.tfrecord-00000-of-00002.crc").write_text("nor this")


def write_each(base: Path, each: Callable[[np.ndarray[Any, Any], int], bytes]) -> None:
    records = [each(image, label) for image, label in zip(IMAGES, LABELS, strict=True)]
    write(base / "set/train.tfrecord", records[:8])
    write(base / "set/test.tfrecords", records[8:])


RAW = {"shape": [6, 5, 3]}
CLASSES = {"labels": {"classes": list(NAMES)}}
KINDS: dict[str, tuple[Callable[[Path], None], dict[str, Any], dict[str, Any]]] = {
    "encoded": (write_encoded, {"class_name": "image/class/text"}, {}),
    "numbers that the recipe names": (write_encoded, {}, CLASSES),
    "text": (lambda base: write_each(base, lambda image, label: example(image=png(image), label=NAMES[label])), {}, {}),
    "raw": (
        lambda base: write_each(base, lambda image, label: example(image_raw=image.tobytes(), label=label)),
        RAW,
        CLASSES,
    ),
    "raw numbers": (
        lambda base: write_each(
            base, lambda image, label: example(x=[int(one) for one in image.ravel()], y=label, label="no")
        ),
        RAW | {"image": "x", "label": "y"},
        CLASSES,
    ),
    "raw channels first": (
        lambda base: write_each(
            base, lambda image, label: example(image=np.moveaxis(image, -1, 0).tobytes(), label=label)
        ),
        {"shape": [3, 6, 5], "layout": "channels_first"},
        CLASSES,
    ),
    "raw floats": (
        lambda base: write_each(
            base, lambda image, label: example(image=(image / np.float32(255)).tobytes(), label=label)
        ),
        RAW | {"dtype": "float32"},
        CLASSES | {"image": SIZE | {"float_range": [0, 1]}},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_samples_as_from_a_folder(tmp_path: Path, from_folder: str, kind: str) -> None:
    """Pixels, labels and splits; and a second run finds nothing to do."""
    write_it, keys, parts = KINDS[kind]
    write_it(tmp_path)
    source = {"kind": "tfrecord", "path": "set"} | keys
    version = ingested(tmp_path, source, **parts)
    assert from_folder == version.content
    if kind != "text":
        assert NAMES == version.classes
    plain = {"dataset": "it", "source": source, "image": SIZE, "publish": {"to": "out"}} | parts
    assert "unchanged" == run_ingest(parse_recipe(plain, base=tmp_path)).outcome


def test_a_file_by_itself_and_names_that_stay(tmp_path: Path) -> None:
    """A sample is named by its file and the byte where its record begins, which no other record moves."""
    file = write(tmp_path / "train.tfrecord", ENCODED)
    one, folder = discovered(file), discovered(tmp_path)
    assert one == folder
    begins = np.cumsum([0, *(len(record) + 16 for record in ENCODED[:-1])])
    assert [f"train.tfrecord@{begin:012}" for begin in begins] == [entry.name for entry in one.entries]
    assert (("train.tfrecord", int(begins[1])),) == tuple(entry.at for entry in one.entries[1:2])
    assert one.numbered
    assert ("0", "1", "2") == one.classes


def test_another_process_reads_the_same(tmp_path: Path) -> None:
    """A source goes to a worker by its fields."""
    write_encoded(tmp_path)
    source = TfRecord(path=tmp_path / "set", class_name="image/class/text", most_bytes=1000)
    entry = source.discover().entries[0]
    assert source.open(entry).read() == pickle.loads(pickle.dumps(source)).open(entry).read()


def changed(content: bytes, at: int, by: bytes) -> bytes:
    return content[:at] + by + content[at + len(by) :]


FRAMES = [frame(record) for record in ENCODED]
SECOND, THIRD = len(FRAMES[0]), len(FRAMES[0]) + len(FRAMES[1])
ALL = b"".join(FRAMES)
LAST = len(ALL) - len(FRAMES[-1])

DAMAGED = {
    "content": (changed(ALL, SECOND + 40, b"rot"), 11, SECOND, "bytes with another checksum"),
    "its checksum": (changed(ALL, THIRD - 4, b"rot"), 11, SECOND, "checksum found [0-9,]+ bytes with another"),
    "length": (changed(ALL, SECOND, b"\1"), 11, SECOND, f"another checksum: bytes {SECOND:,} to {THIRD:,} are lost"),
    "length's checksum": (changed(ALL, SECOND + 9, b"x"), 11, SECOND, f"bytes {SECOND:,} to {THIRD:,} are lost"),
    "first length": (changed(ALL, 0, b"\xff" * 12), 11, 0, f"bytes 0 to {SECOND:,} are lost"),
    "zeros over two": (changed(ALL, SECOND + 5, bytes(THIRD - SECOND)), 10, SECOND, "are lost|another checksum"),
    "bytes between": (ALL[:SECOND] + b"hello" + ALL[SECOND:], 12, SECOND, f"bytes {SECOND:,} to {SECOND + 5:,} are"),
    "tail within content": (ALL[:-9], 11, LAST, f"before the file ends: bytes {LAST:,} to {len(ALL) - 9:,} are lost"),
    "tail within length": (ALL[: LAST + 7], 11, LAST, f"7 bytes before the file ends: bytes {LAST:,} to "),
    "length of all memory": (ALL + frame(b"x", 1 << 62), 12, len(ALL), "expected 4,611,686,018,427,387,904 bytes, the"),
    "length beyond 64 bit": (ALL + frame(b"x", (1 << 64) - 1), 12, len(ALL), "18,446,744,073,709,551,615 bytes"),
    "lying length, then more": (frame(b"x", 1 << 40) + ALL, 12, 0, "bytes 0 to 17 are lost"),
    "no Example": (ALL + frame(b"\xff\xff\xff"), 12, len(ALL), "expected a tf.train.Example"),
    "empty record": (ALL + frame(b""), 12, len(ALL), "found one without features"),
    "no image": (ALL + frame(example(a=1, b=2)), 12, len(ALL), "found features a, b, expected a feature image/encoded"),
    "image of numbers": (ALL + frame(example(image=[1, 2])), 12, len(ALL), "found 2 int64 values, expected one bytes"),
    "two images": (ALL + frame(example(image=[b"x", b"y"])), 12, len(ALL), "found 2 bytes values, expected one bytes"),
    "label of floats": (
        ALL + frame(example(image=b"x", label=1.5)),
        12,
        len(ALL),
        "label found 1 float value in label",
    ),
    "two labels": (ALL + frame(example(image=b"x", label=[1, 2])), 12, len(ALL), "found 2 int64 values in label"),
    "negative label": (ALL + frame(example(image=b"x", label=-1)), 12, len(ALL), "found -1, expected the number of a"),
    "label no text": (ALL + frame(example(image=b"x", label=b"\xff")), 12, len(ALL), "found b'\\\\xff' in label"),
    "long label": (ALL + frame(example(image=b"x", label="x" * 9999)), 12, len(ALL), "found 9,999 in label"),
    "too large": (ALL + frame(bytes(3_000_000)) + FRAMES[0], 13, len(ALL), "found 3,000,000 bytes, expected at most"),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_what_is_damaged_is_one_violation_and_the_rest_is_read(tmp_path: Path, what: str) -> None:
    """By file and byte; every other record has its image as it was written."""
    content, good, at, said = DAMAGED[what]
    (tmp_path / "train.tfrecord").write_bytes(content)
    source = TfRecord(path=tmp_path, most_bytes=1_000_000)
    found = source.discover()
    candidates = [entry for entry in found.entries if entry.status == "candidate"]
    assert good == len(candidates)
    assert {source.open(entry).read() for entry in candidates} <= {png(image) for image in IMAGES}
    violations = bad(found)
    assert f"train.tfrecord@{at:012}" in violations
    assert len(violations) == 1 or what == "zeros over two"
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(violations[f"train.tfrecord@{at:012}"])


@given(data=st.data())
def test_no_damage_takes_more_than_what_it_hits(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Any bytes over any place: never an exception but the file's refusal, and records that were not hit are read."""
    at = data.draw(st.integers(0, len(ALL) - 1))
    over = data.draw(st.binary(min_size=1, max_size=60))
    file = tmp_path_factory.mktemp("rot") / "train.tfrecord"
    content = changed(ALL, at, over)
    file.write_bytes(content)
    found = discovered(file)
    begins = itertools.accumulate(map(len, FRAMES), initial=0)
    whole = {f"train.tfrecord@{at:012}" for at, end in itertools.pairwise(begins) if content[at:end] == ALL[at:end]}
    assert whole <= {entry.name for entry in found.entries if entry.status == "candidate"}


RAW_DAMAGED = {
    "too few": (example(image=b"x" * 89, label=1), "found 89, expected the 90 values of \\(6, 5, 3\\) in image"),
    "numbers too large": (example(image=[256] * 90, label=1), "out_of_range: image found 256 to 256, expected uint8"),
    "floats": (example(image=[0.5] * 90, label=1), "found floats, expected uint8 values in image"),
    "none": (example(image=[b"", b""], label=1), "found 2 bytes values, expected one bytes value in image, or numbers"),
}


@pytest.mark.parametrize("what", RAW_DAMAGED)
def test_an_array_of_another_shape_is_one_violation(tmp_path: Path, what: str) -> None:
    """It is told when it is discovered."""
    record, said = RAW_DAMAGED[what]
    write(tmp_path / "train.tfrecord", [example(image=b"x" * 90, label=1), record])
    violations = list(bad(discovered(tmp_path, raw=Raw(shape=(6, 5, 3)))).values())
    assert 1 == len(violations)
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(violations[0])


def test_a_name_with_two_numbers_is_told(tmp_path: Path) -> None:
    """ImageNet has two classes of the name crane: they do not become one."""
    records = [example(image=b"x", label=label, text=text) for label, text in ((134, "crane"), (517, "crane"))]
    write(tmp_path / "train.tfrecord", records)
    found = discovered(tmp_path, class_name="text")
    assert ("crane",) == found.classes
    said = "found 517 with 'crane', 517 with None and 134 with 'crane' before, expected one name for each number"
    assert said in next(iter(bad(found).values()))


def test_numbers_with_names_and_names_alone(tmp_path: Path) -> None:
    """Every label is a class; there is no order then but that of the names."""
    records = [
        example(image=b"x", label=1, text="cat"),
        example(image=b"x", text="ant"),
        example(image=b"x", label=0),
        example(image=b"x"),
    ]
    write(tmp_path / "train.tfrecord", records)
    found = discovered(tmp_path, class_name="text")
    assert ["cat", "ant", "0", None] == [entry.label for entry in found.entries]
    assert ((), False) == (found.classes, found.numbered)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """It is an entry, skipped."""
    write(tmp_path / "set/train.tfrecord", ENCODED[:1])
    write(tmp_path / "other.tfrecord", ENCODED[1:])
    (tmp_path / "set/more.tfrecord").symlink_to(tmp_path / "other.tfrecord")
    found = discovered(tmp_path / "set")
    assert ["skipped", "candidate"] == [entry.status for entry in found.entries]
    assert "link: kind found a link" in bad(found)["more.tfrecord"]


def test_a_record_that_changed_cannot_be_read(tmp_path: Path) -> None:
    """It was whole when it was discovered."""
    file = write(tmp_path / "train.tfrecord", ENCODED)
    source = TfRecord(path=file, most_bytes=1000)
    entry = source.discover().entries[1]
    file.write_bytes(changed(file.read_bytes(), SECOND + 40, b"rot"))
    with pytest.raises(OSError, match=r"another checksum at byte [\d,]+ of train.tfrecord"):
        source.open(entry)
    with pytest.raises(OSError, match=r"no whole record at byte 7 of train\.tfrecord"):
        source.open(Entry(name="x", at=("train.tfrecord", 7)))


WHOLE = {
    "gzip": ("compression found GZIP in .*expected TFRecords that are not compressed.*gunzip", "GZIP"),
    "zlib": ("compression found ZLIB in", "ZLIB"),
    "a picture": ("length found bytes 89 50 4e 47 .*, and no record after them in .*expected a TFRecord file", None),
}


@pytest.mark.parametrize("what", WHOLE)
def test_a_file_that_is_no_tfrecord_is_refused_whole(tmp_path: Path, what: str) -> None:
    """One clear error that names the file."""
    said, options = WHOLE[what]
    if options is None:
        (tmp_path / "train.tfrecord").write_bytes(png(IMAGES[0]))
    else:
        write(tmp_path / "train.tfrecord", ENCODED, options)
    with pytest.raises(DataError, match=said):
        discovered(tmp_path)


RECIPES = {
    "no such image": (
        {"image": "img"},
        "image: found no feature 'img' in 12 records, expected one of theirs: image/class/label, image/class/text, ima",
    ),
    "no such label": ({"label": "y"}, "label: found no feature 'y' in 12 records, expected one of theirs"),
    "no such name": ({"class_name": "z"}, "class_name: found no feature 'z' in 12 records"),
    "dtype alone": ({"dtype": "uint8"}, "source.dtype: found uint8, but without a shape images are encoded"),
    "layout alone": ({"layout": "channels_first"}, "source.layout: found channels_first, but without a shape images"),
    "no channels": (
        {"shape": [6, 5], "layout": "channels_first"},
        r"source.layout: found channels_first, but shape \[6, 5\] has no channels: expected \[channels, rows, cols\]",
    ),
    "shape of one": ({"shape": [6]}, r"source.shape: found .*at least 2"),
    "negative shape": ({"shape": [6, -5]}, "source.shape.1: found -5, expected greater than or equal to 1"),
    "nothing there": ({"path": "nowhere"}, "source.path: found 'nowhere', where there is nothing"),
    "no such file": (
        {"path": "empty"},
        "source.path:\n  found no TFRecord file in .*expected files named like train.t",
    ),
    "a pipe": ({"path": "pipe"}, "source.path: found .pipe., which is neither"),
    "a URL": ({"path": "s3://bucket/x"}, "source.path: found 's3://bucket/x', expected a path on this machine"),
}


@pytest.mark.parametrize("what", RECIPES)
def test_a_wrong_recipe_is_told(tmp_path: Path, what: str) -> None:
    """With what was found and what is expected."""
    keys, said = RECIPES[what]
    write(tmp_path / "set/train.tfrecord", ENCODED)
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RecipeError, match=said):
        ingested(tmp_path, {"kind": "tfrecord", "path": "set"} | keys)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Runs `nhwc` with these arguments: exit status and stderr."""

    def run(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["nhwc", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), capsys.readouterr().err

    return run


def test_the_command_says_what_is_wrong(tmp_path: Path, command: Callable[..., Any]) -> None:
    """Exit status 1 for the data, 2 for the recipe, no traceback, and nothing is written into the source."""
    write(tmp_path / "set/train.tfrecord", ENCODED, "GZIP")
    recipe = "dataset: it\nsource: {kind: tfrecord, path: set%s}\nimage: {rows: 6, cols: 5}\npublish: {to: out}\n"
    (tmp_path / "r.yaml").write_text(recipe % "")
    status, said = command("ingest", tmp_path / "r.yaml", "--direct")
    assert 1 == status
    assert "damaged_source: compression found GZIP" in " ".join(said.split())
    (tmp_path / "r.yaml").write_text(recipe % ", image: nothing")
    write(tmp_path / "set/train.tfrecord", ENCODED)
    status, said = command("ingest", tmp_path / "r.yaml", "--direct")
    assert 2 == status
    assert "Traceback" not in said
    assert "image: found no feature 'nothing'" in said
    assert ["train.tfrecord"] == [file.name for file in (tmp_path / "set").iterdir()]


def test_it_is_known_by_its_content(tmp_path: Path) -> None:
    """`nhwc init` writes its recipe, `nhwc inspect` tells what is in it."""
    file = write(tmp_path / "set/train.tfrecord-00000-of-00001", ENCODED)
    for place in (file, file.parent):
        proposal = propose_recipe(place, recipe=tmp_path / "r.yaml", contract=tmp_path / "contract.yaml")
        assert "source: {kind: tfrecord, path: set" in proposal.recipe
        assert "# labels are 3 numbers" in proposal.recipe
    said, is_sound = inspect(file)
    assert f"{file}: kind tfrecord: 12 images" in said
    assert is_sound
