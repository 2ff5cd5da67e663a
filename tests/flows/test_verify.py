"""Rot is found: every bit of every published file counts."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import nhwc
from nhwc.flows.diff import diff
from nhwc.flows.recipe import Recipe
from nhwc.pipelines.store import open_shard

FILES = (
    "checksums", "contract.yaml", "manifest.parquet", "recipe.yaml", "report.html", "statistics.json", "shard", "latest"
)  # fmt: skip
FLIPS = 12


@pytest.fixture
def version(photos: Path, recipe_for: Callable[..., Recipe]) -> nhwc.Version:
    """A published version."""
    return nhwc.ingest(recipe_for(), direct=True)


def place(version: nhwc.Version, name: str) -> Path:
    """The path of one of a version's files, of its only shard, or of its dataset's `latest`."""
    if name == "latest":
        return version.dataset / name
    if name == "shard":
        (path,) = (version.dataset / "shards").iterdir()
        return path
    return version.folder / name


@pytest.mark.parametrize("name", FILES)
def test_every_flipped_bit_is_found(version: nhwc.Version, name: str) -> None:
    """Wherever one bit changes, verify names what is damaged; put right, the version is whole again."""
    path = place(version, name)
    whole = path.read_bytes()
    places = np.random.default_rng(7).choice(len(whole) * 8, FLIPS, replace=False)
    for bit in places:
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(damaged)
        assert not nhwc.verify(version.dataset).passed, f"bit {bit} of {name}"
    path.write_bytes(whole)
    assert nhwc.verify(version.dataset).passed


@pytest.mark.parametrize("name", FILES)
def test_every_missing_file_is_found(version: nhwc.Version, name: str) -> None:
    """By its name."""
    path = place(version, name)
    path.unlink()
    verdict = nhwc.verify(version.dataset)
    assert path.name in {violation.aspect.rpartition("/")[2] for violation in verdict.violations}


@pytest.mark.parametrize("line", range(6))
def test_a_line_cut_from_the_checksums_is_found(version: nhwc.Version, line: int) -> None:
    """`latest` knows the checksums; and without it, a version without a hash of all that it stands on is not whole."""
    path = version.folder / "checksums"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:line] + lines[line + 1 :]))
    name = lines[line].split("/")[-1].split()[-1]
    listed = [] if name == "report.html" else [f"a line for {name}"]
    found = nhwc.verify(version.dataset).violations
    assert ("latest", listed) == (found[0].aspect, [violation.expected for violation in found[1:]])
    (version.dataset / "latest").write_text("1.0.0\n")
    assert listed == [violation.expected for violation in nhwc.verify(version.folder).violations]


@pytest.mark.parametrize("name", ["contract.yaml", "manifest.parquet", "statistics.json"])
def test_reading_a_damaged_version_names_the_file(version: nhwc.Version, name: str) -> None:
    """One clear error, and what to do."""
    (version.folder / name).write_bytes(b"\xff{")

    def read() -> object:
        damaged = nhwc.Version.open(version.dataset)
        return damaged.manifest, damaged.statistics

    with pytest.raises(
        nhwc.DataError, match=rf"load: checksum: .*{name} found .* To mend: ingest again, or restore it from a copy"
    ):
        read()
    if name == "manifest.parquet":
        for face in (nhwc.load, nhwc.data_source, nhwc.load_records):
            with pytest.raises(nhwc.DataError, match=rf"load: checksum: .*{name} found .* To mend: ingest again"):
                face(version.dataset)
            (version.folder / name).unlink()
            with pytest.raises(nhwc.DataError, match=rf"load: checksum: .*{name} found FileNotFoundError"):
                face(version.dataset)
            (version.folder / name).write_bytes(b"\xff{")


@pytest.mark.parametrize("error", [errno.EACCES, errno.EMFILE, errno.EIO])
def test_a_file_that_is_there_and_cannot_be_read_is_the_machines(
    version: nhwc.Version, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    """And no damage: nothing has to be ingested anew."""

    def failing(path: Path, *_: object) -> None:
        raise OSError(error, os.strerror(error), str(path))

    monkeypatch.setattr("nhwc.pipelines.version._text", failing)
    with pytest.raises(nhwc.MachineError, match=rf"recipe.yaml: {os.strerror(error)}: mend it, then run the same"):
        _ = nhwc.Version(dataset=version.dataset, number=version.number).recipe_text
    monkeypatch.undo()
    monkeypatch.setattr("nhwc.pipelines.opened.open_shard", failing)
    source = nhwc.data_source(version.dataset, split="all")
    with pytest.raises(nhwc.MachineError, match=rf"arrow: {os.strerror(error)}"):
        source[0]


def test_a_latest_that_names_no_version_is_told(version: nhwc.Version) -> None:
    """With the versions that there are; a reader cannot go on, for verify it is a damage like others."""
    (version.dataset / "latest").write_text("9.9.9\n")
    with pytest.raises(nhwc.RecipeError, match=r"found no version '9.9.9', expected one of 1\.0\.0"):
        nhwc.Version.open(version.dataset)
    (violation,) = nhwc.verify(version.dataset).violations
    assert ("latest", "one of 1.0.0", "9.9.9") == (violation.aspect, violation.expected, violation.found)


def test_a_damaged_latest_is_told_to_readers(version: nhwc.Version) -> None:
    """And what mends it."""
    (version.dataset / "latest").write_text("1.0.0\x0b")
    with pytest.raises(
        nhwc.DataError,
        match=r"checksum: .*latest found '1\.0\.0.x0b', expected a version's number .*`nhwc ingest` mends",
    ):
        nhwc.Version.open(version.dataset)
    (version.dataset / "latest").unlink()
    with pytest.raises(
        nhwc.RecipeError, match=r"found no `latest`, but .*pets/1\.0\.0: `nhwc ingest` mends it, or name"
    ):
        nhwc.Version.open(version.dataset)


def test_a_link_without_an_end_is_no_dataset(tmp_path: Path) -> None:
    """Whatever asks for one."""
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(nhwc.RecipeError, match="found a link that leads back to itself, expected a dataset"):
        nhwc.Version.open(tmp_path / "loop")


@pytest.mark.parametrize("content", ["", "- 1\n", "x: [", "checks: {bad_fraction: many}\n", "\n"])
def test_a_damaged_recipe_is_one_error(version: nhwc.Version, content: str) -> None:
    """For the gate and for a comparison, which read it."""
    (version.folder / "recipe.yaml").write_text(content)
    with pytest.raises(nhwc.DataError, match=r"load: checksum: .*recipe.yaml found .* To mend: ingest again"):
        nhwc.gate(version.dataset)
    if not content.startswith("checks"):
        with pytest.raises(nhwc.DataError, match=r"load: checksum: .*recipe.yaml found"):
            diff(version.dataset, version.dataset)


def test_what_may_not_be_read_is_not_damaged(version: nhwc.Version, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks has to be let in; nothing has to be ingested."""

    def forbidden(path: Path) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("nhwc.flows.verify.sha256_of", forbidden)
    with pytest.raises(nhwc.MachineError, match="Permission denied: mend it, then run the same again"):
        nhwc.verify(version.dataset)


def test_a_latest_of_one_line_is_obeyed(version: nhwc.Version) -> None:
    """It is what a person writes who goes back to an earlier version."""
    for text in ("1.0.0\n", "1.0.0"):
        (version.dataset / "latest").write_text(text)
        assert nhwc.verify(version.dataset).passed
        assert "1.0.0" == nhwc.Version.open(version.dataset).number


def test_changed_pixels_name_their_samples(version: nhwc.Version) -> None:
    """A shard's checksum tells that it is damaged, the pixel hashes tell which samples are."""
    path = place(version, "shard")
    victim = version.kept.row(3, named=True)
    pixels = open_shard(path).images
    needle = pixels[victim["row"]].tobytes()
    content = path.read_bytes()
    assert 1 == content.count(needle)
    path.write_bytes(content.replace(needle, bytes(len(needle))))
    verdict = nhwc.verify(version.dataset)
    assert {"checksum": 1, "pixels_changed": 1} == verdict.by_code()
    assert [victim["sample_id"]] == [v.sample_id for v in verdict.violations if v.sample_id]
    sampled = nhwc.verify(version.dataset, sample=20)
    assert {"pixels_changed": 1} == sampled.by_code()


def test_a_sample_looks_at_so_many_images(version: nhwc.Version) -> None:
    """Drawn by the seed."""
    assert 5 == nhwc.verify(version.dataset, sample=5, seed=1).figures["images"]
