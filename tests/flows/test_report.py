"""The report as text: what it says, in which order, what it never lets through, and the pictures in it."""

import base64
import hashlib
import io
import os
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from nhwc.flows.recipe import CheckRecipe
from nhwc.flows.report import report_html, template
from nhwc.flows.report.thumbnails import SIDE, Thumbnail, file_thumbnail, stored_thumbnail
from nhwc.flows.subject import Subject
from nhwc.pipelines.sources.protocol import Entry
from nhwc.validators.contract import TensorContract, image_contract
from nhwc.validators.errors import DataError
from nhwc.validators.manifest import frame
from nhwc.validators.verdict import Verdict
from nhwc.validators.violation import Code, Violation

Array = np.ndarray[Any, Any]
PHOTO = image_contract(rows=8, cols=8, channels=3, dtype="uint8", value_range=(0, 255))
HOSTILE = "cat/<script>alert(1)</script>\"'`&amp;\n\x1b[31m\u202egpj.png"


class Page(HTMLParser):
    """A page's ids, links, elements and text, read as a browser reads them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] not in (["style"], ["script"]):
            self.texts.append(data)

    @property
    def said(self) -> str:
        """The text, that of each element apart, every run of white space as one space."""
        return " ".join(" ".join(self.texts).split())


def kept(path: str, row: int = 0, **facts: Any) -> dict[str, Any]:
    """A manifest's row of a kept sample."""
    label = path.split("/", maxsplit=1)[0]
    return {
        "sample_id": Entry(name=path).sample_id,
        "path": path,
        "status": "kept",
        "label": label,
        "label_id": 0,
        "split": "train",
        "rows": 60,
        "cols": 80,
        "notes": [],
        "shard": "0" * 32,
        "row": row,
        "channel_mean": [100.0, 110.0, 120.0],
        "channel_std": [9.0, 9.0, 9.0],
    } | facts


def left_out(path: str, status: str = "quarantined", code: Code = Code.TRUNCATED, **facts: Any) -> dict[str, Any]:
    """A manifest's row of an entry that was not kept."""
    return {
        "sample_id": Entry(name=path).sample_id,
        "path": path,
        "status": status,
        "code": str(code),
        "stage": "decode",
        "expected": "a whole jpeg",
        "found": "half of it",
        "hint": code.mend,
    } | facts


def pictures(rows: pl.DataFrame) -> Iterator[Array]:
    """A gradient that is another for each row."""
    for row in rows["row"]:
        yield np.full((8, 8, 3), row % 256, np.uint8) + np.arange(8, dtype=np.uint8)[:, None]


def subject(*rows: dict[str, Any], **parts: Any) -> Subject:
    """A subject of these rows."""
    plain = {"name": "pets", "manifest": frame(list(rows)), "contract": PHOTO, "classes": ("cat", "dog")}
    return Subject(**plain | {"checks": CheckRecipe(), "pictures": pictures} | parts)


def violation(path: str | None, code: Code = Code.BLANK, found: str = "0.0") -> Violation:
    """A finding about a sample, or without one about the dataset."""
    sample_id = None if path is None else Entry(name=path).sample_id
    return Violation(
        code=code, stage="quality", aspect="spread", expected="0.01 or more", found=found, sample_id=sample_id
    )


PETS = [kept(f"{label}/{number}.png", row=number) for label in ("cat", "dog") for number in range(5)]


@pytest.mark.parametrize(
    ("rows", "verdict", "said"),
    [
        (
            PETS,
            Verdict(),
            "✓ Passed Nothing speaks against a training on this data. discovered 10 kept 10 quarantined 0",
        ),
        (
            [*PETS, left_out("cat/x.jpg"), left_out("cat/y", "skipped", Code.OTHER_FILE)],
            Verdict(violations=(violation("cat/1.png"),), warnings=(violation(None, Code.EMPTY_CLASS),) * 2),
            "✕ Refused 1 finding refuses this data; 2 findings warn. discovered 12 kept 10 quarantined 1 skipped 1",
        ),
        (
            [left_out("cat/x.jpg")],
            Verdict(violations=(violation(None, Code.NOTHING_KEPT),)),
            "this data. Not one sample was kept: there is nothing to train on. discovered 1 kept 0 quarantined 1",
        ),
        ([], Verdict(), "Not one sample was kept: there is nothing to train on. discovered 0 kept 0 quarantined 0"),
    ],
)
def test_the_verdict_stands_first(rows: list[dict[str, Any]], verdict: Verdict, said: str) -> None:
    """In a word and a sign, with what was found and the counts that add up."""
    page = Page(report_html(subject(*rows), verdict))
    assert said in page.said
    sections = ["verdict", "dataset-findings", "sample-findings", "left-out", "plots", "samples", "reproduce"]
    assert sections == [name for name in page.ids if name in sections]


def test_a_finding_about_the_dataset_says_how_to_mend_it() -> None:
    """Level, code, what was found and expected, and the hint."""
    page = Page(report_html(subject(*PETS), Verdict(warnings=(violation(None, Code.EMPTY_CLASS, "none in bird"),))))
    assert (
        "empty_class ! warns A class folder without any image kept. spread found none in bird "
        "expected 0.01 or more to mend fill or remove the folder" in page.said
    )


def test_findings_stand_by_rule_with_those_that_refuse_first() -> None:
    """Each with its count, share, meaning, mend, and the files' names."""
    verdict = Verdict(
        violations=(violation("cat/1.png"), violation("dog/2.png")),
        warnings=tuple(violation(row["path"], Code.DARK) for row in PETS),
    )
    page = Page(report_html(subject(*PETS), verdict))
    assert (
        "blank ✕ refuses 2 entries, 20.0% of what was kept One colour all over, or nearly. To mend: remove" in page.said
    )
    assert "dark ! warns 10 entries, 100% of what was kept" in page.said
    assert page.said.index("blank ✕ refuses 2") < page.said.index("dark ! warns 10")
    assert "file class found expected cat/1.png cat 0.0 0.01 or more dog/2.png dog 0.0 0.01 or more" in page.said


def test_a_share_is_of_what_it_is_part_of() -> None:
    """Of what was kept, or, where files were left out, of all."""
    found = violation("cat/bad.png", Code.TRUNCATED), violation("cat/0.png")
    rows = (kept("cat/0.png"), kept("cat/1.png"), left_out("cat/bad.png"))
    said = Page(report_html(subject(*rows), Verdict(violations=found))).said
    shares = re.findall(r"(truncated|blank) . refuses 1 entry, (\S+) of (what was \w+)", said)
    assert {("truncated", "33.3%", "what was discovered"), ("blank", "50.0%", "what was kept")} == set(shares)


def test_long_lists_are_cut_and_say_so() -> None:
    """Twelve pictures a rule, a thousand names, and where the others stand."""
    rows = [kept(f"cat/{number:04}.png", row=number) for number in range(1005)]
    outs = [left_out(f"dog/{number:04}.jpg") for number in range(1001)]
    verdict = Verdict(violations=tuple(violation(row["path"]) for row in rows))
    html = report_html(subject(*rows, *outs), verdict)
    found, out = html.index('id="refuse-blank"'), html.index('id="quarantined-truncated"')
    for part, more, where in (
        (html[found:out], "and 5 more", "nhwc gate --json"),
        (html[out : html.index('id="plots"')], "and 1 more", "manifest.parquet"),
    ):
        assert 12 == part.count('class="tile')
        assert 1000 == part.count('<tr class="item">')
        assert f"{more}: the full list is in" in part
        assert where in part
    assert "cat/0999.png" in html[found:out]
    assert "cat/1000.png" not in html[found:out]


def test_a_finding_of_a_sample_that_the_manifest_lacks_is_not_lost() -> None:
    """It is shown by its id."""
    page = Page(report_html(subject(*PETS), Verdict(violations=(violation("gone.png"),))))
    assert f"{Entry(name='gone.png').sample_id} 0.0 All" not in page.said
    assert f"no picture {Entry(name='gone.png').sample_id} 0.0 The file name" in page.said


def test_what_was_left_out_stands_by_code_and_notes_are_counted() -> None:
    """Quarantined before skipped; what kept samples are noted for as a table."""
    noted = kept("cat/9.png", notes=["alpha", "gray"])
    outs = [left_out("cat/a", "skipped", Code.OTHER_FILE), left_out("cat/b.jpg"), left_out("cat/c.jpg")]
    page = Page(report_html(subject(*PETS, noted, *outs), Verdict()))
    assert "truncated ⊘ quarantined 2 entries, 14.3% of what was discovered The data ends before" in page.said
    assert page.said.index("truncated ⊘ quarantined") < page.said.index("other_file \N{EN DASH} skipped")
    assert "Kept, and noted code samples what it means alpha 1 it has an alpha channel" in page.said


def test_hostile_names_are_shown_and_never_take_effect() -> None:
    """Markup, quotes, control codes and marks that turn the text's direction, wherever a name stands."""
    rows = [kept(HOSTILE, label="<img src=x onerror=alert(1)>"), left_out(HOSTILE + "2", found="\x1b[2J</script>")]
    verdict = Verdict(violations=(violation(HOSTILE), violation(None, Code.NEW_CLASS, "samples of class </style><b>")))
    parts = {"name": "</title><script>alert(2)</script>\x07", "classes": ("</script>", "$x^2$")}
    html = report_html(subject(*rows, **parts), verdict, baseline=frame(rows), reproduce=("nhwc <b>\x1b",))
    page = Page(html)
    assert 1 == page.tags.count("script")
    assert not {"b", "onerror"} & {name for name, _ in page.attributes}
    assert {"img"} == {tag for tag in page.tags if tag in ("img", "iframe", "object", "embed")}
    assert all(value.startswith("data:image/") for name, value in page.attributes if name == "src")
    assert [] == re.findall("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]", html)
    shown = "cat/<script>alert(1)</script>\"'`&amp;\\n\\x1b[31m\\u202egpj.png"
    assert shown in page.texts


def test_the_page_loads_nothing_and_only_its_own_script_runs() -> None:
    """The policy names the script's hash; every link leads into the page, to one place."""
    verdict = Verdict(violations=(violation("cat/1.png"),), warnings=(violation(None, Code.EMPTY_CLASS),))
    html = report_html(subject(*PETS, left_out("cat/x.jpg")), verdict)
    page = Page(html)
    (script,) = re.findall("<script>(.*?)</script>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    assert any(value.startswith(policy) for name, value in page.attributes if name == "content")
    assert len(page.ids) == len(set(page.ids))
    links = {value for name, value in page.attributes if name in ("href", "xlink:href")} - {"data:,"}
    assert links <= {f"#{name}" for name in page.ids}
    assert "#refuse-blank" in links


def test_the_same_input_gives_the_same_bytes() -> None:
    """Whatever the order of what is counted, and in every run."""
    rows = [kept(f"{number % 7}/{number}.png", row=number, rows=50 + number, notes=["gray"]) for number in range(99)]
    verdict = Verdict(violations=tuple(violation(row["path"]) for row in rows), figures={"drift_rows": 0.2})
    made = {report_html(subject(*rows), verdict, baseline=frame(rows[::2])) for _ in range(2)}
    assert 1 == len(made)


def test_a_baseline_is_drawn_below() -> None:
    """Class shares, sizes and brightness of both, and each rule's statistic as a share of its threshold."""
    before = [kept(f"cat/{number}.png", channel_mean=[51.0] * 3, rows=100, cols=100) for number in range(4)]
    figures = {"drift_rows": 0.5, "drift_rows_threshold": 0.2, "drift_formats": 0.0, "drift_formats_threshold": 0.0}
    page = Page(report_html(subject(*PETS), Verdict(figures=figures), baseline=frame(before)))
    assert "cat 5 50.0% 100% dog 5 50.0% 0%" in page.said
    assert "rows 0.5 0.2 ! 2.50 formats 0 0 0.00" in page.said
    assert "this version: all 60 x 80; baseline: all 100 x 100." in page.said
    assert "this version: median 0.43, four fifths from 0.43 to 0.43; baseline: median 0.20" in page.said


def test_many_classes_are_summed() -> None:
    """Forty have a bar of their own, the others one together; classes without samples are there."""
    rows = [kept(f"{number:02}/{copy}.png") for number in range(50) for copy in range(2 if number else 3)]
    page = Page(report_html(subject(*rows, classes=tuple(f"{number:02}" for number in range(50))), Verdict()))
    assert "00 3 3.0% 01 2 2.0%" in page.said
    assert "39 2 2.0% 10 more 20 19.8%" in page.said
    assert "bird 0 0%" in Page(report_html(subject(*PETS, classes=("bird", "cat", "dog")), Verdict())).said


@pytest.mark.parametrize(("classes", "each", "shown"), [(2, 9, 6), (30, 3, 60), (100, 3, 60), (1, 2, 2)])
def test_some_of_each_class_are_shown(classes: int, each: int, shown: int) -> None:
    """Up to three, and sixty in all, of as many classes as that reaches."""
    rows = [kept(f"{number:03}/{copy}.png") for number in range(classes) for copy in range(each)]
    html = report_html(subject(*rows), Verdict())
    assert shown == html.count('class="tile')
    labels = re.findall(r'class="label">(\d+) ', html)
    assert min(classes, 60) == len(set(labels))


def test_what_reproduces_it_is_said() -> None:
    """The commands, the contract and the classes; no date and no place of the machine."""
    page = Page(report_html(subject(*PETS), Verdict(), reproduce=("nhwc ingest pets.yaml", "nhwc gate datasets/pets")))
    assert "nhwc ingest pets.yaml nhwc gate datasets/pets one image uint8[rows=8, cols=8, channels=3]" in page.said
    assert "2 classes cat, dog" in page.said


def damaged(rows: pl.DataFrame) -> Iterator[Array]:
    """Pictures of a shard that is missing."""
    raise FileNotFoundError(f"{rows.height} rows")
    yield np.zeros((1, 1, 1))


def rotten(rows: pl.DataFrame) -> Iterator[Array]:
    """Pictures of a shard of files that cannot be decoded any more."""
    raise DataError(Verdict(violations=(violation("cat/1.png"),)))
    yield np.zeros((rows.height, 1, 1))


@pytest.mark.parametrize("missing", [None, damaged, rotten])
def test_a_report_without_pictures_still_says_all(missing: Any) -> None:
    """Where images are not stored, or a shard is gone or rotten."""
    page = Page(report_html(subject(*PETS, pictures=missing), Verdict(violations=(violation("cat/1.png"),))))
    assert "img" not in page.tags
    assert "no picture cat/1.png cat · train 0.0" in page.said


def pixels_of(thumbnail: Thumbnail) -> Array:
    """The picture in a thumbnail: uint8 (rows, cols, 4)."""
    content = base64.b64decode(thumbnail.uri.removeprefix("data:image/webp;base64,"))
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGBA"))


@pytest.mark.parametrize(
    ("pixel", "dtype", "value_range", "seen"),
    [
        ([128], "uint8", (0, 255), (128, 128, 128, 255)),
        ([200, 20, 90], "uint8", (0, 255), (200, 20, 90, 255)),
        ([200, 20, 90, 128], "uint8", (0, 255), (200, 20, 90, 128)),
        ([51400, 0, 25700], "uint16", (0, 65535), (200, 0, 100, 255)),
        ([200.4, 0, 255], "float32", (0, 255), (200, 0, 255, 255)),
        ([1, -1, 0], "float32", (-1, 1), (255, 0, 128, 255)),
        ([np.nan, np.inf, -np.inf], "float32", (0, 1), (0, 255, 0, 255)),
        ([250, 10, 20, 30, 40], "uint8", None, (250, 10, 20, 255)),
    ],
)
def test_stored_images_look_as_they_are(
    pixel: list[float], dtype: str, value_range: tuple[float, float] | None, seen: tuple[int, ...]
) -> None:
    """Whatever the dtype, range and channels; small ones exactly, each pixel a square."""
    contract = image_contract(rows=8, cols=4, channels=len(pixel), dtype=dtype, value_range=value_range)
    thumbnail = stored_thumbnail(np.tile(np.array(pixel, dtype), (8, 4, 1)), contract)
    assert (96, 48, True) == (thumbnail.rows, thumbnail.cols, thumbnail.pixelated)
    np.testing.assert_array_equal(np.tile(np.array(seen, np.uint8), (8, 4, 1)), pixels_of(thumbnail))


@pytest.mark.parametrize(
    ("rows", "cols", "shown"),
    [(224, 224, (96, 96)), (1000, 10, (96, 1)), (2, 3000, (1, 96)), (60, 50, (60, 50)), (1, 1, (96, 96))],
)
def test_thumbnails_fit(rows: int, cols: int, shown: tuple[int, int]) -> None:
    """The longer side has at most 96 pixels, whatever the aspect."""
    contract = image_contract(rows=rows, cols=cols, channels=1, dtype="uint8", value_range=(0, 255))
    thumbnail = stored_thumbnail(np.zeros((rows, cols, 1), np.uint8), contract)
    assert shown == (thumbnail.rows, thumbnail.cols)
    assert SIDE >= max(pixels_of(thumbnail).shape[:2])


@pytest.mark.parametrize(("peak", "times", "seen"), [(3000, 21, 245), (0, 1, 0), (40_000, 1, 156)])
def test_dim_images_of_many_bits_are_shown_brighter(peak: int, times: int, seen: int) -> None:
    """What uses the lowest part of 16 bits only would be black."""
    contract: TensorContract = image_contract(rows=1, cols=2, channels=1, dtype="uint16", value_range=(0, 65535))
    thumbnail = stored_thumbnail(np.array([[[0], [peak]]], np.uint16), contract)
    assert (times, seen) == (thumbnail.brighter, pixels_of(thumbnail)[0, 1, 0])


def write(path: Path, **options: Any) -> None:
    """A picture of 40 x 20 pixels, red above blue."""
    pixels = np.zeros((40, 20, 3), np.uint8)
    pixels[:20, :, 0] = pixels[20:, :, 2] = 255
    Image.fromarray(pixels).save(path, **options)


def of_a_link_out(root: Path) -> None:
    write(root.parent / "secret.png")
    (root / "x.png").symlink_to(root.parent / "secret.png")


def of_a_folder_that_is_a_link_out(root: Path) -> None:
    (root.parent / "elsewhere").mkdir()
    write(root.parent / "elsewhere" / "x.png")
    (root / "folder").symlink_to(root.parent / "elsewhere")


def of_many_pixels(root: Path) -> None:
    Image.new("1", (6000, 6000)).save(root / "x.png")


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (of_a_link_out, "x.png"),
        (of_a_folder_that_is_a_link_out, "folder/x.png"),
        (of_many_pixels, "x.png"),
        (lambda root: os.mkfifo(root / "x.png"), "x.png"),
        (lambda root: (root / "x.png").mkdir(), "x.png"),
        (lambda root: (root / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n"), "x.png"),
        (lambda root: write(root.parent / "x.png"), "../x.png"),
        (lambda root: None, "x.png"),
        (lambda root: None, "x\0.png"),
    ],
)
def test_files_that_must_not_be_read_have_no_picture(tmp_path: Path, make: Callable[[Path], Any], name: str) -> None:
    """Links and names that leave the source, what is no regular file, bombs, damage; and nothing waits for ever."""
    root = tmp_path / "source"
    root.mkdir()
    make(root)
    assert file_thumbnail(root, name, Entry(name=name).sample_id) is None


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF"])
def test_files_of_every_format_are_shown(tmp_path: Path, format: str) -> None:
    """Red above blue."""
    write(tmp_path / "x", format=format)
    thumbnail = file_thumbnail(tmp_path, "x", Entry(name="x").sample_id)
    assert thumbnail is not None
    assert (80, 40) == (thumbnail.rows, thumbnail.cols)
    above, below = pixels_of(thumbnail)[[4, 36], 10, :3].astype(int)
    np.testing.assert_allclose([[255, 0, 0], [0, 0, 255]], [above, below], atol=12)


@pytest.mark.parametrize(
    ("mode", "grey"), [("1", 255), ("L", 128), ("I;16", 128), ("P", 128), ("CMYK", 128), ("LA", 128)]
)
def test_files_of_other_modes_are_shown(tmp_path: Path, mode: str, grey: int) -> None:
    """Gray as gray, whatever it is stored as."""
    image = (
        Image.fromarray(np.full((20, 20), 128 * 257, np.uint16)) if mode == "I;16" else Image.new("L", (20, 20), 128)
    )
    (image if mode == "I;16" else image.convert("RGB").convert(mode) if mode == "CMYK" else image.convert(mode)).save(
        tmp_path / "x", format="TIFF" if mode == "CMYK" else "PNG"
    )
    thumbnail = file_thumbnail(tmp_path, "x", Entry(name="x").sample_id)
    assert thumbnail is not None
    shown = pixels_of(thumbnail)[..., :3]
    assert {grey} == set(np.unique(shown)) or mode == "1"


def test_a_file_is_shown_upright(tmp_path: Path) -> None:
    """As its EXIF orientation says: here turned by a quarter, so that red is at the right."""
    exif = Image.Exif()
    exif[274] = 6
    write(tmp_path / "x.jpg", exif=exif, quality=95)
    thumbnail = file_thumbnail(tmp_path, "x.jpg", Entry(name="x.jpg").sample_id)
    assert thumbnail is not None
    assert (40, 80) == (thumbnail.rows, thumbnail.cols)
    left, right = pixels_of(thumbnail)[10, [4, 36], :3].astype(int)
    np.testing.assert_allclose([[0, 0, 255], [255, 0, 0]], [left, right], atol=12)


def test_a_cut_jpeg_is_shown_as_far_as_it_goes(tmp_path: Path) -> None:
    """A truncated file's upper part tells which picture it was."""
    pixels = np.random.default_rng(7).integers(0, 256, (400, 300, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "whole.jpg")
    whole = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    assert file_thumbnail(tmp_path, "cut.jpg", Entry(name="cut.jpg").sample_id) is not None


def test_a_name_that_is_not_utf8_is_found(tmp_path: Path) -> None:
    """The manifest writes its bytes as escapes, and a name that really has a backslash is not mistaken for it."""
    name = os.fsdecode(b"caf\xe9.png")
    write(tmp_path / name)
    assert file_thumbnail(tmp_path, "caf\\xe9.png", Entry(name=name).sample_id) is not None
    assert file_thumbnail(tmp_path, "caf\\xe9.png", Entry(name="caf\\xe9.png").sample_id) is None
    write(tmp_path / "caf\\xe9.png")
    assert file_thumbnail(tmp_path, "caf\\xe9.png", Entry(name="caf\\xe9.png").sample_id) is not None


def test_what_was_left_out_is_shown_from_the_source(tmp_path: Path) -> None:
    """A file that was quarantined, where the source is at hand."""
    write(tmp_path / "x.jpg")
    shown = Page(report_html(subject(left_out("x.jpg"), source=tmp_path), Verdict()))
    assert 1 == shown.tags.count("img")
    assert "img" not in Page(report_html(subject(left_out("x.jpg")), Verdict())).tags


# the template


@pytest.mark.parametrize("damage", [lambda whole: b"", lambda whole: whole[:30], lambda whole: whole[:-900]])
def test_the_compiled_template_is_kept_and_never_taken_damaged(monkeypatch, tmp_path, damage):
    """Kept beside its source, taken again, and made anew where it is cut short: always the same page."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(template, "_kept_in", lambda: folder)
    pages, kept_files = [], []
    for spoilt in (None, None, damage):
        if spoilt is not None:
            next(folder.iterdir()).write_bytes(spoilt(kept_files[-1]))
        template.page_template.cache_clear()
        pages.append(report_html(subject(*PETS), Verdict()))
        (file,) = folder.iterdir()
        kept_files.append(file.read_bytes())
    assert 1 == len(set(pages))
    assert 1 == len(set(kept_files))
