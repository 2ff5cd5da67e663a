import json
import subprocess
import sys

import pytest

import nhwc

HEAVY = ("tensorflow", "keras", "prefect", "polars", "pandera", "pyarrow", "PIL", "pydantic", "numba", "jinja2")


def loaded_after(statement: str) -> set[str]:
    """The heavy packages that a fresh interpreter has loaded after a statement."""
    code = f"{statement}\nimport json, sys\nprint(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_nhwc_loads_nothing_heavy() -> None:
    """Who only imports nhwc pays for nothing that it may not use."""
    assert set() == loaded_after("import nhwc")


def test_the_command_line_loads_nothing_heavy() -> None:
    """`nhwc --help` pays for no library that only some commands use."""
    statement = "from nhwc.flows.cli import app\ntry:\n    app(['--help'])\nexcept SystemExit: pass"
    assert set() == loaded_after(statement)


def test_inspecting_a_file_loads_no_tensorflow() -> None:
    """`nhwc inspect` reads headers, which needs neither TensorFlow nor Prefect."""
    assert not {"tensorflow", "prefect"} & loaded_after("import nhwc.flows.inspect")


@pytest.mark.parametrize("module", ["contract", "violation"])
def test_contract_and_violation_stand_on_nothing_of_ours(module: str) -> None:
    """Whoever only wants to say what an image is can take them as they are."""
    code = f"import sys, nhwc.validators.{module}\nprint(*(name for name in sys.modules if name.startswith('nhwc.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"nhwc.validators", f"nhwc.validators.{module}"} == set(done.stdout.split())


@pytest.mark.parametrize("name", nhwc.__all__)
def test_every_public_name_is_there_and_says_what_it_is(name: str) -> None:
    """All that `nhwc` promises can be imported and has a docstring."""
    assert getattr(nhwc, name).__doc__


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A misspelt name fails as it does on any module."""
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        nhwc.lod  # noqa: B018  the access is the test
