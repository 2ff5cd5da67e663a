"""Decoding in child processes: the same results, and no harm whatever a file does. Faults are real ones."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from nhwc.flows import children, contained
from nhwc.flows.children import Child, NoAnswer
from nhwc.flows.contained import contained_thumbnail, prepare_contained
from nhwc.flows.ingest import run_ingest
from nhwc.pipelines.image import Prepared, image_stages, prepare
from nhwc.pipelines.image_recipe import FORMATS, ImageRecipe
from nhwc.pipelines.npy import npy_bytes
from nhwc.validators.errors import MachineError
from nhwc.validators.violation import Code

RECIPE = ImageRecipe(rows=4, cols=6, extension="any")
PHOTO = np.kron(np.random.default_rng(2).integers(0, 255, (9, 14, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
SLOW = b"GIF89a" + bytes(40_000_000)
"""Seconds of looking for an image that never comes."""


def encoded(array: np.ndarray = PHOTO, format: str = "png", **options: object) -> bytes:
    out = io.BytesIO()
    if format == "npy":
        return npy_bytes(array)
    Image.fromarray(array).save(out, format, **options)
    return out.getvalue()


def contained_(content: bytes, recipe: ImageRecipe = RECIPE, suffix: str = "") -> Prepared:
    return prepare_contained(content, suffix=suffix, recipe=recipe, stages=image_stages(recipe), sample_id="s1")


def assert_same(content: bytes, recipe: ImageRecipe = RECIPE, suffix: str = "") -> Prepared:
    """What a child gives is what `prepare` gives here, to the bit and to the word."""
    here = prepare(content, suffix=suffix, recipe=recipe, stages=image_stages(recipe), sample_id="s1")
    there = contained_(content, recipe, suffix)
    assert replace(here, array=None) == replace(there, array=None)
    assert (here.array is None) == (there.array is None)
    if here.array is not None:
        assert (here.array.dtype, here.array.shape) == (there.array.dtype, there.array.shape)
        np.testing.assert_array_equal(here.array, there.array)
        assert there.array.flags.writeable
    return there


def children_of(process: psutil.Process) -> list[psutil.Process]:
    return [one for one in process.children() if "nhwc.flows.contained_child" in one.cmdline()]


def wait_until(holds: Callable[[], object], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it never came to that"
        time.sleep(0.01)


@pytest.fixture
def everything_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process has no room for any pixel."""
    monkeypatch.setattr(contained, "ROOM_BYTES", 0)


@pytest.fixture
def at_work() -> Iterator[Callable[[], list[Prepared]]]:
    """SLOW in a thread, its child at work; called, it gives what became of it."""
    children._pool().end()
    contained_(encoded(format="gif"))
    (child,) = children_of(psutil.Process())
    at_rest, done = child.memory_info().rss, list[Prepared]()
    thread = threading.Thread(target=lambda: done.append(contained_(SLOW)))
    thread.start()
    wait_until(lambda: child.memory_info().rss > at_rest + len(SLOW) // 2)

    def result() -> list[Prepared]:
        thread.join()
        return done

    yield result
    thread.join()


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "changes", [{}, {"channels": 4}, {"channels": 1, "dtype": "float32"}, {"dtype": "uint16", "bit_depth": "keep"}]
)
@pytest.mark.usefixtures("everything_outside")
def test_every_format_comes_out_the_same(format, changes):
    """Array, facts, figures, hash, notes and decoder of a child are those of this process."""
    assert assert_same(encoded(format=format), replace(RECIPE, **changes), f".{format}").violations == ()


@pytest.mark.usefixtures("everything_outside")
@pytest.mark.parametrize(
    ("content", "code"),
    [
        (encoded(format="webp")[:-100], Code.TRUNCATED),
        (encoded(format="jpeg")[:-400], Code.TRUNCATED),
        (encoded(format="bmp")[:20], Code.DAMAGED_HEADER),
        (encoded(np.zeros((200, 300), np.uint8), "tiff"), Code.TOO_MANY_PIXELS),
        (b"GIF89a", Code.DAMAGED_HEADER),
        (b"", Code.EMPTY_FILE),
        (b"text", Code.NOT_AN_IMAGE),
    ],
)
def test_refusals_come_out_the_same(content, code):
    """The same violations in the same words, by the sample's name."""
    assert [code] == [one.code for one in assert_same(content, replace(RECIPE, max_pixels=50_000)).violations]


def test_the_corpus_comes_out_the_same(corpus):
    """Every file of the test suites that goes to a child: as decoded here, and none died."""
    gone_out = 0
    for path in sorted((corpus / "breaking").rglob("*")):
        if path.is_file() and contained._is_unusual(content := path.read_bytes()):
            gone_out += 1
            codes = {one.code for one in assert_same(content, suffix=path.suffix).violations}
            assert not codes & {Code.DECODER_DIED, Code.TOO_SLOW, Code.OUT_OF_MEMORY}, path.name
    assert gone_out > 260


@pytest.mark.parametrize(
    ("content", "goes"),
    [
        (encoded(format="jpeg"), False),
        (encoded(format="png"), False),
        (encoded(format="webp"), True),
        (encoded(format="jpeg") + b"\xff\xda" * 21, True),
        (encoded(format="png") + bytes(contained.MOST_BYTES), True),
        (encoded(np.zeros((9_000, 9_000), np.uint8), format="png"), True),
        (b"text" + bytes(contained.MOST_BYTES), False),
    ],
)
def test_what_is_unusual_is_decoded_outside(monkeypatch, content, goes):
    """JPEG and PNG of ordinary size stay here: they work though no child can be started."""
    monkeypatch.setattr(children, "_borrowed", Child.started)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    if goes:
        with pytest.raises(MachineError, match="a process to decode in cannot be started: No such file"):
            contained_(content)
    else:
        contained_(content)


def test_a_child_imports_no_tensorflow_for_pillows_formats():
    """What Pillow decodes and resizes needs none of its seconds and megabytes."""
    children._pool().end()
    assert contained_(encoded(format="gif")).array is not None
    (child,) = children_of(psutil.Process())
    assert not [one.path for one in child.memory_maps() if "tensorflow" in one.path]


WITHOUT_TENSORFLOW = """
import sys
from nhwc.flows.contained import prepare_contained
from nhwc.pipelines.image import image_stages
from nhwc.pipelines.image_recipe import ImageRecipe
recipe = ImageRecipe(rows=4, cols=6)
for path in sys.argv[1:]:
    content = open(path, "rb").read()
    print(prepare_contained(content, suffix="", recipe=recipe, stages=image_stages(recipe), sample_id="").array.shape)
print("tensorflow" in sys.modules)
"""


def test_what_needs_tensorflow_is_decoded_outside(tmp_path):
    """CMYK, a JPEG that libjpeg warns of, a PNG of another kind: as here, and this process never imports it."""
    jpeg = encoded(format="jpeg")
    cmyk = io.BytesIO()
    Image.fromarray(PHOTO).convert("CMYK").save(cmyk, "jpeg")
    contents = [cmyk.getvalue(), jpeg[:-2] + bytes(4) + jpeg[-2:], encoded(transparency=(1, 2, 3)), encoded()]
    for number, content in enumerate(contents):
        (tmp_path / f"{number}").write_bytes(content)
        assert assert_same(content).array is not None
    command = [sys.executable, "-c", WITHOUT_TENSORFLOW, *(str(path) for path in sorted(tmp_path.iterdir()))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ["(4, 6, 3)"] * 4 + ["False"] == done.stdout.splitlines()


def test_too_much_memory_is_refused(monkeypatch):
    """The system refuses a child more than its limit; that is the file's violation, and the next file is fine."""
    monkeypatch.setattr(contained, "_LIBRARIES_BYTES", 300_000_000)
    monkeypatch.setattr(contained, "_BYTES_A_PIXEL", 0)
    large = encoded(np.zeros((20_000, 20_000), np.uint8), "tiff")
    (violation,) = contained_(large, replace(RECIPE, max_pixels=10**9)).violations
    assert (Code.OUT_OF_MEMORY, "decode", "s1") == (violation.code, violation.stage, violation.sample_id)
    assert contained_(encoded(format="bmp")).array is not None


def test_too_much_time_is_refused():
    """A child that is not done in time is killed; that is the file's violation, and the next file is fine."""
    (violation,) = contained_(SLOW, replace(RECIPE, max_seconds=1)).violations
    assert (Code.TOO_SLOW, "at most 1 seconds", "s1") == (violation.code, violation.expected, violation.sample_id)
    assert contained_(encoded(format="bmp")).array is not None


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_child_that_dies_is_one_violation(at_work, number):
    """Killed in the middle of its work, as by a crash or for want of memory; the next file is fine."""
    (child,) = children_of(psutil.Process())
    child.send_signal(number)
    (prepared,) = at_work()
    (violation,) = prepared.violations
    assert (Code.DECODER_DIED, f"it ended by {number.name}") == (violation.code, violation.found)
    assert contained_(encoded(format="bmp")).array is not None


def test_an_interrupt_is_the_parents_affair(at_work):
    """SIGINT does not stop a child: what a terminal sends, the parent decides on."""
    (child,) = children_of(psutil.Process())
    child.send_signal(signal.SIGINT)
    (prepared,) = at_work()
    assert [Code.DAMAGED_HEADER] == [one.code for one in prepared.violations]


WORK = """
import sys
from nhwc.flows.contained import prepare_contained
from nhwc.pipelines.image import image_stages
from nhwc.pipelines.image_recipe import ImageRecipe
recipe = ImageRecipe(rows=4, cols=6)
prepare_contained(b"GIF89a" + bytes(400_000_000), suffix="", recipe=recipe, stages=image_stages(recipe), sample_id="x")
"""


def test_a_child_never_outlives_its_parent():
    """The parent killed by SIGKILL in the middle of a file: its child is gone at once."""
    with subprocess.Popen([sys.executable, "-c", WORK]) as parent:
        watched = psutil.Process(parent.pid)
        wait_until(lambda: any(one.memory_info().rss > 400_000_000 for one in children_of(watched)))
        (child,) = children_of(watched)
        parent.kill()
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, seconds=5)


ANSWERS = {
    "nothing": ("", "it ended with status 0"),
    "another_end": ("sys.exit(7)", "it ended with status 7"),
    "text": ("print('x' * 100)", "an answer that is none: a message of"),
    "no_json": ("send(b'{', 0)", "an answer that is none"),
    "no_object": ("send(b'[]', 0)", "a message that says list"),
    "deep": ("send(b'[' * 100_000, 0)", "an answer that is none"),
    "too_much": ("send(b'{}', 1 << 60)", "a message of 2 and 1,152,921,504,606,846,976 bytes"),
    "half": ("send(b'{}', 7)", "it ended with status 0"),
    "no_end": ('[send(b\'{"state": "loaded"}\', 0) for _ in range(99)]', "messages without end"),
}


@pytest.mark.parametrize(("code", "found"), ANSWERS.values(), ids=ANSWERS)
def test_an_answer_that_is_none_is_told(code, found):
    """A child is trusted with nothing: what it says is bounded, and looked at."""
    script = "import struct, sys\nout = sys.stdout.buffer\nsys.stdin.buffer.read(14)\n"
    script += "def send(text, size): out.write(struct.pack('<IQ', len(text), size) + text); out.flush()\n" + code
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    child = Child(subprocess.Popen([sys.executable, "-c", script], **pipes))
    with pytest.raises(NoAnswer) as ended:
        child.ask({}, b"", seconds=60, most=10)
    child.end()
    assert ended.value.code is Code.DECODER_DIED
    assert found in ended.value.found


def test_the_time_allowed_makes_no_other_shards():
    """What was decoded within another time is the same."""
    assert RECIPE.fingerprint == replace(RECIPE, max_seconds=1).fingerprint


def test_what_took_too_long_is_tried_again(recipe_for, write_image, tmp_path):
    """The next run does not take over that it was too slow, and all the rest it does."""
    write_image("cat/1.png")
    (tmp_path / "photos" / "cat" / "slow.gif").write_bytes(SLOW)
    checks = {"bad_fraction": 1, "bad_fraction_per_class": 1}
    image = {"rows": 4, "cols": 5}
    found = []
    for seconds in (1, 60):
        ingested = run_ingest(recipe_for(image=image | {"max_seconds": seconds}, checks=checks))
        rows = ingested.manifest.sort("path").select("status", "code").rows()
        found.append((ingested.outcome, rows))
    assert [
        ("published", [("kept", None), ("quarantined", "too_slow")]),
        ("published", [("kept", None), ("quarantined", "damaged_header")]),
    ] == found


def test_thumbnails_are_made_outside():
    """A file that was left out is shown as far as it goes, and one that cannot be shown is none."""
    shown = contained_thumbnail(encoded(np.zeros((300, 400, 3), np.uint8), "jpeg")[:-40])
    assert shown is not None
    assert (72, 96) == (shown.rows, shown.cols)
    assert contained_thumbnail(b"GIF89a") is None


def test_a_process_that_was_forked_has_children_of_its_own():
    """Two processes at one child's pipes would get each other's images."""
    assert contained_(encoded(format="gif")).array is not None
    before = set(children._pool().idle)
    reads, writes = os.pipe()
    with warnings.catch_warnings(action="ignore"):  # JAX, where another test has imported it, warns of every fork
        forked = os.fork()
    if forked == 0:  # nothing but what must hold, and out
        os.write(writes, bytes([before.isdisjoint(children._pool().idle)]))
        os._exit(0)
    os.waitpid(forked, 0)
    assert b"\1" == os.read(reads, 1)
    os.close(reads)
    os.close(writes)


def test_paths_of_modules_are_the_parents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A module beside the images is never imported, though a child is started there."""
    (tmp_path / "numpy.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    children._pool().end()
    assert contained_(encoded(format="gif")).array is not None
