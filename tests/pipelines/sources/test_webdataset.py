"""The tars that webdataset writes are read as it groups them, sample by sample, wherever they lie."""

import gzip
import io
import json
import pickle
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import webdataset
import yaml

from nhwc.flows.deciding import Ingested
from nhwc.pipelines.sources.labels import Labelling, label_entries
from nhwc.pipelines.sources.table import Listed
from nhwc.pipelines.sources.webdataset import MOST_LABEL_BYTES, WebDataset
from nhwc.validators.errors import DataError, RecipeError
from nhwc.validators.violation import Code

PNG = b"\x89PNG\r\n\x1a\n" + bytes(56)
Ingest = Callable[..., Ingested]
Run = Callable[..., tuple[int, str, str]]


def write_tar(path: Path, members: Iterable[tuple[str, bytes]]) -> Path:
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as packed:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
    return path


def source(path: Path, **how: Any) -> WebDataset:
    return WebDataset(path=path, **{"most_bytes": 1 << 20} | how)


def told(one: WebDataset) -> dict[str, tuple[str | None, str]]:
    """Label of each candidate, or its code; and its split, or what was found."""
    entries = one.discover().entries
    assert len(entries) == len({entry.name for entry in entries})
    return {
        entry.name: (str(entry.violation.code), entry.violation.found)
        if entry.violation
        else (entry.label, str(entry.split))
        for entry in entries
    }


def shards(photos: Path, to: Path, parts: Callable[[Path, int], dict[str, Any]]) -> Path:
    """The folder of images as shards of four samples, written by webdataset."""
    to.mkdir()
    number = 0
    for split in ("train", "test"):
        with webdataset.ShardWriter(str(to / f"pets-{split}-%03d.tar"), maxcount=4, verbose=0) as writer:
            for file in sorted((photos / split).rglob("*.png")):
                number += 1
                writer.write({"__key__": f"{number:04}", "png": file.read_bytes()} | parts(file, number))
    return to


LABELS: dict[str, Callable[[Path, int], dict[str, Any]]] = {
    "cls": lambda file, _: {"cls": file.parent.name},
    "txt": lambda file, _: {"txt": f"{file.parent.name}\n", "cls": 7},
    "json:label": lambda file, _: {"json": {"label": file.parent.name, "more": [1]}},
    "json:meta.class": lambda file, _: {"json": {"meta": {"class": file.parent.name}}},
}


@pytest.mark.parametrize("label", LABELS)
def test_a_webdataset_comes_to_what_its_folder_comes_to(
    photos: Path, tmp_path: Path, ingest_source: Ingest, folder_content: str, label: str
) -> None:
    """Labels from whichever member, splits from the names of the tars; and a second run has nothing to do."""
    shards(photos, tmp_path / "wds", LABELS[label])
    recipe = {"kind": "webdataset", "path": "wds"} | ({"label": label} if label != "cls" else {})
    ingested = ingest_source(recipe)
    assert ingested.version is not None
    assert folder_content == ingested.version.content
    assert {"pets-train-000.tar/0001", "pets-test-001.tar/0011"} < set(ingested.manifest["path"])
    assert "unchanged" == ingest_source(recipe).outcome


def test_numbers_of_classes_are_named_by_the_recipe(
    photos: Path, tmp_path: Path, ingest_source: Ingest, folder_content: str
) -> None:
    """In their order; without names they stand for themselves."""
    numbers = {"cat": 0, "dog": 1}
    shards(photos, tmp_path / "wds", lambda file, _: {"cls": numbers[file.parent.name]})
    recipe = {"kind": "webdataset", "path": "wds"}
    version = ingest_source(recipe, labels={"classes": ["cat", "dog"]}).version
    assert version is not None
    assert folder_content == version.content
    version = ingest_source(recipe, to="numbers").version
    assert version is not None
    assert ("0", "1") == version.classes


def test_a_number_below_0_is_no_class(tmp_path: Path) -> None:
    """Of that sample alone: the others are numbers of classes still."""
    labels = enumerate([b"0", b"-1", b"1"])
    members = [one for number, cls in labels for one in ((f"{number}.png", PNG), (f"{number}.cls", cls))]
    one = source(write_tar(tmp_path / "a.tar", members))
    discovery = one.discover()
    assert (True, ("0", "1")) == (discovery.numbered, discovery.classes)
    entries = label_entries(discovery, Labelling(given=True, classes=("cat", "dog")))
    assert ["cat", Code.NO_CLASS, "dog"] == [one.violation.code if one.violation else one.label for one in entries]
    listed = {name: Listed(labels=frozenset({"cat"}), splits=frozenset()) for name in ("a.tar/0", "a.tar/1", "a.tar/2")}
    assert {"cat"} == {one.label for one in label_entries(discovery, Labelling(listed=listed))}


def test_one_tar_is_a_source_too(tmp_path: Path) -> None:
    """Its samples are in train where its name says nothing; what webdataset takes for one sample is one."""
    members = [("a/1.PNG", PNG), ("a/1.cls", b"cat"), ("b.c/2.x.png", PNG), ("b.c/2.cls", b" dog\n")]
    path = write_tar(tmp_path / "pets.tar", members)
    assert {"pets.tar/a/1": ("cat", "train"), "pets.tar/b.c/2": ("dog", "train")} == told(source(path))
    (cat, _) = source(path).discover().entries
    with pickle.loads(pickle.dumps(source(path))).open(cat) as file:
        assert PNG == file.read()


SAMPLES: dict[str, tuple[list[tuple[str, bytes]], tuple[str, str]]] = {
    "no image": ([("1.cls", b"1"), ("1.txt", b"a")], ("wrong_parts", ".cls .txt")),
    "no label": ([("1.png", PNG), ("1.txt", b"a")], ("wrong_parts", ".png .txt")),
    "two labels": ([("1.png", PNG), ("1.cls", b"a"), ("1.CLS", b"b")], ("wrong_parts", ".cls .cls .png")),
    "two images": ([("1.png", PNG), ("1.jpg", PNG), ("1.cls", b"1")], ("wrong_parts", ".cls .jpg .png")),
    "a mask": ([("1.png", PNG), ("1.seg.png", PNG), ("1.cls", b"1")], ("wrong_parts", ".cls .png .seg.png")),
    "an array beside": ([("1.png", PNG), ("1.npy", b""), ("1.cls", b"1")], ("1", "test")),
    "an empty label": ([("1.png", PNG), ("1.cls", b" \n")], ("wrong_parts", "none")),
    "a label of bytes": ([("1.png", PNG), ("1.cls", b"\xff")], ("damaged_source", "'utf-8' codec can't decode")),
    "a long label": ([("1.png", PNG), ("1.cls", bytes(MOST_LABEL_BYTES + 1))], ("damaged_source", "1,048,577 bytes")),
    "a large image": ([("1.png", bytes(1 << 20) + b"1"), ("1.cls", b"1")], ("too_many_bytes", "1,048,577 bytes")),
    "twice": ([("1.png", PNG), ("1.png", PNG)], ("name_twice", "2 members")),
    "unsafe": ([("../1.png", PNG)], ("unsafe_name", "a path with ..")),
    "hidden": ([(".1.png", PNG)], ("hidden", ".1.png")),
    "an image without a dot": ([("photo", PNG)], ("wrong_parts", "photo")),
    "a text without a dot": ([("README", b"free")], ("other_file", "README")),
}


@pytest.mark.parametrize("case", SAMPLES)
def test_what_is_no_sample_is_one_violation(tmp_path: Path, case: str) -> None:
    """And the sample beside it is read."""
    members, (code, found) = SAMPLES[case]
    path = write_tar(tmp_path / "test.tar", [*members, ("z.png", PNG), ("z.cls", b"1")])
    fates = told(source(path))
    assert ("1", "test") == fates.pop("test.tar/z")
    (one,) = fates.values()
    assert code == one[0]
    assert found in str(one[1])


@pytest.mark.parametrize(
    ("content", "code", "found"),
    [
        (b'{"label": 3}', "3", "train"),
        (b'{"label": true}', "wrong_parts", "bool True"),
        (b'{"label": ["cat"]}', "wrong_parts", "list ['cat']"),
        (b'{"label": 1.5}', "wrong_parts", "float 1.5"),
        (b'{"label": null}', "wrong_parts", "none"),
        (b'{"labels": 3}', "wrong_parts", "none"),
        (b"[1]", "wrong_parts", "none"),
        (b'{"label": ', "damaged_source", "Expecting value"),
        (b"[" * 100_000, "damaged_source", "recursion"),
        (b'{"label": ' + b"9" * 5000 + b"}", "damaged_source", "Exceeds the limit"),
    ],
)
def test_a_field_of_json_is_a_number_or_a_text(tmp_path: Path, content: bytes, code: str, found: str) -> None:
    """Or one violation."""
    path = write_tar(tmp_path / "a.tar", [("1.png", PNG), ("1.json", content)])
    ((one, other),) = told(source(path, label="json:label")).values()
    assert code == one
    assert found in other


def test_the_recipe_says_which_member_is_the_image(tmp_path: Path, ingest_source: Ingest, photos: Path) -> None:
    """The first that a sample has."""
    image = (photos / "train" / "cat" / "0.png").read_bytes()
    members = [("1.seg.png", b"x"), ("1.Rgb.png", image), ("1.cls", b"a"), ("2.png", image), ("2.cls", b"b")]
    write_tar(tmp_path / "a.tar", [*members, ("3.seg.png", image), ("3.cls", b"c")])
    manifest = ingest_source({"kind": "webdataset", "path": "a.tar", "image": "rgb.png; .png"}).manifest
    assert ["kept", "kept", "quarantined"] == manifest["status"].to_list()
    assert "one member .rgb.png|png" in manifest["expected"].to_list()


def test_damage_is_told_by_tar(tmp_path: Path) -> None:
    """A cut tar is read up to the cut; one that is none, or packed, ends the run, for none of it can be read."""
    members = [(f"{number}.{suffix}", PNG * 8) for number in range(4) for suffix in ("png", "txt")]
    path = write_tar(tmp_path / "wds" / "a.tar", members)
    path.write_bytes(path.read_bytes()[:7000])
    found = told(source(path.parent, label="txt"))
    assert ("damaged_source", "its end at byte 7,000, within 3.png") == found.pop("a.tar")
    assert ["a.tar/0", "a.tar/1", "a.tar/2"] == list(found)
    for content, message in (
        (b"<html>" * 200, r"found invalid header in .*b\.tar, expected a tar with members"),
        (
            gzip.compress(path.read_bytes()),
            r"found a packed one in .*b\.tar, expected a tar that is not packed.*gunzip",
        ),
    ):
        (path.parent / "b.tar").write_bytes(content)
        with pytest.raises(DataError, match=message):
            source(path.parent).discover()
    (path.parent / "b.tar").unlink()
    (path.parent / "b.tar").symlink_to(write_tar(tmp_path / "outside.tar", members))
    assert ("link", "a link") == told(source(path.parent))["b.tar"]
    (tmp_path / "none").mkdir()
    with pytest.raises(RecipeError, match=r"found no \.tar in .*none, expected the tars of a webdataset"):
        source(tmp_path / "none").discover()


def test_the_command_tells_of_samples_without_labels(photos: Path, tmp_path: Path, nhwc_command: Run) -> None:
    """With how to mend it."""
    shards(photos, tmp_path / "wds", lambda file, _: {"json": {"class": file.parent.name}})
    recipe = {"dataset": "pets", "source": {"kind": "webdataset", "path": "wds"}, "publish": {"to": "out"}}
    (tmp_path / "pets.yaml").write_text(yaml.safe_dump(recipe | {"image": {"rows": 4, "cols": 5}}))
    status, out, err = nhwc_command("ingest", "pets.yaml", "--direct")
    assert (1, "") == (status, err)
    assert "wrong_parts" in out
    assert "a sample of a webdataset has no image, no label, or two images" in " ".join(out.split())
    recipe["source"] |= {"label": "json:class"}  # type: ignore[operator]
    (tmp_path / "pets.yaml").write_text(yaml.safe_dump(recipe | {"image": {"rows": 4, "cols": 5}}))
    status, out, _ = nhwc_command("ingest", "pets.yaml", "--direct")
    assert 0 == status, out
    assert {"photos", "wds", "pets.yaml", "out"} == {file.name for file in tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"label": "json:"}, r"source\.label: found 'json:', expected"),
        ({"image": ";"}, r"source\.image: found ';', expected"),
        ({"lable": "cls"}, r"source\.lable: unknown key, did you mean label\?"),
        ({"path": "gone"}, r"source\.path: found 'gone', where there is nothing"),
    ],
)
def test_a_wrong_recipe_is_told(photos: Path, ingest_source: Ingest, keys: dict[str, str], message: str) -> None:
    """Before anything is read."""
    with pytest.raises(RecipeError, match=message):
        ingest_source({"kind": "webdataset", "path": "photos"} | keys)


def test_labels_that_are_no_whole_numbers_are_names(tmp_path: Path) -> None:
    """07 is a name, and then so is 1."""
    members = [("1.png", PNG), ("1.json", json.dumps({"label": "07"}).encode())]
    path = write_tar(tmp_path / "a.tar", [*members, ("2.png", PNG), ("2.json", b'{"label": 1}')])
    assert not source(path, label="json:label").discover().numbered


def test_a_cut_tar_does_not_replace_what_was_published(photos: Path, tmp_path: Path, ingest_source: Ingest) -> None:
    """It is one damaged file, and hides as many samples as it held; taken out of the source, it hides nothing."""
    folder = shards(photos, tmp_path / "tars", LABELS["cls"])
    few = {"checks": {"bad_fraction": 0.2, "bad_fraction_per_class": 1.0}}
    asked = {"kind": "webdataset", "path": str(folder)}
    assert ingest_source(asked, **few).outcome == "published"
    tar = min(folder.glob("*.tar"))
    tar.write_bytes(tar.read_bytes()[:2100])  # a sample of two members, each a header and its content, of 512 bytes
    refused = ingest_source(asked, **few)
    assert refused.outcome == "refused"
    (violation,) = refused.verdict.violations
    assert violation.found.endswith("3 of them in damaged files of the source, which the version before has")
    tar.unlink()
    assert ingest_source(asked, **few).outcome == "published"
