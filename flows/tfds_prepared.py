"""Datasets that are not there yet, prepared by TensorFlow Datasets, which downloads most of them."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from nhwc.flows.native_stderr import silenced_native_stderr
from nhwc.validators.errors import MachineError, NhwcError, RecipeError


def prepare(name: str, data_dir: Path) -> None:
    """Download and prepare a dataset, as TFDS does: it is there as a whole or not at all.

    Args:
        name: as mnist or mnist:3.0.1.
        data_dir: the folder of all datasets.

    Raises RecipeError where TFDS knows no such dataset or version, and MachineError where preparing it fails: the
    network, the disk, or the dataset's own code.
    """
    try:
        with silenced_native_stderr(), redirect_stdout(sys.stderr):  # it tells its progress, which is no result
            builder = _builder(name, data_dir)
            builder.download_and_prepare()
    except NhwcError:
        raise
    except Exception as error:  # the dataset's code is anyone's
        raise MachineError(f"source.name: TFDS could not prepare {name!r} in {data_dir}: {_said(error)}") from error


def _builder(name: str, data_dir: Path) -> Any:
    try:
        return tfds.builder(name, data_dir=str(data_dir))
    except OSError:
        raise
    except Exception as error:  # whatever TFDS, or the module of a dataset, raises
        found = f"name: found {name!r}, expected a dataset that TFDS knows: {_said(error)}"
        raise RecipeError("source", (found,)) from error


def _said(error: Exception) -> str:
    """The first line of what it says."""
    return f"{type(error).__name__}: {error}".splitlines()[0]
