"""The advice: which figures lead to which line."""

from typing import Any

import pytest

from nhwc.validators.bottleneck import STAGES, Bottleneck, StageTime, Waits, advice


def waits(mean_ms: float, *, step_ms: float = 0.0, median_ms: float | None = None, longest_ms: float = 0.0) -> Waits:
    """A hundred batches of 32, waited for so long on average."""
    return Waits(
        batches=100,
        samples=3200,
        seconds=(mean_ms + step_ms) / 10,
        mean_ms=mean_ms,
        median_ms=mean_ms if median_ms is None else median_ms,
        p95_ms=mean_ms,
        longest_ms=longest_ms or mean_ms,
    )


def found(paced: Waits | None = None, **parts: Any) -> Bottleneck:
    """So many milliseconds a batch of 4 MB for each stage, by one thread; step_ms and the like as given."""
    waited = {stage.replace("hand_over", "hand-over"): parts.pop(stage) for stage in list(parts) if stage in NAMES}
    stages = {stage: StageTime(work=waited.get(stage, 0.0), waited=waited.get(stage, 0.0)) for stage in STAGES}
    figures = {"batch_bytes": 4e6, "storage_bytes": 0.0} | parts
    return Bottleneck(stages=stages, free=waits(sum(waited.values())), paced=paced, **figures)


NAMES = [stage.replace("-", "_") for stage in STAGES]


@pytest.mark.parametrize(
    ("figures", "limit", "said"),
    [
        # as fast as they come: the stage that is waited for most
        ({"cast": 9, "read": 1}, "cast", "cast on the device: to cast here is 90% of the time a batch takes"),
        ({"decode": 80, "cast": 19, "read": 1}, "decode", "raw instead of encoded: to decode is 80%"),
        ({"check": 6, "batch": 4}, "check", "store uint8: to look at every value is 60%"),
        ({"read": 100}, "read", "storage too slow: to read is 100% of the time a batch takes, 40 MB/s a thread"),
        ({"read": 4, "storage_bytes": 4e6}, "read", "storage too slow: to read is 100%"),
        ({"read": 4, "storage_bytes": 1e4}, "memory", "nothing to change: the shards lie in memory"),
        ({"read": 4, "batch": 8}, "memory", "nothing to change: the shards lie in memory, and to fetch"),
        ({"batch": 80, "read": 1}, "batch", "larger batches: to put them together is 99%"),
        ({"batch": 8, "channels_first": True}, "batch", "channels last: to put batches together is 100%"),
        ({"hand_over": 2, "batch": 1}, "hand-over", "larger batches: to hand one over"),
        ({"hand_over": 2, "whole_epoch": True}, "hand-over", "nothing to change: a batch holds the whole epoch"),
        ({"batch": 80, "whole_epoch": True}, "batch", "nothing to change: a batch holds the whole epoch"),
        ({"cast": 80, "whole_epoch": True}, "cast", "cast on the device"),
        # with a step that is longer than a batch takes
        ({"cast": 9, "step_ms": 100, "paced": waits(1, step_ms=100)}, "step", "nothing to change: the step"),
        ({"cast": 9, "step_ms": 20, "paced": waits(4, step_ms=20, median_ms=1)}, "bursts", "more prefetch"),
        ({"cast": 9, "step_ms": 20, "paced": waits(4, step_ms=20)}, "hand-over", "larger batches"),
        # with a step that is shorter, or hardly longer: what is too slow, however it is spread
        ({"cast": 50, "step_ms": 20, "paced": waits(30, step_ms=20)}, "cast", "cast on the device"),
        ({"cast": 19, "step_ms": 20, "paced": waits(4, step_ms=20, median_ms=1)}, "cast", "cast on the device"),
        ({"decode": 50, "step_ms": 20, "paced": waits(30, step_ms=20, median_ms=1)}, "decode", "raw instead"),
    ],
)
def test_advice(figures: dict[str, Any], limit: str, said: str) -> None:
    """One line, whose first words say what to do."""
    one = found(**figures)
    assert limit == one.limit
    assert advice(one).startswith(said)
    assert "\n" not in advice(one)


@pytest.mark.parametrize(("longest_ms", "batches"), [(1, 3), (50, 5), (61, 6), (199, 12)])
def test_the_reserve_outlasts_the_longest_wait(longest_ms: float, batches: int) -> None:
    """What is taken meanwhile, and two more."""
    paced = waits(4, step_ms=20, median_ms=0, longest_ms=longest_ms)
    one = found(cast=9, step_ms=20, paced=paced)
    assert f".prefetch({batches})" in advice(one)


@pytest.mark.parametrize(("mean_ms", "step_ms", "share"), [(5, 15, 0.25), (5, 0, 1.0), (0, 10, 0.0)])
def test_the_share_of_the_time_that_is_waited(mean_ms: float, step_ms: float, share: float) -> None:
    """Between none and all of it."""
    assert pytest.approx(share) == waits(mean_ms, step_ms=step_ms).share
