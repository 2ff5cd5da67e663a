"""A verdict passes, or gives every reason why not."""

import pickle

import pytest

from nhwc.validators.errors import DataError
from nhwc.validators.verdict import Verdict
from nhwc.validators.violation import Code, Violation

RANK = Violation(code=Code.WRONG_RANK, stage="decode", aspect="rank", expected="3", found="2", sample_id="0a")
SIZE = Violation(code=Code.WRONG_SIZE, stage="resize", aspect="rows", expected="224", found="28", sample_id="0b")


def test_a_verdict_without_violations_passes():
    """require() gives back the verdict itself, so that it can be chained."""
    verdict = Verdict(figures={"rows": 3})
    assert verdict.passed
    assert "passed" == str(verdict)
    assert {} == verdict.by_code()
    assert verdict is verdict.require()


def test_a_verdict_with_violations_raises_with_every_reason():
    """require() raises DataError whose text has each violation on a line of its own, and which holds the verdict."""
    verdict = Verdict(violations=(RANK, SIZE))
    assert not verdict.passed
    with pytest.raises(DataError, match=r"(?s)^decode sample 0a: wrong_rank.*\nresize sample 0b: wrong_size") as caught:
        verdict.require()
    assert verdict is caught.value.verdict


def test_codes_are_counted_most_frequent_first():
    """by_code() is a plain count by the code's text."""
    counted = Verdict(violations=(RANK, SIZE, SIZE)).by_code()
    assert [("wrong_size", 2), ("wrong_rank", 1)] == list(counted.items())


def test_a_verdict_crosses_a_process_whole():
    """Pickle gives an equal value."""
    verdict = Verdict(violations=(RANK, SIZE), figures={"rows": 2, "bad_fraction": 1.0})
    assert verdict == pickle.loads(pickle.dumps(verdict))
