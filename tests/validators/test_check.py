"""The one comparison behind all checkers, case by case."""

import pytest

from nhwc.validators.check import Finding, Found, compare
from nhwc.validators.contract import TensorContract, image_contract
from nhwc.validators.violation import Code, Violation

CONTRACT = image_contract(rows=4, cols=6, channels=(1, 3), dtype="float32", value_range=(0, 1))


def said(violation):
    """Code, aspect, expected and found: what a case states."""
    return (violation.code, violation.aspect, violation.expected, violation.found)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (Found(sizes=(4, 6, 3), dtype="float32", low=0, high=1), []),
        (Found(sizes=(4, 6, 1), dtype="float32", low=0.5, high=0.5), []),
        (
            Found(sizes=(4, 6), dtype="float32", low=0, high=1),
            [(Code.WRONG_RANK, "rank", "3 (rows, cols, channels)", "2 (4, 6)")],
        ),
        (
            Found(sizes=(None, 4, 6, 3), dtype="float32", low=0, high=1),
            [(Code.WRONG_RANK, "rank", "3 (rows, cols, channels)", "4 (?, 4, 6, 3)")],
        ),
        (Found(sizes=(5, 6, 3), dtype="float32", low=0, high=1), [(Code.WRONG_SIZE, "rows", "4", "5")]),
        (Found(sizes=(4, 0, 3), dtype="float32", low=0, high=1), [(Code.WRONG_SIZE, "cols", "6", "0")]),
        (Found(sizes=(4, 6, 4), dtype="float32", low=0, high=1), [(Code.WRONG_CHANNELS, "channels", "1|3", "4")]),
        (
            Found(sizes=(4, 6, 3), dtype="float64", low=0, high=1),
            [(Code.WRONG_DTYPE, "dtype", "float32", "float64")],
        ),
        (
            Found(sizes=(4, 6, 3), dtype="float32", low=-2, high=1),
            [(Code.OUT_OF_RANGE, "range", "[0, 1]", "[-2, 1]")],
        ),
        (
            Found(sizes=(4, 6, 3), dtype="float32", low=0, high=float("inf")),
            [(Code.OUT_OF_RANGE, "range", "[0, 1]", "[0, inf]")],
        ),
        (
            Found(sizes=(4, 6, 3), dtype="float32", low=float("nan"), high=1),
            [(Code.OUT_OF_RANGE, "range", "[0, 1]", "values that are not numbers")],
        ),
        (
            Found(sizes=(6, 4, 2), dtype="uint8", low=0, high=255),
            [
                (Code.WRONG_SIZE, "rows", "4", "6"),
                (Code.WRONG_SIZE, "cols", "6", "4"),
                (Code.WRONG_CHANNELS, "channels", "1|3", "2"),
                (Code.WRONG_DTYPE, "dtype", "float32", "uint8"),
                (Code.OUT_OF_RANGE, "range", "[0, 1]", "[0, 255]"),
            ],
        ),
    ],
)
def test_every_breach_is_found_at_once(found, expected):
    """Each breach with what was expected and found, in the order shape, dtype, range; nothing left open."""
    finding = compare(CONTRACT, found, stage="decode")
    assert expected == [said(violation) for violation in finding.violations]
    assert () == finding.undetermined


@pytest.mark.parametrize(
    ("found", "undetermined"),
    [
        (Found(sizes=None, dtype="float32"), ("rank", "rows", "cols", "channels", "range")),
        (Found(sizes=(None, 6, None), dtype="float32"), ("rows", "channels", "range")),
        (Found(sizes=(4, 6, 3), dtype="float32"), ("range",)),
        (Found(sizes=(4, 6, 3), dtype="float32", low=0), ("range",)),
    ],
)
def test_what_is_not_known_is_undetermined_and_no_violation(found, undetermined):
    """An open aspect is never counted as passed, nor as broken."""
    assert Finding(undetermined=undetermined) == compare(CONTRACT, found, stage="decode")


def test_an_axis_of_any_size_leaves_nothing_open():
    """What the contract does not ask need not be known."""
    contract = image_contract(rows=None, cols=None, channels=3, dtype="uint8", value_range=(0, 255))
    assert Finding() == compare(contract, Found(sizes=(None, None, 3), dtype="uint8"), stage="decode")


def test_several_dtypes_are_each_allowed():
    """The expected dtypes are listed where none of them was found."""
    contract = TensorContract(axes=(), dtype=("uint8", "uint16"), value_range=(0, 65535))
    assert Finding() == compare(contract, Found(sizes=(), dtype="uint16"), stage="decode")
    [violation] = compare(contract, Found(sizes=(), dtype="int8", low=0, high=0), stage="decode").violations
    assert (Code.WRONG_DTYPE, "dtype", "uint8|uint16", "int8") == said(violation)


def test_a_violation_names_stage_and_sample():
    """Who asked is carried into every violation."""
    found = Found(sizes=(4, 6, 2), dtype="float32", low=0, high=1)
    expected = Violation(
        code=Code.WRONG_CHANNELS, stage="convert", aspect="channels", sample_id="ab12", expected="1|3", found="2"
    )
    assert (expected,) == compare(CONTRACT, found, stage="convert", sample_id="ab12").violations
