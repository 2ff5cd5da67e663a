"""COCO and Pascal VOC: each box is a sample with its pixels and its class; a box that no picture has is told."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nhwc.flows.deciding import Ingested
from nhwc.flows.ingest import run_ingest
from nhwc.flows.recipe import parse_recipe
from nhwc.validators.errors import DataError, RecipeError

PIXELS = np.random.default_rng(8).integers(0, 256, (40, 60, 3), np.uint8)
BOXES = {"dog": (3, 5, 23, 30), "cat": (0, 0, 60, 40), "yak": (30, 10, 59, 39)}
"""Left, top, right, bottom."""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A picture, its orientation tag against it, and the same crops as files in folders of classes."""
    (tmp_path / "JPEGImages").mkdir()
    upside_down = Image.Exif()
    upside_down[274] = 3
    Image.fromarray(PIXELS).save(tmp_path / "JPEGImages" / "a.png", exif=upside_down)
    for label, (left, top, right, bottom) in BOXES.items():
        file = tmp_path / "crops" / label / "1.png"
        file.parent.mkdir(parents=True)
        Image.fromarray(PIXELS[top:bottom, left:right]).save(file)
    return tmp_path


def ingest(place: Path, source: dict[str, Any], dataset: str = "it") -> Ingested:
    plain = {"dataset": dataset, "source": source, "image": {"rows": 16, "cols": 16}, "publish": {"to": "out"}}
    checks = {"checks": {"bad_fraction": 1, "bad_fraction_per_class": 1}}
    return run_ingest(parse_recipe(plain | checks, base=place))


def annotations(**changes: Any) -> dict[str, Any]:
    """COCO's, the categories' ids with gaps and not in order."""
    ids = {"dog": 18, "cat": 17, "yak": 90}
    boxes = enumerate(BOXES.items())
    return {
        "images": [{"id": 7, "file_name": "a.png", "height": 40, "width": 60}],
        "annotations": [
            {
                "id": number,
                "image_id": 7,
                "category_id": ids[name],
                "bbox": [x, y, end - x + 0.2, low - y],
                "iscrowd": 0,
            }
            for number, (name, (x, y, end, low)) in boxes
        ]
        + [{"id": 99, "image_id": 7, "category_id": 17, "bbox": [0, 0, 9, 9], "iscrowd": 1}],
        "categories": [{"id": number, "name": name} for name, number in ids.items()],
    } | changes


def write_voc(place: Path) -> None:
    (place / "Annotations").mkdir()
    objects = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{left + 1}</xmin><ymin>{top + 1}</ymin><xmax>{right}</xmax>"
        f"<ymax>{bottom}</ymax></bndbox></object>"
        for name, (left, top, right, bottom) in BOXES.items()
    )
    size = "<size><width>60</width><height>40</height></size>"
    (place / "Annotations" / "a.xml").write_text(f"<annotation><filename>a.png</filename>{size}{objects}</annotation>")


COCO = {"kind": "coco", "path": "train.json", "images": "pictures"}


@pytest.fixture
def write_coco(place: Path) -> Callable[[dict[str, Any]], None]:
    """Writes annotations beside pictures/."""
    (place / "JPEGImages").rename(place / "pictures")
    return lambda said: (place / "train.json").write_text(json.dumps(said)) and None


def assert_crops(place: Path, made: Ingested) -> None:
    crops = ingest(place, {"path": "crops"}, "crops")
    assert made.version is not None
    assert crops.version is not None
    assert crops.version.content == made.version.content
    assert ("cat", "dog", "yak") == made.version.classes


def test_coco_boxes_are_crops(place: Path, write_coco: Callable[[dict[str, Any]], None]) -> None:
    """Pixels and labels are those of the crops in folders; crowds are left out, categories stay in their order."""
    write_coco(annotations())
    assert_crops(place, ingest(place, COCO))
    assert "unchanged" == ingest(place, COCO).outcome


def test_voc_objects_are_crops(place: Path) -> None:
    """The same; its first pixel is 1."""
    (place / "voc").mkdir()
    (place / "JPEGImages").rename(place / "voc" / "JPEGImages")
    write_voc(place / "voc")
    assert_crops(place, ingest(place, {"kind": "voc", "path": "voc"}))
    (place / "voc" / "ImageSets" / "Main").mkdir(parents=True)
    (place / "voc" / "ImageSets" / "Main" / "val.txt").write_text("a\n")
    splits = ingest(place, {"kind": "voc", "path": "voc"}).manifest["split"]
    assert {"validation"} == set(splits)


@pytest.mark.parametrize(
    ("change", "code", "found"),
    [
        ({"bbox": [50, 0, 20, 9]}, "bad_box", "left 50, top 0, right 70, bottom 9"),
        ({"bbox": [5, 5, 0.2, 9]}, "bad_box", "left 5, top 5, right 5.2, bottom 14"),
        ({"bbox": [float("nan"), 5, 2, 9]}, "bad_box", "left nan"),
        ({"category_id": 5}, "no_class", "none"),
        ({"image_id": 8}, "bad_box", "image_id 8: none of images has it"),
        ({"image_id": "\ud800"}, "bad_box", r"image_id '\ud800': none of images has it"),
        ({"image_id": [1]}, "bad_box", "unhashable type: 'list'"),
        ({"category_id": {}}, "bad_box", "unhashable type: 'dict'"),
        ({"bbox": None}, "bad_box", "'NoneType' object is not iterable"),
        ({"bbox": []}, "bad_box", "not enough values to unpack"),
        ({"bbox": [1, 1, 2, 2, 3]}, "bad_box", "too many values to unpack"),
        ({"bbox": [1, 1, 2, "two"]}, "bad_box", "could not convert string to float: 'two'"),
        ({"bbox": [1, 1, 2, 10**400]}, "bad_box", "int too large"),
        ({"id": "\ud800"}, "bad_box", "'utf-8' codec"),
    ],
)
def test_a_bad_annotation_is_one_sample_out(
    place: Path, write_coco: Callable[[dict[str, Any]], None], change: dict[str, Any], code: str, found: str
) -> None:
    """The others are kept."""
    said = annotations()
    said["annotations"][0] |= change
    write_coco(said)
    manifest = ingest(place, COCO).manifest
    (row,) = manifest.filter(status="quarantined").to_dicts()
    assert (2, code) == (manifest.filter(status="kept").height, row["code"])
    assert row["found"].startswith(found)


@pytest.mark.parametrize(
    ("change", "code", "found"),
    [
        ({"file_name": "../crops/dog/1.png"}, "unsafe_name", "'../crops"),
        ({"file_name": "link.png"}, "damaged_source", "a link that leaves the folder of pictures"),
        ({"file_name": "text.png"}, "damaged_source", "its picture: not_an_image"),
        ({"file_name": "none.png"}, "unreadable_file", "No such file"),
        ({"file_name": None}, "bad_box", "image_id 8: images[1]: file_name None"),
        ({"file_name": "\ud800"}, "bad_box", "image_id 8: images[1]: 'utf-8' codec"),
        ({"height": float("inf")}, "bad_box", "image_id 8: images[1]: cannot convert float infinity"),
        ({"height": 41}, "damaged_source", "its annotations say 41 x 60, the picture has 40 x 60"),
    ],
)
def test_a_bad_picture_takes_its_boxes_with_it(
    place: Path, write_coco: Callable[[dict[str, Any]], None], change: dict[str, Any], code: str, found: str
) -> None:
    """Each is told why."""
    (place / "pictures" / "link.png").symlink_to(place / "crops" / "dog" / "1.png")
    (place / "pictures" / "text.png").write_text("text")
    write_coco(
        annotations(images=annotations()["images"] + [{"id": 8} | annotations()["images"][0] | change | {"id": 8}])
    )
    said = json.loads((place / "train.json").read_text())
    said["annotations"][1]["image_id"] = 8
    write_coco(said)
    (row,) = ingest(place, COCO).manifest.filter(status="quarantined").to_dicts()
    assert code == row["code"]
    assert row["found"].startswith(found)


@pytest.mark.parametrize(
    ("one", "found"),
    [({}, "no 'image_id'"), (7, "'int' object has no"), ([], "'list' object"), (None, "'NoneType' object")],
)
def test_an_annotation_of_another_kind_is_named_by_its_place(
    place: Path, write_coco: Callable[[dict[str, Any]], None], one: Any, found: str
) -> None:
    """And so are those whose picture has no id."""
    said = annotations()
    said["annotations"][1:1] = [one, {"id": 5, "image_id": 8, "category_id": 17, "bbox": [1, 1, 9, 9]}]
    said["images"] += [{"file_name": "a.png", "height": 40, "width": 60}, 8]
    write_coco(said)
    manifest = ingest(place, COCO).manifest
    one_out, other = manifest.filter(status="quarantined").sort("path").to_dicts()
    assert 3 == manifest.filter(status="kept").height
    assert ("annotations[1]", "bad_box", "annotation") == (one_out["path"], one_out["code"], one_out["aspect"])
    assert "id, image_id, category_id and a bbox of 4 numbers" == one_out["expected"]
    assert one_out["found"].startswith(found)
    assert ("annotations[2]", "image_id 8: none of images has it") == (other["path"], other["found"])


@pytest.mark.parametrize(
    "said",
    [
        "text",
        "[1]",
        "{}",
        json.dumps(annotations(annotations={"1": {}})),
        json.dumps(annotations(images=3)),
        "[" * 100_000,
    ],
)
def test_damaged_annotations_are_one_error(
    place: Path, write_coco: Callable[[dict[str, Any]], None], said: str
) -> None:
    """Whatever the JSON is."""
    (place / "train.json").write_text(said)
    with pytest.raises(DataError, match=r"damaged_source: annotations found .*train.json, expected JSON with images"):
        ingest(place, COCO)


@pytest.mark.parametrize(
    ("part", "more", "message"),
    [
        (
            "categories",
            {"id": 17, "name": "cow"},
            r"conflicting_label: categories found id 17 of 'cat' and 'cow' in .*train\.json, expected each id once",
        ),
        (
            "categories",
            {"id": 3, "name": "cat"},
            r"conflicting_label: categories found name 'cat' of 17 and 3 in .*train\.json, expected each name once",
        ),
        (
            "images",
            {"id": 7, "file_name": "b.png", "height": 40, "width": 60},
            r"images found id 7 of 'a.png' and 'b.png' in .*, expected each id once.*give each picture",
        ),
        ("images", {"id": 7}, r"images found id 7 of 'a.png' and \"images\[1\]: no 'file_name'\" in "),
    ],
)
def test_what_stands_twice_is_refused(
    place: Path, write_coco: Callable[[dict[str, Any]], None], part: str, more: dict[str, Any], message: str
) -> None:
    """As a whole: which of the two an annotation means nobody knows."""
    said = annotations()
    said[part] += [more]
    write_coco(said)
    with pytest.raises(DataError, match=message):
        ingest(place, COCO)


OBJECT = "<object><name>dog</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>"
SIZE = "<size><width>60</width><height>40</height></size>"


@pytest.mark.parametrize(
    ("said", "name", "expected", "found"),
    [
        ("text", "b", "XML with filename, size and objects", "syntax error: line 1, column 0 in b.xml"),
        ("<annotation/>", "b", "XML with filename, size and objects", "no filename in b.xml"),
        (
            f"<a><filename>a.png</filename>{OBJECT}</a>",
            "b",
            "XML with filename, size and objects",
            "no size/height in b",
        ),
        ('<!DOCTYPE a [<!ENTITY b "b">]><a>&c;</a>', "b", "XML with filename, size and objects", "undefined entity"),
        (
            f"<a><filename>a.png</filename>{SIZE}<object><name>dog</name></object>{OBJECT}</a>",
            "b#0",
            "an object with name and bndbox",
            "no bndbox/xmin in b.xml",
        ),
        (
            f"<a><filename>a.png</filename>{SIZE}{OBJECT.replace('<xmin>1', '<xmin>one')}{OBJECT}</a>",
            "b#0",
            "an object with name and bndbox",
            "could not convert string to float: 'one' in b.xml",
        ),
    ],
)
def test_damaged_xml_is_one_sample_out(place: Path, said: str, name: str, expected: str, found: str) -> None:
    """The other objects and files are kept."""
    (place / "voc").mkdir()
    (place / "JPEGImages").rename(place / "voc" / "JPEGImages")
    write_voc(place / "voc")
    (place / "voc" / "Annotations" / "b.xml").write_text(said)
    manifest = ingest(place, {"kind": "voc", "path": "voc"}).manifest
    (row,) = manifest.filter(status="quarantined").to_dicts()
    assert (name, "bad_box", "annotation", expected) == (row["path"], row["code"], row["aspect"], row["expected"])
    assert row["found"].startswith(found)
    assert 3 + ("#" in name) == manifest.filter(status="kept").height


def test_what_lists_contradict_or_list_alone_is_told(place: Path) -> None:
    """A picture in two splits is in none; one that no annotation tells of is missing; train twice is train."""
    (place / "voc").mkdir()
    (place / "JPEGImages").rename(place / "voc" / "JPEGImages")
    write_voc(place / "voc")
    text = (place / "voc" / "Annotations" / "a.xml").read_text()
    (place / "voc" / "Annotations" / "b.xml").write_text(text)
    lists = place / "voc" / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    for name, listed in {"train": "a\nb 1\n", "training": "b\n", "val": "\na\nc\n", "trainval": "d\n"}.items():
        (lists / f"{name}.txt").write_text(listed)
    manifest = ingest(place, {"kind": "voc", "path": "voc"}).manifest
    assert {"train"} == set(manifest.filter(status="kept")["split"])
    assert ["b#0", "b#1", "b#2"] == manifest.filter(status="kept")["path"].sort().to_list()
    out = manifest.filter(status="quarantined").sort("path").select("path", "code", "found", "expected").rows()
    twice = [(f"a#{number}", "conflicting_label", "train.txt, val.txt", "one") for number in range(3)]
    assert [*twice, ("c", "missing_file", "none", "Annotations/c.xml, which a list of a split names")] == out


@pytest.mark.parametrize(
    ("source", "found"),
    [
        (COCO | {"path": "no.json"}, "source.path: found 'no.json', which is no file, expected COCO's annotations"),
        (COCO | {"path": "crops/dog/1.png", "images": "no"}, "source.images: found 'no', which is no folder"),
        ({"kind": "voc", "path": "crops"}, "source.path: found 'crops', which has no JPEGImages/"),
    ],
)
def test_places_that_are_not_there(place: Path, source: dict[str, Any], found: str) -> None:
    """By their keys."""
    with pytest.raises(RecipeError, match=found):
        ingest(place, source)
