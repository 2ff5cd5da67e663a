"""Where time goes: a delay is put into each stage in turn, and the stage and the advice must be the right ones."""

import json
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

import nhwc
from nhwc.flows.bench import Bench, Pace, as_rows, as_text, bench
from nhwc.flows.cli import main
from nhwc.flows.recipe import Recipe
from nhwc.pipelines import finish, gather, in_place
from nhwc.pipelines import load as load_module
from nhwc.pipelines.batch import BatchOptions, Dealing
from nhwc.pipelines.cast import Cast
from nhwc.pipelines.encoded import EncodedImages
from nhwc.pipelines.memory import Memory
from nhwc.validators.bottleneck import advice
from nhwc.validators.errors import DataError, MachineError, RecipeError

DELAY = 0.05
"""Seconds. All else that is done for a batch of four tiny images takes a small part of it."""

Delay = Callable[..., None]
Publish = Callable[..., Path]


@pytest.fixture
def publish(photos: Path, recipe_for: Callable[..., Recipe]) -> Publish:
    """Ingests photos/, twenty images, by a recipe with these image keys: the dataset's folder."""

    def make(**image: Any) -> Path:
        return nhwc.ingest(recipe_for(image={"rows": 4, "cols": 5} | image), direct=True).dataset

    return make


@pytest.fixture
def delay(monkeypatch: pytest.MonkeyPatch) -> Delay:
    """Makes a function of that owner take longer, each time or every so many times."""

    def put(owner: object, name: str, seconds: float = DELAY, *, every: int = 1) -> None:
        quick, calls = getattr(owner, name), count()

        def slow(*given: Any, **named: Any) -> Any:
            if next(calls) % every == every - 1:
                time.sleep(seconds)
            return quick(*given, **named)

        monkeypatch.setattr(owner, name, slow)

    return put


@pytest.fixture(autouse=True)
def a_batch_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the images were large: tiny ones come many batches to a call."""
    monkeypatch.setattr(load_module, "BLOCK_BYTES", 1)


def measured(dataset: Path, *, step_ms: float = 0.0, batches: int = 12, **options: Any) -> Bench:
    return bench(dataset, BatchOptions(batch_size=4, **options), Pace(seconds=60, batches=batches, step_ms=step_ms))


@pytest.mark.parametrize(
    ("owner", "name", "image", "options", "stage", "said"),
    [
        (in_place, "_touched", {"rows": 80, "cols": 80}, {}, "read", "storage too slow"),
        (gather, "_read", {}, {"shuffle": True}, "read", "storage too slow"),
        (gather, "_read", {"storage": "encoded"}, {}, "read", "storage too slow"),
        (EncodedImages, "touch", {"storage": "encoded"}, {}, "read", "storage too slow"),
        (EncodedImages, "__getitem__", {"storage": "encoded"}, {}, "decode", "raw instead of encoded"),
        (EncodedImages, "__getitem__", {"storage": "encoded"}, {"scale": "unit"}, "decode", "raw instead of encoded"),
        (Cast, "write", {}, {"scale": "unit"}, "cast", "cast on the device"),
        (Cast, "write", {}, {"dtype": "float32", "shuffle": True}, "cast", "cast on the device"),
        (Cast, "write", {"storage": "encoded"}, {"scale": "signed"}, "cast", "cast on the device"),
        (Memory, "array", {}, {"shuffle": True}, "batch", "larger batches"),
        (Dealing, "positions", {}, {}, "batch", "larger batches"),
        (Cast, "on_host", {}, {"dtype": "float16"}, "cast", "cast on the device"),
        (Cast, "on_host", {"dtype": "float32"}, {"scale": "unit"}, "cast", "cast on the device"),
        (finish, "_look", {"dtype": "float32"}, {}, "check", "store uint8"),
        (finish, "put_channels_first", {}, {"channels_first": True}, "batch", "channels last"),
        (load_module._Blocks, "__call__", {}, {}, "hand-over", "larger batches"),
    ],
)
def test_a_delay_is_found_where_it_is(
    publish: Publish, delay: Delay, owner: object, name: str, image: Any, options: Any, stage: str, said: str
) -> None:
    """Read from storage, decode, check, cast, put together, handed over: of pixels and of files, in any order."""
    dataset = publish(**image)
    delay(owner, name)
    found = measured(dataset, **options).found
    assert stage == found.slowest == found.limit
    assert said == advice(found).partition(":")[0]
    assert found.stages[stage].waited > 0.5 * found.free.mean_ms
    assert found.stages[stage].work > 0.7 * DELAY * 1000  # what began before the first batch counts from there on


@pytest.mark.parametrize("options", [{}, {"shuffle": True, "scale": "unit"}, {"dtype": "float16"}])
def test_the_stages_account_for_all_of_the_wait(publish: Publish, options: Any) -> None:
    """Nothing is counted twice and nothing is left out."""
    found = measured(publish(), **options).found
    assert pytest.approx(found.free.mean_ms) == sum(stage.waited for stage in found.stages.values())
    assert 12 == found.free.batches
    assert 48 == found.free.samples


def test_a_slow_consumer_has_nothing_to_change(publish: Publish) -> None:
    """A step longer than a batch takes: no wait."""
    found = measured(publish(), step_ms=150).found
    assert "step" == found.limit
    assert advice(found).startswith("nothing to change: the step")


def test_bursts_want_more_prefetch(publish: Publish, delay: Delay) -> None:
    """Every eighth batch takes four steps: enough on average, and still waited for."""
    dataset = publish()
    delay(Memory, "array", 0.4, every=8)
    found = measured(dataset, step_ms=100, batches=24, shuffle=True).found
    assert "bursts" == found.limit
    assert advice(found).startswith("more prefetch")
    assert ".prefetch(" in advice(found)


def test_a_stage_slower_than_the_step_is_named(publish: Publish, delay: Delay) -> None:
    """Nothing in reserve outlasts a stage that is too slow on average."""
    dataset = publish(storage="encoded")
    delay(EncodedImages, "__getitem__")  # of each of four images
    found = measured(dataset, step_ms=20).found
    assert "decode" == found.limit
    assert found.paced is not None
    assert found.paced.share > 0.3


def test_reading_from_memory_is_no_slow_storage(publish: Publish) -> None:
    """Where reading is most, but the shards lie in memory, a faster disk would change nothing."""
    dataset = publish(rows=600, cols=600)
    found = bench(dataset, BatchOptions(batch_size=20), Pace(batches=8)).found
    assert "storage too slow" not in advice(found)


@pytest.mark.parametrize(
    ("options", "batches", "samples"), [({"batch_size": 64}, 1, 20), ({"batch_size": 20}, 1, 20), ({}, 1, 20)]
)
def test_fewer_samples_than_a_batch_are_measured(publish: Publish, options: Any, batches: int, samples: int) -> None:
    """An epoch of one batch, again and again."""
    one = bench(publish(), BatchOptions(**options), Pace(batches=3))
    assert (batches, 3 * samples) == (one.epoch_batches, one.found.free.samples)


def test_cold_measures_one_epoch_from_its_first_batch(publish: Publish) -> None:
    """What has been read once is no longer cold."""
    one = bench(publish(), BatchOptions(batch_size=4), Pace(cold=True))
    assert (5, 20) == (one.found.free.batches, one.found.free.samples)
    two = bench(publish(), BatchOptions(batch_size=4), Pace(cold=True, step_ms=1))
    assert two.found.paced is not None
    assert (2, 2) == (two.found.free.batches, two.found.paced.batches)


def test_time_bounds_it_too(publish: Publish) -> None:
    """At least one batch, and then none once the time is over."""
    assert 1 == bench(publish(), BatchOptions(batch_size=4), Pace(seconds=1e-9)).found.free.batches


def test_the_text_has_a_row_for_each_stage_that_there_is(publish: Publish, delay: Delay) -> None:
    """No decoding of pixels; the waits, and one line of advice."""
    delay(Cast, "write")
    one = measured(publish(), step_ms=10, scale="unit")
    assert ["read", "cast", "batch", "hand-over", "in all"] == [row[0] for row in as_rows(one.found)]
    lines = as_text(one).splitlines()
    assert "with a step of 10 ms, the consumer waits" in lines[2]
    assert "of the time" in lines[2]
    assert f"advice: {advice(one.found)}" == lines[-1]


def test_damage_is_told_as_load_tells_it(publish: Publish) -> None:
    """The shard, or the sample, by name, as DataError."""
    dataset = publish()
    (shard,) = (dataset / "shards").iterdir()
    content = shard.read_bytes()
    shard.write_bytes(content[:100])
    with pytest.raises(DataError, match=f"load: checksum: shard found no readable shard.*{shard}") as caught:
        measured(dataset)
    assert "Traceback" not in str(caught.value)
    shard.unlink()
    with pytest.raises(DataError, match="missing_part"):
        measured(dataset)


def test_a_rotten_file_is_named(publish: Publish) -> None:
    """An encoded sample that no longer decodes."""
    dataset = publish(storage="encoded")
    (shard,) = (dataset / "shards").iterdir()
    shard.write_bytes(shard.read_bytes().replace(b"IDAT", b"IDAX"))
    with pytest.raises(DataError, match=r"sample [0-9a-f]{16}: "):
        measured(dataset)


def test_an_error_of_another_kind_is_the_machines(publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line of it."""

    def fails(*given: Any) -> None:
        raise OSError("no memory left")

    dataset = publish()
    monkeypatch.setattr(Dealing, "positions", fails)
    with pytest.raises(MachineError, match=r"\Anhwc bench: .*no memory left.*\Z"):
        measured(dataset)


def test_wrong_options_are_told_all_at_once(publish: Publish) -> None:
    """As `nhwc.load` does."""
    with pytest.raises(RecipeError, match="batch_size") as caught:
        bench(publish(), BatchOptions(batch_size=0, split="none", scale="half"), Pace())
    assert ["batch_size", "scale", "split"] == [problem.partition(":")[0] for problem in caught.value.problems[:3]]


def nhwc_bench(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The exit status of `nhwc bench` with these arguments."""
    monkeypatch.setattr("sys.argv", ["nhwc", "bench", *map(str, arguments)])
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def test_the_command(publish: Publish, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What was loaded, the table, what the consumer saw and the advice; of a version's own folder too."""
    dataset = publish()
    assert 0 == nhwc_bench(monkeypatch, dataset / "1.0.0", "--batch-size", 8, "--batches", 5, "--shuffle")
    out = capsys.readouterr().out.splitlines()
    assert "pets 1.0.0: uint8[samples=any, rows=4, cols=5, channels=3] in [0, 255], 3 batches an epoch" in out[0]
    assert "stage\twork, ms a batch\twaited for, ms a batch\tshare" == out[1]
    assert ["read", "batch", "hand-over", "in all"] == [line.split("\t")[0] for line in out[2:6]]
    assert out[-1].startswith("advice: ")


def test_the_command_as_json(
    publish: Publish, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One object with all figures."""
    options = ("--batch-size", 4, "--batches", 4, "--step-ms", 40, "--scale", "unit", "--dtype", "float16", "--json")
    assert 0 == nhwc_bench(monkeypatch, publish(), *options)
    plain = json.loads(capsys.readouterr().out)
    assert "float16[samples=any, rows=4, cols=5, channels=3] in [0, 1]" == plain["batch"]
    assert (4, 4, 40.0, 5) == (
        plain["free"]["batches"],
        plain["paced"]["batches"],
        plain["step_ms"],
        plain["epoch_batches"],
    )
    assert {"read", "decode", "check", "cast", "batch", "hand-over"} == set(plain["stages"])
    assert 0 <= plain["paced"]["share"] <= 1
    assert plain["advice"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere",), "found no such folder, expected a published dataset"),
        (("photos",), "found a folder that is no dataset, expected a published dataset"),
        (("datasets/pets", "--split", "test"), "split: found 'test', expected some of: train (joined by +), or all"),
        (("datasets/pets", "--scale", "half"), "scale: found 'half', expected one of none, unit, signed, standard"),
        (("datasets/pets", "--dtype", "int8"), "dtype: found 'int8', expected one of"),
        (("datasets/pets", "--batch-size", "0"), "batch_size: found 0"),
        (("datasets/pets", "--step-ms", "-1"), "Invalid value for '--step-ms'"),
        (("datasets/pets", "--batches", "0"), "Invalid value for '--batches'"),
        ((), "Missing argument 'DATASET'"),
    ],
)
def test_a_wrong_call_ends_with_2_and_one_message(
    publish: Publish,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    """Never a traceback; a split without a sample is a split that is not there."""
    publish()
    monkeypatch.chdir(tmp_path)
    assert 2 == nhwc_bench(monkeypatch, *arguments)
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err


def test_a_damaged_shard_ends_with_1(
    publish: Publish, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One message that names it."""
    dataset = publish()
    (shard,) = (dataset / "shards").iterdir()
    shard.write_bytes(b"")
    assert 1 == nhwc_bench(monkeypatch, dataset)
    err = capsys.readouterr().err
    assert err.startswith("nhwc: load: checksum: shard found")
    assert 1 == len(err.splitlines())
