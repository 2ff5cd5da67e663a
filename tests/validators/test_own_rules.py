"""A user's own rules: what breaks them is named, by row where a row is at fault, and the rows are never changed."""

import pandera.polars as pa
import polars as pl
import pytest
from pandera.api.dataframe.container import DataFrameSchema as AnySchema
from pandera.api.parsers import Parser
from pandera.config import config_context

from nhwc.validators.manifest import COLUMNS
from nhwc.validators.own_rules import NAMED, judge_own_rules
from nhwc.validators.rules import judge
from nhwc.validators.violation import Code, Violation


def rows_of(count=3, **columns):
    """Kept rows s0, s1, ... of label cat, rows 10, 20, ... and cols 15, with some columns replaced; all columns."""
    given = {
        "sample_id": [f"s{number}" for number in range(count)],
        "label": ["cat"] * count,
        "rows": [10 * (number + 1) for number in range(count)],
        "cols": [15] * count,
        "perceptual_hash": [b"\xff"] * count,
        **columns,
    }
    full = {name: given.get(name, [None] * count) for name in COLUMNS}
    return pl.DataFrame(full, schema=dict(COLUMNS))


def said(rule, rows=None):
    """Sample, aspect, expected and found of each finding: what a case states."""
    rows = rows_of() if rows is None else rows
    before = rows.clone()
    found = judge_own_rules(rows, {"Photos": rule})
    assert before.equals(rows)
    assert before.schema == rows.schema
    assert {("own rules", "mend what breaks it, or the rule Photos")} >= {(one.stage, one.hint) for one in found}
    return [(one.sample_id, one.aspect, one.expected, one.found) for one in found]


class Elsewhere(AnySchema):
    """A schema for frames of another library."""

    dtype = None


def of_rows(check, **options):
    """A schema with one check of the column rows."""
    return pa.DataFrameSchema({"rows": pa.Column(pl.Int64, check)}, **options)


def of_frame(expression, **options):
    """A schema with one check of whole rows."""
    return pa.DataFrameSchema(checks=pa.Check(lambda frame: frame.lazyframe.select(expression), **options))


class Photos(pa.DataFrameModel):
    """What a user's file would hold."""

    rows: int = pa.Field(ge=20)
    cols: int

    @pa.check("cols")
    def cols_are_even(cls, frame):  # noqa: N805  pandera makes class methods of its checks
        return frame.lazyframe.select(pl.col(frame.key) % 2 == 0)

    @pa.dataframe_check
    def upright(cls, frame):  # noqa: N805  see above
        return frame.lazyframe.select(pl.col("rows") >= pl.col("cols"))


@pytest.mark.parametrize(
    "rule",
    [
        of_rows(pa.Check.ge(10)),
        of_rows(pa.Check.ge(10), strict=True),  # a manifest has more columns than any rule mentions
        of_rows(pa.Check.ge(10), strict="filter"),
        of_rows(pa.Check(lambda frame: True)),
        of_frame(pl.col("rows") > 0),
        of_frame(pl.col("alpha")),  # nothing is known of it: as pandera does, null is no breach
        pa.DataFrameSchema({"rows": pa.Column(pl.Float64, coerce=True)}),
        pa.DataFrameSchema({"alpha": pa.Column(pl.Boolean, pa.Check.eq(True), default=True)}),
        pa.DataFrameSchema({"owner": pa.Column(pl.String, required=False)}),
        pa.DataFrameSchema({"^(rows|cols)$": pa.Column(pl.Int64, pa.Check.gt(0), regex=True)}),
    ],
)
def test_a_rule_that_holds_gives_nothing(rule):
    """Whatever it casts, fills or leaves out for itself, the rows stay as they are."""
    assert [] == said(rule)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (
            of_rows(pa.Check.ge(20)),
            [("s0", "rows", "greater_than_or_equal_to(20)", "10")],
        ),
        (of_rows(pa.Check.ge(20, error="20 rows or more")), [("s0", "rows", "20 rows or more", "10")]),
        (
            of_rows(pa.Check(lambda frame: frame.lazyframe.select(pl.col("rows") != 20))),
            [("s1", "rows", "check 1 of rows to hold", "20")],
        ),
        (
            of_rows([pa.Check.ge(20, error="a"), pa.Check.le(20, error="b")]),
            [("s0", "rows", "a", "10"), ("s2", "rows", "b", "30")],
        ),
        (
            of_rows(pa.Check(lambda value: value > 10, element_wise=True, error="over 10")),
            [("s0", "rows", "over 10", "10")],
        ),
        (
            pa.DataFrameSchema({"^(rows|cols)$": pa.Column(pl.Int64, pa.Check.lt(20, error="under 20"), regex=True)}),
            [("s1", "rows", "under 20", "20"), ("s2", "rows", "under 20", "30")],
        ),
        (
            of_rows(pa.Check.ge(20, error="a"), drop_invalid_rows=True),  # pandera would pass it, the row left out
            [("s0", "rows", "a", "10")],
        ),
        (
            pa.DataFrameSchema({"rows": pa.Column(pl.String, pa.Check.ne("10", error="a"), coerce=True)}),
            [("s0", "rows", "a", "10")],
        ),
        (of_frame(pl.col("rows") != 20, name="not twenty"), [("s1", "row", "not twenty", "a row that breaks it")]),
        (
            Photos,
            [
                ("s0", "rows", "greater_than_or_equal_to(20)", "10"),
                *((f"s{number}", "cols", "cols_are_even", "15") for number in range(3)),
                ("s0", "row", "upright", "rows 10, cols 15"),
            ],
        ),
        (
            pa.DataFrameSchema({"perceptual_hash": pa.Column(pl.Binary, unique=True)}),
            [(f"s{number}", "perceptual_hash", "no value twice", "ff") for number in range(3)],
        ),
        (
            pa.DataFrameSchema(unique=["label", "cols"]),
            [(f"s{number}", "row", "no two rows alike in these columns", "label cat, cols 15") for number in range(3)],
        ),
    ],
)
def test_each_row_at_fault_is_named(rule, expected):
    """Sample, column or row, the check in words, and the value: all at once."""
    assert expected == said(rule)


def test_a_value_that_is_missing_is_told_as_such():
    """Null in a column that must have none, and before any cast is tried."""
    rows = rows_of(format=["jpeg", None, "7"])
    assert [("s1", "format", "a value in every row", "null")] == said(
        pa.DataFrameSchema({"format": pa.Column(pl.String)}), rows
    )
    assert [
        ("s0", "format", "a value that can be cast to the rule's type", "jpeg"),
        (None, "format", "type Int64", "type String"),
    ] == said(pa.DataFrameSchema({"format": pa.Column(pl.Int64, coerce=True, nullable=True)}), rows)


def raising(frame):
    raise LookupError("no such table\nof the user's")


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (pa.DataFrameSchema({"owner": pa.Column(pl.String)}), [(None, "owner", "such a column", "none")]),
        (
            pa.DataFrameSchema({"owner": pa.Column(pl.String), "rows": pa.Column(pl.Int32)}, coerce=True),
            [(None, "owner", "such a column", "none")],  # and rows is cast all the same
        ),
        (
            pa.DataFrameSchema({"^owner_": pa.Column(pl.String, regex=True)}),
            [(None, "columns", "a column named like ^owner_", "none")],
        ),
        (pa.DataFrameSchema({"rows": pa.Column(pl.Float64)}), [(None, "rows", "type Float64", "type Int64")]),
        (
            pa.DataFrameSchema({"cols": pa.Column(pl.Int64), "rows": pa.Column(pl.Int64)}, ordered=True),
            [(None, "rows", "columns in the order of the rule", "another order")],
        ),
        (
            of_rows([pa.Check(lambda frame: False, error="enough"), pa.Check.ge(20, error="a")]),
            [(None, "rows", "enough", "all rows together break it"), ("s0", "rows", "a", "10")],
        ),
        (
            of_frame(pl.col("rows").mean() > 20, name="large on the whole"),
            [(None, "row", "large on the whole", "all rows together break it")],
        ),
        (
            of_rows([pa.Check(raising), pa.Check.ge(20, error="a")]),
            [
                (None, "rows", "raising", 'a check that raises LookupError("no such table'),
                ("s0", "rows", "a", "10"),
            ],
        ),
        (
            of_frame(pl.col("owner") == "me", name="mine"),
            [(None, "row", "mine", 'a check that raises ColumnNotFoundError("unable to find column "owner"; valid')],
        ),
        (
            pa.DataFrameSchema(parsers=Parser(lambda frame: frame)),
            [(None, "rule", "a rule that can be held against the manifest", "NotImplementedError: user-defined")],
        ),
    ],
)
def test_what_no_row_is_at_fault_for_is_told_once(rule, expected):
    """A column, a type, one value for all rows, a check that raises: no sample is named, and the other checks are
    looked at all the same."""
    found = said(rule)
    assert len(expected) == len(found)
    for wanted, got in zip(expected, found, strict=True):
        assert wanted[:3] == got[:3]
        assert got[3].startswith(wanted[3])
        assert "\n" not in got[3]


@pytest.mark.parametrize(
    ("count", "last"),
    [
        (NAMED, (f"s{NAMED - 1}", "15")),
        (NAMED + 1, (None, "and 1 more row")),
        (2 * NAMED, (None, f"and {NAMED} more rows")),
    ],
)
def test_a_hundred_rows_are_named(count, last):
    """A rule that all break does not flood the verdict; how many more there are is told."""
    rule = pa.DataFrameSchema({"cols": pa.Column(pl.Int64, pa.Check.gt(15, error="over 15"))})
    found = said(rule, rows_of(count))
    assert min(count, NAMED + 1) == len(found)
    sample_id, text = last
    assert (sample_id, "cols", "over 15", text) == found[-1]


def test_a_long_value_is_cut():
    """A manifest's text can be as long as a path."""
    rows = rows_of(path=["x" * 500, "y", "z"])
    rule = pa.DataFrameSchema({"path": pa.Column(pl.String, pa.Check.str_length(max_value=9, error="short"))})
    assert [("s0", "path", "short", "x" * 120 + "...")] == said(rule, rows)


def test_a_check_that_only_warns_warns():
    """pandera's raise_warning, which would go to the terminal, is a finding that does not refuse."""
    rule = of_rows([pa.Check.ge(20, error="a", raise_warning=True), pa.Check.le(20, error="b")])
    findings = judge_own_rules(rows_of(), {"Photos": rule})
    assert [(Code.OWN_WARNING, "s0"), (Code.OWN_RULE, "s2")] == [(one.code, one.sample_id) for one in findings]
    verdict = judge(findings, {}, {})
    assert [Code.OWN_RULE] == [one.code for one in verdict.violations]
    assert [Code.OWN_WARNING] == [one.code for one in verdict.warnings]


def test_rules_are_told_in_their_order():
    """Each with its name, in the hint."""
    rules = {"B": of_rows(pa.Check.ge(20, error="a")), "A": of_rows(pa.Check.le(20, error="b"))}
    expected = [("s0", "mend what breaks it, or the rule B"), ("s2", "mend what breaks it, or the rule A")]
    assert expected == [(one.sample_id, one.hint) for one in judge_own_rules(rows_of(), rules)]


def test_a_violation_reads_as_any_other():
    """Stage own rules, the row's sample."""
    expected = Violation(
        code=Code.OWN_RULE,
        stage="own rules",
        aspect="rows",
        sample_id="s0",
        expected="20 rows or more",
        found="10",
        hint="mend what breaks it, or the rule Photos",
    )
    rule = of_rows(pa.Check.ge(20, error="20 rows or more"))
    assert (expected,) == judge_own_rules(rows_of(), {"Photos": rule})


def test_no_rows_break_no_check_of_rows():
    """But a column of another type is one all the same."""
    empty = rows_of(0)
    assert [] == said(Photos, empty)
    assert [(None, "rows", "type Float64", "type Int64")] == said(
        pa.DataFrameSchema({"rows": pa.Column(pl.Float64)}), empty
    )


@pytest.mark.parametrize("switched", [{"validation_enabled": False}, {"validation_depth": "SCHEMA_ONLY"}])
def test_rules_are_checked_where_pandera_is_switched_off(switched):
    """What the environment says for another program would let any row pass."""
    with config_context(**switched):
        assert [("s0", "rows", "a", "10")] == said(of_rows(pa.Check.ge(20, error="a")))


def test_the_rules_stay_as_they_are():
    """A user's schema is copied, not set up anew: used by the user, it behaves as written."""
    rule = of_rows(pa.Check.ge(20), drop_invalid_rows=True, strict=True)
    said(rule)
    assert 2 == rule.validate(rows_of().select("rows"), lazy=True).height
    assert (True, True) == (rule.drop_invalid_rows, rule.strict)


@pytest.mark.parametrize(
    ("rows", "rule", "message"),
    [
        (rows_of().lazy(), of_rows(pa.Check.ge(20)), r"needs a polars DataFrame.*Received: LazyFrame"),
        (
            rows_of(),
            "rows > 3",
            r"Photos: expected a DataFrameSchema or DataFrameModel of pandera\.polars\. Received: 'r",
        ),
        (rows_of(), Elsewhere(), r"Photos: expected a DataFrameSchema or DataFrameModel of pandera\.polars"),
    ],
)
def test_what_cannot_be_checked_is_refused(rows, rule, message):
    """A LazyFrame's values, and rules that are not for polars."""
    with pytest.raises(TypeError, match=message):
        judge_own_rules(rows, {"Photos": rule})
