"""The examples run as they stand, on data that passes and on data that does not."""

import gzip
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
import yaml
from PIL import Image

import nhwc
from nhwc.flows.recipe import parse_recipe

EXAMPLES = Path(__file__).parents[2] / "examples"
Dataset = Callable[[bool], Path]


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """A published dataset of twelve pictures in two classes; unsound: one of them is blank."""

    def make(sound: bool) -> Path:
        for number in range(12):
            coarse = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
            image = Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC)
            if number == 5 and not sound:
                image = Image.new("RGB", (64, 64), (90, 90, 90))
            path = tmp_path / "photos" / ("sea" if number % 2 else "hill") / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path)
        recipe: dict[str, Any] = {
            "dataset": "places",
            "source": {"path": "photos"},
            "image": {"rows": 32, "cols": 32},
            "publish": {"to": "datasets"},
        }
        return nhwc.ingest(parse_recipe(recipe, base=tmp_path), direct=True).dataset

    return make


def run(*command: object, cwd: Path | None = None, **env: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr."""
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"} | env,
        timeout=240,
        cwd=cwd,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def run_here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What an example prints that is run in this process, where a warning is an error and Keras is imported once."""

    def run(name: str, *arguments: object) -> str:
        monkeypatch.setattr("sys.argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_gate_before_training(dataset: Dataset, backend: str) -> None:
    """Keras trains on each of its backends, fed by nhwc.load as it is; the gate follows the model there too."""
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed: Keras is tried on it where it is")
    example = EXAMPLES / "gate_before_training.py"
    status, out, err = run(sys.executable, "-W", "error", example, dataset(True), KERAS_BACKEND=backend)
    assert (0, "trained on 1 batches an epoch") == (status, out.partition(";")[0]), err


def test_gate_before_training_refuses(dataset: Dataset) -> None:
    """It ends with the reasons, and does not train."""
    status, out, err = run(sys.executable, EXAMPLES / "gate_before_training.py", dataset(False))
    assert (1, "") == (status, out)
    assert "quality sample" in err
    assert "blank: spread found 0.0" in err


def test_a_backend_that_is_none() -> None:
    """Whoever names one is told by `nhwc gate`, with the status of a wrong call."""
    status, out, err = run(sys.executable, "-m", "nhwc", "gate", "x", "--model", "model.keras", KERAS_BACKEND="foo")
    assert (2, "") == (status, out)
    assert re.match(r"nhwc: KERAS_BACKEND:\n  found foo, which cannot be used \(.+\), expected tensorflow, or jax", err)


@pytest.mark.parametrize("sound", [True, False])
def test_gate_in_a_flow(dataset: Dataset, tmp_path: Path, sound: bool) -> None:
    """The task after it runs only where the gate passes."""
    status, out, err = run(
        sys.executable, EXAMPLES / "gate_in_a_flow.py", dataset(sound), PREFECT_HOME=str(tmp_path / "prefect")
    )
    assert sound is (status == 0), err
    assert sound is ("training on" in out)
    assert sound is ("blank" not in err)


@pytest.mark.parametrize("sound", [True, False])
def test_gate_in_ci(dataset: Dataset, tmp_path: Path, sound: bool) -> None:
    """The step's own command: its status, its JUnit file and its report."""
    steps = yaml.safe_load((EXAMPLES / "gate_in_ci.yml").read_text())["jobs"]["gate"]["steps"]
    (command,) = [step["run"] for step in steps if step.get("name") == "gate"]
    status, _, err = run("bash", "-c", f"cd {tmp_path} && {command}", DATASET=str(dataset(sound)))
    assert (0 if sound else 1, "") == (status, err)
    assert sound is ("<failure" not in (tmp_path / "gate.xml").read_text())
    assert (tmp_path / "gate.html").read_text().lower().startswith("<!doctype html>")


@pytest.mark.parametrize("hosts", [(), ("--hosts",)], ids=["one process", "two processes"])
def test_distributed(dataset: Dataset, hosts: tuple[str, ...]) -> None:
    """Two replicas train, in as many steps each; together they see each sample once an epoch."""
    status, out, err = run(sys.executable, "-W", "error", EXAMPLES / "distributed.py", dataset(True), *hosts)
    assert 0 == status, err
    assert 2 == out.count("2 replicas in") == out.count("steps [2, 2], samples [6, 6]; union exact, no overlap: True")


def test_data_service(dataset: Dataset) -> None:
    """Two workers give each sample once, and all that was started has ended."""
    status, out, err = run(sys.executable, "-W", "error", EXAMPLES / "data_service.py", dataset(True))
    assert 0 == status, err
    assert 2 == out.count("12 samples, 12 different")
    assert "union exact, no sample twice" in out
    assert "ended: dispatcher 0, workers 0 and 0" in out


def write_idx(folder: Path, stem: str, samples: int) -> None:
    """Bars and blobs, 28 x 28, as MNIST's two files."""
    labels = np.arange(samples, dtype=np.uint8) % 3
    images = np.random.default_rng(samples).integers(0, 90, (samples, 28, 28), np.uint8)
    long, short = slice(4, 24), slice(9, 14)
    for image, label in zip(images, labels, strict=True):
        image[((long, short), (long, long), (short, long))[label]] += 150
    for name, array in ((f"{stem}-images-idx3-ubyte.gz", images), (f"{stem}-labels-idx1-ubyte.gz", labels)):
        header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
        (folder / name).write_bytes(gzip.compress(header + array.tobytes()))


def test_idx_to_conv2d(tmp_path: Path) -> None:
    """From MNIST's files to a model, and a second time from what was published."""
    (tmp_path / "mnist").mkdir()
    write_idx(tmp_path / "mnist", "train", 300)
    write_idx(tmp_path / "mnist", "t10k", 60)
    status, out, err = run(sys.executable, EXAMPLES / "idx_to_conv2d.py", "mnist", cwd=tmp_path)
    assert 0 == status, err
    assert re.fullmatch(r"3 classes learnt from 3 batches an epoch: \d+% of the test is right\n", out)


def test_pytorch(dataset: Dataset) -> None:
    """Its own workers read, without a warning."""
    pytest.importorskip("torch", reason="PyTorch is not installed: it is tried where it is")
    status, out, err = run(sys.executable, "-W", "error", EXAMPLES / "pytorch.py", dataset(True), 2)
    assert (0, "") == (status, err)
    assert 3 == out.count("12 samples of uint8[rows=32, cols=32, channels=3] in [0, 255]; loss ")


def test_jax_loop(dataset: Dataset, run_here: Callable[..., str]) -> None:
    """JAX trains on the memory of the batches."""
    pytest.importorskip("jax")
    out = run_here("jax_loop.py", dataset(True))
    assert 3 == out.count("3 batches uint8(4, 32, 32, 3), 0 copied; loss ")


def test_augmentation(dataset: Dataset, run_here: Callable[..., str]) -> None:
    """What leaves the range is refused by sample; what keeps it is gated and trained on."""
    out = run_here("augmentation.py", dataset(True))
    refused, gated, trained = out.splitlines()
    assert re.search(
        r"without clipping: .*augment sample [0-9a-f]{16}: out_of_range: range found \[0, 1\.\d+\]", refused
    )
    assert "augmented: 12 images looked at" in gated
    assert "trained on 3 batches an epoch of float32[rows=32, cols=32, channels=3] in [0, 1]" in trained


def test_own_photographs(corpus: Path, tmp_path: Path, run_here: Callable[..., str]) -> None:
    """Real photographs and a broken one, from a folder to what one of them shows."""
    for name in ("hat", "shoes"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for path in sorted((corpus / "datasets" / "clothing").rglob(f"{name}/*.jpg"))[:30]:
            shutil.copy(path, tmp_path / "photos" / name)
    (tmp_path / "photos" / "hat" / "half.jpg").write_bytes(path.read_bytes()[:3000])
    out = run_here("own_photographs.py", tmp_path / "photos", tmp_path / "datasets")
    assert "'kept': 60" in out
    assert "left out: hat/half.jpg: truncated" in out
    assert 3 == len(re.findall(r"^epoch \d: loss \d\.\d+, \d+\.\d% of the test split right$", out, re.MULTILINE))
    assert re.search(r"\.jpg shows (hat|shoes), by \d+\.\d%$", out)


def test_tfds_in_tfds_out(tmp_path: Path) -> None:
    """What TFDS' own writers wrote, one image damaged, comes back to its own reader without that one."""
    features = tfds.features.FeaturesDict(
        {"image": tfds.features.Image(shape=(16, 16, 1)), "label": tfds.features.ClassLabel(names=["hill", "sea"])}
    )
    (tmp_path / "in").mkdir()
    images = np.random.default_rng(3).integers(0, 256, (60, 16, 16, 1), np.uint8)
    template = tfds.core.ShardedFileTemplate(
        data_dir=tmp_path / "in", dataset_name="it", split="train", filetype_suffix="tfrecord"
    )
    with tf.io.TFRecordWriter(str(template.sharded_filepath(shard_index=0, num_shards=1))) as writer:
        for number, image in enumerate(images):
            sample = {"image": b"\x89PNG\r\n\x1a\n" if number == 7 else image, "label": number % 2}
            writer.write(features.serialize_example(sample))
    split = tfds.core.SplitInfo(name="train", shard_lengths=[60], num_bytes=0, filename_template=template)
    tfds.folder_dataset.write_metadata(
        data_dir=tmp_path / "in", features=features, split_infos=[split], version="1.0.0", check_data=False
    )
    status, out, err = run(sys.executable, EXAMPLES / "tfds_in_tfds_out.py", "in", 16, 16, 1, "out", cwd=tmp_path)
    assert 0 == status, err
    left_out, split_line, names = out.splitlines()
    assert re.match(r"left out: it-train\.tfrecord-00000-of-00001@\d+: damaged_header: found ", left_out)
    assert ("train: 59 samples of (16, 16, 1)", "hill, sea") == (split_line, names)
