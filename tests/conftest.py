"""Fixtures that every room's tests share."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)  # how long an example takes says nothing of what must hold
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of real datasets and breaking images that NHWC_CORPUS names; without it the test is skipped."""
    named = os.environ.get("NHWC_CORPUS")
    if not named:
        pytest.skip("NHWC_CORPUS is not set: it names the folder of real datasets that this test reads")
    return Path(named)
