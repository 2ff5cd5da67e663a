"""The files that a table lists, and no others, each with the label and split that the table gives it."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl
import pytest
import yaml

from nhwc.flows.deciding import Ingested
from nhwc.pipelines.sources.files import Files
from nhwc.pipelines.sources.labels import Labelling, label_entries
from nhwc.pipelines.sources.protocol import Entry
from nhwc.validators.errors import RecipeError
from nhwc.validators.violation import Code

Ingest = Callable[..., Ingested]
Run = Callable[..., tuple[int, str, str]]

WRITE: dict[str, Callable[[pl.DataFrame, Path], object]] = {
    ".csv": lambda table, to: table.write_csv(to),
    ".tsv": lambda table, to: table.write_csv(to, separator="\t"),
    ".jsonl": lambda table, to: table.write_ndjson(to),
    ".Parquet": lambda table, to: table.write_parquet(to),
}


def listed(photos: Path, names: tuple[str, str, str] = ("file_name", "label", "split")) -> pl.DataFrame:
    """A table of the folder of images, and of columns that say nothing."""
    parts = [file.relative_to(photos) for file in sorted(photos.rglob("*.png"))]
    rows = [(part.as_posix(), part.parts[1], part.parts[0], "x") for part in parts]
    return pl.DataFrame(rows, schema=[*names, "text"], orient="row")


def table(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def told(source: Files) -> dict[str, tuple[str | None, str | None]]:
    """Label and split of each candidate, or its code and what was found."""
    return {
        entry.name: (str(entry.violation.code), entry.violation.found)
        if entry.violation
        else (entry.label, entry.split)
        for entry in source.discover().entries
    }


@pytest.mark.parametrize("suffix", WRITE)
def test_a_table_comes_to_what_its_folder_comes_to(
    photos: Path, tmp_path: Path, ingest_source: Ingest, folder_content: str, suffix: str
) -> None:
    """Without any key where it lies in the folder and is called as others call it; no other file is an entry."""
    WRITE[suffix](listed(photos), photos / f"metadata{suffix}")
    recipe = {"kind": "files", "path": f"photos/metadata{suffix}"}
    ingested = ingest_source(recipe)
    assert ingested.version is not None
    assert folder_content == ingested.version.content
    assert 12 == ingested.manifest.height
    assert "unchanged" == ingest_source(recipe).outcome


def test_its_columns_and_its_root_may_be_named(
    photos: Path, tmp_path: Path, ingest_source: Ingest, folder_content: str
) -> None:
    """Whatever they are called, and wherever it lies."""
    listed(photos, ("x", "y", "fold")).with_columns(label=pl.lit("z"), path=pl.lit("z")).write_csv(tmp_path / "a.csv")
    columns = {"image": "x", "label": "y", "split": "fold"}
    recipe = {"kind": "files", "path": "a.csv", "root": "photos", "columns": columns}
    version = ingest_source(recipe).version
    assert version is not None
    assert folder_content == version.content


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("test.csv", "Path,Class\ncat/a,1\n", ("1", "test")),
        ("all.csv", "path,label\n./cat//a,animals/cat\n", ("animals/cat", "train")),
        ("all.csv", "path,label,split\ncat/a,07,Val\n", ("07", "validation")),
        ("all.csv", "path,label,split\ncat/a,cat,dev\n", ("no_split", "dev")),
        ("all.csv", "path,label,split\ncat/a,cat,\n", ("no_split", "none")),
        ("all.csv", "path,label\ncat/a,cat\ncat/a,cat\n", ("cat", "train")),
        ("all.csv", "path,label\ncat/a,cat\n./cat/a,dog\n", ("conflicting_label", "cat, dog")),
        ("all.csv", "path,label\ncat/a,\n", ("no_class", "none")),
        ("all.jsonl", '{"text": "x"}\n{"file_name": "cat/a", "label": 3}\n', None),
        ("all.jsonl", '{"file_name": "cat/a", "label": 3, "box": [1]}\n', ("3", "train")),
    ],
)
def test_a_row_gives_label_and_split(tmp_path: Path, name: str, content: str, expected: tuple[str, str] | None) -> None:
    """The first of the usual columns, whichever case; a path that stands twice is one sample if its rows agree."""
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "a").touch()
    source = Files(table=table(tmp_path / name, content), root=tmp_path)
    assert {"cat/a": expected or ("3", "train")} == told(source)


def test_numbers_of_classes_are_named_by_the_recipe(
    photos: Path, tmp_path: Path, ingest_source: Ingest, folder_content: str
) -> None:
    """A column of whole numbers, in their order."""
    numbers = listed(photos).with_columns(label=(pl.col("label") == "dog").cast(pl.Int64))
    numbers.write_parquet(photos / "a.parquet")
    recipe = {"kind": "files", "path": "photos/a.parquet"}
    version = ingest_source(recipe, labels={"classes": ["cat", "dog"]}).version
    assert version is not None
    assert folder_content == version.content
    version = ingest_source(recipe, to="numbers").version
    assert version is not None
    assert ("0", "1") == version.classes


@pytest.mark.parametrize("classes", [("x", "y"), ()])
@pytest.mark.parametrize("suffix", WRITE)
def test_a_number_below_0_is_no_class(tmp_path: Path, suffix: str, classes: tuple[str, ...]) -> None:
    """Of that sample; the others keep theirs, named by the recipe or not."""
    labels = {"a": 0, "b": -1, "c": 1, "d": 7}
    for name in labels:
        (tmp_path / name).touch()
    WRITE[suffix](pl.DataFrame({"path": list(labels), "label": labels.values()}), tmp_path / f"all{suffix}")
    discovery = Files(table=tmp_path / f"all{suffix}", root=tmp_path).discover()
    entries = label_entries(discovery, Labelling(given=True, classes=classes))
    found = [one.violation.code if one.violation else one.label for one in entries]
    zero, one, seven = (*classes, Code.UNKNOWN_CLASS) if classes else ("0", "1", "7")
    assert [zero, Code.NO_CLASS, one, seven] == found
    assert "found -1, expected the number of a class, from 0" in str(entries[1].violation)
    assert ("0", "1", "7") == discovery.classes


def test_a_path_that_is_no_file_of_the_root_is_one_violation(tmp_path: Path) -> None:
    """Nothing outside is opened, whichever way it is led to."""
    root = tmp_path / "root"
    for folder in (root / "cat", tmp_path / "outside"):
        folder.mkdir(parents=True)
        (folder / "a.png").touch()
    (root / "in").symlink_to("cat")
    (root / "in.png").symlink_to("cat/a.png")
    (root / "out").symlink_to("../outside")
    (root / "out.png").symlink_to("../outside/a.png")
    (root / "gone.png").symlink_to("nowhere")
    expected = {
        "cat/a.png": ("x", "train"),
        "in/a.png": ("x", "train"),
        "in.png": ("x", "train"),
        "out/a.png": ("unsafe_name", "a link that leaves it"),
        "out.png": ("unsafe_name", "a link that leaves it"),
        "../outside/a.png": ("unsafe_name", "a path with .."),
        "/etc/hostname": ("unsafe_name", "an absolute path"),
        "C:\\a.png": ("unsafe_name", "an absolute path"),
        "cat\\a.png": ("missing_file", "none"),
        "gone.png": ("missing_file", "none"),
        "cat/a.png/b": ("missing_file", "none"),
        "n" * 300: ("unreadable_file", "File name too long"),
        "cat": ("special_file", "d"),
        ".": ("unsafe_name", "no name"),
    }
    path = table(tmp_path / "a.csv", "path,label\n" + "".join(f"{name},x\n" for name in expected))
    source = Files(table=path, root=root)
    found = told(source)
    assert "d" == found["cat"][1][0]  # type: ignore[index]
    assert expected == found | {"cat": ("special_file", "d")}
    hints = {entry.name: entry.violation.hint for entry in source.discover().entries if entry.violation}
    assert "paths are relative to source.root, with /; found a path with backslashes" == hints["cat\\a.png"]
    assert 3 == source.listing().stamps.height
    assert found == told(pickle.loads(pickle.dumps(source)))


def test_what_has_not_changed_is_not_read_again(
    photos: Path, ingest_source: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file more, and one that was written anew: these two alone are opened."""
    opened: list[str] = []
    real = Files.open

    def noted(self: Files, entry: Entry) -> BinaryIO:
        opened.append(entry.name)
        return real(self, entry)

    monkeypatch.setattr(Files, "open", noted)
    monkeypatch.setattr("nhwc.flows.seen._TICK_NS", 0)
    rows = listed(photos)
    rows[:-1].write_csv(photos / "a.csv")
    recipe = {"kind": "files", "path": "photos/a.csv"}
    assert 11 == ingest_source(recipe).made
    opened.clear()
    rows.write_csv(photos / "a.csv")
    changed = photos / "train" / "cat" / "0.png"
    changed.write_bytes((photos / "train" / "cat" / "1.png").read_bytes())
    assert "published" == ingest_source(recipe).outcome
    assert {"train/cat/0.png", "train/dog/2.png"} == set(opened)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.csv",
            b"x,y\na,b\n",
            r"source\.columns:\n  image: found x, y in .*, expected one of path, file_name.*: name",
        ),
        ("a.csv", b"path,y\na,b\n", r"source\.columns:\n  label: found path, y in .*, expected one of label, class, "),
        ("a.csv", b"", r"source\.path:\n  found .*a\.csv, which cannot be read as CSV, JSON lines or Parquet"),
        ("a.jsonl", b'{"path": ', r"source\.path:\n  found .*a\.jsonl, which cannot be read as CSV, JSON lines or"),
        ("a.parquet", b"PAR1", r"source\.path:\n  found .*a\.parquet, which cannot be read as CSV, JSON lines or"),
        ("a.csv", b"path,label\n,b\n", r"source\.path:\n  found no path in line 2 of "),
        ("a.jsonl", b'{"path": null, "label": "b"}\n', r"source\.path:\n  found no path in line 1 of "),
        ("a.csv", b"path,label\nx/a.png,b\nc,d\n", r"source\.root:\n  found none of the 2 files that .* lists, as "),
    ],
)
def test_a_wrong_table_is_one_message(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    """Of the recipe's key that names it."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RecipeError, match=message):
        Files(table=tmp_path / name, root=tmp_path / "x").discover()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"path": "photos"}, r"source\.path: found 'photos', which is no file, expected a table"),
        ({"root": "gone"}, r"source\.root: found 'gone', which is no folder, expected one that paths are relative to"),
        ({"root": "s3://bucket"}, r"source: found 's3://bucket', expected a path on this machine"),
        ({"columns": {"images": "x"}}, r"source\.columns\.images: unknown key, did you mean image\?"),
        ({"columns": {"label": "x"}}, r"source\.columns:\n  label: found path, label in .*, expected 'x'"),
        ({"columns": {"split": "x"}}, r"source\.columns:\n  split: found path, label in .*, expected 'x'"),
    ],
)
def test_a_wrong_recipe_is_told(
    photos: Path, tmp_path: Path, ingest_source: Ingest, keys: dict[str, Any], message: str
) -> None:
    """Columns once the table is looked at, the rest before."""
    table(tmp_path / "a.csv", "path,label\na,b\n")
    with pytest.raises(RecipeError, match=message):
        ingest_source({"kind": "files", "path": "a.csv"} | keys)


def test_the_command_reads_a_table(photos: Path, tmp_path: Path, nhwc_command: Run) -> None:
    """With status 0 where enough of it is there, 2 where none is, and nothing written beside."""
    rows = listed(photos)
    pl.concat([rows, rows[:1].with_columns(file_name=pl.lit("train/cat/gone.png"))]).write_csv(tmp_path / "a.csv")
    recipe = {
        "dataset": "pets",
        "source": {"kind": "files", "path": "a.csv", "root": "photos"},
        "image": {"rows": 4, "cols": 5},
        "publish": {"to": "out"},
        "checks": {"bad_fraction": 0.1, "bad_fraction_per_class": 0.5},
    }
    (tmp_path / "pets.yaml").write_text(yaml.safe_dump(recipe))
    status, out, _ = nhwc_command("ingest", "pets.yaml", "--direct")
    assert 0 == status, out
    assert "13 discovered = 12 kept, 1 quarantined" in out
    assert "train/cat/gone.png" in out
    (tmp_path / "pets.yaml").write_text(yaml.safe_dump(recipe | {"source": {"kind": "files", "path": "a.csv"}}))
    status, _, err = nhwc_command("ingest", "pets.yaml", "--direct")
    assert 2 == status
    assert "found none of the 13 files that a.csv lists, as" in " ".join(err.split())
    assert {"photos", "a.csv", "pets.yaml", "out"} == {file.name for file in tmp_path.iterdir()}
