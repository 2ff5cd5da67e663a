"""The commands: what they print, and with which status they end."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from nhwc.validators.violation import Code

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    """The file of a recipe for photos/."""
    path = tmp_path / "pets.yaml"
    plain = {
        "dataset": "pets",
        "source": {"path": "photos"},
        "image": {"rows": 4, "cols": 5},
        "publish": {"to": "datasets"},
    }
    path.write_text(yaml.safe_dump(plain))
    return path


def test_ingest_says_what_it_made_and_the_next_command(nhwc_command: Run, photos: Path, recipe_file: Path) -> None:
    """Counts, codes with names, the place and what to do next; then, unchanged, that nothing was made."""
    (photos / "notes.txt").touch()
    status, out, err = nhwc_command("ingest", recipe_file, "--direct")
    assert (0, "") == (status, err)
    assert "pets: published: version 1.0.0; 21 discovered = 20 kept, 0 quarantined, 1 skipped" in out
    assert "other_file       1  neither its content nor its name is an image's: notes.txt" in out
    assert "files decoded in this run: 20" in out
    assert "next: nhwc gate" in out
    status, out, _ = nhwc_command("ingest", recipe_file, "--direct")
    assert 0 == status
    assert "pets: unchanged: version 1.0.0" in out
    assert "files decoded in this run: 0" in out


def test_ingest_ends_with_1_over_the_budget(nhwc_command: Run, photos: Path, recipe_file: Path) -> None:
    """Why, which files, and where to look for every reason."""
    (photos / "cat" / "bad\x1b[31m.png").write_text("<html>")
    status, out, _ = nhwc_command("ingest", recipe_file, "--direct")
    assert 1 == status
    assert "pets: refused: nothing published" in out
    assert r"not_an_image       1  named like an image, but the bytes are none: cat/bad\x1b[31m.png" in out
    assert "over_budget: all found 1 of 21 images quarantined (4.8%), expected at most 2.0%" in out
    assert "refused.parquet" in out


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("ingest", "nothing.yaml"), 2, "nothing.yaml"),
        (("explain", "nothing.yaml"), 2, "nothing.yaml"),
        (("verify", "nowhere"), 2, "nowhere:\n  found no such folder, expected a published dataset"),
        (("verify", "photos"), 2, "found a folder that is no dataset, expected a published dataset"),
        (("inspect", "nowhere"), 2, "found nothing there, expected a file, a folder or a published dataset"),
        (("audit", "nowhere"), 2, "found nothing there, expected a folder of images"),
        (("audit", "s3://bucket/photos"), 2, "s3://bucket/photos:\n  found a URL, expected a folder on this machine"),
        (("versions", "s4://bucket/pets"), 2, "s4://bucket/pets:\n  found 's4://bucket/pets', whose scheme is unknown"),
        (("prune", "s4://bucket/pets"), 2, "s4://bucket/pets:\n  found 's4://bucket/pets', whose scheme is unknown"),
        (("init", "nowhere"), 2, "found nothing there, expected a folder of images"),
        (("init", "photos", "--to", "pets.yaml"), 2, "found a file there already"),
        (("demo", "--to", "photos"), 2, "which the demo did not make"),
        (("ingest",), 2, "Missing argument 'RECIPE'"),
        (("ingets",), 2, "No such command 'ingets'"),
        (("verify", "nowhere", "--sample", "0"), 2, "Invalid value for '--sample'"),
        (("gate", "pets.yaml", "--report", "photos"), 2, "photos:\n  found a folder, expected a file to write"),
        (("gate", "pets.yaml", "--junit", "gone/x.xml"), 2, "gone/x.xml:\n  found no folder gone, expected the one"),
        (("audit", "photos", "--report", "gone/x.html"), 2, "found no folder gone, expected the one to write in"),
        (("report", "pets.yaml", "--to", "photos"), 2, "found a folder, expected a file to write: name one in it"),
    ],
)
def test_a_wrong_call_ends_with_2_and_one_message(
    nhwc_command: Run, photos: Path, recipe_file: Path, arguments: tuple[str, ...], status: int, message: str
) -> None:
    """Never a traceback."""
    found, _, err = nhwc_command(*arguments)
    assert status == found
    assert message in err
    assert "Traceback" not in err


def test_a_fault_of_nhwcs_own_is_no_fault_of_the_data(
    nhwc_command: Run, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody foresaw ends with 3 and all that is known of it: 1 would say that the data broke its contract."""

    def failing(paths: object) -> None:
        raise ZeroDivisionError("nobody foresaw")

    monkeypatch.setattr("nhwc.flows.inspect.inspect", failing)
    status, out, err = nhwc_command("inspect", "photos")
    assert (3, "") == (status, out)
    assert "Traceback" in err
    assert err.endswith(
        "nhwc: ZeroDivisionError: nobody foresaw: a fault of nhwc, not of the data: report it with what stands above\n"
    )


def test_what_is_there_is_told_beside_what_is_not(nhwc_command: Run, photos: Path) -> None:
    """Each of the paths, and every one that is wrong."""
    status, out, err = nhwc_command("inspect", "none", "photos", "gone", "photos/cat/0.png")
    assert 2 == status
    assert ["photos:", "photos/cat/0.png:"] == [line.split()[0] for line in out.splitlines() if not line[0].isspace()]
    assert ["nhwc: none:", "nhwc: gone:"] == [line for line in err.splitlines() if line.startswith("nhwc:")]


def test_a_report_does_not_look_where_there_is_nothing(nhwc_command: Run, photos: Path, recipe_file: Path) -> None:
    """For the pictures that were left out."""
    status, _, err = nhwc_command("report", recipe_file, "--source", "gone")
    assert (2, True) == (status, "--source:\n  found gone, which is no folder, expected the one of images" in err)


def test_a_page_goes_into_what_is_no_file_too(
    nhwc_command: Run, photos: Path, recipe_file: Path, tmp_path: Path
) -> None:
    """Through a link to where it leads, and into a device as it is."""
    (tmp_path / "page.html").write_text("before")
    (tmp_path / "link.html").symlink_to("page.html")
    assert 0 == nhwc_command("gate", recipe_file, "--report", "link.html", "--junit", "/dev/null")[0]
    assert (tmp_path / "link.html").is_symlink()
    assert "<html" in (tmp_path / "page.html").read_text()


def test_a_folder_without_images_is_told_as_one(nhwc_command: Run, tmp_path: Path) -> None:
    """Nothing was quarantined there."""
    (tmp_path / "empty").mkdir()
    status, out, _ = nhwc_command("audit", "empty")
    assert 1 == status
    assert "found none of 0 images, expected at least one sample" in out
    assert "To mend: name a folder that has images; of a published dataset `nhwc gate` tells" in out


def test_a_wrong_recipe_ends_with_2_and_all_its_problems(nhwc_command: Run, photos: Path, recipe_file: Path) -> None:
    """A line each."""
    recipe_file.write_text(
        "dataset: a/b\nimage: {rows: 4, cols: 5, channels: 5}\npublish: {to: out}\nsource: {path: gone}\n"
    )
    status, _, err = nhwc_command("ingest", recipe_file)
    assert 2 == status
    assert ["pets.yaml:", "dataset:", "image.channels:", "source.path:"] == [
        line.split()[0 if line.startswith("  ") else -1].rpartition("/")[2] for line in err.splitlines()
    ]


def test_audit_names_files_and_ends_with_1(nhwc_command: Run, photos: Path) -> None:
    """In words, as JSON with the path of each finding, and as a page that shows the files themselves."""
    status, out, _ = nhwc_command("audit", "photos")
    assert (0, True) == (status, "photos: passed; 0 findings refuse" in out)
    (photos / "cat" / "page.jpg").write_text("<html>")
    status, out, err = nhwc_command("audit", "photos", "--report", "page.html")
    assert (1, "") == (status, err)
    assert "refused: cat/page.jpg: probe sample" in out
    assert "photos: refused; 1 findings refuse" in out
    page = Path("page.html").read_text(encoding="utf-8")
    assert "nhwc audit photos" in page
    assert "data:image/webp" in page
    status, out, _ = nhwc_command("audit", "photos", "--json")
    refused = [one for one in json.loads(out)["violations"] if one["level"] == "refuse"]
    assert (1, [("not_an_image", "cat/page.jpg")]) == (status, [(one["code"], one["path"]) for one in refused])


def test_verify_ends_with_1_on_damage(nhwc_command: Run, photos: Path, recipe_file: Path) -> None:
    """The file and the sample are named."""
    nhwc_command("ingest", recipe_file, "--direct")
    assert 0 == nhwc_command("verify", "datasets/pets")[0]
    (shard,) = Path("datasets/pets/shards").iterdir()
    content = bytearray(shard.read_bytes())
    content[content.index(b"ARROW1") + 1000] ^= 1
    shard.write_bytes(content)
    status, out, _ = nhwc_command("verify", "datasets/pets/1.0.0")
    assert 1 == status
    assert f"checksum: ../shards/{shard.name} found sha256" in out
    assert "pixels_changed" in out
    assert "datasets/pets/1.0.0: damaged; 20 images looked at" in out


def test_inspect_tells_files_folders_and_versions(
    nhwc_command: Run, photos: Path, recipe_file: Path, write_image: Any
) -> None:
    """Rank, rows, cols, channels, dtype and format; 1 where a file is no sound image."""
    write_image("cat/gray.png", rows=28, cols=28, channels=1)
    status, out, _ = nhwc_command("inspect", "photos/cat/gray.png", "photos")
    assert 0 == status
    assert "photos/cat/gray.png: rank 3, rows=28, cols=28, channels=1, uint8, png L" in out
    assert "photos: 21 images, 0 other entries" in out
    assert "20  png RGB, channels=3, 8 bits" in out
    nhwc_command("ingest", recipe_file, "--direct")
    _, out, _ = nhwc_command("inspect", "datasets/pets")
    assert "datasets/pets 1.0.0: uint8[rows=4, cols=5, channels=3] in [0, 255]" in out
    (photos / "bad.png").write_bytes(b"no image")
    status, out, _ = nhwc_command("inspect", "photos/bad.png")
    assert 1 == status
    assert "not_an_image" in out


def test_gate_judges_versions_and_recipes(nhwc_command: Run, photos: Path, recipe_file: Path) -> None:
    """Status 0 or 1, as text, JSON, JUnit and page; a wrong call is 2."""
    for path in photos.rglob("*.png"):
        Image.new("RGB", (6, 8)).save(path)
    status, out, _ = nhwc_command("gate", recipe_file)
    assert (1, "pets.yaml: refused; 40 findings refuse") == (status, out.splitlines()[-1].split("/")[-1].split(",")[0])
    nhwc_command("ingest", recipe_file, "--direct")
    status, out, _ = nhwc_command("gate", "datasets/pets", "--junit", "gate.xml", "--report", "gate.html")
    assert 1 == status
    assert "refused: cat/0.png: quality sample" in out
    assert "datasets/pets: refused; 40 findings refuse" in out
    assert '<testcase classname="nhwc.gate" name="blank"><failure message="20 blank">' in Path("gate.xml").read_text()
    assert "nhwc gate datasets/pets" in Path("gate.html").read_text()
    status, out, _ = nhwc_command("gate", "datasets/pets", "--json")
    assert (1, False) == (status, json.loads(out)["passed"])
    status, _, err = nhwc_command("gate", "datasets/pets", "--contract", "gone.yaml")
    assert (2, "nhwc: contract:") == (status, err.splitlines()[0])


def test_report_writes_a_page(nhwc_command: Run, photos: Path, recipe_file: Path) -> None:
    """Status 0, whatever the verdict; an ingest leaves one beside what it published, or refused."""
    nhwc_command("ingest", recipe_file, "--direct")
    assert Path("datasets/pets/1.0.0/report.html").read_text().lower().startswith("<!doctype html>")
    status, out, _ = nhwc_command("report", "datasets/pets", "--to", "page.html", "--source", "photos")
    assert (0, "written to page.html") == (status, out.splitlines()[-1])
    assert "cat/0.png" in Path("page.html").read_text()
    (photos / "cat" / "broken.png").write_bytes(b"\x89PNG")
    status, out, _ = nhwc_command("ingest", recipe_file, "--direct")
    assert 1 == status
    assert "(as a page: datasets/pets/refused.html)" in out.replace(str(Path.cwd()) + "/", "")
    assert "cat/broken.png" in Path("datasets/pets/refused.html").read_text()


def test_init_writes_a_recipe_that_ingests(nhwc_command: Run, photos: Path) -> None:
    """Size, channels and splits as found, and the next commands."""
    status, out, _ = nhwc_command("init", "photos")
    assert 0 == status
    assert "rows: 6  # every image has this size" in out
    assert "channels: 3  # found: 20 with 3" in out
    assert "next: nhwc explain recipe.yaml" in out
    assert 0 == nhwc_command("ingest", "recipe.yaml", "--direct")[0]


def test_explain_prints_every_stage_with_its_contract(nhwc_command: Run, photos: Path, recipe_file: Path) -> None:
    """Before any image is read: the folder may even be empty of images."""
    for path in (photos / "cat").iterdir():
        path.write_bytes(b"")
    status, out, _ = nhwc_command("explain", recipe_file)
    assert 0 == status
    stages = ["discover", "probe", "decode", "convert", "resize", "store", "load", "cast", "batch"]
    rows = [line.split("\t") for line in out.splitlines()]
    assert stages == [row[0] for row in rows if row[0] in stages]
    contracts = {row[0]: row[-1] for row in rows}
    assert "uint8|uint16[rows=any, cols=any, channels=1|2|3|4]" == contracts["decode"]
    assert "uint8[rows=4, cols=5, channels=3] in [0, 255]" == contracts["resize"]
    assert "uint8[samples=32, rows=4, cols=5, channels=3] in [0, 255]" == contracts["batch"]


def test_codes_lists_every_code(nhwc_command: Run) -> None:
    """What it means and how to mend it."""
    _, out, _ = nhwc_command("codes")
    assert [(str(code), code.meaning, code.mend) for code in Code] == [
        tuple(line.split("\t")) for line in out.splitlines()[1:]
    ]


@contextmanager
def started(*arguments: str, **options: Any) -> "Iterator[subprocess.Popen[str]]":
    """`nhwc` in a process of its own, which ends with the test."""
    command = [sys.executable, "-m", "nhwc", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_ingest_says_so_and_goes_on_next_time(
    photos: Path, recipe_file: Path, write_image: Any, number: int, status: int
) -> None:
    """One message, its own status, no traceback; the next run completes."""
    for index in range(3000):
        (photos / "cat" / f"copy{index}.png").write_bytes((photos / "cat" / "0.png").read_bytes())
    with started("ingest", str(recipe_file), "--direct") as process:
        while not (recipe_file.parent / "datasets" / "pets" / ".staging").exists():
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert (status, "nhwc: interrupted; what was finished is kept: run the same again to go on\n") == (
        process.returncode,
        err,
    )
    with started("ingest", str(recipe_file), "--direct") as again:
        out, _ = again.communicate(timeout=120)
    assert "3,020 kept" in out


def test_a_closed_pipe_is_no_error() -> None:
    """`nhwc codes | head -1` ends with 0."""
    command = f"{sys.executable} -m nhwc codes | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (0, "code\tmeans\tto mend\n", "") == (done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("redirection", "status", "err"),
    [(">&-", 0, ""), ("2>&-", 0, ""), ("> /dev/full", 3, "nhwc: output: No space left on device\n")],
)
def test_missing_streams_are_no_traceback(redirection: str, status: int, err: str) -> None:
    """Whatever a scheduler does to stdout and stderr."""
    command = f"{sys.executable} -m nhwc codes {redirection}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (status, err) == (done.returncode, done.stderr)
