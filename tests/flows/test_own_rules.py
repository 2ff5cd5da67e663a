"""Reading a user's Python file of rules: what it defines, and one clear message for all that is wrong with it."""

import contextlib
import sys
from pathlib import Path

import pandera.polars as pa
import polars as pl
import pytest

from nhwc.flows.own_rules import EXAMPLE, read_own_rules
from nhwc.validators.errors import RecipeError
from nhwc.validators.own_rules import judge_own_rules

IMPORT = "import pandera.polars as pa\nimport polars as pl\n"

RULES = """
from __future__ import annotations

from dataclasses import dataclass

import pandera.polars as pa
import polars as pl
from nhwc.validators.manifest import SCHEMA
from pandera.polars import DataFrameModel

LEAST = 20


@dataclass
class Size:
    rows: int


column = pa.Column(pl.Int64)


class Photos(DataFrameModel):
    rows: int = pa.Field(ge=LEAST)

    @pa.dataframe_check
    def upright(cls, frame):
        return frame.lazyframe.select(pl.col("rows") >= LEAST)


tall = pa.DataFrameSchema({"rows": pa.Column(pl.Int64, pa.Check.ge(LEAST, error=f"{LEAST} or more"))})
again = tall
"""


@pytest.fixture
def write(tmp_path):
    """Writes checks.py, as text or bytes."""

    def write(content) -> Path:
        file = tmp_path / "checks.py"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    return write


def test_schemas_and_models_are_read_by_name(write):
    """Models of the file as their schemas, each rule once. An imported model is none; an imported schema is one."""
    rules = read_own_rules(write(RULES))
    assert ["SCHEMA", "Photos", "tall"] == list(rules)
    assert all(isinstance(rule, pa.DataFrameSchema) for rule in rules.values())
    rows = pl.DataFrame({"sample_id": ["a", "b"], "rows": [10, 20]})
    found = judge_own_rules(rows, {name: rules[name] for name in ("Photos", "tall")})
    expected = [
        ("a", "greater_than_or_equal_to(20)", "10"),
        ("a", "upright", "rows 10"),
        ("a", "20 or more", "10"),
    ]
    assert expected == [(one.sample_id, one.expected, one.found) for one in found]


def test_the_example_of_the_message_is_a_rule(write):
    """What an empty file is told to hold can be read and checked as it stands."""
    rules = read_own_rules(write(EXAMPLE))
    assert 3 == len(EXAMPLE.splitlines())
    rows = pl.DataFrame({"sample_id": ["a", "b"], "rows": [31, 32]})
    assert ["a"] == [one.sample_id for one in judge_own_rules(rows, rules)]


@pytest.mark.parametrize("content", [EXAMPLE, "1 / 0", "import ("])
def test_nothing_is_left_behind(write, content):
    """No __pycache__ beside the user's file, and no module in the process, whatever came of it."""
    file = write(content)
    modules, before = set(sys.modules), sys.dont_write_bytecode
    with contextlib.suppress(RecipeError):
        read_own_rules(file)
    assert [file] == list(file.parent.iterdir())
    assert not [name for name in set(sys.modules) - modules if "own_rules" in name]
    assert before == sys.dont_write_bytecode


def test_two_files_do_not_meet(write):
    """A model of one name in two files is two rules."""
    first = read_own_rules(write(EXAMPLE))
    second = read_own_rules(write(EXAMPLE.replace("32", "64")))
    rows = pl.DataFrame({"sample_id": ["a"], "rows": [50]})
    assert [0, 1] == [len(judge_own_rules(rows, rules)) for rules in (first, second)]


def test_the_file_knows_its_place(write):
    """A rule may read a table that lies beside it."""
    file = write(EXAMPLE + "from pathlib import Path\nassert Path(__file__).name == 'checks.py'\n")
    assert ["Photos"] == list(read_own_rules(file))


def test_latin_1_is_read_where_the_file_says_so(write):
    """As Python itself reads it."""
    content = "# -*- coding: latin-1 -*-\n" + EXAMPLE.replace("class Photos", "NAME = 'é'\nclass Photos")
    assert ["Photos"] == list(read_own_rules(write(content.encode("latin-1"))))


ELSEWHERE = """
from pandera.api.dataframe.container import DataFrameSchema
class Schema(DataFrameSchema):
    dtype = None
frames = Schema()
"""

UNTYPED = """
class Photos(pa.DataFrameModel):
    rows: object() = pa.Field(ge=32)
"""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("rows = (\n  1,\n", r"checks\.py, line 1: '\(' was never closed, expected Python$"),
        ("a = 1\nrows > = 3\n", r"checks\.py, line 2: invalid syntax, expected Python$"),
        (b"a = '\xff'", r"checks\.py.*'utf-8' codec can't decode byte 0xff.*, expected Python$"),
        (b"a = 1\0", r"checks\.py.*null bytes, expected Python$"),
        ("a = 1\n\n1 / 0\n", r"checks\.py, line 3: ZeroDivisionError: division by zero$"),
        ("def f():\n    return {}['a']\n\nf()\n", r"checks\.py, line 2: KeyError: 'a'$"),
        ("import nonsense_of_mine\n", r"checks\.py, line 1: ModuleNotFoundError: No module named 'nonsense_of_mine'$"),
        ("import sys\nsys.exit(3)\n", r"checks\.py, line 2: SystemExit: 3$"),
        ("raise ValueError\n", r"checks\.py, line 1: ValueError$"),
        (IMPORT + "pa.Column(nonsense=1)\n", r"checks\.py, line 3: TypeError: .*nonsense"),
        (IMPORT + UNTYPED, r"Photos in .*checks\.py: TypeError: cannot parse input"),
        (ELSEWHERE, r"frames in .*checks\.py: found a rule that is not for polars, expected one of pandera\.polars$"),
        (
            "",
            r"found no rule in .*checks\.py, expected a DataFrameSchema or DataFrameModel of pandera\.polars, such",
        ),
        ("from pandera.polars import DataFrameModel\n", r"found no rule in .*\n *import pandera\.polars as pa\n"),
        ("import pandera.polars as pa\ncolumn = pa.Column(int)\n", r"found no rule in "),
    ],
)
def test_what_is_wrong_is_one_message(write, content, message):
    """Which file, which line and what is wrong there."""
    with pytest.raises(RecipeError, match=message) as caught:
        read_own_rules(write(content))
    assert ("checks.file", 1) == (caught.value.where, len(caught.value.problems))


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    """Missing, or a folder."""
    for file, reason in ((tmp_path / "none.py", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(RecipeError, match=f"which cannot be read: {reason}, expected a Python file of rules"):
            read_own_rules(file)


def test_all_wrong_rules_are_told_at_once(write):
    """Two models that are none are two problems."""
    with pytest.raises(RecipeError, match=r"(?s)One in .*Two in ") as caught:
        read_own_rules(write(IMPORT + UNTYPED.replace("Photos", "One") + UNTYPED.replace("Photos", "Two")))
    assert 2 == len(caught.value.problems)
