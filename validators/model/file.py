"""A model that lies in a file, read without running any code of the file."""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nhwc.validators.errors import RecipeError
from nhwc.validators.model.mismatch import first_line, mismatch
from nhwc.validators.violation import Code, Violation

_OPENED_ELSEWHERE = {"Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
"""What holds code, or reads another file that does."""

_MOST_CONFIG = 2**26
"""Bytes of a model's configuration: hundreds of times the largest of keras.applications."""


def load_model(path: Path) -> tuple[Any, tuple[Violation, ...]]:
    """The model of a `.keras` or `.h5` file, and a finding where its loss could not be read with it.

    The configuration is read first, as text: only layers of Keras itself, or classes that this process has registered
    with it, are made. Raises RecipeError for anything else.
    """
    import keras  # noqa: PLC0415  seconds, and only a model needs it

    def refused(found: str, expected: str) -> RecipeError:
        return RecipeError(str(path), (f"model: found {found}, expected {expected}",))

    if not path.is_file():
        raise refused("a folder" if path.is_dir() else "no such file", 'a .keras or .h5 file: model.save("m.keras")')
    try:
        config = _config(path)
    except (OSError, ValueError, KeyError, TypeError, RecursionError, zipfile.BadZipFile) as error:
        raise refused(f"a file that cannot be read ({first_line(error)})", "a .keras or .h5 file of Keras") from error
    foreign = sorted(set(_foreign(config, keras)))
    if foreign:
        found = f"{', '.join(foreign)}, which is code that is not Keras' own"
        raise refused(found, "layers of Keras: load it yourself and pass the model")
    with warnings.catch_warnings(action="ignore"):  # of optimizers and old formats, which do not matter here
        try:
            return keras.saving.load_model(path, safe_mode=True), ()
        except Exception as error:  # Keras raises what its layers' constructors raise, of any kind
            try:  # some losses in old files cannot be read, the model can
                model = keras.saving.load_model(path, compile=False, safe_mode=True)
            except Exception:
                found = f"a file that cannot be loaded ({first_line(error)})"
                raise refused(found, f"one saved by Keras {keras.__version__}") from error
            unread = mismatch(Code.MODEL_UNDETERMINED, "loss", "a loss that can be read", first_line(error))
            return model, (unread,)


def _config(path: Path) -> Any:
    """The model's configuration as plain values; the training's beside it where an H5 file has one."""
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo("config.json").file_size > _MOST_CONFIG:
                raise ValueError("its config.json is too large")
            return json.loads(archive.read("config.json"))
    if path.suffix in {".h5", ".hdf5"}:
        import h5py  # type: ignore[import-untyped]  # noqa: PLC0415  Keras brings it, and only such a file needs it

        with h5py.File(path, "r") as file:
            return [json.loads(file.attrs[name]) for name in ("model_config", "training_config") if name in file.attrs]
    raise ValueError(f"its name ends in {path.suffix or 'nothing'}")


def _foreign(config: Any, keras: Any) -> Iterator[str]:
    """The names of classes and functions in a configuration that are not Keras' own."""
    if isinstance(config, list):
        for part in config:
            yield from _foreign(part, keras)
    if isinstance(config, dict):
        name, module = config.get("class_name"), config.get("module")
        registered = config.get("registered_name") or name
        known = module is None or module == "builtins" or str(module).split(".")[0] == "keras"
        if name in _OPENED_ELSEWHERE or not (known or keras.saving.get_registered_object(registered)):
            yield str(name)
        for part in config.values():
            yield from _foreign(part, keras)
