"""The budget: what may be quarantined is a share, held exactly."""

import polars as pl
import pytest

from nhwc.validators.budget import check_budget


@pytest.mark.parametrize("count", [7, 29, 100, 1000])
@pytest.mark.parametrize("hundredths", [1, 7, 14, 28, 29, 57, 58, 90])
def test_a_share_that_is_just_allowed_is_kept(count: int, hundredths: int) -> None:
    """And one image more is not: 0.29 * 100 is less than 29 in floats."""
    allowed = hundredths * count // 100
    share = allowed / count
    for bad, over in ((allowed, False), (allowed + 1, True)):
        status = ["quarantined"] * bad + ["kept"] * (count - bad) + ["skipped"]
        manifest = pl.DataFrame({"status": status, "label": ["cat"] * len(status)})
        verdict = check_budget(manifest, bad_fraction=share, bad_fraction_per_class=share)
        assert over == (not verdict.passed)


def test_the_written_share_is_the_measured_one() -> None:
    """As a recipe writes it."""
    manifest = pl.DataFrame({"status": ["quarantined"] * 29 + ["kept"] * 71, "label": ["cat"] * 100})
    assert check_budget(manifest, bad_fraction=0.29, bad_fraction_per_class=0.29).passed
    assert not check_budget(manifest, bad_fraction=0.2899, bad_fraction_per_class=1).passed
