"""The audit of a folder: what it finds, that it is what an ingest finds, and that nothing is written."""

import os
import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from polars.testing import assert_frame_equal

from nhwc import audit
from nhwc.flows.audit import audited
from nhwc.flows.gate import GateOptions, judge_subject
from nhwc.flows.ingest import run_ingest
from nhwc.flows.recipe import Recipe
from nhwc.validators.errors import RecipeError
from nhwc.validators.quality import FIGURE_COLUMNS

Write = Callable[..., Path]


@pytest.fixture
def messy(photos: Path, write_image: Write) -> Path:
    """Twenty sound images, and of several faults one each."""
    big = write_image("cat/big.png", rows=60, cols=80)
    pixels = np.asarray(Image.open(big))
    Image.fromarray(pixels).save(photos / "cat" / "again.png", compress_level=0)
    Image.fromarray(pixels[::-1, ::-1] // 8).save(photos / "dog" / "dark.png")
    Image.fromarray(np.full((60, 80, 3), 90, np.uint8)).save(photos / "cat" / "blank.png")
    Image.fromarray(np.full((60, 80, 3), 90, np.uint8)).save(photos / "cat" / "blank.bmp")
    shutil.copyfile(photos / "cat" / "0.png", photos / "dog" / "copy.png")
    (photos / "dog" / "page.jpg").write_text("<html>")
    (photos / "dog" / "cut.png").write_bytes(big.read_bytes()[:2000])
    (photos / "cat" / "notes.txt").write_text("not an image")
    return photos


def codes_by_path(folder: Path) -> dict[str, set[str]]:
    """What an audit says of each file."""
    subject = audited(folder)
    verdict = judge_subject(subject, GateOptions())
    found = (*verdict.violations, *verdict.warnings)
    paths, codes = subject.paths(found), defaultdict(set)
    for one in found:
        codes[paths[one.sample_id]].add(str(one.code))
    return dict(codes)


def test_every_fault_is_a_finding_against_its_file(messy: Path) -> None:
    """Broken files, poor ones, and copies, whichever way they are copies; skipped files are none."""
    found = codes_by_path(messy)
    assert {"not_an_image"} == found["dog/page.jpg"]
    assert {"truncated"} == found["dog/cut.png"]
    assert "dark" in found["dog/dark.png"]
    assert "blank" in found["cat/blank.png"]
    assert {"same_pixels"} <= found["cat/big.png"] & found["cat/again.png"]
    assert {"same_pixels"} <= found["cat/blank.png"] & found["cat/blank.bmp"]
    assert {"same_bytes", "duplicate_two_labels"} <= found["dog/copy.png"] & found["cat/0.png"]
    assert "cat/notes.txt" not in found


def test_it_measures_what_an_ingest_records(messy: Path, recipe_for: Callable[..., Recipe]) -> None:
    """Facts, figures, hashes of bytes, clusters and what is refused are the same, row by row."""
    ingested = run_ingest(recipe_for(checks={"bad_fraction": 1, "bad_fraction_per_class": 1}))
    same = ["sample_id", "path", "status", "code", "sha256", "bytes", "format", "rows", "cols", "channels", "cluster"]
    columns = [*same, "decoder", "orientation", "notes", "label", *FIGURE_COLUMNS]
    assert_frame_equal(ingested.manifest.select(columns), audited(messy).manifest.select(columns))


def test_a_sound_folder_passes_and_nothing_is_written(photos: Path) -> None:
    """Files in no folder are looked at too."""
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (9, 9, 3), dtype=np.uint8)).save(photos / "flat.png")
    before = {path: path.stat().st_mtime_ns for path in photos.parent.rglob("*")}
    verdict = audit(photos)
    assert (True, 21) == (verdict.passed, verdict.figures["kept"])
    assert before == {path: path.stat().st_mtime_ns for path in photos.parent.rglob("*")}


def test_folders_named_like_splits_are_taken_for_them(photos: Path) -> None:
    """A picture in train and in test is a leak, and its class is the folder below."""
    for split, label in (("train", "cat"), ("test", "dog")):
        (photos / split).mkdir()
        (photos / label).rename(photos / split / label)
    (photos / "test" / "cat").mkdir()
    shutil.copyfile(photos / "train" / "cat" / "0.png", photos / "test" / "cat" / "leak.png")
    leak = {"same_bytes", "duplicate_across_splits"}
    assert {"train/cat/0.png": leak, "test/cat/leak.png": leak} == {
        path: codes & (leak | {"duplicate_two_labels"}) for path, codes in codes_by_path(photos).items() if codes & leak
    }


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_cannot_be_read_is_a_finding(photos: Path) -> None:
    """It does not end the audit."""
    (photos / "cat" / "0.png").chmod(0)
    assert {"unreadable_file"} == codes_by_path(photos)["cat/0.png"]


def test_a_folder_without_an_image_is_refused(tmp_path: Path) -> None:
    """Nothing looked at is nothing found, and must not pass."""
    assert ["nothing_kept"] == [str(one.code) for one in audit(tmp_path).violations]


def test_what_is_no_folder_is_a_wrong_call(tmp_path: Path) -> None:
    """Both kinds are told apart."""
    with pytest.raises(RecipeError, match="found nothing there, expected a folder of images"):
        audit(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(RecipeError, match="found something that is no folder, expected a folder of images"):
        audit(tmp_path / "file")
