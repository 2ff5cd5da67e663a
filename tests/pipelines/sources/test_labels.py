"""Labels and given splits: from folders or from a file, every entry labelled or quarantined with the reason."""

from codecs import BOM_UTF8
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from nhwc.pipelines.sources.labels import (
    Labelling,
    Listed,
    class_findings,
    class_names,
    label_entries,
    read_label_file,
)
from nhwc.pipelines.sources.protocol import Discovery, Entry
from nhwc.validators.errors import RecipeError
from nhwc.validators.violation import Code


def labelled(name: str, **how: object) -> tuple[str | None, str | None, str]:
    """Label, split and fate of one candidate of that name."""
    discovery = Discovery(entries=(Entry(name=name),))
    (entry,) = label_entries(discovery, Labelling(**how))  # type: ignore[arg-type]
    return entry.label, entry.split, str(entry.violation.code) if entry.violation else entry.status


@pytest.mark.parametrize(
    ("name", "how", "expected"),
    [
        ("cat/a.png", {}, ("cat", None, "candidate")),
        ("cat/sub folder/a.png", {}, ("cat", None, "candidate")),
        ("animals/cat/a.png", {"depth": 2}, ("animals/cat", None, "candidate")),
        ("animals/a.png", {"depth": 2}, (None, None, "no_class")),
        ("a.png", {}, (None, None, "no_class")),
        ("train/cat/a.png", {"split_folders": True}, ("cat", "train", "candidate")),
        ("Val/cat/a.png", {"split_folders": True}, ("cat", "validation", "candidate")),
        ("testing/cat/a.png", {"split_folders": True}, ("cat", "test", "candidate")),
        ("train/a.png", {"split_folders": True}, (None, "train", "no_class")),
        ("extra/cat/a.png", {"split_folders": True}, (None, None, "no_split")),
        ("a.png", {"split_folders": True}, (None, None, "no_split")),
        ("cat/a.png", {"classes": ("cat", "dog")}, ("cat", None, "candidate")),
        ("cow/a.png", {"classes": ("cat", "dog")}, (None, None, "unknown_class")),
    ],
)
def test_folders_give_label_and_split(name: str, how: dict[str, object], expected: tuple[str, str, str]) -> None:
    """The class is the folder at its depth below the split, if there is one."""
    found = labelled(name, **how)
    assert expected == (found if found[2] == "candidate" else (None, found[1], found[2]))


def listed(labels: set[str], splits: set[str] | None = None) -> dict[str, Listed]:
    return {"x/a.png": Listed(labels=frozenset(labels), splits=frozenset(splits or set()))}


@pytest.mark.parametrize(
    ("file", "split_listed", "expected"),
    [
        (listed({"cat"}), False, ("cat", None, "candidate")),
        (listed({"cat"}, {"val"}), True, ("cat", "validation", "candidate")),
        (listed({"cat"}, {"dev"}), True, (None, None, "no_split")),
        (listed({"cat"}), True, (None, None, "no_split")),
        (listed({"cat", "dog"}), False, (None, None, "conflicting_label")),
        (listed({"cat"}, {"train", "test"}), True, (None, None, "conflicting_label")),
        (listed(set()), False, (None, None, "no_class")),
        ({}, False, (None, None, "not_listed")),
    ],
)
def test_a_file_gives_label_and_split(
    file: dict[str, Listed], split_listed: bool, expected: tuple[str, str, str]
) -> None:
    """What the file does not settle keeps the sample out, with the reason."""
    found = labelled("x/a.png", listed=file, split_listed=split_listed)
    assert expected == (found if found[2] == "candidate" else (None, None, found[2]))


def test_what_is_listed_and_missing_is_quarantined() -> None:
    """A line without its file is an entry too."""
    entries = label_entries(Discovery(entries=()), Labelling(listed=listed({"cat"})))
    assert [("x/a.png", "quarantined", Code.MISSING_FILE, "add the file or drop the line")] == [
        (entry.name, entry.status, entry.violation.code, entry.violation.hint) for entry in entries if entry.violation
    ]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/a.png", "an absolute path"),
        ("C:\\photos\\a.png", "an absolute path"),
        ("C:/photos/a.png", "an absolute path"),
        ("x\\a.png", "a path with backslashes"),
        ("../x/a.png", "a path with .."),
    ],
)
def test_a_listed_path_that_no_source_has_is_told(path: str, kind: str) -> None:
    """The line can be mended without a look at the documentation."""
    said = Listed(labels=frozenset({"cat"}), splits=frozenset())
    entries = label_entries(
        Discovery(entries=(Entry(name="x/a.png"),)), Labelling(listed={"x/a.png": said, path: said})
    )
    hints = {entry.name: entry.violation.hint for entry in entries if entry.violation}
    assert {path: f"paths are relative to source.path, with /; found {kind}"} == hints


def test_a_file_that_lists_nothing_of_the_source_is_refused() -> None:
    """An example of each side shows what the paths are relative to; hidden entries are no example."""
    hidden = Entry(name=".x", status="skipped")
    discovery = Discovery(entries=(hidden, Entry(name="a.png")))
    message = "the file lists 'x/a.png', the source has 'a.png', expected paths relative to source.path, with /"
    with pytest.raises(RecipeError, match=rf"^labels\.file:\n  found no path that the source has: {message}$"):
        label_entries(discovery, Labelling(listed=listed({"cat"})))


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".PARQUET"])
def test_label_files_are_read_as_text(tmp_path: Path, suffix: str) -> None:
    """CSV and Parquet say the same; 01 stays 01; ./a and a are one path."""
    table = pl.DataFrame({"path": ["a.png", "./b.png", "b.png"], "label": ["01", "2", "3"], "split": ["train"] * 3})
    path = tmp_path / f"labels{suffix}"
    table.write_csv(path) if suffix == ".csv" else table.write_parquet(path)
    found = read_label_file(path, with_splits=True)
    assert {"a.png": {"01"}, "b.png": {"2", "3"}} == {name: set(said.labels) for name, said in found.items()}


def test_empty_cells_say_nothing(tmp_path: Path) -> None:
    """Blank lines are passed over; "", null, NaN and blanks are no label."""
    csv, parquet = tmp_path / "labels.csv", tmp_path / "labels.parquet"
    csv.write_text('path,label,split\na.png,cat,test\n\n,,\nb.png,"",""\nc.png,,\n"",,\n\n')
    cat, none = frozenset({"cat"}), frozenset[str]()
    expected = {"a.png": Listed(labels=cat, splits=frozenset({"test"}))}
    expected |= {name: Listed(labels=none, splits=none) for name in ("b.png", "c.png")}
    assert expected == read_label_file(csv, with_splits=True)
    blanks = {"path": ["a.png", "b.png", None], "label": ["cat", " \u00a0", "\t"], "split": ["test", " ", ""]}
    pl.DataFrame(blanks).write_parquet(parquet)
    assert {name: expected[name] for name in ("a.png", "b.png")} == read_label_file(parquet, with_splits=True)
    pl.DataFrame({"path": ["a.png"], "label": [None], "split": [float("nan")]}).write_parquet(parquet)
    assert {"a.png": Listed(labels=none, splits=none)} == read_label_file(parquet, with_splits=True)


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (pl.Series([["cat"], ["dog"]]), "found List.* in column label of .*, expected text or numbers"),
        (pl.Series([b"cat", b"\xff\xfe"]), "cannot be read as CSV, JSON lines or Parquet"),
        (pl.Series([1.0, None]), "found Float64 in column label of .*, expected whole numbers or text: save it as one"),
        (pl.Series([date(2026, 1, 1)] * 2), "found Date in column label of .*, expected whole numbers or text"),
        (pl.Series(["cat", "dog"]), "found no path in row 2 of "),
    ],
)
def test_a_wrong_parquet_of_labels_is_one_message(tmp_path: Path, label: pl.Series, message: str) -> None:
    """Lists, floats, dates and bytes that are not UTF-8 are no labels."""
    pl.DataFrame({"path": ["a.png", None], "label": label}).write_parquet(tmp_path / "labels.parquet")
    with pytest.raises(RecipeError, match=message):
        read_label_file(tmp_path / "labels.parquet", with_splits=False)


JSON_LINES = b'{"path": "a", "label": "b"}\n\n{"path": "c", "label": %b}\n'


@pytest.mark.parametrize("label", ["[1]", "{}", "1.5", " cat", "07"])
def test_text_stays_as_it_is_whatever_it_looks_like(tmp_path: Path, label: str) -> None:
    """In lines of JSON too, and behind a byte order mark, which Windows puts before them."""
    lines, csv = tmp_path / "labels.jsonl", tmp_path / "labels.csv"
    lines.write_bytes(BOM_UTF8 + (JSON_LINES % f'"{label}"'.encode()).replace(b"\n", b"\r\n"))
    csv.write_bytes(BOM_UTF8 + f"path,label\r\na,b\r\nc,{label}\r\n".encode())
    for file in (lines, csv):
        assert {"a": {"b"}, "c": {label}} == {
            name: set(said.labels) for name, said in read_label_file(file, with_splits=False).items()
        }


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("labels.csv", b"file,label\na,b\n", "found columns file, label in .*, expected path, label: add path"),
        ("labels.csv", b"", "cannot be read as CSV, JSON lines or Parquet"),
        ("labels.csv", b"path,label\na,b\na,b,c\n", "Parquet: line 3: 3 cells, where the first line has 2"),
        ("labels.jsonl", b'{"path": "a", "label": "b"}\n\n{"path": "c", ', "Parquet: line 3: Expecting property name"),
        (
            "labels.jsonl",
            b'{"path": "a", "label": {"x": "b"}}\n',
            "found Struct(.*) in column label of .*expected text",
        ),
        (
            "labels.jsonl",
            JSON_LINES % b'["b", "c"]',
            r"found \['b', 'c'\] \(line 3\) in column label of .*: save it as",
        ),
        ("labels.jsonl", JSON_LINES % b'{"x": 1}', r"found {'x': 1} \(line 3\) in column label of .*, expected whole"),
        ("labels.jsonl", JSON_LINES % b"1.5", r"found 1.5 \(line 3\) in column label of .*, expected whole numbers or"),
        (
            "labels.jsonl",
            b'{"path": "a", "label": 1.0}\n',
            "found Float64 in column label of .*, expected whole numbers",
        ),
        (
            "labels.jsonl",
            BOM_UTF8 + b'{"path": "a"}\n{oops\n',
            "JSON lines or Parquet: line 2: Expecting property name",
        ),
        ("labels.csv", b"path,label,label\na,b,c\n", "found column label twice in .*labels.csv, expected it once"),
        ("labels.csv", b"path,label\n\xff\xfe\xff,b\n", "cannot be read as CSV, JSON lines or Parquet"),
        (
            "labels.csv",
            b"path,label\na.png,b\n\n,c\n",
            r"found no path in line 4 of .*, expected one beside each label",
        ),
        ("labels.csv", b'path,label\n,b\n,c\n"",d\n', "found no path in line 2 and 2 more of "),
        ("labels.parquet", b"no parquet", "cannot be read as CSV, JSON lines or Parquet"),
    ],
)
def test_a_wrong_label_file_is_one_message(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    """Unreadable files and missing columns are told before any image is read."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RecipeError, match=message):
        read_label_file(tmp_path / name, with_splits=False)


def test_ids_never_depend_on_listing_order() -> None:
    """Classes are sorted by code point, or stand as the recipe lists them."""
    entries = [Entry(name=f"{label}/1", label=label) for label in ("hat", "Zebra", "고양이", "Hat")]
    assert ("Hat", "Zebra", "hat", "고양이") == class_names(entries, Labelling())
    assert class_names(entries[::-1], Labelling()) == class_names(entries, Labelling())
    assert ("z", "a") == class_names(entries, Labelling(classes=("z", "a")))


def test_classes_as_a_whole_are_reported() -> None:
    """Empty classes, names that differ only in case, and split folders taken for classes."""
    discovery = Discovery(entries=(), folders=("Hat", "hat", "empty", "hat/sub", ".hidden"))
    found = class_findings(discovery, Labelling(), ["Hat", "hat"], ("Hat", "hat"))
    assert [(Code.EMPTY_CLASS, "none in empty"), (Code.CASE_TWINS, "Hat, hat")] == [(f.code, f.found) for f in found]
    assert "names that are told apart by eye" == found[1].expected
    splits = class_findings(Discovery(entries=()), Labelling(), ["train", "val"], ("train", "val"))
    assert [Code.SPLIT_FOLDERS] == [finding.code for finding in splits]


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (("Hat", "hat"), "Hat, hat"),
        (("caf\u00e9", "cafe\u0301"), r"'cafe\u0301', 'caf\xe9'"),
        (("\u00c9", "e\u0301"), r"'e\u0301', '\xc9'"),
        (("cat", "cat "), "'cat', 'cat '"),
        (("cat", "\u00a0Cat"), r"'cat', '\xa0Cat'"),
        (("stra\u00dfe", "STRASSE"), "STRASSE, stra\u00dfe"),
        (("x\u00b2", "x2"), None),
        (("hat", "h at"), None),
    ],
)
def test_names_that_look_alike_are_told(names: tuple[str, ...], shown: str | None) -> None:
    """By case, by blanks at their ends, by how an accent is composed: with escapes where they would look the same."""
    found = class_findings(Discovery(entries=()), Labelling(), names, names)
    assert ([] if shown is None else [(Code.CASE_TWINS, shown)]) == [(one.code, one.found) for one in found]
