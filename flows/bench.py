"""Where the time of a training's batches goes: the real pipeline with a stopwatch at each stage."""

from __future__ import annotations

import json
import os
import re
import resource
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from nhwc.flows.printable import printable
from nhwc.pipelines.batch import BatchOptions
from nhwc.pipelines.load import load_with
from nhwc.pipelines.plan import batch_contract_of
from nhwc.pipelines.stopwatch import Stopwatch, waited_for, worked
from nhwc.pipelines.version import Version
from nhwc.validators.bottleneck import STAGES, Bottleneck, StageTime, Waits, advice
from nhwc.validators.errors import DataError, MachineError
from nhwc.validators.verdict import Verdict
from nhwc.validators.violation import Code, Violation

_VIOLATION = re.compile(
    r"^(?P<stage>[a-z ]+?)(?: sample (?P<sample_id>.+?))?: (?P<code>[a-z0-9_]+): (?P<aspect>.+?) found (?P<found>.*), "
    r"expected (?P<expected>.*)\. To mend: (?P<hint>.*)\.$",
    re.MULTILINE,
)
"""A violation as its own text says it, which is what is left of it in an error of TensorFlow's."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How long to measure, and how the consumer takes batches.

    Args:
        seconds: in all, the start not counted; more where a single batch takes longer.
        batches: at most so many in each run; None: as many as there is time for.
        step_ms: so long the consumer does something else after each batch, as a training on a device does; with 0
            batches are only taken as fast as they come.
        cold: have the system forget the shards first, as on a machine that has not read them yet, and measure no more
            than an epoch, from its first batch on.
    """

    seconds: float = 4.0
    batches: int | None = None
    step_ms: float = 0.0
    cold: bool = False


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What was measured of a version.

    Args:
        version: which.
        images: a batch's images, as their contract says.
        first_seconds: from the call of `load` to the first batch.
        epoch_batches: batches an epoch.
        found: where the time went.
    """

    version: Version
    images: str
    first_seconds: float
    epoch_batches: int
    found: Bottleneck


@dataclass(frozen=True, kw_only=True)
class _Run:
    """A consumer's waits, each from when to when in seconds of `time.perf_counter`, and what came meanwhile."""

    waits: list[tuple[float, float]]
    samples: int
    start: float
    end: float
    storage_bytes: int

    def summary(self) -> Waits:
        """The same in a few figures."""
        lengths = np.diff(np.array(self.waits), axis=1).ravel() * 1000
        return Waits(
            batches=len(self.waits),
            samples=self.samples,
            seconds=self.end - self.start,
            mean_ms=float(lengths.mean()),
            median_ms=float(np.median(lengths)),
            p95_ms=float(np.percentile(lengths, 95)),
            longest_ms=float(lengths.max()),
        )


def bench(dataset: str | Path, options: BatchOptions, pace: Pace) -> Bench:
    """Take batches of a published version, as fast as they come and, if asked, one a step, and say where time went.

    Args:
        dataset: the folder or URL of a dataset (its latest version), or of one version. All shards are brought into
            the cache first: what is measured is reading from there.
        options: as for `nhwc.load`.
        pace: how long, and how fast.

    Raises:
        RecipeError: wrong options, all at once, or no such version.
        DataError: an image or a shard is not as published.
        MachineError: TensorFlow failed in another way.

    The stopwatch itself takes up to a fifth of the rate of batches that come from memory, mostly since it has each page
    read before it is copied; beside slower stages it is not seen.
    """
    version, stopwatch = Version.open(dataset), Stopwatch()
    paths = [version.bring_shard(name) for name in version.kept["shard"].unique()]
    if pace.cold:
        _forget(paths)
    started = time.perf_counter()
    batches = load_with(dataset, options, stopwatch=stopwatch)
    epoch_batches = int(batches.cardinality())
    pace = _each_run(pace, epoch_batches)
    try:
        taken = iter(batches.repeat())
        if not pace.cold:  # what is done once, before the first batch, is not what a batch takes
            next(taken)
        first = time.perf_counter()
        free = _take(taken, pace, step_ms=0.0)
        paced = _take(taken, pace, step_ms=pace.step_ms) if pace.step_ms else None
    except tf.errors.OpError as error:
        raise _refused(error) from error
    return Bench(
        version=version,
        images=_batch_text(version, options),
        first_seconds=(free.waits[0][1] if pace.cold else first) - started,
        epoch_batches=epoch_batches,
        found=Bottleneck(
            stages=_stages(stopwatch, free),
            free=free.summary(),
            step_ms=pace.step_ms,
            paced=None if paced is None else paced.summary(),
            batch_bytes=_sample_bytes(paths, version) * free.samples / len(free.waits),
            storage_bytes=free.storage_bytes / len(free.waits),
            channels_first=options.channels_first,
            whole_epoch=epoch_batches == 1,
        ),
    )


def _batch_text(version: Version, options: BatchOptions) -> str:
    """What a batch's images are."""
    contract = batch_contract_of(
        version.contract, None, scale=options.scale, dtype=options.dtype, channels_first=options.channels_first
    )
    return str(contract)


def _each_run(pace: Pace, epoch_batches: int) -> Pace:
    """The pace of one run, where there are two with a step."""
    runs, batches = 2 if pace.step_ms else 1, pace.batches
    if pace.cold:
        batches = max(1, min(epoch_batches // runs, batches or epoch_batches))
    return replace(pace, seconds=pace.seconds / runs, batches=batches)


def _take(batches: Iterator[Any], pace: Pace, *, step_ms: float) -> _Run:
    """Take batches for so long, with so many milliseconds of something else after each."""
    step = step_ms / 1000
    if step:  # one before it counts, so that what such a consumer finds ready is there
        next(batches)
        time.sleep(step)
    waits: list[tuple[float, float]] = []
    samples, storage, start = 0, _from_storage(), time.perf_counter()
    while len(waits) != pace.batches and (not waits or time.perf_counter() - start < pace.seconds):
        asked = time.perf_counter()
        images, *_ = next(batches)
        waits.append((asked, time.perf_counter()))
        samples += int(images.shape[0])
        del images  # its memory is wanted again
        if step:
            time.sleep(step)
    return _Run(
        waits=waits,
        samples=samples,
        start=start,
        end=time.perf_counter(),
        storage_bytes=_from_storage() - storage,
    )


def _stages(stopwatch: Stopwatch, run: _Run) -> dict[str, StageTime]:
    """Of each stage, what it worked and was waited for; what is left of the wait is the hand-over's."""
    spans = [span for span in stopwatch.spans if span.end > run.start and span.start < run.end]
    work, waited = worked(spans, run.start, run.end), waited_for(spans, run.waits)
    left = sum(end - start for start, end in run.waits) - sum(waited.values())
    waited["hand-over"] = work["hand-over"] = max(0.0, left)
    each = 1000 / len(run.waits)
    return {
        stage: StageTime(work=work.get(stage, 0.0) * each, waited=waited.get(stage, 0.0) * each) for stage in STAGES
    }


def _from_storage() -> int:
    """Bytes that the system has fetched from storage for this process; 0 where it does not count them."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_inblock * 512


def _forget(paths: list[Path]) -> None:
    """Have the system drop what it holds of these files in memory; what others have mapped stays."""
    for path in paths:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _sample_bytes(paths: list[Path], version: Version) -> float:
    """What a sample takes in the shards, on average."""
    return sum(path.stat().st_size for path in paths) / max(1, version.kept.height)


def _refused(error: tf.errors.OpError) -> DataError | MachineError:
    """What an error of TensorFlow's says of the data."""
    _, said, text = str(error).partition("DataError: ")
    violations = tuple(
        Violation(**match.groupdict() | {"code": Code(match["code"])})  # type: ignore[call-arg,arg-type]  # by value
        for match in _VIOLATION.finditer(text)
    )
    if said and violations:
        return DataError(Verdict(violations=violations))
    return MachineError(f"nhwc bench: {str(error).splitlines()[0]}")


def as_rows(found: Bottleneck) -> list[tuple[str, ...]]:
    """A table: each stage that took any time, its work and what was waited for it, in milliseconds a batch."""
    rows = []
    for stage, spent in found.stages.items():
        if spent.work:
            work = "" if stage == "hand-over" else f"{spent.work:.2f}"
            rows.append((stage, work, f"{spent.waited:.2f}", f"{spent.waited / max(found.free.mean_ms, 1e-9):.0%}"))
    return [*rows, ("in all", "", f"{found.free.mean_ms:.2f}", "100%")]


TITLES = ("stage", "work, ms a batch", "waited for, ms a batch", "share")
"""Of the columns of `as_rows`."""


def heading(measured: Bench) -> str:
    """What was loaded."""
    version = measured.version
    name = printable(f"{version.name} {version.number}")
    return f"{name}: {measured.images}, {measured.epoch_batches:,} batches an epoch"


def as_text(measured: Bench) -> str:
    """What the consumer saw, and one line of advice."""
    found = measured.found
    free, paced = found.free, found.paced
    storage = found.storage_bytes * free.batches
    lines = [
        f"as fast as they come: {free.samples / free.seconds:,.0f} images/s, {free.batches:,} batches in "
        f"{free.seconds:.1f} s ({free.batches / measured.epoch_batches:.1f} epochs); the first came after "
        f"{measured.first_seconds:.2f} s",
        f"from storage: {storage / 1e6:,.0f} MB of {found.batch_bytes * free.batches / 1e6:,.0f} MB read, "
        "the rest lay in memory",
        _waits("taken as fast as they come", free)
        if paced is None
        else _waits(f"with a step of {found.step_ms:g} ms", paced),
        f"advice: {advice(found)}",
    ]
    return "\n".join(lines)


def _waits(how: str, waits: Waits) -> str:
    return (
        f"{how}, the consumer waits {waits.mean_ms:.2f} ms a batch (95% of them below {waits.p95_ms:.2f} ms), "
        f"{waits.share:.0%} of the time"
    )


def as_json(measured: Bench) -> str:
    """All of it as one JSON object; milliseconds and bytes are those of a batch."""
    found = measured.found
    runs = {
        name: None if waits is None else asdict(waits) | {"share": waits.share}
        for name, waits in (("free", found.free), ("paced", found.paced))
    }
    plain = asdict(found) | runs
    plain |= {
        "dataset": measured.version.name,
        "version": measured.version.number,
        "batch": measured.images,
        "epoch_batches": measured.epoch_batches,
        "first_seconds": measured.first_seconds,
        "limit": found.limit,
        "advice": advice(found),
    }
    return json.dumps(plain, indent=2)
