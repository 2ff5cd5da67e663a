"""The manifest's frame and its rules: every broken rule is named, at once, in words."""

import polars as pl
import pytest
from pandera.config import config_context

from nhwc.validators.manifest import COLUMNS, STATUSES, check_manifest, frame
from nhwc.validators.verdict import Verdict
from nhwc.validators.violation import Code, Violation

WHOLE = "a kept row has label, split, place and hashes, and no code"
WHY = "a row that is not kept says why, and has no place in a shard"
PLACES = "no two rows share a place in a shard"


def kept(number=0, **changes):
    """A row of a kept image that keeps every rule."""
    row = {
        "sample_id": f"{number:016x}",
        "path": f"hat/{number}.jpg",
        "status": "kept",
        "label": "hat",
        "label_id": 0,
        "split": "train",
        "sha256": "a" * 64,
        "format": "jpeg",
        "rows": 4,
        "cols": 6,
        "shard": "5eed",
        "row": number,
        "pixel_hash": "b" * 64,
        "notes": ["palette"],
        "channel_mean": [1.5, 2.0, 3.0],
    }
    return {**row, **changes}


def refused(number=0, **changes):
    """A row of a quarantined file that keeps every rule."""
    row = {
        "sample_id": f"{number:016x}",
        "path": f"hat/{number}.jpg",
        "status": "quarantined",
        "code": Code.TRUNCATED,
        "stage": "decode",
        "aspect": "bytes",
        "expected": "a whole image",
        "found": "half of one",
        "hint": "fetch the image again",
    }
    return {**row, **changes}


def said(verdict):
    """Aspect, expected and found of each violation: what a case states."""
    return [(violation.aspect, violation.expected, violation.found) for violation in verdict.violations]


def test_frame_sorts_by_path_and_fills_every_column():
    """Rows come in the order of their paths; what they lack is null; the columns stand as COLUMNS says."""
    manifest = frame([kept(2), refused(1), kept(0)])
    assert dict(COLUMNS) == dict(manifest.schema)
    assert ["hat/0.jpg", "hat/1.jpg", "hat/2.jpg"] == manifest["path"].to_list()
    assert [None, "truncated", None] == manifest["code"].to_list()
    assert [None, None, None] == manifest["decoder"].to_list()
    assert [["palette"], None, ["palette"]] == manifest["notes"].to_list()


def test_frame_refuses_what_is_no_column():
    """A misspelt column would be lost without a word."""
    with pytest.raises(KeyError, match="a manifest has no column colour, hieght"):
        frame([kept(hieght=4), kept(1, colour="red")])


@pytest.mark.parametrize("rows", [[], [kept()], [kept(0), refused(1), kept(2), refused(3, status="skipped")]])
def test_a_good_manifest_passes(rows):
    """No rows, or rows of each status: the verdict counts them."""
    assert Verdict(figures={"rows": len(rows)}) == check_manifest(frame(rows))


@pytest.mark.parametrize("name", ["label", "label_id", "split", "sha256", "format", "rows", "cols", "shard", "row"])
def test_a_kept_row_lacks_nothing(name):
    """Each fact that a reader of the version needs is needed."""
    assert [("row", WHOLE, "1 row, the first is hat/1.jpg")] == said(
        check_manifest(frame([kept(0), kept(1, **{name: None})]))
    )


@pytest.mark.parametrize("name", ["code", "stage", "expected", "found", "hint"])
def test_a_row_that_is_not_kept_says_why(name):
    """Nothing vanishes without its reason."""
    assert [("row", WHY, "1 row, the first is hat/0.jpg")] == said(check_manifest(frame([refused(**{name: None})])))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([kept(code="hidden")], ("row", WHOLE, "1 row, the first is hat/0.jpg")),
        ([refused(shard="5eed", row=0)], ("row", WHY, "1 row, the first is hat/0.jpg")),
        ([kept(0), kept(1), kept(2, row=1)], ("row", PLACES, "2 rows, the first is hat/1.jpg")),
        (
            [kept(0), kept(1, sample_id="0" * 16)],
            ("sample_id", "no value twice", f"2 rows, the first is hat/0.jpg with {'0' * 16}"),
        ),
        ([kept(sample_id="xyz")], ("sample_id", "16 hex digits", "1 row, the first is hat/0.jpg with xyz")),
        ([kept(sample_id=None)], ("sample_id", "a value in every row", "1 row, the first is hat/0.jpg with None")),
        ([kept(path=None)], ("path", "a value in every row", "1 row, the first is row 0 with None")),
        ([kept(sha256="A" * 64)], ("sha256", "64 hex digits", f"1 row, the first is hat/0.jpg with {'A' * 64}")),
        ([kept(pixel_hash="")], ("pixel_hash", "64 hex digits", "1 row, the first is hat/0.jpg with ")),
        ([refused(code="odd")], ("code", "a code of `nhwc codes`", "1 row, the first is hat/0.jpg with odd")),
        ([refused(status="lost")], ("status", "|".join(STATUSES), "1 row, the first is hat/0.jpg with lost")),
        ([kept(label_id=-1)], ("label_id", "0 or more", "1 row, the first is hat/0.jpg with -1")),
        ([kept(row=-1)], ("row", "0 or more", "1 row, the first is hat/0.jpg with -1")),
        ([kept(rows=0)], ("rows", "1 or more", "1 row, the first is hat/0.jpg with 0")),
        ([kept(0), kept(1, cols=0), kept(2, cols=-5)], ("cols", "1 or more", "2 rows, the first is hat/1.jpg with 0")),
    ],
)
def test_each_broken_rule_is_the_one_violation(rows, expected):
    """Which column or whole row, the rule in words, how many rows and which comes first."""
    assert [expected] == said(check_manifest(frame(rows)))


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda manifest: manifest.drop("mode"), ("mode", "a column of type String", "no such column")),
        (
            lambda manifest: manifest.with_columns(colour=pl.lit("red")),
            ("colour", "only the columns of a manifest", "a column more"),
        ),
        (
            lambda manifest: manifest.with_columns(pl.col("frames").cast(pl.Int32)),
            ("frames", "type Int64", "type Int32"),
        ),
        (
            lambda manifest: manifest.with_columns(pl.col("notes").list.join("")),
            ("notes", "type List(String)", "type String"),
        ),
    ],
)
@pytest.mark.parametrize("rows", [[], [kept()]])
def test_each_broken_column_is_the_one_violation(rows, spoil, expected):
    """Columns that lack, are too many or of another type are named, with and without rows."""
    assert [expected] == said(check_manifest(spoil(frame(rows))))


def test_a_rule_that_cannot_be_checked_is_never_counted_as_passed():
    """Without the column that it looks at, a rule is reported as not checked."""
    assert [
        ("status", "a column of type String", "no such column"),
        ("row", WHOLE, "not checked, since a column is missing or of another type"),
        ("row", WHY, "not checked, since a column is missing or of another type"),
    ] == said(check_manifest(frame([kept()]).drop("status")))


def test_all_broken_rules_are_told_at_once():
    """Several rules broken in one frame are several violations, each of which names a path and is one line."""
    verdict = check_manifest(frame([kept(0), kept(1, row=0, label=None), refused(2, hint=None), kept(3, rows=0)]))
    expected = [
        ("rows", "1 or more", "1 row, the first is hat/3.jpg with 0"),
        ("row", WHOLE, "1 row, the first is hat/1.jpg"),
        ("row", WHY, "1 row, the first is hat/2.jpg"),
        ("row", PLACES, "2 rows, the first is hat/0.jpg"),
    ]
    assert expected == said(verdict)
    assert {"manifest_rule": 4} == verdict.by_code()
    assert 4 == len(str(verdict).splitlines())


def test_a_broken_row_with_a_hash_is_told():
    """Bytes that are not UTF-8 stand in the row that is at fault."""
    rows = [kept(0, perceptual_hash=b"\xff\x00"), kept(1, label=None, perceptual_hash=b"\xff\x00")]
    assert [("row", WHOLE, "1 row, the first is hat/1.jpg")] == said(check_manifest(frame(rows)))


def test_a_manifest_is_checked_where_pandera_is_switched_off():
    """PANDERA_VALIDATION_ENABLED=False, set for another program, would let any manifest pass."""
    with config_context(validation_enabled=False):
        assert [("rows", "1 or more", "1 row, the first is hat/0.jpg with 0")] == said(
            check_manifest(frame([kept(rows=0)]))
        )


def test_a_violation_of_the_manifest_reads_as_any_other():
    """Stage publish, code manifest_rule, no single sample."""
    expected = Violation(
        code=Code.MANIFEST_RULE,
        stage="publish",
        aspect="rows",
        expected="1 or more",
        found="1 row, the first is hat/0.jpg with 0",
    )
    assert (expected,) == check_manifest(frame([kept(rows=0)])).violations


@pytest.mark.parametrize("rows", [[kept()], [kept(rows=0)]])
def test_a_lazy_frame_is_refused(rows):
    """pandera does not look at a LazyFrame's values: it would pass whatever is in it."""
    with pytest.raises(TypeError, match=r"needs a polars DataFrame.*call \.collect\(\) on it\. Received: LazyFrame"):
        check_manifest(frame(rows).lazy())
