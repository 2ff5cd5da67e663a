"""The user's own rules, read from the Python file that a recipe's `checks.file` names."""

from __future__ import annotations

import sys
import traceback
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import pandera.polars as pa
from pandera.api.dataframe.container import DataFrameSchema as AnySchema
from pandera.api.dataframe.model import DataFrameModel as AnyModel

from nhwc.validators.errors import MachineError, RecipeError

_KEY = "checks.file"

EXAMPLE = """\
import pandera.polars as pa
class Photos(pa.DataFrameModel):
    rows: int = pa.Field(ge=32)
"""
"""The least that such a file holds."""


def read_own_rules(file: Path) -> Mapping[str, Any]:
    """The rules in a Python file, by the name that it gives them, in its order, for `judge_own_rules`.

    A rule is a `pandera.polars.DataFrameSchema`, or a subclass of `pandera.polars.DataFrameModel` that the file itself
    defines, which comes back as its schema. The file is run, as any Python module is: trust it as you trust the recipe.
    It cannot import what lies beside it, and nothing is written there.

    Raises RecipeError where the file is missing, no Python, raises, has no rule, or one that is not for polars, and
    MachineError where it is there and cannot be read.
    """
    module = ModuleType(f"nhwc_own_rules_{uuid.uuid4().hex}")
    module.__file__ = str(file)
    sys.modules[module.__name__] = module  # where a model's annotations are looked up; of a name that nobody else has
    try:
        _run(_compiled(file), module, file)
        rules = _rules(module, file)
    finally:
        del sys.modules[module.__name__]
    if not rules:
        raise _refused(
            f"found no rule in {file}, expected a DataFrameSchema or DataFrameModel of pandera.polars, such as\n"
            + EXAMPLE.rstrip()
        )
    return rules


def _compiled(file: Path) -> CodeType:
    """The file's code. Compiled here and not imported, since an import leaves a __pycache__ beside the file."""
    try:
        return compile(file.read_bytes(), str(file), "exec")
    except OSError as error:
        MachineError.see(error, file)
        raise _refused(
            f"found {str(file)!r}, which cannot be read: {error.strerror or error}, expected a Python file of rules"
        ) from error
    except SyntaxError as error:
        raise _refused(f"{_line(file, error.lineno)}: {error.msg}, expected Python") from error
    except (ValueError, RecursionError, MemoryError) as error:  # NUL bytes; nested too deep
        raise _refused(f"{file}: {error}, expected Python") from error


def _run(code: CodeType, module: ModuleType, file: Path) -> None:
    try:
        exec(code, module.__dict__)
    except (Exception, SystemExit) as error:  # whatever the user's code may raise
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
        raise _refused(f"{_line(file, lines[-1] if lines else None)}: {_told(error)}") from error


def _rules(module: ModuleType, file: Path) -> dict[str, Any]:
    """The module's rules, each once, models as their schemas."""
    seen: list[Any] = []
    rules, problems = {}, []
    for name, value in vars(module).items():
        is_model = isinstance(value, type) and issubclass(value, AnyModel) and value.__module__ == module.__name__
        if not (is_model or isinstance(value, AnySchema)) or any(value is one for one in seen):
            continue
        seen.append(value)
        try:
            rule = value.to_schema() if is_model else value
        except Exception as error:  # pandera raises several kinds of them for a model that is none
            problems.append(f"{name} in {file}: {_told(error)}")
            continue
        if isinstance(rule, pa.DataFrameSchema):
            rules[name] = rule
        else:
            problems.append(f"{name} in {file}: found a rule that is not for polars, expected one of pandera.polars")
    if problems:
        raise RecipeError(_KEY, tuple(problems))
    return rules


def _line(file: Path, number: int | None) -> str:
    return str(file) if number is None else f"{file}, line {number}"


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _refused(problem: str) -> RecipeError:
    return RecipeError(_KEY, (problem,))
