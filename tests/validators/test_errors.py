"""Errors carry facts, cross processes whole, and say which exit status they ask for."""

import copy
import pickle

import pytest

from nhwc.validators.errors import DataError, MachineError, NhwcError, RecipeError, SampleRefused
from nhwc.validators.verdict import Verdict
from nhwc.validators.violation import Code, Violation

VIOLATION = Violation(code=Code.ALPHA, stage="convert", aspect="alpha", expected="none", found="RGBA", sample_id="0a")

CASES = [
    (DataError(Verdict(violations=(VIOLATION,), figures={"kept": 0})), 1, str(VIOLATION)),
    (SampleRefused(VIOLATION), 1, str(VIOLATION)),
    (
        RecipeError("clothing.yaml", ("image.rows: missing", "image.dtype: 'int' is no dtype")),
        2,
        "clothing.yaml:\n  image.rows: missing\n  image.dtype: 'int' is no dtype",
    ),
    (MachineError("the disk of datasets/ is full"), 3, "the disk of datasets/ is full"),
]
cases = pytest.mark.parametrize(("error", "exit_status", "text"), CASES, ids=[type(case[0]).__name__ for case in CASES])


@cases
def test_an_error_says_its_text_and_exit_status(error, exit_status, text):
    """1: the data, 2: the recipe or call, 3: the machine; the text holds every reason."""
    assert text == str(error)
    assert exit_status == error.exit_status
    assert isinstance(error, NhwcError)


@cases
@pytest.mark.parametrize("carry", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy])
def test_an_error_crosses_a_process_whole(error, exit_status, text, carry):
    """Type, facts and text are the same after pickle and copy."""
    again = carry(error)
    assert type(error) is type(again)
    assert error.args == again.args
    assert vars(error) == vars(again)
    assert (exit_status, text) == (again.exit_status, str(again))


def test_each_error_keeps_its_facts_by_name():
    """Facts are attributes, not only text."""
    verdict = Verdict(violations=(VIOLATION,))
    assert verdict is DataError(verdict).verdict
    assert VIOLATION is SampleRefused(VIOLATION).violation
    recipe = RecipeError("call", ("a", "b"))
    assert ("call", ("a", "b")) == (recipe.where, recipe.problems)


def test_one_root_catches_all():
    """NhwcError is the root of every other error, each of which is none of the others."""
    kinds = (DataError, SampleRefused, RecipeError, MachineError)
    assert all(issubclass(kind, NhwcError) for kind in kinds)
    assert all(not issubclass(one, other) for one in kinds for other in kinds if one is not other)
