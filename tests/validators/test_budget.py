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


KEPT = (
    [f"a.tar/{number}" for number in range(40)] + [f"b.tfrecord@{number:012}" for number in range(40)] + ["c.png"] * 20
)


@pytest.mark.parametrize(
    ("damaged", "gone", "hidden"),
    [
        ("a.tar", KEPT[1:40], 39),
        ("b.tfrecord@000000000007", KEPT[47:80], 32),  # and the record itself
        ("./all.zip", KEPT[:60], 60),
        ("a.tar", [], 0),
        ("d.tar", KEPT[:40], 0),  # taken out of the source
        (None, KEPT[:60], 0),
    ],
)
def test_what_a_damaged_file_hides_counts(damaged: str | None, gone: list[str], hidden: int) -> None:
    """One row says that the file is damaged, however many of the version before it held."""

    def manifest(paths: list[str]) -> pl.DataFrame:
        facts = {
            "path": paths,
            "status": "kept",
            "label": "cat",
            "code": None,
            "sha256": [f"of {one}" for one in paths],
        }
        return pl.DataFrame(facts, schema_overrides={"code": pl.String})

    before = manifest(KEPT)
    rest = manifest([one for one in KEPT if one not in gone])
    if damaged is not None:
        row = {"path": damaged, "status": "quarantined", "label": None, "code": "damaged_source", "sha256": None}
        rest = pl.concat([rest, pl.DataFrame([row], schema=rest.schema)])
    verdict = check_budget(rest, bad_fraction=0.05, bad_fraction_per_class=1, before=before)
    assert (hidden == 0) == verdict.passed
    assert check_budget(rest, bad_fraction=0.05, bad_fraction_per_class=1).passed
    for violation in verdict.violations:
        expected = f"{hidden} of them in damaged files of the source, which the version before has"
        assert expected in violation.found
        assert violation.hint == "fetch the damaged files again, or take them out of the source"
